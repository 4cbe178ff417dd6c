"""`quantum bench detect`, `nab` and `scenarios`: what the detector costs and what it hears.

A measurement is a function that returns figures; the machine, versions and date are told beside them.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from quantum.adapters.csv_files import SeriesFile, read_series
from quantum.adapters.deep_training import WIDTH
from quantum.adapters.forest_training import with_columns
from quantum.cli import CommandFailed
from quantum.cli.detect import score_series
from quantum.cli.nab import read_windows, score_corpus
from quantum.cli.nab_choice import gather, measure_choice
from quantum.cli.scenarios import Scenario, build_scenarios, events_heard, opening_rows
from quantum.domain.detectors import robust_ensemble, robust_seasonal
from quantum.domain.detectors.deep import STRETCH, STRETCHED, sizes_of
from quantum.domain.detectors.forests import calibrate
from quantum.domain.detectors.robust_ensemble import RobustEnsemble
from quantum.domain.detectors.robust_seasonal import RobustSeasonal
from quantum.domain.detectors.signs import WARM_UP_ROWS
from quantum.domain.detectors.trained import detector_of
from quantum.domain.labels import LabelSet, MatcherCompiler
from quantum.domain.models import ModelKind, TrainedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from quantum.domain.detectors import Detector

Figures = dict[str, object]

SERIES: Final = 10_000
ROUNDS: Final = 100
LONG_ROWS: Final = 200_000
PLAIN_ROWS: Final = 2_000
GRACE_ROWS: Final = 60
EPISODE_GAP: Final = 30
SEEDS: Final = (1, 2, 3)
PLAIN_PROGRAM: Final = """
import sys, time
import numpy as np
from quantum.domain.detectors.deep import STRETCH, STRETCHED, sizes_of
from quantum.domain.detectors.forests import calibrate
from quantum.domain.detectors.robust_ensemble import RobustEnsemble
count = int(sys.argv[1])
columns = np.zeros(count, np.int64), np.arange(count) * 1000, np.random.default_rng(1).normal(10.0, 1.0, count)
begun = time.perf_counter()
RobustEnsemble().score_and_learn(*columns)
print(time.perf_counter() - begun)
"""
"""Scores rows in a process without the compiler."""


AsJson = Annotated[bool, Parameter(name="--json", negative=())]


def bench_detect(
    *, peers: Annotated[bool, Parameter(name="--peers", negative=())] = False, as_json: AsJson = False
) -> None:
    """Measure what the detector costs: rows a second, microseconds a row at 10,000 series, bytes a series.

    Args:
        peers: measure it beside river, PyOD and scikit-learn on the same rows instead, and what each hears.
        as_json: print JSON.
    """
    if not peers:
        _tell("detect", measure_detector(), as_json=as_json)
        return
    from quantum.cli.bench_peers import measure_beside_peers  # noqa: PLC0415 - psutil and more, only then

    tell_rows("detect", measure_beside_peers(), as_json=as_json)


def tell_rows(name: str, found: Mapping[str, Any], *, as_json: bool) -> None:
    """Print rows of Quantum beside others: as JSON with all that was found, or as a table."""
    if as_json:
        print(json.dumps({"bench": name, **found}, indent=1))
        return
    table = Table("measure", "unit", "quantum", "others", title=f"bench {name}")
    for row in found["rows"]:
        others = "\n".join(f"{name} {figure:g}" for name, figure in row["rivals"].items())
        table.add_row(row["measure"], row["unit"], f"{row['quantum']:g}", others)
    Console().print(table)


def bench_nab(
    *,
    corpus: Path,
    labels: Path | None = None,
    leave_out: Annotated[bool, Parameter(name="--leave-out", negative=())] = False,
    as_json: AsJson = False,
) -> None:
    """Measure rows a second over a folder of CSV files; with labels, also the scores by NAB's rules.

    Args:
        corpus: the folder of CSV files.
        labels: NAB's combined_windows.json.
        leave_out: choose how evidence is weighed anew, on all categories of files and with each left out, and tell
            what each choice is worth on the category that it did not see. Takes minutes.
        as_json: print JSON.
    """
    if not leave_out:
        _tell("nab", measure_corpus(corpus, labels), as_json=as_json)
    elif labels is None:
        raise CommandFailed("--leave-out needs --labels: without them there is nothing to choose by")
    else:
        _tell("nab", measure_leaving_out(corpus, labels), as_json=as_json)


def bench_scenarios(*, as_json: AsJson = False) -> None:
    """Count events heard and false alarms on synthetic series of every kind.

    Args:
        as_json: print JSON.
    """
    _tell("scenarios", measure_scenarios(), as_json=as_json)


def _tell(name: str, figures: Figures, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"bench": name, **_circumstances(), **figures}, indent=1))
    else:
        _print_table(name, figures)


def _circumstances() -> Figures:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),  # noqa: TID251 - the date of the report
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "numba": version("numba"),
        "quantum": version("quantum"),
    }


def _print_table(name: str, figures: Figures) -> None:
    table = Table("figure", "value", title=f"bench {name}")
    for key, value in figures.items():
        table.add_row(key, f"{value:,.3f}" if isinstance(value, float) else str(value))
    Console().print(table)


def _seconds(action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


# ---- detect --------------------------------------------------------------------------------------------------------


def measure_detector() -> Figures:
    """Return the cost of the detector: one long series, 10,000 series row by row, and two peers in the same run."""
    values = np.random.default_rng(1).normal(10.0, 1.0, LONG_ROWS)
    _score_long(values[:100])
    long_s = min(_seconds(lambda: _score_long(values)) for _ in range(3))
    rounds, cheap = _seconds_of_rounds(RobustEnsemble), _seconds_of_rounds(RobustSeasonal)
    deep = _seconds_of_rounds(_deep_detector)[STRETCH - WARM_UP_ROWS :]
    states = np.ones(SERIES * robust_ensemble.BYTES, np.uint8)
    copy_s = min(_seconds(states.copy) for _ in range(5))
    return {
        "rows_per_s_one_series": round(LONG_ROWS / long_s),
        "us_per_row_10000_series_median": statistics.median(rounds) / SERIES * 1e6,
        "us_per_row_10000_series_worst": max(rounds) / SERIES * 1e6,
        "us_per_row_10000_series_cheap_median": statistics.median(cheap) / SERIES * 1e6,
        "us_per_row_10000_series_deep_model_median": statistics.median(deep) / SERIES * 1e6,
        "bytes_per_series": robust_ensemble.BYTES,
        "bytes_per_series_cheap": robust_seasonal.BYTES,
        "bytes_per_series_deep_model": STRETCHED.itemsize,
        "peer_numpy_copy_of_the_state_us_per_series": copy_s / SERIES * 1e6,
        "peer_same_code_not_compiled_rows_per_s": round(PLAIN_ROWS / _seconds_of_plain()),
    }


def _score_long(values: NDArray[np.float64]) -> None:
    RobustEnsemble().score_and_learn(np.zeros(len(values), np.int64), np.arange(len(values)) * 1000, values)


def _deep_detector() -> Detector:
    """Return a deep model's detector that knows all series; it costs the same whatever its weights are."""
    rng = np.random.default_rng(3)
    weights = {name: rng.normal(0.0, 0.1, size) for name, size in sizes_of(WIDTH).items()}
    blank = TrainedModel(name="deep", kind=ModelKind.DEEP, matchers=())
    model = with_columns(blank, weights, calibrate(np.abs(rng.normal(size=1000))))
    detector = detector_of(model, 1, MatcherCompiler(lambda pattern: pattern.__eq__))
    for slot in range(SERIES):
        detector.meet(slot, LabelSet(()))
    return detector


