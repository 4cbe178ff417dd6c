"""Incidents: firing alerts of one place gathered into one thing that people work on.

An alert that begins to fire joins the open incident of its place, or opens one. An incident is resolved when none of
its alerts fires any more, or earlier by a person; alerts that still fire then stay attached and do not reopen it.

>>> place_of(LabelSet.of({"host": "a", "disk": "sda"}), "p")
LabelSet(pairs=(('host', 'a'),))
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from quantum.domain.alerts import Alert, Incident, IncidentState, Note
from quantum.domain.errors import NotFound, Rejected
from quantum.domain.facts import AcknowledgeIncident, JudgeIncident, NoteIncident, ResolveIncident
from quantum.domain.identity import content_id
from quantum.domain.labels import LabelSet
from quantum.domain.policies import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

IncidentCommand = AcknowledgeIncident | ResolveIncident | JudgeIncident | NoteIncident

PLACES: Final = ("cluster", "service", "host", "instance", "job")
"""Labels that say where something is, widest first."""
REMEMBERED: Final = 1000
"""How many resolved incidents can still be judged and commented on."""
MAX_NOTES: Final = 200
SEVERITIES: Final = tuple(Severity)


def place_of(group: LabelSet, policy_id: str) -> LabelSet:
    """Return the widest place that an alert's group names; without any, the policy itself is the place."""
    for label in PLACES:
        if value := group.get(label):
            return LabelSet(((label, value),))
    return LabelSet((("policy", policy_id),))


class IncidentBook:
    """Every incident that is not over, and the last `REMEMBERED` that are; oldest first."""

    def __init__(self, incidents: Iterable[Incident] = (), alert_homes: Iterable[tuple[str, str]] = ()) -> None:
        self._incidents = {incident.id: incident for incident in incidents}
        self._home = dict(alert_homes)

    @property
    def incidents(self) -> tuple[Incident, ...]:
        """All remembered incidents, in order of opening."""
        return tuple(self._incidents.values())

    @property
    def alert_homes(self) -> tuple[tuple[str, str], ...]:
        """Pairs of (alert id, incident id) of alerts that fire."""
        return tuple(sorted(self._home.items()))

    def fire(self, alert: Alert) -> Incident:
        """Take in an alert that began to fire; return its incident."""
        place = place_of(alert.group, alert.policy_id)
        incident = self._open_at(place)
        if incident is None:
            incident = _open(alert, place)
        else:
            incident = replace(
                incident,
                alert_ids=(*incident.alert_ids, alert.id),
                firing=incident.firing + 1,
                severity=max(incident.severity, alert.severity, key=SEVERITIES.index),
                changed_at_ms=alert.changed_at_ms,
            )
        self._home[alert.id] = incident.id
        return self._keep(incident)

    def mend(self, alert: Alert) -> Incident:
        """Note that an alert stopped firing; return its incident, resolved if it was the last."""
        incident = self._incidents[self._home.pop(alert.id)]
        incident = replace(incident, firing=incident.firing - 1, changed_at_ms=alert.changed_at_ms)
        if not incident.firing and incident.state is not IncidentState.RESOLVED:
            incident = _resolve(incident, "the last alert", alert.changed_at_ms)
        return self._keep(incident)

    def find(self, incident_id: str) -> Incident | None:
        """Return an incident by id; None if it is not there or was forgotten."""
        return self._incidents.get(incident_id)

    def obey(self, command: IncidentCommand, now_ms: int) -> Incident:
        """Carry out a person's command; return the incident as it is then.

        Raises:
            NotFound: there is no such incident, or it is older than the last 1000 resolved ones.
            Rejected: `incident_state`, when it is over already; `incident_notes`, when it is full.
        """
        incident = self._incidents.get(command.incident_id)
        if incident is None:
            raise NotFound(f"there is no incident {command.incident_id} among the last {REMEMBERED}")
        return self._keep(replace(_obeyed(incident, command, now_ms), changed_at_ms=now_ms))

    def _open_at(self, place: LabelSet) -> Incident | None:
        for incident in self._incidents.values():
            if incident.place == place and incident.state is not IncidentState.RESOLVED:
                return incident
        return None

    def _keep(self, incident: Incident) -> Incident:
        self._incidents[incident.id] = incident
        over = [
            each.id for each in self._incidents.values() if each.state is IncidentState.RESOLVED and not each.firing
        ]
        for forgotten in over[: max(0, len(over) - REMEMBERED)]:
            del self._incidents[forgotten]
        return incident


def _open(alert: Alert, place: LabelSet) -> Incident:
    where = " ".join(f"{name} {value}" for name, value in place.pairs if name != "policy")
    return Incident(
        id=content_id("incident", alert.id),
        title=f"{alert.policy_name} on {where}" if where else alert.policy_name,
        state=IncidentState.OPEN,
        severity=alert.severity,
        place=place,
        alert_ids=(alert.id,),
        firing=1,
        opened_at_ms=alert.changed_at_ms,
        changed_at_ms=alert.changed_at_ms,
    )


def _resolve(incident: Incident, by: str, now_ms: int) -> Incident:
    return replace(incident, state=IncidentState.RESOLVED, resolved_by=by, resolved_at_ms=now_ms)


def _obeyed(incident: Incident, command: IncidentCommand, now_ms: int) -> Incident:
    match command:
        case JudgeIncident(verdict=verdict):
            return replace(incident, verdict=verdict)
        case NoteIncident(text=text, actor=actor):
            if len(incident.notes) >= MAX_NOTES:
                raise Rejected("incident_notes", f"an incident has at most {MAX_NOTES} notes")
            return replace(incident, notes=(*incident.notes, Note(at_ms=now_ms, author=actor, text=text)))
    if incident.state is IncidentState.RESOLVED:
        raise Rejected("incident_state", f"incident {incident.id} is resolved already")
    if isinstance(command, ResolveIncident):
        return _resolve(incident, command.actor, now_ms)
    return replace(incident, state=IncidentState.ACKNOWLEDGED, acknowledged_by=command.actor, acknowledged_at_ms=now_ms)
