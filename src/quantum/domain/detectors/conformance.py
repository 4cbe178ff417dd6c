"""`check_detector`: what every detector has to do, tried out on inputs that have broken detectors before.

For the authors of detectors: hand in how to make one, and be told in a sentence what it does wrong. River's idea
(`check_estimator`), for detectors. Every detector that Quantum ships passes.

>>> from quantum.domain.detectors.robust_seasonal import RobustSeasonal
>>> check_detector(RobustSeasonal, rows=60)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from quantum.domain.detectors import Detector
    from quantum.domain.scoring import Scores

    Columns = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]

SERIES: Final = 10
INTERVAL_MS: Final = 60_000
START_MS: Final = 1_700_000_000_000
ODD: Final = (np.nan, np.inf, -np.inf, 1e308, -1e308, 0.0, 5e-324, 1.0)


class NonConforming(AssertionError):
    """A detector that does not do what `Detector` says."""


def check_detector(make: Callable[[], Detector], *, rows: int = 240, seed: int = 0) -> None:
    """Try a detector out.

    Args:
        make: returns a fresh detector that knows, if it asks for label sets, those of slots 0 to 9.
        rows: of each of the ten series; more than the detector's warm-up, so that it has opinions to be tested.
        seed: of the inputs.

    Raises:
        NonConforming: it breaks its word; the message says which and on what input.
    """
    for name, columns in inputs(rows, seed).items():
        _check_shape(name, make(), columns)
        _check_prefix(name, make, columns)
        _check_splits(name, make, columns, seed)
        _check_order(name, make, columns, seed)
    _check_warm_up(make)
    _check_late(make, rows, seed)
    _check_foreign_state(make)


def inputs(rows: int, seed: int) -> dict[str, Columns]:
    """Return inputs by name: slots, times and values of ten series, a row of each at each time."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(10.0, 1.0, (rows, SERIES))
    gaps = np.cumsum(rng.choice([1, 1, 1, 2, 500], rows))
    step = np.where(np.arange(rows)[:, None] < rows // 2, noise, noise + 100.0)
    every = np.arange(rows)
    return {
        "noise": _columns(every, noise),
        "a step": _columns(every, step),
        "constants": _columns(every, np.full((rows, SERIES), 3.0)),
        "gaps": _columns(gaps, noise),
        "values that are not finite or huge": _columns(every, rng.choice(ODD, (rows, SERIES))),
        "counts": _columns(every, rng.poisson(0.2, (rows, SERIES)).astype(np.float64)),
    }


def _columns(minutes: NDArray[np.int64], values: NDArray[np.float64]) -> Columns:
    slots = np.tile(np.arange(values.shape[1], dtype=np.int64), len(values))
    at_ms = START_MS + np.repeat(minutes.astype(np.int64), values.shape[1]) * INTERVAL_MS
    return slots, at_ms, values.ravel()


def _run(detector: Detector, columns: Columns, rows: Any = slice(None)) -> NDArray[np.float64]:
    scores = detector.score_and_learn(*(column[rows] for column in columns))
    return _stacked(scores)


def _stacked(scores: Scores) -> NDArray[np.float64]:
    return np.stack([scores.score, scores.expected, scores.lower, scores.upper])


def _same(one: NDArray[np.float64], other: NDArray[np.float64], complaint: str) -> None:
    if not np.array_equal(one, other, equal_nan=True):
        raise NonConforming(complaint)


def _check_shape(name: str, detector: Detector, columns: Columns) -> None:
    if not detector.name or detector.version < 1:
        raise NonConforming("a detector has a name and a version from 1 up")
    found = _run(detector, columns)
    if found.shape != (4, len(columns[0])) or found.dtype != np.float64:
        raise NonConforming(f"on {name}: four columns of float64 are needed, one value for each row")
    if not ((found[0] >= 0.0) & (found[0] <= 1.0)).all():
        raise NonConforming(f"on {name}: a score lies outside [0, 1]")
    known = ~np.isnan(found[1])
    if (np.isnan(found[2:]) != ~known).any() or not np.isfinite(found[1:, known]).all():
        raise NonConforming(f"on {name}: a band is neither finite nor absent")
    if (found[2, known] > found[1, known]).any() or (found[1, known] > found[3, known]).any():
        raise NonConforming(f"on {name}: what was expected lies outside its band")
    if found[0, ~known | ~np.isfinite(columns[2])].any():
        raise NonConforming(f"on {name}: a row without a band, or without a finite value, has a score")
    if detector.series_count < SERIES:
        raise NonConforming(f"on {name}: it has met {SERIES} series and has state for {detector.series_count}")


def _check_prefix(name: str, make: Callable[[], Detector], columns: Columns) -> None:
    whole = _run(make(), columns)
    _same(whole, _run(make(), columns), f"on {name}: a second run does not give the same scores")
    cut = len(columns[0]) * 2 // 3
    _same(
        whole[:, :cut],
        _run(make(), columns, slice(cut)),
        f"on {name}: the scores of a prefix are not a prefix of the scores, so a score knows the future",
    )


def _check_splits(name: str, make: Callable[[], Detector], columns: Columns, seed: int) -> None:
    count = len(columns[0])
    cuts = np.sort(np.random.default_rng(seed).integers(0, count, 6)).tolist()
    detector, parts = make(), []
    for low, high in zip([0, *cuts], [*cuts, count], strict=True):
        successor = make()
        successor.restore(detector.dump())
        detector = successor
        parts.append(_run(detector, columns, slice(low, high)))
    _same(
        np.concatenate(parts, axis=1),
        _run(make(), columns),
        f"on {name}: splitting a batch, or restoring a dump in between, changes scores",
    )


def _check_order(name: str, make: Callable[[], Detector], columns: Columns, seed: int) -> None:
    order = np.lexsort((np.random.default_rng(seed).permutation(len(columns[0])), columns[1]))
    whole = _run(make(), columns)
    _same(
        whole[:, order],
        _run(make(), columns, order),
        f"on {name}: the order of series within one time changes scores",
    )


def _check_warm_up(make: Callable[[], Detector]) -> None:
    columns = np.zeros(1, np.int64), np.full(1, START_MS), np.full(1, 7.0)
    found = _run(make(), columns)
    if found[0, 0] != 0.0 or not np.isnan(found[1:]).all():
        raise NonConforming("the first row of a series has a score or a band, though nothing is known of it")


def _check_late(make: Callable[[], Detector], rows: int, seed: int) -> None:
    columns = inputs(rows, seed)["noise"]
    detector, other = make(), make()
    half = len(columns[0]) // 2
    _run(detector, columns, slice(half))
    _run(other, columns, slice(half))
    late = _run(detector, columns, slice(half - 2 * SERIES, half))
    if late[0].any() or not np.isnan(late[1:]).all():
        raise NonConforming("late rows have a score or a band")
    _same(
        _run(detector, columns, slice(half, None)),
        _run(other, columns, slice(half, None)),
        "late rows leave a trace in later scores",
    )


def _check_foreign_state(make: Callable[[], Detector]) -> None:
    try:
        make().restore({"foreign": np.zeros(3)})
    except ValueError:
        return
    raise NonConforming("it takes a state that is not its own: restore has to raise ValueError")
