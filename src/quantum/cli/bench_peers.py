"""Quantum's detectors beside those of other libraries on the same rows: what they cost, and what they hear at a price.

What is heard is compared at equal false alarms: each detector, Quantum's too, gets the one threshold over all series
that is best for it with the labels known. That favours whoever has no calibrated score; it is the same for all.
"""

from __future__ import annotations

import gc
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import psutil

from quantum.cli.measuring import machine, rounded, say
from quantum.cli.peers import FIRST, LIVE_ROWS, Peer, find_peers
from quantum.cli.scenarios import Scenario, build_scenarios
from quantum.domain.detectors import robust_ensemble, robust_seasonal
from quantum.domain.detectors.robust_ensemble import RobustEnsemble
from quantum.domain.detectors.robust_seasonal import RobustSeasonal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Score = Callable[[Scenario], NDArray[np.float64]]

SEEDS: Final = (1, 2)
DAY_MS: Final = 86_400_000
STRETCH: Final = 30
"""Rows of one false alarm: one that lasts longer is one more for every such stretch."""
GRACE_ROWS: Final = 60
"""After an event nobody is blamed for so many rows, or as many as the event had."""
PRICES: Final = (0.1, 0.5)
"""False alarms of a series in a day at which detectors are compared."""
THRESHOLDS: Final = 400
SPEED_ROWS: Final = 3000
LIVE_SERIES: Final = 10_000
FULL_ROWS: Final = 1100
"""Rows after which nothing of a detector's state is empty any more."""
ROUNDS: Final = 20
WEIGHED: Final = 40
"""Models of a kind that are held in memory at once to see what one takes."""
OURS: Final[dict[str, tuple[type[RobustEnsemble | RobustSeasonal], int]]] = {
    "quantum": (RobustEnsemble, robust_ensemble.BYTES),
    "Quantum, cheap tier": (RobustSeasonal, robust_seasonal.BYTES),
}

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Point:
    """What one threshold does: false alarms of a series in a day, share of events heard, rows until heard (median)."""

    price: float
    heard: float
    rows: float


def measure_beside_peers() -> dict[str, Any]:
    """Return rows in the form of docs/performance.json, with the machine and versions.

    Raises:
        CommandFailed: the peers are not installed.
    """
    peers = find_peers()
    costs = {name: _costs_of_peer(name, peer) for name, peer in peers.items()}
    costs |= {name: _own_costs(name) for name in OURS}
    scenarios = [one for seed in SEEDS for one in build_scenarios(seed)]
    scores: dict[str, Score] = {name: lambda one, peer=peer: peer.scores(one.values) for name, peer in peers.items()}  # type: ignore[misc] # a default is not inferred
    scores |= {name: lambda one, make=make: _own_scores(make, one) for name, (make, _) in OURS.items()}  # type: ignore[misc] # as above
    curves = {}
    for name, score in scores.items():
        say(f"{name} hears {len(scenarios)} series")
        curves[name] = trade_off(scenarios, [score(one) for one in scenarios])
    versions = {name: version(name) for name in ("river", "pyod", "scikit-learn")}
    return {"rows": [*_cost_rows(costs), *_heard_rows(curves)], "machine": machine(), "peers": versions}


def _own_scores(make: type[RobustEnsemble | RobustSeasonal], one: Scenario) -> NDArray[np.float64]:
    return make().score_and_learn(np.zeros(len(one.values), np.int64), one.at_ms, one.values).score


# ---- cost ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Costs:
    """Rows a second of one series in one go; processor share of 10,000 series at 1 s; bytes of a series."""

    rows_per_s: float
    live_percent: float
    series_bytes: float


def _costs_of_peer(name: str, peer: Peer) -> Costs:
    say(f"what {name} costs")
    values = np.random.default_rng(1).normal(10.0, 1.0, SPEED_ROWS)
    peer.scores(values[: FIRST + 50])
    whole_s = _cpu_s(lambda: peer.scores(values))
    one_by_one_s = _cpu_s(peer.live(values)) / LIVE_ROWS
    # a fit is shared by the rows until the next one
    fit_s = _cpu_s(lambda: peer.live(values)) / peer.rows_a_fit if peer.rows_a_fit else 0.0
    return Costs(SPEED_ROWS / whole_s, (one_by_one_s + fit_s) * LIVE_SERIES * 100, _bytes_of(lambda: peer.live(values)))


