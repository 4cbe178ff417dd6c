"""Shapes of the audit log."""

from __future__ import annotations

from typing import Literal

from quantum.adapters.http.messages import Message

OutcomeName = Literal["done", "refused", "denied"]


class ChangeItem(Message):
    """A member that is different since; JSON of what it was and of what it is."""

    name: str
    before: str
    after: str


class AuditItem(Message):
    """An attempt to change something, or to do what one may not."""

    id: str
    at_ms: int
    actor: str
    origin: str
    action: str
    target: str
    outcome: OutcomeName
    detail: str
    changes: list[ChangeItem]


class AuditPage(Message):
    """Entries of the audit log, newest first."""

    items: list[AuditItem]
    next_cursor: str | None
