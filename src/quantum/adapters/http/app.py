"""The HTTP and WebSocket application: all routes behind one edge, strict about what they are asked.

Each tenant has a room: handlers that know its data and no other's. Who comes in is found out at the door, and led into
the room of their tenant; nothing that a request says besides its credential has a part in that.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
from litestar import Litestar, Request, Response, Router, get
from litestar.config.compression import CompressionConfig
from litestar.handlers import HTTPRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import License

from quantum.adapters.http import messages as m
from quantum.adapters.http.access import PRINCIPAL, Gate, credential_of, refuse, rights_of
from quantum.adapters.http.bodies import require_type
from quantum.adapters.http.description import describe
from quantum.adapters.http.edge import Edge
from quantum.adapters.http.front import Front
from quantum.adapters.http.live import ticket_route
from quantum.adapters.http.lobby import LOBBY, Lobby
from quantum.adapters.http.pages import page_routes
from quantum.adapters.http.problems import HANDLERS
from quantum.adapters.http.prometheus_api import QUERIES
from quantum.adapters.http.repeats import Repeats
from quantum.adapters.http.toll import Toll
from quantum.adapters.http.tracing import Tracing
from quantum.adapters.http.turnstile import Turnstile
from quantum.application.control import TENANT
from quantum.application.ports import Principal
from quantum.domain.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from litestar.types import ASGIApp, ControllerRouterHandler, Receive, Scope, Send

    from quantum.adapters.http.description import Description
    from quantum.adapters.http.health import Vitals
    from quantum.adapters.http.proxies import Proxies
    from quantum.adapters.http.ways import Forwarder
    from quantum.adapters.traces import Traces
    from quantum.application.denials import Denials
    from quantum.application.ports import Identity
    from quantum.application.quotas import Quotas
    from quantum.application.tickets import Tickets

STRANGER: Final = Principal("", frozenset(), "", means="")
MAX_CONTROL_BODY: Final = 1_000_000
BODY_TIMEOUT_S: Final = 10.0
UNCOMPRESSED: Final = [
    "^/api/v1/samples",
    "^/prometheus/api/v1/write",
    "^/otlp",
    "^/v1/metrics",
    "^/influx",
    "^/write",
    "^/api/v2/write",
]
"""Answers of these are a few bytes, and so many that asking each whether it should be compressed is felt: they take the
short way, see `Front`."""
PARAMETERS: Final = "query_parameters"
"""Under this name the application's state has the query parameters of every operation."""


def session_route(identity: Identity, sign_in: str, of_strangers: Denials) -> Any:
    """Return the handler that says who is asking, and where to sign in if that can be done.

    It is open to anybody, so that credentials that are no good are noted here and not by the gate.
    """

    @get("/api/v1/session", operation_id="getSession", tags=["session"], summary="Who am I?")
    async def session(request: Request[Any, Any, Any]) -> m.Session:
        try:
            principal = await _whoever(identity, credential_of(request.scope))
        except Rejected as refusal:
            await of_strangers.note("", "GET /api/v1/session", "", str(refusal))
            raise
        return m.Session(
            subject=principal.subject,
            tenant=principal.tenant,
            roles=sorted(principal.roles),
            may=rights_of(principal),
            means=principal.means,
            banner=identity.banner,
            sign_in=sign_in,
        )

    return session


async def _whoever(identity: Identity, credential: str) -> Principal:
    """Return who shows a credential; a stranger if there is none."""
    try:
        return await identity.identify(credential)
    except Rejected as refusal:
        if refusal.reason != "unauthenticated":
            raise
        return STRANGER


async def check_request(request: Request[Any, Any, Any]) -> None:
    """Refuse what a handler would not see: parameters it does not know, bodies of other types, or none at all.

    Raises:
        Rejected: `unknown_parameter`, `repeated_parameter`, `content_type`, `malformed_body` or `request_timeout`.
    """
    _check_parameters(request)
    if request.method not in ("POST", "PUT"):
        return
    needed = request.route_handler.parsed_data_field is not None
    given = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    if needed and not given:
        raise Rejected("malformed_body", "the body is empty")
    if given:
        # other sites' forms cannot have this type without asking first
        require_type(request, "application/json", charset="utf-8")
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                await request.body()
        except TimeoutError:
            raise Rejected("request_timeout", f"the body did not arrive within {BODY_TIMEOUT_S:g} s") from None


