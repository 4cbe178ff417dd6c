"""`quantum bench ingest`: what it costs to take samples in over HTTP, durably, with every feature on.

A real server in a process of its own stores on disk and answers after the commit. Its processor time per million
samples hardly depends on what else the machine does; times are compared with the physical limit, measured in the same
run: the same bytes written to the same disk with `fdatasync`, one request at a time.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Final

import httptools
import numpy as np
import psutil
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from quantum.adapters.memory import SystemClock
from quantum.cli import CommandFailed
from quantum.cli.write_load import STEP_MS, Fleet, Load, send
from quantum.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

READY_S: Final = 60.0
QUIET_S: Final = 0.3
BUSY_SHARE: Final = 0.1
"""A server is done when it uses less than this share of one processor."""
WARM_UP: Final = 5


@dataclass(frozen=True, slots=True)
class Case:
    """One measurement: a fleet and how many requests it sends."""

    name: str
    fleet: Fleet
    requests: int


CASES: Final = (
    Case("2000 series x 1", Fleet(2000, 1), 200),
    Case("250 series x 20", Fleet(250, 20), 100),
    Case("1 M samples, 10,000 series", Fleet(10_000, 1), 100),
)


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is being measured.

    Attributes:
        name: as shown.
        url: of its remote-write endpoint.
        pid: of its process.
        folder: where its data is, or None if it is not ours to look at.
        durable: whether it answers only when the samples would survive a loss of power.
    """

    name: str
    url: str
    pid: int
    folder: Path | None
    durable: bool = False


def bench_ingest(
    *,
    url: str | None = None,
    pid: int | None = None,
    rivals: Annotated[bool, Parameter(negative=())] = False,
    scale: float = 1.0,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> None:
    """Measure remote-write ingest: processor time per million samples, latency, memory, disk.

    Args:
        url: address of a running Quantum to measure, instead of one started for it.
        pid: its process; needed with --url.
        rivals: also measure `prometheus` and `victoria-metrics`, if they are installed.
        scale: multiplies the number of requests.
        as_json: print everything as JSON.
    """
    if (url is None) != (pid is None):
        raise CommandFailed("--url and --pid belong together: the process of the server is what is measured")
    cases = [Case(case.name, case.fleet, max(2, round(case.requests * scale))) for case in CASES]
    results = [result for case in cases for result in _measure_case(case, url, pid, rivals=rivals)]
    report = {"machine": machine(), "results": results}
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _show(report)


def machine() -> dict[str, Any]:
    """Return what the figures depend on: processor, memory, system, versions."""
    return {
        "processor": platform.processor() or platform.machine(),
        "processors": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "load_1min": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("quantum", "numpy", "numba", "uvicorn", "litestar", "msgspec")},
        "httptools": httptools.__version__,
    }


def _measure_case(case: Case, url: str | None, pid: int | None, *, rivals: bool) -> list[dict[str, Any]]:
    """Measure Quantum and, if asked, the rivals that are installed, one after the other, each on an empty store."""
    if url is not None and pid is not None:
        return [measure(case, Server("quantum (running)", f"{url}/prometheus/api/v1/write", pid, None, durable=True))]
    starts = [_quantum, *((_prometheus, _victoria_metrics) if rivals else ())]
    results = []
    for start in starts:
        with TemporaryDirectory(prefix="quantum-bench-") as folder:
            with start(Path(folder)) as server:
                result = None if server is None else measure(case, server)
            if server is not None and result is not None:
                result["disk_bytes_per_sample"] = _disk_bytes(server.folder, case)
                results.append(result)
    return results


def measure(case: Case, server: Server) -> dict[str, Any]:
    """Send a case to a server; return its figures."""
    span_ms = STEP_MS * case.fleet.samples_each * (case.requests + WARM_UP)
    load = Load(case.fleet, SystemClock().now_ms() - span_ms)
    process = psutil.Process(server.pid)
    asyncio.run(send(server.url, [load.next_body() for _ in range(WARM_UP)], 1))
    _wait_until_quiet(process)
    bodies = [load.next_body() for _ in range(case.requests)]
    before, begun = _cpu_s(process), time.perf_counter()
    latencies = asyncio.run(send(server.url, bodies, 1))
    elapsed_s, answered = time.perf_counter() - begun, _cpu_s(process)
    _wait_until_quiet(process)
    limit = _disk_limit(bodies, server.folder)
    samples = case.fleet.rows * case.requests
    return {
        "server": server.name,
        "case": case.name,
        "durable_when_answered": server.durable,
        "samples": samples,
        "cpu_s_per_million_until_answered": _rounded((answered - before) / samples * 1e6),
        "cpu_s_per_million": _rounded((_cpu_s(process) - before) / samples * 1e6),
        "samples_per_s": round(samples / elapsed_s),
        "p50_ms": _rounded(float(np.percentile(latencies, 50)) * 1e3),
        "p99_ms": _rounded(float(np.percentile(latencies, 99)) * 1e3),
        "fdatasync_p50_ms": _rounded(float(np.percentile(limit, 50)) * 1e3),
        "p50_over_fdatasync": _rounded(float(np.percentile(latencies, 50) / np.percentile(limit, 50))),
        "rss_bytes": process.memory_info().rss,
        "sent_bytes_per_sample": _rounded(sum(map(len, bodies)) / samples),
        "disk_bytes_per_sample": None,
    }


