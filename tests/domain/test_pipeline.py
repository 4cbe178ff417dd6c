"""From facts to pages: what the pipeline concludes, told as stories."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.facts import JumpDetector, Log, full_match, labels, new_pipeline, policy

from quantum.domain.alerts import AlertState, Effects, IncidentState, Verdict
from quantum.domain.anomalies import ENDS, GROWS, OPENS, QUIET_ROWS, SUSTAINED_ROWS, SUSTAINED_SCORE, follow_rows
from quantum.domain.audit import Outcome
from quantum.domain.coverage import Allotment, CoverageRule, Tier
from quantum.domain.detectors.tiered import Tiered
from quantum.domain.errors import Conflict, NotFound, Rejected
from quantum.domain.facts import (
    AcknowledgeIncident,
    DeletePolicy,
    DeleteReceiver,
    Fact,
    Heartbeat,
    JudgeIncident,
    NoteIncident,
    PutCoverage,
    PutPolicy,
    PutReceiver,
    ResolveIncident,
    Samples,
    Started,
    WebhookReceiver,
)
from quantum.domain.labels import Matcher, MatcherCompiler, MatchOp
from quantum.domain.pipeline import Pipeline
from quantum.domain.policies import Absence, AnomalyScore, Comparison, RateOfChange, Threshold
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    from quantum.domain.policies import AlertPolicy

CPU = labels("cpu", host="a")
CPU_B = labels("cpu", host="b")
STALE = float(np.array([0x7FF0000000000002], np.uint64).view(np.float64)[0])
PENDING, FIRING, RESOLVED, WITHDRAWN = AlertState


def run(facts: list[Fact], pipeline: Pipeline | None = None) -> tuple[Pipeline, list[Effects]]:
    pipeline = pipeline or new_pipeline()
    return pipeline, [pipeline.step(fact).effects for fact in facts]


def history(effects: list[Effects]) -> list[tuple[int, AlertState]]:
    """Return (second since the start, state) of every transition."""
    return [(one.at_ms // 1000 % 100_000, one.after) for each in effects for one in each.transitions]


def states(effects: list[Effects]) -> list[AlertState]:
    return [state for _, state in history(effects)]


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


def silent_for(log: Log, seconds: int) -> None:
    for _ in range(seconds):
        log.add(Heartbeat(), 1000)


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


# ---- anomalies ------------------------------------------------------------------------------------------------


def test_an_anomaly_opens_grows_and_ends_after_some_quiet_samples() -> None:
    log = Log()
    for value in (0, 0, 6, 14, 14, 14, 14, 14, 14, 14):
        log.send({CPU: value})
    told = [one for each in run(log.facts)[1] for one in each.anomalies]
    assert [(one.score, one.end_ms is None) for one in told] == [(0.6, True), (0.8, True), (0.8, False)]
    assert told[-1].start_ms == log.facts[2].at_ms
    assert told[-1].end_ms == told[-1].peak_at_ms == log.facts[3].at_ms
    assert len({one.id for one in told}) == 1


def test_a_score_between_the_thresholds_goes_on_without_being_told_again() -> None:
    log = Log()
    for value in (0, 8, 12, 16):
        log.send({CPU: value})
    told = [one for each in run(log.facts)[1] for one in each.anomalies]
    assert len(told) == 1


def test_an_anomaly_ends_when_its_series_falls_silent() -> None:
    log = Log()
    for value in (0, 0, 20):
        log.send({CPU: value})
    silent_for(log, 30)
    pipeline, effects = run(log.facts)
    assert [one.end_ms is None for each in effects for one in each.anomalies] == [True, False]
    assert pipeline.ongoing_anomalies == ()


def test_an_anomaly_may_begin_and_end_within_one_batch() -> None:
    log = Log()
    log.send({CPU: 0.0})
    values = [9.0, *[9.0] * 6, 10.0]
    at_ms = [log.at_ms + 100 * (n + 1) for n in range(len(values))]
    log.add(Samples(SampleBatch.of([0] * len(values), at_ms, values)), 1000)
    told = [one for each in run(log.facts)[1] for one in each.anomalies]
    assert [(one.start_ms, one.end_ms) for one in told] == [(at_ms[0], at_ms[0])]


def test_what_is_a_little_odd_for_long_is_an_anomaly_that_began_with_the_first_odd_sample() -> None:
    log = Log()
    for n in range(12):
        log.send({CPU: 3.0 * n})
    told = [one for each in run(log.facts)[1] for one in each.anomalies]
    assert [(one.start_ms, one.peak_at_ms) for one in told] == [(log.facts[1].at_ms, log.facts[SUSTAINED_ROWS].at_ms)]


def test_what_is_a_little_odd_now_and_then_is_no_anomaly() -> None:
    log = Log()
    for n in range(60):
        log.send({CPU: 3.0 * (n - n // SUSTAINED_ROWS)})
    assert [one for each in run(log.facts)[1] for one in each.anomalies] == []


def told_row_by_row(rows: list[tuple[int, float]]) -> list[tuple[int, int]]:
    """What the rows of one series mean, by the rules of the module's docstring."""
    told, since, run, quiet, peak, last = [], 0, 0, -1, 0.0, 0
    for at_ms, score in rows:
        run, since = (run + 1, since if run else at_ms) if score >= SUSTAINED_SCORE else (0, at_ms)
        mean, time = 0, 0
        if quiet < 0 and (run >= SUSTAINED_ROWS or score >= 0.45):
            mean, time, quiet, peak, last = OPENS, since, 0, score, at_ms
        elif quiet >= 0 and score < SUSTAINED_SCORE / 2:
            quiet += 1
            if quiet == QUIET_ROWS:
                mean, time, quiet = ENDS, last, -1
        elif quiet >= 0:
            quiet, last = 0, at_ms
            if score >= peak + 0.05:
                mean, peak = GROWS, score
        told.append((mean, time))
    return told


