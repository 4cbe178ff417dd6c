"""Mixed metrics are what they say, and the measurements of store, queries and growth run against a real server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum.adapters.remote_write import decode_remote_write, decompress
from quantum.application.ingest import Limits
from quantum.cli import CommandFailed, run_command
from quantum.cli.bench_query import Question, _averages, _check, _raw
from quantum.cli.mixed_metrics import KINDS, Mixed, make_mixed
from quantum.cli.servers import Server
from quantum.cli.stored import stored_parts
from quantum.cli.write_load import STEP_MS, Fleet, LineLoad
from tools import rivals

if TYPE_CHECKING:
    from pathlib import Path

FIRST_MS = 1_800_000_000_000
SERVER = Server("quantum (sqlite)", "", (), durable=True)


@pytest.fixture(scope="module")
def mixed() -> Mixed:
    return make_mixed(200, FIRST_MS, steps=800)


def values_of(mixed: Mixed, name: str) -> np.ndarray:
    return mixed.values[mixed.of(name)]


@given(st.integers(1, 60), st.integers(1, 30), st.integers(0, 5))
@settings(max_examples=20, deadline=None)
def test_the_requests_have_every_sample_once_and_in_order_of_time(series: int, steps: int, seed: int) -> None:
    mixed = make_mixed(series, FIRST_MS, steps, seed)
    seen: dict[str, list[tuple[int, float]]] = {}
    for body in mixed.bodies():
        rows = decode_remote_write(decompress(body), Limits())
        for key, at_ms, value in zip(rows.row_series.tolist(), rows.at_ms.tolist(), rows.values.tolist(), strict=True):
            seen.setdefault(str(rows.labels_of(key)), []).append((at_ms, value))
    sent = [list(zip(*pair, strict=True)) for pair in zip(mixed.at_ms.tolist(), mixed.values.tolist(), strict=True)]
    assert list(seen.values()) == sent
    assert len(seen) == len(mixed.labels) >= len(KINDS)


def test_the_same_seed_makes_the_same_samples(mixed: Mixed) -> None:
    again = make_mixed(200, FIRST_MS, steps=800)
    assert again.labels == mixed.labels
    assert np.array_equal(again.values.view(np.int64), mixed.values.view(np.int64))
    assert np.array_equal(again.at_ms, mixed.at_ms)


def test_series_of_an_instance_share_their_times_ten_seconds_apart(mixed: Mixed) -> None:
    times: dict[str, list[np.ndarray]] = {one["instance"]: [] for one in mixed.labels}
    for labels, at_ms in zip(mixed.labels, mixed.at_ms, strict=True):
        times[labels["instance"]].append(at_ms)
    for columns in times.values():
        assert (np.stack(columns) == columns[0]).all()
    assert len({int(columns[0][0]) for columns in times.values()}) == len(times) > 1
    assert (np.diff(mixed.at_ms, axis=1) == STEP_MS).all()


@pytest.mark.parametrize(
    ("name", "decimals"),
    [("room_temperature_celsius", 1), ("node_cpu_busy_percent", 2), ("board_supply_volts", 3)],
)
def test_gauges_have_the_decimals_they_say_and_noise(mixed: Mixed, name: str, decimals: int) -> None:
    values = values_of(mixed, name)
    assert np.array_equal(np.round(values, decimals), values)
    assert not np.array_equal(np.round(values, decimals - 1), values)
    assert (np.diff(values, axis=1) != 0).mean() > 0.5


@pytest.mark.parametrize("name", ["http_requests_total", "process_cpu_seconds_total"])
def test_counters_rise_except_for_a_few_resets(name: str) -> None:
    values = values_of(make_mixed(200, FIRST_MS, steps=8640), name)
    falls = np.diff(values, axis=1) < 0
    assert 0 < falls.sum() < 5 * len(values)
    assert (values >= 0).all()


def test_the_other_kinds_are_constants_flags_whole_pages_and_full_mantissas(mixed: Mixed) -> None:
    assert (np.diff(values_of(mixed, "pool_connections_limit"), axis=1) == 0).all()
    assert set(np.unique(values_of(mixed, "backend_healthy"))) <= {0.0, 1.0}
    assert (values_of(mixed, "process_resident_memory_bytes") % 4096 == 0).all()
    mantissas = values_of(mixed, "cache_hit_ratio").view(np.int64)
    assert (mantissas & 0xFFFF != 0).mean() > 0.9


def test_lines_have_every_series_later_than_before() -> None:
    load = LineLoad(Fleet(30, 1), FIRST_MS)
    first, second = load.next_body().decode().splitlines(), load.next_body().decode().splitlines()
    assert len(first) == len(second) == 3
    assert [line.split(" ")[2] for line in first] == [str(FIRST_MS)] * 3
    assert [line.split(" ")[2] for line in second] == [str(FIRST_MS + STEP_MS)] * 3
    assert all(line.split(" ")[1].count("=") == 10 for line in first + second)


def answer_to(question: Question, mixed: Mixed, values: np.ndarray) -> bytes:
    steps = (np.arange(question.start_ms, question.end_ms + 1, question.step_ms) / 1000).tolist()
    places = [{"instance": f"host-{number // 5}", "device": f"device{number % 5}"} for number in range(len(values))]
    rows = [[[at, repr(value)] for at, value in zip(steps, row, strict=True)] for row in values.tolist()]
    result = [{"metric": place, "values": row} for place, row in zip(places, rows, strict=True)]
    return json.dumps({"data": {"result": result}}).encode()


def test_a_right_answer_passes_and_a_wrong_one_does_not() -> None:
    mixed = make_mixed(100, FIRST_MS)
    for question in (_raw(mixed, 3), _averages(mixed, 3)):
        _check(SERVER, question, answer_to(question, mixed, question.right))
        wrong = question.right.copy()
        wrong[-1, -1] *= 1.0 + 1e-6
        with pytest.raises(CommandFailed, match="other values"):
            _check(SERVER, question, answer_to(question, mixed, wrong))
        with pytest.raises(CommandFailed, match="points of 0 series"):
            _check(SERVER, question, answer_to(question, mixed, question.right[:0]))


def test_averages_are_of_the_six_samples_of_the_minute_before() -> None:
    mixed = make_mixed(10, FIRST_MS)
    question = _averages(mixed, 0)
    at_ms, values = mixed.at_ms[0], mixed.values[0]
    for step in (0, 17, 59):
        end_ms = question.start_ms + step * question.step_ms
        inside = values[(at_ms >= end_ms - 60_000) & (at_ms <= end_ms)]
        assert len(inside) == 6
        assert question.right[0, step] == pytest.approx(inside.mean(), rel=1e-12)


def test_of_a_rivals_files_its_caches_do_not_count(tmp_path: Path) -> None:
    for name, size in (("data/part", 10), ("cache/rollup", 100), ("01HF00000000000000000000ZZ/index", 7), ("wal/1", 3)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(size))
    server = Server("rival", "", (), folder=tmp_path, caches=("cache",))
    assert stored_parts(server) == {"data": 10, "blocks": 7, "wal": 3}
    assert stored_parts(Server("rival", "", ())) == {}


def report_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run_command(["bench", *arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_store_is_measured_and_read_back_bit_by_bit(capsys: pytest.CaptureFixture[str]) -> None:
    report = report_of(capsys, "store", "--scale", "0.01")
    [result] = report["results"]
    assert result["samples"] == result["read_back_bit_exact"] == report["samples"] == 86_400
    parts = result["disk_bytes"]
    assert set(parts) == {"samples", "scores", "anomalies", "memory"}
    assert result["disk_bytes_per_sample"] == pytest.approx(sum(parts.values()) / 86_400, rel=0.01)
    assert 0 < result["disk_bytes_per_sample_without_scores"] <= result["disk_bytes_per_sample"]
    assert result["cpu_s_per_million"] > 0
    assert result["rss_bytes"] > 1 << 20
    rows = rivals.store_rows(report)
    assert [row["measure"].removesuffix(" (SQLite)") for row in rows] == [
        "disk, samples and index",
        "disk, with scores and anomalies",
        "taking in 0.09 million mixed samples, with all that is done later",
        "memory after 0.09 million mixed samples",
    ]
    assert all(row["quantum"] > 0 for row in rows)


def test_queries_are_measured_and_their_answers_are_right(capsys: pytest.CaptureFixture[str]) -> None:
    report = report_of(capsys, "query", "--scale", "0.01")
    assert len({result["query"] for result in report["results"]}) == 3
    for result in report["results"]:
        assert result["questions"] == 3
        assert 0 < result["p50_ms"] <= result["p99_ms"]
        assert result["cpu_ms"] > 0
    rows = rivals.query_rows(report["results"])
    assert [row["unit"] for row in rows] == [rivals.TIME, "CPU ms/query"] * 3


def test_growth_is_measured_among_series_and_on_history(capsys: pytest.CaptureFixture[str]) -> None:
    report = report_of(capsys, "growth", "--scale", "0.01")
    cases = {result["case"]: result for result in report["results"]}
    sizes = ["10 series", "100 series", "1,000 series"]
    watched = [f"{size} with detection" for size in sizes]
    assert set(cases) == {*sizes, "10,000 series", *watched, "1 hour stored", "30 days stored"}
    assert all(result["peak_bytes"] >= result["rss_bytes"] > 0 for result in report["results"])
    assert cases["30 days stored"]["stored_before"] > cases["1 hour stored"]["stored_before"] > 0
    assert all(result["cpu_s_per_million"] > 0 for result in report["results"])
    assert {row["measure"] for row in rivals.growth_rows(report)} >= {
        "ingest, 10,000 series (SQLite)",
        "memory, 30 days stored (SQLite)",
    }


def test_people_get_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["bench", "store", "--queries", "--scale", "0.001"]) == 0
    told = capsys.readouterr().out
    assert told.count("quantum (sqlite)") == 4
    assert "read back" in told


def test_a_rival_that_is_not_installed_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    report = report_of(capsys, "store", "--scale", "0.001", "--rivals")
    assert set(report["missing"]) == {"prometheus", "victoria-metrics"}
    assert "apt-get install" in report["missing"]["prometheus"]
