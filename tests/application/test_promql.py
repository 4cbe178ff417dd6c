"""PromQL queries over the running system: which series are found, what is read for it, and when a query ends."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.watching import START_MS, Watching

from quantum.adapters.linear_patterns import full_match, groups_of
from quantum.adapters.promql_parser import parse_matchers, parse_promql
from quantum.application import promql
from quantum.domain.errors import Rejected
from quantum.domain.labels import MatcherCompiler
from quantum.domain.promql.tables import Table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from numpy.typing import NDArray

    from quantum.application.promql import Answer, PromQueries
    from quantum.domain.promql.plan import Plan
    from quantum.domain.series import SampleBatch

PREFIX = "/prometheus/api/v1"


@pytest.fixture
async def system() -> AsyncIterator[Watching]:
    async with Watching() as system:
        await system.push("temp", [20.0, 21.5, 19.0], room="a")
        await system.push("temp", [5.0], room="b")
        await system.push("up", [1.0])
        yield system


@pytest.fixture
def queries(system: Watching) -> PromQueries:
    found: PromQueries = system.container.promql()
    return found


class Reads:
    """The reads of the store: recorded, and held until they may go on."""

    def __init__(self, system: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
        self._read = system.container.store().samples
        self.slots: list[list[int]] = []
        self.waiting = self.most = 0
        self.wanted = 1
        self.may_go_on = asyncio.Event()
        self.begun = asyncio.Event()
        monkeypatch.setattr(system.container.store(), "samples", self.samples)

    async def samples(self, slots: list[int], start_ms: int, end_ms: int) -> SampleBatch:
        self.slots.append(slots)
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        if self.waiting == self.wanted:
            self.begun.set()
        try:
            await self.may_go_on.wait()
        finally:
            self.waiting -= 1
        batch: SampleBatch = await self._read(slots, start_ms, end_ms)
        return batch


@pytest.fixture
async def reads(system: Watching, monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(system, monkeypatch)


def itself(answer: Answer) -> Answer:
    return answer


async def names(queries: PromQueries, selector: str, start_ms: int | None, end_ms: int | None) -> list[str]:
    return [str(one) for one in await queries.series([parse_matchers(selector)], start_ms, end_ms)]


async def test_series_that_come_later_are_found_too(system: Watching, queries: PromQueries) -> None:
    assert await names(queries, "temp", None, None) == ['temp{room="a"}', 'temp{room="b"}']
    await system.push("temp", [7.0], room="c")
    assert await names(queries, 'temp{room!="a"}', None, None) == ['temp{room="b"}', 'temp{room="c"}']


async def test_what_takes_long_to_find_is_found_aside_and_is_the_same(
    system: Watching, queries: PromQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def rooms() -> int:
        answer = await queries.at("temp", START_MS + 60_000, itself)
        assert isinstance(answer.value, Table)
        return int(answer.value.there.sum())

    assert await rooms() == 2
    await system.push("temp", [7.0], room="c")
    monkeypatch.setattr(promql, "FEW_SERIES", 0)
    assert await rooms() == 3
    with queries._indexing:
        asked = asyncio.ensure_future(rooms())
        assert await asyncio.wait([asked], timeout=0.05) == (set(), {asked})
    assert await asked == 3


async def test_a_query_that_is_over_is_not_finished(
    queries: PromQueries, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished: list[Answer] = []
    begun, go_on, ended = asyncio.Event(), threading.Event(), threading.Event()
    loop, evaluated = asyncio.get_running_loop(), promql._evaluated

    def slow(*one: Any) -> Any:
        loop.call_soon_threadsafe(begun.set)
        go_on.wait()
        loop.call_soon_threadsafe(ended.set)
        return evaluated(*one)

    monkeypatch.setattr(promql, "_evaluated", slow)
    reads.may_go_on.set()
    asked = asyncio.ensure_future(queries.at("vector(1)", START_MS, finished.append))
    await begun.wait()
    asked.cancel()
    await asyncio.wait([asked])
    go_on.set()
    await asyncio.to_thread(ended.wait)
    await asyncio.to_thread(int)
    assert finished == []


@pytest.mark.parametrize(
    ("text", "is_at_once"), [("temp", True), ("temp[1h]", False), ("-temp", False), ("max_over_time(temp[1h])", False)]
)
async def test_only_a_short_line_as_it_is_stored_is_answered_without_another_thread(
    queries: PromQueries, text: str, *, is_at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def thread_of_answer() -> int:
        return await queries.at(text, START_MS + 5000, lambda _: threading.get_ident())

    assert (await thread_of_answer() == threading.get_ident()) is is_at_once
    monkeypatch.setattr(promql, "SHORT", 2)
    assert await thread_of_answer() != threading.get_ident()


@pytest.mark.parametrize(("longest", "times"), [(9, 1), (3, 2)])
async def test_a_text_that_is_not_too_long_is_parsed_once(
    system: Watching, longest: int, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []

    def parse(text: str) -> Plan:
        parsed.append(text)
        return parse_promql(text)

    def newest() -> NDArray[np.int64]:
        return np.zeros(0, np.int64)

    store = system.container.store()
    queries = promql.PromQueries(store, store, dict, newest, MatcherCompiler(full_match), parse, groups_of)
    monkeypatch.setattr(promql, "LONG_TEXT", longest)
    for _ in range(2):
        await queries.at("temp", START_MS, itself)
    assert parsed == ["temp"] * times


async def test_a_series_of_several_selectors_is_found_once(queries: PromQueries) -> None:
    selectors = [parse_matchers(text) for text in ("temp", '{room="a"}', "up")]
    found = await queries.series(selectors, None, None)
    assert [str(one) for one in found] == ['temp{room="a"}', 'temp{room="b"}', "up"]


async def test_nothing_is_read_to_know_who_reports_still(queries: PromQueries, reads: Reads) -> None:
    assert len(await queries.series([], START_MS, START_MS + 60_000)) == 3
    assert len(await queries.series([], START_MS, None)) == 3
    assert await queries.series([], START_MS + 60_000, None) == []
    assert reads.slots == []


async def test_only_series_that_reported_later_are_read_to_know_the_past(queries: PromQueries, reads: Reads) -> None:
    reads.may_go_on.set()
    assert await names(queries, '{__name__=~".+"}', 0, START_MS + 1000) == ['temp{room="a"}']
    assert 0 < sum(map(len, reads.slots)) < 4


async def test_a_series_whose_newest_sample_is_not_known_yet_is_read(
    system: Watching, queries: PromQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    for unknown in (np.zeros(0, np.int64), np.full(9, promql.UNHEARD_MS)):
        monkeypatch.setattr(queries, "_newest_ms", lambda unknown=unknown: unknown)
        assert len(await queries.series([], START_MS, None)) == 3
        assert await queries.series([], START_MS + 60_000, None) == []


async def test_many_series_are_read_in_portions(
    queries: PromQueries, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads.may_go_on.set()
    monkeypatch.setattr(promql, "ROWS_AT_ONCE", 300)
    answer = await queries.at("count(temp)", START_MS + 5000, itself)
    assert isinstance(answer.value, Table)
    assert answer.value.values.tolist() == [[2.0]]
    assert [len(one) for one in reads.slots] == [1, 1]


async def test_a_query_reads_no_more_once_it_has_read_too_much(
    queries: PromQueries, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads.may_go_on.set()
    monkeypatch.setattr(promql, "ROWS_AT_ONCE", 1)
    monkeypatch.setattr(promql, "MAX_SAMPLES", 2)
    with pytest.raises(Rejected, match="at most 2 samples") as refused:
        await queries.at('{__name__=~".+"}[1h]', START_MS + 5000, itself)
    assert (refused.value.reason, len(reads.slots)) == ("execution", 1)


@pytest.mark.parametrize("text", ["temp", "temp[1h]"])
async def test_an_answer_that_is_too_large_is_refused(
    queries: PromQueries, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promql, "MAX_ANSWER", 1)
    with pytest.raises(Rejected, match="at most 1 values") as refused:
        await queries.at(text, START_MS + 5000, itself)
    assert refused.value.reason == "execution"


async def test_a_query_that_takes_too_long_is_given_up(queries: PromQueries, reads: Reads) -> None:
    with pytest.raises(Rejected, match="longer than 20 ms") as refused:
        await queries.at("temp", START_MS, itself, timeout_ms=20)
    assert (refused.value.reason, reads.waiting) == ("timeout", 0)


async def test_only_some_queries_are_worked_on_at_once_and_all_are_answered(queries: PromQueries, reads: Reads) -> None:
    reads.wanted = promql.AT_ONCE
    asked = [asyncio.ensure_future(queries.at("temp", START_MS + 5000, itself)) for _ in range(200)]
    await reads.begun.wait()
    reads.may_go_on.set()
    answers = await asyncio.gather(*asked)
    assert {len(answer.value.labels) for answer in answers if isinstance(answer.value, Table)} == {2}
    assert (len(reads.slots), reads.most) == (200, promql.AT_ONCE)


async def test_a_query_whose_asker_hangs_up_is_given_up(system: Watching, reads: Reads) -> None:
    """Q28."""
    sent: list[Any] = []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": f"{PREFIX}/query",
        "raw_path": f"{PREFIX}/query".encode(),
        "query_string": b"query=temp",
        "root_path": "",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
    }
    messages = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Any:
        if (message := next(messages, None)) is not None:
            return message
        await reads.begun.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    app: Any = system.app
    await app(scope, receive, send)
    assert (sent[0]["status"], reads.waiting) == (503, 0)
    assert b'"errorType":"timeout"' in sent[1]["body"]