@given(
    rows=st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0.0, 0.1, 0.2, 0.2, 0.5, 0.52, 0.9])), max_size=60),
    cut=st.integers(0, 60),
)
def test_stretches_open_grow_and_end_by_the_rules_however_the_rows_are_cut_into_batches(
    rows: list[tuple[int, float]], cut: int
) -> None:
    slots = np.array([slot for slot, _ in rows], np.int64)
    score = np.array([score for _, score in rows], np.float64)
    at_ms = np.arange(len(rows), dtype=np.int64)
    for function in (follow_rows, follow_rows.py_func):  # type: ignore[attr-defined]
        kinds = (np.int64, np.int64, np.bool_, np.float64, np.int64, np.int64)
        columns: list[Any] = [np.zeros(3, kind) for kind in kinds]
        parts = [function(slots[p], at_ms[p], score[p], 0.45, *columns) for p in (slice(cut), slice(cut, None))]
        means, times = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
        for slot in range(3):
            of_slot = np.flatnonzero(slots == slot)
            expected = told_row_by_row([(int(row), float(score[row])) for row in of_slot])
            assert list(zip(means[of_slot].tolist(), times[of_slot].tolist(), strict=True)) == expected


# ---- incidents and notifications ------------------------------------------------------------------------------


def burning(*receivers: str) -> Log:
    """Two policies break on one host, one after the other."""
    log = Log()
    for name in receivers:
        log.add(PutReceiver(WebhookReceiver(name=name, url="http://x/"), 0, "me"))
    log.add(PutPolicy(policy(receivers=receivers), 0, "me"))
    log.add(PutPolicy(policy("full", "disk", receivers=receivers), 0, "me"))
    log.send({CPU: 95.0})
    log.send({labels("disk", host="a"): 99.0, CPU: 95.0})
    log.add(Heartbeat(), 1000)
    return log


def test_alerts_of_one_place_share_an_incident_that_resolves_with_the_last_of_them() -> None:
    log = burning()
    log.send({CPU: 1.0})
    log.send({labels("disk", host="a"): 1.0})
    log.add(Heartbeat(), 1000)
    effects = run(log.facts)[1]
    told = [one for each in effects for one in each.incidents]
    assert len({one.id for one in told}) == 1
    assert [one.firing for one in told] == [1, 2, 1, 0]
    assert told[-1].state is IncidentState.RESOLVED
    assert told[-1].resolved_by == "the last alert"
    assert told[0].title == "hot on host a"


