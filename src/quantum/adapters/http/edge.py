"""What every request and socket meets first, whatever its route, even where there is none.

A request id that the answer and the logs carry; a Host that is ours, so that no other site's name can be pointed at
this server (DNS rebinding); an Origin that is ours wherever something is changed or watched, so that no other site's
page can act through a visitor's browser; answers to browsers that ask whether a page of another site may (CORS);
security headers; and one measurement per request.
"""

from __future__ import annotations

import time
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

import structlog
from litestar import Request
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware

from quantum.adapters.http.answers import send_response
from quantum.adapters.http.problems import REASON, ROUTE, new_request_id, on_domain_error
from quantum.adapters.http.proxies import Proxies
from quantum.application.control import ORIGIN
from quantum.domain.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from litestar.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK_NAMES: Final = frozenset({"localhost", "localhost."})
READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
POLICY_VIOLATION: Final = 1008
CONTENT_POLICY: Final = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self';"
    " object-src 'none'; base-uri 'self'; frame-ancestors 'none'; form-action 'self'"
)
HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", CONTENT_POLICY.encode()),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
SECURE_ONLY: Final = (b"strict-transport-security", b"max-age=31536000")
"""For names that are reached over TLS: not without it for a year (RFC 6797)."""
CORS_METHODS: Final = b"GET, HEAD, POST, PUT, DELETE"
CORS_REQUEST_HEADERS: Final = b"Authorization, Content-Encoding, Content-Type, If-Match"
CORS_ANSWER_HEADERS: Final = b"ETag, Location, Retry-After, X-Request-Id"
CORS_MAX_AGE_S: Final = b"600"
REQUEST_ID: Final = b"x-request-id"
"""Is there already where another process has answered."""
UNCACHED: Final = (b"cache-control", b"no-store")


