"""`quantum bench deep`: no model judges a series that it has seen, and all are compared at equal false alarms."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.models import train

from quantum.adapters.training_process import LACKING
from quantum.cli import CommandFailed, bench_deep, run_command
from quantum.cli.scenarios import Scenario

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from quantum.domain.models import Training, TrainingJob

ROWS = 900
EVENT = 700
SPAN = 20
LEVELS = {"artificial/a.csv": 10.0, "real/b.csv": 2000.0, "third/c.csv": -300.0}


def noisy(name: str, level: float) -> Scenario:
    """Return a series with one event that nobody overlooks."""
    values = level + np.random.default_rng(len(name)).normal(0.0, 1.0, ROWS)
    values[EVENT : EVENT + SPAN] += 40.0
    return Scenario(name, np.arange(ROWS) * 300_000, values, ((EVENT, EVENT + SPAN),))


@pytest.fixture(name="corpus")
def corpus_of_three_categories(tmp_path: Path) -> Path:
    labels = {}
    for name, level in LEVELS.items():
        series = noisy(name, level)
        file = tmp_path / "data" / name
        file.parent.mkdir(parents=True)
        times = np.datetime_as_string(series.at_ms.astype("datetime64[ms]"), unit="s").tolist()
        rows = [f"{at.replace('T', ' ')},{value}" for at, value in zip(times, series.values.tolist(), strict=True)]
        file.write_text("\n".join(["timestamp,value", *rows]))
        labels[name] = [[times[EVENT].replace("T", " "), times[EVENT + SPAN - 1].replace("T", " ")]]
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    return tmp_path


@pytest.fixture(name="jobs")
def trained_without_tensorflow(monkeypatch: pytest.MonkeyPatch) -> list[TrainingJob]:
    """Return what was trained on, where training leaves random weights at once."""
    jobs: list[TrainingJob] = []

    async def at_once(job: TrainingJob, progress: Callable[[float, str], None]) -> Training:
        jobs.append(job)
        return train(job, progress)

    monkeypatch.setattr(bench_deep, "train_apart", at_once)
    monkeypatch.setattr(bench_deep, "build_scenarios", lambda seed: [noisy(f"of seed {seed}", 50.0 * seed)])
    return jobs


def test_each_half_is_judged_by_who_was_trained_on_the_other_and_every_way_of_scoring_has_its_figures(
    corpus: Path, jobs: list[TrainingJob], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["bench", "deep", "--corpus", f"{corpus}/data", "--labels", f"{corpus}/labels.json", "--json"]
    assert run_command(command) == 0
    told = json.loads(capsys.readouterr().out)
    learnt = [{round(float(one), -1) for one in np.median(_series_of(job), axis=1)} for job in jobs]
    assert learnt == [{2000.0}, {10.0, -300.0}, {200.0, 250.0, 300.0}]
    assert [one["rows"] for one in told["trainings"].values()] == [ROWS, 2 * ROWS, 3 * ROWS]
    rows = {row["measure"]: row for row in told["rows"]}
    assert len(rows) == 7
    for row in rows.values():
        ways = {"deep alone", "with deep, either", "with deep, both"}
        assert set(row["rivals"]) == ways | {"deep alone, by own past", "with deep, either, by own past"}
    assert rows["NAB: events heard at 0.5 false alarms of a series in a day"]["quantum"] == 100.0


def _series_of(job: TrainingJob) -> Any:
    columns = {one.name: one.array() for one in job.samples}
    return np.stack([columns["values"][columns["slots"] == slot] for slot in range(len(job.series))])


def test_a_reading_is_as_rare_as_it_is_among_those_of_its_own_series() -> None:
    calm = np.abs(np.random.default_rng(1).normal(size=1000))
    for size in (1.0, 1000.0):
        readings = size * np.append(calm, 9.0)
        readings[:64] = np.nan
        found = bench_deep.by_own_past(readings)
        assert not found[:64].any()
        assert found[-1] > 0.3 > np.quantile(found, 0.99)


def test_one_category_cannot_be_judged_by_another(corpus: Path) -> None:
    for name in ("real", "third"):
        for file in (corpus / "data" / name).iterdir():
            file.unlink()
    with pytest.raises(CommandFailed, match="has not two folders"):
        bench_deep.read_categories(corpus / "data", corpus / "labels.json")


def test_a_file_without_labels_is_named(corpus: Path) -> None:
    (corpus / "labels.json").write_text("{}")
    with pytest.raises(CommandFailed, match="the labels do not know artificial/a"):
        bench_deep.read_categories(corpus / "data", corpus / "labels.json")


def test_without_tensorflow_nothing_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bench_deep, "lacking", lambda _: LACKING)
    with pytest.raises(CommandFailed, match="install quantum"):
        bench_deep.measure_deep(tmp_path, tmp_path / "labels.json")
