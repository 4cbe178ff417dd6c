"""Who was refused for its rate a moment ago is refused again without being judged again, and may no less for it."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum.adapters.http.problems import problem
from quantum.adapters.http.repeats import AGAIN_S, LATELY_S, MOST, MOST_SENDERS, Repeats

HEADERS: Final = ((b"host", b"x"), (b"authorization", b"Bearer a"), (b"content-length", b"7"))


class House:
    """An application behind the layer that lets some requests a second in, as far as a burst allows.

    Attributes:
        now_s: what its clock shows.
        judged: how many requests reached it.
        observed: what the layer told of its refusals.
    """

    def __init__(self, per_s: float = 0.0, burst: float = 0.0, status: int = 429, reason: str = "key_rate") -> None:
        self.now_s, self.judged = 0.0, 0
        self.observed: list[tuple[str, str, int, str]] = []
        self._per_s, self._burst, self._room, self._at_s = per_s, burst, burst, 0.0
        self._status, self._reason = status, reason
        self.repeats = Repeats(self._observe, lambda: self.now_s)
        self._app: Any = self.repeats(self._judge)

    def _observe(self, method: str, route: str, status: int, _: float, reason: str) -> None:
        self.observed.append((method, route, status, reason))

    async def ask(
        self, headers: tuple[tuple[bytes, bytes], ...] = HEADERS, method: str = "POST", target: bytes = b"/in"
    ) -> tuple[int, Any, str]:
        """Send a request; return the status, the body, and the request id of the headers."""
        if (again := self.repeats.again(method.encode(), target, headers)) is not None:
            status, rest = again
            lines, _, body = rest.partition(b"\r\n\r\n")
            told = dict(line.split(b": ", 1) for line in lines.split(b"\r\n"))
        else:
            status, told, body = await self._ask_inside(headers, method, target)
        assert int(told[b"content-length"]) == len(body)
        return status, json.loads(body), told[b"x-request-id"].decode()

    async def _ask_inside(
        self, headers: tuple[tuple[bytes, bytes], ...], method: str, target: bytes
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        path, _, query = target.partition(b"?")
        scope = {"type": "http", "method": method, "raw_path": path, "query_string": query, "state": {}}
        await self._app({**scope, "headers": list(headers), "client": None}, None, send)
        head, body = sent
        return head["status"], dict(head["headers"]), body["body"]

    async def _judge(self, scope: Any, _: Any, send: Any) -> None:
        self.judged += 1
        self._room = min(self._burst, self._room + (self.now_s - self._at_s) * self._per_s)
        self._at_s = self.now_s
        is_let_in = self._room >= 1
        self._room -= is_let_in
        request_id = f"{self.judged:016x}"
        scope["state"] |= {"request_id": request_id, "route": "/in", "reason": "" if is_let_in else self._reason}
        answer = problem(200 if is_let_in else self._status, self._reason, "too many", request_id)
        length = b"%d" % len(answer.content)
        headers = [(b"content-length", length), (b"x-request-id", request_id.encode())]
        await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": answer.content, "more_body": False})


async def test_a_refusal_is_told_again_for_a_moment_under_an_id_of_its_own() -> None:
    house = House()
    answers = [await house.ask() for _ in range(5)]
    assert house.judged == 1
    assert {status for status, _, _ in answers} == {429}
    assert len({request_id for _, _, request_id in answers}) == 5
    assert [body["request_id"] for _, body, _ in answers] == [request_id for _, _, request_id in answers]
    assert {body["reason"] for _, body, _ in answers} == {"key_rate"}
    assert house.observed == [("POST", "/in", 429, "key_rate")] * 4
    house.now_s += AGAIN_S
    await house.ask()
    assert house.judged == 2


@pytest.mark.parametrize(
    "other",
    [
        {"headers": (*HEADERS[:1], (b"authorization", b"Bearer b"))},
        {"headers": (*HEADERS, (b"origin", b"https://elsewhere"))},
        {"headers": ((b"host", b"y"), *HEADERS[1:])},
        {"method": "GET"},
        {"target": b"/out"},
        {"target": b"/in?a=1"},
    ],
)
async def test_whatever_is_another_request_is_judged(other: dict[str, Any]) -> None:
    house = House()
    await house.ask()
    await house.ask(**other)
    assert house.judged == 2


async def test_a_body_of_another_length_is_the_same_request() -> None:
    house = House()
    await house.ask()
    await house.ask((*HEADERS[:2], (b"content-length", b"8")))
    assert house.judged == 1


@pytest.mark.parametrize(("status", "reason"), [(429, "samples_rate"), (401, "invalid_credential"), (503, "key_rate")])
async def test_what_may_depend_on_more_is_judged_each_time(status: int, reason: str) -> None:
    house = House(status=status, reason=reason)
    for _ in range(3):
        await house.ask()
    assert house.judged == 3


async def test_so_many_refusals_are_known_at_most() -> None:
    house = House()
    for number in range(MOST + 1):
        await house.ask((HEADERS[0], (b"authorization", b"%d" % number)))
    await house.ask((HEADERS[0], (b"authorization", b"0")))
    assert house.judged == MOST + 2, "the first was forgotten"
    await house.ask((HEADERS[0], (b"authorization", b"%d" % MOST)))
    assert house.judged == MOST + 2, "the newest was not"


@given(st.floats(0.5, 50), st.floats(2, 300), st.floats(5, 400))
async def test_who_keeps_on_knocking_is_let_in_as_often_as_before(per_s: float, burst: float, knocks: float) -> None:
    """Its share of so many seconds is let in, but for what a moment is worth; `limits` counts as this house does."""
    seconds = 20.0
    burst = max(burst, 10 * per_s)
    house = House(per_s, burst)
    let_in = 0
    for number in range(int(seconds * knocks)):
        house.now_s = number / knocks
        let_in += (await house.ask())[0] == 200
    share = min(burst + seconds * per_s, int(seconds * knocks))
    assert let_in <= share + 1
    assert let_in >= min(share, seconds * knocks) - (AGAIN_S + 1 / knocks) * per_s - 2


async def test_with_a_query_it_is_the_same_request_as_well() -> None:
    house = House()
    for _ in range(3):
        await house.ask(target=b"/in?a=1")
    assert house.judged == 1


async def test_who_was_refused_is_known_by_what_it_shows_for_a_while() -> None:
    house = House()
    await house.ask()
    begin = b"POST /in HTTP/1.1\r\nAuthorization: Bearer "
    assert house.repeats.is_refused(b"Bearer a")
    assert house.repeats.is_of_refused(begin + b"a\r\n")
    assert not house.repeats.is_refused(b"Bearer b")
    assert not house.repeats.is_of_refused(begin + b"b\r\n")
    house.now_s += LATELY_S
    assert not house.repeats.is_refused(b"Bearer a")
    assert not house.repeats.is_of_refused(begin + b"a\r\n")


async def test_so_many_senders_are_known_at_most_and_they_are_forgotten_for_others() -> None:
    house = House()
    for number in range(MOST_SENDERS + 1):
        await house.ask((HEADERS[0], (b"authorization", b"Bearer %d." % number)))
    known = [house.repeats.is_refused(b"Bearer %d." % number) for number in range(MOST_SENDERS + 1)]
    assert known == [True] * MOST_SENDERS + [False]
    house.now_s += LATELY_S
    await house.ask()
    assert house.repeats.is_refused(b"Bearer a")


async def test_who_shows_nothing_is_never_looked_for_in_what_comes() -> None:
    house = House()
    await house.ask((HEADERS[0],))
    assert house.repeats.is_refused(None)
    assert not house.repeats.is_of_refused(b"POST /in HTTP/1.1\r\n")
