"""Roles: what a process opens, in which order, which pumps it runs, and how it stops.

Opening order: store, receivers, pipeline (which catches up with the log), pumps, server. Stopping is the reverse:
readiness goes first, then sockets are told, requests finish, pumps stop, what is left is taken in and saved.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import structlog
import uvicorn

from quantum.adapters import influx_line, remote_write
from quantum.adapters.host_metrics import HostMetrics
from quantum.adapters.http import prometheus_points
from quantum.adapters.http.health import health_app
from quantum.adapters.http.protocol import BoundedHttp
from quantum.adapters.http.tables import read_policies, read_receivers
from quantum.adapters.statsd import FLUSH_MS, listen
from quantum.application import keys
from quantum.application.ingest import incoming_readings
from quantum.application.pump import Pump
from quantum.composition import build
from quantum.domain.default_policies import DEFAULT_POLICIES
from quantum.domain.errors import QuantumError, Unavailable
from quantum.domain.facts import PutCoverage, PutPolicy, PutReceiver

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from litestar import Litestar

    from quantum.adapters.http.health import Vitals
    from quantum.application.ingest import Incoming
    from quantum.settings import Settings

BACKLOG: Final = 1024
"""So many connections may wait to be looked at."""
DRAIN_S: Final = 5
COLD_S: Final = 4.0
"""Kernels that take longer than this were not loaded but compiled."""
WEBSOCKET_BYTES: Final = 1 << 20
MONITORING: Final = "monitoring"
ROLES: Final = ("all", MONITORING, "ml")
PIPELINE: Final = "pipeline"
"""Name of the pump that waits for scores."""

log = structlog.get_logger("quantum")


async def run(role: str, settings: Settings, announce: Callable[[str], None]) -> None:
    """Run a role until the process is told to stop.

    Args:
        role: one of `ROLES`.
        settings: of the process.
        announce: is called once with the address when the process is ready.

    Raises:
        Unavailable: something that is needed cannot be opened.
    """
    await (run_ml(settings, announce) if role == "ml" else run_all(settings, announce, role))


async def run_ml(settings: Settings, announce: Callable[[str], None]) -> None:
    """Run the role `ml`: score what others take in."""
    listening = _listen(settings)
    container = build(settings, "ml")
    vitals = container.worker_vitals()
    async with AsyncExitStack() as stack:
        stack.callback(listening.close)
        await stack.enter_async_context(container.reader())
        worker = await stack.enter_async_context(container.worker())
        await asyncio.to_thread(_compile_detector, container)
        pump = Pump("lanes", worker.run_once, _complain)
        vitals.checks = {pump.name: _health_of(pump)}
        async with _running([pump]):
            vitals.started = True
            listening.listen(BACKLOG)
            announce(_address_of(listening))
            await _serve(health_app(vitals), vitals, listening)


async def run_all(settings: Settings, announce: Callable[[str], None], role: str = "all") -> None:
    """Run the role `all`, or `monitoring`, which is the same without scoring, until the process is told to stop.

    Args:
        settings: of the process.
        announce: is called once with the address when the process is ready.
        role: `all` or `monitoring`.

    Raises:
        Unavailable: something that is needed cannot be opened.
    """
    listening = _listen(settings)
    container = build(settings, role)
    app = container.app()
    async with AsyncExitStack() as stack:
        stack.callback(listening.close)
        await stack.enter_async_context(container.store())
        await stack.enter_async_context(container.webhooks())
        await stack.enter_async_context(container.counters())
        if role == MONITORING:
            await stack.enter_async_context(container.lanes())
        await container.ingest().open(container.store())
        await container.monitor().open()
        stack.push_async_callback(container.monitor().close)
        # first: compiling keeps a core busy, which this machine's own series would learn as usual
        await asyncio.to_thread(_compile_kernels, container)
        if settings.scrape:
            await stack.enter_async_context(container.scraper())
        pumps = _pumps(settings, container)
        container.vitals().checks = {pump.name: _health_of(pump) for pump in pumps}
        if role == MONITORING:
            # without workers samples are taken in all the same, so this is no reason to send senders away
            container.vitals().degrading = {PIPELINE: container.vitals().checks.pop(PIPELINE)}
        async with _running(pumps):
            if role == MONITORING:
                configuring = asyncio.create_task(_configure_later(settings, container))
                stack.callback(configuring.cancel)
            else:
                await _configure(settings, container)
            if settings.ingest.statsd:
                stack.callback((await listen(settings.ingest.statsd, container.gathered())).close)
            container.vitals().started = True
            # whoever reads the address may use it at once: what comes before the server looks waits for it
            listening.listen(BACKLOG)
            announce(_address_of(listening))
            await _serve(app, container.vitals(), listening, container.sockets().close_all)


def _address_of(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _compile_detector(container: Any) -> None:
    container.detector().score_and_learn(np.zeros(1, np.int64), np.ones(1, np.int64), np.ones(1))


def _compile_kernels(container: Any) -> None:
    begin_s = time.monotonic()
    remote_write.warm_up()
    keys.warm_up()
    _compile_detector(container)
    if time.monotonic() - begin_s > COLD_S:
        # the first start of an installation; later ones load the rest when it is first needed
        container.promql().warm_up()
        prometheus_points.warm_up()
        influx_line.warm_up()


def _listen(settings: Settings) -> socket.socket:
    """Take the address before anything else, so that a taken port is a sentence and not a half-open process."""
    server = settings.server
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((server.host, server.port))
    except OSError as error:
        listening.close()
        reason = error.strerror or error
        raise Unavailable(
            f"cannot listen on {server.host} port {server.port}: {reason}; choose another with --port"
        ) from None
    return listening


def _pumps(settings: Settings, container: Any) -> list[Pump]:
    monitor, notifier = container.monitor(), container.notifier()
    pumps = [
        Pump(PIPELINE, monitor.run_once, _complain),
        Pump("heartbeat", monitor.beat_once, _complain),
        Pump("notifier", notifier.run_once, _complain),
        Pump("upkeep", container.upkeep().run_once, _complain),
        Pump("shadows", container.shadows().run_once, _complain),
        Pump("training", container.training().run_once, _complain),
    ]
    if settings.host_metrics.enabled:
        pumps.append(Pump("host metrics", HostCollection(settings, container).run_once, _complain))
    if settings.scrape:
        pumps.append(Pump("scrape", container.scraper().run_once, _complain))
    if settings.ingest.statsd:
        pumps.append(Pump("statsd", StatsdCollection(container).run_once, _complain))
    return pumps


def _complain(name: str, error: Exception) -> None:
    if isinstance(error, Unavailable):
        log.warning("a pump has to wait and will try again", pump=name, reason=str(error))
        return
    log.error("a pump failed and will try again", pump=name, exc_info=error)


def _health_of(pump: Pump) -> Callable[[], str]:
    return lambda: "ok" if pump.healthy else f"failed {pump.failures} times in a row"


class HostCollection:
    """Collects this machine's metrics at whole intervals and hands them in like any other sender."""

    def __init__(self, settings: Settings, container: Any) -> None:
        self._interval_ms = settings.host_metrics.interval_ms
        self._metrics = HostMetrics(settings.host_metrics.host)
        self._ingest = container.ingest()
        self._clock = container.clock()

    async def run_once(self) -> None:
        """Wait for the next whole interval, collect, store."""
        now_ms = self._clock.now_ms()
        at_ms = (now_ms // self._interval_ms + 1) * self._interval_ms
        await self._clock.sleep(at_ms - now_ms)
        readings = await asyncio.to_thread(self._metrics.collect, time.monotonic())
        await self._ingest.accept(incoming_readings(readings, at_ms))


class StatsdCollection:
    """Hands in what StatsD's events amount to, at whole intervals; what could not be stored is tried again."""

    def __init__(self, container: Any) -> None:
        self._gathered = container.gathered()
        self._ingest = container.ingest()
        self._clock = container.clock()
        self._pending: Incoming | None = None

    async def run_once(self) -> None:
        """Wait for the next whole interval, gather, store."""
        if self._pending is None:
            now_ms = self._clock.now_ms()
            at_ms = (now_ms // FLUSH_MS + 1) * FLUSH_MS
            await self._clock.sleep(at_ms - now_ms)
            self._pending = incoming_readings(self._gathered.flush(at_ms), at_ms)
        if self._pending.keys:
            await self._ingest.accept(self._pending)
        self._pending = None


async def _configure_later(settings: Settings, container: Any) -> None:
    """Configure once the pipeline has taken in what was there at the start, which may need workers."""
    position, _ = await container.store().last()
    await container.monitor().expect(position)
    try:
        await _configure(settings, container)
    except QuantumError as error:
        log.warning("the configuration is not in force", reason=str(error))


async def _configure(settings: Settings, container: Any) -> None:
    """Put the policies of a first start, and those of the settings, in force."""
    control = container.control()
    if container.monitor().recorded == 0:
        for policy in DEFAULT_POLICIES:
            await control.submit(PutPolicy(policy, None, "first start"))
    allotment = settings.detection.allotment()
    if container.monitor().pipeline.coverage.allotment != allotment:
        await control.submit(PutCoverage(allotment, "settings"))
    for receiver in read_receivers(settings.receivers):
        await control.submit(PutReceiver(receiver, None, "settings"))
    for policy in read_policies(settings.policies):
        await control.submit(PutPolicy(policy, None, "settings"))


@contextlib.asynccontextmanager
async def _running(pumps: list[Pump]) -> Any:
    """Run pumps while the body runs."""
    tasks = [asyncio.create_task(pump.run(), name=pump.name) for pump in pumps]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _serve(
    app: Litestar, vitals: Vitals, listening: socket.socket, say_goodbye: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Serve until SIGINT or SIGTERM, then drain."""
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=BoundedHttp,
        ws="websockets-sansio",
        ws_max_size=WEBSOCKET_BYTES,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # uvicorn would believe everybody on this machine; adapters/http/proxies.py knows better
        timeout_graceful_shutdown=DRAIN_S,
        timeout_keep_alive=30,
        backlog=BACKLOG,
    )
    server = uvicorn.Server(config)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    serving = asyncio.create_task(_serve_quietly(server, listening))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    vitals.draining = True
    if say_goodbye is not None:
        await say_goodbye()
    server.should_exit = True
    await serving
    stopping.cancel()


async def _serve_quietly(server: uvicorn.Server, listening: socket.socket) -> None:
    """Serve with our own signal handling: uvicorn's would raise the signal again after it has stopped."""
    await server._serve([listening])  # noqa: SLF001 - `serve` wraps this with signal handlers
