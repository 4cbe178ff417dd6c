"""`quantum bench calibration`: how often what is told as once in thirty days comes where nothing happens.

Series of ten kinds are drawn, each of thirty days, and scored from their first row on. One episode of each series is
due to score "once in thirty days", so how many did is a ratio of what is seen to what is told. An episode is all rows
that score so with no more than thirty from one to the next: where neighbours are alike, odd rows come in runs, and
nobody is told of each. The rows are counted as well. Between which ratios chance leaves it is told with 95 %
confidence, from how much series differ. The default detector is measured without its patterns, which have no say in a
score.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from quantum.cli.bench_detect import tell_rows
from quantum.cli.bench_peers import Row, make_row
from quantum.cli.measuring import machine, say
from quantum.cli.servers import AsJson
from quantum.cli.stationary import KINDS, draw
from quantum.domain.detectors import robust_ensemble
from quantum.domain.detectors.rarity import APART_ROWS
from quantum.domain.detectors.robust import Robust
from quantum.domain.detectors.robust_seasonal import RobustSeasonal
from quantum.domain.scoring import DECADES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DAYS: Final = 30
SERIES: Final = 100
SEED: Final = 2026
DAY_MS: Final = 86_400_000
INTERVALS: Final = {"one-minute rows": (60_000, 1), "ten-second rows": (10_000, 2)}
"""Milliseconds, and of how many series one is drawn: those of ten seconds have six times as many rows."""
CHEAP: Final = "cheap tier"
ROWS: Final = "rows, not episodes"
CONFIDENCE: Final = 1.96
"""Standard errors to either side within which chance leaves 95 %."""


def bench_calibration(*, series: int = SERIES, seed: int = SEED, as_json: AsJson = False) -> None:
    """Measure how often "once in 30 days" comes on series on which nothing happens. Takes ten minutes.

    Args:
        series: of each kind, and half as many with rows of ten seconds; one episode of each is due.
        seed: what they are drawn from.
        as_json: print JSON.
    """
    tell_rows("calibration", measure_calibration(max(2, series), seed), as_json=as_json)


def score_without_patterns() -> Robust:
    """Return a bank that scores as the default detector does: patterns count in the evidence, not in the score."""
    return Robust(robust_ensemble.DAYS, robust_ensemble.PLAN, robust_ensemble.EVIDENCE, patterns=False)


MEASURED: Final[Mapping[str, Callable[[], Robust]]] = {"quantum": score_without_patterns, CHEAP: RobustSeasonal}


def measure_calibration(series: int, seed: int, days: int = DAYS) -> dict[str, Any]:
    """Return rows in the form of docs/performance.json, and the machine.

    Args:
        series: of each kind, two at least; of ten-second rows half as many, and two at least.
        seed: what they are drawn from.
        days: of each series, of which one episode is due.
    """
    rows = [
        _measure(
            f"once in {days} days seen by told, {of}: {kind}", kind, interval_ms, max(2, series // every), seed, days
        )
        for of, (interval_ms, every) in INTERVALS.items()
        for kind in KINDS
    ]
    return {"rows": rows, "machine": machine()}


def _measure(measure: str, kind: str, interval_ms: int, series: int, seed: int, days: int) -> Row:
    say(measure)
    a_day = DAY_MS // interval_ms
    told = {name: np.zeros((series, 2)) for name in MEASURED}
    for one in range(series):
        values = draw(kind, np.random.default_rng([seed, one, *kind.encode()]), days * a_day, a_day)
        for name, make in MEASURED.items():
            rows = rows_told(make(), values, interval_ms)
            told[name][one] = count_episodes(rows), len(rows)
    mean, chance = told["quantum"].mean(axis=0), told["quantum"][:, 0].std(ddof=1) / math.sqrt(series)
    least, most = max(0.0, mean[0] - CONFIDENCE * chance), mean[0] + CONFIDENCE * chance
    figures = {"quantum": mean[0], CHEAP: told[CHEAP][:, 0].mean(), ROWS: mean[1]}
    return make_row(measure, f"times as often, 95 %: {least:.2f} to {most:.2f}", figures)


def rows_told(bank: Robust, values: np.ndarray, interval_ms: int) -> np.ndarray:
    """Return which rows of a series are told as coming once in as many rows as it has, or less often."""
    at_ms = np.arange(len(values), dtype=np.int64) * interval_ms
    scores = bank.score_and_learn(np.zeros(len(values), np.int64), at_ms, values)
    return np.flatnonzero(scores.score >= math.log10(len(values)) / DECADES)


def count_episodes(rows: np.ndarray) -> int:
    """Return how many episodes some rows of a series are, in order: those with few rows between them are one."""
    return int((np.diff(rows, prepend=-APART_ROWS - 1) > APART_ROWS).sum())
