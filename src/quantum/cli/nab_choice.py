"""How evidence for onsets is put together, chosen on a labelled corpus; and what such a choice is worth elsewhere.

A free search over ten weights finds what suits the files that it sees. This one has little freedom, so that what it
finds carries over. A thousand candidates are drawn, with weights of 0, 1, 2 or 4 for each sign; power, cap and the
length of an episode stay as they are. A candidate's worth is its mean over the three profiles of NAB and over eleven
neighbouring thresholds, a tenth up or down, at the best place: a flat optimum counts, not a peak. The best twentieth of
the candidates is averaged, so a weight is far from the others only if it is in most of them.

The same is done with each category of files left out; that choice, with its threshold, is applied to the one left out.

>>> candidates(3).shape
(1000, 3)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.cli import CommandFailed
from quantum.cli.nab import NO_WINDOW, PROFILES, probation_rows, value_rows
from quantum.domain.detectors.onset import EVIDENCE_ROWS, Onsets, evidence_of
from quantum.domain.detectors.robust_ensemble import EVIDENCE
from quantum.domain.kernels import compiled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from quantum.cli.nab import Windows

CANDIDATES: Final = 1000
LADDER: Final = (0.0, 1.0, 2.0, 4.0)
"""Weights that a candidate may give a sign."""
SEED: Final = 1
BEST_SHARE: Final = 0.05
"""Of the candidates so many are averaged."""
LOWEST, STEP, NEIGHBOURS = 0.02, 1.02, 5
"""Thresholds: the lowest, how they grow, and how many to either side are averaged."""
LEVELS: Final = LOWEST * STEP ** np.arange(math.ceil(math.log(1.0 / LOWEST) / math.log(STEP)))
LEVELS.setflags(write=False)
FOUND_WORTH, FOUND, FALSE_WORTH = range(3)
NOT_JUDGED: Final = -2


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of all files of a corpus, one file after the other.

    Attributes:
        slots: which file, shape (n,).
        groups: which category, shape (n,).
        rarities: of each sign in decades, shape (n, signs).
        rows: how many the series had, shape (n,); 0 where a row has no rarities.
        worth: by NAB's rules, shape (n,).
        window: which one of the corpus, shape (n,); `NO_WINDOW` outside, `NOT_JUDGED` in the probation.
        windows: how many windows each category has, shape (categories,).
        categories: their names.
    """

    slots: NDArray[np.int64]
    groups: NDArray[np.int64]
    rarities: NDArray[np.float64]
    rows: NDArray[np.float64]
    worth: NDArray[np.float64]
    window: NDArray[np.int64]
    windows: NDArray[np.int64]
    categories: tuple[str, ...]


def candidates(signs: int) -> NDArray[np.float64]:
    """Return the weights of all candidates, shape (CANDIDATES, signs): always the same, none with nothing but zeros."""
    drawn = np.random.default_rng(SEED).choice(LADDER, (CANDIDATES, signs))
    drawn[~drawn.any(axis=1)] = 1.0
    return drawn


# ---- rows ----------------------------------------------------------------------------------------------------------


def gather(
    files: Mapping[str, tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]], windows: Windows
) -> Rows:
    """Return the rows of files, each with its times, rarities and rows so far; the folder of a file is its category.

    Raises:
        CommandFailed: a file has no labels.
    """
    missing = sorted(set(files) - set(windows))
    if missing:
        raise CommandFailed(f"the labels do not know {missing[0]}")
    names = sorted(files)
    categories = tuple(sorted({name.rpartition("/")[0] for name in names}))
    groups = [categories.index(name.rpartition("/")[0]) for name in names]
    worth, window, counts = [], [], np.zeros(len(categories), np.int64)
    for name, group in zip(names, groups, strict=True):
        file_worth, file_window = value_rows(files[name][0], windows[name])
        file_window[: probation_rows(len(file_window))] = NOT_JUDGED
        ids, local = np.unique(file_window, return_inverse=True)
        first = int((ids < 0).sum())
        window.append(np.where(file_window < 0, file_window, local - first + counts.sum()))
        worth.append(file_worth)
        counts[group] += len(ids) - first
    lengths = [len(one) for one in worth]
    return Rows(
        np.repeat(np.arange(len(names)), lengths),
        np.repeat(groups, lengths),
        np.concatenate([files[name][1] for name in names]),
        np.concatenate([files[name][2] for name in names]),
        np.concatenate(worth),
        np.concatenate(window),
        counts,
        categories,
    )


# ---- what a form comes to ------------------------------------------------------------------------------------------


@compiled
def _tally(
    told: NDArray[np.float64],
    groups: NDArray[np.int64],
    worth: NDArray[np.float64],
    window: NDArray[np.int64],
    reached: NDArray[np.int64],
    sums: NDArray[np.float32],
) -> None:
    """Add up for each category and threshold: worth of windows found, how many, worth of false rows.

    Args:
        told: onset scores, shape (n,).
        groups: shape (n,).
        worth: shape (n,); within a window it falls from row to row.
        window: shape (n,).
        reached: thresholds below that at which each window is found so far, 0 at first; changed.
        sums: shape (categories, thresholds, 3), 0 at first; changed.
    """
    for row in range(len(told)):
        if window[row] == NOT_JUDGED or not told[row] >= LOWEST:
            continue
        levels = min(len(LEVELS), 1 + int(math.log(told[row] / LOWEST) / math.log(STEP)))
        if window[row] == NO_WINDOW:
            sums[groups[row], levels - 1, FALSE_WORTH] += worth[row]
        else:
            for level in range(reached[window[row]], levels):
                sums[groups[row], level, FOUND_WORTH] += worth[row]
                sums[groups[row], level, FOUND] += 1.0
            reached[window[row]] = max(levels, reached[window[row]])
    for group in range(len(sums)):
        for level in range(len(LEVELS) - 2, -1, -1):
            sums[group, level, FALSE_WORTH] += sums[group, level + 1, FALSE_WORTH]


