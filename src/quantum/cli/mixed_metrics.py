"""Mixed metrics: series as machines and programs really have them, of which each compresses in its own way.

Ten kinds in equal parts: gauges of one, two and three decimals with noise, counters of whole numbers and of seconds,
both with resets, constants, flags, latencies, quotients that use every bit of a float64, and memory in bytes. As with a
scrape, all series of an instance have the same times, which are exactly ten seconds apart; instances differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.cli.write_load import STEP_MS, Labels, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Random = np.random.Generator
    Shape = tuple[int, int]
    Values = NDArray[np.float64]

STEPS: Final = 8640
"""Of 24 hours."""
DEVICES: Final = 5
ROWS_AT_ONCE: Final = 2000
"""So many samples a request has, as Prometheus sends them."""
PAGE_BYTES: Final = 4096
RESETS: Final = 2e-4
"""How often a counter begins anew, and a flag changes: about twice in 24 hours."""


@dataclass(frozen=True, slots=True, eq=False)
class Mixed:
    """Series and all their samples.

    Attributes:
        labels: of each series.
        at_ms: int64 (series, steps).
        values: float64 (series, steps).
    """

    labels: tuple[Labels, ...]
    at_ms: NDArray[np.int64]
    values: NDArray[np.float64]

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return self.values.size

    def bodies(self) -> Iterator[bytes]:
        """Yield the remote-write requests that bring all samples, in order of time."""
        series, steps = self.values.shape
        each = max(1, min(ROWS_AT_ONCE // series, steps))
        writer = Writer(self.labels, each)
        for start in range(0, steps - steps % each, each):
            yield writer.body(self.at_ms[:, start : start + each], self.values[:, start : start + each])
        if rest := steps % each:
            yield Writer(self.labels, rest).body(self.at_ms[:, -rest:], self.values[:, -rest:])

    def of(self, name: str) -> NDArray[np.intp]:
        """Return the series that have a metric name."""
        return np.flatnonzero([one["__name__"] == name for one in self.labels])


def make_mixed(series: int, first_ms: int, steps: int = STEPS, seed: int = 1) -> Mixed:
    """Return `series` series (rounded to a multiple of the kinds), whose first samples are within ten seconds."""
    random, each = np.random.default_rng(seed), max(1, round(series / len(KINDS)))
    values = np.stack([make(random, (each, steps)) for make in KINDS.values()])
    hosts = [range(first, min(first + DEVICES, each)) for first in range(0, each, DEVICES)]
    labels = tuple(
        _labels(name, host, place - places[0])
        for host, places in enumerate(hosts)
        for name in KINDS
        for place in places
    )
    # an instance is scraped as a whole: its series come together
    by_host = np.concatenate([values[:, list(places)].reshape(-1, steps) for places in hosts])
    late_ms = np.repeat(random.integers(1, STEP_MS, len(hosts)), [len(KINDS) * len(places) for places in hosts])
    return Mixed(labels, first_ms + late_ms[:, None] + STEP_MS * np.arange(steps), by_host)


def _labels(name: str, host: int, device: int) -> Labels:
    return {
        "__name__": name,
        "device": f"device{device}",
        "env": "production",
        "instance": f"host-{host:04d}.example.com:9100",
        "job": "bench",
        "region": "eu-west-1",
    }


def _temperatures(random: Random, shape: Shape) -> Values:
    day = np.sin(np.arange(shape[1], dtype=np.float64) * (2 * np.pi / STEPS) + random.uniform(0, 6.3, (shape[0], 1)))
    return np.round(20.0 + 4.0 * day + random.normal(0.0, 0.3, shape), 1)


def _percentages(random: Random, shape: Shape) -> Values:
    busy = 30.0 + _walk(random, shape, 0.2) + random.normal(0.0, 4.0, shape)
    return np.round(busy.clip(0.0, 100.0), 2)


def _voltages(random: Random, shape: Shape) -> Values:
    return np.round(12.0 + _walk(random, shape, 0.001) + random.normal(0.0, 0.02, shape), 3)


def _requests(random: Random, shape: Shape) -> Values:
    return _counted(random, random.poisson(random.gamma(2.0, 40.0, (shape[0], 1)), shape).astype(np.float64))


def _seconds(random: Random, shape: Shape) -> Values:
    return np.round(_counted(random, np.round(random.gamma(2.0, 0.6, shape), 2)), 2)


def _constants(random: Random, shape: Shape) -> Values:
    return np.repeat(random.integers(1, 10_000, (shape[0], 1)).astype(np.float64), shape[1], axis=1)


def _flags(random: Random, shape: Shape) -> Values:
    return 1.0 - (np.cumsum(random.random(shape) < RESETS, axis=1) % 2).astype(np.float64)


def _latencies(random: Random, shape: Shape) -> Values:
    return np.round(random.lognormal(2.5, 0.4, shape), 3)


def _quotients(random: Random, shape: Shape) -> Values:
    hits = random.poisson(900.0, shape).astype(np.float64)
    return hits / (hits + 1.0 + random.poisson(80.0, shape))


def _memory(random: Random, shape: Shape) -> Values:
    pages = random.integers(-200, 220, shape) * (random.random(shape) < 0.3)
    return PAGE_BYTES * (50_000.0 + np.abs(np.cumsum(pages, axis=1)))


def _walk(random: Random, shape: Shape, step: float) -> Values:
    return np.cumsum(random.normal(0.0, step, shape), axis=1)


def _counted(random: Random, steps: Values) -> Values:
    """Return the running sum of steps, which begins anew at random."""
    totals = np.cumsum(steps, axis=1)
    is_reset = random.random(steps.shape) < RESETS
    return totals - np.maximum.accumulate(np.where(is_reset, totals, 0.0), axis=1)


KINDS: Final[dict[str, Callable[[Random, Shape], Values]]] = {
    "room_temperature_celsius": _temperatures,
    "node_cpu_busy_percent": _percentages,
    "board_supply_volts": _voltages,
    "http_requests_total": _requests,
    "process_cpu_seconds_total": _seconds,
    "pool_connections_limit": _constants,
    "backend_healthy": _flags,
    "http_request_duration_milliseconds": _latencies,
    "cache_hit_ratio": _quotients,
    "process_resident_memory_bytes": _memory,
}
"""How the values of each metric are made."""
