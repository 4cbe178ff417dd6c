"""A webhook receiver that remembers what it was told, in order, and now and then says that it is busy."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

from tests.parts.listening import Quiet, listening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(slots=True)
class Sink:
    """What has arrived, in order of arrival.

    Attributes:
        url: where it listens.
        status: what it answers.
        received: idempotency keys and notifications.
        authorizations: the Authorization header of each, or None.
        traceparents: the same for traceparent.
    """

    url: str = ""
    status: int = 204
    received: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    traceparents: list[str | None] = field(default_factory=list)

    def keys(self) -> list[str]:
        """Return the idempotency keys in order of arrival, repeated ones included."""
        return [key for key, _ in self.received]

    def states(self, alert_id: str) -> list[str]:
        """Return the states of an alert in the order in which they were first told."""
        told = [body["alert"]["state"] for _, body in self.received if body["alert"]["id"] == alert_id]
        return list(dict.fromkeys(told))


@contextmanager
def run_sink(busy: Callable[[], bool] = lambda: False, answered: Callable[[], None] = lambda: None) -> Iterator[Sink]:
    """Listen on a free port for the length of a `with` block.

    Args:
        busy: asked once per request; true refuses it with 503, unread.
        answered: called as soon as a good answer is on its way.
    """
    sink, lock = Sink(), threading.Lock()

    class Handler(Quiet, BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                refused = busy()
                if not refused:
                    sink.received.append((self.headers["Idempotency-Key"], body))
                    sink.authorizations.append(self.headers["Authorization"])
                    sink.traceparents.append(self.headers["traceparent"])
            self.send_response(503 if refused else sink.status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
            self.wfile.flush()
            if not refused:
                answered()

    with listening(Handler) as base:
        sink.url = base
        yield sink
