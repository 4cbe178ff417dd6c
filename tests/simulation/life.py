"""One life of a simulated process: the application as a role starts it, around a disk that outlives it."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import AsyncExitStack
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
from tests.facts import full_match
from tests.simulation.loop import LIFE
from tests.simulation.parts import FaultyLanes, FaultyStream

from quantum import roles
from quantum.adapters import wire
from quantum.adapters.memory import MemoryFeed
from quantum.adapters.stub_auth import StubIdentity
from quantum.adapters.training_process import lacking, train_apart
from quantum.application.api_keys import Admission, ApiKeys, KeyOwners
from quantum.application.control import Control
from quantum.application.ingest import Ingest, Limits
from quantum.application.keeping import Keeping
from quantum.application.monitoring import Monitor, StateCodec
from quantum.application.notifying import Notifier
from quantum.application.scoring import LaneWork, Scoring
from quantum.application.shadows import Shadows
from quantum.application.training import TrainingRuns
from quantum.application.upkeep import Upkeep
from quantum.domain.detectors.elsewhere import Elsewhere
from quantum.domain.detectors.robust_ensemble import RobustEnsemble
from quantum.domain.detectors.robust_seasonal import RobustSeasonal
from quantum.domain.detectors.tiered import Tiered
from quantum.domain.errors import QuantumError, Unavailable
from quantum.domain.labels import MatcherCompiler
from quantum.domain.lanes import Lane
from quantum.domain.pipeline import Pipeline
from quantum.domain.retention import Retention, Term
from quantum.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.simulation.disk import SimulatedStore
    from tests.simulation.world import World

    from quantum.domain.pipeline import PipelineState

T = TypeVar("T")
TENANT: Final = "default"
LANES: Final = 3
WORKERS: Final = 2
SETTINGS: Final = Settings()
COMPILER: Final = MatcherCompiler(full_match)
DEATH: Final = "the process died"


def tiered() -> Tiered:
    """Return the detectors that run by default."""
    return Tiered(RobustEnsemble(), RobustSeasonal())


def plain_pipeline() -> Pipeline:
    """Return the pipeline of the role `all`."""
    return Pipeline(tiered(), COMPILER)


def scoreless_pipeline() -> Pipeline:
    """Return the pipeline of the role `monitoring`."""
    detector = tiered()
    return Pipeline(Elsewhere(detector.name, detector.version), COMPILER)


def digest_of(state: PipelineState) -> str:
    """Return a digest of a state, which is another if one bit is; lanes put its arrays in an order of their own."""
    digest = hashlib.sha256(repr(state.memory).encode())
    for name, one in sorted(state.arrays.items()):
        digest.update(f"{name} {one.dtype.str} {one.shape}".encode() + one.tobytes())
    return digest.hexdigest()


class Workspace:
    """What `composition.Workspace` has, of simulated parts."""

    def __init__(self, world: World) -> None:
        clock, plan = world.clock, world.plan
        elsewhere = plan.role == roles.MONITORING
        store = log = world.wiring.store(world.disk)
        alerts = world.wiring.alerts(store)
        stream = FaultyStream(world.loop, world.faults)
        lanes = FaultyLanes(world.loop, world.faults, [lambda: new_work(store)] * WORKERS, LANES)
        monitor = Monitor(
            log,
            store,
            alerts,
            store,
            stream,
            MemoryFeed(),
            clock,
            scoreless_pipeline if elsewhere else plain_pipeline,
            StateCodec(world.pack, wire.unpack_state),
            plan.keep_ms,
            Scoring(lanes) if elsewhere else None,
        )
        keeping = Keeping(
            Retention(Term(plan.keep_ms, plan.keep_ms), (), COMPILER),
            store,
            lambda: monitor.pipeline.labels,
            lambda: monitor.pipeline.presence.newest_ms(),  # noqa: PLW0108 - the pipeline may be replaced
        )
        control = Control(log, stream, clock, monitor)
        owners = KeyOwners()
        keys = ApiKeys(control, monitor, clock, TENANT, owners, lambda count: world.loop.generator.bytes(count).hex())
        shadows = Shadows(store, log, stream, lambda: monitor.pipeline.labels, COMPILER)
        parts = {
            "tenant": TENANT,
            "clock": clock,
            "store": store,
            "stream": stream,
            "lanes": lanes,
            "monitor": monitor,
            "control": control,
            "keys": keys,
            "admission": Admission({TENANT: keys}, owners, StubIdentity(TENANT)),
            "ingest": Ingest(log, stream, clock, Limits(), keeping.count_bare),
            "upkeep": Upkeep(store, store, store, store, store, clock, keeping, FOR_EVER_MS, store, FOR_EVER_MS),
            "notifier": Notifier(
                world.wiring.queue(store),
                world.receivers,
                control.receivers,
                clock,
                np.random.default_rng(world.loop.pick(1 << 30)),
            ),
            "publisher": None,
            "shadows": shadows,
            "training": TrainingRuns(
                store,
                store,
                MemoryFeed(),
                clock,
                train_apart,
                lambda: monitor.pipeline.labels,
                lambda: monitor.pipeline.models,
                COMPILER,
                "simulated",
                shadows.refresh,
                frozenset(),
                lacking,
                control.append,
            ),
        }
        for name, part in parts.items():
            setattr(self, name, lambda part=part: part)
        world.wiring.built(self)

    def __getattr__(self, name: str) -> Callable[[], Any]:
        raise AttributeError(f"the simulation has no part named {name!r}")


FOR_EVER_MS: Final = 1000 * 365 * 86_400_000


def new_work(store: SimulatedStore) -> LaneWork:
    """Return what a worker does, which begins with nothing."""
    return LaneWork(store, lambda number: Lane(number, LANES, tiered(), COMPILER), wire.unpack_state)


class Life:
    """One process, from its start to its end.

    Attributes:
        is_over: it died, or has stopped.
        is_ready: it takes requests.
        is_configured: returns whether it has done with putting the settings in force.
        workspace: its parts.
        pumps: those that it runs.
    """

    def __init__(self, world: World) -> None:
        self.is_over = self.is_ready = False
        self.workspace: Any = None
        self.pumps: list[Any] = []
        self._world = world
        self._unanswered: dict[asyncio.Future[Any], None] = {}  # in order, as a set is not
        self._stop = asyncio.Event()
        self.ended = asyncio.Event()
        self.is_configured: Callable[[], bool] = lambda: True

    def begin(self) -> None:
        """Start the process."""
        self._run(self._live())

    def before_step(self) -> None:
        """Die, if it is time."""
        if self._world.loop.chance(self._world.faults.crash):
            self.die()

    def die(self) -> None:
        """End at once."""
        self.is_over, self.is_ready = True, False
        self._world.note_crash()
        self._world.loop.note("died")
        self._world.disk.lose_power()
        self._end()

    def _end(self) -> None:
        for answer in list(self._unanswered):
            if not answer.done():
                answer.set_exception(Unavailable(DEATH))
        self.ended.set()

    def stop(self) -> None:
        """Ask it to stop, as SIGTERM does."""
        self._run(self._ask_to_stop())

    async def _ask_to_stop(self) -> None:
        self._stop.set()

    def ask(self, work: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Future[T]:
        """Have the process do something; whoever gives up waiting hangs up, which the process notices or not."""
        answer: asyncio.Future[T] = self._world.loop.create_future()
        if not self.is_ready:
            answer.set_exception(Unavailable("nobody listens"))
            return answer
        self._unanswered[answer] = None
        context = self._context()
        task = self._world.loop.create_task(work(), context=context)
        task.add_done_callback(lambda done: self._hand_over(done, answer), context=context)
        answer.add_done_callback(lambda _: self._hang_up(task, answer))
        return answer

    def _hand_over(self, task: asyncio.Task[T], answer: asyncio.Future[T]) -> None:
        self._unanswered.pop(answer, None)
        if task.cancelled():
            if not answer.done():
                answer.set_exception(Unavailable("it was stopped"))
        elif (error := task.exception()) is not None:
            if not isinstance(error, QuantumError):
                self._world.complain("a request", error)
            if not answer.done():
                answer.set_exception(error)
        elif not answer.done():
            answer.set_result(task.result())

    def _hang_up(self, task: asyncio.Task[T], answer: asyncio.Future[T]) -> None:
        if answer.cancelled() and not self.is_over and self._world.loop.chance(0.5):
            task.cancel()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        self._world.loop.create_task(work, context=self._context())

    def _context(self) -> Context:
        """Return a context in which all belongs to this life."""
        context = copy_context()
        context.run(LIFE.set, self)
        return context

    # ---- what the process does ----------------------------------------------------------------------------------

    async def _live(self) -> None:
        """Do what `roles.run_all` does, except for the server."""
        try:
            async with AsyncExitStack() as stack:
                await self._open(stack)
                async with roles._running(self.pumps):
                    await self._configure(stack)
                    self.is_ready = True
                    await self._stop.wait()
                    self.is_ready = False
        except Unavailable as reason:
            self._world.loop.note(f"ended: {reason}")
        except Exception as error:  # noqa: BLE001 - whatever ends a process is for the judges
            self._world.complain("the process", error)
        if not self.workspace.notifier().is_settled:
            self._world.unnoted += 1
        self.is_over, self.is_ready = True, False
        self._end()

    async def _open(self, stack: AsyncExitStack) -> None:
        workspace = self.workspace = Workspace(self._world)
        await stack.enter_async_context(workspace.store())
        if self._world.plan.role == roles.MONITORING:
            await stack.enter_async_context(workspace.lanes())
        await roles._open(workspace, stack)
        self.pumps = roles._pumps(SETTINGS, workspace)

    async def _configure(self, stack: AsyncExitStack) -> None:
        workspace = self.workspace
        if self._world.plan.role == roles.MONITORING:
            configuring = asyncio.create_task(roles._configure_later(SETTINGS, workspace))
            stack.callback(configuring.cancel)
            self.is_configured = configuring.done
        else:
            await roles._configure(SETTINGS, workspace)
