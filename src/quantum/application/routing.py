"""Routes as people make them: put in force, deleted, listed, and asked whom they would tell."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from quantum.domain.errors import NotFound
from quantum.domain.facts import DeleteRoute, PutRoute
from quantum.domain.routing import MAX_ORDER, RouteBook

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantum.application.control import Control
    from quantum.application.monitoring import Monitor
    from quantum.domain.labels import LabelSet, MatcherCompiler
    from quantum.domain.routes import Route, Routed

GAP: Final = 10
"""What is left free between two siblings, so that another can be put between them."""


class Routing:
    """Makes routes and shows them."""

    def __init__(self, control: Control, monitor: Monitor, compile_matchers: MatcherCompiler) -> None:
        self._control, self._monitor, self._compile = control, monitor, compile_matchers

    def every(self) -> tuple[Route, ...]:
        """Return the routes in force, a parent before its children; raises Unavailable until they are known."""
        return self._control.routes()

    def route(self, name: str) -> Route:
        """Return a route.

        Raises:
            NotFound: there is none.
            Unavailable: it is not known yet.
        """
        found = self._monitor.in_force.routes.find(name)
        if found is None:
            raise NotFound(f"there is no route named {name!r}")
        return found

    async def put(self, route: Route, order: int | None, expected_version: int, actor: str) -> Route:
        """Create a route (`expected_version` 0) or replace it, and return it; without an order it has the one it had.

        A new route without an order comes after its siblings.

        Raises:
            Rejected, Conflict, NotFound: see `RouteBook.put`.
        """
        wanted = replace(route, order=self._order(route) if order is None else order)
        await self._control.submit(PutRoute(wanted, expected_version, actor))
        return self.route(route.name)

    def _order(self, route: Route) -> int:
        known = {one.name: one for one in self.every()}
        if route.name in known:
            return known[route.name].order
        return min(MAX_ORDER, max((one.order for one in known.values() if one.parent == route.parent), default=0) + GAP)

    async def delete(self, name: str, expected_version: int, actor: str) -> None:
        """Delete a route.

        Raises:
            NotFound, Conflict: see `RouteBook.delete`.
        """
        await self._control.submit(DeleteRoute(name, expected_version, actor))

    def lead(self, labels: LabelSet, draft: Sequence[Route] | None = None) -> Routed:
        """Return whom an alert with these labels is told to by the routes in force, or by a draft of all of them.

        Raises:
            Rejected: the draft makes no sense.
        """
        if draft is None:
            return self._monitor.in_force.routes.route(labels)
        book = RouteBook(self._compile)
        book.replace_all(draft, {one.name for one in self._control.receivers()})
        return book.route(labels)