def test_an_alert_without_a_place_has_its_policy_as_place() -> None:
    log = Log()
    log.add(PutPolicy(policy(by=()), 0, "me"))
    log.send({CPU: 95.0})
    log.add(Heartbeat(), 1000)
    (incident,) = run(log.facts)[1][-1].incidents
    assert incident.title == "hot"


def test_every_receiver_is_told_once_of_firing_and_once_of_resolving() -> None:
    log = burning("ops", "boss")
    log.send({CPU: 1.0})
    log.add(Heartbeat(), 1000)
    intents = [one for each in run(log.facts)[1] for one in each.intents if one.alert.policy_id == "hot"]
    assert [(one.receiver, one.alert.state) for one in intents] == [
        ("ops", FIRING),
        ("boss", FIRING),
        ("ops", RESOLVED),
        ("boss", RESOLVED),
    ]
    assert len({one.id for one in intents}) == 4
    assert all(one.alert.incident_id for one in intents)


def incident_id(log: Log) -> str:
    return next(one.id for each in run(log.facts)[1] for one in each.incidents)


def test_people_acknowledge_judge_comment_and_resolve() -> None:
    log = burning()
    key = incident_id(log)
    log.add(AcknowledgeIncident(key, "ann"))
    log.add(JudgeIncident(key, Verdict.REAL, "ann"))
    log.add(NoteIncident(key, "a fan broke", "ann"))
    log.add(ResolveIncident(key, "bob"))
    pipeline, effects = run(log.facts)
    last = effects[-1].incidents[0]
    assert (last.state, last.acknowledged_by, last.resolved_by) == (IncidentState.RESOLVED, "ann", "bob")
    assert (last.verdict, last.notes[0].text) == (Verdict.REAL, "a fan broke")
    assert pipeline.firing == 2
    assert pipeline.open_incidents == 0


def test_an_incident_resolved_by_a_person_is_not_reopened_and_a_new_alert_opens_another() -> None:
    log = burning()
    key = incident_id(log)
    log.add(ResolveIncident(key, "bob"))
    log.send({CPU: 1.0})
    log.send({CPU: 95.0})
    log.add(Heartbeat(), 1000)
    told = [one for each in run(log.facts)[1] for one in each.incidents]
    assert [one.resolved_by for one in told if one.id == key][-1] == "bob"
    assert len({one.id for one in told}) == 2


def refusal(log: Log) -> Exception | None:
    pipeline = new_pipeline()
    return [pipeline.step(fact).refusal for fact in log.facts][-1]


def test_what_cannot_be_done_to_an_incident_is_refused() -> None:
    log = burning()
    key = incident_id(log)
    log.add(ResolveIncident(key, "bob"))
    log.add(AcknowledgeIncident(key, "bob"))
    assert isinstance(refusal(log), Rejected)
    log.add(AcknowledgeIncident("nothing", "bob"))
    assert isinstance(refusal(log), NotFound)
    for n in range(201):
        log.add(NoteIncident(key, str(n), "bob"))
    assert "at most 200 notes" in str(refusal(log))


def test_only_the_last_thousand_resolved_incidents_are_remembered() -> None:
    log = Log()
    log.add(PutPolicy(policy(), 0, "me"))
    series = {labels("cpu", host=str(n)): 95.0 for n in range(1005)}
    log.send(series)
    log.send(dict.fromkeys(series, 1.0))
    log.add(Heartbeat(), 1000)
    pipeline, _ = run(log.facts)
    assert len(pipeline.dump().memory.incidents) == 1000


# ---- policies and receivers -----------------------------------------------------------------------------------