class StrictRequest(Request[Any, Any, Any]):
    """A request whose body is decoded once, as what its handler takes.

    Litestar decodes it as anything, and then turns values into what they should have been ("1", "true").
    """

    async def json(self) -> Any:
        """Return the body.

        Raises:
            Rejected: `malformed_body`: a value is of another type than it should be; the message names the member.
        """
        field = self.route_handler.parsed_data_field
        try:
            return msgspec.json.decode(await self.body(), type=Any if field is None else field.annotation)
        except msgspec.DecodeError as error:
            raise Rejected("malformed_body", f"the body is not what it has to be: {error}") from None


def _check_parameters(request: Request[Any, Any, Any]) -> None:
    operation = request.scope["method"].lower(), request.scope["path_template"]
    known = request.app.state[PARAMETERS].get(operation, {})
    seen = set()
    for name, _ in request.query_params.multi_items():
        if name not in known:
            listed = ", ".join(sorted(known)) or "none"
            raise Rejected("unknown_parameter", f"there is no parameter {name[:80]!r} here; those known are: {listed}")
        if name in seen and not known[name]:
            raise Rejected("repeated_parameter", f"parameter {name!r} is given more than once")
        seen.add(name)


def _openapi_route(description: Description) -> Any:
    body = msgspec.json.encode(description.document)

    @get("/openapi.json", include_in_schema=False, media_type="application/json")
    async def openapi() -> Response[bytes]:
        return Response(body, media_type="application/json")

    return openapi


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What the requests of one tenant's members reach.

    Attributes:
        raw_routes: handlers that read their bodies themselves (ingest), or have none (live).
        json_routes: handlers whose bodies are JSON.
        denials: is told which members asked for what they may not have.
    """

    raw_routes: Sequence[ControllerRouterHandler]
    json_routes: Sequence[ControllerRouterHandler]
    denials: Denials


class Porter(ASGIMiddleware):
    """Leads everybody into the room of their tenant; this application's own handlers are the first tenant's room."""

    def __init__(self, first: str, others: Mapping[str, ASGIApp]) -> None:
        self._first = first
        self._others = others

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """See ASGIMiddleware."""
        principal = scope["state"].get(PRINCIPAL)
        TENANT.set(principal.tenant if principal else "")
        if principal is None or principal.tenant == self._first:
            # without a principal it is a route that is open to anybody, which has nobody's data
            await next_app(scope, receive, send)
        elif principal.tenant in self._others:
            await self._others[principal.tenant](scope, receive, send)
        else:
            await refuse(scope, receive, send, Rejected("tenant_not_served", "the data of your tenant is not here"))


def create_app(
    *,
    rooms: Mapping[str, Room],
    raw_routes: Sequence[ControllerRouterHandler],
    json_routes: Sequence[ControllerRouterHandler],
    allowed_hosts: frozenset[str],
    allowed_origins: frozenset[str],
    identity: Identity,
    tickets: Tickets,
    quotas: Quotas,
    vitals: Vitals,
    proxies: Proxies,
    forwarder: Forwarder | None = None,
    traces: Traces | None = None,
) -> Litestar:
    """Return the application.

    Args:
        rooms: of every tenant; strangers who are denied something are told to the first.
        raw_routes: handlers of the process (health), that have nobody's data.
        json_routes: the same for bodies of JSON.
        allowed_hosts: names that a Host header may have besides loopback names and addresses; `*` means any.
        allowed_origins: pages of other sites that may act and watch, for example `https://portal.example`.
        identity: finds out who is asking.
        tickets: open sockets.
        quotas: how much each may ask.
        vitals: is told of every request; its version is shown in the documentation.
        proxies: whose word on askers is taken.
        forwarder: hands on what is not answered here; None where everything is.
        traces: follow requests.
    """
    first, room = next(iter(rooms.items()))
    others = {tenant: _inner(other, tickets) for tenant, other in rooms.items() if tenant != first}
    layers = [
        *([forwarder] if forwarder else []),
        Gate(identity, tickets, {tenant: one.denials for tenant, one in rooms.items()}),
        Toll(quotas),
        *([Porter(first, others)] if others else []),
    ]
    raw, json = [*raw_routes, *room.raw_routes], [*json_routes, *room.json_routes, ticket_route(tickets)]
    app = _litestar(raw, json, layers, _openapi(vitals.version))
    _describe(app, others.values())
    for route in page_routes():
        app.register(route)
    # outermost, so that it also sees what no route answers
    edge = Edge(_lower(allowed_hosts), _lower(allowed_origins), vitals.observe, proxies)
    inside = _front(room, layers)(app.asgi_handler)
    whole = edge(Tracing(traces)(inside) if traces else inside)
    app.asgi_handler = _in_turns(app, whole, vitals) if others else whole
    return app


def _in_turns(app: Litestar, whole: ASGIApp, vitals: Vitals) -> ASGIApp:
    """Return all layers behind those that share the loop among senders; the server's protocol finds their lobby."""
    turnstile, repeats = Turnstile(), Repeats(vitals.observe)
    app.state[LOBBY] = Lobby(turnstile, repeats)
    return turnstile(repeats(whole))


