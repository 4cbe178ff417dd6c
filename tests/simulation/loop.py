"""An event loop in which nothing is left to chance but what a seed decides: time, order and death.

Time is virtual: when nothing is ready it jumps to the next timer, so a sleep costs nothing. Of the callbacks that are
ready, the seed decides which is next. What is given to an executor runs on the loop too, as a step of its own, so
there are no threads. A callback belongs to the life (of a simulated process) in whose context it was scheduled; when a
life has ended, whatever is left of it is never run, as after `kill -9`: no `finally`, no cancellation, nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, TypeVarTuple, Unpack

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

MAX_STEPS: Final = 400_000
STEP_S: Final = 50e-6
"""So long a step takes at most. Time goes on while there is work, so timers expire in the midst of it."""
EXECUTOR_S: Final = 0.004
"""So long work waits at most for its turn in an executor."""


class Mortal(Protocol):
    """Something in whose context callbacks are scheduled, and which may end."""

    is_over: bool

    def before_step(self) -> None:
        """Hear that a step of it is about to be made."""


LIFE: Final[ContextVar[Mortal | None]] = ContextVar("life", default=None)
"""To whose life the running code belongs; None: to the world outside."""


class SimulationError(AssertionError):
    """The simulation found something wrong."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """The loop.

    Attributes:
        steps: how many callbacks were run.
        generator: what the seed decides comes from here.
        failures: of callbacks, which nobody else hears of.
    """

    _ready: Any
    _scheduled: list[Any]

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = np.random.default_rng(seed)
        self.steps = 0
        self.failures: list[str] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._now_s = 0.0
        self._trace = hashlib.sha256()
        self.set_exception_handler(self._note_failure)

    # ---- chance -----------------------------------------------------------------------------------------------

    def chance(self, probability: float) -> bool:
        """Return True with a probability."""
        return bool(self.generator.random() < probability)

    def below(self, limit: float) -> float:
        """Return a number in [0, limit)."""
        return float(self.generator.random() * limit)

    def pick(self, count: int) -> int:
        """Return one of 0, 1, ..., count - 1."""
        return int(self.generator.random() * count)

    # ---- the trace --------------------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """Add something that happened to the trace."""
        self._trace.update(f"{self._now_s:.9f} {text}\n".encode())

    @property
    def trace(self) -> str:
        """A digest of everything that happened, in order."""
        return self._trace.hexdigest()

    def _note_failure(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.failures.append(f"{context.get('message')}: {context.get('exception')!r}")

    # ---- what asyncio asks of a loop ----------------------------------------------------------------------------

    def time(self) -> float:
        """Return virtual seconds since the beginning."""
        return self._now_s

    def run_in_executor(
        self,
        executor: Executor | None,  # noqa: ARG002 - whatever it is
        func: Callable[[Unpack[Ts]], T],
        *args: *Ts,
    ) -> asyncio.Future[T]:
        """Run a function as a step of its own of the loop, a little later."""
        future: asyncio.Future[T] = self.create_future()

        def run() -> None:
            if future.cancelled():
                return
            try:
                result = func(*args)
            except Exception as error:  # noqa: BLE001 - carried to the caller, as an executor does
                future.set_exception(error)
            else:
                future.set_result(result)

        self.call_later(self.below(EXECUTOR_S), run)
        return future

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        """Make a task; it is held until the end, so that nothing of it is run when it is forgotten."""
        task = super().create_task(coro, **options)
        self._tasks.append(task)
        return task

    def bury(self) -> None:
        """Take away the tasks that are left, those of lives that are over among them, and close."""
        for task in self._tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined] # there is no other way to say so
                _close(task.get_coro())
        self._tasks.clear()
        self.close()

    def _write_to_self(self) -> None:
        """Wake nobody: there is no other thread from which this could be called."""

    def _run_once(self) -> None:
        """Run one of the ready callbacks; let time pass if there is none."""
        ready, due_s = self._ready, self._now_s
        if not ready:
            due_s = self._next_timer_s()
        self._now_s = max(self._now_s, due_s)
        while self._scheduled and self._scheduled[0]._when <= self._now_s:
            timer = heapq.heappop(self._scheduled)
            timer._scheduled = False
            ready.append(timer)
        number = self.pick(len(ready))
        handle = ready[number]
        del ready[number]
        if not handle._cancelled:
            self._step(handle)

    def _next_timer_s(self) -> float:
        while self._scheduled and self._scheduled[0]._cancelled:
            heapq.heappop(self._scheduled)._scheduled = False
        if not self._scheduled:
            raise SimulationError("everybody waits for somebody else")
        return float(self._scheduled[0]._when)

    def _step(self, handle: Any) -> None:
        life = handle._context.get(LIFE)
        if life is not None:
            if not life.is_over:
                life.before_step()
            if life.is_over:
                return
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise SimulationError(f"it did not come to an end within {MAX_STEPS} steps")
        self._now_s += self.below(STEP_S)
        self.note(name_of(handle._callback))
        handle._run()


def _close(coroutine: Any) -> None:
    """End a coroutine wherever it is, however often it wants to wait for something on its way out."""
    while True:
        try:
            coroutine.close()
        except Exception:  # noqa: BLE001 - it is over; what it has to say is of no interest
            continue
        return


def name_of(callback: Any) -> str:
    """Return what a callback is called, the same in every run."""
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return str(getattr(owner.get_coro(), "__qualname__", "task"))
    return str(getattr(callback, "__qualname__", type(callback).__name__))
