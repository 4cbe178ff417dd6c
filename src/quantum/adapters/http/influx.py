"""Influx line protocol over HTTP, as the clients of InfluxDB 1 and 2 expect it: a way in, and two signs of life.

The database, bucket and organization that a client names are taken and mean nothing: an installation has one store.
InfluxDB looks at no Content-Type, and its clients send four kinds, none and an empty one among them: those are taken.
Pages of other sites, which can send some of these unasked, are kept out by the edge.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec
from litestar import Request, Response, get, post

from quantum.adapters.http.bodies import Bounds, encoding_of, require_type
from quantum.adapters.http.ingest import take_in
from quantum.adapters.http.problems import MEDIA_TYPE, TYPE_PREFIX, request_id_of
from quantum.adapters.influx_line import check_precision, decode_lines
from quantum.adapters.line_forms import Forms
from quantum.domain.errors import Rejected

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from quantum.application.ingest import Incoming, Ingest, Limits, Receipt
    from quantum.application.ports import Clock

REASON: Final = "partial_write"
TYPES: Final = ("text/plain", "application/octet-stream", "application/x-www-form-urlencoded")
"""What is sent by Telegraf and the libraries of version 2; those of version 1; curl."""
IGNORED: Final = "X-Quantum-Ignored"
"""Header of an answer: what was left out by design."""


def influx_routes(ingest: Ingest, bounds: Bounds, clock: Clock, release: str) -> list[HTTPRouteHandler]:
    """Return the handlers.

    Args:
        ingest: where the samples go.
        bounds: of bodies.
        clock: gives the time of lines that have none.
        release: version of this program.
    """
    forms = Forms()

    @post(["/write", "/influx/write", "/api/v2/write", "/influx/api/v2/write"], include_in_schema=False)
    async def write_lines(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Store lines; good ones are stored even where others are refused."""
        _require_lines(request)
        per_ms = check_precision(request.query_params.get("precision", ""))
        ignored: dict[str, int] = {}

        def decode(body: bytes, limits: Limits) -> Incoming:
            incoming = decode_lines(body, limits, per_ms, clock.now_ms(), forms)
            ignored.update(incoming.ignored)
            return incoming

        receipt = await take_in(request, ingest, bounds, encoding_of(request), decode)
        said = ", ".join(f"{kind}={count}" for kind, count in ignored.items() if count)
        headers = {IGNORED: said} if said else None
        if receipt.rejected:
            return _partial(receipt, request_id_of(request), headers)
        return Response(b"", status_code=HTTPStatus.NO_CONTENT, headers=headers)

    @get(["/ping", "/influx/ping"], include_in_schema=False, status_code=HTTPStatus.NO_CONTENT)
    async def ping() -> Response[None]:
        return Response(None, status_code=HTTPStatus.NO_CONTENT, headers={"X-Influxdb-Version": f"quantum-{release}"})

    @get(["/health", "/influx/health"], include_in_schema=False)
    async def health() -> dict[str, str]:
        return {"name": "quantum", "message": "ready for writes", "status": "pass", "version": release}

    return [write_lines, ping, health]


def _require_lines(request: Request[Any, Any, Any]) -> None:
    """Refuse a body that says it is something else than lines."""
    given = request.headers.getall("content-type", [])
    media = given[0].partition(";")[0].strip().lower() if given else ""
    if not media and len(given) <= 1:
        return
    if media not in TYPES:
        known = ", ".join(TYPES)
        raise Rejected("content_type", f"line protocol has no Content-Type or one of {known}; it is {media[:80]!r}")
    require_type(request, media, charset="utf-8")


def _partial(receipt: Receipt, request_id: str, headers: dict[str, str] | None) -> Response[bytes]:
    """Answer what was refused: a problem that also has the members by which clients of InfluxDB show an error."""
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(receipt.rejected.items()))
    examples = [f"{one.message}{f' ({one.labels})' if one.labels else ''}" for one in receipt.examples]
    sentence = f"partial write: {receipt.accepted} stored, refused: {counts}; {'; '.join(examples)}"
    body = {
        "type": TYPE_PREFIX + REASON,
        "title": HTTPStatus.BAD_REQUEST.phrase,
        "status": HTTPStatus.BAD_REQUEST,
        "detail": sentence,
        "reason": REASON,
        "request_id": request_id,
        "accepted": receipt.accepted,
        "duplicates": receipt.duplicates,
        "rejected": receipt.rejected,
        "code": "invalid",
        "message": sentence,
        "error": sentence,
    }
    return Response(
        msgspec.json.encode(body), status_code=HTTPStatus.BAD_REQUEST, media_type=MEDIA_TYPE, headers=headers
    )
