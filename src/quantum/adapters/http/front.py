"""The short way of samples: requests that hand samples in or ask for them are answered without the framework's layers.

Who may, how much, and what is answered is decided by the very same parts as for every other route: the gate, the toll,
the route's own handler, and the table of problems. What is left out is what these routes have no use for: the search
for a route and arguments by name. Long answers are compressed for who takes them so, in a thread. Whatever is not for
one of these paths to the letter, another method among it, goes the long way.
"""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING, Any, Final

from litestar import Request, Response
from litestar.enums import ScopeType
from litestar.handlers import HTTPRouteHandler
from litestar.middleware import ASGIMiddleware

from quantum.adapters.http.answers import send_response
from quantum.adapters.http.problems import HANDLERS
from quantum.domain.errors import QuantumError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from litestar.types import ASGIApp, ControllerRouterHandler, Receive, Scope, Send

POST, GET = "POST", "GET"
LONG_BYTES: Final = 2000
"""Answers from this length on are compressed for whom that spares time; as the framework does for other routes."""
LEVEL: Final = 1


class Front(ASGIMiddleware):
    """Answers requests to hand samples in; passes on all others."""

    def __init__(
        self,
        routes: Iterable[ControllerRouterHandler],
        layers: Iterable[ASGIMiddleware],
        queries: Iterable[ControllerRouterHandler] = (),
    ) -> None:
        """Take handlers over.

        Args:
            routes: those with the method POST get a request as their only argument, and return a response.
            layers: what a request passes before the handler, outermost first.
            queries: the same with the method GET.
        """
        self._handlers: dict[tuple[str, str], Callable[[Any], Awaitable[Response[Any]]]] = {
            (method, path): route.fn
            for method, some in ((POST, routes), (GET, queries))
            for route in some
            if isinstance(route, HTTPRouteHandler) and method in route.http_methods
            for path in route.paths
        }
        self._guarded: ASGIApp = self._answer
        for layer in reversed(tuple(layers)):
            self._guarded = layer(self._guarded)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """See ASGIMiddleware."""
        is_ours = scope["type"] == ScopeType.HTTP and (scope["method"], scope["path"]) in self._handlers
        if not is_ours:
            await next_app(scope, receive, send)
            return
        scope["path_template"], scope["path_params"] = scope["path"], {}
        try:
            await self._guarded(scope, receive, send)
        except QuantumError as error:  # of a layer, before there is an answer
            await send_response(scope, receive, send, _problem(scope, error))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            request = Request[Any, Any, Any](scope, receive, send)
            response = await self._handlers[request.method, scope["path"]](request)
            if request.method == GET and len(response.content) >= LONG_BYTES and _takes_gzip(scope):
                response = await _compressed(response)
        except Exception as error:  # noqa: BLE001 - the table has an answer for every error, a bug of ours among them
            response = _problem(scope, error)
        await send_response(scope, receive, send, response)


def _takes_gzip(scope: Scope) -> bool:
    return any(b"gzip" in value for name, value in scope["headers"] if name == b"accept-encoding")


async def _compressed(response: Response[bytes]) -> Response[bytes]:
    packed = await asyncio.to_thread(gzip.compress, response.content, LEVEL)
    headers = {**response.headers, "content-encoding": "gzip", "vary": "Accept-Encoding"}
    return Response(packed, status_code=response.status_code, media_type=response.media_type, headers=headers)


def _problem(scope: Scope, error: Exception) -> Response[Any]:
    handler = next(HANDLERS[kind] for kind in type(error).__mro__ if kind in HANDLERS)
    return handler(Request(scope), error)
