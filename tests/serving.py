"""The real ways in for samples on the real server, in a thread of its own, on a free port; clients for raw bytes."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import httpx
import uvicorn
import uvloop
from litestar import Litestar

from quantum.adapters.http.bodies import Bounds
from quantum.adapters.http.edge import Edge
from quantum.adapters.http.influx import influx_routes
from quantum.adapters.http.ingest import ingest_routes
from quantum.adapters.http.otlp import otlp_routes
from quantum.adapters.http.problems import HANDLERS
from quantum.adapters.http.protocol import BoundedHttp
from quantum.adapters.memory import MemoryStream, SystemClock
from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.application.ingest import Ingest, Limits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from concurrent.futures import Future

MEGA = 1 << 20
ENOUGH_S = 20.0


@dataclass
class Served:
    """A running server.

    Attributes:
        bounds: of its bodies; small ones, so that tests reach them.
        limits: of its ingest.
        path: of its store.
    """

    bounds: Bounds = field(
        default_factory=lambda: Bounds(2 * MEGA, 4 * MEGA, max_in_flight_bytes=16 * MEGA, timeout_s=0.5)
    )
    limits: Limits = field(default_factory=Limits)
    path: str = MEMORY
    port: int = 0
    ingest: Ingest = field(init=False)
    store: SqliteStore = field(init=False)
    loop: asyncio.AbstractEventLoop = field(init=False)

    def __enter__(self) -> Self:
        """Start; return when it answers."""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._serve()), name="server")
        self._thread.start()
        assert self._ready.wait(ENOUGH_S)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; return when nothing is left."""
        self._server.should_exit = True
        self._thread.join(ENOUGH_S)
        assert not self._thread.is_alive()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        async with SqliteStore(self.path) as self.store:
            self.ingest = Ingest(self.store, MemoryStream(), SystemClock(), self.limits)
            await self.ingest.open(self.store)
            app = Litestar(
                [
                    *ingest_routes(self.ingest, self.bounds),
                    *influx_routes(self.ingest, self.bounds, SystemClock(), "0"),
                    *otlp_routes(self.ingest, self.bounds),
                ],
                middleware=[Edge(frozenset())],
                exception_handlers=HANDLERS,
                request_max_body_size=None,
                logging_config=None,
            )
            config = uvicorn.Config(
                app, loop="none", http=BoundedHttp, lifespan="off", log_config=None, access_log=False
            )
            self._server = uvicorn.Server(config)
            with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
                self.port = listening.getsockname()[1]
                serving = asyncio.ensure_future(self._server.serve([listening]))
                self._ready.set()
                await serving

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def inside(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Return what a coroutine gives that runs on the server's loop."""

        async def run() -> Any:
            return await work()

        done: Future[Any] = asyncio.run_coroutine_threadsafe(run(), self.loop)
        return done.result(ENOUGH_S)

    def tasks(self) -> int:
        """How many tasks the server's loop has, without the one that counts."""

        async def count() -> int:
            return len(asyncio.all_tasks()) - 1

        return int(self.inside(count))

    def stored(self) -> dict[tuple[str, int], float]:
        """Every stored sample, by (series in Prometheus notation, time)."""

        async def read() -> dict[tuple[str, int], float]:
            names = {slot: str(labels) for slot, labels in await self.store.series()}
            batch = await self.store.samples(list(names), 0, 2**62)
            rows = zip(batch.slots.tolist(), batch.at_ms.tolist(), batch.values.tolist(), strict=True)
            return {(names[slot], at_ms): value for slot, at_ms, value in rows}

        found: dict[tuple[str, int], float] = self.inside(read)
        return found

    @contextmanager
    def client(self) -> Iterator[httpx.Client]:
        """An ordinary HTTP client."""
        with httpx.Client(base_url=self.url, timeout=ENOUGH_S) as client:
            yield client

    def raw(self, *pieces: bytes, close_early: bool = False) -> bytes:
        """Send bytes as they are; return what comes back until the server closes or answers in full."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=ENOUGH_S) as connection:
            try:
                for piece in pieces:
                    connection.sendall(piece)
                if close_early:
                    return b""
                return _answer(connection)
            except (BrokenPipeError, ConnectionResetError):
                return b""


def _answer(connection: socket.socket) -> bytes:
    received = b""
    while (piece := connection.recv(65536)) != b"":
        received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        length = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        if b"\r\n\r\n" in received and (not length or len(body) >= int(length[0])):
            break
    return received


def status_of(answer: bytes) -> int:
    """The status code of a raw answer; 0 if the connection was closed without one."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0
