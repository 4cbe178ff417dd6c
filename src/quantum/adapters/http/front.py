"""The short way of samples: requests that do nothing but hand samples in are answered without the framework's layers.

Who may, how much, and what is answered is decided by the very same parts as for every other route: the gate, the toll,
the route's own handler, and the table of problems. What is left out is what these routes have no use for: the search
for a route, arguments by name, and compressed answers. Whatever is not for one of these paths to the letter, another
method among it, goes the long way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from litestar import Request
from litestar.enums import ScopeType
from litestar.handlers import HTTPRouteHandler
from litestar.middleware import ASGIMiddleware

from quantum.adapters.http.problems import HANDLERS
from quantum.domain.errors import QuantumError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from litestar import Response
    from litestar.types import ASGIApp, ControllerRouterHandler, Receive, Scope, Send

METHOD: Final = "POST"


class Front(ASGIMiddleware):
    """Answers requests to hand samples in; passes on all others."""

    def __init__(self, routes: Iterable[ControllerRouterHandler], layers: Iterable[ASGIMiddleware]) -> None:
        """Take handlers over.

        Args:
            routes: those with the method POST get a request as their only argument, and return a response.
            layers: what a request passes before the handler, outermost first.
        """
        self._handlers: dict[str, Callable[[Any], Awaitable[Response[Any]]]] = {
            path: route.fn
            for route in routes
            if isinstance(route, HTTPRouteHandler) and METHOD in route.http_methods
            for path in route.paths
        }
        self._guarded: ASGIApp = self._answer
        for layer in reversed(tuple(layers)):
            self._guarded = layer(self._guarded)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """See ASGIMiddleware."""
        is_ours = scope["type"] == ScopeType.HTTP and scope["method"] == METHOD and scope["path"] in self._handlers
        if not is_ours:
            await next_app(scope, receive, send)
            return
        scope["path_template"], scope["path_params"] = scope["path"], {}
        try:
            await self._guarded(scope, receive, send)
        except QuantumError as error:  # of a layer, before there is an answer
            await _send(scope, receive, send, _problem(scope, error))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._handlers[scope["path"]](Request(scope, receive, send))
        except Exception as error:  # noqa: BLE001 - the table has an answer for every error, a bug of ours among them
            response = _problem(scope, error)
        await _send(scope, receive, send, response)


def _problem(scope: Scope, error: Exception) -> Response[Any]:
    handler = next(HANDLERS[kind] for kind in type(error).__mro__ if kind in HANDLERS)
    return handler(Request(scope), error)


async def _send(scope: Scope, receive: Receive, send: Send, response: Response[Any]) -> None:
    await response.to_asgi_response(None, Request(scope))(scope, receive, send)
