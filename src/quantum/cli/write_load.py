"""Remote-write load for measurements: a fleet of series whose requests differ only in times and values.

The message is encoded once; each request patches the eight bytes of every value and the six of every time, so that
making the load costs the machine little beside taking it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aiohttp
import cramjam
import numpy as np

from quantum.cli import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

TIME_BYTES: Final = 6
"""Unix milliseconds of our days take six bytes as a varint."""
STEP_MS: Final = 10_000
KINDS, COUNTER, CONSTANT = 4, 1, 2
"""Of four series two are gauges, one is a counter and one never changes."""
HEADERS: Final = {"content-type": "application/x-protobuf", "content-encoding": "snappy"}
TOO_BAD: Final = 300


@dataclass(frozen=True, slots=True)
class Fleet:
    """How a load looks: so many series, so many samples of each in a request."""

    series: int
    samples_each: int

    @property
    def rows(self) -> int:
        """Samples in one request."""
        return self.series * self.samples_each


class Load:
    """Makes the requests of a fleet: values of gauges with two decimals, counters and constants, 10 s apart."""

    def __init__(self, fleet: Fleet, first_ms: int, seed: int = 1) -> None:
        self._fleet = fleet
        self._at_ms = first_ms
        self._random = np.random.default_rng(seed)
        self._level = self._random.integers(0, 10_000, fleet.series).astype(np.float64)
        message, values, times = _template(fleet)
        self._message = np.frombuffer(message, np.uint8).copy()
        self._value_places = np.array(values)[:, None] + np.arange(8)
        self._time_places = np.array(times)[:, None] + np.arange(TIME_BYTES)

    def next_body(self) -> bytes:
        """Return the next request's body: all series, later than everything before."""
        fleet = self._fleet
        kinds = np.arange(fleet.series) % KINDS
        steps = self._random.integers(-50, 51, (fleet.series, fleet.samples_each))
        steps[kinds == COUNTER] = np.abs(steps[kinds == COUNTER])
        steps[kinds == CONSTANT] = 0
        levels = self._level[:, None] + np.cumsum(steps, axis=1)
        self._level = levels[:, -1]
        values = np.where(kinds[:, None] == COUNTER, levels, levels / 100.0)
        at_ms = self._at_ms + STEP_MS * np.arange(fleet.samples_each)
        self._at_ms += STEP_MS * fleet.samples_each
        self._message[self._value_places] = values.reshape(-1, 1).view(np.uint8).reshape(-1, 8)
        self._message[self._time_places] = _varints(np.tile(at_ms, fleet.series))
        return bytes(cramjam.snappy.compress_raw(self._message.tobytes()))


def _varints(numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    parts = (numbers[:, None] >> (7 * np.arange(TIME_BYTES))) & 127
    parts[:, :-1] |= 128
    return parts.astype(np.uint8)


def _template(fleet: Fleet) -> tuple[bytes, list[int], list[int]]:
    """Return a message, and where in it the values and the times are."""
    message, values, times = bytearray(), list[int](), list[int]()
    sample = b"\x12\x10\x09" + bytes(8) + b"\x10" + bytes(TIME_BYTES)
    for index in range(fleet.series):
        labels = b"".join(_field(1, _field(1, name) + _field(2, value)) for name, value in _labels(index))
        body = labels + sample * fleet.samples_each
        message += _field(1, body)
        first = len(message) - len(sample) * fleet.samples_each
        for start in range(first, len(message), len(sample)):
            values.append(start + 3)
            times.append(start + 12)
    return bytes(message), values, times


def _labels(index: int) -> list[tuple[bytes, bytes]]:
    pairs = {
        "__name__": f"bench_metric_{index % 50}_total",
        "env": "production",
        "instance": f"host-{index // 50:04d}.example.com:9100",
        "job": "bench",
        "mode": f"mode{index % 7}",
        "region": "eu-west-1",
    }
    return [(name.encode(), value.encode()) for name, value in pairs.items()]


def _field(number: int, payload: bytes) -> bytes:
    size, length = bytearray(), len(payload)
    while length > 127:
        size.append(length & 127 | 128)
        length >>= 7
    return bytes([number << 3 | 2, *size, length]) + payload


async def send(url: str, bodies: Sequence[bytes], connections: int) -> NDArray[np.float64]:
    """Send bodies over some connections, each waiting for its answer; return the latencies in seconds.

    Raises:
        CommandFailed: an answer was not a 2xx, or none came.
    """
    waiting = list(reversed(bodies))
    latencies: list[float] = []

    async def sender(session: aiohttp.ClientSession) -> None:
        while waiting:
            begun = time.perf_counter()
            async with session.post(url, data=waiting.pop(), headers=HEADERS) as answer:
                text = await answer.text()
                if answer.status >= TOO_BAD:
                    raise CommandFailed(f"{url} answered {answer.status}: {text[:200]}")
            latencies.append(time.perf_counter() - begun)

    try:
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(sender(session) for _ in range(connections)))
    except aiohttp.ClientError as error:
        raise CommandFailed(f"{url} does not answer: {error}") from error
    return np.array(latencies)
