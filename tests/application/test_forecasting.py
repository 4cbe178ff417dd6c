"""Forecasts over the API, and the measurement of how often their bands hold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.watching import HOT, Watching

from quantum.application import forecasting
from quantum.cli import CommandFailed
from quantum.cli.bench_forecast import bench_forecast, measure_chances, measure_coverage
from quantum.domain.wording import reached_words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

MINUTE_MS = 60_000


@pytest.fixture(name="system")
async def running_system() -> AsyncIterator[Watching]:
    async with Watching() as system:
        yield system


async def path_of(system: Watching) -> str:
    return f"/api/v1/series/{(await system.get('/api/v1/series'))['items'][0]['fingerprint']}/forecast"


async def test_a_disk_that_fills_up_is_full_when_its_trend_says_so(system: Watching) -> None:
    noise = np.random.default_rng(1).normal(size=3600)
    await system.push("disk", (20.0 + np.arange(3600) / 50 + noise / 4).tolist(), step_ms=MINUTE_MS)
    found = await system.get(await path_of(system), horizon_ms=240 * MINUTE_MS, limit=95.0)
    reached = found["reached"]
    assert reached["expected_ms"] == pytest.approx(150 * MINUTE_MS, abs=15 * MINUTE_MS)
    assert reached["earliest_ms"] < reached["expected_ms"] < reached["latest_ms"]
    assert found["words"].startswith("reaches 95 in 2 h ")
    assert len(found["at_ms"]) == len(found["expected"]) == len(found["held"]) == 24
    assert found["models"][-1] == "trend"
    assert found["from_ms"] == system.clock.now_ms()
    assert all(share > 0.7 for share in found["held"])


async def test_without_a_limit_nothing_is_reached_and_below_is_found_from_above(system: Watching) -> None:
    await system.push("disk", [2000.0 - number for number in range(1200)], step_ms=MINUTE_MS)
    path = await path_of(system)
    found = await system.get(path, horizon_ms=60 * MINUTE_MS)
    assert (found["reached"], found["words"]) == (None, "")
    falls = await system.get(path, horizon_ms=60 * MINUTE_MS, limit=780.0)
    assert falls["reached"]["expected_ms"] == pytest.approx(21 * MINUTE_MS, abs=2 * MINUTE_MS)
    never = await system.get(path, horizon_ms=60 * MINUTE_MS, limit=1e6)
    assert never["reached"]["expected_ms"] is None


@pytest.mark.parametrize(
    ("scale", "shift", "bounds"),
    [(1.0, 0.0, (0.0, 1.0)), (3.0, 0.0, (0.0, np.inf)), (1.0, -0.5, (-np.inf, np.inf))],
)
async def test_a_forecast_stays_where_series_of_its_kind_are(
    system: Watching, scale: float, shift: float, bounds: tuple[float, float]
) -> None:
    rng = np.random.default_rng(3)
    values = scale * np.clip(0.5 + np.cumsum(rng.normal(0.0, 0.05, 900)) % 1.0 - 0.5, 0.0, 1.0) + shift
    await system.push("share", values.tolist(), step_ms=MINUTE_MS)
    found = await system.get(await path_of(system), horizon_ms=120 * MINUTE_MS, quantile=0.99)
    lower, upper = min(found["lower"]), max(found["upper"])
    assert bounds[0] <= lower
    assert upper <= bounds[1]
    # it would have gone beyond, or there would be nothing to keep
    assert lower < values.min() or lower == bounds[0]
    assert upper > values.max() or upper == bounds[1]


async def test_a_gap_has_the_value_before_it(system: Watching) -> None:
    await system.push("disk", [5.0] * 100, step_ms=MINUTE_MS)
    await system.pass_time(30 * MINUTE_MS, step_ms=30_000)
    await system.push("disk", [5.0] * 5, step_ms=MINUTE_MS)
    found = await system.get(await path_of(system), horizon_ms=24 * MINUTE_MS)
    assert set(found["expected"]) == {5.0}


async def test_too_little_history_is_said_with_how_much_is_needed(system: Watching) -> None:
    await system.push("disk", [1.0] * 10, step_ms=MINUTE_MS)
    problem = await system.get(await path_of(system), 400, horizon_ms=24 * MINUTE_MS)
    assert problem["reason"] == "forecast"
    assert problem["detail"].endswith("needs 44 rows of 60000 ms before the newest, there are 10")


async def test_of_a_very_dense_series_less_past_is_read(system: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    await system.push("disk", [1.0] * 200, step_ms=30 * MINUTE_MS)
    whole = await system.get(await path_of(system), horizon_ms=720 * MINUTE_MS)
    monkeypatch.setattr(forecasting, "READ_ROWS", 73)
    part = await system.get(await path_of(system), horizon_ms=720 * MINUTE_MS)
    assert (whole["history_ms"], part["history_ms"]) == (200 * 30 * MINUTE_MS, 96 * 30 * MINUTE_MS)


async def test_a_policy_that_looks_ahead_is_kept_as_it_was_written(system: Watching) -> None:
    condition = {"kind": "time_to_limit", "op": "above", "limit": 95.0, "within_ms": 14_400_000}
    policy = await system.json("POST", "/api/v1/policies", 201, json=HOT | {"condition": condition})
    assert policy["condition"] == condition | {"probability": 0.9}
    wrong = HOT | {"name": "other", "condition": condition | {"within_ms": 1}}
    problem = await system.json("POST", "/api/v1/policies", 400, json=wrong)
    assert problem["reason"] == "malformed_body"
    assert "within_ms" in problem["detail"]


# ---- words ----------------------------------------------------------------------------------------------------------


def test_words_say_when_a_limit_is_reached_and_how_sure_that_is() -> None:
    hour = 3_600_000
    assert reached_words(95.0, hour, hour // 2, 2 * hour, 0.9) == "reaches 95 in 1 h (90 % band: 30 min to 2 h)"
    assert reached_words(95.0, hour, hour // 2, None, 0.9).endswith("(90 % band: 30 min to beyond the forecast)")
    assert reached_words(95.0, None, hour, None, 0.9).startswith("reaching 95 is not expected within the forecast")
    assert reached_words(95.0, None, None, None, 0.9).startswith("does not reach 95 within the forecast")
    assert reached_words(95.0, hour, None, None, 0.9).endswith("(90 % band: never to beyond the forecast)")


# ---- quantum bench forecast -----------------------------------------------------------------------------------------


def write(folder: Path, rows: int) -> None:
    noise = np.random.default_rng(3).normal(size=rows).tolist()
    lines = [f"{1_700_000_000 + 300 * row},{'' if row % 50 == 0 else value}" for row, value in enumerate(noise)]
    (folder / "noise.csv").write_text("\n".join(["timestamp,value", *lines]))


def test_the_measurement_says_how_often_bands_held_and_limits_were_reached(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, 1200)
    bench_forecast(corpus=tmp_path, as_json=True)
    told = json.loads(capsys.readouterr().out)
    for nominal, found in told["held"].items():
        assert found["all"] == pytest.approx(float(nominal), abs=0.03)
    assert told["reached"]["0.5"]["share"] > 0.5
    assert told["reached"]["0.5"]["limits"] > told["reached"]["0.9"]["limits"]
    bench_forecast(corpus=tmp_path)
    said = capsys.readouterr().out
    assert "bands that should hold 0.9" in said
    assert "limits that were said to be reached with a chance of 0.9" in said


@pytest.mark.parametrize("rows", [1, 30])
def test_a_folder_without_long_files_cannot_be_measured(tmp_path: Path, rows: int) -> None:
    write(tmp_path, rows)
    with pytest.raises(CommandFailed, match="no CSV file that is long enough"):
        measure_coverage(tmp_path)
    with pytest.raises(CommandFailed, match="no CSV file that is long enough"):
        measure_chances(tmp_path)
