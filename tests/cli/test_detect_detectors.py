"""`quantum detect --detector`: detectors of other packages, models from files, and names of nothing."""

from __future__ import annotations

import csv
import sys
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from tests.models import trained

from quantum.adapters.csv_files import read_series
from quantum.adapters.http.model_files import file_of
from quantum.cli import CommandFailed
from quantum.cli.detect import check_detector_name, detect, maker_of, score_series
from quantum.domain.models import ModelKind

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = """
import numpy as np
from quantum.domain.scoring import Scores

class Heights:
    name, version, series_count = "heights", 1, 1
    def score_and_learn(self, slots, at_ms, values):
        nothing = np.full(len(values), np.nan)
        return Scores(np.clip(np.nan_to_num(values) / 100, 0, 1), nothing, nothing, nothing)
    def dump(self):
        return {"none": np.zeros(1 if not hasattr(self, "ragged") else 2)}
    def restore(self, state):
        pass

class Ragged(Heights):
    ragged = True
"""
POINTS = "[quantum.detectors]\nheights = heights_of_others:Heights\nragged = heights_of_others:Ragged\n"


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package as pip would have installed it."""
    (tmp_path / "heights_of_others.py").write_text(SOURCE)
    about = tmp_path / "heights_of_others-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: heights-of-others\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("heights_of_others", None)


@pytest.fixture(name="series")
def series_file(tmp_path: Path) -> Path:
    values = np.random.default_rng(1).normal(10.0, 1.0, 200)
    values[150] = 90.0
    lines = [f"{1_700_000_000 + 60 * row},{value:.3f}" for row, value in enumerate(values.tolist())]
    lines[100] = "1700006000,"
    path = tmp_path / "series.csv"
    path.write_text("timestamp,value\n" + "\n".join(lines) + "\n")
    return path


def model_file(folder: Path, kind: ModelKind) -> str:
    path = folder / f"{kind.value}.json"
    path.write_bytes(msgspec.json.encode(file_of(trained(kind).model, "a test")))
    return str(path)


def test_a_detector_of_another_package_scores_files(series: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    assert detect([series], output=out, detector="heights") == 0
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert float(rows[150]["anomaly_score"]) == 0.9
    assert rows[100]["anomaly_score"] == ""
    assert rows[150]["expected"] == ""


def test_a_model_from_a_file_scores_files_row_by_row(series: Path, tmp_path: Path) -> None:
    make = maker_of(model_file(tmp_path, ModelKind.WINDOWS))
    told = score_series(read_series(series), make)
    assert int(np.nanargmax(told.told)) == 150
    assert np.isfinite(told.scores.expected[150])
    again = score_series(read_series(series), make)
    assert np.array_equal(told.told, again.told, equal_nan=True)


@pytest.mark.parametrize(
    ("detector", "words"),
    [
        ("ragged", "ragged: the detector 'ragged' cannot be used"),
        ("{}/absent.json", "cannot be read: No such file"),
        ("{}/series.json", "no model's file"),
        ("{}/peers.json", "a peers compares several series"),
        ("{}/group-forest.json", "a group-forest compares several series"),
    ],
)
def test_what_cannot_score_a_file_is_refused_with_a_sentence(
    series: Path, tmp_path: Path, detector: str, words: str
) -> None:
    (tmp_path / "series.json").write_bytes(series.read_bytes())
    for kind in (ModelKind.PEERS, ModelKind.GROUPS):
        model_file(tmp_path, kind)
    with pytest.raises(CommandFailed, match=words):
        detect([series], output=tmp_path / "out.csv", detector=detector.format(tmp_path))


def test_the_name_of_no_detector_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"'magic': there are robust-ensemble, robust-seasonal, heights, ragged, and"):
        check_detector_name(str, "magic")
    for name in ("heights", "robust-seasonal", "x.json"):
        check_detector_name(str, name)
