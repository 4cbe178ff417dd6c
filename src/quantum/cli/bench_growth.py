"""`quantum bench growth`: whether a sample costs the same among many series, and after a long time.

Requests of the same size are sent to fleets of series that are known already: of one thousand to a million with
detection off, which is the same work for each, and of one thousand to a hundred thousand with the detectors that the
settings give them; and to a store that has an hour, and one that has thirty days of history.
"""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table

from quantum.adapters.memory import SystemClock
from quantum.cli.filling import REST_S
from quantum.cli.measuring import QUIET_S, cpu_s, machine, peak_bytes, rounded, rss_bytes, say, wait_until_quiet
from quantum.cli.servers import AsJson, Scale, Server, line_up
from quantum.cli.write_load import STEP_MS, Fleet, Load, send_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SERIES: Final = {False: (1000, 10_000, 100_000, 1_000_000), True: (1000, 10_000, 100_000)}
"""How many series, without detection and with it."""
ROWS_AT_ONCE: Final = 1000
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


def bench_growth(*, scale: Scale = 1.0, only: str = "", as_json: AsJson = False) -> None:
    """Measure ingest of known series: among 1,000 to a million of them, and on 1 hour and 30 days of history.

    Args:
        scale: multiplies the number of series.
        only: measure the cases whose names begin like that: `1,000,000 series`.
        as_json: print everything as JSON.
    """
    passes = round(PASSES * min(1.0, scale))
    cases: list[tuple[str, Callable[[], dict[str, Any]]]] = []
    for detects, sizes in SERIES.items():
        for size in sizes:
            series = max(10, round(size * scale))
            name = f"{series:,} series{' with detection' if detects else ''}"
            cases.append((name, partial(_measure_series, series, passes, detects=detects)))
    fewer = max(10, round(SERIES[True][0] * min(1.0, scale)))
    cases += [(one.name, partial(_measure_history, one, fewer, max(2, passes))) for one in HISTORIES]
    results = [{"case": name} | measure() for name, measure in cases if name.startswith(only)]
    report = {"machine": machine(), "results": results}
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _show(report)


@contextmanager
def _empty_server(*, detects: bool) -> Iterator[Server]:
    with ExitStack() as stack:
        asked = line_up(stack, rivals=False, own_postgres=False, without_detection=True)
        contender = asked.contenders[0 if detects else 1]
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="quantum-bench-")))
        yield stack.enter_context(contender.start(folder))


def _measure_series(series: int, most: int, *, detects: bool) -> dict[str, Any]:
    """Send a sample of each series at a time, in requests of a thousand, `most` times at most."""
    say(f"growth: {series:,} series, {'with detection' if detects else 'detection off'}")
    sizes = [(first, min(ROWS_AT_ONCE, series - first)) for first in range(0, series, ROWS_AT_ONCE)]
    passes = max(2, min(most, SAMPLES // series))
    first_ms = SystemClock().now_ms() - STEP_MS * (passes + 1)
    loads = [Load(Fleet(size, 1, first), first_ms) for first, size in sizes]
    with _empty_server(detects=detects) as server:
        wait_until_quiet([server])
        before_bytes = rss_bytes(server.pids[0])
        new = _cpu_per_million(server, loads, 1)
        known = _cpu_per_million(server, loads, passes)
        rss, peak = rss_bytes(server.pids[0]), peak_bytes(server.pids[0])
    return {
        "cpu_s_per_million": known,
        "cpu_s_per_million_new_series": new,
        "rss_bytes": rss,
        "peak_bytes": peak,
        "rss_bytes_per_series": round((rss - before_bytes) / series),
    }


def _measure_history(history: History, series: int, passes: int) -> dict[str, Any]:
    say(f"growth: {history.name}")
    steps = history.span_ms // history.step_ms
    each = max(1, min(steps, 20_000 // series))
    now_ms = SystemClock().now_ms()
    past = Load(Fleet(series, each), now_ms - history.span_ms - STEP_MS * passes, step_ms=history.step_ms)
    with _empty_server(detects=True) as server:
        send_all(server.write_url, (past.next_body() for _ in range(steps // each)))
        wait_until_quiet([server], REST_S if steps * series > SAMPLES else QUIET_S)
        known = _cpu_per_million(server, [Load(Fleet(series, 1), now_ms - STEP_MS * passes)], passes)
        rss, peak = rss_bytes(server.pids[0]), peak_bytes(server.pids[0])
    return {
        "stored_before": steps // each * each * series,
        "cpu_s_per_million": known,
        "rss_bytes": rss,
        "peak_bytes": peak,
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
    for title in ("case", "CPU s/M", "CPU s/M, new series", "RSS MB", "at most", "RSS bytes/series"):
        is_name = title == "case"
        table.add_column(title, justify="left" if is_name else "right", no_wrap=is_name)
    for result in report["results"]:
        others = (result.get(key, "") for key in ("cpu_s_per_million", "cpu_s_per_million_new_series"))
        rss = (
            *(str(result[key] >> 20) for key in ("rss_bytes", "peak_bytes")),
            str(result.get("rss_bytes_per_series", "")),
        )
        table.add_row(result["case"], *map(str, others), *rss)
    Console().print(table)
