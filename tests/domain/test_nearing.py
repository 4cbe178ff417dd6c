"""Reaching a limit in time: chances from a series' own past, and a policy that is broken before the limit is."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.facts import Log, labels, new_pipeline, policy

from quantum.domain.alerts import AlertState, Transition
from quantum.domain.facts import Fact, Heartbeat, PutPolicy
from quantum.domain.nearing import AHEAD, PAST, chances
from quantum.domain.policies import Comparison, TimeToLimit

DISK: Final = labels("cpu", host="a")
SOON: Final = TimeToLimit(op=Comparison.ABOVE, limit=100.0, within_ms=60_000, probability=0.9)
ROWS: Final = arrays(np.float64, (3, PAST), elements=st.floats(-1e6, 1e6))


@settings(max_examples=60, deadline=None)
@given(ROWS, st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_a_farther_limit_is_not_likelier_and_directions_mirror_each_other(
    past: np.ndarray[Any, Any], limit: float, farther: float
) -> None:
    near, far = chances(past, limit, is_above=True), chances(past, limit + farther, is_above=True)
    assert ((near > 0) & (near <= 1)).all()
    assert (far <= near).all()
    assert chances(-past, -limit, is_above=False).tolist() == near.tolist()


def test_an_incomplete_past_has_no_chance() -> None:
    past = np.arange(float(PAST))
    past[5] = np.nan
    assert np.isnan(chances(past[None, :], 0.0, is_above=True)).all()


def test_chances_come_true_as_often_as_they_say() -> None:
    chance = np.random.default_rng(4)
    rows = np.arange(PAST + AHEAD) * 0.5 + chance.normal(size=(4000, PAST + AHEAD)) * 3
    # what came is a limit that was less likely than 20 % in one of five cases, if chances mean what they say
    found = np.array([chances(row[None, :PAST], float(row[-1]), is_above=True)[0] for row in rows])
    assert (found <= 0.2).mean() == pytest.approx(0.2, abs=0.06)


@pytest.mark.parametrize(("kind", "least", "most_moments"), [("noise", 0.75, 0.05), ("walk", 0.2, 0.05)])
def test_what_is_said_to_be_reached_is_seldom_said_in_vain(kind: str, least: float, most_moments: float) -> None:
    noise = np.random.default_rng(7).normal(size=20_000)
    series = noise if kind == "noise" else np.cumsum(noise)
    windows = np.lib.stride_tricks.sliding_window_view(series, PAST + AHEAD)[::16]
    past, came = windows[:, :PAST], windows[:, -1]
    # a limit that is half a deviation away, by which every moment is moved
    limit = past[:, -1] + 0.5 * past.std(axis=1)
    said = chances(past - limit[:, None], 0.0, is_above=True) >= 0.9
    assert 0 < said.mean() <= most_moments
    assert (came >= limit)[said].mean() >= least


def filling(rows: int, *, hole: int = -1, rate: float = 0.25) -> list[Fact]:
    """Return facts of a disk that fills up second by second, with a hole of a minute and a half at some row."""
    log = Log(1_700_000_000_000)
    log.add(PutPolicy(policy(condition=SOON), 0, "me"))
    for row in range(rows):
        if row == hole:
            for _ in range(90):
                log.add(Heartbeat(), 1000)
        log.send({DISK: row * rate})
    return log.facts


def transitions(facts: list[Fact], split: int = 0) -> list[Transition]:
    pipeline = new_pipeline()
    found: list[Transition] = []
    for number, fact in enumerate(facts):
        if number == split:
            state, known = pipeline.dump(), pipeline.labels
            pipeline = new_pipeline()
            pipeline.restore(state, known)
        found += pipeline.step(fact).effects.transitions
    return found


def test_a_policy_is_broken_before_the_limit_is_and_a_restart_changes_nothing() -> None:
    facts = filling(380)
    found = transitions(facts)
    fired = next(one for one in found if one.after is AlertState.FIRING)
    value_then = (fired.at_ms - 1_700_000_000_000) / 1000 * 0.25
    assert 80.0 < value_then < 95.0
    assert "with a chance of 90 % or more above 100 within 1 min" in fired.reason
    assert transitions(facts, split=200) == found


def test_a_series_that_does_not_get_there_breaks_nothing_and_a_hole_begins_anew() -> None:
    assert transitions(filling(380, rate=0.1)) == []
    assert transitions(filling(360)) != []
    assert transitions(filling(360, hole=300)) == []


def test_it_is_mended_once_the_chance_is_below_half() -> None:
    log = Log(1_700_000_000_000)
    log.add(PutPolicy(policy(condition=SOON), 0, "me"))
    for row in range(600):
        log.send({DISK: row * 0.25 if row < 350 else 20.0})
    states = [one.after for one in transitions(log.facts)]
    assert states[-1] is AlertState.RESOLVED
