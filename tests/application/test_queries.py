"""Reading: search, newest samples, windows and the overview, from the store and the running pipeline together."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.watching import START_MS, Watching

from quantum.application import windows
from quantum.application.windows import Asked, Drawing, Rows, aligned
from quantum.domain.coverage import Allotment, CoverageRule, Tier
from quantum.domain.errors import NotFound, Rejected
from quantum.domain.facts import PutCoverage
from quantum.domain.scoring import ScoredRows
from quantum.domain.selectors import parse_selector
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from quantum.application.queries import Queries

DAY_MS = 86_400_000


@pytest.fixture(name="system")
async def running_system() -> AsyncIterator[Watching]:
    async with Watching() as system:
        yield system


def queries(system: Watching) -> Queries:
    found: Queries = system.container.queries()
    return found


async def written(system: Watching, *selectors: str, text: str = "", limit: int = 100) -> list[str]:
    items, _, _ = await queries(system).search([parse_selector(each) for each in selectors], text, limit)
    return [str(one.labels) for one in items]


async def hosts(system: Watching, *names: str) -> None:
    for name in names:
        await system.push("cpu", [1.0], host=name)


async def trickle(system: Watching, count: int) -> None:
    """One sample a second, each in a request of its own: so the interval is learnt."""
    for _ in range(count):
        await system.push("cpu", [1.0])


# ---- search -----------------------------------------------------------------------------------------------------


async def test_series_come_by_name_then_labels(system: Watching) -> None:
    await hosts(system, "b", "a")
    await system.push("cpu_user", [1.0])
    await system.push("cpu", [1.0])
    assert await written(system) == ["cpu", 'cpu{host="a"}', 'cpu{host="b"}', "cpu_user"]


async def test_any_selector_and_every_word_must_match(system: Watching) -> None:
    await hosts(system, "web-1", "web-2", "db")
    assert await written(system, 'cpu{host=~"web-.*"}') == ['cpu{host="web-1"}', 'cpu{host="web-2"}']
    assert await written(system, 'cpu{host="db"}', 'cpu{host="web-2"}') == ['cpu{host="db"}', 'cpu{host="web-2"}']
    assert await written(system, 'cpu{host!="db"}', text="CPU 1") == ['cpu{host="web-1"}']
    assert await written(system, text="cpu nobody") == []


async def test_pages_are_the_whole_in_order_and_say_how_many_there_are(system: Watching) -> None:
    await hosts(system, *"edcba")
    pages: list[list[str]] = []
    cursor = None
    while not pages or cursor is not None:
        items, total, cursor = await queries(system).search([], "cpu", 2, cursor)
        assert total == 5
        pages.append([one.labels.get("host") for one in items])
    assert pages == [["a", "b"], ["c", "d"], ["e"]]


async def test_a_page_that_is_exactly_full_has_none_after_it(system: Watching) -> None:
    await hosts(system, "a", "b")
    assert (await queries(system).search([], "", 2))[2] is None


async def test_series_that_appear_while_paging_do_not_repeat_or_hide_others(system: Watching) -> None:
    await hosts(system, "b", "d")
    _, _, cursor = await queries(system).search([], "", 1)
    await hosts(system, "a", "c")
    items, _, _ = await queries(system).search([], "", 10, cursor)
    assert [one.labels.get("host") for one in items] == ["c", "d"]


async def test_a_cursor_of_nothing_is_not_found(system: Watching) -> None:
    with pytest.raises(NotFound):
        await queries(system).search([], "", 1, after=42)


async def test_a_bad_pattern_is_refused(system: Watching) -> None:
    with pytest.raises(Rejected) as refused:
        await written(system, 'cpu{host=~"("}')
    assert refused.value.reason == "regex"


# ---- newest samples -----------------------------------------------------------------------------------------------


async def test_a_new_series_is_learning_and_its_newest_sample_is_shown(system: Watching) -> None:
    await system.push("cpu", [1.0, 2.0])
    now = queries(system).now([0])[0]
    assert (now.status, now.value, now.at_ms) == ("learning", 2.0, START_MS + 2000)
    assert math.isnan(now.expected)


async def test_a_learnt_series_that_stops_is_late_then_silent(system: Watching) -> None:
    await trickle(system, 60)
    assert queries(system).now([0])[0].status == "ok"
    await system.pass_time(6000)
    assert queries(system).now([0])[0].status == "late"
    await system.pass_time(10_000)
    assert queries(system).now([0])[0].status == "silent"


async def test_a_series_is_unusual_while_its_anomaly_lasts(system: Watching) -> None:
    calm = np.random.default_rng(1).normal(20.0, 1.0, 400).tolist()
    await system.push("cpu", [*calm, *[90.0] * 5], host="a")
    await system.push("cpu", calm, host="b")
    assert [one.status for one in queries(system).now([1, 0])] == ["ok", "unusual"]
    await system.push("cpu", calm, host="a")
    assert queries(system).now([0])[0].status == "ok"


async def test_a_series_that_only_ever_ended_has_no_time_yet(system: Watching) -> None:
    await system.push("cpu", [1.0])
    pipeline = system.monitor.pipeline
    pipeline.newest.columns["at_ms"][0] = np.iinfo(np.int64).min
    assert queries(system).now([0])[0].at_ms is None


# ---- coverage -----------------------------------------------------------------------------------------------------


async def test_what_is_not_watched_in_full_is_listed_with_its_reason(system: Watching) -> None:
    await hosts(system, "a", "b", "c", "d")
    rules = (CoverageRule(parse_selector('cpu{host="b"}'), Tier.NONE),)
    await system.submit(PutCoverage(Allotment(1, rules), "test"))
    first = queries(system).coverage(2)
    assert first.counts == {"full": 1, "cheap": 2, "none": 1}
    assert [(one.labels.get("host"), one.tier, one.tier_reason) for one in first.series] == [
        ("b", "none", 'rule 1: {__name__="cpu", host="b"}'),
        ("c", "cheap", "full_series limit 1 reached"),
    ]
    rest = queries(system).coverage(2, first.next_cursor)
    assert [one.labels.get("host") for one in rest.series] == ["d"]
    assert rest.next_cursor is None


async def test_a_series_that_is_not_scored_is_not_learning(system: Watching) -> None:
    await system.submit(PutCoverage(Allotment(5, (CoverageRule(parse_selector("cpu"), Tier.NONE),)), "test"))
    await system.push("cpu", [1.0, 2.0])
    await system.push("disk", [1.0])
    assert [one.status for one in queries(system).now([0, 1])] == ["ok", "learning"]
    assert system.monitor.learning == 1


# ---- windows ------------------------------------------------------------------------------------------------------


async def test_a_window_has_every_sample_with_its_band_and_score(system: Watching) -> None:
    await system.push("cpu", [1.0, 2.0] * 60)
    found = await queries(system).window(0, START_MS, START_MS + DAY_MS, 1000)
    assert found.resolution_ms == 0
    assert found.rows.value.tolist() == [1.0, 2.0] * 60
    assert np.isfinite(found.rows.score[-30:]).all()
    assert (found.rows.lower[-30:] <= found.rows.upper[-30:]).all()


async def test_a_window_reads_the_same_bands_after_sealing(system: Watching) -> None:
    await system.push("cpu", [1.0, 2.0] * 100)
    await system.monitor._seal()
    assert system.monitor.recent.rows == 0
    found = await queries(system).window(0, START_MS, START_MS + DAY_MS, 1000)
    assert found.rows.value.tolist() == [1.0, 2.0] * 100
    assert np.isfinite(found.rows.expected[-60:]).all()


async def test_a_window_excludes_its_end(system: Watching) -> None:
    await system.push("cpu", [1.0, 2.0, 3.0])
    found = await queries(system).window(0, START_MS + 1000, START_MS + 3000, 10)
    assert found.rows.value.tolist() == [1.0, 2.0]


async def test_a_hole_is_one_blank_row_in_its_middle(system: Watching) -> None:
    await trickle(system, 30)
    system.clock.advance(60_000)
    await trickle(system, 30)
    found = await queries(system).window(0, START_MS, START_MS + DAY_MS, 1000)
    blank = np.flatnonzero(np.isnan(found.rows.value))
    assert found.rows.at_ms[blank].tolist() == [START_MS + 30_000 + 61_000 // 2]
    assert (np.diff(found.rows.at_ms) > 0).all()


async def test_a_long_window_is_thinned_and_keeps_its_spike(system: Watching) -> None:
    values = [1.0] * 900
    values[333] = 50.0
    await system.push("cpu", values)
    found = await queries(system).window(0, START_MS, START_MS + 1_000_000, 30)
    assert len(found.rows) <= 30
    assert found.resolution_ms == 100_000
    assert found.rows.value.max() == 50.0


@pytest.mark.parametrize(
    ("start_ms", "end_ms", "points", "reason"),
    [
        (5, 5, 10, "window"),
        (6, 5, 10, "window"),
        (-1, 5, 10, "window"),
        (0, 10**22, 10, "window"),
        (0, 401 * DAY_MS, 10, "window"),
        (0, 5, 2, "points"),
        (0, 5, 11_001, "points"),
        (0, 5, -1, "points"),
    ],
)
async def test_windows_that_make_no_sense_are_refused(
    system: Watching, start_ms: int, end_ms: int, points: int, reason: str
) -> None:
    await hosts(system, "a")
    with pytest.raises(Rejected) as refused:
        await queries(system).window(0, start_ms, end_ms, points)
    assert refused.value.reason == reason


def test_a_window_of_too_many_samples_is_refused_before_anything_is_read() -> None:
    with pytest.raises(Rejected) as refused:
        Asked(0, 100 * DAY_MS, 1000, interval_ms=1.0).check()
    assert "50000000" in str(refused.value)


@given(st.integers(0, 10**12), st.integers(1, 10**10), st.sampled_from([math.nan, 0.5, 1000.0, 60_000.0]))
def test_pieces_are_the_window_without_overlap(start_ms: int, span_ms: int, interval_ms: float) -> None:
    asked = Asked(start_ms, start_ms + span_ms, 100, interval_ms)
    pieces = list(asked.pieces(start_ms))
    assert pieces[0][0] == start_ms
    assert pieces[-1][1] == start_ms + span_ms
    assert all(before[1] == after[0] for before, after in pairwise(pieces))


def rows_of(times: Sequence[int], values: Sequence[float]) -> Rows:
    rows = Rows.blank(np.array(times, np.int64))
    rows.value[:] = values
    return rows


@given(st.sets(st.integers(0, 9_999), max_size=60), st.integers(0, 60), st.integers(3, 30), st.data())
def test_a_drawing_is_the_same_in_one_piece_or_two(times: set[int], cut: int, points: int, data: st.DataObject) -> None:
    at_ms = sorted(times)
    values = data.draw(st.lists(st.floats(-10, 10), min_size=len(at_ms), max_size=len(at_ms)))
    whole, parts = (Drawing(Asked(0, 10_000, points, 20.0)) for _ in range(2))
    whole.add(rows_of(at_ms, values))
    parts.add(rows_of(at_ms[:cut], values[:cut]))
    parts.add(rows_of(at_ms[cut:], values[cut:]))
    drawn = [one.finished() for one in (whole, parts)]
    assert drawn[0].at_ms.tolist() == drawn[1].at_ms.tolist()
    assert np.array_equal(drawn[0].value, drawn[1].value, equal_nan=True)
    known = ~np.isnan(drawn[0].value)
    assert known.sum() <= max(points, 0) or whole.resolution_ms == 0


async def test_a_window_read_in_pieces_is_the_window(system: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    await system.push("cpu", [math.sin(n) for n in range(200)])
    once = await queries(system).window(0, START_MS, START_MS + 400_000, 90)
    monkeypatch.setattr(windows, "PIECE_ROWS", 7)
    pieces = await queries(system).window(0, START_MS, START_MS + 400_000, 90)
    for name in ("at_ms", "value", "score", "expected"):
        assert np.array_equal(getattr(once.rows, name), getattr(pieces.rows, name), equal_nan=True), name


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.sets(st.integers(0, 50), min_size=1), st.sets(st.integers(0, 50)), st.sets(st.integers(0, 50)))
def test_a_score_belongs_to_its_own_sample_and_a_band_to_those_after_it(
    times: set[int], kept: set[int], recent: set[int]
) -> None:
    def scored(at: set[int], score: float) -> ScoredRows:
        at_ms = np.array(sorted(at), np.int64)
        column = np.full(len(at), score)
        return ScoredRows(np.zeros(len(at), np.int64), at_ms, column, at_ms.astype(float), column, column)

    at_ms = np.array(sorted(times), np.int64)
    batch = SampleBatch(np.zeros(len(at_ms), np.int64), at_ms, np.ones(len(at_ms)))
    rows = aligned(batch, scored(kept, 0.1), scored(recent, 0.2))
    for row, at in enumerate(at_ms.tolist()):
        assert math.isnan(rows.score[row]) == (at not in kept | recent)
        if at in recent:
            assert rows.score[row] == 0.2
        before = [one for one in kept | recent if one <= at]
        assert (rows.expected[row] == max(before)) if before else math.isnan(rows.expected[row])


# ---- overview -----------------------------------------------------------------------------------------------------


async def test_the_situation_has_open_incidents_and_ongoing_anomalies_worst_first(system: Watching) -> None:
    await system.fire()
    for name in ("mild", "wild"):
        await system.push(name, [1.0, 1.1, 0.9, 1.0] * 60)
    await system.push("mild", [2.0])
    await system.push("wild", [500.0])
    found = await queries(system).situation()
    assert [one.title for one in found.incidents] == ["too hot"]
    assert found.tick.firing == 1
    scores = [one.score for one in found.anomalies]
    assert scores
    assert scores == sorted(scores, reverse=True)
    assert len(found.intervals_ms) == len(found.anomalies)
    assert "wild" in {one.series.name for one in found.anomalies}
