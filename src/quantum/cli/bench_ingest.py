"""`quantum bench ingest`: what it costs to take samples in over HTTP, durably, with detection and without.

Real servers in processes of their own store on disk; Quantum answers after the commit. They are all running and take
turns, five times, so that whatever else the machine does meets them alike; medians are told. Times are compared with
the physical limit, measured in the same run: the same bytes written to the same disk with `fdatasync`, one at a time.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from quantum.adapters.memory import SystemClock
from quantum.cli import CommandFailed
from quantum.cli.measuring import cpu_s, machine, rounded, rss_bytes, say, wait_until_quiet
from quantum.cli.servers import LINES, SAMPLES, AsJson, OwnPostgres, Rivals, Scale, Server, line_up
from quantum.cli.stored import stored_bytes
from quantum.cli.write_load import HEADERS, LINE_HEADERS, STEP_MS, Fleet, LineLoad, Load, Sender, send_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from quantum.cli.servers import Field

WARM_UP: Final = 5
ROUNDS: Final = 5


@dataclass(frozen=True, slots=True)
class Case:
    """One measurement: a fleet, how many requests it sends in a round, and how."""

    name: str
    fleet: Fleet
    requests: int
    is_lines: bool = False

    @property
    def headers(self) -> Mapping[str, str]:
        """Of its requests."""
        return LINE_HEADERS if self.is_lines else HEADERS

    def url_of(self, server: Server) -> str:
        """Return where a server takes its requests."""
        return server.lines_url if self.is_lines else server.write_url

    def load(self, first_ms: int) -> Sender:
        """Return what makes its requests."""
        return LineLoad(self.fleet, first_ms) if self.is_lines else Load(self.fleet, first_ms)


CASES: Final = (
    Case("2000 series x 1", Fleet(2000, 1), 150),
    Case("250 series x 20", Fleet(250, 20), 100),
    Case("10,000 series x 1", Fleet(10_000, 1), 40),
    Case("Influx line, 200 lines x 10 fields", Fleet(2000, 1), 150, is_lines=True),
)


@dataclass(frozen=True, slots=True)
class Round:
    """What one turn of a server cost."""

    cpu_s: float
    cpu_answered_s: float
    elapsed_s: float
    latencies: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Entry:
    """A running server, what it is sent, and the turns that it had."""

    server: Server
    load: Sender
    rounds: list[Round] = field(default_factory=list)


def bench_ingest(
    *,
    url: str | None = None,
    pid: int | None = None,
    database_pid: int | None = None,
    rivals: Rivals = False,
    own_postgres: OwnPostgres = False,
    scale: Scale = 1.0,
    as_json: AsJson = False,
) -> None:
    """Measure ingest, remote-write and Influx line: processor time per million samples, latency, memory, disk.

    Args:
        url: address of a running Quantum to measure, instead of one started for it.
        pid: its process; needed with --url.
        database_pid: with --url, the postmaster of its database, whose processor time counts too.
        rivals: also measure `prometheus`, `victoria-metrics` and `influxd`, if they are installed.
        own_postgres: also measure Quantum on a PostgreSQL server that is started for it.
        scale: multiplies the number of requests.
        as_json: print everything as JSON.
    """
    if (url is None) != (pid is None):
        raise CommandFailed("--url and --pid belong together: the process of the server is what is measured")
    cases = [Case(case.name, case.fleet, max(2, round(case.requests * scale)), case.is_lines) for case in CASES]
    with ExitStack() as stack:
        if url is not None and pid is not None:
            pids = (pid,) if database_pid is None else (pid, database_pid)
            results, missing = [one for case in cases for one in _measure_running(case, url, pids)], {}
        else:
            asked = line_up(stack, rivals=rivals, own_postgres=own_postgres, without_detection=True)
            results, missing = [one for case in cases for one in _measure_case(case, asked)], asked.missing
    report = {"machine": machine(), "missing": missing, "results": results}
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _show(report)


def _measure_running(case: Case, url: str, pids: tuple[int, ...]) -> list[dict[str, Any]]:
    write_url, lines_url = f"{url}/prometheus/api/v1/write", f"{url}/influx/write?precision=ms"
    server = Server("quantum (running)", write_url, pids, lines_url, base=url, durable=True)
    return measure(case, [server])


def _measure_case(case: Case, asked: Field) -> list[dict[str, Any]]:
    """Measure Quantum and its rivals taking turns, each on an empty store."""
    able = LINES if case.is_lines else SAMPLES
    here = [one for one in asked.contenders if one.name.startswith("quantum") or one.name in able]
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(TemporaryDirectory(prefix="quantum-bench-"))) for _ in here]
        with ExitStack() as running:
            servers = [running.enter_context(one.start(folder)) for one, folder in zip(here, folders, strict=True)]
            results = measure(case, servers)
        stored = case.fleet.rows * (case.requests * ROUNDS + WARM_UP)
        for result, server in zip(results, servers, strict=True):
            size = stored_bytes(server)
            result["disk_bytes_per_sample"] = None if size is None else rounded(size / stored)
    return results


def measure(case: Case, servers: Sequence[Server]) -> list[dict[str, Any]]:
    """Send a case to servers that take turns; return the figures of each."""
    say(f"ingest: {case.name}: {', '.join(server.name for server in servers)}")
    span_ms = STEP_MS * case.fleet.samples_each * (case.requests * ROUNDS + WARM_UP)
    first_ms = SystemClock().now_ms() - span_ms
    entries = [Entry(server, case.load(first_ms)) for server in servers]
    for entry in entries:
        send_all(case.url_of(entry.server), [entry.load.next_body() for _ in range(WARM_UP)], case.headers)
    wait_until_quiet(servers)
    for _ in range(ROUNDS):
        for entry in entries:
            bodies = [entry.load.next_body() for _ in range(case.requests)]
            entry.rounds.append(_take_turn(case, entry.server, bodies))
    return [_figures(case, entry, bodies) for entry in entries]


def _take_turn(case: Case, server: Server, bodies: Sequence[bytes]) -> Round:
    before, begun = cpu_s(server.pids), time.perf_counter()
    latencies = send_all(case.url_of(server), bodies, case.headers)
    elapsed_s, answered = time.perf_counter() - begun, cpu_s(server.pids)
    wait_until_quiet([server])
    return Round(cpu_s(server.pids) - before, answered - before, elapsed_s, latencies)


def _figures(case: Case, entry: Entry, bodies: Sequence[bytes]) -> dict[str, Any]:
    server, rounds = entry.server, entry.rounds
    samples = case.fleet.rows * case.requests
    limit = _disk_limit(bodies, server.folder)
    p50_s, p99_s = (statistics.median(float(np.percentile(one.latencies, part)) for one in rounds) for part in (50, 99))
    return {
        "server": server.name,
        "case": case.name,
        "durable_when_answered": server.durable,
        "all_processes_counted": server.whole,
        "rounds": len(rounds),
        "samples": samples * len(rounds),
        "cpu_s_per_million_until_answered": _median_of(one.cpu_answered_s / samples * 1e6 for one in rounds),
        "cpu_s_per_million": _median_of(one.cpu_s / samples * 1e6 for one in rounds),
        "cpu_s_per_million_of_rounds": [rounded(one.cpu_s / samples * 1e6) for one in rounds],
        "samples_per_s": round(statistics.median(samples / one.elapsed_s for one in rounds)),
        "p50_ms": rounded(p50_s * 1e3),
        "p99_ms": rounded(p99_s * 1e3),
        "fdatasync_p50_ms": rounded(float(np.percentile(limit, 50)) * 1e3),
        "p50_over_fdatasync": rounded(p50_s / float(np.percentile(limit, 50))),
        "rss_bytes": rss_bytes(server.pids[0]),
        "sent_bytes_per_sample": rounded(sum(map(len, bodies)) / samples),
        "disk_bytes_per_sample": None,
    }


def _median_of(figures: Iterable[float]) -> float:
    return rounded(statistics.median(figures))


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


def _show(report: dict[str, Any]) -> None:
    table = Table(title="Ingest; Quantum acknowledges after the commit. Medians of rounds that take turns")
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
        is_name = title in {"server", "case"}
        table.add_column(title, justify="left" if is_name else "right", no_wrap=is_name)
    for result in report["results"]:
        table.add_row(*(str(result[key]) for key in columns.values()), str(result["rss_bytes"] >> 20))
    Console().print(table)