def _inner(room: Room, tickets: Tickets) -> Litestar:
    """Return the room of another tenant than the first: without doors of its own, and reached by the porter only."""
    app = _litestar(room.raw_routes, [*room.json_routes, ticket_route(tickets)])
    app.asgi_handler = _front(room, ())(app.asgi_handler)
    return app


def _litestar(
    raw_routes: Sequence[ControllerRouterHandler],
    json_routes: Sequence[ControllerRouterHandler],
    layers: Sequence[ASGIMiddleware] = (),
    openapi: OpenAPIConfig | None = None,
) -> Litestar:
    """Return the framework's application over handlers, strict about bodies that are JSON."""
    return Litestar(
        [*raw_routes, _strict(json_routes)],
        middleware=layers,
        exception_handlers=HANDLERS,
        compression_config=_compression(),
        request_max_body_size=None,
        openapi_config=openapi,
        logging_config=None,
    )


def _describe(app: Litestar, others: Iterable[Litestar]) -> None:
    """Serve the description of an application; let it and the others know the parameters that are in it."""
    description = describe(app.openapi_schema.to_schema())
    for one in (app, *others):
        one.state[PARAMETERS] = description.parameters
    app.register(_openapi_route(description))


def _openapi(version: str) -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Quantum",
        version=version,
        path="/api/schema",
        render_plugins=[JsonRenderPlugin(path="/openapi.json")],
        license=License(name="Apache-2.0", identifier="Apache-2.0"),
        use_handler_docstrings=True,
    )


def _strict(json_routes: Sequence[ControllerRouterHandler]) -> Router:
    return Router(
        "/",
        route_handlers=list(json_routes),
        before_request=check_request,
        request_class=StrictRequest,
        request_max_body_size=MAX_CONTROL_BODY,
    )


def _compression() -> CompressionConfig:
    return CompressionConfig(backend="gzip", gzip_compress_level=1, minimum_size=2000, exclude=UNCOMPRESSED)


def _front(room: Room, layers: Sequence[ASGIMiddleware]) -> Front:
    queries = (one for one in room.raw_routes if isinstance(one, HTTPRouteHandler) and one.paths.issubset(QUERIES))
    return Front(filter(_is_uncompressed, room.raw_routes), layers, queries)


def _is_uncompressed(route: ControllerRouterHandler) -> bool:
    paths = route.paths if isinstance(route, HTTPRouteHandler) else ()
    return any(re.match(pattern, path) for pattern in UNCOMPRESSED for path in paths)


def _lower(names: frozenset[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in names)
