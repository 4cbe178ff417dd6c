"""Request bodies within bounds: size as sent, time to arrive, encoding, size as decoded. Checked before they cost.

All requests together hold at most `Bounds.max_in_flight_bytes`, counted as the bytes come and grow, so neither many
slow senders nor a few that compress zeros can fill the memory.
"""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import cramjam

from quantum.adapters import remote_write
from quantum.domain.errors import Overloaded, Rejected

if TYPE_CHECKING:
    from collections.abc import Callable

    from litestar import Request

GZIP: Final = 31
"""Window bits that make zlib read the gzip format."""
STEP_BYTES: Final = 1 << 20
"""How much is decompressed at a time."""
SLICE_BYTES: Final = 1 << 16
"""How much compressed is looked at a time."""
MAX_MEMBERS: Final = 10_000
"""Of a gzip body: enough for who compresses in blocks of 4 KiB, and no sea of empty ones."""
INLINE_BYTES: Final = 1 << 17
"""Compressed bodies up to this size are decompressed on the event loop; larger ones in a thread."""
ZSTD_FULL: Final = "failed to write whole buffer"


@dataclass(slots=True)
class Bounds:
    """Limits of bodies, and the bytes that are being worked on now."""

    max_body_bytes: int
    max_decoded_bytes: int
    max_in_flight_bytes: int = 256 << 20
    timeout_s: float = 10.0
    in_flight: int = 0

    def by_id(self) -> dict[str, float]:
        """Return the limits by the reasons of their refusals, and that of all requests together."""
        return {
            "body_too_large": self.max_body_bytes,
            "decoded_too_large": self.max_decoded_bytes,
            "overloaded": self.max_in_flight_bytes,
        }

    def hold(self) -> Hold:
        """Return a context in which a request takes bytes into account."""
        return Hold(self)


class Hold:
    """The bytes that one request holds; leaving the context gives them back."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._size = 0

    def take(self, size: int) -> None:
        """Take bytes into account.

        Raises:
            Overloaded: all requests together would hold too many.
        """
        bounds = self._bounds
        if bounds.in_flight + size > bounds.max_in_flight_bytes:
            limit = bounds.max_in_flight_bytes
            raise Overloaded(f"{bounds.in_flight} bytes of requests are being worked on, the limit is {limit}")
        bounds.in_flight += size
        self._size += size

    def __enter__(self) -> Self:
        """Begin with nothing."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give everything back."""
        self._bounds.in_flight -= self._size


def require_type(request: Request[Any, Any, Any], wanted: str, **parameters: str) -> None:
    """Refuse a body of any other media type; a missing one too, since browsers send those across sites.

    Args:
        request: being answered.
        wanted: for example `application/json`.
        parameters: values that a parameter may have; the others must be absent.

    Raises:
        Rejected: `content_type`.
    """
    given = request.headers.getall("content-type", [])
    media, *rest = (given[0] if len(given) == 1 else "").split(";")
    pairs = [part.strip().partition("=") for part in rest]
    allowed = all(parameters.get(name.lower()) == value.strip('"').lower() for name, _, value in pairs)
    if media.strip().lower() != wanted or not allowed:
        shown = ", ".join(given)[:100] or "missing"
        raise Rejected("content_type", f"the Content-Type must be {wanted}, it is {shown}")


def encoding_of(request: Request[Any, Any, Any]) -> str:
    """Return the Content-Encoding, `identity` if there is none; several come back joined and are nobody's."""
    return ",".join(request.headers.getall("content-encoding", [])).strip().lower() or "identity"


async def read_body(request: Request[Any, Any, Any], bounds: Bounds, hold: Hold) -> bytes:
    """Return the body as sent.

    Raises:
        Rejected: `body_too_large` (before anything is read, if the Content-Length says so), `request_timeout` or
            `body_incomplete`.
        Overloaded: too many bytes are in flight.
    """
    declared = request.headers.get("content-length", "0")
    if not (declared.isascii() and declared.isdigit()) or int(declared[:20]) > bounds.max_body_bytes:
        raise too_large(bounds.max_body_bytes)
    try:
        async with asyncio.timeout(bounds.timeout_s):
            return await _receive(request, bounds, hold)
    except TimeoutError:
        raise Rejected("request_timeout", f"the body did not arrive within {bounds.timeout_s:g} s") from None


