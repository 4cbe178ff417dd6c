"""WebSocket frames and handshakes byte by byte, for what no client library would send."""

from __future__ import annotations

import os
import socket
import struct
from typing import Final

ENOUGH_S: Final = 20
LIVE: Final = "/api/v1/live"
UPGRADE: Final = (
    f"GET {LIVE} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
).encode()
TEXT, FIRST_OF_TEXT, MORE, BINARY, CLOSE, PING, PONG = 0x81, 0x01, 0x00, 0x82, 0x88, 0x89, 0x8A
CLOSING: Final = bytes([CLOSE])


def frame(first: int, payload: bytes = b"", *, masked: bool = True) -> bytes:
    """Return a frame that begins with a byte (end, reserved bits and kind)."""
    mask = os.urandom(4) if masked else b""
    body = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload)) if masked else payload
    kind = 0x80 if masked else 0
    short = len(payload) < 126
    length = struct.pack("!B", len(payload) | kind) if short else struct.pack("!BH", 126 | kind, len(payload))
    return bytes([first]) + length + mask + body


def connected(address: str) -> socket.socket:
    """Return a connection to `host:port`, which takes little that is not read."""
    host, _, port = address.rpartition(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(ENOUGH_S)
    connection.connect((host, int(port)))
    return connection


def upgraded(address: str) -> socket.socket:
    """Return a connection that is a WebSocket from here on."""
    connection = connected(address)
    connection.sendall(UPGRADE)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    assert b" 101 " in head.split(b"\r\n")[0]
    return connection


def heard(connection: socket.socket) -> bytes:
    """Return everything that comes until the other end closes."""
    received = b""
    try:
        while piece := connection.recv(65_536):
            received += piece
    except ConnectionError:
        pass
    return received


def said(connection: socket.socket, *pieces: bytes) -> bytes:
    """Send as much as the other end takes; return what it says until it closes."""
    try:
        for piece in pieces:
            connection.sendall(piece)
    except ConnectionError:
        pass
    return heard(connection)


def close_code(received: bytes) -> int:
    """Return the code of the close frame that an answer ends with; 0 if there is none."""
    begin = received.rfind(CLOSING)
    return int.from_bytes(received[begin + 2 : begin + 4], "big") if begin >= 0 else 0
