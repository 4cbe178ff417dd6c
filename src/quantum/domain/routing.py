"""Routing: the tree of routes at work. A pure function of the routes in force and an alert's labels.

An alert goes from the root to the deepest routes that match, as in Alertmanager: a route whose children take the alert
leaves it to them, one whose children do not tells its own receivers.

>>> from quantum.domain.labels import LabelSet, MatcherCompiler
>>> RouteBook(MatcherCompiler(lambda pattern: pattern.__eq__)).route(LabelSet.of({"host": "a"})).routes
('default',)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from quantum.domain.catalog import check_version, versioned
from quantum.domain.errors import Conflict, Rejected
from quantum.domain.labels import MAX_NAME_BYTES, MAX_VALUE_BYTES, Matcher, MatcherCompiler
from quantum.domain.policies import MAX_MATCHERS, MAX_NAME
from quantum.domain.routes import DEFAULT, Route, Routed, RouteOutcome, RouteStep

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from quantum.domain.facts import DeleteRoute, PutRoute
    from quantum.domain.labels import LabelSet

MAX_ROUTES: Final = 200
"""How many there may be besides the root."""
MAX_DEPTH: Final = 8
"""How many routes an alert may be led through below the root."""
MAX_TOLD: Final = 20
"""How many receivers a route may name."""
MAX_ORDER: Final = 1_000_000
MAX_STEPS: Final = 50
"""So many steps are kept with an alert."""
MAX_WORDS: Final = 80
"""So much of a value is told."""
RESERVED: Final = frozenset({"test"})
"""No route can have such a name: under it the API does something else."""
ROOT: Final = Route(name=DEFAULT, parent="", receivers=())
"""The root as it is until somebody says otherwise: nobody is told."""

Test = tuple[Matcher, "Callable[[LabelSet], bool]"]


class RouteBook:
    """The routes in force."""

    def __init__(self, compile_matchers: MatcherCompiler, routes: Iterable[Route] = ()) -> None:
        self._compile = compile_matchers
        self._routes: dict[str, Route] = {}
        self._tests: dict[str, list[Test]] = {}
        self._children: dict[str, list[Route]] = {}
        self._adopt({DEFAULT: ROOT} | {one.name: one for one in routes})

    @property
    def routes(self) -> tuple[Route, ...]:
        """All routes, a parent before its children and siblings in the order in which they are tried."""
        return tuple(self._below(self._routes[DEFAULT]))

    def find(self, name: str) -> Route | None:
        """Return a route by name; None if it is not there."""
        return self._routes.get(name)

    def put(self, command: PutRoute, receivers: Collection[str]) -> Route:
        """Create or replace a route; return it with its new version, or unchanged if nothing differs.

        Args:
            command: what is wanted.
            receivers: names of those that are there.

        Raises:
            Rejected: it makes no sense, there are `MAX_ROUTES` already, or a receiver or its parent is not there.
            Conflict, NotFound: as for policies.
        """
        wanted = check_route(command.route)
        known = self._routes.get(wanted.name)
        route = versioned(wanted, known, command.expected_version, f"route {wanted.name!r}")
        self._take(self._routes | {route.name: route}, (route,), receivers)
        return route

    def delete(self, command: DeleteRoute) -> Route:
        """Remove a route and return what it was.

        Raises:
            NotFound: it is not there.
            Conflict: it is the root, has children, or is at another version.
        """
        known = check_version(self._routes.get(command.name), command.expected_version, f"route {command.name!r}")
        if known.name == DEFAULT:
            raise Conflict(f"route {DEFAULT!r} is always there: edit it instead")
        if children := self._children[known.name]:
            raise Conflict(f"route {children[0].name!r} is below route {known.name!r}: delete or move it first")
        self._adopt({name: one for name, one in self._routes.items() if name != known.name})
        return known

    def replace_all(self, routes: Iterable[Route], receivers: Collection[str]) -> None:
        """Put routes in force and no others, in whatever order they are given; without a root it tells nobody.

        Raises:
            Rejected: one of them makes no sense, a name comes twice, or they are no tree.
        """
        given = [check_route(one) for one in routes]
        names = [one.name for one in given]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise Rejected("route_name", f"route {twice!r} is there twice")
        self._take({DEFAULT: ROOT} | {one.name: one for one in given}, given, receivers)

    def check_loss(self, receiver: str) -> None:
        """Raise Conflict while a route tells a receiver that is to be deleted."""
        for route in self._routes.values():
            if receiver in (route.receivers or ()):
                raise Conflict(f"route {route.name!r} still tells receiver {receiver!r}")

    def _take(self, routes: Mapping[str, Route], changed: Iterable[Route], receivers: Collection[str]) -> None:
        """Put a whole tree in force; raises Rejected before anything changes."""
        if len(routes) - 1 > MAX_ROUTES:
            raise Rejected("route_limit", f"route limit {MAX_ROUTES} reached")
        for route in changed:
            if missing := next((one for one in route.receivers or () if one not in receivers), None):
                raise Rejected("route_receiver", f"route {route.name!r}: there is no receiver named {missing!r}")
        for route in routes.values():
            _check_place(route, routes)
        self._adopt(routes)

    def _adopt(self, routes: Mapping[str, Route]) -> None:
        # compiled before anything changes: a pattern may be refused
        tests = {name: [(each, self._compile((each,))) for each in one.matchers] for name, one in routes.items()}
        children: dict[str, list[Route]] = {name: [] for name in routes}
        for route in sorted(routes.values(), key=lambda one: (one.order, one.name)):
            if route.name != DEFAULT:
                children[route.parent].append(route)
        self._routes, self._tests, self._children = dict(routes), tests, children

    def _below(self, route: Route) -> list[Route]:
        return [route, *(one for child in self._children[route.name] for one in self._below(child))]

    # ---- an alert ---------------------------------------------------------------------------------------------

    def route(self, labels: LabelSet) -> Routed:
        """Return where an alert with these labels is led, and why."""
        ends: list[Route] = []
        steps = self._lead(self._routes[DEFAULT], labels, ends)
        told = dict.fromkeys(name for one in ends for name in self._receivers(one))
        return Routed(
            receivers=tuple(told),
            routes=tuple(one.name for one in ends),
            steps=tuple(steps[:MAX_STEPS]),
            left_out=max(0, len(steps) - MAX_STEPS),
        )

    def _lead(self, route: Route, labels: LabelSet, ends: list[Route]) -> list[RouteStep]:
        """Return the steps from a route that matches on; `ends` gets the routes that decide."""
        steps: list[RouteStep] = []
        ended, taken = len(ends), ""
        for child in self._children[route.name]:
            if taken:
                words = f"route {taken!r} before it took the alert and does not go on"
                steps.append(RouteStep(child.name, RouteOutcome.NOT_REACHED, words))
            elif miss := self._miss(child, labels):
                steps.append(RouteStep(child.name, RouteOutcome.NO_MATCH, miss))
            else:
                steps += self._lead(child, labels, ends)
                taken = "" if child.goes_on else child.name
        if len(ends) > ended:
            return [RouteStep(route.name, RouteOutcome.LED_ON, "a route below it matches"), *steps]
        ends.append(route)
        told = ", ".join(self._receivers(route)) or "nobody"
        return [RouteStep(route.name, RouteOutcome.TOLD, f"it tells {told}"), *steps]

    def _miss(self, route: Route, labels: LabelSet) -> str:
        """Return which matcher does not hold, in words; empty if all do."""
        for matcher, holds in self._tests[route.name]:
            if not holds(labels):
                value = labels.get(matcher.label)
                has = f"{matcher.label} is {_short(value)!r}" if value else f"there is no {matcher.label}"
                return f"it asks for {_short(str(matcher))}, and {has}"
        return ""

    def _receivers(self, route: Route) -> tuple[str, ...]:
        while route.receivers is None and route.parent:
            route = self._routes[route.parent]
        return route.receivers or ()


def check_route(route: Route) -> Route:
    """Return a route that makes sense by itself; its matchers are compiled where it is put in force.

    Raises:
        Rejected: `route_name`, `route_default`, `route_matchers`, `route_receiver` or `route_order`.
    """
    name = route.name
    if not name.strip() or len(name) > MAX_NAME or not name.isprintable() or "/" in name or name in {".", ".."}:
        raise Rejected("route_name", f"a route name has 1 to {MAX_NAME} printable characters, none of them /")
    if name in RESERVED:
        raise Rejected("route_name", f"no route can be named {name!r}")
    if name == DEFAULT and (route.matchers or route.parent or route.goes_on):
        raise Rejected("route_default", f"route {DEFAULT!r} takes every alert: it has no matchers, parent or continue")
    if len(route.matchers) > MAX_MATCHERS:
        raise Rejected("route_matchers", f"a route has at most {MAX_MATCHERS} matchers")
    if any(_is_odd(one.label, MAX_NAME_BYTES) or _is_odd(one.value, MAX_VALUE_BYTES) for one in route.matchers):
        raise Rejected("route_matchers", f"labels have {MAX_NAME_BYTES} bytes, values {MAX_VALUE_BYTES}, and no NUL")
    if any(not one.label for one in route.matchers):
        raise Rejected("route_matchers", "a matcher names a label")
    if len(route.receivers or ()) > MAX_TOLD:
        raise Rejected("route_receiver", f"a route names at most {MAX_TOLD} receivers")
    if not 0 <= route.order <= MAX_ORDER:
        raise Rejected("route_order", f"order must lie in [0, {MAX_ORDER}], it is {route.order}")
    return route


def _is_odd(text: str, limit: int) -> bool:
    return "\x00" in text or len(text.encode(errors="surrogatepass")) > limit


def _check_place(route: Route, routes: Mapping[str, Route]) -> None:
    """Raise Rejected `route_parent` for a route from which no way, or too long a one, leads up to the root."""
    at, steps = route, 0
    while at.name != DEFAULT:
        above = routes.get(at.parent)
        if above is None:
            raise Rejected("route_parent", f"route {at.name!r}: there is no route named {at.parent!r} to be below")
        at, steps = above, steps + 1
        if at.name == route.name:
            raise Rejected("route_parent", f"route {route.name!r} would be below itself")
        if steps > MAX_DEPTH:
            raise Rejected("route_parent", f"route {route.name!r} is over {MAX_DEPTH} routes below the root")


def _short(text: str) -> str:
    return text if len(text) <= MAX_WORDS else f"{text[:MAX_WORDS]}…"
