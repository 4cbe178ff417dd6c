"""`quantum detect`: score CSV files with the detector of the live system, in one causal pass."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from cyclopts import Parameter
from rich.console import Console
from rich.progress import track

from quantum.adapters.csv_files import BadFile, SeriesFile, read_series, write_scored
from quantum.cli import CommandFailed
from quantum.domain.detectors.onset import Onsets
from quantum.domain.detectors.robust_seasonal import RobustSeasonal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quantum.domain.scoring import Scores


@dataclass(frozen=True, slots=True)
class Job:
    """One file to score and where the result goes; None is standard output."""

    source: Path
    target: Path | None


@dataclass(frozen=True, slots=True)
class Scored:
    """One scored file: what was read, the onset score of each row, and the detector's scores."""

    series: SeriesFile
    told: NDArray[np.float64]
    scores: Scores


def score_series(series: SeriesFile) -> Scored:
    """Score one series from its first row to its last; rows without a value have no score (NaN)."""
    detector, onsets = RobustSeasonal(), Onsets()
    slots = np.zeros(len(series.values), np.int64)
    scores, evidence = detector.score_with_evidence(slots, series.at_ms, series.values)
    told = onsets.decide(slots, evidence)
    told[~np.isfinite(series.values)] = np.nan
    return Scored(series, told, scores)


def detect(
    inputs: Annotated[list[Path], Parameter(name="INPUT", negative=())],
    /,
    *,
    output: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Score CSV files (columns timestamp,value) or folders of them.

    Args:
        inputs: CSV files or folders; a folder gives the same tree under --output.
        output: the scored file, or the folder for several; without it a single file is written to standard output.
        as_json: print a summary as JSON.
    """
    jobs = plan(inputs, output)
    begun, rows, failed = time.perf_counter(), 0, 0
    console = Console(stderr=True)
    for job in track(jobs, "scoring", console=console, disable=not console.is_terminal or len(jobs) < 2):
        try:
            rows += _run(job)
        except BadFile as error:
            failed += 1
            print(f"quantum: {error}", file=sys.stderr)
    if as_json:
        seconds = time.perf_counter() - begun
        print(json.dumps({"files": len(jobs) - failed, "failed": failed, "rows": rows, "seconds": round(seconds, 3)}))
    return 1 if failed else 0


def plan(inputs: list[Path], output: Path | None) -> list[Job]:
    """Return what to read and where to write it.

    Raises:
        CommandFailed: an input does not exist, a folder holds no CSV file, or several files need an --output folder.
    """
    if len(inputs) == 1 and inputs[0].is_file():
        return [Job(inputs[0], output / inputs[0].name if output and output.is_dir() else output)]
    if output is None:
        raise CommandFailed("several files need a folder to go to: add --output FOLDER")
    return [job for path in inputs for job in _jobs_of(path, output)]


def _jobs_of(path: Path, output: Path) -> list[Job]:
    if path.is_file():
        return [Job(path, output / path.name)]
    if not path.is_dir():
        raise CommandFailed(f"{path} does not exist")
    found = sorted(file for file in path.rglob("*.csv") if file.is_file())
    if not found:
        raise CommandFailed(f"{path} holds no .csv file")
    return [Job(file, output / file.relative_to(path)) for file in found]


def _run(job: Job) -> int:
    scored = score_series(read_series(job.source))
    if job.target is None:
        write_scored(sys.stdout, scored.series, scored.told, scored.scores)
    else:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        with job.target.open("w", newline="", encoding="utf-8") as file:
            write_scored(file, scored.series, scored.told, scored.scores)
    return len(scored.told)
