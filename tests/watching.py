"""The whole embedded profile in one event loop, on virtual time: store, pipeline, control and the real HTTP app."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from concurrent.futures import Future
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

import httpx
import uvicorn
from dependency_injector import providers

from quantum.adapters.memory import ManualClock
from quantum.composition import build
from quantum.domain.facts import Heartbeat
from quantum.roles import PING_S, server_config
from quantum.settings import Settings, Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence

    from litestar import Litestar

    from quantum.application.monitoring import Monitor
    from quantum.application.ports import Identity
    from quantum.domain.facts import Command

START_MS: Final = 1_800_000_000_000
"""When virtual time begins."""
HOT: Final[dict[str, Any]] = {
    "name": "too hot",
    "matchers": [{"label": "__name__", "op": "=", "value": "heat"}],
    "condition": {"kind": "threshold", "op": "above", "raise_at": 90.0, "clear_at": 80.0},
    "by": ["room"],
}


@dataclass
class Watching:
    """A running system.

    Attributes:
        settings: of it; in memory unless they say otherwise.
        clock: its time, which passes only when told to.
        identity: who finds out who is asking, instead of what the settings say.
        others: members of the process by name, instead of what the settings say.
        process: what the process has once.
        container: the workspace of `store.tenant`.
    """

    settings: Settings = field(default_factory=lambda: Settings(store=Store(kind="memory")))
    clock: ManualClock = field(default_factory=lambda: ManualClock(START_MS))
    identity: Identity | None = None
    others: Mapping[str, object] = field(default_factory=dict)
    process: Any = None
    container: Any = None
    http: httpx.AsyncClient = field(init=False)

    async def __aenter__(self) -> Self:
        """Open everything and begin to take facts in."""
        self.process = build(self.settings)
        self.process.clock.override(providers.Object(self.clock))
        if self.identity is not None:
            self.process.identity.override(providers.Object(self.identity))
        for name, other in self.others.items():
            getattr(self.process, name).override(providers.Object(other))
        self._stack = await AsyncExitStack().__aenter__()
        await self._stack.enter_async_context(self.process.counters())
        await self._stack.enter_async_context(self.process.transients())
        for workspace in self.workspaces.values():
            await self._open(workspace)
        self.container = self.workspaces[self.settings.store.tenant]
        self.process.vitals().started = True
        app: Any = self.app
        transport = httpx.ASGITransport(app)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=20)
        await self._stack.enter_async_context(self.http)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self._stack.aclose()

    async def _open(self, workspace: Any) -> None:
        await self._stack.enter_async_context(workspace.store())
        await workspace.ingest().open(workspace.store())
        await workspace.monitor().open()
        workspace.keys().open()
        pump = asyncio.create_task(_pump(workspace.monitor()))
        self._stack.push_async_callback(_end, pump)

    @property
    def workspaces(self) -> dict[str, Any]:
        """What each tenant has for itself."""
        found: dict[str, Any] = self.process.workspaces()
        return found

    @property
    def app(self) -> Litestar:
        """The HTTP application."""
        app: Litestar = self.process.app()
        return app

    @property
    def monitor(self) -> Monitor:
        """The pump between log and pipeline."""
        monitor: Monitor = self.container.monitor()
        return monitor

    async def caught_up(self) -> None:
        """Return once the pipeline has taken in every fact."""
        position, _ = await self.container.store().last()
        await self.monitor.expect(position)

    async def push(self, name: str, values: Sequence[float], *, step_ms: int = 1000, **labels: str) -> None:
        """Store samples of one series, the last of them now; time has passed meanwhile."""
        first_ms = self.clock.now_ms() + step_ms
        times = [first_ms + step_ms * number for number in range(len(values))]
        self.clock.advance(step_ms * len(values))
        tables = [{"labels": {"__name__": name, **labels}, "timestamps_ms": times, "values": list(values)}]
        answer = await self.http.post("/api/v1/samples", json={"series": tables})
        assert answer.status_code == 200, answer.text
        await self.caught_up()

    async def submit(self, command: Command) -> None:
        """Carry out a command."""
        await self.container.control().submit(command)

    async def pass_time(self, duration_ms: int, step_ms: int = 1000) -> None:
        """Let time pass with a heartbeat each step."""
        for _ in range(0, duration_ms, step_ms):
            self.clock.advance(step_ms)
            await self.monitor.append(Heartbeat())
        await self.caught_up()

    async def json(self, method: str, path: str, status: int = 200, **arguments: Any) -> Any:
        """Return the JSON of a request that is answered with a status."""
        answer = await self.http.request(method, path, **arguments)
        assert answer.status_code == status, (answer.status_code, answer.text)
        return answer.json()

    async def get(self, path: str, status: int = 200, **parameters: Any) -> Any:
        """Return the JSON of a GET."""
        return await self.json("GET", path, status, params=parameters)

    async def fire(self, room: str = "kitchen", **policy: Any) -> Mapping[str, Any]:
        """Return an alert that was made to fire."""
        answer = await self.http.post("/api/v1/policies", json=HOT | policy)
        assert answer.status_code in (201, 409), answer.text
        await self.push("heat", [95.0], room=room)
        await self.pass_time(1000)
        alerts = await self.get("/api/v1/alerts", state="firing")
        found: Mapping[str, Any] = next(one for one in alerts["items"] if one["group"] == {"room": room})
        return found

    @contextlib.asynccontextmanager
    async def served(self, ping_s: float = PING_S) -> AsyncIterator[str]:
        """Serve on a free port as `quantum run` does; yields host and port."""
        server = uvicorn.Server(server_config(self.app, loop="none", drain_s=2, ping_s=ping_s))
        # asyncio turns Nagle's algorithm off only where the protocol is said: without it, each answer is 40 ms late
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            serving = asyncio.create_task(server._serve([listening]))
            try:
                yield f"127.0.0.1:{listening.getsockname()[1]}"
            finally:
                for workspace in self.workspaces.values():
                    await workspace.sockets().close_all()
                server.should_exit = True
                await serving


async def _pump(monitor: Monitor) -> None:
    while True:
        await monitor.run_once()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@contextlib.contextmanager
def served_aside(prepare: Callable[[Watching], Awaitable[Any]], identity: Identity | None = None) -> Iterator[str]:
    """Run and serve a system in a thread of its own, after preparing it; yields its address."""
    ready: Future[str] = Future()
    stop = threading.Event()

    async def run() -> None:
        async with Watching(identity=identity) as system, system.served() as address:
            await prepare(system)
            ready.set_result(f"http://{address}")
            await asyncio.to_thread(stop.wait)

    def work() -> None:
        try:
            asyncio.run(run())
        except Exception as error:  # noqa: BLE001 - told to the thread that waits
            ready.set_exception(error)

    thread = threading.Thread(target=work, name="served aside")
    thread.start()
    try:
        yield ready.result(60)
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()
