"""`quantum bench watching`: what many series that come every second cost the running program, stored alone and watched.

The program is started three times: it only stores, it watches with the cheap detector, and with the full one. Each gets
a past first, so that no state of a detector is still empty; then a sample of every series comes each second by the
clock, values that go on from there, and the processor time of the process is counted once what is left of the past has
been merged. What detection costs is the difference to storing.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from quantum.adapters.memory import SystemClock
from quantum.application.upkeep import UPKEEP_MS
from quantum.cli.bench_detect import tell_rows
from quantum.cli.bench_peers import FULL_ROWS, Row, make_row
from quantum.cli.measuring import cpu_s, machine, say, wait_until_quiet
from quantum.cli.servers import AsJson, Scale, Server, Store, run_quantum
from quantum.cli.write_load import Fleet, Load, send_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SERIES: Final = 10_000
SERIES_AT_ONCE: Final = 2000
ROWS_AT_ONCE: Final = 50
SECONDS: Final = 90
"""As many as three seals take with 10,000 series: the state of the cheap detector is saved once in this time."""
SETTLING: Final = UPKEEP_MS // 1000 + 5
"""Seconds that are not counted: within them upkeep merges what the past has left. It came all at once, and that took up
to a third of what storing was told to cost."""
SECOND_MS: Final = 1000
STORES: Final = {
    "stored only": Store("sqlite", detects=False),
    "cheap": Store("sqlite", cheaply=True),
    "full": Store("sqlite"),
}


def bench_watching(*, scale: Scale = 1.0, as_json: AsJson = False) -> None:
    """Measure the processor time of the running program with 10,000 series at one second, with and without detection.

    Args:
        scale: multiplies the number of series.
        as_json: print JSON.
    """
    tell_rows("watching", measure_watching(max(10, round(SERIES * scale))), as_json=as_json)


def measure_watching(
    series: int, past_rows: int = FULL_ROWS, seconds: int = SECONDS, settling: int = SETTLING
) -> dict[str, Any]:
    """Return rows in the form of docs/performance.json, and the machine.

    Args:
        series: how many.
        past_rows: rows of each before what is counted.
        seconds: that are counted.
        settling: seconds before them.
    """
    percent = {}
    for name, store in STORES.items():
        say(f"{series:,} series at one second, {name}")
        with TemporaryDirectory(prefix="quantum-bench-") as folder, run_quantum(store, Path(folder)) as server:
            percent[name] = _percent_of(server, series, past_rows, seconds, settling)
    return {"rows": _rows(series, percent), "machine": machine()}


def _percent_of(server: Server, series: int, past_rows: int, seconds: int, settling: int) -> float:
    sizes = [(first, min(SERIES_AT_ONCE, series - first)) for first in range(0, series, SERIES_AT_ONCE)]
    first_ms = SystemClock().now_ms() - past_rows * SECOND_MS
    past = [Load(Fleet(size, ROWS_AT_ONCE, first), first_ms, step_ms=SECOND_MS) for first, size in sizes]
    send_all(server.write_url, (load.next_body() for _ in range(past_rows // ROWS_AT_ONCE) for load in past))
    wait_until_quiet([server], 1.0)
    loads = [load.go_on(1, SystemClock().now_ms()) for load in past]
    send_all(server.write_url, _by_the_clock(loads, settling))
    before, begun = cpu_s(server.pids), time.perf_counter()
    send_all(server.write_url, _by_the_clock(loads, seconds))
    return (cpu_s(server.pids) - before) / (time.perf_counter() - begun) * 100


def _by_the_clock(loads: Sequence[Load], seconds: int) -> Iterator[bytes]:
    """Return what to send each second, no sooner; it ends with the last second."""
    begun = time.perf_counter()
    for second in range(seconds):
        yield from (load.next_body() for load in loads)
        time.sleep(max(0.0, begun + second + 1 - time.perf_counter()))


def _rows(series: int, percent: dict[str, float]) -> list[Row]:
    at = f"{series:,} series at 1 s in the running program"
    base = percent["stored only"]
    return [
        make_row(
            f"{at}, beyond storing",
            "% of one core",
            {"quantum": percent["full"] - base, "Quantum, cheap tier": percent["cheap"] - base},
        ),
        make_row(
            f"{at}, all of it",
            "% of one core",
            {"quantum": percent["full"], "Quantum, cheap tier": percent["cheap"], "Quantum, stored only": base},
        ),
    ]