def _rounded(figure: float) -> float:
    return float(f"{figure:.3g}")


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _wait_until_quiet(process: psutil.Process) -> None:
    """Wait until the server has done what it does after answering, for a minute at most."""
    deadline = time.perf_counter() + READY_S
    while time.perf_counter() < deadline:
        before = _cpu_s(process)
        time.sleep(QUIET_S)
        if _cpu_s(process) - before < BUSY_SHARE * QUIET_S:
            return


def _disk_limit(bodies: Sequence[bytes], folder: Path | None) -> NDArray[np.float64]:
    """Return how long it takes to make each body durable by itself, in seconds."""
    with TemporaryDirectory(prefix="quantum-bench-", dir=folder) as place:
        descriptor = os.open(Path(place) / "limit", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        taken = []
        for body in bodies:
            begun = time.perf_counter()
            os.write(descriptor, body)
            os.fdatasync(descriptor)
            taken.append(time.perf_counter() - begun)
        os.close(descriptor)
    return np.array(taken)


def _disk_bytes(folder: Path | None, case: Case) -> float | None:
    """Return what a stopped server left on disk, per sample."""
    if folder is None:
        return None
    stored = case.fleet.rows * (case.requests + WARM_UP)
    return _rounded(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / stored)


# ---- servers ----------------------------------------------------------------------------------------------------


@contextmanager
def _quantum(folder: Path) -> Iterator[Server | None]:
    """Run Quantum as a user does, without the collection of this machine's own metrics; the tenant is a new one."""
    command = [sys.executable, "-m", "quantum", "run", "--port", "0", "--data-dir", str(folder)]
    environment = {**os.environ, "QUANTUM_HOST_METRICS__ENABLED": "false", "QUANTUM_LOGS__LEVEL": "error"}
    environment["QUANTUM_STORE__TENANT"] = folder.name
    kind = load_settings().store.kind
    with _running(command, subprocess.PIPE, environment) as process:
        line = process.stdout.readline().decode() if process.stdout else ""
        addresses = [word for word in line.split() if word.startswith("http://")]
        if not addresses:
            raise CommandFailed("the server did not start: run `quantum run` to see why")
        _wait_for(int(addresses[0].rsplit(":", 1)[1]))
        stored_in = folder if kind == "sqlite" else None
        yield Server(
            f"quantum ({kind})", f"{addresses[0]}/prometheus/api/v1/write", process.pid, stored_in, durable=True
        )


@contextmanager
def _prometheus(folder: Path) -> Iterator[Server | None]:
    program, port = shutil.which("prometheus"), _free_port()
    if program is None:
        yield None
        return
    (folder / "prometheus.yml").write_text("scrape_configs: []\n")
    options = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    listen = f"--web.listen-address=127.0.0.1:{port}"
    with _running([program, *options, listen, "--web.enable-remote-write-receiver"], subprocess.DEVNULL) as process:
        _wait_for(port)
        yield Server("prometheus", f"http://127.0.0.1:{port}/api/v1/write", process.pid, folder / "data")


@contextmanager
def _victoria_metrics(folder: Path) -> Iterator[Server | None]:
    program, port = shutil.which("victoria-metrics"), _free_port()
    if program is None:
        yield None
        return
    options = [f"-storageDataPath={folder / 'data'}", f"-httpListenAddr=127.0.0.1:{port}"]
    with _running([program, *options], subprocess.DEVNULL) as process:
        _wait_for(port)
        yield Server("victoria-metrics", f"http://127.0.0.1:{port}/api/v1/write", process.pid, folder / "data")


@contextmanager
def _running(
    command: list[str], output: int, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    # the commands are ours, only ports and folders vary
    with subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL, env=environment) as process:  # noqa: S603
        try:
            yield process
        finally:
            process.terminate()
            process.wait(READY_S)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _wait_for(port: int) -> None:
    deadline = time.perf_counter() + READY_S
    while time.perf_counter() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(QUIET_S)
        else:
            return
    raise CommandFailed(f"nothing listens on port {port} after {READY_S:.0f} s")


def _show(report: dict[str, Any]) -> None:
    table = Table(title="Remote-write ingest, acknowledged after the commit")
    columns = {
        "server": "server",
        "case": "case",
        "CPU s/M": "cpu_s_per_million",
        "until answered": "cpu_s_per_million_until_answered",
        "samples/s": "samples_per_s",
        "p50 ms": "p50_ms",
        "p99 ms": "p99_ms",
        "x fdatasync": "p50_over_fdatasync",
        "bytes/sample": "disk_bytes_per_sample",
    }
    for title in (*columns, "RSS MB"):
        table.add_column(title, justify="left" if title in {"server", "case"} else "right")
    for result in report["results"]:
        table.add_row(*(str(result[key]) for key in columns.values()), str(result["rss_bytes"] >> 20))
    Console().print(table)
