"""`quantum bench live` in small: every figure is there, and is one of a delivery."""

from __future__ import annotations

import asyncio

import pytest

from quantum.cli.bench_live import measure_live


def test_deliveries_are_measured_beside_a_bare_sender_and_with_readers_that_do_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("QUANTUM_STORE__KIND", "memory")
    monkeypatch.setattr("quantum.cli.bench_live.TURNS", 1)
    found = asyncio.run(measure_live(watchers=10, scale=0.1))
    assert (found["watchers"], found["stalled"]) == (10, 2)
    assert 1500 <= found["message_bytes"] <= 2500
    for name in ("us_per_delivery_with_ingest", "us_per_delivery_bare", "p99_ms", "p99_ms_beside_stalled"):
        assert found[name] > 0, name
    assert found["ratio"] == pytest.approx(found["us_per_delivery"] / found["us_per_delivery_bare"], rel=0.02)
