"""Roles: what a process opens, in which order, which pumps it runs, and how it stops.

Opening order: store, receivers, pipeline (which catches up with the log), pumps, server. Stopping is the reverse:
readiness goes first, then sockets are told, requests finish, pumps stop, what is left is taken in and saved.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import sys
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import structlog
import uvicorn

from quantum.adapters import influx_line, remote_write
from quantum.adapters.host_metrics import HostMetrics
from quantum.adapters.http import prometheus_points
from quantum.adapters.http.health import health_app
from quantum.adapters.http.live import MAX_MESSAGE_CHARS
from quantum.adapters.http.protocol import BoundedHttp, BoundedSocket
from quantum.adapters.http.tables import read_policies, read_receivers, read_routes
from quantum.adapters.statsd import FLUSH_MS, listen
from quantum.adapters.turns import TurnPool
from quantum.application import keys
from quantum.application.control import TENANT
from quantum.application.ingest import incoming_readings
from quantum.application.ports import AuditFilter, Page
from quantum.application.pump import Pump
from quantum.composition import build
from quantum.connected import GATEWAY
from quantum.domain.default_policies import DEFAULT_POLICIES
from quantum.domain.errors import QuantumError, Unavailable
from quantum.domain.facts import AcceptLoss, PutCoverage, PutPolicy, PutReceiver, PutRoute

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence, Sized

    from litestar import Litestar

    from quantum.adapters.http.health import Vitals
    from quantum.adapters.http.live import LiveSockets
    from quantum.application.control import Control
    from quantum.application.ingest import Incoming
    from quantum.domain.policies import AlertPolicy
    from quantum.settings import Settings

BACKLOG: Final = 1024
"""So many connections may wait to be looked at."""
PING_S: Final = 20.0
"""A live socket whose other end is gone is closed after twice that."""
DRAIN_S: Final = 5
COLD_S: Final = 4.0
"""Kernels that take longer than this were not loaded but compiled."""
WEBSOCKET_BYTES: Final = 4 * MAX_MESSAGE_CHARS
MONITORING: Final = "monitoring"
ROLES: Final = ("all", GATEWAY, MONITORING, "ml")
LIVE: Final = "live"
"""Name of the pump that tells live events on, or brings them."""
LOOK_MS: Final = 600_000
OFTEN: Final = (1000, 10, 10)
"""Thresholds of the garbage collector once requests are served."""
OFTENER: Final = (250, 10, 40)
"""The same where there are several tenants: a look takes a quarter of the time, and all together twice as much."""
SWITCH_S: Final = 0.0001
"""How long a thread keeps the interpreter that others want, where there are several tenants. A commit asks for it some
nine times; by itself Python lets it wait 5 ms each time."""
SETTLE_MS: Final = 1000
FIRST_START: Final = "first start"
"""Who puts in force what a tenant begins with."""
PUBLISHING: Final = "publishing"
"""Name of the pump that fills public topics."""
SIGHT: Final = "sight"
"""Name of the pump that keeps how far the log is."""
SIGHT_MS: Final = 1000
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
        CancelledError: it was told to stop before it was ready.
    """
    _stop_when_told_to()
    match role:
        case "ml":
            await run_ml(settings, announce)
        case "gateway":
            await run_gateway(settings, announce)
        case _:
            await run_all(settings, announce, role)


def _stop_when_told_to() -> None:
    """Let SIGTERM end a start, which may have to wait for hours; the first process of a container would not hear it."""
    starting = asyncio.current_task()
    if starting is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, starting.cancel)


