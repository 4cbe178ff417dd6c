"""A direction: odd to one side breaks a policy, odd to the other does not."""

from __future__ import annotations

from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.facts import START_MS, Log, labels, new_pipeline, policy

from quantum.domain.alerts import AlertState
from quantum.domain.conditions import SIDE_BEGINS, View, sided_scores
from quantum.domain.facts import Heartbeat, PutPolicy
from quantum.domain.newest import Newest
from quantum.domain.policies import AnomalyScore, Condition, Direction, PageBudget
from quantum.domain.scoring import Scores
from quantum.domain.series import SampleBatch

HOST: Final = labels("cpu", host="a")
NUMBERS: Final = st.floats(-1e6, 1e6)
ROWS: Final = st.lists(st.tuples(NUMBERS, NUMBERS, st.floats(0.0, 1e3), st.floats(0.0, 1.0)), min_size=1, max_size=30)


def seen(rows: list[tuple[float, float, float, float]]) -> View:
    """Return a view of series with these values, expectations, half widths of the band and scores."""
    value, expected, half, score = np.ascontiguousarray(np.array(rows).T)
    newest, count = Newest(), len(rows)
    batch = SampleBatch.of(list(range(count)), [START_MS] * count, value.tolist())
    newest.take(batch, Scores(score, expected, expected - half, expected + half), START_MS)
    nothing, apart = np.zeros(count, np.int64), np.zeros(count)
    return View(START_MS, 1000, newest.columns, nothing, apart, apart, nothing.astype(np.bool_))


@settings(max_examples=200, deadline=None)
@given(ROWS)
def test_a_score_counts_to_one_side_or_near_what_was_expected_to_none(
    rows: list[tuple[float, float, float, float]],
) -> None:
    slots, view = np.arange(len(rows)), seen(rows)
    above, below, either = (
        sided_scores(one, slots, view) for one in (Direction.ABOVE, Direction.BELOW, Direction.EITHER)
    )
    assert either.tolist() == [score for *_, score in rows]
    for (value, expected, half, score), up, down in zip(rows, above.tolist(), below.tolist(), strict=True):
        off = value - expected
        if abs(off) > SIDE_BEGINS * half + 1e-6:
            assert (up, down) == ((score, 0.0) if off > 0 else (0.0, score))
        elif abs(off) < SIDE_BEGINS * half - 1e-6:
            assert (up, down) == (0.0, 0.0)


def test_without_an_expectation_a_score_has_no_side() -> None:
    view = seen([(5.0, np.nan, np.nan, 0.9)])
    found = [sided_scores(one, np.arange(1), view).tolist() for one in Direction]
    assert found == [[0.0], [0.0], [0.9]]


def states(condition: Condition, values: list[float]) -> list[AlertState]:
    log = Log()
    log.add(PutPolicy(policy(condition=condition), 0, "me"))
    for value in values:
        log.send({HOST: value})
    log.add(Heartbeat(), 1000)
    pipeline = new_pipeline()
    return [change.after for fact in log.facts for change in pipeline.step(fact).effects.transitions]


ALERT: Final = [AlertState.PENDING, AlertState.FIRING, AlertState.RESOLVED]
KINDS: Final = ["score", "budget"]


def condition(kind: str, direction: Direction) -> Condition:
    if kind == "score":
        return AnomalyScore(raise_at=0.9, clear_at=0.1, direction=direction)
    return PageBudget(pages=1, per_ms=604_800_000, direction=direction)


@pytest.mark.parametrize("kind", KINDS)
def test_a_jump_up_breaks_above_and_either(kind: str) -> None:
    rise = [1.0, 1.0, 11.0, 11.0]
    assert states(condition(kind, Direction.ABOVE), rise) == ALERT
    assert states(condition(kind, Direction.EITHER), rise) == ALERT
    assert states(condition(kind, Direction.BELOW), rise) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_jump_down_breaks_below_and_either(kind: str) -> None:
    fall = [11.0, 11.0, 1.0, 1.0]
    assert states(condition(kind, Direction.BELOW), fall) == ALERT
    assert states(condition(kind, Direction.EITHER), fall) == ALERT
    assert states(condition(kind, Direction.ABOVE), fall) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_fall_mends_what_is_broken_above_however_odd_it_is(kind: str) -> None:
    assert states(condition(kind, Direction.ABOVE), [1.0, 1.0, 11.0, 1.0]) == ALERT
    assert states(condition(kind, Direction.EITHER), [1.0, 1.0, 11.0, 1.0, -9.0]) == ALERT[:2]
