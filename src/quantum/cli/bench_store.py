"""`quantum bench store`: what mixed metrics take on disk, index included, and whether they come back as they were.

A day of series (see `mixed_metrics`) is sent in order of time, in requests of the size that Prometheus sends. Then
everybody may finish what is done later: seal, merge, compact. Quantum's samples are all read back and compared to the
bit, the rivals' are counted, and what is left on disk after a clean stop is divided by the number of samples.
"""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table

from quantum.adapters.memory import SystemClock
from quantum.application.monitoring import SEAL_AFTER_ROWS
from quantum.application.upkeep import UPKEEP_MS
from quantum.cli import CommandFailed
from quantum.cli.measuring import QUIET_S, cpu_s, machine, rounded, rss_bytes, say, wait_until_quiet
from quantum.cli.mixed_metrics import STEPS, Mixed, make_mixed
from quantum.cli.servers import SAMPLES, AsJson, OwnPostgres, Rivals, Scale, Server, line_up, merge_finally, show_all
from quantum.cli.stored import SCORING, check_exact, count_stored, stored_parts
from quantum.cli.write_load import STEP_MS, send_all

if TYPE_CHECKING:
    from collections.abc import Iterator

SERIES: Final = 1000
MARGIN_MS: Final = 3_600_000
"""So long ago the newest sample is: no server holds anything back because it may still change."""
REST_S: Final = UPKEEP_MS / 1000 + 2
"""Quantum looks every `UPKEEP_MS` whether pieces should be merged; there are none before `SEAL_AFTER_ROWS`."""


@dataclass(frozen=True, slots=True)
class Filled:
    """A server that has everything, and what that cost."""

    server: Server
    cpu_s: float
    rss_bytes: int


def bench_store(
    *, rivals: Rivals = False, own_postgres: OwnPostgres = False, scale: Scale = 1.0, as_json: AsJson = False
) -> None:
    """Measure bytes per sample on disk, index included, of a day of mixed metrics that come back bit by bit.

    Args:
        rivals: also measure `prometheus` and `victoria-metrics`, if they are installed.
        own_postgres: also measure Quantum on a PostgreSQL server that is started for it.
        scale: multiplies the number of series, which is 1000.
        as_json: print everything as JSON.
    """
    mixed = make_day(scale)
    with ExitStack() as stack:
        with filled(stack, mixed, rivals=rivals, own_postgres=own_postgres) as (entries, missing):
            results = [_checked(entry, mixed) for entry in entries]
        for entry, result in zip(entries, results, strict=True):
            result.update(_disk(stored_parts(entry.server), mixed))
    report = {"machine": machine(), "missing": missing, "samples": mixed.samples, "results": results}
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _show(report)


def make_day(scale: float) -> Mixed:
    """Return 24 hours of mixed metrics that ended an hour ago."""
    first_ms = (SystemClock().now_ms() - MARGIN_MS) // STEP_MS * STEP_MS - STEPS * STEP_MS
    return make_mixed(max(1, round(SERIES * scale)), first_ms)


@contextmanager
def filled(
    stack: ExitStack, mixed: Mixed, *, rivals: bool, own_postgres: bool
) -> Iterator[tuple[list[Filled], dict[str, str]]]:
    """Run servers that have all samples and are done with them, for the length of a `with` block; tell who is missing.

    Args:
        stack: ends what must outlive the servers: their folders and databases.
        mixed: the samples.
        rivals: whether rivals take part.
        own_postgres: whether to run a database for Quantum.
    """
    asked = line_up(stack, rivals=rivals, own_postgres=own_postgres, only=SAMPLES)
    with ExitStack() as running:
        servers = []
        for one in asked.contenders:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="quantum-bench-")))
            servers.append(running.enter_context(one.start(folder)))
        idle = [cpu_s(server.pids) for server in servers]
        for server in servers:
            say(f"sending {mixed.samples / 1e6:.2f} M samples to {server.name}")
            send_all(server.write_url, mixed.bodies())
            show_all(server)
        say("waiting until everybody is done with them")
        wait_until_quiet(servers, REST_S if mixed.samples > SEAL_AFTER_ROWS else QUIET_S)
        yield [_filled(server, before) for server, before in zip(servers, idle, strict=True)], asked.missing


def _filled(server: Server, idle_s: float) -> Filled:
    return Filled(server, cpu_s(server.pids) - idle_s, rss_bytes(server.pids[0]))


def _checked(entry: Filled, mixed: Mixed) -> dict[str, Any]:
    """Return figures of a server that has all samples; of Quantum, all of them are read back."""
    server = entry.server
    say(f"counting the samples of {server.name}")
    stored = count_stored(server, mixed)
    if stored != mixed.samples:
        raise CommandFailed(f"{server.name} has {stored} of {mixed.samples} samples")
    exact = check_exact(server, mixed) if server.is_ours else None
    merge_finally(server)
    wait_until_quiet([server])
    return {
        "server": server.name,
        "samples": stored,
        "read_back_bit_exact": exact,
        "cpu_s_per_million": rounded(entry.cpu_s / stored * 1e6),
        "rss_bytes": entry.rss_bytes,
    }


def _disk(parts: dict[str, int], mixed: Mixed) -> dict[str, Any]:
    samples = [size for name, size in parts.items() if name not in SCORING]
    return {
        "disk_bytes": parts,
        "disk_bytes_per_sample": rounded(sum(parts.values()) / mixed.samples) if parts else None,
        "disk_bytes_per_sample_without_scores": rounded(sum(samples) / mixed.samples) if parts else None,
    }


def _show(report: dict[str, Any]) -> None:
    table = Table(title=f"{report['samples']:,} samples of mixed metrics, a day at 10 s, after a clean stop")
    for title in ("server", "bytes/sample", "without scores", "read back bit by bit", "CPU s/M", "RSS MB"):
        is_name = title == "server"
        table.add_column(title, justify="left" if is_name else "right", no_wrap=is_name)
    for result in report["results"]:
        keys = ("disk_bytes_per_sample", "disk_bytes_per_sample_without_scores", "read_back_bit_exact")
        figures = (*(result[key] for key in keys), result["cpu_s_per_million"], result["rss_bytes"] >> 20)
        table.add_row(result["server"], *map(str, figures))
    Console().print(table)