async def run_gateway(settings: Settings, announce: Callable[[str], None]) -> None:
    """Run the role `gateway`: serve what a writer elsewhere has taken in, and hand on what only that one can do."""
    listening = _listen(settings)
    process = build(settings, GATEWAY)
    app = process.app()
    workspaces: dict[str, Any] = process.workspaces()
    vitals, forwarder = process.vitals(), process.forwarder()
    async with AsyncExitStack() as stack:
        if len(workspaces) > 1:
            asyncio.get_running_loop().set_default_executor(TurnPool())
        stack.callback(listening.close)
        _follow_requests(process, stack)
        for part in (process.counters(), process.transients(), forwarder):
            await stack.enter_async_context(part)
        following, bringing = [], []
        for workspace in workspaces.values():
            await stack.enter_async_context(workspace.store())
            await workspace.mirror().open()
            workspace.keys().open()
            await stack.enter_async_context(workspace.relay())
            following += _following(settings, workspace)
            bringing.append(Pump(_name_of(LIVE, settings, workspace), workspace.relay().run_once, _complain))
        vitals.checks = {pump.name: _health_of(pump) for pump in following}
        vitals.degrading = {pump.name: _health_of(pump) for pump in bringing} | {
            "writer": lambda: forwarder.away or "ok"
        }
        _be_brief(workspaces)
        async with _running([*following, *bringing]):
            vitals.started = True
            listening.listen(BACKLOG)
            announce(_address_of(listening))
            sockets = [workspace.sockets() for workspace in workspaces.values()]
            await _serve(app, vitals, listening, sockets, _stores(settings, workspaces.values()))


def _following(settings: Settings, workspace: Any) -> list[Pump]:
    """Return the pumps by which a gateway knows what a tenant has."""

    async def follow() -> None:
        await workspace.mirror().run_once()
        workspace.keys().open()

    async def look() -> None:
        await workspace.keeping().look(workspace.clock().now_ms())
        await workspace.clock().sleep(LOOK_MS)

    tenant: str = workspace.tenant()
    steps = {"log": follow, "retention": look}
    return [
        Pump(_name_of(name, settings, workspace), _in_turn(tenant, step), _complain) for name, step in steps.items()
    ]


async def run_ml(settings: Settings, announce: Callable[[str], None]) -> None:
    """Run the role `ml`: score what others take in."""
    listening = _listen(settings)
    process = build(settings, "ml")
    workspaces: dict[str, Any] = process.workspaces()
    vitals, pumps = process.worker_vitals(), []
    async with AsyncExitStack() as stack:
        asyncio.get_running_loop().set_default_executor(TurnPool())
        stack.callback(listening.close)
        _follow_requests(process, stack)
        for workspace in workspaces.values():
            await stack.enter_async_context(workspace.reader())
            worker = await stack.enter_async_context(workspace.worker())
            step = _in_turn(workspace.tenant(), worker.run_once)
            pumps.append(Pump(_name_of("lanes", settings, workspace), step, _complain))
        await asyncio.to_thread(_compile_detector, workspaces[settings.store.tenant])
        vitals.checks = {pump.name: _health_of(pump) for pump in pumps}
        _be_brief(workspaces)
        async with _running(pumps):
            vitals.started = True
            listening.listen(BACKLOG)
            announce(_address_of(listening))
            await _serve(health_app(vitals), vitals, listening, ())


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
    process = build(settings, role)
    app = process.app()
    workspaces: dict[str, Any] = process.workspaces()
    home = workspaces[settings.store.tenant]
    if len(workspaces) > 1:
        asyncio.get_running_loop().set_default_executor(TurnPool())
    async with AsyncExitStack() as stack:
        stack.callback(listening.close)
        await _open_and_compile(settings, process, workspaces, stack, role)
        if settings.scrape:
            await stack.enter_async_context(home.scraper())
        pumps = [pump for workspace in workspaces.values() for pump in _pumps(settings, workspace)]
        pumps += _collections(settings, home)
        checks = {pump.name: _health_of(pump) for pump in pumps}
        # without workers, Redis or topics samples are taken in all the same: no reason to send senders away
        lesser = (PIPELINE, LIVE, PUBLISHING, SIGHT) if role == MONITORING else (LIVE, PUBLISHING, SIGHT)
        process.vitals().degrading = {name: checks.pop(name) for name in list(checks) if name.startswith(lesser)}
        process.vitals().checks = checks
        _be_brief(workspaces)
        async with _running(pumps):
            for workspace in workspaces.values():
                if role == MONITORING:
                    stack.callback(asyncio.create_task(_configure_later(settings, workspace)).cancel)
                else:
                    await _configure(settings, workspace)
            if settings.ingest.statsd:
                stack.callback((await listen(settings.ingest.statsd, home.gathered())).close)
            process.vitals().started = True
            # whoever reads the address may use it at once: what comes before the server looks waits for it
            listening.listen(BACKLOG)
            announce(_address_of(listening))
            sockets = [workspace.sockets() for workspace in workspaces.values()]
            await _serve(app, process.vitals(), listening, sockets, _stores(settings, workspaces.values()))


