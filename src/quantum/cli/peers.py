"""Detectors of river, PyOD and scikit-learn as `quantum bench detect --peers` runs them: causal, one series at a time.

Streaming detectors see one row after the other, and score before they learn. The others learn in batches, so they are
fitted anew every `REFIT` rows to the last `HISTORY`, and score the rows until then: nothing from the future. They get
the newest `SHINGLE` rows as one point, on the scale of the rows that they were fitted to. Settings are the libraries'.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from quantum.cli import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Rows = NDArray[np.float64]
    Scorer = Callable[[Rows], Rows]

SHINGLE: Final = 8
FIRST: Final = 200
"""Rows before the first fit."""
REFIT: Final = 500
HISTORY: Final = 1000
LIVE_ROWS: Final = 200
PACKAGES: Final = {"river": "river", "pyod": "PyOD"}
ADVICE: Final = "`uv sync --inexact --group peers` in a checkout, or `pip install 'river>=0.26,<1' 'pyod>=3.6,<4'`"


class Peer(Protocol):
    """A detector to compare with."""

    def scores(self, values: Rows) -> Rows:
        """Return a score for each row of one series, shape (n,), higher is odder, from the rows up to it."""

    def live(self, values: Rows) -> Callable[[], object]:
        """Return an action that takes in and scores `LIVE_ROWS` rows one by one, after learning the values."""

    @property
    def rows_a_fit(self) -> int:
        """After how many rows it is fitted anew; 0 for one that learns row by row."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """A detector that learns row by row: `make` returns its score-then-learn function for one series."""

    make: Callable[[], Callable[[float], float]]
    rows_a_fit: int = 0

    def scores(self, values: Rows) -> Rows:
        """See Peer."""
        step = self.make()
        return np.array([step(value) for value in values.tolist()])

    def live(self, values: Rows) -> Callable[[], object]:
        """See Peer."""
        step = self.make()
        for value in values.tolist():
            step(value)
        newest = values[-LIVE_ROWS:].tolist()
        return lambda: [step(value) for value in newest]


@dataclass(frozen=True, slots=True)
class Refitted:
    """A detector that learns in batches: `fit` returns the function that scores points."""

    fit: Callable[[Rows], Scorer]
    rows_a_fit: int = REFIT

    def scores(self, values: Rows) -> Rows:
        """See Peer."""
        points, out = shingles(values), np.zeros(len(values))
        for begin in range(FIRST, len(values), REFIT):
            score = self.fitted(points[max(0, begin - HISTORY) : begin])
            out[begin : begin + REFIT] = score(points[begin : begin + REFIT])
        return out

    def live(self, values: Rows) -> Callable[[], object]:
        """See Peer."""
        points = shingles(values)
        score = self.fitted(points[-HISTORY:])
        return lambda: [score(points[row : row + 1]) for row in range(len(points) - LIVE_ROWS, len(points))]

    def fitted(self, points: Rows) -> Scorer:
        """Return what scores points, on the scale of those that it is fitted to."""
        middle, scale = points.mean(axis=0), points.std(axis=0)
        scale[scale == 0] = 1.0
        score = self.fit((points - middle) / scale)
        return lambda rows: score((rows - middle) / scale)


def shingles(values: Rows) -> Rows:
    """Return for each row the newest `SHINGLE` values, shape (n, SHINGLE); before the first value stands the first.

    >>> shingles(np.array([1.0, 2.0]))[1].tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0]
    """
    padded = np.concatenate([np.full(SHINGLE - 1, values[0]), values])
    return np.lib.stride_tricks.sliding_window_view(padded, SHINGLE).copy()


def find_peers() -> dict[str, Peer]:
    """Return the peers by name.

    Raises:
        CommandFailed: a package is not installed; the message says how to install it.
    """
    absent = [title for name, title in PACKAGES.items() if importlib.util.find_spec(name) is None]
    if absent:
        raise CommandFailed(f"{' and '.join(absent)} must be installed to be compared with: {ADVICE}")
    return {
        "river HalfSpaceTrees": Streamed(_half_space_trees),
        "river GaussianScorer": Streamed(_gaussian),
        "PyOD ECOD": Refitted(_ecod),
        "PyOD KNN": Refitted(_knn),
        "scikit-learn IsolationForest": Refitted(_isolation_forest),
    }


def _half_space_trees() -> Callable[[float], float]:
    from river import anomaly, preprocessing  # noqa: PLC0415 - half a minute, and only here

    scale, trees, newest = preprocessing.MinMaxScaler(), anomaly.HalfSpaceTrees(seed=1), [0.0] * SHINGLE

    def step(value: float) -> float:
        newest[:] = [*newest[1:], value]
        point = dict(enumerate(newest))
        scale.learn_one(point)
        scaled = scale.transform_one(point)
        score = float(trees.score_one(scaled))
        trees.learn_one(scaled)
        return score

    return step


def _gaussian() -> Callable[[float], float]:
    from river import anomaly  # noqa: PLC0415 - as above

    scorer = anomaly.GaussianScorer()

    def step(value: float) -> float:
        score = float(scorer.score_one(None, value))
        scorer.learn_one(None, value)
        return score

    return step


def _ecod(points: Rows) -> Scorer:
    from pyod.models.ecod import ECOD  # noqa: PLC0415 - as above

    return _of_pyod(ECOD(), points)


def _knn(points: Rows) -> Scorer:
    from pyod.models.knn import KNN  # noqa: PLC0415 - as above

    return _of_pyod(KNN(), points)


def _of_pyod(detector: Any, points: Rows) -> Scorer:
    detector.fit(points)
    return lambda rows: np.asarray(detector.decision_function(rows), np.float64)


def _isolation_forest(points: Rows) -> Scorer:
    from sklearn.ensemble import IsolationForest  # noqa: PLC0415 - two seconds

    forest = IsolationForest(random_state=1).fit(points)
    return lambda rows: -np.asarray(forest.score_samples(rows), np.float64)
