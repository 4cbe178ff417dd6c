"""`quantum detect`: score CSV files with the detector of the live system, in one causal pass.

`anomaly_score` is the onset score: the row where something new begins stands out, the rows of the same episode are
damped (see `quantum.domain.detectors.onset`). Detectors of other packages and models have no evidence of onsets: theirs
is the score itself. The chart and the summary show the detector's score itself.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import numpy as np
from cyclopts import Parameter
from rich.console import Console
from rich.progress import track

from quantum.adapters.csv_files import BadFile, SeriesFile, read_series, write_scored
from quantum.adapters.http.model_files import read_model_file
from quantum.adapters.plugins import find_detector, installed_detectors
from quantum.cli import CommandFailed
from quantum.domain.detectors import Detector
from quantum.domain.detectors.onset import Onsets
from quantum.domain.detectors.robust_ensemble import RobustEnsemble
from quantum.domain.detectors.robust_seasonal import RobustSeasonal
from quantum.domain.detectors.trained import detector_of
from quantum.domain.errors import Rejected, Unavailable
from quantum.domain.labels import LabelSet, MatcherCompiler
from quantum.domain.models import SINGLE, TrainedModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quantum.domain.scoring import Scores

MARK_FROM: Final = 0.4
"""Scores from here on are marked in the chart: the live system's anomaly threshold."""
TOP: Final = 10
"""How many anomalies the summary names."""
DETECTORS: Final[dict[str, type[RobustEnsemble | RobustSeasonal]]] = {
    "robust-ensemble": RobustEnsemble,
    "robust-seasonal": RobustSeasonal,
}
"""The live system's detectors: of the tier full, and of the tier cheap."""
MODEL_SUFFIX: Final = ".json"


def check_detector_name(_: object, name: str) -> None:
    """Refuse a name of no detector that is shipped or installed; a file is looked into later."""
    if name not in (*DETECTORS, *installed_detectors()) and not name.endswith(MODEL_SUFFIX):
        known = ", ".join((*DETECTORS, *installed_detectors()))
        raise ValueError(f"there is no detector named {name!r}: there are {known}, and files of models (*.json)")


DetectorName = Annotated[str, Parameter(validator=check_detector_name)]


@dataclass(frozen=True, slots=True)
class Job:
    """One file to score and where the result goes; None is standard output."""

    source: Path
    target: Path | None


@dataclass(frozen=True, slots=True)
class Scored:
    """One scored file: what was read, the onset score of each row (NaN: no value), and the detector's scores."""

    series: SeriesFile
    told: NDArray[np.float64]
    scores: Scores


