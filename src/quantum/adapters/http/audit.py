"""Reading the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from litestar import get
from litestar.params import QueryParameter

from quantum.adapters.http import audit_messages as m
from quantum.adapters.http import views
from quantum.adapters.http.parameters import Cursor, Limit, TimeMs, read_cursor
from quantum.application.ports import AuditFilter, Page
from quantum.domain.audit import AuditEntry, Outcome

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from quantum.application.ports import AuditStore


def audit_route(store: AuditStore) -> HTTPRouteHandler:
    """Return the handler."""

    @get("/api/v1/audit", operation_id="listAudit", tags=["audit"], summary="Who changed what, newest first")
    async def audit(
        outcomes: Annotated[list[m.OutcomeName] | None, QueryParameter(name="outcome")] = None,
        actor: Annotated[str | None, QueryParameter(max_length=400, description="Exactly this one")] = None,
        q: Annotated[
            str, QueryParameter(max_length=500, description="Part of the actor, action, target or address")
        ] = "",
        start_ms: TimeMs = None,
        end_ms: TimeMs = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> m.AuditPage:
        wanted = AuditFilter(
            outcomes=tuple(Outcome(one) for one in outcomes or []),
            actor=actor,
            words=q or None,
            start_ms=start_ms,
            end_ms=end_ms,
        )
        found = await store.audit(wanted, Page(limit=limit, before=read_cursor(cursor)))
        last = views.cursor(found[-1].at_ms, found[-1].id) if len(found) == limit else None
        return m.AuditPage(items=[_item(one) for one in found], next_cursor=last)

    return audit


def _item(entry: AuditEntry) -> m.AuditItem:
    return m.AuditItem(
        id=entry.id,
        at_ms=entry.at_ms,
        actor=entry.actor,
        origin=entry.origin,
        action=entry.action,
        target=entry.target,
        outcome=entry.outcome.value,
        detail=entry.detail,
        changes=[m.ChangeItem(name=one.name, before=one.before, after=one.after) for one in entry.changes],
    )
