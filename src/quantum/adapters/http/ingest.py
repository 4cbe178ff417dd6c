"""Ways in for samples over HTTP: columnar JSON and Prometheus remote-write. Bodies are read raw, once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
from litestar import Request, Response, post
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType

from quantum.adapters.columnar_json import decode_columnar_json
from quantum.adapters.http import messages, views
from quantum.adapters.http.bodies import Bounds, Hold, decode_body, encoding_of, read_body, require_type
from quantum.adapters.http.problems import on_domain_error
from quantum.adapters.remote_write import decode_remote_write, decode_remote_write_2
from quantum.domain.errors import QuantumError, Rejected

if TYPE_CHECKING:
    from collections.abc import Callable

    from litestar.handlers import HTTPRouteHandler

    from quantum.application.ingest import Incoming, Ingest, Limits, Receipt

REMOTE_WRITE_1: Final = "prometheus.writerequest"
REMOTE_WRITE_2: Final = "io.prometheus.write.v2.request"
WRITTEN: Final = "X-Prometheus-Remote-Write-{}-Written"
"""Headers of every answer of 2.0."""
INLINE_BYTES: Final = 1 << 20
"""Bodies up to this size are decoded on the event loop (about 2 ms); larger ones in a thread."""

_LIST: Final = OpenAPIType.ARRAY
_SERIES: Final = Schema(
    type=OpenAPIType.OBJECT,
    required=["labels", "timestamps_ms", "values"],
    properties={
        "labels": Schema(type=OpenAPIType.OBJECT, additional_properties=Schema(type=OpenAPIType.STRING)),
        "timestamps_ms": Schema(type=_LIST, items=Schema(type=OpenAPIType.INTEGER, minimum=0)),
        "values": Schema(type=_LIST, items=Schema(type=OpenAPIType.NUMBER)),
    },
    additional_properties=False,
)
_SAMPLES: Final = Schema(
    type=OpenAPIType.OBJECT,
    required=["series"],
    properties={"series": Schema(type=_LIST, items=_SERIES)},
    additional_properties=False,
    examples=[{"series": [{"labels": {"__name__": "cpu", "host": "a"}, "timestamps_ms": [], "values": []}]}],
)


@dataclass
class SamplesOperation(Operation):
    """Documents the body of columnar JSON, which the handler reads by itself."""

    def __post_init__(self) -> None:
        """Add the body."""
        self.request_body = RequestBody(content={"application/json": OpenAPIMediaType(schema=_SAMPLES)}, required=True)


@dataclass
class RemoteWriteOperation(Operation):
    """Documents the body of remote-write, which the handler reads by itself."""

    def __post_init__(self) -> None:
        """Add the body."""
        block = Schema(
            type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY, description="snappy block of a WriteRequest"
        )
        content = {"application/x-protobuf": OpenAPIMediaType(schema=block)}
        self.request_body = RequestBody(content=content, required=True)


def ingest_routes(ingest: Ingest, bounds: Bounds) -> list[HTTPRouteHandler]:
    """Return the handlers."""

    @post(
        "/api/v1/samples",
        operation_id="pushSamples",
        operation_class=SamplesOperation,
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
        require_type(request, "application/json", charset="utf-8")
        receipt = await take_in(request, ingest, bounds, encoding_of(request), decode_columnar_json)
        body = msgspec.json.encode(views.receipt(receipt))
        return Response(body, status_code=400 if receipt.rejected else 200, media_type="application/json")

    @post(
        "/prometheus/api/v1/write",
        operation_id="remoteWrite",
        operation_class=RemoteWriteOperation,
        tags=["ingest"],
        summary="Prometheus remote-write 1.0 and 2.0",
        status_code=204,
    )
    async def write(request: Request[Any, Any, Any]) -> Response[None]:
        """Store a snappy-compressed protobuf WriteRequest, or Request of version 2."""
        if REMOTE_WRITE_2 in request.headers.get("content-type", "").lower():
            return await _write_2(request, ingest, bounds)
        _require_remote_write(request, REMOTE_WRITE_1)
        _explain(await take_in(request, ingest, bounds, "snappy", decode_remote_write))
        return Response(None, status_code=204)

    return [push_samples, write]


async def _write_2(request: Request[Any, Any, Any], ingest: Ingest, bounds: Bounds) -> Response[Any]:
    """Take remote-write 2.0 in; every answer, of an error as well, says how much was written."""
    written = 0
    try:
        _require_remote_write(request, REMOTE_WRITE_2)
        receipt = await take_in(request, ingest, bounds, "snappy", decode_remote_write_2)
        written = receipt.accepted + receipt.duplicates
        _explain(receipt)
    except QuantumError as error:
        answer = on_domain_error(request, error)
    else:
        answer = Response(None, status_code=204)
    for kind, count in (("Samples", written), ("Histograms", 0), ("Exemplars", 0)):
        answer.headers[WRITTEN.format(kind)] = str(count)
    return answer


async def take_in(
    request: Request[Any, Any, Any],
    ingest: Ingest,
    bounds: Bounds,
    encoding: str,
    decode: Callable[[bytes, Limits], Incoming],
    inline_bytes: int = INLINE_BYTES,
) -> Receipt:
    """Read, decode and store a body; what it costs in memory is accounted for until it is stored.

    Bodies up to `inline_bytes` are decoded on the event loop, larger ones in a thread.
    """
    ingest.check_rate()
    with bounds.hold() as hold:
        content = await _content(request, bounds, hold, encoding)
        if len(content) <= inline_bytes:
            incoming = decode(content, ingest.limits)
        else:
            incoming = await asyncio.to_thread(decode, content, ingest.limits)
        return await ingest.accept(incoming)


async def _content(request: Request[Any, Any, Any], bounds: Bounds, hold: Hold, encoding: str) -> bytes:
    body = await read_body(request, bounds, hold)
    if not body:
        raise Rejected("malformed_body", "the body is empty")
    return await decode_body(encoding, body, bounds, hold)


def _require_remote_write(request: Request[Any, Any, Any], proto: str) -> None:
    """Refuse what is no remote-write of one version."""
    try:
        require_type(request, "application/x-protobuf", proto=proto)
    except Rejected as error:
        spoken = "prometheus.WriteRequest (1.0) and io.prometheus.write.v2.Request (2.0)"
        raise Rejected(error.reason, f"{error}; of remote-write, {spoken} are spoken here") from None
    encoding = encoding_of(request)
    if encoding != "snappy" and "content-encoding" in request.headers:
        raise Rejected("content_encoding", f"remote-write bodies are snappy blocks, not {encoding[:40]!r}")


def _explain(receipt: Receipt) -> None:
    """Raise Rejected if samples were refused: a sender logs the sentence, and does not send the same again."""
    if receipt.rejected:
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(receipt.rejected.items()))
        shown = receipt.examples[:1]
        words = "".join(f"; for example: {one.message} ({one.labels or 'labels that cannot be'})" for one in shown)
        sentence = f"{receipt.accepted} stored, refused: {counts}{words}"
        raise Rejected("samples_rejected", sentence)
