"""Training: samples in, a model out. scikit-learn grows the trees; what it leaves are arrays and nothing else.

What is learnt is judged on later rows: the first three fifths of the readings train, the next fifth calibrates, and
the last one tells how rare the model's "one in a hundred" really is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from quantum.domain.detectors.bank import Bank
from quantum.domain.detectors.forests import (
    WINDOWED,
    Knots,
    calibrate,
    forest_of,
    loneliness,
    rarity,
)
from quantum.domain.detectors.trained import Frames, windows_of
from quantum.domain.errors import Rejected
from quantum.domain.models import (
    FOREST,
    Column,
    ModelKind,
    TrainedModel,
    Training,
    TrainingJob,
    check_model,
    columns_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Progress = Callable[[float, str], None]

LEAST_READINGS: Final = 300
MOST_ROWS: Final = 100_000
"""Rows that trees are grown from; each tree sees `SUBSAMPLE` of them."""
SUBSAMPLE: Final = 256
CHUNK_ROWS: Final = 20_000
LEAST_SHARE: Final = 0.8
"""A channel that is in fewer of the frames is left out."""
NOMINAL: Final = 2.0
"""Decades: how often rows are at least one in a hundred is counted on rows that the model has not seen."""
TREES_A_STEP: Final = 10


def train(job: TrainingJob, progress: Progress) -> Training:
    """Return the model that the job asks for, with its metrics; equal jobs give equal models.

    Raises:
        Rejected: `too_little_history`, or the model would be too large.
    """
    progress(0.0, "reading")
    names = {one.name: one.array() for one in job.samples}
    rows = names["slots"], names["at_ms"], names["values"]
    if job.model.kind is ModelKind.PEERS:
        readings = _peer_readings(job, *rows)
        check_count(len(readings))
        cut = len(readings) * 4 // 5
        model = with_columns(job.model, _no_trees(), calibrate(readings[:cut]))
        return finished(model, readings[cut:], len(readings), {"nodes": 0})
    if job.model.kind is ModelKind.WINDOWS:
        model, features = job.model, _windows(job, *rows)
    else:
        model, features = _frames(job, *rows)
    check_count(len(features))
    grown, calm = len(features) * 3 // 5, len(features) * 4 // 5
    trees = grow(features[:grown], job.trees, job.seed, progress)
    progress(0.95, "calibrating")
    readings = loneliness(forest_of(**trees), features[grown:])
    knots = calibrate(readings[: calm - grown])
    more = {"nodes": len(trees["feature"])}
    return finished(with_columns(model, trees, knots), readings[calm - grown :], len(features), more)


def check_count(count: int) -> None:
    """Refuse to train on less than `LEAST_READINGS`."""
    if count < LEAST_READINGS:
        raise Rejected(
            "too_little_history", f"training needs at least {LEAST_READINGS} readings, this history has {count}"
        )


def finished(model: TrainedModel, unseen: NDArray[np.float64], readings: int, more: Mapping[str, float]) -> Training:
    """Return a training that is done, its model checked.

    Args:
        model: with its columns.
        unseen: readings of rows that it was neither trained nor calibrated on.
        readings: how many there were in all.
        more: metrics of this kind of model.
    """
    odd = float((rarity(model.knots, unseen) >= NOMINAL).mean())
    metrics = {"readings": readings, "unseen": len(unseen), "one_in_a_hundred": round(odd, 6), **more}
    return Training(model=check_model(model), metrics=tuple((name, float(value)) for name, value in metrics.items()))


def with_columns(model: TrainedModel, arrays: Mapping[str, NDArray[Any]], knots: Knots) -> TrainedModel:
    """Return a model with the columns that its kind has."""
    return replace(model, columns=columns_with(model.kind, arrays, knots))


def columns_with(kind: ModelKind, arrays: Mapping[str, NDArray[Any]], knots: Knots) -> tuple[Column, ...]:
    """Return the columns of a model: the flat arrays of its forest or network, and its knots."""
    whole = {**arrays, "raw": knots.raw, "decades": knots.decades, "slope": np.array([knots.slope])}
    return tuple(Column.of(name, whole[name].astype(dtype)) for name, dtype in columns_of(kind).items())


# ---- what a model sees of the history ------------------------------------------------------------------------------


def _windows(job: TrainingJob, slots: Any, at_ms: Any, values: Any) -> NDArray[np.float32]:
    bank = Bank(WINDOWED)
    bank.grow(len(job.series))
    windows, about = windows_of(bank.records, slots, at_ms, values)
    return windows[~np.isnan(about[:, 0])]


def _seen(job: TrainingJob, slots: Any, at_ms: Any, values: Any) -> tuple[Frames, list[Any]]:
    frames = Frames(job.model, lambda _: True)
    for slot, labels in enumerate(job.series):
        frames.meet(slot, labels)
    chunks = (slice(begin, begin + CHUNK_ROWS) for begin in range(0, len(slots), CHUNK_ROWS))
    return frames, [(rows, *frames.take(slots[rows], at_ms[rows], values[rows])) for rows in chunks]


def _peer_readings(job: TrainingJob, slots: Any, at_ms: Any, values: Any) -> NDArray[np.float64]:
    frames, taken = _seen(job, slots, at_ms, values)
    readings = [np.zeros(0)]
    for rows, found, frame_of, _ in taken:
        known = np.flatnonzero(frame_of >= 0)
        readings.append(found[frame_of[known], frames.places(slots[rows][known])].astype(np.float64))
    return np.concatenate(readings)


def _frames(job: TrainingJob, slots: Any, at_ms: Any, values: Any) -> tuple[TrainedModel, NDArray[np.float32]]:
    """Return the model with the channels that are there often enough, and the frames in which all of them are."""
    _, taken = _seen(job, slots, at_ms, values)
    count = len(job.model.channels)
    found = np.concatenate([np.zeros((0, count), np.float32), *(frames[:, :count] for _, frames, _, _ in taken)])
    if not len(found):
        return job.model, found
    kept = np.flatnonzero((~np.isnan(found)).mean(axis=0) >= LEAST_SHARE)
    whole = found[:, kept]
    channels = tuple(job.model.channels[place] for place in kept.tolist())
    return replace(job.model, channels=channels), whole[~np.isnan(whole).any(axis=1)] if len(kept) else whole[:0]


# ---- trees ---------------------------------------------------------------------------------------------------------


def grow(features: NDArray[np.float32], trees: int, seed: int, progress: Progress) -> dict[str, NDArray[Any]]:
    """Return an isolation forest as arrays, grown by scikit-learn, some trees at a time."""
    progress(0.05, "loading scikit-learn")
    from sklearn.ensemble import IsolationForest  # noqa: PLC0415 - two seconds; only training needs it

    stride = -(-len(features) // MOST_ROWS)
    forest = IsolationForest(
        n_estimators=0, max_samples=min(SUBSAMPLE, len(features)), random_state=seed, warm_start=True
    )
    for wanted in [*range(TREES_A_STEP, trees, TREES_A_STEP), trees]:
        forest.set_params(n_estimators=wanted)
        forest.fit(features[::stride])
        progress(0.1 + 0.8 * wanted / trees, f"grew {wanted} of {trees} trees")
    return flattened(forest)


def flattened(forest: Any) -> dict[str, NDArray[Any]]:
    """Return a fitted scikit-learn forest as arrays, all trees one after the other.

    scikit-learn compares 32-bit readings with 64-bit thresholds; the next lower 32-bit threshold decides the same.
    """
    parts = [
        _flat_tree(one.tree_, columns)
        for one, columns in zip(forest.estimators_, forest.estimators_features_, strict=True)
    ]
    sizes = [len(part["feature"]) for part in parts]
    begins = np.cumsum([0, *sizes[:-1]])
    for part, begin in zip(parts, begins.tolist(), strict=True):
        splits = part["feature"] >= 0
        for side in ("left", "right"):
            part[side][splits] += begin
    flat = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return flat | {"roots": begins.astype(np.int32)}


def _flat_tree(tree: Any, columns: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    is_leaf = tree.children_left < 0
    single = tree.threshold.astype(np.float32)
    lower = np.where(single > tree.threshold, np.nextafter(single, np.float32(-np.inf)), single)
    return {
        "feature": np.where(is_leaf, -1, columns[np.maximum(tree.feature, 0)]).astype(np.int16),
        "threshold": np.where(is_leaf, 0.0, lower).astype(np.float32),
        "left": np.where(is_leaf, 0, tree.children_left).astype(np.int32),
        "right": np.where(is_leaf, 0, tree.children_right).astype(np.int32),
        "weight": tree.n_node_samples.astype(np.int32),
    }


def _no_trees() -> dict[str, NDArray[Any]]:
    return {name: np.zeros(0, dtype) for name, dtype in FOREST.items()}