def test_edits_state_the_version_they_were_made_against() -> None:
    log = Log()
    log.add(PutPolicy(policy(), 0, "me"))
    log.add(PutPolicy(policy(summary="new"), 1, "me"))
    pipeline, effects = run(log.facts)
    assert effects[-1].policies[0].version == 2
    log.add(PutPolicy(policy(summary="newer"), 1, "me"))
    assert isinstance(refusal(log), Conflict)
    log.add(PutPolicy(policy(), 0, "me"))
    assert isinstance(refusal(log), Conflict)
    log.add(PutPolicy(policy(summary="new"), None, "me"))
    assert refusal(log) is None
    assert pipeline.catalog.policies[0].version == 2


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (PutPolicy(policy("other"), 3, "me"), NotFound),
        (PutPolicy(replace(policy("other"), name="hot"), 0, "me"), Conflict),
        (PutPolicy(policy("other", receivers=("nobody",)), 0, "me"), Rejected),
        (PutPolicy(replace(policy("other"), matchers=(Matcher("a", MatchOp.REGEX, "("),)), 0, "me"), Rejected),
        (PutPolicy(policy("other", for_ms=-1), 0, "me"), Rejected),
        (DeletePolicy("other", None, "me"), NotFound),
        (DeletePolicy("hot", 7, "me"), Conflict),
        (PutReceiver(WebhookReceiver(name="", url="http://x/"), 0, "me"), Rejected),
        (PutReceiver(WebhookReceiver(name="x", url="file:///etc/passwd"), 0, "me"), Rejected),
        (PutReceiver(WebhookReceiver(name="x", url="http://[::1"), 0, "me"), Rejected),
        (PutReceiver(WebhookReceiver(name="x", url="http://u:p@x/"), 0, "me"), Rejected),
        (PutReceiver(WebhookReceiver(name="x", url="http://x/", secret="é"), 0, "me"), Rejected),
        (DeleteReceiver("ops", None, "me"), Conflict),
        (DeleteReceiver("nobody", None, "me"), NotFound),
    ],
)
def test_a_command_that_makes_no_sense_is_refused_and_changes_nothing(command: object, kind: type[Exception]) -> None:
    log = Log()
    log.add(PutReceiver(WebhookReceiver(name="ops", url="http://x/"), 0, "me"))
    log.add(PutPolicy(policy(receivers=("ops",)), 0, "me"))
    pipeline, _ = run(log.facts)
    before = pipeline.dump().memory
    step = pipeline.step(Fact(3, log.at_ms, command))  # type: ignore[arg-type]
    assert isinstance(step.refusal, kind)
    assert replace(step.effects, audit=()) == Effects()
    assert [entry.outcome for entry in step.effects.audit] == [Outcome.REFUSED]
    assert replace(pipeline.dump().memory, position=before.position) == before


def test_there_are_limits_to_policies_and_receivers() -> None:
    log = Log()
    for n in range(1001):
        log.add(PutPolicy(policy(f"p{n}"), 0, "me"))
    assert "policy limit 1000" in str(refusal(log))
    for n in range(201):
        log.add(PutReceiver(WebhookReceiver(name=f"r{n}", url="http://x/"), 0, "me"))
    assert "receiver limit 200" in str(refusal(log))


def test_a_receiver_can_be_edited_and_deleted_once_no_policy_names_it() -> None:
    log = Log()
    log.add(PutReceiver(WebhookReceiver(name="ops", url="http://x/"), 0, "me"))
    log.add(PutReceiver(WebhookReceiver(name="ops", url="http://y/"), 1, "me"))
    log.add(DeleteReceiver("ops", 2, "me"))
    log.add(PutPolicy(policy(), 0, "me"))
    log.add(PutReceiver(WebhookReceiver(name="boss", url="http://x/"), 0, "me"))
    log.add(DeleteReceiver("boss", 1, "me"))
    pipeline, effects = run(log.facts)
    assert effects[1].receivers[0].version == 2
    assert effects[2].deleted_receivers == ("ops",)
    assert pipeline.catalog.receivers == ()


def test_an_edit_of_words_keeps_a_firing_alert_and_an_edit_of_its_series_resolves_it() -> None:
    log = Log()
    log.add(PutPolicy(policy(), 0, "me"))
    log.send({CPU: 95.0})
    log.add(Heartbeat(), 1000)
    log.add(
        PutPolicy(
            policy(summary="new", condition=Threshold(op=Comparison.ABOVE, raise_at=93.0, clear_at=80.0)), 1, "me"
        )
    )
    log.add(Heartbeat(), 1000)
    assert states(run(log.facts)[1]) == [PENDING, FIRING]
    log.add(PutPolicy(policy(metric="disk"), 2, "me"))
    effects = run(log.facts)[1]
    assert states(effects) == [PENDING, FIRING, RESOLVED]
    assert effects[-1].transitions[0].reason == "its policy was edited"
    assert effects[-1].incidents[0].state is IncidentState.RESOLVED


