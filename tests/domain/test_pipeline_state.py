"""States of the pipeline: dumped, restored, refused, and what holds of any story."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.facts import JumpDetector, Log, full_match, labels, new_pipeline, policy, run, run_with_restart

from quantum.domain.alerts import AlertState, Effects, IncidentState
from quantum.domain.coverage import Allotment, CoverageRule, Tier
from quantum.domain.detectors.tiered import Tiered
from quantum.domain.errors import Rejected
from quantum.domain.facts import (
    AcceptLoss,
    CancelTraining,
    Command,
    Fact,
    Heartbeat,
    ImportModel,
    Ordered,
    PutCoverage,
    PutPolicy,
    Started,
    StartTraining,
)
from quantum.domain.labels import MatcherCompiler
from quantum.domain.models import ModelKind
from quantum.domain.pipeline import Pipeline
from quantum.domain.policies import Absence, AnomalyScore, Comparison, RateOfChange

CPU = labels("cpu", host="a")
PENDING, FIRING, RESOLVED, WITHDRAWN = AlertState


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


def test_a_loss_that_was_accepted_is_in_the_audit_log_and_changes_nothing() -> None:
    log, pipeline = Log(), new_pipeline()
    log.send({CPU: 1.0})
    log.add(AcceptLoss(901, 1000, "settings"))
    *_, step = (pipeline.step(fact) for fact in log.facts)
    (entry,) = step.effects.audit
    assert (entry.actor, entry.action, entry.target, entry.outcome) == ("settings", "accept_loss", "901-1000", "done")
    assert [(one.name, one.after) for one in entry.changes] == [("first", "901"), ("last", "1000")]
    assert step.effects == Effects(audit=(entry,))


@pytest.mark.parametrize(
    ("wanted", "action", "told"),
    [
        (ImportModel("night", "cpu", "scikit-learn", "ada"), "import_model", {"trained_by": '"scikit-learn"'}),
        (
            StartTraining("night", ModelKind.PEERS, "cpu", 1, 2, "ada"),
            "start_training",
            {"kind": '"peers"', "end_ms": "2"},
        ),
        (CancelTraining("night", "0a", "ada"), "cancel_training", {"run_id": '"0a"'}),
    ],
)
def test_what_the_registry_keeps_is_in_the_audit_log_and_changes_nothing_here(
    wanted: Command, action: str, told: dict[str, str]
) -> None:
    log, pipeline = Log(), new_pipeline()
    log.add(Ordered(wanted, "203.0.113.7"))
    (step,) = (pipeline.step(fact) for fact in log.facts)
    (entry,) = step.effects.audit
    assert (entry.actor, entry.origin, entry.action, entry.target) == ("ada", "203.0.113.7", action, "night")
    assert told.items() <= {one.name: one.after for one in entry.changes}.items()
    assert step.effects == Effects(audit=(entry,))


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
    second, effects = run_with_restart(log, cut)
    # NaN differs from itself, its text does not
    assert repr(effects) == repr(expected)
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
