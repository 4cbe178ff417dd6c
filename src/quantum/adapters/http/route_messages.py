"""JSON shapes of routes: whom alerts are told to whose policies name nobody."""

from __future__ import annotations

from typing import Annotated

import msgspec

from quantum.adapters.http.messages import Labels, MatcherItem, Message, Name, Request
from quantum.domain.policies import MAX_MATCHERS
from quantum.domain.routes import DEFAULT
from quantum.domain.routing import MAX_ORDER, MAX_ROUTES, MAX_TOLD


class RouteRequest(Request):
    """A route as people write it.

    `receivers` are told; an empty list means nobody is, null those of the parent. With `continue` later siblings are
    tried too. Without an `order` a new route comes after its siblings, one that is edited stays where it is.
    """

    name: Name
    parent: Annotated[str, msgspec.Meta(description="Below which route it is tried; only `default` has none")] = DEFAULT
    order: Annotated[int, msgspec.Meta(ge=0, le=MAX_ORDER)] | None = None
    matchers: Annotated[
        list[MatcherItem],
        msgspec.Meta(
            max_length=MAX_MATCHERS,
            description="Of an alert's labels: those of its group, `alertname` (its policy's name) and `severity`",
        ),
    ] = msgspec.field(default_factory=list)
    receivers: Annotated[list[str], msgspec.Meta(max_length=MAX_TOLD)] | None = None
    goes_on: bool = msgspec.field(name="continue", default=False)


class RouteItem(Message):
    """A stored route; `version` is also its ETag."""

    name: str
    version: int
    parent: str
    order: int
    matchers: list[MatcherItem]
    receivers: list[str] | None
    goes_on: bool = msgspec.field(name="continue")


class RouteList(Message):
    """A parent before its children, siblings in the order in which they are tried; the first is `default`."""

    items: list[RouteItem]


Drafts = Annotated[list[RouteRequest], msgspec.Meta(max_length=MAX_ROUTES + 1)]


class RouteTestRequest(Request):
    """Whom would an alert with these labels be told to? With `routes`, by these instead of those in force."""

    labels: Labels
    routes: Drafts | None = None
