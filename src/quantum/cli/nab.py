"""Scores of a labelled corpus by the rules of the Numenta Anomaly Benchmark (arXiv:1510.03336).

A window of the labels earns its best detected row, early rows more; it costs when no row in it is detected. A detected
row outside costs, the more the farther it is behind the last window. The first 15 % of a file, at most 750 rows, do
not count. One threshold for all files, the best for each profile. 0 is a detector that finds nothing, 100 one that
finds every window at its first row.

>>> round(_sigmoid(-1.0), 3), round(_sigmoid(0.0), 3)
(0.987, 0.0)
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.adapters.csv_files import milliseconds
from quantum.cli import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Windows = Mapping[str, Sequence[tuple[int, int]]]

PROFILES: Final = {"standard": (0.11, 1.0), "reward_low_fp": (0.22, 1.0), "reward_low_fn": (0.11, 2.0)}
"""Cost of a false row and of a missed window, beside 1 for a found one."""
PROBATION: Final = 0.15
PROBATION_ROWS: Final = 750
NO_WINDOW: Final = -1


def read_windows(path: Path) -> dict[str, list[tuple[int, int]]]:
    """Return the labelled windows of each file as inclusive pairs of Unix milliseconds.

    Raises:
        CommandFailed: the file is not such a JSON object.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return {name: [(milliseconds(low), milliseconds(high)) for low, high in pairs] for name, pairs in raw.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise CommandFailed(f"{path} holds no windows in NAB's form: {error}") from error


def score_corpus(
    at_ms: Mapping[str, NDArray[np.int64]], told: Mapping[str, NDArray[np.float64]], windows: Windows
) -> dict[str, object]:
    """Return the score of each profile, rounded to two places.

    Raises:
        CommandFailed: a file has no labels, or no window counts.
    """
    missing = sorted(set(at_ms) - set(windows))
    if missing:
        raise CommandFailed(f"the labels do not know {missing[0]}")
    scores, worth, window = [], [], []
    count = 0
    for name in sorted(at_ms):
        file_worth, file_window = value_rows(at_ms[name], windows[name])
        live = np.arange(len(file_worth)) >= probation_rows(len(file_worth))
        ids, local = np.unique(file_window[live], return_inverse=True)
        offset = count - int(NO_WINDOW in ids)
        window.append(np.where(file_window[live] == NO_WINDOW, NO_WINDOW, local + offset))
        count = offset + len(ids)
        scores.append(np.nan_to_num(told[name][live]))
        worth.append(file_worth[live])
    if count == 0:
        raise CommandFailed("no window of the labels lies behind the probation of its file")
    columns = np.concatenate(scores), np.concatenate(worth), np.concatenate(window)
    return {profile: round(_best(*columns, count, *costs), 2) for profile, costs in PROFILES.items()}


def _sigmoid(distance: float) -> float:
    return float(2.0 / (1.0 + np.exp(5.0 * distance)) - 1.0)


def probation_rows(rows: int) -> int:
    """Return how many rows at the beginning of a file of so many rows do not count."""
    return min(int(PROBATION * rows), PROBATION_ROWS)


def value_rows(
    at_ms: NDArray[np.int64], windows: Sequence[tuple[int, int]]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return what each row of a file is worth if it is detected, and in which of the windows it lies, both shape (n,).

    Raises:
        CommandFailed: a window begins or ends at no row.
    """
    worth, window = np.full(len(at_ms), -1.0), np.full(len(at_ms), NO_WINDOW)
    bounds = []
    for low, high in windows:
        first, last = np.flatnonzero(at_ms == low), np.flatnonzero(at_ms == high)
        if not len(first) or not len(last):
            raise CommandFailed(f"a window of the labels ({low} to {high}) begins or ends at no row")
        bounds.append((int(first[0]), int(last[0])))
    for number, (left, right) in enumerate(bounds):
        width = right - left + 1
        until = bounds[number + 1][0] if number + 1 < len(bounds) else len(at_ms)
        inside = np.arange(left, right + 1)
        worth[inside] = [_sigmoid(-(right - row + 1) / width) / _sigmoid(-1.0) for row in inside]
        window[inside] = number
        for row in range(right + 1, until):
            distance = (row - right) / max(width - 1.0, 1.0)
            worth[row] = -1.0 if distance > 3.0 else _sigmoid(distance)
    return worth, window


def _best(
    scores: NDArray[np.float64],
    worth: NDArray[np.float64],
    window: NDArray[np.int64],
    count: int,
    false_cost: float,
    missed_cost: float,
) -> float:
    earned = np.full(count, -missed_cost)
    total = best = float(earned.sum())
    order = np.argsort(-scores, kind="stable")
    for place, row in enumerate(order.tolist()):
        number = int(window[row])
        if number == NO_WINDOW:
            total += float(worth[row]) * false_cost
        elif worth[row] > earned[number]:
            total += float(worth[row] - earned[number])
            earned[number] = worth[row]
        is_last_of_its_score = place + 1 == len(order) or scores[order[place + 1]] != scores[row]
        if is_last_of_its_score:
            best = max(best, total)
    return 100.0 * (best + missed_cost * count) / (count + missed_cost * count)