def _stores(settings: Settings, workspaces: Iterable[Any]) -> list[Any]:
    """Return the stores that another process may take over, or that may go back."""
    return [workspace.store() for workspace in workspaces] if settings.store.kind == "postgres" else []


async def _open_and_compile(
    settings: Settings, process: Any, workspaces: dict[str, Any], stack: AsyncExitStack, role: str
) -> None:
    """Open everything and compile what will be needed, before anything is collected.

    Compiling keeps a core busy, which this machine's own series would learn as usual. Who may have to wait for a tenant
    does it first, and is then ready to take over at once; others hear first what cannot be opened.
    """
    may_wait, home = settings.store.kind == "postgres", workspaces[settings.store.tenant]
    if may_wait:
        await asyncio.to_thread(_compile_kernels, home)
    await _open_all(settings, process, workspaces.values(), stack, role)
    if not may_wait:
        await asyncio.to_thread(_compile_kernels, home)


async def _open_all(
    settings: Settings, process: Any, workspaces: Iterable[Any], stack: AsyncExitStack, role: str
) -> None:
    """Open what the process has once, and then its tenants."""
    _follow_requests(process, stack)
    for workspace in workspaces:
        store = await stack.enter_async_context(workspace.store())
        if settings.store.kind == "postgres":
            stack.push_async_callback(_keep_last_sight, store)
    for part in (process.webhooks(), process.counters(), process.transients()):
        await stack.enter_async_context(part)
    for workspace in workspaces:
        if role == MONITORING:
            await stack.enter_async_context(workspace.lanes())
        if isinstance(workspace.feed(), contextlib.AbstractAsyncContextManager):
            await stack.enter_async_context(workspace.feed())
        await _open(workspace, stack)


def _follow_requests(process: Any, stack: AsyncExitStack) -> None:
    """Send what is left of traces at the end, if there are any."""
    if traces := process.traces():
        stack.push_async_callback(asyncio.to_thread, traces.close)


async def _open(workspace: Any, stack: AsyncExitStack) -> None:
    """Let a tenant's pipeline catch up with its log, unless others score; at the end, take in what is left and save.

    What was taken in is published after that.
    """
    await workspace.ingest().open(workspace.store())
    if publisher := workspace.publisher():
        await stack.enter_async_context(workspace.publication())
        await publisher.open()
        stack.push_async_callback(publisher.close)
    await workspace.monitor().open()
    stack.push_async_callback(workspace.monitor().close)
    stack.push_async_callback(workspace.notifier().close)
    workspace.keys().open()


