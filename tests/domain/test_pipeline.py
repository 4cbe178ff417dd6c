"""From facts to pages: the life of alerts, silence, and time that nobody watched, told as stories."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from tests.facts import Log, labels, policy, run, silent_for, states

from quantum.domain.alerts import AlertState
from quantum.domain.anomalies import QUIET_ROWS
from quantum.domain.facts import (
    Heartbeat,
    PutPolicy,
    Started,
)
from quantum.domain.policies import Absence, AnomalyScore, Comparison, RateOfChange, Threshold

if TYPE_CHECKING:
    from quantum.domain.policies import AlertPolicy

CPU = labels("cpu", host="a")
CPU_B = labels("cpu", host="b")
STALE = float(np.array([0x7FF0000000000002], np.uint64).view(np.float64)[0])
PENDING, FIRING, RESOLVED, WITHDRAWN = AlertState


def story(one: AlertPolicy, values: list[float]) -> list[AlertState]:
    log = Log()
    log.add(PutPolicy(one, 0, "me"))
    for value in values:
        log.send({CPU: value})
    log.add(Heartbeat(), 1000)
    return states(run(log.facts)[1])


# ---- the life of an alert -------------------------------------------------------------------------------------


def test_an_alert_fires_after_it_was_held_long_enough_and_resolves_when_mended() -> None:
    hot = policy(for_ms=2000)
    assert story(hot, [10, 95, 95, 95, 50]) == [PENDING, FIRING, RESOLVED]


def test_a_breach_shorter_than_its_for_is_withdrawn_and_pages_nobody() -> None:
    assert story(policy(for_ms=3000), [10, 95, 95, 50]) == [PENDING, WITHDRAWN]


def test_without_a_for_it_fires_at_the_first_evaluation() -> None:
    assert story(policy(), [95]) == [PENDING, FIRING]


def test_within_the_band_between_raise_and_clear_nothing_changes() -> None:
    assert story(policy(), [85, 95, 85, 81, 85]) == [PENDING, FIRING]
    assert story(policy(), [85, 88]) == []


def test_keep_firing_bridges_a_flapping_value() -> None:
    assert story(policy(keep_firing_for_ms=3000), [95, 50, 95, 50, 95]) == [PENDING, FIRING]
    assert story(policy(keep_firing_for_ms=2000), [95, 50, 50, 50]) == [PENDING, FIRING, RESOLVED]


def test_below_is_the_mirror_of_above() -> None:
    low = policy(condition=Threshold(op=Comparison.BELOW, raise_at=10.0, clear_at=20.0))
    assert story(low, [50, 5, 15, 25]) == [PENDING, FIRING, RESOLVED]


def test_a_high_score_breaks_an_anomaly_policy() -> None:
    odd = policy(condition=AnomalyScore(raise_at=0.9, clear_at=0.1))
    assert story(odd, [1, 1, 11, 11]) == [PENDING, FIRING, RESOLVED]


def test_a_fast_change_breaks_a_rate_policy_once_its_window_is_full() -> None:
    fast = policy(condition=RateOfChange(op=Comparison.ABOVE, window_ms=3000, raise_at=5.0, clear_at=1.0))
    assert story(fast, [0, 0, 0, 0, 0, 60, 60, 60, 60, 60]) == [PENDING, FIRING, RESOLVED]
    assert story(fast, [0, 60]) == []
    slow = policy(condition=RateOfChange(op=Comparison.ABOVE, window_ms=32_000, raise_at=5.0, clear_at=1.0))
    assert story(slow, [0.0] * 36 + [900.0]) == [PENDING, FIRING]


def test_one_alert_gathers_every_series_of_its_group() -> None:
    log = Log()
    log.add(PutPolicy(policy(by=("host",)), 0, "me"))
    cores = {labels("cpu", host="a", core=str(n)): 95.0 + n for n in range(30)}
    log.send(cores)
    log.add(Heartbeat(), 1000)
    effects = run(log.facts)[1]
    (alert,) = effects[-1].alerts
    assert states(effects) == [PENDING, FIRING]
    assert alert.breaching == 30
    assert len(alert.contributors) == 10


def test_each_group_has_its_own_alert() -> None:
    log = Log()
    log.add(PutPolicy(policy(), 0, "me"))
    log.send({CPU: 95.0, CPU_B: 95.0})
    log.add(Heartbeat(), 1000)
    alerts = run(log.facts)[1][-1].alerts
    assert [alert.group.get("host") for alert in alerts] == ["a", "b"]
    assert len({alert.id for alert in alerts}) == 2


def test_an_alert_that_gets_worse_is_shown_anew_without_a_transition() -> None:
    log = Log()
    log.add(PutPolicy(policy(), 0, "me"))
    log.send({CPU: 95.0})
    log.send({CPU: 95.0, labels("cpu", host="a", core="1"): 99.0})
    log.add(Heartbeat(), 1000)
    effects = run(log.facts)[1]
    assert states(effects) == [PENDING, FIRING]
    assert effects[-1].alerts[0].breaching == 2


# ---- time that nobody watched ---------------------------------------------------------------------------------


def test_a_restart_by_itself_causes_no_transition_and_counts_toward_no_timer() -> None:
    log = Log()
    log.add(PutPolicy(policy(for_ms=10_000), 0, "me"))
    log.add(PutPolicy(policy("gone", condition=Absence(after_ms=20_000)), 0, "me"))
    log.send({CPU: 95.0})
    log.add(Heartbeat(), 1000)
    log.add(Started(), 3_600_000)
    effects = run(log.facts)[1]
    assert states(effects) == [PENDING]


def test_a_hole_of_more_than_a_minute_is_skipped_too() -> None:
    log = Log()
    log.add(PutPolicy(policy(for_ms=10_000), 0, "me"))
    log.send({CPU: 95.0})
    log.send({CPU: 95.0}, 120_000)
    assert states(run(log.facts)[1]) == []


def test_a_held_alert_fires_after_the_restart_when_it_was_held_long_enough_in_all() -> None:
    log = Log()
    log.add(PutPolicy(policy(for_ms=4000), 0, "me"))
    for _ in range(3):
        log.send({CPU: 95.0})
    log.add(Started(), 600_000)
    for _ in range(3):
        log.send({CPU: 95.0})
    assert states(run(log.facts)[1]) == [PENDING, FIRING]


# ---- silence --------------------------------------------------------------------------------------------------


def test_a_source_with_many_series_that_stops_is_one_alert() -> None:
    log = Log()
    log.add(PutPolicy(policy("gone", condition=Absence(after_ms=30_000)), 0, "me"))
    for _ in range(5):
        log.send({labels("cpu", host="a", core=str(n)): 1.0 for n in range(500)})
    silent_for(log, 60)
    log.send({labels("cpu", host="a", core="3"): 1.0})
    log.add(Heartbeat(), 1000)
    assert states(run(log.facts)[1]) == [PENDING, FIRING, RESOLVED]


def test_a_slow_series_is_given_several_of_its_own_heartbeats() -> None:
    log = Log()
    log.add(PutPolicy(policy("gone", condition=Absence(after_ms=5_000)), 0, "me"))
    for _ in range(4):
        log.send({CPU: 1.0}, 30_000)
    silent_for(log, 100)
    assert states(run(log.facts)[1]) == []
    silent_for(log, 100)
    assert states(run(log.facts)[1]) == [PENDING, FIRING]


def test_series_that_were_only_imported_are_not_missed() -> None:
    log = Log()
    log.add(PutPolicy(policy("gone", condition=Absence(after_ms=5_000)), 0, "me"))
    log.send({CPU: 1.0}, backfill=True)
    silent_for(log, 100)
    assert states(run(log.facts)[1]) == []


def test_a_firing_alert_whose_series_fall_silent_keeps_firing_for_an_hour() -> None:
    log = Log()
    log.add(PutPolicy(policy(), 0, "me"))
    for _ in range(3):
        log.send({CPU: 95.0})
    silent_for(log, 3000)
    assert states(run(log.facts)[1]) == [PENDING, FIRING]
    silent_for(log, 700)
    effects = run(log.facts)[1]
    assert states(effects) == [PENDING, FIRING, RESOLVED]
    assert [one.reason for each in effects for one in each.transitions][-1] == "no data for 1 h"


def test_a_staleness_marker_ends_a_series_without_being_a_value() -> None:
    log = Log()
    log.send({CPU: 1.0, CPU_B: 2.0})
    log.send({CPU: STALE, CPU_B: 3.0})
    log.send({CPU: STALE})
    pipeline, _ = run(log.facts)
    assert pipeline.newest.value(log.slots[CPU]) == 1.0
    assert pipeline.presence.status(pipeline.watched_ms).tolist() == [2, 0]


def test_nan_is_a_sign_of_life_that_breaks_and_mends_nothing() -> None:
    log = Log()
    log.add(PutPolicy(policy(), 0, "me"))
    for value in (95.0, 95.0, *[math.nan] * 30):
        log.send({CPU: value, CPU_B: math.nan})
    pipeline, effects = run(log.facts)
    assert states(effects) == [PENDING, FIRING]
    assert pipeline.newest.value(log.slots[CPU]) == 95.0
    assert np.isnan(pipeline.newest.value(log.slots[CPU_B]))
    assert pipeline.presence.status(pipeline.watched_ms).tolist() == [0, 0]
    assert pipeline.samples == 64


def test_an_anomaly_lasts_while_its_series_has_only_nan() -> None:
    def ends(filler: float) -> list[bool]:
        log = Log()
        for value in (1.0, 1.0, 500.0, *[filler] * (QUIET_ROWS + 1)):
            log.send({CPU: value})
        return [one.end_ms is None for each in run(log.facts)[1] for one in each.anomalies]

    assert ends(math.nan) == [True]
    assert ends(500.0) == [True, False]


def test_a_true_zero_is_a_value_like_any_other() -> None:
    log = Log()
    log.send({CPU: 5.0})
    log.send({CPU: 0.0})
    pipeline, _ = run(log.facts)
    assert pipeline.newest.value(0) == 0.0
    assert np.isnan(pipeline.newest.value(7))


# ---- history that arrives late --------------------------------------------------------------------------------


def test_history_is_scored_but_breaks_no_policy() -> None:
    log = Log()
    log.add(PutPolicy(policy(), 0, "me"))
    log.send({CPU: 10.0}, backfill=True)
    log.send({CPU: 95.0}, backfill=True)
    log.send({CPU_B: 95.0}, at_ms=log.at_ms - 400_000)
    log.add(Heartbeat(), 1000)
    _, effects = run(log.facts)
    assert states(effects) == []
    assert [one.slot for each in effects for one in each.anomalies] == [0]


def test_a_late_sample_does_not_replace_a_newer_one() -> None:
    log = Log()
    log.send({CPU: 5.0})
    log.send({CPU: 9.0}, at_ms=log.at_ms - 500)
    pipeline, _ = run(log.facts)
    assert pipeline.newest.value(0) == 5.0
