"""The collector against the real machine it runs on."""

from __future__ import annotations

import math
from itertools import count

import psutil
import pytest

from quantum.adapters.host_metrics import HostMetrics
from quantum.domain.labels import NAME


def two_collections() -> tuple[dict[str, float], dict[str, float]]:
    metrics = HostMetrics("here")
    seconds = count(100)
    first, second = ({str(series): value for series, value in metrics.collect(float(next(seconds)))} for _ in range(2))
    return first, second


def test_every_reading_is_finite_and_carries_the_host() -> None:
    for series, value in HostMetrics("here").collect(1.0):
        assert series.get("host") == "here"
        assert series.get(NAME)
        assert math.isfinite(value)


def test_ratios_lie_between_zero_and_one() -> None:
    _, second = two_collections()
    shares = {
        name: value
        for name, value in second.items()
        if name.split("{")[0]
        in {"host_cpu_busy_ratio", "host_cpu_mode_ratio", "host_memory_used_ratio", "host_disk_used_ratio"}
    }
    assert shares
    assert all(0 <= value <= 1 for value in shares.values())


def test_rates_need_two_collections() -> None:
    first, second = two_collections()
    rate = 'quantum_process_cpu_ratio{host="here"}'
    assert rate not in first
    assert second[rate] >= 0


def test_a_counter_that_was_reset_gives_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = HostMetrics("here")
    readings = [
        list(metrics._rate("r", "", "", counter, elapsed_s))
        for elapsed_s, counter in [(1.0, 100.0), (2.0, 5.0), (4.0, 9.0)]
    ]
    assert [[value for _, value in row] for row in readings] == [[], [], [2.0]]


@pytest.mark.parametrize("refusal", [OSError(), psutil.AccessDenied(), NotImplementedError()], ids=repr)
def test_a_part_that_fails_does_not_take_the_others_along(monkeypatch: pytest.MonkeyPatch, refusal: Exception) -> None:
    def refuse() -> None:
        raise refusal

    monkeypatch.setattr("psutil.virtual_memory", refuse)
    names = {series.name for series, _ in HostMetrics("here").collect(1.0)}
    assert "host_load1" in names
    assert "host_memory_used_ratio" not in names


def test_a_mistake_of_ours_is_not_taken_for_a_part_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: "no memory")
    with pytest.raises(AttributeError):
        HostMetrics("here").collect(1.0)


def test_series_are_the_same_objects_in_every_collection() -> None:
    metrics = HostMetrics("here")
    assert [id(series) for series, _ in metrics.collect(1.0) if series.name == "host_load1"] == [
        id(series) for series, _ in metrics.collect(2.0) if series.name == "host_load1"
    ]
