"""Which requests a gateway answers itself, and which it hands on to the process that writes, with who asked.

One table of every route. What needs the present state of detection, or changes anything, is the writer's; what is in
the database, and what is open to anybody, is answered here. Reading goes on while the writer is away: what it would
have answered is then answered here, from the log and the newest checkpoint. The credential of a request is handed on as
it came, and judged there again, so a gateway can let nobody do what they may not.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp
import yarl
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware

from quantum.adapters.http.access import RIGHTS, refuse
from quantum.adapters.http.proxies import FOR, PROTO
from quantum.domain.errors import Rejected, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from litestar.types import ASGIApp, Message, Receive, Scope, Send


class Way(Enum):
    """How a gateway treats a route."""

    HERE = "answered here"
    WRITER = "handed on; 503 while the writer is away"
    WRITER_OR_HERE = "handed on; answered here while the writer is away"


_HERE: Final = (
    "GET /",
    "GET /{path}",
    "GET /docs",
    "GET /openapi.json",
    "GET /api/schema",
    "GET /api/schema/openapi.json",
    "GET /api/schema/{path}",
    "GET /livez",
    "GET /readyz",
    "GET /startupz",
    "GET /metrics",
    "GET /api/v1/session",
    "GET /api/v1/alerts",
    "GET /api/v1/incidents",
    "GET /api/v1/incidents/{incident_id}",
    "GET /api/v1/audit",
    "WEBSOCKET /api/v1/live",
    "POST /api/v1/live/tickets",
    "GET /prometheus/api/v1/query",
    "POST /prometheus/api/v1/query",
    "GET /prometheus/api/v1/query_range",
    "POST /prometheus/api/v1/query_range",
    "GET /prometheus/api/v1/series",
    "POST /prometheus/api/v1/series",
    "GET /prometheus/api/v1/labels",
    "POST /prometheus/api/v1/labels",
    "GET /prometheus/api/v1/label/{name}/values",
    "GET /prometheus/api/v1/metadata",
    "GET /prometheus/api/v1/format_query",
    "POST /prometheus/api/v1/format_query",
    "GET /prometheus/api/v1/query_exemplars",
    "POST /prometheus/api/v1/query_exemplars",
    "GET /prometheus/api/v1/rules",
    "GET /prometheus/api/v1/alerts",
    "GET /prometheus/api/v1/status/buildinfo",
)
_WRITER_OR_HERE: Final = (
    "GET /api/v1/overview",
    "GET /api/v1/series",
    "GET /api/v1/series/{fingerprint}",
    "GET /api/v1/series/{fingerprint}/window",
    "GET /api/v1/series/{fingerprint}/why",
    "GET /api/v1/series/{fingerprint}/forecast",
    "GET /api/v1/what-moved",
    "GET /api/v1/anomalies",
    "GET /api/v1/alerts/{alert_id}",
    "GET /api/v1/policies",
    "GET /api/v1/policies/{key}",
    "GET /api/v1/policies/{key}/lessons",
    "GET /api/v1/silences",
    "GET /api/v1/silences/{silence_id}",
    "GET /api/v1/routes",
    "GET /api/v1/routes/{name}",
    "GET /api/v1/receivers",
    "GET /api/v1/receivers/{name}",
    "GET /api/v1/models",
    "GET /api/v1/models/coverage",
    "GET /api/v1/models/{name}",
    "GET /api/v1/models/{name}/file",
    "GET /api/v1/api-keys",
    "GET /api/v1/api-keys/{key_id}",
)
WAYS: Final[dict[str, Way]] = {
    **dict.fromkeys(RIGHTS, Way.WRITER),
    **dict.fromkeys(_HERE, Way.HERE),
    **dict.fromkeys(_WRITER_OR_HERE, Way.WRITER_OR_HERE),
}
"""Of every route how a gateway treats it; one that is not named above is the writer's."""

CONNECT_S: Final = 2.0
ANSWER_S: Final = 300.0
"""A replay takes its time."""
FIRST_PIECE_S: Final = 10.0
"""So long the begin of a body is waited for, without a connection to the writer; from then on the writer waits."""
LOST: Final = "the process that writes went away; whether it did what was asked is not known: read again"
PIECE: Final = 65_536
CONNECTIONS: Final = 200
DENIED: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
BETWEEN_TWO: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-connection", b"te", b"trailer", b"upgrade"}
)
"""Headers of one connection (RFC 9110, 7.6.1), which are not handed on; how a body is cut into pieces is neither."""
NOT_ASKED: Final = BETWEEN_TWO | {b"transfer-encoding", b"accept-encoding", b"expect", FOR, PROTO}
OUR_OWN: Final = frozenset(
    {
        b"x-content-type-options",
        b"x-frame-options",
        b"referrer-policy",
        b"cross-origin-opener-policy",
        b"cross-origin-resource-policy",
        b"content-security-policy",
        b"permissions-policy",
        b"strict-transport-security",
        b"access-control-allow-origin",
        b"access-control-expose-headers",
        b"vary",
        b"date",
        b"server",
    }
)
"""Headers that this process gives every answer by itself. The request's id is the writer's: its log has it."""
NOT_ANSWERED: Final = BETWEEN_TWO | OUR_OWN | {b"transfer-encoding"}


async def survey(writer: str) -> None:
    """Find out whether a process that writes takes requests at an address.

    Raises:
        Unavailable: none does.
    """
    timeout = aiohttp.ClientTimeout(total=CONNECT_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"{writer}/readyz") as answer:
            if answer.status != HTTPStatus.OK:
                raise Unavailable(f"it answers {answer.status}, and is not ready")
    except (aiohttp.ClientError, TimeoutError, OSError):
        raise Unavailable("nothing answers there") from None


