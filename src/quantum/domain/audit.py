"""The audit log: who wanted something changed, when, from where, what came of it, and what is different since.

Entries are conclusions like all others: a pure function of the commands and denials in the log, and of who signed in
and out, recorded with what these changed. So there is no change without its entry, and a replay repeats both.
What changed nothing and was refused nothing leaves no entry.

>>> [str(one) for one in differences(Change("a", "1", "2"), Change("a", "1", "3"))]
['after: "2" -> "3"']
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from quantum.domain.labels import LabelSet

if TYPE_CHECKING:
    from quantum.domain.errors import QuantumError
    from quantum.domain.facts import Attendance, Command, Denied, Fact

HIDDEN_VALUES: Final = frozenset({"secret"})
SET: Final = '"(set)"'
"""Stands for a value that nobody may read; whether it is another one is all that is told."""
CHANGED: Final = '"(another)"'
MAX_TEXT: Final = 2000
HIDDEN: Final = frozenset({"actor", "expected_version", "version", "changed_at_ms"})
NAMES: Final = (
    "policy",
    "receiver",
    "route",
    "silence",
    "model",
    "policy_id",
    "incident_id",
    "silence_id",
    "key_id",
    "name",
)
"""Members of commands by which it is told what they are about, the telling ones first."""


class Outcome(StrEnum):
    """What came of an attempt."""

    DONE = "done"
    REFUSED = "refused"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Change:
    """A member that is different since: JSON of what it was and of what it is, empty where there was or is nothing."""

    name: str
    before: str
    after: str

    def __str__(self) -> str:
        """Return it in one line."""
        return f"{self.name}: {self.before} -> {self.after}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One attempt to change something, to sign in or out, or to do what one may not.

    Attributes:
        id: 16 digits, the position of its fact: ids sort as what happened.
        actor: who; empty if it is not known.
        origin: the address from which it was asked; empty for what the settings or the program itself wanted.
        action: for example `put_policy` or `sign_in`.
        target: the name or id of what it was about.
        detail: why it was refused or denied.
        changes: by name of the member.
    """

    id: str
    at_ms: int
    actor: str
    origin: str
    action: str
    target: str
    outcome: Outcome
    detail: str = ""
    changes: tuple[Change, ...] = ()


def entry_of(
    fact: Fact, command: Command, origin: str, before: object, after: object, refusal: QuantumError | None
) -> AuditEntry | None:
    """Return the entry of a command; None if it changed nothing and was not refused.

    Args:
        fact: that had the command.
        command: what was wanted.
        origin: from where.
        before: what the command is about as it was; None if it was not, or only the command tells.
        after: the same as it is now.
        refusal: why it was not obeyed.
    """
    if refusal is not None:
        changes: tuple[Change, ...] = ()
    elif before is None and after is None:
        changes = differences(None, command, hidden=tuple(HIDDEN))
    else:
        changes = differences(before, after, hidden=tuple(HIDDEN))
        if not changes:
            return None
    return AuditEntry(
        id=f"{fact.position:016d}",
        at_ms=fact.at_ms,
        actor=command.actor,
        origin=origin,
        action=action_of(command),
        target=target_of(command),
        outcome=Outcome.DONE if refusal is None else Outcome.REFUSED,
        detail="" if refusal is None else str(refusal)[:MAX_TEXT],
        changes=changes,
    )


def denial_of(fact: Fact, denied: Denied) -> AuditEntry:
    """Return the entry of something that was asked by somebody who may not."""
    return AuditEntry(
        id=f"{fact.position:016d}",
        at_ms=fact.at_ms,
        actor=denied.actor,
        origin=denied.origin,
        action=denied.action,
        target=denied.target,
        outcome=Outcome.DENIED,
        detail=denied.reason,
    )


def attendance_of(fact: Fact, attendance: Attendance) -> AuditEntry:
    """Return the entry of somebody who signed in or out."""
    return AuditEntry(
        id=f"{fact.position:016d}",
        at_ms=fact.at_ms,
        actor=attendance.actor,
        origin=attendance.origin,
        action=attendance.action,
        target="",
        outcome=Outcome.DONE,
    )


def action_of(command: Command) -> str:
    """Return the name of a command, for example `put_policy`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(command).__name__).lower()


def target_of(command: Command) -> str:
    """Return the name or id of what a command is about."""
    found = next((getattr(command, name) for name in NAMES if hasattr(command, name)), "")
    return str(getattr(found, "name", found))


def differences(before: object, after: object, hidden: tuple[str, ...] = ()) -> tuple[Change, ...]:
    """Return the members that differ between two values of one class, either of which may be None."""
    one: Any = after if before is None else before
    names = [member.name for member in fields(one) if member.name not in hidden]
    found = []
    for name in names:
        was, now = (None if value is None else getattr(value, name) for value in (before, after))
        if was != now:
            found.append(_change(name, was, now))
    return tuple(found)


def _change(name: str, was: object, now: object) -> Change:
    if name not in HIDDEN_VALUES:
        return Change(name, _text(was), _text(now))
    return Change(name, SET if was else "", (CHANGED if was else SET) if now else "")


def _text(value: object) -> str:
    return "" if value is None else json.dumps(_plain(value), ensure_ascii=False)[:MAX_TEXT]


def _plain(value: object) -> object:
    """Return a value as what JSON has; bytes are nobody's to read."""
    if isinstance(value, LabelSet):
        return str(value)
    if isinstance(value, bytes):
        return f"({len(value)} bytes)"
    if is_dataclass(value):
        return {member.name: _plain(getattr(value, member.name)) for member in fields(value)}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value