def detect(
    inputs: Annotated[list[Path], Parameter(name="INPUT", negative=())],
    /,
    *,
    output: Path | None = None,
    plot: Path | None = None,
    detector: DetectorName = "robust-ensemble",
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Score CSV files (columns timestamp,value) or folders of them: one causal pass, nothing from the future.

    Args:
        inputs: CSV files or folders; a folder gives the same tree under --output.
        output: the scored file, or the folder for several; without it a single file goes to standard output.
        plot: draw a chart of a single file here, as PNG.
        detector: which detector scores: robust-ensemble (the default one), robust-seasonal (the cheap one that many
            series get at once), one of another package, or the file of a model of single series
            (window-forest, deep-forecaster).
        as_json: print a summary as JSON (a single file then needs --output to be written).
    """
    jobs, make = plan_jobs(inputs, output), maker_of(detector)
    if plot is not None and len(jobs) > 1:
        raise CommandFailed("--plot draws one series: give a single file")
    begun, done, failed = time.perf_counter(), list[tuple[Job, Scored]](), 0
    console = Console(stderr=True)
    for job in track(jobs, "scoring", console=console, disable=not console.is_terminal or len(jobs) == 1):
        try:
            scored = score_series(read_series(job.source), make)
            _write(job, scored, is_quiet=as_json)
        except (BadFile, OSError) as error:
            failed += 1
            print(f"quantum: {error}", file=sys.stderr)
        else:
            done.append((job, scored))
    if plot is not None and done:
        _draw(plot, *done[0])
    if as_json:
        print(json.dumps(_summary(done, failed, time.perf_counter() - begun, detector), indent=1))
    return 1 if failed else 0


def maker_of(detector: str) -> Callable[[], Detector]:
    """Return what makes a fresh detector for each series.

    Raises:
        CommandFailed: a package's detector cannot be used, or a file holds no model for single series.
    """
    try:
        if detector in DETECTORS:
            return DETECTORS[detector]
        if detector.endswith(MODEL_SUFFIX):
            return _maker_of_model(read_model_file(Path(detector).read_bytes()))
        return find_detector(detector)
    except OSError as error:
        raise CommandFailed(f"{detector} cannot be read: {error.strerror}") from None
    except (Rejected, Unavailable) as error:
        raise CommandFailed(f"{detector}: {error}") from None


def _maker_of_model(model: TrainedModel) -> Callable[[], Detector]:
    if model.kind not in SINGLE:
        needed = " or a ".join(sorted(SINGLE))
        raise CommandFailed(f"a {model.kind.value} compares several series; here a {needed} is needed")
    # a file of rows has no labels: the model is for whatever it is given
    everywhere, no_patterns = replace(model, matchers=()), MatcherCompiler(lambda pattern: pattern.__eq__)

    def make() -> Detector:
        found = detector_of(everywhere, 1, no_patterns)
        found.meet(0, LabelSet(()))
        return found

    return make


def score_series(series: SeriesFile, make: Callable[[], Detector] = RobustEnsemble) -> Scored:
    """Score one series from its first row to its last; rows without a value have no score (NaN).

    What is told are onsets for the detectors that have evidence of them, else the scores.
    """
    bank, slots = make(), np.zeros(len(series.values), np.int64)
    if isinstance(bank, RobustEnsemble | RobustSeasonal):
        scores, evidence = bank.score_with_evidence(slots, series.at_ms, series.values)
        told = Onsets().decide(slots, evidence)
    else:
        scores = bank.score_and_learn(slots, series.at_ms, series.values)
        told = scores.score.copy()
    told[~np.isfinite(series.values)] = np.nan
    return Scored(series, told, scores)


def plan_jobs(inputs: list[Path], output: Path | None) -> list[Job]:
    """Return what to read and where to write it.

    Raises:
        CommandFailed: an input does not exist, a folder holds no CSV file, several files need an --output folder, or
            two of them would be written to the same place or over an input.
    """
    for path in inputs:
        if not path.exists():
            raise CommandFailed(f"{path} does not exist")
    if len(inputs) == 1 and not inputs[0].is_dir():
        target = output / inputs[0].name if output is not None and output.is_dir() else output
        return _without_clashes([Job(inputs[0], target)])
    if output is None:
        raise CommandFailed("several files need a folder to go to: add --output FOLDER")
    if output.exists() and not output.is_dir():
        raise CommandFailed(f"--output {output} is a file; several files need a folder")
    return _without_clashes([job for path in inputs for job in _jobs_of(path, output)])


def _jobs_of(path: Path, output: Path) -> list[Job]:
    if not path.is_dir():
        return [Job(path, output / path.name)]
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() == ".csv" and file.is_file())
    if not found:
        raise CommandFailed(f"{path} holds no .csv file")
    return [Job(file, output / file.relative_to(path)) for file in found]


def _without_clashes(jobs: list[Job]) -> list[Job]:
    taken = {job.source.resolve() for job in jobs}
    for job in jobs:
        if job.target is not None:
            place = job.target.resolve()
            if place in taken:
                raise CommandFailed(f"{job.source} would be written to {job.target}, which is an input or taken")
            taken.add(place)
    return jobs


def _write(job: Job, scored: Scored, *, is_quiet: bool) -> None:
    if job.target is not None:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        with job.target.open("w", newline="", encoding="utf-8") as file:
            write_scored(file, scored.series, scored.told, scored.scores)
    elif not is_quiet:
        write_scored(sys.stdout, scored.series, scored.told, scored.scores)


def _draw(path: Path, job: Job, scored: Scored) -> None:
    from quantum.adapters.plots import draw_scored  # noqa: PLC0415 - matplotlib takes a second to import

    path.parent.mkdir(parents=True, exist_ok=True)
    draw_scored(path, job.source.stem, scored.series.at_ms, scored.series.values, scored.scores, MARK_FROM)


def _summary(done: list[tuple[Job, Scored]], failed: int, seconds: float, detector: str) -> dict[str, object]:
    rows = sum(len(scored.told) for _, scored in done)
    top = [_named(job, scored, row) for job, scored in done for row in _peaks(scored.told)]
    return {
        "detector": detector,
        "files": len(done),
        "failed": failed,
        "rows": rows,
        "seconds": round(seconds, 3),
        "rows_per_s": round(rows / seconds),
        "top_anomalies": sorted(top, key=lambda one: -float(str(one["anomaly_score"])))[:TOP],
    }


def _peaks(told: NDArray[np.float64]) -> list[int]:
    known = np.nan_to_num(told)
    best: list[int] = np.argsort(-known, kind="stable")[:TOP].tolist()
    return [row for row in best if known[row] > 0.0]


def _named(job: Job, scored: Scored, row: int) -> dict[str, object]:
    return {
        "file": str(job.source),
        "row": row + 1,
        "at_ms": int(scored.series.at_ms[row]),
        "value": float(scored.series.values[row]),
        "expected": float(scored.scores.expected[row]),
        "anomaly_score": round(float(scored.told[row]), 6),
        "score": round(float(scored.scores.score[row]), 6),
    }