class AwayError(Unavailable):
    """No writer answers; nothing of the request was done."""


class Forwarder(ASGIMiddleware):
    """Hands requests on to the writer. An async context manager.

    Attributes:
        handed_on: how many requests the writer answered.
        away: why none answered last; empty if one did.
    """

    def __init__(self, writers: Sequence[str], first_piece_s: float = FIRST_PIECE_S) -> None:
        """Take the addresses at which the writer may be: those of the process that writes, and of who takes over."""
        self._first_piece_s = first_piece_s
        self.handed_on = 0
        self.away = ""
        self._writers = [writer.rstrip("/") for writer in writers]
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        """Open the connection pool; no writer need be there."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=ANSWER_S),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self._session.close()

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """See ASGIMiddleware."""
        way = _way_of(scope)
        try:
            if way is not Way.HERE:
                await self._hand_on(scope, receive, send)
            elif scope["type"] == ScopeType.HTTP:
                await self._answer(scope, receive, send, next_app)
            else:
                await next_app(scope, receive, send)
        except Rejected as refusal:
            await refuse(scope, receive, send, refusal)
        except AwayError as failure:
            if way is Way.WRITER_OR_HERE:
                await next_app(scope, receive, send)
            else:
                await refuse(scope, receive, send, failure)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Let it be answered here. Only the writer denies: the audit log is its, and it may know a newer key."""
        held: list[Message] = []

        async def send_unless_denied(message: Message) -> None:
            if held or (message["type"] == "http.response.start" and message["status"] in DENIED):
                held.append(message)
            else:
                await send(message)

        await next_app(scope, receive, send_unless_denied)
        if held:
            try:
                await self._hand_on(scope, receive, send)
            except AwayError:
                for message in held:
                    await send(message)

    async def _hand_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the writer answer.

        Raises:
            AwayError: none was reached.
            Rejected: `request_timeout`: the body does not begin.
        """
        body = _Body(scope, receive)
        await body.begin(self._first_piece_s)
        for writer in tuple(self._writers):
            try:
                status = await self._ask(writer, scope, body, send)
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
                self.away = "the process that writes cannot be reached"
            except (aiohttp.ClientError, TimeoutError, OSError):
                self._ask_last(writer)
                # once an answer has begun, only an end before its time says that it is not whole
                if not body.is_answered:
                    await refuse(scope, receive, send, Unavailable(LOST))
                return
            else:
                self.handed_on, self.away = self.handed_on + 1, ""
                if status == HTTPStatus.SERVICE_UNAVAILABLE:
                    self._ask_last(writer)
                return
        raise AwayError(f"{self.away}; nothing was changed, try again")

    def _ask_last(self, writer: str) -> None:
        """Ask the others before this one from now on: it may be cut off, and another have its place by now."""
        self._writers.sort(key=lambda one: one == writer)

    async def _ask(self, writer: str, scope: Scope, body: _Body, send: Send) -> int:
        """Have a writer answer; return the status."""
        query = scope["query_string"].decode("latin-1")
        asked: Any = scope
        url = f"{writer}{asked['raw_path'].decode('latin-1')}{f'?{query}' if query else ''}"
        request = self._session.request(
            asked["method"],
            yarl.URL(url, encoded=True),
            headers=_asked_headers(scope),
            data=body.pieces() if body.is_there else None,
            allow_redirects=False,
        )
        async with request as answer:
            headers = [pair for pair in answer.raw_headers if pair[0].lower() not in NOT_ANSWERED]
            body.is_answered = True
            start: Any = {"type": "http.response.start", "status": answer.status, "headers": headers}
            await send(start)
            async for piece in answer.content.iter_chunked(PIECE):
                part: Any = {"type": "http.response.body", "body": piece, "more_body": True}
                await send(part)
        end: Any = {"type": "http.response.body", "body": b"", "more_body": False}
        await send(end)
        return answer.status


class _Body:
    """The body of a request on its way.

    Attributes:
        is_there: whether there is one.
        is_answered: whether an answer has begun.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        names = {name: value for name, value in scope["headers"] if name in (b"content-length", b"transfer-encoding")}
        self.is_there = b"transfer-encoding" in names or names.get(b"content-length", b"0") != b"0"
        self.is_answered = False
        self._receive = receive
        self._first: Any = None

    async def begin(self, within_s: float) -> None:
        """Wait for the first piece: whoever sends none, a stranger perhaps, is to hold no connection to the writer.

        Raises:
            Rejected: `request_timeout`.
        """
        try:
            async with asyncio.timeout(within_s):
                self._first = await self._receive() if self.is_there else None
        except TimeoutError:
            raise Rejected("request_timeout", f"the body did not begin within {within_s:g} s") from None

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield it as it comes."""
        is_more, message = True, self._first
        while is_more:
            is_more = message.get("more_body", False)
            if message["type"] != "http.request":
                raise ConnectionError("who asked is gone")
            yield message.get("body", b"")
            message = await self._receive() if is_more else None


def _way_of(scope: Scope) -> Way:
    template = scope["path_template"]
    if scope["type"] != ScopeType.HTTP:
        return Way.HERE
    if scope["method"] == "OPTIONS":
        return Way.HERE
    return WAYS.get(f"{scope['method']} {template}", Way.WRITER)


def _asked_headers(scope: Scope) -> list[tuple[str, str]]:
    """Return the headers with which the writer is asked: those of the asker, who is told in the words of a proxy."""
    headers = [(name, value) for name, value in scope["headers"] if name not in NOT_ASKED]
    headers.append((PROTO, b"https" if scope["scheme"] == "https" else b"http"))
    if scope["client"]:
        headers.append((FOR, scope["client"][0].encode()))
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
