"""The requests of a tenant begin one by one, so that another's waits for no more than one of them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum.adapters.http.turnstile import PATIENCE_S, Turnstile, sender_of

LONG_S: Final = 60.0
"""Longer than any of these tests takes."""


LAST: Final = 9


class Passage:
    """A turnstile with something behind it that takes a while.

    Attributes:
        begun: sender and number of every request that began, in order.
        go_on: until it is set, requests of senders that are called slow are not answered; number `LAST` sets it.
    """

    def __init__(self, patience_s: float = LONG_S, lately_s: float = LONG_S) -> None:
        self.begun: list[tuple[str, int]] = []
        self.go_on = asyncio.Event()
        self._app: Any = Turnstile(patience_s, lately_s)(self._answer)

    async def ask(self, sender: str, number: int, kind: str = "http") -> None:
        """Send a request and wait for its answer."""
        headers = [(b"host", b"x"), (b"authorization", sender.encode())]
        await self._app({"type": kind, "headers": headers, "sender": sender, "number": number}, None, None)

    async def _answer(self, scope: Any, _: Any, __: Any) -> None:
        self.begun.append((scope["sender"], scope["number"]))
        if scope["number"] == LAST:
            self.go_on.set()
        if scope["sender"] == "slow":
            await self.go_on.wait()


async def passes(count: int) -> None:
    """Let the loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_who_comes_in_the_midst_of_anothers_requests_waits_for_one_of_them() -> None:
    passage = Passage()
    noisy = [asyncio.create_task(passage.ask("noisy", number)) for number in range(8)]
    await passes(4)
    assert 0 < len(passage.begun) < 8
    before = len(passage.begun)
    await asyncio.create_task(passage.ask("calm", 0))
    assert passage.begun.index(("calm", 0)) <= before + 1, passage.begun
    await asyncio.gather(*noisy)


async def test_who_comes_alone_does_not_wait() -> None:
    passage = Passage()
    coroutine: Any = passage.ask("calm", 0)
    with suppress(StopIteration):
        coroutine.send(None)
    assert passage.begun == [("calm", 0)]


async def test_who_comes_more_often_waits_until_anothers_request_is_answered() -> None:
    passage = Passage()
    tasks = [asyncio.create_task(passage.ask("slow", 0))]
    tasks += [asyncio.create_task(passage.ask("noisy", number)) for number in range(4)]
    await passes(30)
    assert passage.begun == [("slow", 0), ("noisy", 0), ("noisy", 1)]
    passage.go_on.set()
    await passes(30)
    assert passage.begun == [("slow", 0), *(("noisy", number) for number in range(4))]
    await asyncio.gather(*tasks)
    late = asyncio.create_task(passage.ask("noisy", 4))
    await asyncio.sleep(0)
    assert passage.begun[-1] == ("noisy", 4), "nobody is under way"
    await late


async def test_who_comes_less_often_waits_for_nobody() -> None:
    passage = Passage()
    tasks = [asyncio.create_task(passage.ask("slow", number)) for number in range(3)]
    await passes(30)
    await passage.ask("calm", 0)
    assert passage.begun[-1] == ("calm", 0)
    passage.go_on.set()
    await asyncio.gather(*tasks)


def test_how_often_somebody_came_is_forgotten_after_two_stretches_of_time() -> None:
    turnstile = Turnstile()
    for at_s, came in ((10.0, 1), (10.5, 2), (11.1, 3), (11.9, 4), (12.2, 3), (15.0, 1)):
        turnstile._note("noisy", at_s)
        assert turnstile._how_often("noisy") == came
    assert turnstile._how_often("calm") == 0


async def test_beside_others_a_sender_begins_its_next_once_its_last_is_answered() -> None:
    passage = Passage()
    await passage.ask("calm", 0)
    tasks = [asyncio.create_task(passage.ask("slow", 0))]
    await passes(5)
    tasks += [asyncio.create_task(passage.ask("slow", number)) for number in (1, 2)]
    await passes(30)
    assert passage.begun == [("calm", 0), ("slow", 0)]
    await passage.ask("calm", 1)
    assert passage.begun == [("calm", 0), ("slow", 0), ("calm", 1)]
    passage.go_on.set()
    await asyncio.gather(*tasks)
    assert passage.begun[3:] == [("slow", 1), ("slow", 2)]


@pytest.mark.parametrize("others", [0, 1])
async def test_who_was_alone_for_a_while_need_not_wait_for_its_own_answers(others: int) -> None:
    passage = Passage(lately_s=0.0)
    for _ in range(others):
        await passage.ask("calm", 0)
    tasks = [asyncio.create_task(passage.ask("slow", number)) for number in range(3)]
    await passes(30)
    assert passage.begun[others:] == [("slow", 0), ("slow", 1), ("slow", 2)]
    passage.go_on.set()
    await asyncio.gather(*tasks)


async def test_nobody_waits_for_ever_for_its_own_answer_either() -> None:
    passage = Passage(PATIENCE_S)
    await passage.ask("calm", 0)
    await asyncio.gather(*(passage.ask("slow", number) for number in (0, 1, LAST)))
    assert passage.begun == [("calm", 0), ("slow", 0), ("slow", 1), ("slow", LAST)]


async def test_nobody_waits_for_ever_for_one_that_is_not_answered() -> None:
    passage = Passage(PATIENCE_S)
    slow = asyncio.create_task(passage.ask("slow", 0))
    await asyncio.gather(*(passage.ask("noisy", number) for number in range(4)))
    assert passage.begun == [("slow", 0), *(("noisy", number) for number in range(4))]
    passage.go_on.set()
    await slow


async def test_sockets_pass_and_nobody_waits_for_them() -> None:
    passage = Passage()
    socket = asyncio.create_task(passage.ask("slow", 0, "websocket"))
    tasks = [asyncio.create_task(passage.ask("noisy", number)) for number in range(3)]
    await passes(30)
    assert passage.begun == [("slow", 0), *(("noisy", number) for number in range(3))]
    passage.go_on.set()
    await asyncio.gather(socket, *tasks)


@pytest.mark.parametrize(
    ("headers", "client", "sender"),
    [
        ([(b"cookie", b"a=b"), (b"host", b"x")], ("127.0.0.1", 1), b"a=b"),
        ([(b"authorization", b"Bearer x")], ("127.0.0.1", 1), b"Bearer x"),
        ([], ("127.0.0.1", 1), "127.0.0.1"),
        ([], None, None),
    ],
)
def test_senders_are_told_apart_by_what_they_show_or_where_they_are(headers: Any, client: Any, sender: object) -> None:
    scope: Any = {"headers": headers, "client": client}
    assert sender_of(scope) == sender


async def test_who_gives_up_waiting_takes_no_turn() -> None:
    passage = Passage()
    tasks = [asyncio.create_task(passage.ask("noisy", number)) for number in range(4)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    tasks[2].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert passage.begun == [("noisy", 0), ("noisy", 3)]


@given(st.lists(st.sampled_from("abc"), max_size=30))
def test_everybody_begins_once_and_those_of_a_tenant_in_the_order_in_which_they_came(tenants: list[str]) -> None:
    async def run() -> list[tuple[str, int]]:
        passage = Passage()
        await asyncio.gather(*(passage.ask(tenant, number) for number, tenant in enumerate(tenants)))
        return passage.begun

    begun = asyncio.run(run())
    assert sorted(number for _, number in begun) == list(range(len(tenants)))
    for tenant in "abc":
        numbers = [number for of, number in begun if of == tenant]
        assert numbers == sorted(numbers)
