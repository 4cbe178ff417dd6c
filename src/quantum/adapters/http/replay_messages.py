"""JSON shapes of the time machine: what to try, and what would have happened."""

from __future__ import annotations

from typing import Annotated

import msgspec

from quantum.adapters.http.messages import AlertItem, AlertStateName, Labels, Message, PolicyRequest, Request, TimeMs
from quantum.adapters.http.route_messages import Drafts
from quantum.domain.catalog import MAX_POLICIES


class ReplayRequest(Request):
    """What would have happened between two moments under other policies or routes.

    Without `policies` those of that time are in force; without `routes` those of that time, with `policies` those of
    now.
    """

    start_ms: TimeMs
    end_ms: TimeMs
    policies: Annotated[list[PolicyRequest], msgspec.Meta(max_length=MAX_POLICIES)] | None = None
    routes: Drafts | None = None


class PreviewRequest(Request):
    """What one draft policy alone would have done; by the routes in force, or by these."""

    policy: PolicyRequest
    start_ms: TimeMs
    end_ms: TimeMs
    routes: Drafts | None = None


class PageItem(Message):
    """A notification that would have been sent."""

    at_ms: int
    receiver: str
    alert_id: str
    policy_name: str
    state: AlertStateName
    group: Labels
    reason: str


class ReplayReport(Message):
    """The replayed history and its difference from what was."""

    start_ms: int
    end_ms: int
    samples: int
    alerts: list[AlertItem]
    pages: list[PageItem]
    alerts_live: int
    only_replayed: list[str]
    only_live: list[str]
