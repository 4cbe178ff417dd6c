"""The HTTP and WebSocket application: routes, errors, headers, documentation. The only place where Litestar is."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog
from litestar import Litestar, Request, Response, Router, get
from litestar.config.compression import CompressionConfig
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import License

from quantum.adapters.http import messages as m
from quantum.adapters.http.control import json_only
from quantum.adapters.http.pages import page_routes
from quantum.adapters.http.problems import HANDLERS, problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from litestar.types import ASGIApp, ControllerRouterHandler, Message, Receive, Scope, Send

    from quantum.application.ports import Identity

MAX_CONTROL_BODY: Final = 1_000_000
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
POLICY: Final = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self';"
    " object-src 'none'; base-uri 'self'; frame-ancestors 'none'; form-action 'self'"
)
HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", POLICY.encode()),
)


class Edge(ASGIMiddleware):
    """What every request meets first: a request id, a check of its Host, security headers on its answer."""

    def __init__(self, allowed_hosts: frozenset[str]) -> None:
        self._allowed_hosts = allowed_hosts

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """See ASGIMiddleware."""
        request_id = secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), *HEADERS, (b"x-request-id", request_id.encode())]
                message = {**message, "headers": headers}
            await send(message)

        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if scope["type"] == ScopeType.HTTP and not self._known(hosts):
            refusal = problem(400, "host", "the Host header is missing or names another server", request_id)
            await refusal.to_asgi_response(None, Request(scope))(scope, receive, send_with_headers)
            return
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await next_app(scope, receive, send_with_headers)

    def _known(self, hosts: Sequence[bytes]) -> bool:
        if len(hosts) != 1:
            return False
        name = hosts[0].decode("latin-1").lower()
        name = name if name.endswith("]") else name.rsplit(":", 1)[0]
        return "*" in self._allowed_hosts or name in LOOPBACK_NAMES or name in self._allowed_hosts


def session_route(identity: Identity) -> Any:
    """Return the handler that says who is asking."""

    @get("/api/v1/session", operation_id="getSession", tags=["session"], summary="Who am I?")
    async def session(request: Request[Any, Any, Any]) -> m.Session:
        principal = await identity.identify(request.headers.get("authorization"))
        return m.Session(subject=principal.subject, roles=sorted(principal.roles), banner=identity.banner)

    return session


@get("/openapi.json", include_in_schema=False, media_type="application/json")
async def openapi(request: Request[Any, Any, Any]) -> Response[Any]:
    """Return the description of the API."""
    return Response(msgspec.json.encode(request.app.openapi_schema.to_schema()), media_type="application/json")


def create_app(
    *,
    raw_routes: Sequence[ControllerRouterHandler],
    json_routes: Sequence[ControllerRouterHandler],
    allowed_hosts: frozenset[str],
    version: str,
) -> Litestar:
    """Return the application.

    Args:
        raw_routes: handlers that read their bodies themselves (ingest), or have none (health, live).
        json_routes: handlers whose bodies are JSON.
        allowed_hosts: names that a Host header may have besides loopback names; `*` means any.
        version: shown in the documentation.
    """
    control = Router(
        "/", route_handlers=list(json_routes), before_request=json_only, request_max_body_size=MAX_CONTROL_BODY
    )
    return Litestar(
        [*raw_routes, control, openapi, *page_routes()],
        middleware=[Edge(allowed_hosts)],
        exception_handlers=HANDLERS,
        compression_config=CompressionConfig(backend="gzip", gzip_compress_level=1, minimum_size=2000),
        request_max_body_size=None,
        openapi_config=OpenAPIConfig(
            title="Quantum",
            version=version,
            path="/api/schema",
            render_plugins=[JsonRenderPlugin(path="/openapi.json")],
            license=License(name="Apache-2.0", identifier="Apache-2.0"),
            use_handler_docstrings=True,
        ),
        logging_config=None,
    )