async def _receive(request: Request[Any, Any, Any], bounds: Bounds, hold: Hold) -> bytes:
    pieces: list[bytes] = []
    size, more = 0, True
    while more:
        message = await request.receive()
        if message["type"] != "http.request":
            raise Rejected("body_incomplete", "the connection was closed in the middle of the body")
        piece, more = message["body"], message["more_body"]
        size += len(piece)
        if size > bounds.max_body_bytes:
            raise too_large(bounds.max_body_bytes)
        hold.take(len(piece))
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def decode_body(encoding: str, body: bytes, bounds: Bounds, hold: Hold) -> bytes:
    """Return a body without its Content-Encoding: identity, gzip, zstd, or snappy (a block, as remote-write has it).

    Raises:
        Rejected: `content_encoding`, `malformed_body` or `decoded_too_large`.
        Overloaded: too many bytes are in flight.
    """
    if encoding == "identity":
        return body
    decoder = DECODERS.get(encoding)
    if decoder is None:
        known = ", ".join(DECODERS)
        raise Rejected("content_encoding", f"the Content-Encoding {encoding[:40]!r} is none of identity, {known}")
    if len(body) <= INLINE_BYTES:
        return decoder(body, bounds, hold)
    return await asyncio.to_thread(decoder, body, bounds, hold)


def too_large(limit: int) -> Rejected:
    """Return the refusal of a body that is too large as sent."""
    return Rejected("body_too_large", f"a body has at most {limit} bytes")


def too_large_decoded(limit: int, words: str = "") -> Rejected:
    """Return the refusal of a body that is too large once decompressed."""
    return Rejected("decoded_too_large", f"a body has at most {limit} bytes decoded{words}")


def gunzip(body: bytes, bounds: Bounds, hold: Hold) -> bytes:
    """Return the content of all members of a gzip file, of which there are at most `MAX_MEMBERS`."""
    plain = bytearray()
    place = members = 0
    while place < len(body):
        members += 1
        if members > MAX_MEMBERS:
            raise Rejected("malformed_body", f"a gzip body has at most {MAX_MEMBERS} members")
        place = _unpack_member(body, place, plain, bounds, hold)
    return bytes(plain)


def _unpack_member(body: bytes, place: int, plain: bytearray, bounds: Bounds, hold: Hold) -> int:
    """Append the content of the member that begins at a place; return where it ends.

    It is given in slices: what follows a member is copied by zlib, which must not be all the rest for each.
    """
    member = zlib.decompressobj(GZIP)
    while not member.eof:
        given = body[place : place + SLICE_BYTES]
        piece = _inflate(member, given)
        if not piece and not given:
            raise Rejected("malformed_body", "the gzip body is cut short")
        if len(plain) + len(piece) > bounds.max_decoded_bytes:
            raise too_large_decoded(bounds.max_decoded_bytes)
        hold.take(len(piece))
        plain += piece
        place += len(given) - len(member.unconsumed_tail) - len(member.unused_data)
    return place


def _inflate(member: Any, given: bytes) -> bytes:
    try:
        return bytes(member.decompress(given, STEP_BYTES))
    except zlib.error as error:
        raise Rejected("malformed_body", f"the body is not gzip: {error}") from None


def unzstd(body: bytes, bounds: Bounds, hold: Hold) -> bytes:
    """Return the content of all frames of a zstd file; the room for it grows as needed, up to the limit."""
    room = min(max(STEP_BYTES, 8 * len(body)), bounds.max_decoded_bytes)
    while True:
        hold.take(room)
        plain = bytearray(room)
        try:
            return bytes(plain[: cramjam.zstd.decompress_into(body, plain)])
        except cramjam.DecompressionError as error:
            if ZSTD_FULL not in str(error):
                raise Rejected("malformed_body", f"the body is not zstd: {str(error)[:100]}") from None
        if room == bounds.max_decoded_bytes:
            raise too_large_decoded(bounds.max_decoded_bytes)
        room = min(4 * room, bounds.max_decoded_bytes)


def unsnappy(body: bytes, bounds: Bounds, hold: Hold) -> bytes:
    """Return the content of a snappy block; its declared length is checked before anything is allocated."""
    size = remote_write.decompressed_size(body)
    if size > bounds.max_decoded_bytes:
        raise too_large_decoded(bounds.max_decoded_bytes, f", this one claims {size}")
    hold.take(size)
    return remote_write.decompress(body)


DECODERS: Final[dict[str, Callable[[bytes, Bounds, Hold], bytes]]] = {
    "gzip": gunzip,
    "zstd": unzstd,
    "snappy": unsnappy,
}