def sums_of(rows: Rows, tried: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return what weights find in each category at each threshold, shape (tried, categories, thresholds, 3).

    Args:
        rows: the corpus.
        tried: weights, shape (tried, signs).
    """
    caps = EVIDENCE.cap * np.minimum(1.0, rows.rows / EVIDENCE_ROWS)
    counted = np.minimum(rows.rarities, caps[:, None]) ** EVIDENCE.power
    sums = np.zeros((len(tried), len(rows.categories), len(LEVELS), 3), np.float32)
    for found, weights in zip(sums, tried, strict=True):
        evidence = counted @ evidence_of(weights, EVIDENCE.power, EVIDENCE.cap).weights
        told = Onsets().decide(rows.slots, evidence)
        _tally(told, rows.groups, rows.worth, rows.window, np.zeros(rows.windows.sum(), np.int64), found)
    return sums


def points_of(sums: NDArray[np.floating], windows: int) -> NDArray[np.float64]:
    """Return points by NAB's rules for so many windows, shape (..., profiles), of sums of shape (..., 3)."""
    found_worth, found, false_worth = (sums[..., part].astype(np.float64) for part in range(3))
    points = [
        100.0 * (found_worth + missed_cost * found + false_cost * false_worth) / (windows * (1.0 + missed_cost))
        for false_cost, missed_cost in PROFILES.values()
    ]
    return np.stack(points, axis=-1)


def smoothed(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return means over neighbouring thresholds, shape (..., thresholds - 2 * NEIGHBOURS, profiles)."""
    width = 2 * NEIGHBOURS + 1
    means: NDArray[np.float64] = np.lib.stride_tricks.sliding_window_view(points, width, axis=-2).mean(axis=-1)
    return means


# ---- choosing ------------------------------------------------------------------------------------------------------


def choose_weights(rows: Rows, trainings: Sequence[NDArray[np.bool_]]) -> NDArray[np.float64]:
    """Return the weights that are chosen on each of several sets of categories, in tenths, shape (trainings, signs).

    Args:
        rows: the corpus.
        trainings: masks, each of shape (categories,).
    """
    tried = candidates(rows.rarities.shape[1])
    sums, chosen = sums_of(rows, tried), []
    for training in trainings:
        points = points_of(sums[:, training].sum(axis=1), int(rows.windows[training].sum()))
        worth = smoothed(points).max(axis=1).mean(axis=1)
        best = np.argsort(-worth, kind="stable")[: round(BEST_SHARE * CANDIDATES)]
        chosen.append(np.rint(10.0 * tried[best].mean(axis=0)) / 10.0)
    return np.array(chosen)


def points_elsewhere(rows: Rows, sums: NDArray[np.float64], training: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return what the other categories add to the points of the corpus, at thresholds chosen in training.

    Args:
        rows: the corpus.
        sums: of the form that was chosen, shape (categories, thresholds, 3).
        training: mask of the categories on which the threshold of each profile is chosen, shape (categories,).

    Returns:
        Shape (profiles,).
    """
    known = smoothed(points_of(sums[training].sum(axis=0), int(rows.windows[training].sum())))
    levels = known.argmax(axis=0) + NEIGHBOURS
    other = points_of(sums[~training].sum(axis=0), int(rows.windows.sum()))
    found: NDArray[np.float64] = other[levels, np.arange(len(PROFILES))]
    return found


# ---- what is told --------------------------------------------------------------------------------------------------


def measure_choice(rows: Rows, shipped: NDArray[np.float64]) -> dict[str, object]:
    """Return the weights that are chosen on all categories, and what choosing is worth on those that it did not see.

    Points at the best threshold of all files, as NAB has it; at thresholds of the other categories; and with weights
    and thresholds of the other categories.
    """
    count = len(rows.categories)
    others = [np.arange(count) != one for one in range(count)]
    chosen = choose_weights(rows, [np.ones(count, np.bool_), *others])
    sums = sums_of(rows, np.array([shipped, *chosen])).astype(np.float64)
    found: dict[str, object] = {"weights_shipped": written(shipped), "weights_chosen_on_all": written(chosen[0])}
    for name, one in (("shipped", sums[0]), ("chosen_on_all", sums[1])):
        found |= _told(name, points_of(one.sum(axis=0), int(rows.windows.sum())).max(axis=0))
        apart = [points_elsewhere(rows, one, training) for training in others]
        found |= _told(f"{name}_threshold_of_others", np.sum(apart, axis=0))
    apart = [points_elsewhere(rows, one, training) for one, training in zip(sums[2:], others, strict=True)]
    found |= _told("weights_and_threshold_of_others", np.sum(apart, axis=0))
    without = zip(rows.categories, chosen[1:], strict=True)
    return found | {f"weights_without_{name}": written(weights) for name, weights in without}


def _told(name: str, points: NDArray[np.float64]) -> dict[str, object]:
    return {f"{name}_{profile}": round(float(one), 2) for profile, one in zip(PROFILES, points, strict=True)}


def written(weights: NDArray[np.float64]) -> str:
    """Return weights in one line."""
    return " ".join(f"{weight:.3g}" for weight in weights.tolist())