def test_a_disabled_or_deleted_policy_resolves_its_alerts_and_evaluates_nothing() -> None:
    for ending, reason in (
        (PutPolicy(policy(enabled=False), 1, "me"), "its policy was disabled"),
        (DeletePolicy("hot", 1, "me"), "its policy was deleted"),
    ):
        log = Log()
        log.add(PutPolicy(policy(), 0, "me"))
        log.send({CPU: 95.0})
        log.add(Heartbeat(), 1000)
        log.add(ending)
        log.send({CPU: 95.0})
        log.add(Heartbeat(), 1000)
        effects = run(log.facts)[1]
        assert states(effects) == [PENDING, FIRING, RESOLVED]
        assert [one.reason for each in effects for one in each.transitions][-1] == reason


def test_a_draft_is_in_force_from_the_first_fact_without_being_one() -> None:
    pipeline = new_pipeline()
    pipeline.install([policy(receivers=("ops",))], [WebhookReceiver(name="ops", url="http://x/")])
    log = Log()
    log.send({CPU: 95.0})
    log.add(Heartbeat(), 1000)
    assert states(run(log.facts, pipeline)[1]) == [PENDING, FIRING]
    with pytest.raises(Rejected):
        new_pipeline().install([policy(receivers=("nobody",))], [])


# ---- state ----------------------------------------------------------------------------------------------------


def test_facts_must_follow_one_another() -> None:
    with pytest.raises(ValueError, match="does not follow"):
        new_pipeline().step(Fact(2, 0, Heartbeat()))


def test_a_state_of_another_detector_is_refused() -> None:
    class Other(JumpDetector):
        version = 2

    pipeline = new_pipeline()
    other = Pipeline(Other(), pipeline._compile)
    with pytest.raises(ValueError, match=r"jump/1, this is jump/2"):
        other.restore(pipeline.dump(), {})


def test_a_state_whose_policies_watched_other_series_is_refused() -> None:
    log = Log()
    log.add(PutPolicy(policy(), 0, "me"))
    log.send({CPU: 1.0})
    log.add(Heartbeat(), 1000)
    pipeline, _ = run(log.facts)
    with pytest.raises(ValueError, match="watched other series"):
        new_pipeline().restore(pipeline.dump(), {0: labels("disk", host="a")})


def scored(pipeline: Pipeline, fact: Fact) -> list[float]:
    scores = pipeline.step(fact).scores
    assert scores is not None
    found: list[float] = scores.score.tolist()
    return found


def test_series_are_given_tiers_by_the_rules_in_force_and_anew_when_these_change() -> None:
    log, pipeline = Log(), Pipeline(Tiered(JumpDetector(), JumpDetector()), MatcherCompiler(full_match))
    disk = labels("disk", host="a")
    for value in (1.0, 20.0):
        found = scored(pipeline, log.send({CPU: value, disk: value}))
    assert found == [1.0, 1.0]
    without_disk = Allotment(1, (CoverageRule(policy(metric="disk").matchers, Tier.NONE),))
    pipeline.step(log.add(PutCoverage(without_disk, "me")))
    assert scored(pipeline, log.send({CPU: 1.0, disk: 1.0})) == [1.0, 0.0]
    assert pipeline.coverage.counts() == {"full": 1, "cheap": 0, "none": 1}


def test_rules_that_make_no_sense_are_refused_and_change_nothing() -> None:
    log, pipeline = Log(), new_pipeline()
    log.send({CPU: 1.0})
    log.add(PutCoverage(Allotment(-1), "me"))
    for fact in log.facts:
        step = pipeline.step(fact)
    assert isinstance(step.refusal, Rejected)
    assert pipeline.coverage.allotment == Allotment()


