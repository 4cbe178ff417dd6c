"""Queries: series, windows and the situation, from the store and the running pipeline together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.application.test_monitoring import System, running
from tests.facts import START_MS, full_match, labels, policy

from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.application.queries import MAX_TIME_MS, Queries
from quantum.domain.errors import NotFound, Rejected
from quantum.domain.facts import Heartbeat, PutPolicy
from quantum.domain.labels import MatcherCompiler
from quantum.domain.selectors import parse_selector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CPU, CPU_B, DISK = labels("cpu", host="a"), labels("cpu", host="b"), labels("disk", host="a")


@pytest.fixture
async def system() -> AsyncIterator[System]:
    async with SqliteStore(MEMORY) as store, running(store) as opened:
        await opened.send({DISK: 1.0, CPU_B: 2.0, CPU: 0.0})
        yield opened


def queries(system: System) -> Queries:
    return Queries(system.store, system.store, system.monitor, MatcherCompiler(full_match))


def test_series_are_found_by_words_and_selectors_in_order_of_name(system: System) -> None:
    ask = queries(system)
    names = [str(one.labels) for one in ask.search([], "", 10)[0]]
    assert names == ['cpu{host="a"}', 'cpu{host="b"}', 'disk{host="a"}']
    assert [one.slot for one in ask.search([], 'CPU host="b', 10)[0]] == [1]
    assert ask.search([parse_selector('{host="a"}')], "", 10)[1] == 2
    assert ask.search([parse_selector("disk"), parse_selector('cpu{host="b"}')], "", 10)[1] == 2


def test_a_cursor_leads_through_all_pages(system: System) -> None:
    ask = queries(system)
    first, total, cursor = ask.search([], "", 2)
    assert (len(first), total) == (2, 3)
    assert cursor is not None
    rest, _, end = ask.search([], "", 2, cursor)
    assert [one.labels for one in rest] == [DISK]
    assert end is None


async def test_series_that_appear_later_are_found(system: System) -> None:
    ask = queries(system)
    ask.search([], "", 1)
    with pytest.raises(NotFound):
        ask.slot(labels("new").fingerprint)
    await system.send({labels("new"): 1.0})
    assert ask.slot(labels("new").fingerprint) == 3


async def test_a_series_says_how_it_is(system: System) -> None:
    ask = queries(system)
    assert ask.now([0])[0].status == "learning"
    await system.send({CPU: 1.0, DISK: 1.0})
    await system.send({CPU: 1.0, DISK: 1.0})
    assert ask.now([2])[0].status == "ok"
    statuses = []
    for _ in range(9):
        await system.send({CPU: 1.0})
        statuses.append(ask.now([0])[0].status)
    assert statuses[0] == "ok"
    assert "late" in statuses
    assert statuses[-1] == "silent"


async def test_a_window_joins_sealed_and_recent_rows_with_band_and_score(system: System) -> None:
    for value in (1.0, 2.0, 30.0):
        await system.send({CPU: value})
    await system.monitor._seal()
    await system.send({CPU: 31.0})
    window = await queries(system).window(2, START_MS, START_MS + 60_000, 100)
    assert window.value.tolist() == [0.0, 1.0, 2.0, 30.0, 31.0]
    assert window.score[3:].tolist() == [1.0, 0.1]
    assert window.upper[4] == 31.0
    assert np.isnan(window.expected[0])
    assert [one.start_ms for one in window.anomalies] == [START_MS + 4000]
    assert window.resolution_ms == 0


async def test_a_hole_in_a_window_is_a_row_without_a_value(system: System) -> None:
    for after_ms in (1000, 1000, 1000, 30_000, 1000):
        await system.send({CPU: 1.0}, after_ms)
    window = await queries(system).window(2, START_MS, START_MS + 60_000, 100)
    assert int(np.isnan(window.value).sum()) == 1
    assert np.isnan(window.value[4])
    assert (np.diff(window.at_ms) > 0).all()


async def test_a_long_window_keeps_its_extremes(system: System) -> None:
    for n in range(60):
        await system.send({CPU: 100.0 if n == 17 else float(n % 3)})
    window = await queries(system).window(2, START_MS, START_MS + 100_000, 12)
    assert len(window.at_ms) <= 15
    assert window.value.max() == 100.0
    assert window.resolution_ms > 0


async def test_a_window_without_samples_is_empty(system: System) -> None:
    window = await queries(system).window(0, 1, 2, 10)
    assert len(window.at_ms) == 0


@pytest.mark.parametrize(
    ("start_ms", "end_ms", "points"),
    [(-1, 5, 10), (5, 5, 10), (0, MAX_TIME_MS + 1, 10), (0, 500 * 86_400_000, 10), (0, 5, 0), (0, 5, 11_001)],
)
async def test_a_window_that_makes_no_sense_is_refused(system: System, start_ms: int, end_ms: int, points: int) -> None:
    with pytest.raises(Rejected):
        await queries(system).window(0, start_ms, end_ms, points)


async def test_the_situation_tells_open_incidents_and_ongoing_anomalies_worst_first(system: System) -> None:
    await system.control.submit(PutPolicy(policy(), 0, "me"))
    await system.send({CPU: 6.0, CPU_B: 99.0, DISK: 1.0})
    await system.monitor.append(Heartbeat())
    await system.send({CPU: 6.0, CPU_B: 120.0, DISK: 1.0})
    found = await queries(system).situation()
    assert [one.place.get("host") for one in found.incidents] == ["b"]
    assert [one.series for one in found.anomalies] == [CPU_B, CPU]
    assert found.tick.firing == 1
    assert found.started_at_ms == START_MS
