"""`quantum bench deep`: does a deep model help? Trained on other series, it is tried beside the default detector.

Each half of NAB's categories is judged by a model that was trained on the other half alone, synthetic scenarios by one
that was trained on those of other seeds. Labels are only used to count.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from quantum.adapters.csv_files import read_series
from quantum.adapters.training_process import lacking, train_apart
from quantum.cli import CommandFailed
from quantum.cli.bench_detect import SEEDS, AsJson, tell_rows
from quantum.cli.bench_peers import PRICES, Row, at_price, make_row, trade_off
from quantum.cli.measuring import machine, say
from quantum.cli.nab import PROFILES, read_windows, score_corpus
from quantum.cli.scenarios import Scenario, build_scenarios
from quantum.domain.detectors.bank import Bank
from quantum.domain.detectors.deep import STRETCHED, forecasts, readings_of
from quantum.domain.detectors.rarity import Plan, judge_rows, rarity_state
from quantum.domain.detectors.robust_ensemble import RobustEnsemble
from quantum.domain.detectors.signs import MEASURED
from quantum.domain.detectors.trained import detector_of, stretches_of
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
    """A series and its scores by name: of the default detector, of a model alone, and of both joined in some ways."""

    series: Scenario
    scores: Found


def bench_deep(*, corpus: Path, labels: Path, as_json: AsJson = False) -> None:
    """Train deep models on some series, try them on others, and count what is heard with and without them.

    Args:
        corpus: NAB's folder of CSV files.
        labels: NAB's combined_windows.json.
        as_json: print JSON.
    """
    tell_rows("deep", measure_deep(corpus, labels), as_json=as_json)


def measure_deep(corpus: Path, labels: Path) -> dict[str, Any]:
    """Return rows of the default detector beside what deep models make of it, and what the trainings said.

    Raises:
        CommandFailed: TensorFlow is not installed, or the folder holds no labelled CSV file.
    """
    if problem := lacking(ModelKind.DEEP):
        raise CommandFailed(problem)
    categories = list(read_categories(corpus, labels).values())
    halves = [[series for those in categories[half::2] for series in those] for half in (0, 1)]
    said: dict[str, dict[str, float]] = {}
    nab: list[Judged] = []
    for half, name in enumerate(("NAB, first half", "NAB, second half")):
        training = _told_training(name, halves[1 - half], said)
        nab += judge(training, halves[half])
    others = [one for seed in OTHER_SEEDS for one in build_scenarios(seed)]
    synthetic = judge(
        _told_training("scenarios", others, said), [one for seed in SEEDS for one in build_scenarios(seed)]
    )
    rows = [*heard_rows("NAB", nab), *point_rows(nab, labels), *heard_rows("scenarios", synthetic)]
    return {"rows": rows, "trainings": said, "machine": machine()}


def _told_training(name: str, series: Sequence[Scenario], said: dict[str, dict[str, float]]) -> Training:
    """Return a model for what has this name, trained on other series; note what it says of itself."""
    rows = sum(len(one.values) for one in series)
    say(f"a deep model for {name} is trained on {rows} rows of {len(series)} other series")
    begun = time.perf_counter()
    training = trained_on(series)
    said[name] = {"rows": rows, "seconds": round(time.perf_counter() - begun, 1), **dict(training.metrics)}
    return training


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
    own = by_own_past(_readings(training, series))
    return {
        "quantum": default.score,
        "deep alone": deep.score,
        **{f"with deep, {one.value}": joined(default, deep, one).score for one in Combine},
        "deep alone, by own past": own,
        "with deep, either, by own past": np.maximum(default.score, own),
    }


def _readings(training: Training, series: Scenario) -> NDArray[np.float64]:
    """Return how far each row is from what the network says, not calibrated; NaN where it says nothing."""
    state = Bank(STRETCHED)
    state.grow(1)
    slots = np.zeros(len(series.values), np.int64)
    stretches, about = stretches_of(state.records, slots, series.at_ms, series.values)
    known, found = np.flatnonzero(~np.isnan(about[:, 0])), np.full(len(slots), np.nan)
    found[known] = readings_of(forecasts(training.model.network, stretches[known]), about[known, 2])
    return found


def by_own_past(readings: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return scores of readings by how rare they are in the past of the same series, as the detectors' signs are told.

    A model's own scores say how rare its readings are among those of all series that it was trained on.
    """
    slots, taken = np.zeros(len(readings), np.int64), np.where(np.isnan(readings), 0, MEASURED).astype(np.uint8)
    out, plan = np.zeros((len(readings), 2)), Plan(*(np.ones(1) for _ in Plan._fields))
    signs, whole = np.nan_to_num(readings)[:, None], np.ones(len(slots))
    judge_rows(np.zeros(1, rarity_state(1)), slots, taken, signs, whole, plan, out, False)
    return out[:, 0]


def heard_rows(corpus: str, judged: Sequence[Judged]) -> list[Row]:
    """Return how many events are heard at equal false alarms: each way of scoring gets the best threshold for it."""
    series = [one.series for one in judged]
    names = list(judged[0].scores)
    curves = {name: trade_off(series, [one.scores[name] for one in judged]) for name in names}
    return [
        make_row(
            f"{corpus}: events heard at {price:g} false alarms of a series in a day",
            "% (more is better)",
            {name: at_price(curves[name], price).heard * 100 for name in names},
        )
        for price in PRICES
    ]


def point_rows(judged: Sequence[Judged], labels: Path) -> list[Row]:
    """Return the scores by NAB's rules, out of what the live system scores."""
    windows, at_ms = read_windows(labels), {one.series.name: one.series.at_ms for one in judged}
    points = {
        name: score_corpus(at_ms, {one.series.name: one.scores[name] for one in judged}, windows)
        for name in judged[0].scores
    }
    return [
        make_row(
            f"NAB v1.1 out of the score, {profile.replace('_', ' ')}",
            "points (more is better)",
            {name: float(str(found[profile])) for name, found in points.items()},
        )
        for profile in PROFILES
    ]
