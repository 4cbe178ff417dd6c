"""The audit log as conclusions of the pipeline: each attempt once, with what is different since, and no secret."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from tests.facts import Log, labels, new_pipeline, policy

from quantum.domain.alerts import Verdict
from quantum.domain.audit import AuditEntry, Outcome, action_of, differences, target_of
from quantum.domain.facts import (
    AcknowledgeIncident,
    Attendance,
    DeletePolicy,
    DeleteReceiver,
    Denied,
    Heartbeat,
    JudgeIncident,
    NoteIncident,
    Ordered,
    PutPolicy,
    PutReceiver,
    Started,
    WebhookReceiver,
    command_in,
)

if TYPE_CHECKING:
    from quantum.domain.facts import FactBody
    from quantum.domain.labels import LabelSet

SECRETS = ("first-s3cret", "second-s3cret")


def entries(log: Log) -> list[AuditEntry]:
    pipeline = new_pipeline()
    return [entry for fact in log.facts for entry in pipeline.step(fact).effects.audit]


def told(*bodies: FactBody) -> list[AuditEntry]:
    log = Log()
    for body in bodies:
        log.add(body)
    return entries(log)


def test_a_change_is_entered_with_who_from_where_and_what_is_different() -> None:
    first = Ordered(PutPolicy(policy(), 0, "ada"), "203.0.113.9")
    second = Ordered(PutPolicy(policy(for_ms=5000), 1, "bob"), "203.0.113.8")
    created, edited = told(first, second)
    assert (created.actor, created.origin, created.action, created.target) == (
        "ada",
        "203.0.113.9",
        "put_policy",
        "hot",
    )
    assert created.outcome is Outcome.DONE
    assert all(change.before == "" for change in created.changes)
    assert [str(change) for change in edited.changes] == ["for_ms: 0 -> 5000"]
    assert (edited.actor, edited.id > created.id) == ("bob", True)


def test_a_deletion_tells_what_was_there() -> None:
    *_, gone = told(PutPolicy(policy(), 0, "ada"), DeletePolicy("hot", None, "ada"))
    assert (gone.action, gone.target) == ("delete_policy", "hot")
    assert {change.after for change in gone.changes} == {""}
    assert any(change.name == "name" and change.before == '"hot"' for change in gone.changes)


def test_what_is_refused_is_entered_with_the_reason_and_no_change() -> None:
    (entry,) = told(DeleteReceiver("nobody", None, "ada"))
    assert (entry.outcome, entry.changes) == (Outcome.REFUSED, ())
    assert "there is no receiver 'nobody'" in entry.detail


def test_what_changes_nothing_leaves_no_entry() -> None:
    again = PutPolicy(policy(), None, "settings")
    assert len(told(again, again, again)) == 1
    assert told(Heartbeat(), Started()) == []


def test_a_denial_is_entered_as_it_was_noted() -> None:
    reason = "this needs the role operator"
    (entry,) = told(Denied("eve", "203.0.113.7", "DELETE /api/v1/policies/{key}", "hot", reason))
    assert (entry.outcome, entry.actor, entry.origin, entry.target) == (Outcome.DENIED, "eve", "203.0.113.7", "hot")
    assert entry.detail == reason


def test_who_signs_in_and_out_is_entered_with_from_where_and_nothing_else_changes() -> None:
    entries = told(Attendance("ada", "203.0.113.7", "sign_in"), Attendance("ada", "203.0.113.7", "sign_out"))
    assert [one.action for one in entries] == ["sign_in", "sign_out"]
    for one in entries:
        assert (one.outcome, one.actor, one.origin) == (Outcome.DONE, "ada", "203.0.113.7")
        assert (one.target, one.detail, one.changes) == ("", "", ())


def test_a_secret_is_in_no_entry_and_a_change_of_it_is() -> None:
    receivers = [WebhookReceiver(name="ops", url="http://x/", secret=secret) for secret in (*SECRETS, "", SECRETS[0])]
    found = told(*(PutReceiver(one, None, "ada") for one in receivers), DeleteReceiver("ops", None, "ada"))
    about = [[(c.before, c.after) for c in entry.changes if c.name == "secret"] for entry in found]
    assert about == [
        [("", '"(set)"')],
        [('"(set)"', '"(another)"')],
        [('"(set)"', "")],
        [("", '"(set)"')],
        [('"(set)"', "")],
    ]
    assert not any(secret in repr(found) for secret in SECRETS)


def test_what_people_do_to_incidents_is_entered() -> None:
    log = Log()
    log.add(PutPolicy(policy(), 0, "ada"))
    log.send({labels("cpu", host="a"): 95.0})
    log.add(Heartbeat(), 2000)
    pipeline = new_pipeline()
    incident = [one for fact in log.facts for one in pipeline.step(fact).effects.incidents][-1].id
    for command in (
        AcknowledgeIncident(incident, "ada"),
        NoteIncident(incident, "it was the disk", "ada"),
        JudgeIncident(incident, Verdict.REAL, "bob"),
        AcknowledgeIncident("nothing", "bob"),
    ):
        log.add(Ordered(command, "203.0.113.9"))
    _, taken, noted, judged, refused = entries(log)
    assert {change.name for change in taken.changes} == {"state", "acknowledged_at_ms", "acknowledged_by"}
    assert "it was the disk" in noted.changes[0].after
    assert [str(change) for change in judged.changes] == ['verdict:  -> "real"']
    assert (refused.outcome, refused.target) == (Outcome.REFUSED, "nothing")


@dataclass(frozen=True)
class Weights:
    content: bytes | LabelSet


def test_actions_and_targets_have_names_for_people() -> None:
    put = PutReceiver(WebhookReceiver(name="ops", url="http://x/"), 0, "ada")
    assert (action_of(put), target_of(put)) == ("put_receiver", "ops")
    assert target_of(DeletePolicy("hot-1", None, "ada")) == "hot-1"
    assert command_in(Ordered(put, "x")) is put
    assert command_in(put) is put


@given(st.text(), st.text(), st.text())
def test_two_receivers_differ_exactly_in_what_is_told(name: str, before: str, after: str) -> None:
    one, other = WebhookReceiver(name=name, url=before), WebhookReceiver(name=name, url=after)
    assert [change.name for change in differences(one, other)] == (["url"] if before != after else [])
    assert differences(one, one) == ()


def test_bytes_are_told_by_how_many_there_are() -> None:
    [change] = differences(Weights(b"abc"), Weights(b"abcdef"))
    assert (change.before, change.after) == ('"(3 bytes)"', '"(6 bytes)"')


def test_label_sets_are_told_as_people_write_them() -> None:
    [change] = differences(Weights(labels("up", job="a")), Weights(labels("up", job="b")))
    assert change.after == json.dumps('up{job="b"}')