class Edge(ASGIMiddleware):
    """The outermost layer of the application."""

    def __init__(
        self,
        allowed_hosts: frozenset[str],
        allowed_origins: frozenset[str] = frozenset(),
        observe: Callable[[str, str, int, float, str], None] = lambda *_: None,
        proxies: Proxies | None = None,
    ) -> None:
        """Take what is let in besides loopback names, addresses and pages of our own.

        Args:
            allowed_hosts: names that a Host header may have; `*` means any.
            allowed_origins: pages of other sites that may act and watch.
            observe: is told method, route (as a template), status, seconds and reason of refusal of every request.
            proxies: whose word on askers is taken.
        """
        self._proxies = proxies or Proxies()
        self._allowed_hosts = allowed_hosts
        self._allowed_origins = allowed_origins
        self._observe = observe

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """See ASGIMiddleware."""
        scope = self._proxies.seen_through(scope)
        answer = Answer(send, new_request_id(), str(scope["method"]) if scope["type"] == ScopeType.HTTP else "")
        answer.headers = self._headers_for(scope)
        scope.setdefault("state", {})["request_id"] = answer.request_id
        if answer.method == "HEAD":
            # a HEAD is a GET whose body is not sent (RFC 9110, 9.3.2); the server's own scope keeps the method
            scope = cast("Scope", {**scope, "method": "GET"})
        begin_s = time.perf_counter()
        try:
            self.check(scope)
        except Rejected as refusal:
            await _refuse(scope, receive, answer, refusal)
        else:
            if _asks_whether_it_may(scope):
                await _allow(answer)
                return
            ORIGIN.set(scope["client"][0] if scope["client"] else "")
            with structlog.contextvars.bound_contextvars(request_id=answer.request_id):
                await next_app(scope, receive, answer.send)
        finally:
            if answer.method:
                template = scope["state"][ROUTE] = str(scope.get("path_template") or "none")
                reason = str(scope["state"].get(REASON, ""))
                self._observe(answer.method, template, answer.status, time.perf_counter() - begin_s, reason)

    def check(self, scope: Scope) -> None:
        """Raise Rejected (`host` or `origin`) for what is not meant for this server or comes from elsewhere."""
        hosts = _values(scope, b"host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            raise Rejected("host", "the Host header is missing or names another server; see server.allowed_hosts")
        origins = _values(scope, b"origin")
        if origins and (scope["type"] != ScopeType.HTTP or scope["method"] not in READING):
            own = len(origins) == 1 and place_of(origins[0]) == hosts[0]
            if not own and not self._allowed_origins.issuperset(origins):
                raise Rejected("origin", "pages of this origin may not act here; see server.allowed_origins")

    def _headers_for(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """Return the headers that an answer gets whatever it says."""
        headers = list(HEADERS)
        if scope["scheme"] in ("https", "wss"):
            headers.append(SECURE_ONLY)
        if self._allowed_origins:
            headers.append((b"vary", b"Origin"))
        origins = _values(scope, b"origin")
        if len(origins) == 1 and origins[0] in self._allowed_origins:
            headers.append((b"access-control-allow-origin", origins[0].encode("latin-1")))
            headers.append((b"access-control-expose-headers", CORS_ANSWER_HEADERS))
        return headers

    def _is_ours(self, host: str) -> bool:
        name = name_of(host)
        # no site can have an address for its name, so addresses need no list
        return name in LOOPBACK_NAMES or name in self._allowed_hosts or "*" in self._allowed_hosts or _is_address(name)


class Answer:
    """Sends an answer with our headers, and remembers its status (0 while there is none)."""

    def __init__(self, send: Send, request_id: str, method: str) -> None:
        self.request_id = request_id
        self.method = method
        self.status = 0
        self.headers: Sequence[tuple[bytes, bytes]] = HEADERS
        self._send = send

    async def send(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), *self.headers]
            told = {name.lower() for name, _ in headers}
            usual = ((REQUEST_ID, self.request_id.encode()), UNCACHED)
            headers += [pair for pair in usual if pair[0] not in told]
            message = {**message, "headers": headers}
        elif message["type"] == "http.response.body" and self.method == "HEAD":
            message = {**message, "body": b""}
        await self._send(message)


async def _refuse(scope: Scope, receive: Receive, answer: Answer, refusal: Rejected) -> None:
    if scope["type"] == ScopeType.HTTP:
        await send_response(scope, receive, answer.send, on_domain_error(Request(scope), refusal))
        return
    await receive()
    # closing before accepting is how ASGI answers an upgrade with 403
    closed: Any = {"type": "websocket.close", "code": POLICY_VIOLATION, "reason": refusal.reason}
    await answer.send(closed)


def _asks_whether_it_may(scope: Scope) -> bool:
    """Whether a browser asks before it sends what another site's page wants to (a CORS preflight)."""
    asked = scope["type"] == ScopeType.HTTP and scope["method"] == "OPTIONS"
    return asked and any(name == b"access-control-request-method" for name, _ in scope["headers"])


async def _allow(answer: Answer) -> None:
    """Say what may be asked; without the header that names its origin, a browser takes it for a no."""
    said = (
        (b"access-control-allow-methods", CORS_METHODS),
        (b"access-control-allow-headers", CORS_REQUEST_HEADERS),
        (b"access-control-max-age", CORS_MAX_AGE_S),
    )
    if any(name == b"access-control-allow-origin" for name, _ in answer.headers):
        answer.headers = [*answer.headers, *said]
    start: Any = {"type": "http.response.start", "status": HTTPStatus.NO_CONTENT, "headers": []}
    end: Any = {"type": "http.response.body", "body": b"", "more_body": False}
    await answer.send(start)
    await answer.send(end)


def _values(scope: Scope, wanted: bytes) -> list[str]:
    return [value.decode("latin-1").lower() for name, value in scope["headers"] if name == wanted]


def place_of(origin: str) -> str:
    """Return host and port of an origin; empty where it is no URL."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def name_of(host: str) -> str:
    """Return a Host header without its port; empty where it is malformed."""
    try:
        parts = urlsplit(f"//{host}")
        plain = parts.netloc == host and "@" not in host and (parts.port is None or parts.port > 0)
    except ValueError:
        return ""
    return (parts.hostname or "") if plain else ""


def is_loopback(name: str) -> bool:
    """Return whether a name, as of a Host header, is this machine's own for itself."""
    return name in LOOPBACK_NAMES or (_is_address(name) and ip_address(name).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
