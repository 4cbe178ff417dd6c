"""A picture of one scored series: value and band above, score strip below, anomalies marked in both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import matplotlib as mpl
import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from quantum.domain.scoring import Scores

VALUE: Final = "#1f3a5f"
BAND: Final = "#9ec5e8"
EXPECTED: Final = "#4a86bd"
SCORE: Final = "#8a5cd1"
ANOMALY: Final = "#d1345b"
GRID: Final = "#e6e9ee"
MOST_MARKS: Final = 200
"""More anomalies than this would paint the chart red; the strongest are marked."""


def draw_scored(
    path: Path, title: str, at_ms: NDArray[np.int64], values: NDArray[np.float64], scores: Scores, threshold: float
) -> None:
    """Write a chart of a scored series as PNG (or what the suffix of the path says).

    Args:
        path: where to; an existing file is replaced.
        title: heading of the chart.
        at_ms: shape (n,).
        values: shape (n,), NaN where missing.
        scores: of the same rows.
        threshold: scores from here on are marked as anomalies.
    """
    order = np.argsort(at_ms, kind="stable")
    times = at_ms[order].astype("datetime64[ms]")
    with mpl.rc_context({"font.size": 9.5, "axes.edgecolor": "#b8bfca", "axes.labelcolor": "#444c59"}):
        figure = Figure(figsize=(12, 5.6), dpi=140, layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
        marked = _strongest(scores.score[order], threshold)
        _draw_values(above, times, values[order], scores, order, marked)
        _draw_scores(below, times, scores.score[order], threshold, marked)
        above.set_title(title, loc="left", fontsize=12, fontweight="bold", color="#222831")
        figure.savefig(path)


def _strongest(score: NDArray[np.float64], threshold: float) -> NDArray[np.int64]:
    over = np.flatnonzero(score >= threshold)
    strongest: NDArray[np.int64] = np.sort(over[np.argsort(-score[over], kind="stable")[:MOST_MARKS]])
    return strongest


def _draw_values(
    axes: Axes,
    times: NDArray[np.datetime64],
    values: NDArray[np.float64],
    scores: Scores,
    order: NDArray[np.int64],
    marked: NDArray[np.int64],
) -> None:
    lower, upper, expected = scores.lower[order], scores.upper[order], scores.expected[order]
    axes.fill_between(times, lower, upper, color=BAND, alpha=0.45, linewidth=0, label="usual")
    axes.plot(times, expected, color=EXPECTED, linewidth=0.8, label="expected")
    axes.plot(times, values, color=VALUE, linewidth=0.9, label="value")
    axes.scatter(times[marked], values[marked], s=22, color=ANOMALY, zorder=3, linewidth=0, label="anomaly")
    _frame_values(axes, values)
    axes.legend(loc="upper left", ncols=4, frameon=False, fontsize=8.5)
    _clean(axes)


def _frame_values(axes: Axes, values: NDArray[np.float64]) -> None:
    known = values[np.isfinite(values)]
    if len(known):
        low, high = float(known.min()), float(known.max())
        margin = 0.12 * (high - low) or 0.1 * max(abs(high), 1.0)
        axes.set_ylim(low - margin, high + 1.8 * margin)
    axes.set_ylabel("value")


def _draw_scores(
    axes: Axes, times: NDArray[np.datetime64], score: NDArray[np.float64], threshold: float, marked: NDArray[np.int64]
) -> None:
    axes.fill_between(times, 0.0, score, color=SCORE, alpha=0.55, linewidth=0.4, step="mid")
    axes.axhline(threshold, color=ANOMALY, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.scatter(times[marked], score[marked], s=12, color=ANOMALY, zorder=3, linewidth=0)
    axes.set_ylim(0.0, 1.05)
    axes.set_ylabel("score")
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    _clean(axes)


def _clean(axes: Axes) -> None:
    axes.grid(visible=True, color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.margins(x=0.01)
