"""Why an alert fired: its counterfactual holds on both sides in a replay, its parts add up, movements are found."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.facts import Log, labels, new_pipeline, policy

from quantum.domain.alerts import Alert, Anomaly
from quantum.domain.civil import DAY_MS, HOUR_MS, UTC, CivilTime
from quantum.domain.facts import Heartbeat, PutPolicy
from quantum.domain.policies import (
    MAX_DURATION_MS,
    Absence,
    AnomalyScore,
    Comparison,
    Direction,
    PageBudget,
    RateOfChange,
    Threshold,
    TimeToLimit,
)
from quantum.domain.why import (
    BUCKETS,
    Counterfactual,
    counterfactuals,
    deviation,
    movement,
    nearest,
    on_grid,
    parts_of,
    surprise,
)

if TYPE_CHECKING:
    from quantum.domain.facts import Fact
    from quantum.domain.policies import AlertPolicy, Condition

HOSTS: Final = [labels("cpu", host=host) for host in "abc"]
LEVELS: Final = st.sampled_from([10.0, 40.0, 79.0, 85.0, 91.0, 92.0, 95.0, 99.0])
ABOVE: Final = Threshold(op=Comparison.ABOVE, raise_at=90.0, clear_at=80.0)
CONDITIONS: Final[list[Condition]] = [
    ABOVE,
    Threshold(op=Comparison.BELOW, raise_at=45.0, clear_at=80.0),
    AnomalyScore(raise_at=0.3, clear_at=0.1),
    AnomalyScore(raise_at=0.3, clear_at=0.1, direction=Direction.ABOVE),
    AnomalyScore(raise_at=0.3, clear_at=0.1, direction=Direction.BELOW),
    RateOfChange(op=Comparison.ABOVE, window_ms=2000, raise_at=1.0, clear_at=0.5),
    RateOfChange(op=Comparison.BELOW, window_ms=2000, raise_at=-1.0, clear_at=-0.5),
    Absence(after_ms=3000),
]


def run(facts: list[Fact]) -> list[Alert]:
    """Return every alert as it was last told, in order of birth."""
    pipeline, alerts = new_pipeline(), {}
    for fact in facts:
        alerts.update({one.id: one for one in pipeline.step(fact).effects.alerts})
    return list(alerts.values())


def story(one: AlertPolicy, rows: list[tuple[float | None, ...]]) -> list[Fact]:
    """Return facts of a second each: what some hosts say; None says nothing."""
    log = Log()
    log.add(PutPolicy(one, 0, "me"))
    for values in rows:
        said = {host: value for host, value in zip(HOSTS, values, strict=False) if value is not None}
        if said:
            log.send(said)
        else:
            log.add(Heartbeat(), 1000)
    log.add(Heartbeat(), 1000)
    return log.facts


def applied(one: AlertPolicy, setting: str, value: float) -> AlertPolicy:
    if setting == "for_ms":
        return replace(one, for_ms=int(value))
    if setting == "after_ms":
        return replace(one, condition=Absence(after_ms=int(value)))
    assert not isinstance(one.condition, Absence | PageBudget | TimeToLimit)
    return replace(one, condition=replace(one.condition, raise_at=value))


def fires(alert: Alert, setting: str, one: AlertPolicy, rows: list[tuple[float | None, ...]]) -> bool:
    """Return whether the same alert fires under a policy: at the same moment, or with another `for_ms` at all."""
    same = [each for each in run(story(one, rows)) if each.id == alert.id and each.firing_at_ms is not None]
    return any(setting == "for_ms" or each.firing_at_ms == alert.firing_at_ms for each in same)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(CONDITIONS),
    st.lists(st.tuples(*[st.none() | LEVELS] * 3), min_size=2, max_size=25),
    st.integers(0, 4),
    st.sampled_from([(), ("host",)]),
    st.integers(0, 3),
)
def test_a_counterfactual_holds_on_both_sides_of_a_replay(
    condition: Condition,
    rows: list[tuple[float | None, ...]],
    for_s: int,
    by: tuple[str, ...],
    keep_s: int,
) -> None:
    one = policy(condition=condition, by=by, for_ms=for_s * 1000, keep_firing_for_ms=keep_s * 1000)
    fired = [alert for alert in run(story(one, rows)) if alert.firing_at_ms is not None]
    assume(fired)
    for alert in fired:
        for each in counterfactuals(alert):
            assert fires(alert, each.setting, applied(one, each.setting, each.fires_at), rows), each
            assert not fires(alert, each.setting, applied(one, each.setting, each.spares_at), rows), each


def fired(one: AlertPolicy, values: list[float]) -> Alert:
    return next(alert for alert in run(story(one, [(value,) for value in values])) if alert.firing_at_ms is not None)


def spared(one: AlertPolicy, values: list[float]) -> dict[str, Counterfactual]:
    return {each.setting: each for each in counterfactuals(fired(one, values))}


def test_the_limit_that_spares_is_the_least_of_the_peaks_while_it_was_held() -> None:
    found = spared(policy(for_ms=2000), [10, 93, 91, 97, 99, 50])
    assert found["raise_at"].spares_at == 93.0
    assert found["raise_at"].words == "It would not have fired then with a limit of 93 or more instead of 90."
    assert found["for_ms"] == Counterfactual(
        "for_ms", 3001, 3000, "It would not have fired if it had to hold for more than 3 s."
    )


@pytest.mark.parametrize(
    ("condition", "values", "words"),
    [
        (Threshold(op=Comparison.BELOW, raise_at=5.0, clear_at=5.0), [9, 3, 9], "a limit of 3 or less instead of 5."),
        (AnomalyScore(raise_at=0.3, clear_at=0.1), [10, 15, 15], "with a score above 0.5 as its limit."),
    ],
)
def test_the_words_say_which_limit_would_have_spared_it(condition: Condition, values: list[float], words: str) -> None:
    assert spared(policy(condition=condition), values)["raise_at"].words.endswith(words)


def test_an_absence_is_spared_by_more_patience() -> None:
    facts = story(policy(condition=Absence(after_ms=3000)), [(1.0,), (1.0,), *[(None,)] * 9])
    alert = next(one for one in run(facts) if one.firing_at_ms is not None)
    found = counterfactuals(alert)[0]
    assert (found.setting, found.spares_at - found.fires_at) == ("after_ms", 1)
    assert "if silence of more than" in found.words


def test_a_score_of_one_cannot_be_outbid() -> None:
    assert set(spared(policy(condition=AnomalyScore(raise_at=0.3, clear_at=0.1)), [10, 90, 90])) == {"for_ms"}


def test_an_alert_whose_policy_was_edited_while_it_was_pending_has_no_limit_that_spares() -> None:
    one = policy(for_ms=3000)
    log = Log()
    log.add(PutPolicy(one, 0, "me"))
    for value in (10.0, 95.0, 95.0):
        log.send({HOSTS[0]: value})
    log.add(PutPolicy(replace(one, summary="other words"), 1, "me"))
    for value in (95.0, 95.0, 95.0):
        log.send({HOSTS[0]: value})
    alert = run(log.facts)[0]
    assert (alert.firing_at_ms is not None, alert.tipping_at, counterfactuals(alert)) == (True, None, ())


def test_an_endless_value_has_no_limit_that_spares() -> None:
    assert fired(policy(), [10, math.inf, 10]).tipping_at is None


def test_a_duration_that_no_policy_may_ask_for_is_not_named() -> None:
    alert = replace(fired(policy(), [10, 95, 10]), held_ms=MAX_DURATION_MS)
    assert [one.setting for one in counterfactuals(alert)] == ["raise_at"]


def test_an_alert_says_what_scored_its_series() -> None:
    assert fired(policy(), [10, 95, 10]).detector == "jump/1"


# ---- parts --------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=1, max_size=300),
    st.integers(60_000, 6 * HOUR_MS),
    st.floats(-1e6, 1e6),
)
def test_the_parts_add_up_to_what_was_expected(values: list[float], step_ms: int, expected: float) -> None:
    at_ms = np.arange(len(values), dtype=np.int64) * step_ms
    found = parts_of(at_ms, np.array(values), len(values) * step_ms, expected)
    if not np.isfinite(values).any():
        assert found is None
        return
    assert found is not None
    total = found.level + found.trend + found.hour + found.weekday + found.rest
    assert total == pytest.approx(expected, abs=1e-3)


def test_without_an_expectation_there_are_no_parts() -> None:
    assert parts_of(np.array([1]), np.array([2.0]), 5, math.nan) is None


def test_level_trend_hour_and_weekday_are_told_apart() -> None:
    at_ms = np.arange(0, 28 * DAY_MS, HOUR_MS // 2)
    busy = np.where(at_ms // HOUR_MS % 24 == 9, 20.0, 0.0)
    monday = np.where((at_ms // DAY_MS + 3) % 7 == 0, 5.0, 0.0)
    values = 100.0 + at_ms / DAY_MS + busy + monday
    now_ms = 32 * DAY_MS + 9 * HOUR_MS
    assert (now_ms // DAY_MS + 3) % 7 == 0
    found = parts_of(at_ms, values, now_ms, 160.0)
    assert found is not None
    assert found.level == pytest.approx(114.0, abs=1.5)
    assert found.trend == pytest.approx(18.4, abs=1.0)
    assert found.hour == pytest.approx(20.0, abs=1.0)
    assert found.weekday == pytest.approx(5.0, abs=1.0)
    assert found.history_ms == now_ms


def test_hours_and_weekdays_are_those_of_the_clocks_that_people_have() -> None:
    # one hour ahead of UTC for two weeks, then two, as in Berlin in spring: what begins at eight begins at eight
    berlin = CivilTime("Europe/Berlin", lambda at_ms: HOUR_MS if at_ms < 14 * DAY_MS else 2 * HOUR_MS)
    at_ms = np.arange(0, 28 * DAY_MS, HOUR_MS // 2)
    busy = np.where((at_ms // HOUR_MS + np.where(at_ms < 14 * DAY_MS, 1, 2)) % 24 == 8, 20.0, 0.0)
    now_ms = 28 * DAY_MS + 6 * HOUR_MS
    here, there = (parts_of(at_ms, 100.0 + busy, now_ms, 120.0, civil) for civil in (UTC, berlin))
    assert here is not None
    assert there is not None
    assert (there.hour, there.hour_of_day, there.day_of_week, there.zone) == (20.0, 8, 3, "Europe/Berlin")
    assert (here.hour_of_day, here.zone) == (6, "UTC")
    late = parts_of(at_ms, 100.0 + busy, 28 * DAY_MS - HOUR_MS, 100.0, berlin)
    assert late is not None
    assert (late.hour_of_day, late.day_of_week) == (1, 3)


# ---- what it resembles ----------------------------------------------------------------------------------------------


def anomaly(start_ms: int, value: float) -> Anomaly:
    return Anomaly(
        id=str(start_ms),
        slot=0,
        series=HOSTS[0],
        start_ms=start_ms,
        end_ms=start_ms + 1,
        peak_at_ms=start_ms,
        score=0.5,
        value=value,
        expected=10.0,
        lower=8.0,
        upper=12.0,
    )


def test_the_nearest_past_event_is_as_far_off_to_the_same_side() -> None:
    this = anomaly(100, 30.0)
    up, down, little = anomaly(1, 29.0), anomaly(2, -10.0), anomaly(3, 14.0)
    assert nearest(this, [up, down, little]) == up
    assert nearest(this, [up, anomaly(5, 29.0)]) == anomaly(5, 29.0)
    assert nearest(this, []) is None


def test_a_deviation_is_signed_and_unknown_is_none_at_all() -> None:
    assert deviation(12.0, 10.0, 8.0, 12.0) == -deviation(8.0, 10.0, 8.0, 12.0) == pytest.approx(math.log(2))
    assert deviation(12.0, math.nan, math.nan, math.nan) == 0.0


# ---- what moved along -----------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(-20, 20), st.sampled_from([1.0, -3.0]), st.integers(0, 2**32 - 1))
def test_a_series_that_follows_another_is_found_with_its_lag(lag: int, factor: float, seed: int) -> None:
    noise = np.random.default_rng(seed).normal(size=BUCKETS + 40)
    at_ms = np.arange(BUCKETS) * 1000
    this = on_grid(at_ms, noise[20:-20], 0, BUCKETS * 1000)
    other = on_grid(at_ms, factor * noise[20 - lag : BUCKETS + 20 - lag], 0, BUCKETS * 1000)
    found = movement(this, other, 1000.0)
    assert found.lag_ms == lag * 1000
    assert found.correlation * factor > 0.9


def test_a_series_without_samples_or_movement_moves_with_nothing() -> None:
    flat = on_grid(np.array([10, 500]), np.array([5.0, 5.0]), 0, 1000)
    none = on_grid(np.zeros(0, np.int64), np.zeros(0), 0, 1000)
    noise = np.random.default_rng(1).normal(size=BUCKETS)
    assert not flat.any()
    assert not none.any()
    assert movement(noise, flat, 1.0).correlation == 0.0


def test_one_step_in_a_flat_series_is_a_movement() -> None:
    grid = on_grid(np.array([500, 990]), np.array([5.0, 9.0]), 0, 1000)
    assert grid[0] == 0.0
    assert grid[-1] > 1.0


# ---- what moved -----------------------------------------------------------------------------------------------------


def test_the_surprise_of_ordinary_stretches_is_a_probability() -> None:
    chance = np.random.default_rng(7)
    found = [surprise(-np.log10(chance.uniform(size=200)) / 10, 200) for _ in range(4000)]
    for decades in (1.0, 2.0):
        assert np.mean(np.array(found) >= decades) == pytest.approx(10**-decades, rel=0.35)


def test_many_slightly_odd_samples_surprise_as_one_very_odd_one_does() -> None:
    assert surprise(np.array([0.7]), 100) == pytest.approx(5.0)
    assert surprise(np.full(50, 0.2), 100) > surprise(np.array([0.2]), 100)
    assert surprise(np.zeros(0), 100) == 0.0
