"""Pumps outlive the failures of their steps."""

from __future__ import annotations

import asyncio

import pytest

from quantum.application import pump as pumps
from quantum.application.pump import Pump


async def test_a_pump_goes_on_after_a_failure_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pumps, "FIRST_PAUSE_S", 0.0)
    heard: list[str] = []
    done = asyncio.Event()
    outcomes = iter([ValueError("one"), ValueError("two"), None])

    async def step() -> None:
        outcome = next(outcomes, None)
        if outcome:
            raise outcome
        done.set()
        await asyncio.sleep(3600)

    pump = Pump("p", step, lambda name, error: heard.append(f"{name}: {error}"))
    running = asyncio.create_task(pump.run())
    await done.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert heard == ["p: one", "p: two"]


async def test_a_pump_is_unhealthy_after_several_failures_in_a_row_and_recovers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pumps, "FIRST_PAUSE_S", 0.0)
    healthy: list[bool] = []
    done = asyncio.Event()

    async def step() -> None:
        healthy.append(pump.healthy)
        if len(healthy) <= 5:
            raise OSError("no")
        if len(healthy) > 7:
            done.set()
            await asyncio.sleep(3600)

    pump = Pump("p", step, lambda _, __: None)
    running = asyncio.create_task(pump.run())
    await done.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert healthy == [True] * 5 + [False, True, True]
