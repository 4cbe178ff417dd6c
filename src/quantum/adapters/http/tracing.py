"""The layer that makes a request a span, within the edge and around everything that may answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Message, Receive, Scope, Send

    from quantum.adapters.traces import Traces

HEADERS: Final = frozenset({b"traceparent", b"tracestate"})


class Tracing(ASGIMiddleware):
    """Follows HTTP requests; their log lines carry the trace's id."""

    def __init__(self, traces: Traces) -> None:
        self._traces = traces

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """See ASGIMiddleware."""
        if scope["type"] != ScopeType.HTTP:
            await next_app(scope, receive, send)
            return
        status = 0

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        method = str(scope["method"])
        sent = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in HEADERS}
        with self._traces.request(method, sent) as span:
            trace_id = format(span.get_span_context().trace_id, "032x")
            try:
                with structlog.contextvars.bound_contextvars(trace_id=trace_id):
                    await next_app(scope, receive, seen)
            finally:
                route = str(scope.get("path_template") or "none")
                self._traces.answered(span, method, route, status, str(scope["state"].get("request_id", "")))
