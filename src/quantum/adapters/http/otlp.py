"""OTLP metrics over HTTP: what was understood is stored, and the answer tells in `partial_success` what was not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from litestar import Request, Response, post

from quantum.adapters.http.bodies import Bounds, encoding_of, require_type
from quantum.adapters.http.ingest import take_in
from quantum.adapters.otlp import answer_json, answer_protobuf, decode_json, decode_protobuf

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from quantum.application.ingest import Ingest

JSON: Final = "application/json"
PROTOBUF: Final = "application/x-protobuf"
INLINE_BYTES: Final = 1 << 15
"""Bodies up to this size are decoded on the event loop (5 ms): Python reads them point by point."""


def otlp_routes(ingest: Ingest, bounds: Bounds) -> list[HTTPRouteHandler]:
    """Return the handlers."""

    @post(["/v1/metrics", "/otlp/v1/metrics"], include_in_schema=False, status_code=200)
    async def export_metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Store an ExportMetricsServiceRequest; good points are stored even where others are refused."""
        if request.headers.get("content-type", "").lower().startswith(JSON):
            require_type(request, JSON, charset="utf-8")
            receipt = await take_in(request, ingest, bounds, encoding_of(request), decode_json, INLINE_BYTES)
            return Response(answer_json(receipt), status_code=200, media_type=JSON)
        require_type(request, PROTOBUF)
        if request.headers.get("content-length") == "0":
            # no bytes at all are a request without metrics
            return Response(answer_protobuf(None), status_code=200, media_type=PROTOBUF)
        receipt = await take_in(request, ingest, bounds, encoding_of(request), decode_protobuf, INLINE_BYTES)
        return Response(answer_protobuf(receipt), status_code=200, media_type=PROTOBUF)

    return [export_metrics]
