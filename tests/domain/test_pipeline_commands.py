"""What people do: incidents, policies, receivers, coverage."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.facts import Log, labels, new_pipeline, policy, run, states

from quantum.domain.alerts import AlertState, Effects, IncidentState, Verdict
from quantum.domain.audit import Outcome
from quantum.domain.errors import Conflict, NotFound, Rejected
from quantum.domain.facts import (
    AcknowledgeIncident,
    DeletePolicy,
    DeleteReceiver,
    Fact,
    Heartbeat,
    JudgeIncident,
    NoteIncident,
    PutPolicy,
    PutReceiver,
    ResolveIncident,
    WebhookReceiver,
)
from quantum.domain.labels import Matcher, MatchOp
from quantum.domain.policies import Comparison, Threshold

CPU = labels("cpu", host="a")
PENDING, FIRING, RESOLVED, WITHDRAWN = AlertState


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
