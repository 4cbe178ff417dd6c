"""Synthetic series with known events: what monitoring sees, seeded, of other kinds than any public corpus.

Each scenario gives a series and the row ranges that a person would want to hear about; some have none, on purpose.

>>> import numpy as np
>>> scenario = build_scenarios(seed=1)[0]
>>> scenario.name, scenario.at_ms.shape == scenario.values.shape
('level shift', True)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.domain.anomalies import OPENS, SUSTAINED_ROWS, follow_rows
from quantum.domain.pipeline import ANOMALY_SCORE

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator
    from numpy.typing import NDArray

    Values = NDArray[np.float64]
    Events = tuple[tuple[int, int], ...]

START_MS: Final = 1_767_571_200_000
"""Monday, 5 January 2026, 00:00 UTC."""
DAY: Final = 288
"""Five-minute rows of a day."""
SATURDAY: Final = 5
CRON_MINUTES: Final = 2
"""How long the hourly job of a scenario runs."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A series with known events.

    Attributes:
        name: what happens.
        at_ms: int64, shape (n,).
        values: float64, shape (n,).
        events: half-open row ranges.
    """

    name: str
    at_ms: NDArray[np.int64]
    values: Values
    events: Events


def opening_rows(at_ms: NDArray[np.int64], score: Values) -> NDArray[np.intp]:
    """Return the rows of one series at which the live system opens an anomaly: one high score, or eight raised ones."""
    runs, times, peak, is_open = (
        np.zeros((2, 1), np.int64),
        np.zeros((2, 1), np.int64),
        np.zeros(1),
        np.zeros(1, np.bool_),
    )
    slots = np.zeros(len(score), np.int64)
    means, _ = follow_rows(slots, at_ms, score, ANOMALY_SCORE, runs[0], times[0], is_open, peak, times[1], runs[1])
    return np.flatnonzero(means == OPENS)


def events_heard(scenario: Scenario, score: Values) -> list[bool]:
    """Return for each event whether an anomaly opens within it, or within eight rows of its end."""
    opened = opening_rows(scenario.at_ms, score)
    return [bool(((opened >= low) & (opened < high + SUSTAINED_ROWS)).any()) for low, high in scenario.events]


def build_scenarios(seed: int) -> list[Scenario]:
    """Return every scenario, drawn from one seed; equal seeds give equal series."""
    return [_build(name, interval_s, make, seed) for name, (interval_s, make) in SCENARIOS.items()]


def _build(name: str, interval_s: int, make: Callable[[Generator], tuple[Values, Events]], seed: int) -> Scenario:
    values, events = make(np.random.default_rng([seed, len(name), *name.encode()]))
    return Scenario(name, START_MS + np.arange(len(values)) * interval_s * 1000, values, events)


def _daily(rng: Generator, days: int, height: float = 40.0, noise: float = 2.0, rows_a_day: int = DAY) -> Values:
    phase = np.arange(days * rows_a_day) / rows_a_day
    return 60.0 - height * np.cos(2 * np.pi * phase) + rng.normal(0.0, noise, len(phase))


def _level_shift(rng: Generator) -> tuple[Values, Events]:
    values = rng.normal(100.0, 3.0, 6000)
    values[4000:] += 20.0
    return values, ((4000, 4060),)


def _spikes(rng: Generator) -> tuple[Values, Events]:
    values = rng.normal(20.0, 2.0, 8000)
    places = (2000, 4500, 7000)
    for place in places:
        values[place : place + 3] += 30.0
    return values, tuple((place, place + 3) for place in places)


def _dip_in_season(rng: Generator) -> tuple[Values, Events]:
    values = _daily(rng, 20)
    at = 15 * DAY + DAY // 2
    values[at : at + 24] -= 35.0
    return values, ((at, at + 24),)


def _missing_cycle(rng: Generator) -> tuple[Values, Events]:
    values = _daily(rng, 20)
    values[15 * DAY : 16 * DAY] = rng.normal(20.0, 2.0, DAY)
    return values, ((15 * DAY, 16 * DAY),)


def _variance_up(rng: Generator) -> tuple[Values, Events]:
    values = rng.normal(50.0, 2.0, 6000)
    values[4000:4200] = rng.normal(50.0, 8.0, 200)
    return values, ((4000, 4200),)


def _variance_down(rng: Generator) -> tuple[Values, Events]:
    values = rng.normal(50.0, 5.0, 6000)
    values[4000:4200] = rng.normal(50.0, 0.3, 200)
    return values, ((4000, 4200),)


def _slow_drift(rng: Generator) -> tuple[Values, Events]:
    values = rng.normal(50.0, 2.0, 8000)
    values[5000:7000] += np.linspace(0.0, 30.0, 2000)
    values[7000:] += 30.0
    return values, ((5000, 7000),)


def _stuck(rng: Generator) -> tuple[Values, Events]:
    values = _daily(rng, 16, 20.0, 3.0)
    at = 12 * DAY + 100
    values[at : at + 150] = values[at]
    return values, ((at, at + 150),)


def _drop_to_zero(rng: Generator) -> tuple[Values, Events]:
    values = np.abs(_daily(rng, 14, 40.0, 4.0))
    values[10 * DAY + 150 : 10 * DAY + 190] = 0.0
    return values, ((10 * DAY + 150, 10 * DAY + 190),)


def _quiet_weekends(rng: Generator) -> tuple[Values, Events]:
    values = _daily(rng, 35, 40.0, 3.0)
    weekend = (np.arange(len(values)) // DAY) % 7 >= SATURDAY
    values[weekend] = 22.0 + (values[weekend] - 60.0) * 0.05 + rng.normal(0.0, 2.0, int(weekend.sum()))
    at = 30 * DAY + 140
    values[at : at + 20] += 45.0
    return values, ((at, at + 20),)


def _random_walk(rng: Generator) -> tuple[Values, Events]:
    return 1000.0 + np.cumsum(rng.normal(0.0, 1.0, 8000)), ()


def _heavy_tails(rng: Generator) -> tuple[Values, Events]:
    return 100.0 + 5.0 * rng.standard_t(3.0, 10000), ()


def _lognormal_latency(rng: Generator) -> tuple[Values, Events]:
    values = rng.lognormal(3.0, 0.6, 9000)
    values[6000:6060] *= 6.0
    return values, ((6000, 6060),)


def _sawtooth(rng: Generator) -> tuple[Values, Events]:
    values = np.mod(np.arange(8000) * 1.7 + rng.normal(0.0, 0.5, 8000), 500.0)
    values[6000:6030] = 0.0
    return values, ((6000, 6030),)


def _sparse_counts(rng: Generator) -> tuple[Values, Events]:
    values = rng.poisson(0.05, 9000).astype(np.float64)
    values[6000:6010] = rng.poisson(12.0, 10)
    return values, ((6000, 6010),)


def _flat_then_jump(rng: Generator) -> tuple[Values, Events]:
    values = np.full(4000, 45.0)
    values[3000:3040] = 60.0 + rng.normal(0.0, 0.1, 40)
    return values, ((3000, 3040),)


def _cpu_burn(rng: Generator) -> tuple[Values, Events]:
    values = np.clip(rng.normal(10.0, 2.5, 900), 0.0, 100.0)
    values[300:330] = rng.normal(60.0, 2.0, 30)
    values[700:730] = rng.normal(60.0, 2.0, 30)
    return values, ((300, 330), (700, 730))


def _bursty_cpu(rng: Generator) -> tuple[Values, Events]:
    values = rng.gamma(0.7, 6.0, 7200)
    values[5000:5120] = np.clip(rng.normal(95.0, 2.0, 120), 0.0, 100.0)
    return values, ((5000, 5120),)


def _hourly_traffic(rng: Generator) -> tuple[Values, Events]:
    values = np.maximum(0.0, _daily(rng, 70, 50.0, 6.0, 24))
    values[60 * 24 + 10 : 60 * 24 + 16] = 3.0
    return values, ((60 * 24 + 10, 60 * 24 + 16),)


def _cron_minutes(rng: Generator) -> tuple[Values, Events]:
    values = rng.normal(15.0, 1.0, 8 * 1440)
    values[np.arange(len(values)) % 60 < CRON_MINUTES] += 50.0
    values[9000:9010] += 50.0
    return values, ((9000, 9010),)


def _steps_between_modes(rng: Generator) -> tuple[Values, Events]:
    modes = rng.integers(0, 3, 400) * 20.0 + 10.0
    return np.repeat(modes, 20) + rng.normal(0.0, 1.0, 8000), ()


def _memory_leak(rng: Generator) -> tuple[Values, Events]:
    values = 40.0 + rng.normal(0.0, 0.5, 7200)
    values[4000:] += np.linspace(0.0, 50.0, 3200)
    return values, ((4000, 7200),)


def _job_of_twenty_minutes(rng: Generator) -> tuple[Values, Events]:
    values = np.clip(rng.normal(12.0, 2.5, 18_000), 0.0, 100.0)
    for run in range(15):
        begin = 300 + 1200 * run + int(rng.integers(-3, 4))
        if run != 11:
            values[begin : begin + int(rng.integers(35, 46))] += 45.0
    return values, ((300 + 1200 * 11, 300 + 1200 * 11 + 240),)


def _job_of_the_hour(rng: Generator) -> tuple[Values, Events]:
    values = rng.gamma(4.0, 3.0, 8 * 1440)
    runs = np.arange(len(values)) % 60
    values[(runs >= 5) & (runs < 8)] += 60.0
    at = (6 * 24 + 13) * 60 + 5
    values[at : at + 3] -= 60.0
    return values, ((at, at + 12),)


def _job_of_the_night(rng: Generator) -> tuple[Values, Events]:
    values = _daily(rng, 24, 20.0, 3.0)
    for day in range(24):
        begin = day * DAY + 24 + int(rng.integers(-1, 2))
        if day != 19:
            values[begin : begin + 4] += 70.0
    return values, ((19 * DAY + 24, 19 * DAY + 54),)


def _busy_weekend(rng: Generator) -> tuple[Values, Events]:
    values = _daily(rng, 35, 40.0, 3.0)
    weekend = (np.arange(len(values)) // DAY) % 7 >= SATURDAY
    weekend[33 * DAY : 34 * DAY] = False
    values[weekend] = 22.0 + (values[weekend] - 60.0) * 0.05 + rng.normal(0.0, 2.0, int(weekend.sum()))
    return values, ((33 * DAY, 34 * DAY),)


def _job_of_the_week(rng: Generator) -> tuple[Values, Events]:
    values = _daily(rng, 84, 15.0, 3.0, 24)
    for week in range(12):
        begin = (7 * week + 6) * 24 + 3
        if week != 9:
            values[begin : begin + 4] += 80.0
    return values, (((7 * 9 + 6) * 24 + 3, (7 * 9 + 6) * 24 + 15),)


def _backup_of_the_week(rng: Generator) -> tuple[Values, Events]:
    values = _daily(rng, 70, 15.0, 3.0)
    for week in range(10):
        begin = (7 * week + 6) * DAY + 36 + int(rng.integers(-2, 3))
        values[begin : begin + 24] += 80.0
    at = (7 * 8 + 2) * DAY + 168
    values[at : at + 24] += 80.0
    return values, ((at, at + 24),)


def _noise(rng: Generator) -> tuple[Values, Events]:
    return rng.normal(0.0, 1.0, 10000), ()


SCENARIOS: Final[dict[str, tuple[int, Callable[[Generator], tuple[Values, Events]]]]] = {
    "level shift": (60, _level_shift),
    "spikes": (60, _spikes),
    "dip in season": (300, _dip_in_season),
    "missing cycle": (300, _missing_cycle),
    "variance up": (60, _variance_up),
    "variance down": (60, _variance_down),
    "slow drift": (60, _slow_drift),
    "stuck value": (300, _stuck),
    "drop to zero": (300, _drop_to_zero),
    "quiet weekends": (300, _quiet_weekends),
    "random walk": (60, _random_walk),
    "heavy tails": (60, _heavy_tails),
    "lognormal latency": (10, _lognormal_latency),
    "sawtooth": (60, _sawtooth),
    "sparse counts": (60, _sparse_counts),
    "flat then jump": (60, _flat_then_jump),
    "cpu burn": (1, _cpu_burn),
    "bursty cpu": (1, _bursty_cpu),
    "hourly traffic": (3600, _hourly_traffic),
    "cron minutes": (60, _cron_minutes),
    "steps between modes": (60, _steps_between_modes),
    "memory leak": (10, _memory_leak),
    "noise": (60, _noise),
    "job of twenty minutes": (1, _job_of_twenty_minutes),
    "job of the hour": (60, _job_of_the_hour),
    "job of the night": (300, _job_of_the_night),
    "busy weekend": (300, _busy_weekend),
    "job of the week": (3600, _job_of_the_week),
    "backup of the week": (300, _backup_of_the_week),
}
"""Name -> (seconds between rows, generator)."""