def _own_costs(name: str) -> Costs:
    say(f"what {name} costs")
    make, size = OURS[name]
    rng, slots = np.random.default_rng(2), np.arange(LIVE_SERIES)
    values, one = rng.normal(10.0, 1.0, 200_000), np.zeros(200_000, np.int64)
    make().score_and_learn(one[:100], np.arange(100) * 1000, values[:100])
    whole_s = _cpu_s(lambda: make().score_and_learn(one, np.arange(len(values)) * 1000, values))
    bank, steps = make(), []
    for step in range(FULL_ROWS + ROUNDS):
        at_ms, now = np.full(LIVE_SERIES, step * 1000), rng.normal(10.0, 1.0, LIVE_SERIES)
        steps.append(_cpu_s(lambda at_ms=at_ms, now=now: bank.score_and_learn(slots, at_ms, now)))  # type: ignore[misc] # a default is not inferred
    return Costs(len(values) / whole_s, float(np.median(steps[FULL_ROWS:])) * 100, size)


def _cpu_s(action: Callable[[], object]) -> float:
    begun = time.process_time()
    action()
    return max(time.process_time() - begun, 1e-9)


def _bytes_of(make: Callable[[], object]) -> float:
    """Return the resident memory of a model: how much `WEIGHED` more take; NaN for what is too small."""
    kept, process = [make()], psutil.Process(os.getpid())
    gc.collect()
    before = process.memory_info().rss
    kept += [make() for _ in range(WEIGHED)]
    gc.collect()
    grown = process.memory_info().rss - before
    return grown / WEIGHED if grown > 0 else math.nan


# ---- what is heard -------------------------------------------------------------------------------------------------


def trade_off(scenarios: Sequence[Scenario], scores: Sequence[NDArray[np.float64]]) -> list[Point]:
    """Return what each of many thresholds does over all series, from the strictest on."""
    days = sum(float(one.at_ms[-1] - one.at_ms[0]) for one in scenarios) / DAY_MS
    pooled = np.sort(np.concatenate(scores))[::-1]
    ranks = np.unique(np.geomspace(1, len(pooled) // 5, THRESHOLDS).astype(np.int64)) - 1
    points = []
    for threshold in np.unique(pooled[ranks])[::-1]:
        told = [_told(one, score >= threshold) for one, score in zip(scenarios, scores, strict=True)]
        false_alarms = sum(count for count, _ in told)
        delays = np.array([delay for _, known in told for delay in known])
        heard = np.isfinite(delays)
        rows = float(np.median(delays[heard])) if heard.any() else math.inf
        points.append(Point(false_alarms / days, float(heard.mean()), rows))
    return points


def _told(one: Scenario, alarms: NDArray[np.bool_]) -> tuple[int, list[float]]:
    """Return the false alarms of a series, and for each event after how many rows it was heard (infinite: never)."""
    excused = np.zeros(len(alarms), np.bool_)
    delays = []
    for low, high in one.events:
        excused[low : high + max(GRACE_ROWS, high - low)] = True
        rows = np.flatnonzero(alarms[low:high])
        delays.append(float(rows[0] + 1) if len(rows) else math.inf)
    return len(np.unique(np.flatnonzero(alarms & ~excused) // STRETCH)), delays


def at_price(points: Sequence[Point], price: float) -> Point:
    """Return the point that hears most for at most so many false alarms; of equals the one that hears first."""
    affordable = [one for one in points if one.price <= price] or [Point(0.0, 0.0, math.inf)]
    return max(affordable, key=lambda one: (one.heard, -one.rows))


# ---- rows ----------------------------------------------------------------------------------------------------------


def make_row(measure: str, unit: str, figures: dict[str, float]) -> Row:
    """Return a row of Quantum's default detector beside the others, without those that have no figure."""
    quantum = rounded(figures["quantum"])
    rivals = {name: rounded(figure) for name, figure in figures.items() if name != "quantum" and math.isfinite(figure)}
    ratios = {name: rounded(quantum / figure) for name, figure in rivals.items() if figure}
    return {"measure": measure, "unit": unit, "quantum": quantum, "rivals": rivals, "ratios": ratios, "targets": {}}


def _cost_rows(costs: dict[str, Costs]) -> list[Row]:
    return [
        make_row(
            "one series in one go", "rows/s (more is better)", {name: one.rows_per_s for name, one in costs.items()}
        ),
        make_row(
            "10,000 series at 1 s, row by row", "% of one core", {name: one.live_percent for name, one in costs.items()}
        ),
        make_row("state of a series", "bytes", {name: one.series_bytes for name, one in costs.items()}),
    ]


def _heard_rows(curves: dict[str, list[Point]]) -> list[Row]:
    rows = []
    for price in PRICES:
        found = {name: at_price(points, price) for name, points in curves.items()}
        at = f"at {price:g} false alarms of a series in a day"
        rows += [
            make_row(
                f"events heard {at}", "% (more is better)", {name: one.heard * 100 for name, one in found.items()}
            ),
            make_row(
                f"rows until heard {at}", "rows, median (1: the first)", {name: one.rows for name, one in found.items()}
            ),
        ]
    return rows
