"""`quantum bench forecast`: how often bands held that were said to hold so often, on a folder of CSV files.

Every forecast is tried at up to 400 moments of a file, with nothing from after the moment; a band counts when its
outcome is known. The figure is the share that held, over all files and horizons.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import numpy as np
from cyclopts import Parameter

from quantum.adapters.csv_files import read_series
from quantum.cli import CommandFailed
from quantum.cli.measuring import machine, rounded
from quantum.domain.forecast import forecast

if TYPE_CHECKING:
    from numpy.typing import NDArray

NOMINALS: Final = (0.8, 0.9, 0.95)
HORIZONS: Final = np.array([1, 6, 24, 72])
DAY_MS: Final = 86_400_000

AsJson = Annotated[bool, Parameter(name="--json")]


def bench_forecast(*, corpus: Path, as_json: AsJson = False) -> None:
    """Measure how often the bands of forecasts hold.

    Args:
        corpus: the folder of CSV files, columns `timestamp,value`.
        as_json: print JSON.
    """
    found = measure_coverage(corpus)
    if as_json:
        print(json.dumps({"bench": "forecast", **machine(), **found}, indent=1))
        return
    for nominal, share in found["held"].items():
        print(f"bands that should hold {nominal}: {share['all']} did, by rows ahead {share['by_rows_ahead']}")


def measure_coverage(corpus: Path) -> dict[str, dict[str, dict[str, object]]]:
    """Return the share of bands that held, for each nominal share.

    Raises:
        CommandFailed: no file of the folder is long enough.
    """
    paths = sorted(corpus.rglob("*.csv"))
    told: dict[str, dict[str, object]] = {}
    for nominal in NOMINALS:
        held, tried = np.zeros(len(HORIZONS)), np.zeros(len(HORIZONS))
        for path in paths:
            series = read_series(path)
            found = forecast(_filled(series.values), HORIZONS, _day_rows(series.at_ms), nominal)
            held, tried = held + found.held, tried + found.tried
        if not tried.all():
            raise CommandFailed(f"{corpus} holds no CSV file that is long enough to try a forecast on")
        ahead = {str(rows): rounded(share) for rows, share in zip(HORIZONS, held / tried, strict=True)}
        told[str(nominal)] = {
            "all": rounded(held.sum() / tried.sum()),
            "by_rows_ahead": ahead,
            "bands": int(tried.sum()),
        }
    return {"held": told}


def _filled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values with every missing one as the one before; those before the first are 0."""
    places = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(len(values)), 0))
    return np.nan_to_num(values[places])


def _day_rows(at_ms: NDArray[np.int64]) -> int:
    """Return how many rows a day has; 0 if the usual interval does not divide it."""
    interval_ms = int(np.median(np.diff(at_ms))) if len(at_ms) > 1 else 0
    return DAY_MS // interval_ms if interval_ms > 0 and DAY_MS % interval_ms == 0 else 0
