"""Request bodies within bounds: size as sent, time to arrive, encoding, size as decoded. Checked before they cost."""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from quantum.domain.errors import Overloaded, Rejected

if TYPE_CHECKING:
    from litestar import Request

TIMEOUT_S: Final = 10.0
GZIP: Final = 31
"""Window bits that make zlib read the gzip format."""
MAX_IN_FLIGHT: Final = 256 << 20


@dataclass(slots=True)
class Bounds:
    """Limits of bodies and the decoded bytes that are being worked on now."""

    max_body_bytes: int
    max_decoded_bytes: int
    in_flight: int = 0

    def enter(self, size: int) -> None:
        """Take bytes into account; raises Overloaded."""
        if self.in_flight + size > MAX_IN_FLIGHT:
            raise Overloaded(f"{self.in_flight} bytes of requests are being worked on, the limit is {MAX_IN_FLIGHT}")
        self.in_flight += size

    def leave(self, size: int) -> None:
        """They are done with."""
        self.in_flight -= size


def require_type(request: Request[Any, Any, Any], wanted: str) -> None:
    """Refuse a body of any other media type; a missing one too, since browsers send those across sites."""
    given = request.headers.getall("content-type", [])
    media, _, parameters = (given[0] if len(given) == 1 else "").partition(";")
    charset = parameters.strip().lower().replace(" ", "").replace('"', "")
    if media.strip().lower() != wanted or charset not in ("", "charset=utf-8"):
        raise Rejected("content_type", f"the Content-Type must be {wanted}, it is {', '.join(given) or 'missing'}")


async def read_body(request: Request[Any, Any, Any], bounds: Bounds) -> bytes:
    """Return the body as sent.

    Raises:
        Rejected: `body_too_large` or `request_timeout`.
    """
    declared = request.headers.get("content-length", "0")
    if not declared.isdigit() or int(declared) > bounds.max_body_bytes:
        raise Rejected("body_too_large", f"a body has at most {bounds.max_body_bytes} bytes")
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(TIMEOUT_S):
            async for piece in request.stream():
                size += len(piece)
                if size > bounds.max_body_bytes:
                    raise Rejected("body_too_large", f"a body has at most {bounds.max_body_bytes} bytes")
                pieces.append(piece)
    except TimeoutError:
        raise Rejected("request_timeout", f"the body did not arrive within {TIMEOUT_S:.0f} s") from None
    return b"".join(pieces)


def decoded(request: Request[Any, Any, Any], body: bytes, bounds: Bounds) -> bytes:
    """Return a body without its Content-Encoding (gzip or identity); never holds more than the limit.

    Raises:
        Rejected: `content_encoding`, `malformed_body` or `body_too_large`.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("identity", ""):
        return body
    if encoding != "gzip":
        raise Rejected("content_encoding", f"the Content-Encoding {encoding[:40]!r} is neither gzip nor identity")
    plain = bytearray()
    while body:
        member = zlib.decompressobj(GZIP)
        try:
            plain += member.decompress(body, bounds.max_decoded_bytes + 1 - len(plain))
        except zlib.error as error:
            raise Rejected("malformed_body", f"the body is not gzip: {error}") from None
        if len(plain) > bounds.max_decoded_bytes:
            raise Rejected("body_too_large", f"a body has at most {bounds.max_decoded_bytes} bytes decoded")
        if not member.eof:
            raise Rejected("malformed_body", "the gzip body is cut short")
        body = member.unused_data
    return bytes(plain)
