"""Bad input on the live socket: each message is answered or the socket is closed with a reason, and others go on.

The ids (W) are those of the project's list of bad input.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.watching import Watching, served_aside
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from quantum.adapters.http.live import MAX_MISTAKES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.sync.connection import Connection

ENOUGH_S: Final = 20
SUBSCRIBE: Final = {"op": "subscribe", "topic": "overview"}


async def nothing(_: Watching) -> None:
    """There is nothing to prepare."""


@pytest.fixture(name="address", scope="module")
def served_address() -> Iterator[str]:
    with served_aside(nothing) as base:
        yield base.removeprefix("http://")


def opened(address: str, **arguments: Any) -> Connection:
    return connect(f"ws://{address}/api/v1/live", open_timeout=ENOUGH_S, proxy=None, **arguments)


def said(live: Connection) -> Any:
    """Return the next message that is no event."""
    while True:
        found = json.loads(live.recv(ENOUGH_S))
        if found["type"] not in ("event", "gap"):
            return found


def asked(live: Connection, text: str) -> Any:
    live.send(text)
    return said(live)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="W29 empty"),
        pytest.param("{", id="W29 cut"),
        pytest.param("[" * 20_000, id="W30"),
        pytest.param('{"op":"subscribe","topic":"overview","x":' + '{"a":' * 5000 + "1" + "}" * 5001, id="W30 inside"),
        pytest.param('{"op":"dance"}', id="W31"),
        pytest.param("{}", id="W32"),
        pytest.param('{"op":"subscribe"}', id="W32 no topic"),
        pytest.param('{"op":"subscribe","topic":"*"}', id="W35"),
        pytest.param('{"op":"subscribe","topic":"tenant:other"}', id="W36"),
        pytest.param('{"op":"subscribe","topic":"series:(a+)+$"}', id="W37"),
        pytest.param('{"op":"subscribe","topic":"series:0123456789ABCDEF"}', id="W37 upper case"),
        pytest.param('{"op":"subscribe","topic":"series:0123456789abcdef"}', id="Q24"),
        pytest.param('{"op":"subscribe","topic":null}', id="W29 null"),
        pytest.param('{"op":"subscribe","topic":"\\ud800"}', id="D29"),
        pytest.param("null", id="J17"),
    ],
)
def test_what_makes_no_sense_is_answered_by_an_error_and_the_socket_goes_on(address: str, text: str) -> None:
    with opened(address) as live:
        answer = asked(live, text)
        assert answer["type"] == "error"
        assert answer["reason"]
        assert len(answer["message"]) < 600
        assert asked(live, json.dumps({"op": "ping"}))["type"] == "pong"


def test_w33_w38_twice_the_same_and_never_heard_of_are_no_harm(address: str) -> None:
    with opened(address) as live:
        assert [asked(live, json.dumps(SUBSCRIBE))["type"] for _ in range(2)] == ["subscribed"] * 2
        assert asked(live, '{"op":"unsubscribe","topic":"alerts"}')["type"] == "unsubscribed"


def closed_with(live: Connection) -> int | None:
    """Return the code with which the other end closes."""
    with suppress(ConnectionClosed):
        while True:
            live.recv(ENOUGH_S)
    return live.close_code


def test_w62_more_mistakes_than_anybody_makes_close_the_socket(address: str) -> None:
    with opened(address) as live:
        # each is answered before the next is sent: nobody writes to a socket that is closed meanwhile
        assert [asked(live, "{")["type"] for _ in range(MAX_MISTAKES)] == ["error"] * MAX_MISTAKES
        live.send("{")
        assert closed_with(live) == 1008


def test_w18_a_message_that_is_too_long_closes_the_socket(address: str) -> None:
    with opened(address) as live:
        live.send(json.dumps({"op": "ping", "topic": "x" * 70_000}))
        assert closed_with(live) == 1009


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
    ids=["W2", "W3"],
)
def test_pages_of_other_sites_do_not_even_get_a_socket(address: str, headers: dict[str, str], status: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        opened(address, additional_headers=headers)
    assert refused.value.response.status_code == status


def raw(address: str, request: bytes) -> bytes:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=ENOUGH_S) as connection:
        connection.sendall(request)
        return connection.recv(65_536)


UPGRADE: Final = (
    b"GET /api/v1/live HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.mark.parametrize(
    ("wrong", "statuses"),
    [
        (UPGRADE.replace(b"Version: 13", b"Version: 12"), {400}),
        (UPGRADE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short"), {400}),
        (b"POST /api/v1/live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", {405}),
        (b"GET /api/v1/live HTTP/1.1\r\nHost: localhost\r\n\r\n", {405}),
        (UPGRADE.replace(b"Host: localhost", b"Host: evil.example"), {400, 403}),
    ],
    ids=["W7", "W8", "W52", "W51", "T14"],
)
def test_a_bad_handshake_is_refused(address: str, wrong: bytes, statuses: set[int]) -> None:
    answer = raw(address, wrong)
    assert int(answer.split(b" ", 2)[1]) in statuses


def frame(first: int, payload: bytes, *, masked: bool = True) -> bytes:
    mask = os.urandom(4) if masked else b""
    body = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload)) if masked else payload
    length = struct.pack("!B", len(payload) | (0x80 if masked else 0))
    return bytes([first]) + length + mask + body


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(frame(0x81, b"{}", masked=False), id="W11"),
        pytest.param(frame(0xF1, b"{}"), id="W12 reserved bits"),
        pytest.param(frame(0x83, b"{}"), id="W12 opcode"),
        pytest.param(frame(0x09, b""), id="W13"),
        pytest.param(b"\x81\xff" + struct.pack("!Q", 2**63) + bytes(8), id="W19"),
        pytest.param(frame(0x81, b"\xff\xfe"), id="W20"),
        pytest.param(frame(0x88, struct.pack("!H", 999)), id="W22"),
        pytest.param(frame(0x88, b"x"), id="W22 one byte"),
    ],
)
def test_frames_against_the_protocol_end_the_connection_and_no_other(address: str, frames: bytes) -> None:
    host, _, port = address.rpartition(":")
    with opened(address) as other, socket.create_connection((host, int(port)), timeout=ENOUGH_S) as connection:
        connection.sendall(UPGRADE)
        assert b" 101 " in connection.recv(65_536).split(b"\r\n")[0]
        connection.sendall(frames)
        received = b""
        try:
            while piece := connection.recv(65_536):
                received += piece
        except ConnectionResetError:
            pass
        assert not received or received[0] == 0x88  # a close frame, or none
        assert asked(other, '{"op":"ping"}')["type"] == "pong"


def test_w27_a_socket_that_is_reset_in_the_middle_of_a_frame_leaves_the_others_alone(address: str) -> None:
    host, _, port = address.rpartition(":")
    with opened(address) as other:
        for _ in range(20):
            connection = socket.create_connection((host, int(port)), timeout=ENOUGH_S)
            connection.sendall(UPGRADE)
            connection.recv(65_536)
            connection.sendall(b"\x81\xfe\x10\x00" + bytes(10))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        assert asked(other, '{"op":"ping"}')["type"] == "pong"


def test_any_text_is_answered_or_closes_the_socket_for_a_reason(address: str) -> None:
    texts = st.text(max_size=60) | st.builds(
        json.dumps,
        st.dictionaries(st.sampled_from(["op", "topic", "token", "x"]), st.text(max_size=20) | st.none(), max_size=4),
    )

    @settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.lists(texts, min_size=1, max_size=10))
    def check(messages: list[str]) -> None:
        with opened(address) as live:
            for text in messages:
                assert asked(live, text)["type"] in {"error", "pong", "subscribed", "unsubscribed"}

    check()
