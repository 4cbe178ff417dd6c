"""`quantum bench growth`: whether a sample costs the same among many series, and after a long time.

The same number of samples is sent to fleets of one thousand, ten thousand and a hundred thousand series that are
known already, and to a store that has an hour, and one that has thirty days of history.
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
from quantum.cli.filling import REST_S
from quantum.cli.measuring import QUIET_S, cpu_s, machine, rounded, rss_bytes, say, wait_until_quiet
from quantum.cli.servers import AsJson, Scale, Server, line_up
from quantum.cli.write_load import STEP_MS, Fleet, Load, send_all

if TYPE_CHECKING:
    from collections.abc import Iterator

SERIES: Final = (1000, 10_000, 100_000)
ROWS_AT_ONCE: Final = 2000
SAMPLES: Final = 400_000
PASSES: Final = 400
"""So many samples are measured, at most `PASSES` and at least two of each series."""
HOUR_MS: Final = 3_600_000
MARGIN_MS: Final = 3 * HOUR_MS
"""Samples may be 30 days old when they come; what is measured comes after them."""


@dataclass(frozen=True, slots=True)
class History:
    """What is stored before: a span of time in which a thousand series have a sample every `step_ms`."""

    name: str
    span_ms: int
    step_ms: int


HISTORIES: Final = (
    History("1 hour stored", HOUR_MS, STEP_MS),
    History("30 days stored", 30 * 24 * HOUR_MS - MARGIN_MS, 900_000),
)


def bench_growth(*, scale: Scale = 1.0, as_json: AsJson = False) -> None:
    """Measure ingest of known series: among 1,000, 10,000 and 100,000 of them, and on 1 hour and 30 days of history.

    Args:
        scale: multiplies the number of series; 10 goes up to a million.
        as_json: print everything as JSON.
    """
    passes = round(PASSES * min(1.0, scale))
    results = [_measure_series(max(10, round(series * scale)), passes) for series in SERIES]
    fewer = max(10, round(SERIES[0] * min(1.0, scale)))
    results += [_measure_history(history, fewer, max(2, passes)) for history in HISTORIES]
    report = {"machine": machine(), "results": results}
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _show(report)


@contextmanager
def _empty_server() -> Iterator[Server]:
    with ExitStack() as stack:
        [contender] = line_up(stack, rivals=False, own_postgres=False).contenders
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="quantum-bench-")))
        yield stack.enter_context(contender.start(folder))


def _measure_series(series: int, most: int) -> dict[str, Any]:
    """Send a sample of each series at a time, in requests of two thousand, `most` times at most."""
    say(f"growth: {series:,} series")
    sizes = [(first, min(ROWS_AT_ONCE, series - first)) for first in range(0, series, ROWS_AT_ONCE)]
    passes = max(2, min(most, SAMPLES // series))
    first_ms = SystemClock().now_ms() - STEP_MS * (passes + 1)
    loads = [Load(Fleet(size, 1, first), first_ms) for first, size in sizes]
    with _empty_server() as server:
        wait_until_quiet([server])
        before_bytes = rss_bytes(server.pids[0])
        new = _cpu_per_million(server, loads, 1)
        known = _cpu_per_million(server, loads, passes)
        rss = rss_bytes(server.pids[0])
    return {
        "case": f"{series:,} series",
        "cpu_s_per_million": known,
        "cpu_s_per_million_new_series": new,
        "rss_bytes": rss,
        "rss_bytes_per_series": round((rss - before_bytes) / series),
    }


def _measure_history(history: History, series: int, passes: int) -> dict[str, Any]:
    say(f"growth: {history.name}")
    steps = history.span_ms // history.step_ms
    each = max(1, min(steps, 20_000 // series))
    now_ms = SystemClock().now_ms()
    past = Load(Fleet(series, each), now_ms - history.span_ms - STEP_MS * passes, step_ms=history.step_ms)
    with _empty_server() as server:
        send_all(server.write_url, (past.next_body() for _ in range(steps // each)))
        wait_until_quiet([server], REST_S if steps * series > SAMPLES else QUIET_S)
        known = _cpu_per_million(server, [Load(Fleet(series, 1), now_ms - STEP_MS * passes)], passes)
        rss = rss_bytes(server.pids[0])
    return {
        "case": history.name,
        "stored_before": steps // each * each * series,
        "cpu_s_per_million": known,
        "rss_bytes": rss,
    }


def _cpu_per_million(server: Server, loads: list[Load], passes: int) -> float:
    """Send every load `passes` times, in turns; return the seconds of processor time per million samples."""
    rows = passes * sum(load.fleet.rows for load in loads)
    before = cpu_s(server.pids)
    send_all(server.write_url, (load.next_body() for _ in range(passes) for load in loads))
    wait_until_quiet([server])
    return rounded((cpu_s(server.pids) - before) / rows * 1e6)


def _show(report: dict[str, Any]) -> None:
    table = Table(title="Remote-write ingest as an installation grows")
    for title in ("case", "CPU s/M", "CPU s/M, new series", "RSS MB", "RSS bytes/series"):
        is_name = title == "case"
        table.add_column(title, justify="left" if is_name else "right", no_wrap=is_name)
    for result in report["results"]:
        others = (result.get(key, "") for key in ("cpu_s_per_million", "cpu_s_per_million_new_series"))
        rss = str(result["rss_bytes"] >> 20), str(result.get("rss_bytes_per_series", ""))
        table.add_row(result["case"], *map(str, others), *rss)
    Console().print(table)
