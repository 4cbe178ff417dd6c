"""Ways in for samples over HTTP: columnar JSON and Prometheus remote-write. Bodies are read raw, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Request, Response, post
from litestar.openapi import ResponseSpec

from quantum.adapters import columnar_json, remote_write
from quantum.adapters.http import messages, views
from quantum.adapters.http.bodies import Bounds, decoded, read_body, require_type
from quantum.domain.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable

    from litestar.handlers import HTTPRouteHandler

    from quantum.application.ingest import Incoming, Ingest

RW_1 = "application/x-protobuf"


def ingest_routes(ingest: Ingest, bounds: Bounds) -> list[HTTPRouteHandler]:
    """Return the handlers."""

    async def accept(body: bytes, decode: Callable[[bytes], Incoming]) -> messages.Receipt:
        bounds.enter(len(body))
        try:
            return views.receipt(await ingest.accept(decode(body)))
        finally:
            bounds.leave(len(body))

    @post(
        "/api/v1/samples",
        operation_id="pushSamples",
        tags=["ingest"],
        summary="Store samples (columnar JSON)",
        status_code=200,
        responses={
            200: ResponseSpec(messages.Receipt, description="Everything was stored, or was there already"),
            400: ResponseSpec(messages.Receipt, description="Something was refused; the rest is stored"),
        },
    )
    async def push_samples(request: Request[Any, Any, Any]) -> Response[Any]:
        """Store columns of samples; good ones are stored even where others are refused."""
        require_type(request, "application/json")
        receipt = await accept(decoded(request, await read_body(request, bounds), bounds), columnar_json.decode)
        body = msgspec.json.encode(receipt)
        return Response(body, status_code=400 if receipt.rejected else 200, media_type="application/json")

    @post(
        "/prometheus/api/v1/write",
        operation_id="remoteWrite",
        tags=["ingest"],
        summary="Prometheus remote-write 1.0",
        status_code=204,
    )
    async def write(request: Request[Any, Any, Any]) -> Response[None]:
        """Store a snappy-compressed protobuf WriteRequest."""
        require_type(request, RW_1) if "proto=" not in request.headers.get("content-type", "") else _require_v1(request)
        if request.headers.get("content-encoding", "snappy").lower() != "snappy":
            raise Rejected("content_encoding", "remote-write bodies are snappy blocks: Content-Encoding must be snappy")
        body = await read_body(request, bounds)
        receipt = await accept(remote_write.decompress(body, bounds.max_decoded_bytes), remote_write.decode)
        if receipt.rejected:
            counts = ", ".join(f"{count} {reason}" for reason, count in sorted(receipt.rejected.items()))
            example = receipt.examples[0].message if receipt.examples else ""
            raise Rejected("samples_rejected", f"{receipt.accepted} stored, refused: {counts}; for example: {example}")
        return Response(None, status_code=204)

    return [push_samples, write]


def _require_v1(request: Request[Any, Any, Any]) -> None:
    given = request.headers.get("content-type", "")
    if given.replace(" ", "") != f"{RW_1};proto=prometheus.WriteRequest":
        raise Rejected("content_type", f"remote-write 1.0 is spoken here ({RW_1}), not {given[:80]}")