def _seconds_of_rounds(make: Callable[[], Detector]) -> list[float]:
    rng, bank, slots = np.random.default_rng(2), make(), np.arange(SERIES)
    seconds = []
    for step in range(ROUNDS):
        at_ms, values = np.full(SERIES, step * 60_000), rng.normal(10.0, 1.0, SERIES)
        begun = time.perf_counter()
        bank.score_and_learn(slots, at_ms, values)
        seconds.append(time.perf_counter() - begun)
    return seconds[WARM_UP_ROWS:]


def _seconds_of_plain() -> float:
    command = [sys.executable, "-c", PLAIN_PROGRAM, str(PLAIN_ROWS)]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    told = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)  # noqa: S603 - ourselves
    return float(told.stdout)


# ---- nab -----------------------------------------------------------------------------------------------------------


def measure_corpus(corpus: Path, labels: Path | None) -> Figures:
    """Return rows a second over a folder of CSV files and, with labels, their scores by NAB's rules.

    Raises:
        CommandFailed: the folder holds no CSV file.
    """
    windows = read_windows(labels) if labels is not None else {}
    read = _read_corpus(corpus)
    begun = time.perf_counter()
    told = {name: score_series(series).told for name, series in read.items()}
    seconds = time.perf_counter() - begun
    rows = sum(len(series.values) for series in read.values())
    figures: Figures = {"files": len(read), "rows": rows, "rows_per_s": round(rows / seconds)}
    if labels is not None:
        figures |= score_corpus({name: series.at_ms for name, series in read.items()}, told, windows)
    return figures


