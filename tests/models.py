"""Histories to train on, and models that were trained on them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from tests.facts import START_MS, full_match, labels

from quantum.adapters import deep_training, forest_training
from quantum.domain.detectors.deep import sizes_of
from quantum.domain.labels import NAME, LabelSet, Matcher, MatcherCompiler, MatchOp
from quantum.domain.models import SINGLE, Column, Combine, ModelKind, TrainedModel, Training, TrainingJob
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

COMPILER = MatcherCompiler(full_match)
STEP_MS = 60_000
HOSTS = tuple("abcde")
METRICS = ("cpu", "load")


def members() -> tuple[LabelSet, ...]:
    """Return two metrics of five hosts."""
    return tuple(labels(metric, host=host) for host in HOSTS for metric in METRICS)


def history(rows: int, seed: int = 1, odd: dict[tuple[int, int], float] | None = None) -> SampleBatch:
    """Return `rows` steps of all members: load follows cpu, all hosts share a rhythm; `odd` adds to (step, slot)."""
    rng = np.random.default_rng(seed)
    rhythm = np.sin(np.arange(rows) / 7.0)[:, None] * 4.0
    cpu = 50.0 + rhythm + rng.normal(0.0, 1.0, (rows, len(HOSTS)))
    load = cpu / 10.0 + rng.normal(0.0, 0.05, (rows, len(HOSTS)))
    values = np.stack([cpu, load], axis=2).reshape(rows, -1)
    for (step, slot), more in (odd or {}).items():
        values[step, slot] += more
    slots = np.tile(np.arange(values.shape[1]), rows)
    at_ms = START_MS + np.repeat(np.arange(rows), values.shape[1]) * STEP_MS
    return SampleBatch.of(slots, at_ms, values.ravel())


def job(kind: ModelKind, rows: int = 300, trees: int = 25, seed: int = 7, name: str = "night") -> TrainingJob:
    """Return a job for a model of a kind on that history."""
    batch = history(rows)
    channels = tuple(labels(metric) for metric in METRICS) if kind is ModelKind.GROUPS else ()
    model = TrainedModel(
        name=name,
        kind=kind,
        matchers=(Matcher(NAME, MatchOp.REGEX, "cpu|load"),),
        by=() if kind in SINGLE else ("host",),
        channels=channels,
        step_ms=STEP_MS,
        combine=Combine.EITHER,
    )
    columns = (("slots", batch.slots), ("at_ms", batch.at_ms), ("values", batch.values))
    samples = tuple(Column.of(*one) for one in columns)
    return TrainingJob(model=model, series=members(), samples=samples, seed=seed, trees=trees)


@cache
def trained(kind: ModelKind) -> Training:
    """Return a trained model; the training is done once."""
    return train(job(kind), lambda *_: None)


def train(wanted: TrainingJob, progress: Callable[[float, str], None]) -> Training:
    """Return what a job of any kind leaves; TensorFlow, which takes ten seconds, is left out."""
    if wanted.model.kind is ModelKind.DEEP:
        return deep_training.train(wanted, progress, random_weights)
    return forest_training.train(wanted, progress)


def random_weights(stretches: object, values: object, seed: int, progress: object) -> dict[str, NDArray[np.float32]]:
    """Return a network of eight numbers a cell that was not trained: it says something of everything."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0.0, 0.3, size).astype(np.float32) for name, size in sizes_of(8).items()}
