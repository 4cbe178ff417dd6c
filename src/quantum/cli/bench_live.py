"""`quantum bench live`: what a delivery to an open dashboard costs, and what readers that do not read cost the others.

Many watchers have one series open; samples of it are posted, and each post is one message to every watcher, of about
2 kB. The cost of a delivery is the processor time of the server for some posts that are watched, without that of as
many posts that nobody watches, over the number of deliveries. Beside it, in turns, a bare sender on uvloop writes as
many bytes to as many sockets: that is what the machine takes for it. Then the times from post to arrival are compared,
with and without watchers that never read.
"""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import httpx
import numpy as np
import uvloop
from cyclopts import Parameter

from quantum.cli import CommandFailed
from quantum.cli.measuring import cpu_s, machine, rounded, say
from quantum.cli.raw_sender import SIZE
from quantum.cli.servers import AsJson, Scale, run_quantum, running, store_of_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

Watchers = Annotated[int, Parameter(help="How many sockets are open, at most 1000")]

STALLED_SHARE: Final = 0.2
ROWS: Final = 16
"""So many samples of a series make a message of about 2 kB."""
POSTS: Final = 40
TURNS: Final = 5
STALL_POSTS: Final = 150
PACE_S: Final = 0.05
ENOUGH_S: Final = 30.0
LITTLE_BYTES: Final = 4096
"""What the kernel holds for a watcher that does not read, so that it is the server who is stopped."""
UPGRADE: Final = (
    "GET /api/v1/live HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
PING: Final = b"\x89\x04"
PONG: Final = b"\x8a\x84" + bytes(4)
LABELS: Final = {"__name__": "bench_live", "host": "a"}


def bench_live(*, watchers: Watchers = 1000, scale: Scale = 1.0, as_json: AsJson = False) -> None:
    """Measure deliveries to open dashboards: processor time beside a bare sender, and the harm of stalled readers.

    Args:
        watchers: how many sockets are open.
        scale: multiplies the number of posts.
        as_json: print JSON.
    """
    found = uvloop.run(measure_live(watchers, scale))
    if as_json:
        print(json.dumps({"bench": "live", **machine(), **found}, indent=1))
        return
    for name, figure in found.items():
        print(f"{name}: {figure}")


async def measure_live(watchers: int, scale: float = 1.0) -> dict[str, Any]:
    """Return the figures.

    Raises:
        CommandFailed: a server does not start, or a message does not come.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        quantum = stack.enter_context(run_quantum(store_of_settings(), folder))
        sender = stack.enter_context(running([sys.executable, "-m", "quantum.cli.raw_sender"], subprocess.PIPE))
        raw_port = int(sender.stdout.readline() if sender.stdout else 0)
        async with httpx.AsyncClient(base_url=quantum.base, timeout=ENOUGH_S) as http:
            scene = Scene(http, urllib.parse.urlsplit(quantum.base).port or 0, raw_port, quantum.pids, (sender.pid,))
            await scene.post()
            costs = await measure_costs(scene, watchers, max(1, round(POSTS * scale)))
            await scene.empty()
            harm = await measure_harm(scene, watchers, max(1, round(STALL_POSTS * scale)))
    return {"watchers": watchers, **costs, **harm}


@dataclass
class Scene:
    """Both servers, and the posts to Quantum."""

    http: httpx.AsyncClient
    port: int
    raw_port: int
    pids: Sequence[int]
    raw_pids: Sequence[int]
    fingerprint: str = ""
    at_ms: int = 0

    async def post(self) -> None:
        """Store the next samples of the series."""
        first_ms = max(self.at_ms + 1, round(time.time() * 1000))  # noqa: TID251 - samples are of now
        times = list(range(first_ms, first_ms + ROWS))
        values = [50 + 10 * np.sin(at_ms / 7).item() for at_ms in times]
        self.at_ms = times[-1]
        table = {"labels": LABELS, "timestamps_ms": times, "values": values}
        (await self.http.post("/api/v1/samples", json={"series": [table]})).raise_for_status()
        while not self.fingerprint:
            found = (await self.http.get("/api/v1/series")).json()["items"]
            self.fingerprint = next((one["fingerprint"] for one in found), "")

    async def empty(self) -> None:
        """Wait until the server has noticed that all watchers are gone: it takes no more than a thousand."""
        while b"quantum_live_sockets 0.0\n" not in (await self.http.get("/metrics")).content:  # noqa: ASYNC110
            await asyncio.sleep(PACE_S)

    def subscription(self, op: str) -> bytes:
        """Return what a watcher says."""
        text = json.dumps({"op": op, "topic": f"series:{self.fingerprint}"}).encode()
        # masked with zeros, as the protocol allows
        return bytes([0x81, 0x80 | len(text)]) + bytes(4) + text


@dataclass
class Watcher(asyncio.Protocol):
    """A watcher that counts what comes.

    Attributes:
        received: bytes since the last round began.
        last: when the newest of them came.
    """

    arrived: Callable[[], None]
    received: int = 0
    last: float = 0.0
    transport: Any = None
    head: asyncio.Event = field(default_factory=asyncio.Event)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        del exc

    def data_received(self, data: bytes) -> None:
        """Count, and answer a question for a sign of life; no other frame has its first bytes in it."""
        place = data.find(PING)
        if place >= 0:
            self.transport.write(PONG + data[place + 2 : place + 6])
            data = data[:place] + data[place + 6 :]
        if not data:
            return
        is_first, self.received = not self.received, self.received + len(data)
        self.last = time.perf_counter()
        self.head.set()
        if is_first:
            self.arrived()


class Crowd:
    """Watchers of one server, and the round in which every one of them is to get one message."""

    def __init__(self) -> None:
        self.all: list[Watcher] = []
        self._silent = 0
        self._done = asyncio.Event()

    def _arrived(self) -> None:
        self._silent -= 1
        if self._silent <= 0:
            self._done.set()

    async def join(self, port: int, count: int, say_first: bytes = b"", kernel_bytes: int = 0) -> None:
        """Connect watchers, for which the kernel holds so much; each waits for an answer to what it says first."""
        loop = asyncio.get_running_loop()
        for _ in range(count):
            connection = socket.socket()
            connection.setblocking(False)
            if kernel_bytes:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, kernel_bytes)
            await loop.sock_connect(connection, ("127.0.0.1", port))
            _, watcher = await loop.create_connection(lambda: Watcher(self._arrived), sock=connection)
            self.all.append(watcher)
            if say_first:
                watcher.transport.write(say_first)
                await asyncio.wait_for(watcher.head.wait(), ENOUGH_S)

    async def tell(self, message: bytes) -> None:
        """Let every watcher say something that is answered."""
        await self.round(lambda: self._say(message))

    async def _say(self, message: bytes) -> None:
        for watcher in self.all:
            watcher.transport.write(message)

    async def round(self, begin: Callable[[], Awaitable[None]]) -> list[float]:
        """Begin something of which every watcher is told once; return after how many seconds each was.

        Raises:
            CommandFailed: one was not told in time.
        """
        for watcher in self.all:
            watcher.received = 0
        self._silent = len(self.all)
        self._done.clear()
        began = time.perf_counter()
        await begin()
        try:
            await asyncio.wait_for(self._done.wait(), ENOUGH_S)
        except TimeoutError:
            raise CommandFailed(f"{self._silent} of {len(self.all)} watchers were not told anything") from None
        return [watcher.last - began for watcher in self.all]

    def leave(self) -> None:
        """Close all."""
        for watcher in self.all:
            watcher.transport.abort()


async def measure_costs(scene: Scene, watchers: int, posts: int) -> dict[str, Any]:
    """Return the processor time of a delivery, by Quantum and by the bare sender, medians of turns."""
    ours, raw = Crowd(), Crowd()
    await ours.join(scene.port, watchers, UPGRADE.encode())
    await raw.join(scene.raw_port, watchers)
    size, turns, per = 0, [], 1e6 / (posts * watchers)
    for turn in range(TURNS):
        unwatched = await _cpu(scene.pids, posts, scene.post)
        await ours.tell(scene.subscription("subscribe"))
        await ours.round(scene.post)
        size = ours.all[0].received
        watched = await _cpu(scene.pids, posts, partial(ours.round, scene.post))
        await ours.tell(scene.subscription("unsubscribe"))
        bare = await _cpu(scene.raw_pids, posts, partial(raw.round, partial(_send, raw, size)))
        turns.append(((watched - unwatched) * per, watched * per, bare * per))
        say(f"turn {turn + 1} of {TURNS}: {turns[-1][0]:.1f} us a delivery, the bare sender {turns[-1][2]:.1f} us")
    ours.leave()
    raw.leave()
    net, gross, bare_us = (statistics.median(column) for column in zip(*turns, strict=True))
    return {
        "message_bytes": size,
        "us_per_delivery": rounded(net),
        "us_per_delivery_with_ingest": rounded(gross),
        "us_per_delivery_bare": rounded(bare_us),
        "ratio": rounded(statistics.median(turn[0] / turn[2] for turn in turns)),
    }


async def _send(raw: Crowd, size: int) -> None:
    raw.all[0].transport.write(SIZE.pack(size))


async def _cpu(pids: Sequence[int], posts: int, step: Callable[[], Awaitable[object]]) -> float:
    """Return the processor time of a server for some steps at an even pace, in seconds."""
    await asyncio.sleep(4 * PACE_S)
    before = cpu_s(pids)
    for _ in range(posts):
        await step()
        await asyncio.sleep(PACE_S)
    return cpu_s(pids) - before


async def measure_harm(scene: Scene, watchers: int, posts: int) -> dict[str, Any]:
    """Return the 99th percentiles of arrivals at watchers that read, with and without some beside them that do not."""
    stalled = round(watchers * STALLED_SHARE)
    crowd = Crowd()
    await crowd.join(scene.port, watchers - stalled, UPGRADE.encode())
    await crowd.tell(scene.subscription("subscribe"))
    alone = await _arrivals(crowd, scene, posts)
    lazy = Crowd()
    await lazy.join(scene.port, stalled, UPGRADE.encode(), LITTLE_BYTES)
    await lazy.tell(scene.subscription("subscribe"))
    for watcher in lazy.all:
        watcher.transport.pause_reading()
    together = await _arrivals(crowd, scene, posts)
    crowd.leave()
    lazy.leave()
    return {
        "stalled": stalled,
        "p99_ms": rounded(1000 * float(np.percentile(alone, 99))),
        "p99_ms_beside_stalled": rounded(1000 * float(np.percentile(together, 99))),
        "p50_ms": rounded(1000 * float(np.percentile(alone, 50))),
        "p50_ms_beside_stalled": rounded(1000 * float(np.percentile(together, 50))),
    }


async def _arrivals(crowd: Crowd, scene: Scene, posts: int) -> list[float]:
    found: list[float] = []
    for _ in range(posts):
        found += await crowd.round(scene.post)
        await asyncio.sleep(PACE_S)
    return found
