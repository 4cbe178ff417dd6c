"""Frames of live events, put together from finished parts, are what the libraries would have made of them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.frames import TEXT, frame, upgraded
from tests.watching import Watching
from websockets.frames import Frame, Opcode

from quantum.adapters.http import messages as m
from quantum.adapters.http import protocol
from quantum.adapters.http.live import encoded, event_frame, event_text
from quantum.adapters.http.protocol import text_frame

if TYPE_CHECKING:
    from collections.abc import Callable

values = st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5)


@given(st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536, 70_000]) | st.integers(0, 2000))
def test_a_finished_frame_is_the_one_that_the_library_sends(size: int) -> None:
    text = b"x" * size
    assert text_frame(text) == Frame(Opcode.TEXT, text).serialize(mask=False)


@given(st.text(), st.integers(0, 2**53), values)
def test_an_event_around_its_data_is_the_message_of_the_protocol(topic: str, seq: int, value: Any) -> None:
    data = msgspec.json.encode(value)
    assert event_text(topic, seq, data) == msgspec.json.encode(
        m.LiveEvent(type="event", topic=topic, seq=seq, data=msgspec.Raw(data))
    )


def test_a_series_is_known_inside_by_its_slot_and_outside_by_its_fingerprint() -> None:
    expected = text_frame(event_text("series:00000000000000ab", 7, b"1"))
    assert event_frame("series:12:00000000000000ab", 7, b"1") == expected
    assert event_frame("alerts", 1, b"2") == text_frame(event_text("alerts", 1, b"2"))


def test_what_nobody_publishes_is_not_encoded() -> None:
    with pytest.raises(TypeError, match="nobody publishes str"):
        encoded("x")


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - it is the server's own state that is waited for
            await asyncio.sleep(0.01)


async def test_who_keeps_up_hears_in_order_whatever_way_the_frames_go() -> None:
    """Small ones are written at once, a huge one fills the buffers and those after it are queued."""
    async with Watching() as system, system.served() as address:
        feed = system.container.feed()
        connection = await asyncio.to_thread(upgraded, address)
        connection.sendall(frame(TEXT, b'{"op":"subscribe","topic":"alerts"}'))
        await until(lambda: feed.watched("alerts"))
        sizes = [10, 20, 1_000_000, 30, 40, 1_000_000, 50]
        for size in sizes:
            feed.hand_out("alerts", json.dumps("x" * size).encode())
        received = await asyncio.to_thread(heard_until, connection, b'"seq":7')
        connection.close()
    places = [received.index(b'"seq":%d,' % seq) for seq in range(1, len(sizes) + 1)]
    assert places == sorted(places)
    assert b'"type":"gap"' not in received


def heard_until(connection: Any, end: bytes) -> bytes:
    received = bytearray()
    while received.find(end, max(0, len(received) - 200_000)) < 0:
        received += connection.recv(65_536)
    return bytes(received)


async def test_who_was_let_go_and_never_reads_what_is_left_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "LINGER_S", 0.1)
    open_now: set[object] = set()
    begin, end = protocol.BoundedSocket.connection_made, protocol.BoundedSocket.connection_lost

    def note_begin(self: protocol.BoundedSocket, transport: Any) -> None:
        open_now.add(self)
        begin(self, transport)

    def note_end(self: protocol.BoundedSocket, error: Exception | None) -> None:
        open_now.discard(self)
        end(self, error)

    monkeypatch.setattr(protocol.BoundedSocket, "connection_made", note_begin)
    monkeypatch.setattr(protocol.BoundedSocket, "connection_lost", note_end)
    async with Watching() as system, system.served() as address:
        feed, sockets = system.container.feed(), system.container.sockets()
        connection = await asyncio.to_thread(upgraded, address)
        connection.sendall(frame(TEXT, b'{"op":"subscribe","topic":"alerts"}'))
        await until(lambda: feed.watched("alerts"))
        feed.hand_out("alerts", json.dumps("x" * 30_000_000).encode())
        assert open_now
        monkeypatch.setattr("quantum.adapters.http.live.SEND_TIMEOUT_S", 0.1)
        feed.hand_out("alerts", b"1")
        await until(lambda: not sockets.sockets and not open_now)
        connection.close()
