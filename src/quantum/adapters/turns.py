"""Threads that tenants share in turns: one that asks for much waits behind its own work, and others not behind it.

What takes long enough to be kept off the event loop (decoding, queries, forecasts, the pipeline's steps) is queued by
tenant. A free thread takes from the tenant whose turn it is, and no tenant ever has all threads.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from quantum.application.control import TENANT

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

THREADS: Final = 6
THREADS_OF_ONE: Final = 4
"""So many threads one tenant has at most; the others are left to the others."""


class TurnPool(ThreadPoolExecutor):
    """An executor whose threads take work in turns by tenant, and in order within a tenant."""

    def __init__(self, threads: int = THREADS, threads_of_one: int = THREADS_OF_ONE) -> None:
        super().__init__(threads, thread_name_prefix="turns")
        self._of_one = threads_of_one
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, deque[tuple[Future[Any], Callable[[], Any]]]] = OrderedDict()
        self._running: Counter[str] = Counter()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue work for the tenant that the caller works for; see Executor."""
        future: Future[T] = Future()
        with self._lock:
            self._waiting.setdefault(TENANT.get(), deque()).append((future, partial(fn, *args, **kwargs)))
        super().submit(self._work)
        return future

    def _work(self) -> None:
        """Do what may be done now, until nothing is left that may; whoever ends something looks for what waited."""
        while (turn := self._next()) is not None:
            tenant, future, work = turn
            try:
                if future.set_running_or_notify_cancel():
                    _settle(future, work)
            finally:
                with self._lock:
                    self._running[tenant] -= 1

    def _next(self) -> tuple[str, Future[Any], Callable[[], Any]] | None:
        with self._lock:
            tenant = next((one for one in self._waiting if self._running[one] < self._of_one), None)
            if tenant is None:
                return None
            queue = self._waiting.pop(tenant)
            future, work = queue.popleft()
            if queue:
                self._waiting[tenant] = queue  # behind the others
            self._running[tenant] += 1
            return tenant, future, work


def _settle(future: Future[Any], work: Callable[[], Any]) -> None:
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - carried to whoever waits for the result
        future.set_exception(error)
    else:
        future.set_result(result)
