"""What those send who were refused lately is looked at one by one, and not while others are answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from quantum.adapters.http.lobby import MOST_HELD, Lobby
from quantum.adapters.http.repeats import Repeats
from quantum.adapters.http.turnstile import Turnstile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import pytest

LONG_S: Final = 60.0
NOISY, CALM = b"Bearer noisy", b"Bearer calm"


class House:
    """A lobby before a house that refuses the noisy ones, and whose other guests stay until they are let go.

    Attributes:
        lobby: is tried.
        taken: numbers of the pieces that were taken, in order.
        go: lets the guests go.
    """

    def __init__(self, patience_s: float = LONG_S) -> None:
        turnstile, repeats = Turnstile(LONG_S), Repeats()
        self.lobby = Lobby(turnstile, repeats, patience_s)
        self.taken: list[int] = []
        self.go = asyncio.Event()
        self._app: Any = turnstile(repeats(self._answer))

    async def ask(self, sender: bytes) -> None:
        """Send a request and wait for its answer."""
        known: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "raw_path": b"/",
            "query_string": b"",
            "state": {},
            "client": None,
        }

        async def send(_: Any) -> None:
            pass

        await self._app({**known, "headers": [(b"authorization", sender)]}, None, send)

    async def _answer(self, scope: Any, _: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        if scope["headers"] == [(b"authorization", NOISY)]:
            scope["state"] |= {"request_id": "0" * 16, "route": "/", "reason": "tenant_rate"}
            await send({"type": "http.response.start", "status": 429, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})
        else:
            await self.go.wait()

    def come(self, count: int) -> None:
        """Bring pieces, numbered on."""
        for number in range(count):
            self.lobby.hold(lambda number=number: self.taken.append(number))  # type: ignore[misc]


async def passes(count: int) -> None:
    """Let the loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_one_piece_is_taken_in_a_pass_of_the_loop() -> None:
    house = House()
    house.come(8)
    assert house.taken == []
    for count in range(1, 9):
        await passes(1)
        assert house.taken == list(range(count))


async def test_nothing_is_taken_while_another_is_answered_and_all_of_it_afterwards() -> None:
    house = House()
    await house.ask(NOISY)
    guest = asyncio.create_task(house.ask(CALM))
    await passes(3)
    house.come(3)
    await passes(20)
    assert house.taken == []
    house.go.set()
    await guest
    await passes(4)
    assert house.taken == [0, 1, 2]


async def test_nothing_waits_longer_than_a_request_takes() -> None:
    house = House(patience_s=0.05)
    guest = asyncio.create_task(house.ask(CALM))
    await passes(3)
    house.come(2)
    await passes(5)
    assert house.taken == []
    await asyncio.sleep(0.2)
    assert house.taken == [0, 1]
    house.go.set()
    await guest


async def test_more_than_so_many_pieces_are_taken_in_the_next_pass_in_order() -> None:
    house = House()
    guest = asyncio.create_task(house.ask(CALM))
    await passes(3)
    house.come(MOST_HELD - 1)
    await passes(3)
    assert house.taken == []
    house.come(1)
    await passes(1)
    assert house.taken == [*range(MOST_HELD - 1), 0]
    house.go.set()
    await guest
    await passes(3)
    assert len(house.taken) == MOST_HELD


async def test_a_piece_that_cannot_be_taken_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()
    told: list[Any] = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "call_exception_handler", told.append)

    def fail() -> None:
        raise ZeroDivisionError

    house.lobby.hold(fail)
    house.come(1)
    await passes(4)
    assert house.taken == [0]
    assert isinstance(told[0]["exception"], ZeroDivisionError)


async def test_only_who_was_refused_lately_waits_here() -> None:
    house = House()
    begin = b"POST / HTTP/1.1\r\nAuthorization: "
    assert not house.lobby.is_for(begin + NOISY)
    await house.ask(NOISY)
    assert house.lobby.is_for(begin + NOISY)
    assert not house.lobby.is_for(begin + CALM)
