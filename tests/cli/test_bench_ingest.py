"""The load of the measurements is what it says, and the measurement runs against a real server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from quantum.adapters.remote_write import decode_remote_write, decompress
from quantum.application.ingest import Limits
from quantum.cli import run_command
from quantum.cli.write_load import STEP_MS, Fleet, Load
from tools import rivals

if TYPE_CHECKING:
    import pytest

FIRST_MS = 1_800_000_000_000


def test_a_load_is_remote_write_with_every_series_later_than_before() -> None:
    load = Load(Fleet(series=8, samples_each=3), FIRST_MS)
    first, second = (decode_remote_write(decompress(load.next_body()), Limits()) for _ in range(2))
    assert first.keys == second.keys
    assert len({str(first.labels_of(index)) for index in range(8)}) == 8
    assert first.row_series.tolist() == np.repeat(np.arange(8), 3).tolist()
    assert first.at_ms.reshape(8, 3).tolist() == [[FIRST_MS, FIRST_MS + STEP_MS, FIRST_MS + 2 * STEP_MS]] * 8
    assert second.at_ms.min() == FIRST_MS + 3 * STEP_MS
    assert not np.array_equal(first.values, second.values)


def test_counters_rise_and_constants_stay() -> None:
    load = Load(Fleet(series=4, samples_each=20), FIRST_MS)
    values = decode_remote_write(decompress(load.next_body()), Limits()).values.reshape(4, 20)
    assert (np.diff(values[1]) >= 0).all()
    assert (np.diff(values[2]) == 0).all()
    assert len(np.unique(values[0])) > 5


def test_a_load_that_goes_on_has_the_same_series_and_their_values_move_on_from_where_they_were() -> None:
    load = Load(Fleet(series=8, samples_each=5, first=3), FIRST_MS, step_ms=1000)
    before = decode_remote_write(decompress(load.next_body()), Limits())
    after = decode_remote_write(decompress(load.go_on(1, FIRST_MS + 9000).next_body()), Limits())
    assert after.keys == before.keys
    assert after.at_ms.tolist() == [FIRST_MS + 9000] * 8
    steps = after.values - before.values.reshape(8, 5)[:, -1]
    assert np.abs(steps).max() <= 50.0
    assert (steps[np.arange(8) % 4 == 1] >= 0).all()


def test_the_measurement_reports_figures_of_a_real_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["bench", "ingest", "--json", "--scale", "0.01"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {result["case"] for result in report["results"]} >= {"2000 series x 1", "250 series x 20"}
    assert {result["server"] for result in report["results"]} == {"quantum (sqlite)", "quantum (sqlite, detection off)"}
    for result in report["results"]:
        assert result["samples"] > 0
        assert 0 < result["p50_ms"] <= result["p99_ms"]
        assert result["rss_bytes"] > 1 << 20
        assert result["fdatasync_p50_ms"] > 0
    assert report["machine"]["versions"]["quantum"]
    rows = rivals.ingest_rows(report)
    measured = {row["measure"] for row in rows if row["quantum"] > 0}
    assert {"ingest, 2000 series x 1 (SQLite)", "ingest with detection, 250 series x 20 (SQLite)"} < measured
    assert rows[-1]["measure"] == "answer to a write, 2000 series x 1 (SQLite)"


def test_a_server_that_does_not_answer_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["bench", "ingest", "--url", "http://127.0.0.1:1", "--pid", "1"]) == 1
    assert "does not answer" in capsys.readouterr().err


def test_an_address_without_a_process_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["bench", "ingest", "--url", "http://127.0.0.1:1"]) == 1
    assert "--url and --pid belong together" in capsys.readouterr().err
