"""The program, made to die with SIGKILL at a named point of its work: `python -m tests.parts.crashing POINT N run ...`.

Where it dies is what a random kill hits once in thousands: between two lines of code. It dies the Nth time that it
comes there, counted from the first batch on that it was sent.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

POINTS: Final = {
    "read and parsed, not stored": ("quantum.application.ingest:Ingest.accept", "before"),
    "written, not committed (SQLite)": ("quantum.adapters.sqlite.facts:SqliteFacts._accept", "after"),
    "written, not committed (PostgreSQL)": ("quantum.adapters.postgres.facts:PostgresFacts._accept", "after"),
    "committed, not answered": ("quantum.adapters.memory:MemoryStream.publish", "before"),
    "half answered": ("uvicorn.protocols.http.httptools_impl:RequestResponseCycle.send", "body"),
    "concluded, not noted": ("quantum.application.monitoring:Monitor._tell", "before"),
}
"""By name: a function, and whether it dies before it, after it, or before it sends the body of an answer."""

OF_WORKERS: Final = {
    "read, not begun": ("quantum.application.scoring:LaneWork.do", "before"),
    "scored, not answered": ("quantum.application.scoring:LaneWork.do", "after"),
    "answered, not noted": ("quantum.adapters.kafka:KafkaWork._say", "after"),
    "noted": ("quantum.adapters.kafka:KafkaWork._note", "after"),
}
"""The same of a worker, which counts from its start."""
OF_ASKERS: Final = {
    "asked, not answered": ("quantum.adapters.kafka:KafkaLanes._collect", "before"),
    "answered, not concluded": ("quantum.adapters.kafka:KafkaLanes._collect", "after"),
    "concluded, not noted": POINTS["concluded, not noted"],
    "committed, not answered": POINTS["committed, not answered"],
    "half answered": POINTS["half answered"],
}
"""The same of a process of the role `monitoring`."""


def points_of(kind: str) -> list[str]:
    """Return the points of a store: `sqlite` or `postgres`."""
    other = "PostgreSQL" if kind == "sqlite" else "SQLite"
    return [point for point in POINTS if other not in point]


class Fate:
    """Decides when the process dies."""

    def __init__(self, nth: int) -> None:
        self._left = nth
        self._is_armed = False

    def arm(self) -> None:
        """Count from now on."""
        self._is_armed = True

    def come(self) -> None:
        """Die if it is time."""
        self._left -= self._is_armed
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)


def die_at(point: str, nth: int) -> None:
    """Wrap functions so that the process dies at a point the nth time."""
    fate, (path, when) = Fate(nth), (POINTS | OF_ASKERS | OF_WORKERS)[point]
    wrap(path, when, fate.come)
    if point in OF_WORKERS:
        fate.arm()
    wrap("quantum.application.ingest:Ingest.accept", "before", fate.arm)


def wrap(path: str, when: str, act: Callable[[], None]) -> None:
    """Let something happen whenever a method is called: before it, after it, or before it sends a body."""
    module, _, names = path.partition(":")
    owner_name, name = names.split(".")
    owner = getattr(importlib.import_module(module), owner_name)
    function = getattr(owner, name)

    @functools.wraps(function)
    async def wait(*arguments: Any, **named: Any) -> Any:
        if when == "before" or (when == "body" and arguments[1]["type"] == "http.response.body"):
            act()
        result = await function(*arguments, **named)
        if when == "after":
            act()
        return result

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        if when == "before":
            act()
        result = function(*arguments, **named)
        if when == "after":
            act()
        return result

    setattr(owner, name, wait if asyncio.iscoroutinefunction(function) else call)


if __name__ == "__main__":
    from quantum.cli import run_command

    die_at(sys.argv[1], int(sys.argv[2]))
    sys.exit(run_command(sys.argv[3:]))
