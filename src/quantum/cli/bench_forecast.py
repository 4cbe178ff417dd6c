"""`quantum bench forecast`: how often bands held that were said to hold so often, on a folder of CSV files.

Every forecast is tried at up to 400 moments of a file, with nothing from after the moment; a band counts when its
outcome is known. The figure is the share that held, over all files and horizons. Chances of reaching a limit
(`nearing`) are tried at every eighth moment, with limits at several distances from the newest value, on both sides.
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
from quantum.domain.nearing import AHEAD, PAST, chances

if TYPE_CHECKING:
    from numpy.typing import NDArray

NOMINALS: Final = (0.8, 0.9, 0.95)
HORIZONS: Final = np.array([1, 6, 24, 72])
CHANCES: Final = (0.5, 0.8, 0.9, 0.95)
DISTANCES: Final = (0.25, 0.5, 1.0, 2.0)
"""Of limits from the newest value, in standard deviations of the past."""
EVERY: Final = 8
FLAT: Final = 1e-9
DAY_MS: Final = 86_400_000

AsJson = Annotated[bool, Parameter(name="--json")]


def bench_forecast(*, corpus: Path, as_json: AsJson = False) -> None:
    """Measure how often the bands of forecasts hold.

    Args:
        corpus: the folder of CSV files, columns `timestamp,value`.
        as_json: print JSON.
    """
    found: dict[str, dict[str, dict[str, object]]] = measure_coverage(corpus) | measure_chances(corpus)
    if as_json:
        print(json.dumps({"bench": "forecast", "machine": machine(), **found}, indent=1))
        return
    for nominal, share in found["held"].items():
        print(f"bands that should hold {nominal}: {share['all']} did, by rows ahead {share['by_rows_ahead']}")
    for said, came in found["reached"].items():
        print(f"limits that were said to be reached with a chance of {said}: {came['share']} of {came['limits']} were")


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


def measure_chances(corpus: Path) -> dict[str, dict[str, dict[str, object]]]:
    """Return of limits that were said to be reached with at least a chance, the share that were.

    Limits that are reached already do not count, nor do moments without a whole past.

    Raises:
        CommandFailed: no file of the folder is long enough.
    """
    said, came = [np.zeros(0)], [np.zeros(0, np.bool_)]
    for path in sorted(corpus.rglob("*.csv")):
        values = read_series(path).values
        if len(values) < PAST + AHEAD:
            continue
        windows = np.lib.stride_tricks.sliding_window_view(values, PAST + AHEAD)[::EVERY]
        past, outcome = windows[:, :PAST], windows[:, -1]
        for distance in (*DISTANCES, *(-one for one in DISTANCES)):
            newest, spread = past[:, -1], past.std(axis=1)
            limit = newest + distance * spread
            is_above = distance > 0
            # every moment has a limit of its own: they are all moved to 0
            found = chances(past - limit[:, None], 0.0, is_above=is_above)
            # in a constant past a limit would be as far off as numbers are rounded
            known = np.isfinite(found) & np.isfinite(outcome) & (spread > FLAT * (1.0 + np.abs(newest)))
            said.append(found[known])
            came.append(((outcome >= limit) if is_above else (outcome <= limit))[known])
    told, happened = np.concatenate(said), np.concatenate(came)
    if not len(told):
        raise CommandFailed(f"{corpus} holds no CSV file that is long enough to try a limit on")
    return {"reached": {str(least): _reached(happened[told >= least]) for least in CHANCES}}


def _reached(happened: NDArray[np.bool_]) -> dict[str, object]:
    return {"share": rounded(float(happened.mean())) if len(happened) else None, "limits": len(happened)}


def _filled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values with every missing one as the one before; those before the first are 0."""
    places = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(len(values)), 0))
    return np.nan_to_num(values[places])


def _day_rows(at_ms: NDArray[np.int64]) -> int:
    """Return how many rows a day has; 0 if the usual interval does not divide it."""
    interval_ms = int(np.median(np.diff(at_ms))) if len(at_ms) > 1 else 0
    return DAY_MS // interval_ms if interval_ms > 0 and DAY_MS % interval_ms == 0 else 0