def test_tiers_outlive_a_restart() -> None:
    log, pipeline = Log(), Pipeline(Tiered(JumpDetector(), JumpDetector()), MatcherCompiler(full_match))
    log.add(PutCoverage(Allotment(1), "me"))
    log.send({CPU: 1.0, labels("cpu", host="b"): 1.0})
    run(log.facts, pipeline)
    second = Pipeline(Tiered(JumpDetector(), JumpDetector()), MatcherCompiler(full_match))
    second.restore(pipeline.dump(), {slot: series for series, slot in log.slots.items()})
    assert second.coverage.counts() == {"full": 1, "cheap": 1, "none": 0}
    assert scored(second, log.send(dict.fromkeys(log.slots, 20.0))) == [1.0, 1.0]


hosts = st.sampled_from(["a", "b"])
moves = st.one_of(
    st.tuples(st.just("send"), st.dictionaries(hosts, st.sampled_from([1.0, 85.0, 95.0]), min_size=1)),
    st.tuples(st.just("beat"), st.sampled_from([300, 1000, 7000])),
    st.tuples(st.just("start"), st.sampled_from([1000, 90_000])),
    st.tuples(st.just("policy"), st.sampled_from([0, 2000])),
    st.tuples(st.just("toggle"), st.booleans()),
)


def log_of(steps: list[tuple[str, object]]) -> Log:
    log = Log()
    log.add(PutPolicy(policy(for_ms=2000, keep_firing_for_ms=2000), 0, "me"))
    log.add(
        PutPolicy(
            policy("fast", condition=RateOfChange(op=Comparison.ABOVE, window_ms=2000, raise_at=5.0, clear_at=1.0)),
            0,
            "me",
        )
    )
    log.add(PutPolicy(policy("gone", condition=Absence(after_ms=3000)), 0, "me"))
    log.add(PutPolicy(policy("odd", condition=AnomalyScore(raise_at=0.9, clear_at=0.5)), 0, "me"))
    for kind, argument in steps:
        if kind == "send":
            log.send({labels("cpu", host=host): value for host, value in argument.items()})  # type: ignore[attr-defined]
        elif kind == "policy":
            log.add(PutPolicy(policy(for_ms=argument), None, "me"))
        elif kind == "toggle":
            log.add(PutPolicy(policy("gone", condition=Absence(after_ms=3000), enabled=argument), None, "me"))
        else:
            log.add(Heartbeat() if kind == "beat" else Started(), argument)  # type: ignore[arg-type]
    return log


@settings(max_examples=60, deadline=None)
@given(st.lists(moves, max_size=25), st.integers(0, 25))
def test_a_state_dumped_and_restored_anywhere_changes_nothing(steps: list[tuple[str, object]], cut: int) -> None:
    log = log_of(steps)
    whole, expected = run(log.facts)
    first, effects = run(log.facts[:cut])
    second = new_pipeline()
    second.restore(first.dump(), {slot: series for series, slot in log.slots.items()})
    rest = run(log.facts[cut:], second)[1]
    # NaN differs from itself, its text does not
    assert repr(effects + rest) == repr(expected)
    assert repr(second.dump().memory) == repr(whole.dump().memory)


LEGAL = {
    (None, PENDING),
    (PENDING, FIRING),
    (PENDING, WITHDRAWN),
    (FIRING, RESOLVED),
}


@settings(max_examples=100, deadline=None)
@given(st.lists(moves, max_size=30))
def test_alerts_move_along_legal_edges_and_count_their_steps(steps: list[tuple[str, object]]) -> None:
    transitions = [one for each in run(log_of(steps).facts)[1] for one in each.transitions]
    assert {(one.before, one.after) for one in transitions} <= LEGAL
    assert len({(one.alert_id, one.seq) for one in transitions}) == len(transitions)
    for one in transitions:
        before = [each for each in transitions if each.alert_id == one.alert_id and each.seq == one.seq - 1]
        assert [each.after for each in before] == ([one.before] if one.before else [])


@settings(max_examples=60, deadline=None)
@given(st.lists(moves, max_size=30))
def test_an_incident_fires_exactly_while_one_of_its_alerts_does(steps: list[tuple[str, object]]) -> None:
    pipeline, _ = run(log_of(steps).facts)
    memory = pipeline.dump().memory
    assert sum(one.firing for one in memory.incidents) == pipeline.firing
    assert all((one.firing == 0) == (one.state is IncidentState.RESOLVED) for one in memory.incidents)
