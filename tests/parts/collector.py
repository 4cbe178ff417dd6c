"""An OpenTelemetry collector that keeps the spans that it is sent."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.parts.listening import Quiet, listening

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Seen:
    """A span."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    is_error: bool


@dataclass(slots=True)
class Collector:
    """What has arrived.

    Attributes:
        url: where spans are taken.
        spans: in order of arrival.
    """

    url: str = ""
    spans: list[Seen] = field(default_factory=list)

    def named(self, name: str) -> list[Seen]:
        """Return the spans of a name."""
        return [one for one in self.spans if one.name == name]


@contextmanager
def run_collector() -> Iterator[Collector]:
    """Listen on a free port for the length of a `with` block."""
    collector = Collector()

    class Handler(Quiet, BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.spans += read_spans(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with listening(Handler) as base:
        collector.url = f"{base}v1/traces"
        yield collector


def read_spans(body: bytes) -> Iterator[Seen]:
    """Return the spans of an export request."""
    request = ExportTraceServiceRequest.FromString(body)
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Seen(
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    attributes={
                        one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in span.attributes
                    },
                    is_error=span.status.code == span.status.STATUS_CODE_ERROR,
                )
