"""`quantum bench deep`: does a deep model help? Trained on other series, it is tried beside the default detector.

Each half of NAB's categories is judged by a model that was trained on the other half alone, synthetic scenarios by one
that was trained on those of other seeds. Labels are only used to count.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.adapters.csv_files import read_series
from quantum.adapters.training_process import lacking, train_apart
from quantum.cli import CommandFailed
from quantum.cli.bench_detect import SEEDS, AsJson, Figures, _tell, _told_as, count_alarms
from quantum.cli.nab import read_windows, score_corpus
from quantum.cli.scenarios import Scenario, build_scenarios
from quantum.domain.detectors.robust_ensemble import RobustEnsemble
from quantum.domain.detectors.trained import detector_of
from quantum.domain.labels import NAME, LabelSet, MatcherCompiler
from quantum.domain.models import Column, Combine, ModelKind, TrainedModel, TrainingJob
from quantum.domain.serving import joined

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from quantum.domain.models import Training

    Found = Mapping[str, NDArray[np.float64]]

OTHER_SEEDS: Final = (4, 5, 6)
STEP_MS: Final = 60_000
SEED: Final = 1
ANY: Final = MatcherCompiler(lambda pattern: pattern.__eq__)
"""Nothing is matched here: a model is for whatever it is given."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A series and its scores by name: of the default detector, of a model alone, and of both joined in either way."""

    series: Scenario
    scores: Found


def bench_deep(*, corpus: Path, labels: Path, as_json: AsJson = False) -> None:
    """Train deep models on some series, try them on others, and count what is heard with and without them.

    Args:
        corpus: NAB's folder of CSV files.
        labels: NAB's combined_windows.json.
        as_json: print JSON.
    """
    _tell("deep", measure_deep(corpus, labels), as_json=as_json)


def measure_deep(corpus: Path, labels: Path) -> Figures:
    """Return what is heard on NAB and on scenarios, and how long the trainings took.

    Raises:
        CommandFailed: TensorFlow is not installed, or the folder holds no labelled CSV file.
    """
    if problem := lacking(ModelKind.DEEP):
        raise CommandFailed(problem)
    categories = read_categories(corpus, labels)
    halves = [[series for those in list(categories.values())[half::2] for series in those] for half in (0, 1)]
    judged = [one for half in (0, 1) for one in judge(trained_on(halves[1 - half]), halves[half])]
    others = [one for seed in OTHER_SEEDS for one in build_scenarios(seed)]
    begun = time.perf_counter()
    model = trained_on(others)
    took_s = time.perf_counter() - begun
    synthetic = judge(model, [one for seed in SEEDS for one in build_scenarios(seed)])
    return {
        "training_rows": sum(len(one.values) for one in others),
        "training_seconds": round(took_s, 1),
        **{f"training_{key}": figure for key, figure in dict(model.metrics).items()},
        **{f"nab_{name}": told for name, told in _heard(judged).items()},
        **{f"nab_scores_{name}": points for name, points in _points(judged, labels).items()},
        **{f"scenarios_{name}": told for name, told in _heard(synthetic).items()},
    }


def read_categories(corpus: Path, labels: Path) -> dict[str, list[Scenario]]:
    """Return the files of a corpus with their labelled windows, by the folder they are in; series by their path.

    Raises:
        CommandFailed: there are less than two folders with files, or a file has no labels.
    """
    windows, found = read_windows(labels), dict[str, list[Scenario]]()
    for file in sorted(corpus.rglob("*.csv")):
        name = file.relative_to(corpus).as_posix()
        if name not in windows:
            raise CommandFailed(f"the labels do not know {name}")
        read = read_series(file)
        bounds = np.searchsorted(read.at_ms, np.array(windows[name], np.int64).reshape(-1, 2))
        events = tuple((low, high + 1) for low, high in bounds.tolist())
        found.setdefault(name.partition("/")[0], []).append(Scenario(name, read.at_ms, read.values, events))
    if len(found) <= 1:
        raise CommandFailed(f"{corpus} has not two folders with .csv files, one to train on and one to try")
    return found


def trained_on(series: Sequence[Scenario]) -> Training:
    """Return a deep model of these series, trained in a process of its own.

    All are laid side by side, as if they had begun together, so that each is learnt from, calibrated and judged by.
    """
    sizes = [len(one.values) for one in series]
    slots, steps = np.repeat(np.arange(len(series)), sizes), np.concatenate([np.arange(size) for size in sizes])
    order = np.lexsort((slots, steps))
    values = np.concatenate([one.values for one in series])[order]
    columns = ("slots", slots[order]), ("at_ms", steps[order] * STEP_MS), ("values", values)
    job = TrainingJob(
        model=TrainedModel(name="deep", kind=ModelKind.DEEP, matchers=()),
        series=tuple(LabelSet.of({NAME: "series", "number": str(number)}) for number in range(len(series))),
        samples=tuple(Column.of(*column) for column in columns),
        seed=SEED,
        trees=0,
    )
    return asyncio.run(train_apart(job, lambda *_: None))


def judge(training: Training, series: Sequence[Scenario]) -> list[Judged]:
    """Return the scores of each series, with and without the model."""
    return [Judged(one, _scores(training, one)) for one in series]


def _scores(training: Training, series: Scenario) -> Found:
    rows = np.zeros(len(series.values), np.int64), series.at_ms, series.values
    detector = detector_of(training.model, 1, ANY)
    detector.meet(0, LabelSet(()))
    default, deep = RobustEnsemble().score_and_learn(*rows), detector.score_and_learn(*rows)
    both = {f"with_deep_{one.value}": joined(default, deep, one).score for one in Combine}
    return {"default": default.score, "deep_alone": deep.score, **both}


def _heard(judged: Sequence[Judged]) -> dict[str, str]:
    return {
        name: _told_as(np.sum([count_alarms(one.series, one.scores[name]) for one in judged], axis=0))
        for name in judged[0].scores
    }


def _points(judged: Sequence[Judged], labels: Path) -> dict[str, dict[str, object]]:
    windows, at_ms = read_windows(labels), {one.series.name: one.series.at_ms for one in judged}
    return {
        name: score_corpus(at_ms, {one.series.name: one.scores[name] for one in judged}, windows)
        for name in judged[0].scores
    }
