"""`quantum detect` and `quantum bench` as a user runs them."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from quantum.cli import run_command
from quantum.cli.bench_detect import measure_scenarios
from quantum.cli.nab import score_corpus

if TYPE_CHECKING:
    from pathlib import Path

ADDED = ["anomaly_score", "expected", "lower", "upper"]


def write_series(path: Path, count: int = 400, seed: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).normal(10.0, 1.0, count)
    values[count * 3 // 4 :][:10] += 30.0
    rows = [f"{60 * row},{value:.6f}" for row, value in enumerate(values)]
    path.write_text("\n".join(["timestamp,value", *rows]) + "\n", encoding="utf-8")
    return path


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def test_a_single_file_goes_to_standard_output_with_four_more_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["detect", str(write_series(tmp_path / "a.csv"))]) == 0
    rows = read(capsys.readouterr().out)
    assert list(rows[0]) == ["timestamp", "value", *ADDED]
    assert len(rows) == 400
    scores = [float(row["anomaly_score"]) for row in rows]
    assert 300 <= int(np.argmax(scores)) < 310
    assert max(scores) > 0.3


def test_a_folder_gives_the_same_tree_and_a_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_series(tmp_path / "in" / "a.csv")
    write_series(tmp_path / "in" / "deep" / "b.CSV", seed=2)
    (tmp_path / "in" / "notes.txt").write_text("no series")
    assert run_command(["detect", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["files"], summary["failed"], summary["rows"]) == (2, 0, 800)
    assert {one["row"] for one in summary["top_anomalies"][:2]} <= set(range(301, 311))
    found = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert found == ["a.csv", "deep/b.CSV"]


def test_a_broken_file_fails_alone_with_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write_series(tmp_path / "good.csv")
    bad = tmp_path / "bad.csv"
    bad.write_text("timestamp,value\n60,1\n120,x\n")
    out = tmp_path / "out"
    assert run_command(["detect", str(bad), str(good), "--output", str(out)]) == 1
    captured = capsys.readouterr()
    assert captured.err == f"quantum: {bad}:3: cannot read value `x` as a number\n"
    assert [path.name for path in out.iterdir()] == ["good.csv"]


@pytest.mark.parametrize(
    ("arguments", "sentence", "status"),
    [
        (["{}/none.csv"], "none.csv does not exist", 1),
        (["{}/in", "--output", "{}/out"], "holds no .csv file", 1),
        (["{}/a.csv", "{}/b.csv"], "several files need a folder to go to: add --output FOLDER", 1),
        (["{}/a.csv", "{}/b.csv", "--output", "{}/a.csv"], "is a file; several files need a folder", 1),
        (["{}/a.csv", "--output", "{}/a.csv"], "which is an input or taken", 1),
        (["{}/a.csv", "{}/c/a.csv", "--output", "{}/out"], "which is an input or taken", 1),
        (["{}/a.csv", "{}/b.csv", "--output", "{}/out", "--plot", "{}/p.png"], "give a single file", 1),
        (["{}/a.csv", "--detector", "magic"], "magic", 2),
        ([], "INPUT", 2),
    ],
)
def test_a_wrong_call_is_one_sentence_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str, status: int
) -> None:
    for name in ("a.csv", "b.csv", "c/a.csv"):
        write_series(tmp_path / name)
    (tmp_path / "in").mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert run_command(["detect", *[argument.format(tmp_path) for argument in arguments]]) == status
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_rows_that_are_late_or_without_a_value_keep_their_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_series(tmp_path / "a.csv")
    lines = path.read_text().splitlines()
    lines[101:101] = ["30,9.9", "5970,", "5980,NaN"]
    path.write_text("\n".join(lines) + "\n")
    assert run_command(["detect", str(path)]) == 0
    rows = read(capsys.readouterr().out)
    assert [rows[100][name] for name in ADDED] == ["0", "", "", ""]
    assert [rows[101][name] for name in ADDED] == [rows[102][name] for name in ADDED] == ["", "", "", ""]
    assert len(rows) == 403


def test_a_file_without_rows_gives_a_header(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text("timestamp,value\n")
    assert run_command(["detect", str(tmp_path / "a.csv")]) == 0
    assert capsys.readouterr().out == "timestamp,value,anomaly_score,expected,lower,upper\n"


def test_a_chart_is_drawn(tmp_path: Path) -> None:
    path, target = write_series(tmp_path / "a.csv"), tmp_path / "deep" / "chart.png"
    arguments = ["detect", str(path), "--plot", str(target), "--output", str(tmp_path / "out.csv")]
    assert run_command(arguments) == 0
    assert target.read_bytes().startswith(b"\x89PNG")
    assert target.stat().st_size > 20_000


def test_a_corpus_with_labels_is_scored_by_the_benchmarks_rules(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path / "corpus" / "kind" / "a.csv")
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps({"kind/a.csv": [["1970-01-01 04:58:00", "1970-01-01 05:20:00"]]}))
    arguments = ["bench", "nab", "--corpus", str(tmp_path / "corpus"), "--labels", str(labels), "--json"]
    assert run_command(arguments) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["files"], figures["rows"]) == (1, 400)
    assert figures["standard"] > 95.0


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ("{}", "the labels do not know kind/a.csv"),
        ("[", "holds no windows in NAB's form"),
        ('{"kind/a.csv": [["1970-01-01 00:00:07", "1970-01-01 00:00:08"]]}', "begins or ends at no row"),
        ('{"kind/a.csv": [["1970-01-01 00:01:00", "1970-01-01 00:02:00"]]}', "no window of the labels lies behind"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], labels: str, sentence: str
) -> None:
    write_series(tmp_path / "corpus" / "kind" / "a.csv")
    (tmp_path / "labels.json").write_text(labels)
    arguments = ["bench", "nab", "--corpus", str(tmp_path / "corpus"), "--labels", str(tmp_path / "labels.json")]
    assert run_command(arguments) == 1
    assert sentence in capsys.readouterr().err


def test_the_corpus_bench_needs_a_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["bench", "nab"]) == 2
    assert "--corpus" in capsys.readouterr().err
    assert run_command(["bench", "nab", "--corpus", str(tmp_path)]) == 1
    assert "is no folder with .csv files" in capsys.readouterr().err


def test_a_detector_that_finds_nothing_scores_zero_and_one_that_is_early_a_hundred() -> None:
    at_ms = {"a": np.arange(2000, dtype=np.int64)}
    windows = {"a": [(800, 899), (1500, 1599)]}
    early, late, wrong = np.zeros(2000), np.zeros(2000), np.zeros(2000)
    early[[800, 1500]] = late[[890, 1590]] = wrong[[400]] = 1.0
    assert score_corpus(at_ms, {"a": np.zeros(2000)}, windows)["standard"] == 0.0
    assert score_corpus(at_ms, {"a": wrong}, windows)["standard"] == 0.0
    assert score_corpus(at_ms, {"a": early}, windows)["standard"] == pytest.approx(100.0, abs=0.2)
    assert 50.0 < float(str(score_corpus(at_ms, {"a": late}, windows)["standard"])) < 75.0


def test_most_events_of_the_scenarios_are_heard_with_few_false_alarms() -> None:
    told = str(measure_scenarios()["all"])
    heard, false_alarms = int(told.partition("/")[0]), float(told.partition(", ")[2].partition(" ")[0])
    # 75 of 84 and 1.8 are what docs/detection.md tells; what is beyond is more than other seeds bring
    assert heard >= 74
    assert false_alarms <= 2.3


def test_the_cost_of_the_detector_is_told_with_the_machine_and_its_peers(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["bench", "detect", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rows_per_s_one_series"] > told["peer_same_code_not_compiled_rows_per_s"] > 0
    assert {"machine", "python", "numpy", "numba", "quantum", "date"} <= set(told)


def test_the_scenarios_are_shown_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["bench", "scenarios"]) == 0
    assert "level shift" in capsys.readouterr().out