def _read_corpus(corpus: Path) -> dict[str, SeriesFile]:
    files = sorted(corpus.rglob("*.csv"))
    if not files:
        raise CommandFailed(f"{corpus} is no folder with .csv files")
    return {file.relative_to(corpus).as_posix(): read_series(file) for file in files}


def measure_leaving_out(corpus: Path, labels: Path) -> Figures:
    """Return what choosing the weights of evidence on the other categories is worth on each; see `nab_choice.py`.

    Raises:
        CommandFailed: the folder holds no CSV file, or a file has no labels.
    """
    files = {}
    for name, series in _read_corpus(corpus).items():
        slots = np.zeros(len(series.values), np.int64)
        _, rarities, rows = RobustEnsemble().score_with_rarities(slots, series.at_ms, series.values)
        files[name] = series.at_ms, rarities[:, : len(robust_ensemble.EVIDENCE.weights)], rows
    return measure_choice(gather(files, read_windows(labels)), robust_ensemble.EVIDENCE.weights)


# ---- scenarios -----------------------------------------------------------------------------------------------------


def measure_scenarios() -> Figures:
    """Return per scenario the events in which an anomaly opens, and other anomalies in 10,000 rows."""
    runs = [build_scenarios(seed) for seed in SEEDS]
    figures: Figures = {}
    totals = np.zeros(4)
    for group in zip(*runs, strict=True):
        counted = np.sum([_count_alarms(scenario) for scenario in group], axis=0)
        totals += counted
        figures[group[0].name] = _told_as(counted)
    return figures | {"all": _told_as(totals)}


def _told_as(counted: NDArray[np.float64]) -> str:
    heard, events, false_alarms, rows = counted.tolist()
    return f"{heard:.0f}/{events:.0f} heard, {1e4 * false_alarms / rows:.2f} false alarms in 10,000 rows"


def _count_alarms(scenario: Scenario) -> NDArray[np.float64]:
    slots = np.zeros(len(scenario.values), np.int64)
    return count_alarms(scenario, RobustEnsemble().score_and_learn(slots, scenario.at_ms, scenario.values).score)


def count_alarms(scenario: Scenario, score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return by the rule of the live system: events heard, events, anomalies that open elsewhere, and rows."""
    excused = np.zeros(len(score), np.bool_)
    for low, high in scenario.events:
        excused[low : high + max(GRACE_ROWS, high - low)] = True
    opened = opening_rows(scenario.at_ms, score)
    false_rows = opened[~excused[opened]]
    false_alarms = int((np.diff(false_rows, prepend=-EPISODE_GAP - 1) > EPISODE_GAP).sum())
    heard = sum(events_heard(scenario, score))
    return np.array([heard, len(scenario.events), false_alarms, len(score)], np.float64)
