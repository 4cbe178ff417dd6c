"""Load for measurements: requests of the same series that differ only in times and values.

A remote-write message is encoded once; each request patches the eight bytes of every value and the six of every time,
so that making the load costs the machine little beside taking it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

import aiohttp
import cramjam
import numpy as np

from quantum.cli import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

TIME_BYTES: Final = 6
"""Unix milliseconds of our days take six bytes as a varint."""
STEP_MS: Final = 10_000
KINDS, COUNTER, CONSTANT = 4, 1, 2
"""Of four series two are gauges, one is a counter and one never changes."""
HEADERS: Final = {"content-type": "application/x-protobuf", "content-encoding": "snappy"}
LINE_HEADERS: Final = {"content-type": "text/plain; charset=utf-8"}
LINE_FIELDS: Final = 10
TOO_BAD: Final = 300

Labels = dict[str, str]


@dataclass(frozen=True, slots=True)
class Fleet:
    """How a load looks: so many series, so many samples of each in a request.

    Attributes:
        first: number of the first series; fleets whose numbers overlap share series.
    """

    series: int
    samples_each: int
    first: int = 0

    @property
    def rows(self) -> int:
        """Samples in one request."""
        return self.series * self.samples_each


class Sender(Protocol):
    """Makes the bodies of requests, each later than those before."""

    def next_body(self) -> bytes:
        """Return the next request's body."""
        ...


class Writer:
    """Remote-write requests of the same series: only times and values differ."""

    def __init__(self, labels: Sequence[Labels], samples_each: int) -> None:
        message, values, times = _template(labels, samples_each)
        self._message = np.frombuffer(message, np.uint8).copy()
        self._value_places = np.array(values)[:, None] + np.arange(8)
        self._time_places = np.array(times)[:, None] + np.arange(TIME_BYTES)

    def body(self, at_ms: NDArray[np.int64], values: NDArray[np.float64]) -> bytes:
        """Return a request's body; times and values have shape (series, samples_each)."""
        self._message[self._value_places] = values.reshape(-1, 1).view(np.uint8).reshape(-1, 8)
        self._message[self._time_places] = _varints(at_ms.ravel())
        return bytes(cramjam.snappy.compress_raw(self._message.tobytes()))


class Load:
    """Makes the requests of a fleet: values of gauges with two decimals, counters and constants, 10 s apart."""

    def __init__(self, fleet: Fleet, first_ms: int, seed: int = 1, step_ms: int = STEP_MS) -> None:
        self.fleet = fleet
        self._at_ms = first_ms
        self._step_ms = step_ms
        self._random = np.random.default_rng(seed)
        self._level = self._random.integers(0, 10_000, fleet.series).astype(np.float64)
        self._writer = Writer([_labels(fleet.first + index) for index in range(fleet.series)], fleet.samples_each)

    def go_on(self, samples_each: int, first_ms: int) -> Load:
        """Return a load of the same series that begins at a time, and with the values that this one has come to."""
        later = Load(replace(self.fleet, samples_each=samples_each), first_ms, step_ms=self._step_ms)
        later._level = self._level
        return later

    def next_body(self) -> bytes:
        """Return the next request's body: all series, later than everything before."""
        fleet = self.fleet
        kinds = np.arange(fleet.series) % KINDS
        steps = self._random.integers(-50, 51, (fleet.series, fleet.samples_each))
        steps[kinds == COUNTER] = np.abs(steps[kinds == COUNTER])
        steps[kinds == CONSTANT] = 0
        levels = self._level[:, None] + np.cumsum(steps, axis=1)
        self._level = levels[:, -1]
        values = np.where(kinds[:, None] == COUNTER, levels, levels / 100.0)
        at_ms = self._at_ms + self._step_ms * np.arange(fleet.samples_each)
        self._at_ms += self._step_ms * fleet.samples_each
        return self._writer.body(np.tile(at_ms, (fleet.series, 1)), values)


class LineLoad:
    """Makes requests in the Influx line protocol as Telegraf does: a line has ten fields, each of them a series."""

    def __init__(self, fleet: Fleet, first_ms: int, seed: int = 1) -> None:
        self._at_ms = first_ms
        self._random = np.random.default_rng(seed)
        hosts = range(fleet.series // LINE_FIELDS)
        self._lines = [_line(host) for host in hosts]

    def next_body(self) -> bytes:
        """Return the next request's body: all series at one time, later than everything before."""
        values = np.round(self._random.uniform(0.0, 100.0, (len(self._lines), LINE_FIELDS)), 2).tolist()
        lines = [line.format(*row, self._at_ms) for line, row in zip(self._lines, values, strict=True)]
        self._at_ms += STEP_MS
        return "".join(lines).encode()


def _line(host: int) -> str:
    fields = ",".join(f"usage_{number}={{}}" for number in range(LINE_FIELDS))
    return f"bench_cpu,env=production,host=host-{host:04d}.example.com,region=eu-west-1 {fields} {{}}\n"


def _varints(numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    parts = (numbers[:, None] >> (7 * np.arange(TIME_BYTES))) & 127
    parts[:, :-1] |= 128
    return parts.astype(np.uint8)


def _template(labels: Sequence[Labels], samples_each: int) -> tuple[bytes, list[int], list[int]]:
    """Return a message, and where in it the values and the times are."""
    message, values, times = bytearray(), list[int](), list[int]()
    sample = b"\x12\x10\x09" + bytes(8) + b"\x10" + bytes(TIME_BYTES)
    for one in labels:
        names = sorted((name.encode(), value.encode()) for name, value in one.items())
        body = b"".join(_field(1, _field(1, name) + _field(2, value)) for name, value in names)
        message += _field(1, body + sample * samples_each)
        first = len(message) - len(sample) * samples_each
        for start in range(first, len(message), len(sample)):
            values.append(start + 3)
            times.append(start + 12)
    return bytes(message), values, times


def _labels(index: int) -> Labels:
    return {
        "__name__": f"bench_metric_{index % 50}_total",
        "env": "production",
        "instance": f"host-{index // 50:04d}.example.com:9100",
        "job": "bench",
        "mode": f"mode{index % 7}",
        "region": "eu-west-1",
    }


def _field(number: int, payload: bytes) -> bytes:
    size, length = bytearray(), len(payload)
    while length > 127:
        size.append(length & 127 | 128)
        length >>= 7
    return bytes([number << 3 | 2, *size, length]) + payload


def send_all(url: str, bodies: Iterable[bytes], headers: Mapping[str, str] = HEADERS) -> NDArray[np.float64]:
    """Send bodies one after the other, each after the answer to the one before; return the latencies in seconds.

    Raises:
        CommandFailed: an answer was not a 2xx, or none came.
    """
    return asyncio.run(_send(url, bodies, headers))


async def _send(url: str, bodies: Iterable[bytes], headers: Mapping[str, str]) -> NDArray[np.float64]:
    latencies: list[float] = []
    try:
        async with aiohttp.ClientSession(headers=headers) as session:
            for body in bodies:
                begun = time.perf_counter()
                async with session.post(url, data=body) as answer:
                    text = await answer.text()
                    if answer.status >= TOO_BAD:
                        raise CommandFailed(f"{url} answered {answer.status}: {text[:200]}")
                latencies.append(time.perf_counter() - begun)
    except aiohttp.ClientError as error:
        raise CommandFailed(f"{url} does not answer: {error}") from error
    return np.array(latencies)
