"""`quantum bench`: the project's own measurements, one module each."""

from __future__ import annotations

from typing import Final

import cyclopts

BENCHES: Final = {
    "ingest": "quantum.cli.bench_ingest:bench_ingest",
    "store": "quantum.cli.bench_store:bench_store",
    "query": "quantum.cli.bench_query:bench_query",
    "growth": "quantum.cli.bench_growth:bench_growth",
    "live": "quantum.cli.bench_live:bench_live",
    "lanes": "quantum.cli.bench_lanes:bench_lanes",
    "detect": "quantum.cli.bench_detect:bench_detect",
    "calibration": "quantum.cli.bench_calibration:bench_calibration",
    "watching": "quantum.cli.bench_watching:bench_watching",
    "forest": "quantum.cli.bench_forest:bench_forest",
    "deep": "quantum.cli.bench_deep:bench_deep",
    "nab": "quantum.cli.bench_detect:bench_nab",
    "forecast": "quantum.cli.bench_forecast:bench_forecast",
    "scenarios": "quantum.cli.bench_detect:bench_scenarios",
}
"""Name of each measurement and the function behind it, `module:function`."""


def build_bench() -> cyclopts.App:
    """Return the sub-command; its measurements are lazily imported."""
    app = cyclopts.App(name="bench", help="Measure this installation; --json gives the machine, versions and figures.")
    for name, target in BENCHES.items():
        app.command(target, name=name)
    return app