def _address_of(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _be_brief(workspaces: Sized) -> None:
    """Keep anything from holding everybody up while requests are served, the more so if there are several tenants."""
    _collect_briefly(OFTEN if len(workspaces) == 1 else OFTENER)
    if len(workspaces) > 1:
        sys.setswitchinterval(SWITCH_S)


def _collect_briefly(thresholds: tuple[int, int, int]) -> None:
    """Keep the garbage collector from holding everybody up while requests are served.

    What the start made, compiled kernels among it, stays until the end: to look through it took 0.15 s. What comes
    later is looked through often, in a millisecond or less each time; as seldom as during the start it took seven.
    """
    gc.freeze()
    gc.set_threshold(*thresholds)


def _compile_detector(workspace: Any) -> None:
    workspace.detector().score_and_learn(np.zeros(1, np.int64), np.ones(1, np.int64), np.ones(1))


def _compile_kernels(workspace: Any) -> None:
    begin_s = time.monotonic()
    remote_write.warm_up()
    keys.warm_up()
    _compile_detector(workspace)
    if time.monotonic() - begin_s > COLD_S:
        # the first start of an installation; later ones load the rest when it is first needed
        workspace.promql().warm_up()
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


def _pumps(settings: Settings, workspace: Any) -> list[Pump]:
    """Return the pumps that every tenant has. Those that act on what is in force wait until that is known."""
    monitor = workspace.monitor()
    acting = {
        "notifier": workspace.notifier().run_once,
        "upkeep": workspace.upkeep().run_once,
        "shadows": workspace.shadows().run_once,
        "training": workspace.training().run_once,
    }
    steps = {
        PIPELINE: monitor.run_once,
        "heartbeat": monitor.beat_once,
        **{name: monitor.once_caught_up(step) for name, step in acting.items()},
        **({LIVE: workspace.feed().run_once} if settings.redis.url else {}),
        **({PUBLISHING: workspace.publisher().run_once} if settings.stream.publish else {}),
        **({SIGHT: _keeping_sight(workspace)} if settings.store.kind == "postgres" else {}),
    }
    tenant: str = workspace.tenant()
    return [
        Pump(_name_of(name, settings, workspace), _in_turn(tenant, step), _complain) for name, step in steps.items()
    ]


def _keeping_sight(workspace: Any) -> Callable[[], Awaitable[None]]:
    """Return a step that keeps how far the log is, for who starts after this process."""

    async def keep() -> None:
        await workspace.clock().sleep(SIGHT_MS)
        await workspace.store().keep_sight()

    return keep


async def _keep_last_sight(store: Any) -> None:
    with contextlib.suppress(Unavailable):  # said by then, each second
        await store.keep_sight()


def _name_of(pump: str, settings: Settings, workspace: Any) -> str:
    return f"{pump} of {workspace.tenant()}" if len(settings.served) > 1 else pump


def _in_turn(tenant: str, step: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """Return a step of a pump that takes its tenant's turns."""

    async def run() -> None:
        TENANT.set(tenant)
        await step()

    return run


def _collections(settings: Settings, home: Any) -> list[Pump]:
    """Return the pumps that gather samples by themselves, for the tenant that this machine belongs to."""
    pumps = []
    if settings.host_metrics.enabled:
        pumps.append(Pump("host metrics", HostCollection(settings, home).run_once, _complain))
    if settings.scrape:
        pumps.append(Pump("scrape", home.scraper().run_once, _complain))
    if settings.ingest.statsd:
        pumps.append(Pump("statsd", StatsdCollection(home).run_once, _complain))
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

    def __init__(self, settings: Settings, workspace: Any) -> None:
        self._interval_ms = settings.host_metrics.interval_ms
        self._metrics = HostMetrics(settings.host_metrics.host)
        self._ingest = workspace.ingest()
        self._clock = workspace.clock()

    async def run_once(self) -> None:
        """Wait for the next whole interval, collect, store."""
        now_ms = self._clock.now_ms()
        at_ms = (now_ms // self._interval_ms + 1) * self._interval_ms
        await self._clock.sleep(at_ms - now_ms)
        readings = await asyncio.to_thread(self._metrics.collect, time.monotonic())
        await self._ingest.accept(incoming_readings(readings, at_ms))


class StatsdCollection:
    """Hands in what StatsD's events amount to, at whole intervals; what could not be stored is tried again."""

    def __init__(self, workspace: Any) -> None:
        self._gathered = workspace.gathered()
        self._ingest = workspace.ingest()
        self._clock = workspace.clock()
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


async def _configure_later(settings: Settings, workspace: Any) -> None:
    """Configure once the pipeline has taken in what was there at the start, which may need workers."""
    await workspace.monitor().caught_up.wait()
    while True:
        try:
            await _configure(settings, workspace)
        except Unavailable as error:
            # workers went away again: what is stored by then changes nothing when it is stored once more
            log.warning("the configuration is not in force yet", tenant=workspace.tenant(), reason=str(error))
            await _settle(workspace)
        except QuantumError as error:
            log.warning("the configuration is not in force", tenant=workspace.tenant(), reason=str(error))
            return
        else:
            return


async def _settle(workspace: Any) -> None:
    """Wait a moment, and until the pipeline has taken in all that is stored by then."""
    await workspace.clock().sleep(SETTLE_MS)
    with contextlib.suppress(QuantumError):
        position, _ = await workspace.store().last()
        await workspace.monitor().expect(position)


async def _configure(settings: Settings, workspace: Any) -> None:
    """Put in force what a tenant begins with, how closely series are watched, and what the settings say."""
    control = workspace.control()
    for policy in await _never_given(workspace.store()):
        await control.submit(PutPolicy(policy, None, FIRST_START))
    if settings.store.kind == "postgres":
        await _own_up(workspace.store(), control)
    allotment = settings.detection.allotment()
    if workspace.monitor().pipeline.coverage.allotment != allotment:
        await control.submit(PutCoverage(allotment, "settings"))
    if workspace.tenant() == settings.store.tenant:
        await _put_in_force(settings, workspace)


async def _own_up(store: Any, control: Control) -> None:
    """Enter in the audit log what was lost and accepted, unless it is there: a start may have been interrupted."""
    for first, last in await store.losses():
        loss = AcceptLoss(first, last, "settings")
        entries = await store.audit(AuditFilter(words=loss.name), Page())
        if not any(one.target == loss.name for one in entries):
            await control.submit(loss)


async def _never_given(store: Any) -> list[AlertPolicy]:
    """Return the policies that a tenant begins with and never had: all at first, the rest if that was interrupted.

    What was deleted since stays deleted. If facts were forgotten already, the first start was long ago.
    """
    if await store.begins_after():
        return []
    given = {one.target for one in await store.audit(AuditFilter(actor=FIRST_START), Page())}
    return [policy for policy in DEFAULT_POLICIES if policy.name not in given]


async def _put_in_force(settings: Settings, home: Any) -> None:
    """Put the receivers, routes and policies of the settings in force, which are those of the tenant that has them."""
    control = home.control()
    for receiver in read_receivers(settings.receivers):
        await control.submit(PutReceiver(receiver, None, "settings"))
    for route in read_routes(settings.routes):
        await control.submit(PutRoute(route, None, "settings"))
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


def server_config(
    app: Litestar, loop: Literal["uvloop", "none"] = "uvloop", drain_s: int = DRAIN_S, ping_s: float = PING_S
) -> uvicorn.Config:
    """Return how the application is served, with which bounds.

    Args:
        app: is served.
        loop: "none" where one is running already.
        drain_s: how long requests may take to end when the server does.
        ping_s: how often a socket is asked for a sign of life, and how long that may take.
    """
    return uvicorn.Config(
        app,
        loop=loop,
        http=BoundedHttp,
        ws=BoundedSocket,
        ws_max_size=WEBSOCKET_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=ping_s,
        ws_ping_timeout=ping_s,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # uvicorn would believe everybody on this machine; adapters/http/proxies.py knows better
        timeout_graceful_shutdown=drain_s,
        timeout_keep_alive=30,
        backlog=BACKLOG,
    )


async def _serve(
    app: Litestar,
    vitals: Vitals,
    listening: socket.socket,
    sockets: Sequence[LiveSockets],
    stores: Sequence[Any] = (),
) -> None:
    """Serve until SIGINT or SIGTERM, or until this process is of no use any more, then drain.

    Raises:
        Unavailable: another process has taken over a tenant, or a database has gone back; started anew, this one can
            wait for its turn, or begin with what there is.
    """
    server = uvicorn.Server(server_config(app))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    serving = asyncio.create_task(_serve_quietly(server, listening))
    ends = [asyncio.create_task(event.wait()) for event in (stop, *(one.replaced for one in stores))]
    await asyncio.wait([serving, *ends], return_when=asyncio.FIRST_COMPLETED)
    vitals.draining = True
    await asyncio.gather(*(one.close_all() for one in sockets))
    server.should_exit = True
    await serving
    for end in ends:
        end.cancel()
    for store in stores:
        if store.ending and not stop.is_set():
            raise Unavailable(store.ending)


async def _serve_quietly(server: uvicorn.Server, listening: socket.socket) -> None:
    """Serve with our own signal handling: uvicorn's would raise the signal again after it has stopped."""
    await server._serve([listening])  # noqa: SLF001 - `serve` wraps this with signal handlers
