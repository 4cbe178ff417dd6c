"""Sockets that are made to cost more than they may, or never to end: closed with a code, and nobody else is harmed.

The ids (W) are those of the project's list of bad input, `tests/hostile.py`.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import psutil
import pytest
from tests.frames import (
    BINARY,
    CLOSE,
    FIRST_OF_TEXT,
    LIVE,
    MORE,
    PING,
    PONG,
    TEXT,
    UPGRADE,
    close_code,
    connected,
    frame,
    heard,
    said,
    upgraded,
)
from tests.watching import Watching, served_aside
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from quantum.adapters.http import live
from quantum.adapters.http.live import MAX_MESSAGES_PER_S, MAX_TOPICS, POLICY_VIOLATION, TRY_LATER
from quantum.adapters.http.protocol import MAX_FRAGMENTS, MAX_SIGNS_PER_S
from quantum.application.monitoring import Points
from quantum.application.ports import Principal
from quantum.domain.errors import Rejected
from quantum.roles import WEBSOCKET_BYTES
from quantum.settings import RequestRates, Settings, Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.asyncio.client import ClientConnection

ENOUGH_S: Final = 20
MEGA: Final = 1 << 20
PINGED: Final = '{"op":"ping"}'


class Two:
    """Identity for these tests: `ada` and `bob` are themselves."""

    banner = ""

    async def identify(self, credential: str) -> Principal:
        if credential not in ("ada", "bob"):
            raise Rejected("unauthenticated", "this needs a name")
        return Principal(credential, frozenset({"viewer"}), "default", means="token")


class Strict:
    """Identity for these tests: the word `reader` is a credential, and nothing else is."""

    banner = ""

    async def identify(self, credential: str) -> Principal:
        if credential != "reader":
            raise Rejected("unauthenticated" if not credential else "invalid_credential", "this needs the word")
        return Principal("a reader", frozenset({"viewer"}), "default", means="token")


async def nothing(_: Watching) -> None:
    """There is nothing to prepare."""


@pytest.fixture(name="address", scope="module")
def served_address() -> Iterator[str]:
    with served_aside(nothing) as base:
        yield base.removeprefix("http://")


@pytest.fixture(name="strict", scope="module")
def served_strictly() -> Iterator[str]:
    with served_aside(nothing, Strict()) as base:
        yield base.removeprefix("http://")


def opened(address: str, **arguments: Any) -> connect:
    return connect(f"ws://{address}{LIVE}", open_timeout=ENOUGH_S, proxy=None, **arguments)


async def asked(watcher: ClientConnection, **message: Any) -> Any:
    await watcher.send(json.dumps(message))
    async with asyncio.timeout(ENOUGH_S):
        return json.loads(await watcher.recv())


async def stays(watcher: ClientConnection) -> bool:
    return bool((await asked(watcher, op="ping"))["type"] == "pong")


async def until(true: Any) -> None:
    async with asyncio.timeout(ENOUGH_S):
        while not true():  # noqa: ASYNC110 - it is the server's own state that is waited for
            await asyncio.sleep(0.01)


# ---- what a client may wish for -------------------------------------------------------------------------------------


async def test_w9_a_protocol_that_nobody_speaks_is_not_agreed_to(address: str) -> None:
    async with opened(address, subprotocols=["graphql-ws", "x" * 1000]) as watcher:
        assert watcher.subprotocol is None
        assert await stays(watcher)


async def test_w10_compression_is_not_agreed_to_so_that_nothing_can_be_unpacked(address: str) -> None:
    async with opened(address, compression="deflate") as watcher:
        assert watcher.response is not None
        assert "sec-websocket-extensions" not in watcher.response.headers
        assert await stays(watcher)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param({"op": "resume", "cursor": "forged"}, id="W39"),
        pytest.param({"op": "resume", "seq": 10**9}, id="W40"),
        pytest.param({"op": "history", "topic": "overview", "start_ms": 0}, id="W41"),
        pytest.param({"op": "subscribe", "topic": "overview", "seq": -1}, id="W40 as a subscription"),
        pytest.param({"op": "subscribe", "topic": "overview", "start_ms": 0}, id="W41 as a subscription"),
    ],
)
async def test_the_past_is_no_matter_of_the_socket(address: str, message: dict[str, Any]) -> None:
    async with opened(address) as watcher:
        assert (await asked(watcher, **message))["reason"] == "malformed_message"
        assert await stays(watcher)


# ---- frames ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pieces", "codes"),
    [
        pytest.param([frame(PING, b"x" * 126)], {1002}, id="W14"),
        pytest.param([frame(PING)] * (20 * MAX_SIGNS_PER_S), {POLICY_VIOLATION}, id="W15"),
        pytest.param([frame(PONG)] * (20 * MAX_SIGNS_PER_S), {POLICY_VIOLATION}, id="W15 pongs"),
        pytest.param([frame(FIRST_OF_TEXT), *[frame(MORE)] * (5 * MAX_FRAGMENTS)], {POLICY_VIOLATION}, id="W17"),
        pytest.param([frame(FIRST_OF_TEXT), *[frame(MORE, b"x" * 60_000)] * 40], {1009}, id="W16 W18"),
        pytest.param([frame(BINARY, b'{"op":"ping"}')], {1003}, id="W21"),
        pytest.param([frame(CLOSE, struct.pack("!H", 1000) + b"x" * 124)], {1002}, id="W23"),
    ],
)
async def test_frames_that_cost_too_much_close_their_own_socket(
    address: str, pieces: list[bytes], codes: set[int]
) -> None:
    async with opened(address) as other:
        with upgraded(address) as connection:
            received = await asyncio.to_thread(said, connection, b"".join(pieces))
        assert close_code(received) in codes
        assert await stays(other)


async def test_w16_fragments_that_never_end_hold_no_more_than_a_message_may_have(address: str) -> None:
    async with opened(address) as other:
        before = psutil.Process().memory_info().rss
        held = [upgraded(address) for _ in range(20)]
        for connection in held:
            connection.sendall(frame(FIRST_OF_TEXT, b"x" * 60_000))
        assert await stays(other)
        assert psutil.Process().memory_info().rss - before < 20 * WEBSOCKET_BYTES + 20 * MEGA
        for connection in held:
            connection.close()


async def test_w62_more_messages_a_second_than_anybody_sends_close_the_socket(address: str) -> None:
    async with opened(address, max_queue=None) as watcher:
        async with asyncio.timeout(ENOUGH_S):
            while watcher.close_code is None:
                with suppress(ConnectionClosed):
                    await watcher.send(PINGED)
                await asyncio.sleep(0)
        assert watcher.close_code == POLICY_VIOLATION
        assert str(MAX_MESSAGES_PER_S) in (watcher.close_reason or "")


# ---- handshakes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_bytes", "statuses"),
    [
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), {400, 505}, id="W50 T29"),
        pytest.param(UPGRADE.replace(b"websocket", b"h2c"), {405}, id="W50 upgrade"),
        pytest.param(UPGRADE.replace(LIVE.encode(), b"/api/v1/live?access_token=qk_secret"), {400}, id="W53"),
        pytest.param(UPGRADE.replace(b"\r\n\r\n", b"\r\nCookie: session=qk_secret\r\n\r\n"), {401}, id="W54"),
        pytest.param(UPGRADE, {401}, id="W1"),
        pytest.param(UPGRADE + frame(TEXT, b'{"op":"subscribe","topic":"overview"}'), {401}, id="W28"),
        pytest.param(UPGRADE.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nhello"), {400}, id="W55"),
        pytest.param(UPGRADE + b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", {401}, id="W56"),
        pytest.param(
            UPGRADE.replace(b"Version: 13", b"Version: 12") + b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
            {400},
            id="W56 bad handshake",
        ),
    ],
)
async def test_who_may_not_watch_is_refused_once_and_nothing_else_is_read(
    strict: str, request_bytes: bytes, statuses: set[int]
) -> None:
    with connected(strict) as connection:
        connection.sendall(request_bytes)
        received = await asyncio.to_thread(connection.recv, 65_536)
        connection.shutdown(socket.SHUT_WR)
        received += await asyncio.to_thread(heard, connection)
    assert int(received.split(b" ", 2)[1]) in statuses
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"qk_secret" not in received


# ---- many, and for long ---------------------------------------------------------------------------------------------


async def test_w24_who_gives_no_sign_of_life_is_let_go_and_who_does_stays() -> None:
    async with Watching() as system, system.served(ping_s=0.2) as address, opened(address) as lively:
        with await asyncio.to_thread(upgraded, address) as silent:
            # it reads, and never answers
            assert await asyncio.to_thread(heard, silent) is not None
        await until(lambda: len(system.container.sockets().sockets) == 1)
        assert await stays(lively)


def much() -> Points:
    column = np.arange(60_000, dtype=np.float64)
    return Points(column.astype(np.int64), column, column, column, column, column)


@pytest.mark.parametrize("vanishes", [False, True], ids=["W25", "W26"])
async def test_who_does_not_read_is_let_go_and_leaves_nothing(vanishes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SEND_TIMEOUT_S", 60.0 if vanishes else 0.5)
    async with Watching() as system, system.served() as address:
        await system.push("cpu", [1.0])
        (item,) = (await system.get("/api/v1/series"))["items"]
        sockets, feed = system.container.sockets().sockets, system.container.feed()
        connection = await asyncio.to_thread(upgraded, address)
        topic = f"series:{item['fingerprint']}".encode()
        connection.sendall(frame(TEXT, b'{"op":"subscribe","topic":"' + topic + b'"}'))
        await until(lambda: feed.watched("series:"))
        (inner,) = feed.watched("series:")
        for _ in range(3):
            feed.publish(inner, much())
        await asyncio.sleep(0)
        if vanishes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        await until(lambda: not sockets)
        assert not feed.watched("series:")
        connection.close()


async def test_w34_a_socket_watches_no_more_topics_than_it_may() -> None:
    async with Watching() as system, system.served() as address:
        system.clock.advance(1000)
        tables = [
            {"labels": {"__name__": "many", "n": str(n)}, "timestamps_ms": [system.clock.now_ms()], "values": [1.0]}
            for n in range(MAX_TOPICS + 1)
        ]
        await system.json("POST", "/api/v1/samples", json={"series": tables})
        await system.caught_up()
        items = (await system.get("/api/v1/series", limit=1000))["items"]
        async with opened(address) as watcher:
            for item in items[:MAX_TOPICS]:
                answer = await asked(watcher, op="subscribe", topic=f"series:{item['fingerprint']}")
                assert answer["type"] == "subscribed"
            one_more = await asked(watcher, op="subscribe", topic=f"series:{items[MAX_TOPICS]['fingerprint']}")
            assert one_more["reason"] == "topic_limit"
            assert str(MAX_TOPICS) in one_more["message"]


async def test_w47_upgrades_of_one_user_count_as_requests_do() -> None:
    rates = RequestRates(key_per_s=1, user_per_s=1, tenant_per_s=0)
    settings = Settings(store=Store(kind="memory"), rates=rates)
    async with Watching(settings, identity=Strict()) as system, system.served() as address:
        statuses = set()
        for _ in range(40):
            try:
                async with opened(address, additional_headers={"authorization": "Bearer reader"}):
                    statuses.add(101)
            except InvalidStatus as refused:
                statuses.add(refused.response.status_code)
        assert statuses == {101, 429}


async def test_w48_more_sockets_than_there_may_be_are_told_to_come_later_and_a_place_is_free_again() -> None:
    async with Watching() as system, system.served() as address:
        sockets = system.container.sockets()
        sockets._max_sockets = 2
        async with opened(address) as first:
            async with opened(address), opened(address) as third:
                with pytest.raises(ConnectionClosed):
                    await third.recv()
                assert third.close_code == TRY_LATER
            await until(lambda: len(sockets.sockets) == 1)
            async with opened(address) as again:
                assert await stays(again)
            assert await stays(first)


async def test_w48_one_who_takes_all_their_places_leaves_those_of_others_and_gets_theirs_back() -> None:
    async with Watching(identity=Two()) as system, system.served() as address:
        system.container.sockets()._max_sockets = 8
        as_ada, as_bob = ({"authorization": f"Bearer {name}"} for name in ("ada", "bob"))
        async with opened(address, additional_headers=as_ada) as first:
            async with opened(address, additional_headers=as_ada) as second:
                async with opened(address, additional_headers=as_ada) as third:
                    with pytest.raises(ConnectionClosed):
                        await third.recv()
                    assert (third.close_code, third.close_reason) == (TRY_LATER, "2 sockets of yours are open already")
                async with opened(address, additional_headers=as_bob) as other:
                    assert await stays(other)
                assert await stays(second)
            await until(lambda: len(system.container.sockets().sockets) == 1)
            async with opened(address, additional_headers=as_ada) as again:
                assert await stays(again)
            assert await stays(first)


async def test_w60_a_server_that_restarts_says_so() -> None:
    """W49: it says that it is worth coming back; when to is the dashboard's, which spreads it."""
    async with Watching() as system, system.served() as address, opened(address) as watcher:
        assert await stays(watcher)
        await system.container.sockets().close_all()
        with pytest.raises(ConnectionClosed):
            await watcher.recv()
        assert (watcher.close_code, watcher.close_reason) == (1001, "restarting; reconnect")
