"""`quantum bench forest`: a forest's scores beside scikit-learn's, one row at a time and many."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.cli.bench_detect import AsJson, Figures, _seconds, _tell

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS: Final = 2000
CHANNELS: Final = 8
TREES: Final = 100
ROUNDS: Final = 15
CALLS: Final = 1000


def bench_forest(*, as_json: AsJson = False) -> None:
    """Measure a forest of 100 trees beside scikit-learn's own scoring of it: batch 1, batch 2000, largest difference.

    Args:
        as_json: print JSON.
    """
    _tell("forest", measure_forest(), as_json=as_json)


def measure_forest() -> Figures:
    """Return seconds a row of both, medians of interleaved rounds, and how far their scores are apart at most."""
    from sklearn.ensemble import IsolationForest  # noqa: PLC0415 - two seconds

    from quantum.adapters.forest_training import flattened  # noqa: PLC0415
    from quantum.domain.detectors.forests import forest_of, isolate, score_samples  # noqa: PLC0415

    rows = np.random.default_rng(1).normal(size=(ROWS, CHANNELS)).astype(np.float32)
    theirs = IsolationForest(n_estimators=TREES, random_state=1).fit(rows)
    ours, out = forest_of(**flattened(theirs)), np.zeros(1)
    apart = float(np.abs(theirs.score_samples(rows) - score_samples(ours, rows)).max())

    def median(*actions: Callable[[], object]) -> list[float]:
        rounds = [[_seconds(action) for action in actions] for _ in range(ROUNDS)]
        return [statistics.median(column) for column in zip(*rounds, strict=True)]

    def ours_one_by_one() -> None:
        for row in range(CALLS):
            isolate(ours, rows[row : row + 1], out)

    single, their_single, batch, their_batch = median(
        ours_one_by_one,
        lambda: theirs.score_samples(rows[:1]),
        lambda: score_samples(ours, rows),
        lambda: theirs.score_samples(rows),
    )
    return {
        "largest_difference": apart,
        "us_per_row_batch_1": single / CALLS * 1e6,
        "peer_scikit_learn_us_per_row_batch_1": their_single * 1e6,
        "ratio_batch_1": their_single / (single / CALLS),
        "us_per_row_batch_2000": batch / ROWS * 1e6,
        "peer_scikit_learn_us_per_row_batch_2000": their_batch / ROWS * 1e6,
        "ratio_batch_2000": their_batch / batch,
    }
