"""The first five minutes of machines as they are: jobs, bursts and blips page nobody, an outage does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from tests.facts import Log, full_match, labels

from quantum.domain.alerts import AlertState
from quantum.domain.default_policies import DEFAULT_POLICIES
from quantum.domain.detectors.robust_ensemble import RobustEnsemble
from quantum.domain.detectors.robust_seasonal import RobustSeasonal
from quantum.domain.detectors.tiered import Tiered
from quantum.domain.facts import Heartbeat, PutPolicy
from quantum.domain.labels import MatcherCompiler
from quantum.domain.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.random import Generator
    from numpy.typing import NDArray

SECONDS: Final = 300
SEEDS: Final = 5
CALM: Final = 0.2
"""Relative noise of a machine that does little."""


def steady(rng: Generator, usual: float) -> NDArray[np.float64]:
    return rng.normal(usual, CALM * usual, SECONDS)


def bursty(rng: Generator, usual: float) -> NDArray[np.float64]:
    return rng.gamma(1.0, usual, SECONDS)


def wandering(rng: Generator, usual: float) -> NDArray[np.float64]:
    steps, logs = rng.normal(0.0, 0.25, SECONDS), np.zeros(SECONDS)
    for second in range(1, SECONDS):
        logs[second] = 0.8 * logs[second - 1] + steps[second]
    return usual * np.exp(logs)


def blips(rng: Generator, usual: float) -> NDArray[np.float64]:
    """Return a steady machine that is much busier for one to four seconds, about every forty seconds."""
    values = steady(rng, usual)
    for begin in np.cumsum(rng.exponential(40.0, 30).astype(np.int64) + 3).tolist():
        values[begin : begin + int(rng.integers(1, 5))] += rng.uniform(0.05, 0.3)
    return values


KINDS: Final = (steady, bursty, wandering, blips)


def machines() -> Iterator[NDArray[np.float64]]:
    """Yield how busy twenty machines are in their first five minutes, shape (SECONDS,), in [0, 1]."""
    for kind in KINDS:
        for seed in range(SEEDS):
            rng = np.random.default_rng([seed, *kind.__name__.encode()])
            yield np.clip(kind(rng, rng.uniform(0.03, 0.25)), 0.0, 1.0)


def fired(seconds: NDArray[np.float64], silent_s: int = 0) -> list[int]:
    """Return the second of each alert that fires where the default policies watch a machine a column, then silence."""
    log = Log()
    for policy in DEFAULT_POLICIES:
        log.add(PutPolicy(policy, 0, "quantum"))
    hosts = [labels("host_cpu_busy_ratio", host=f"h{number}") for number in range(seconds.shape[1])]
    begin_ms = log.at_ms
    for row in seconds.tolist():
        log.send(dict(zip(hosts, row, strict=True)))
    for _ in range(1 + silent_s):
        log.add(Heartbeat(), 1000)
    pipeline = Pipeline(Tiered(RobustEnsemble(), RobustSeasonal()), MatcherCompiler(full_match))
    changes = [change for fact in log.facts for change in pipeline.step(fact).effects.transitions]
    return [(change.at_ms - begin_ms) // 1000 for change in changes if change.after is AlertState.FIRING]


def test_twenty_fresh_machines_page_nobody() -> None:
    assert fired(np.stack(list(machines()), axis=1)) == []


@pytest.mark.parametrize("dip", [0.01, 0.05])
def test_a_saturated_machine_that_dips_and_burns_on_pages_nobody(dip: float) -> None:
    seconds = np.ones((SECONDS, 20))
    for machine, begin in enumerate(range(50, 250, 10)):
        seconds[begin : begin + 3 + 2 * machine, machine] -= dip
    seconds[100:, 0] -= np.abs(np.random.default_rng(0).normal(0.0, dip, SECONDS - 100))
    assert fired(seconds) == []


def test_a_blip_after_fifty_rows_pages_nobody() -> None:
    values = np.random.default_rng(52).uniform(0.09, 0.16, SECONDS)
    values[52:62] = 0.298
    assert fired(values[:, None]) == []


@pytest.mark.parametrize("begin", [90, 150, 250])
def test_processors_that_burn_page_for_every_steady_machine_within_half_a_minute(begin: int) -> None:
    seconds = np.stack(list(machines())[:SEEDS], axis=1)[: begin + 30]
    seconds[begin:] = np.random.default_rng(begin).uniform(0.98, 1.0, (30, SEEDS))
    found = fired(seconds)
    assert len(found) == SEEDS
    assert all(begin < second <= begin + 30 for second in found)


def test_a_machine_that_falls_silent_pages_within_five_minutes() -> None:
    seconds = next(machines())[:100, None]
    assert [second <= SECONDS for second in fired(seconds, SECONDS - 100)] == [True]
