"""What the measurements share: processor time of a server with all its processes, its rest, and the machine.

Processor time hardly depends on what else a machine does, so it is what is compared; times by the clock are told too.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httptools
import psutil

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantum.cli.servers import Server

READY_S: Final = 60.0
QUIET_S: Final = 0.3
BUSY_SHARE: Final = 0.1
"""A server rests when it uses less than this share of one processor."""
CLOCK_OF_PROCESS: Final = 2
"""What `clock_getcpuclockid(3)` puts into the lowest three bits of a clock: the scheduler's count, in nanoseconds."""


def cpu_s(pids: Sequence[int]) -> float:
    """Return the processor time of some processes in seconds, with their children, living and gone."""
    return sum(_cpu_of_tree(psutil.Process(pid)) for pid in pids)


def _cpu_of_tree(process: psutil.Process) -> float:
    used = _cpu_of(process)
    gone = process.cpu_times()
    used += float(getattr(gone, "children_user", 0.0)) + float(getattr(gone, "children_system", 0.0))
    for child in process.children():
        with suppress(psutil.NoSuchProcess):  # it ended meanwhile, and counts as gone the next time
            used += _cpu_of_tree(child)
    return used


def _cpu_of(process: psutil.Process) -> float:
    """Return the time of one process, to the nanosecond where Linux says it: psutil's counts in hundredths."""
    with suppress(OSError):
        return time.clock_gettime((~process.pid << 3) | CLOCK_OF_PROCESS)
    times = process.cpu_times()
    return float(times.user + times.system)


def rss_bytes(pid: int) -> int:
    """Return the resident memory of a process, without its children."""
    return int(psutil.Process(pid).memory_info().rss)


def peak_bytes(pid: int) -> int:
    """Return the highest resident memory that a process ever had; what it has now where the system does not say."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    return rss_bytes(pid)


def wait_until_quiet(servers: Sequence[Server], rest_s: float = QUIET_S) -> None:
    """Wait until no server has been busy for `rest_s`: what is done after answering is done. A minute at most."""
    deadline = time.perf_counter() + READY_S + rest_s
    rested_since, before = time.perf_counter(), [cpu_s(server.pids) for server in servers]
    while time.perf_counter() < deadline and time.perf_counter() - rested_since < rest_s:
        time.sleep(QUIET_S)
        now = [cpu_s(server.pids) for server in servers]
        if any(later - earlier >= BUSY_SHARE * QUIET_S for earlier, later in zip(before, now, strict=True)):
            rested_since = time.perf_counter()
        before = now


def rounded(figure: float) -> float:
    """Return a figure with three digits."""
    return float(f"{figure:.3g}")


def say(sentence: str) -> None:
    """Tell whoever waits how far a measurement is; standard output is for the figures."""
    print(f"quantum bench: {sentence}", file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    """Return what the figures depend on: processor, memory, system, versions, and how busy it was."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),  # noqa: TID251 - the date of the report
        "processor": platform.processor() or platform.machine(),
        "processors": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "load_1min": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("quantum", "numpy", "numba", "uvicorn", "litestar", "msgspec")},
        "httptools": httptools.__version__,
    }
