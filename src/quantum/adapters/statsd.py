"""StatsD and DogStatsD over UDP: many small events, gathered into one sample of each series every few seconds.

`name:value|type|@rate|#tag:value,...`, one a line. A counter becomes its rate, `name_per_s`; a gauge keeps its name;
timers, histograms and distributions become `_count`, `_sum`, `_min`, `_max`, `_p50`, `_p90` and `_p99` of the interval;
a set becomes `name_unique`. Nobody is told of a bad line, as UDP has no answers; it is counted by reason.

Formats: https://github.com/statsd/statsd/blob/master/docs/metric_types.md and
https://docs.datadoghq.com/developers/dogstatsd/datagram_shell/.
"""

from __future__ import annotations

import asyncio
import re
from array import array
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from quantum.domain.errors import Rejected, Unavailable
from quantum.domain.labels import NAME, LabelSet

if TYPE_CHECKING:
    from collections.abc import Iterator

FLUSH_MS: Final = 10_000
FORGET_MS: Final = 3_600_000
"""So long a counter goes on as 0, and a gauge as it was, after its last event."""
MAX_SERIES: Final = 100_000
MAX_MEMBERS: Final = 10_000
"""Of one set in one interval."""
MAX_VALUES: Final = 10_000
"""Of one timer in one interval; beyond it every second, fourth, ... value counts toward the percentiles."""
PERCENTILES: Final = (50, 90, 99)
TIMERS: Final = frozenset({b"ms", b"h", b"d"})
TYPES: Final = TIMERS | {b"c", b"g", b"s"}

_LINE: Final = re.compile(rb"(?P<name>[^:|\s][^:|]*):(?P<values>[^|]+)\|(?P<type>[a-z]+)(?P<rest>(?:\|.*)?)", re.DOTALL)
_NUMBER: Final = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_NO_NAME: Final = re.compile(r"[^a-zA-Z0-9_:]")
_NO_LABEL: Final = re.compile(r"[^a-zA-Z0-9_]")
_SIGNS: Final = (b"+", b"-")
_MS_PER_S: Final = 1000


@dataclass(slots=True)
class Timer:
    """Values of one interval.

    Attributes:
        count: of events, those that were left out by sampling included; `total` is the sum of their values.
    """

    count: float = 0.0
    total: float = 0.0
    least: float = np.inf
    most: float = -np.inf
    values: array[float] = field(default_factory=lambda: array("d"))
    stride: int = 1
    seen: int = 0

    def add(self, value: float, weight: float) -> None:
        """Take a value that stands for `weight` events."""
        self.count += weight
        self.total += value * weight
        self.least, self.most = min(self.least, value), max(self.most, value)
        if self.seen % self.stride == 0:
            self.values.append(value)
        self.seen += 1
        if len(self.values) > MAX_VALUES:
            self.values = self.values[::2]
            self.stride *= 2

    def readings(self) -> Iterator[tuple[str, float]]:
        """Yield suffix and value of each series."""
        yield from (("_count", self.count), ("_sum", self.total), ("_min", self.least), ("_max", self.most))
        found = np.percentile(np.frombuffer(self.values), PERCENTILES)
        for percentile, value in zip(PERCENTILES, found.tolist(), strict=True):
            yield f"_p{percentile}", value


Key = tuple[bytes, bytes]
"""Name and tags as sent."""


class Gathered:
    """What came in since the last flush. Not safe for threads.

    Attributes:
        packets: that came.
        refused: lines, by reason.
    """

    def __init__(self, now_ms: int) -> None:
        self.packets = 0
        self.refused: Counter[str] = Counter()
        self._since_ms = now_ms
        self._counters: dict[Key, float] = {}
        self._gauges: dict[Key, float] = {}
        self._timers: dict[Key, Timer] = {}
        self._sets: dict[Key, set[bytes]] = {}
        self._last_ms: dict[Key, int] = {}

    def take(self, packet: bytes) -> None:
        """Take a packet of one or more lines; bad ones are counted and keep none of the others out."""
        self.packets += 1
        for line in packet.split(b"\n"):
            if line.strip():
                try:
                    self._take_line(line.strip())
                except Rejected as refusal:
                    self.refused[refusal.reason] += 1

    def flush(self, now_ms: int) -> list[tuple[LabelSet, float]]:
        """Return a reading of every series and begin a new interval; those not heard of for an hour are forgotten."""
        elapsed_s = max(now_ms - self._since_ms, 1) / _MS_PER_S
        found = list(self._readings(elapsed_s))
        for key in [key for key, last_ms in self._last_ms.items() if now_ms - last_ms >= FORGET_MS]:
            del self._last_ms[key]
            self._counters.pop(key, None)
            self._gauges.pop(key, None)
        self._counters = dict.fromkeys(self._counters, 0.0)
        self._timers, self._sets, self._since_ms = {}, {}, now_ms
        return list({labels: value for labels, value in found if np.isfinite(value)}.items())

    def _readings(self, elapsed_s: float) -> Iterator[tuple[LabelSet, float]]:
        for key, count in self._counters.items():
            yield _labels(*key, "_per_s"), count / elapsed_s
        for key, value in self._gauges.items():
            yield _labels(*key, ""), value
        for key, timer in self._timers.items():
            for suffix, value in timer.readings():
                yield _labels(*key, suffix), value
        for key, members in self._sets.items():
            yield _labels(*key, "_unique"), float(len(members))

    def _take_line(self, line: bytes) -> None:
        if line.startswith((b"_e{", b"_sc|")):
            raise Rejected("no_metric", "events and service checks are no metrics")
        parts = _LINE.fullmatch(line)
        if parts is None:
            raise Rejected("syntax", f"{line[:80]!r} is not name:value|type")
        kind = parts["type"]
        if kind not in TYPES:
            raise Rejected("type", f"there is no type {kind[:20]!r}")
        rate, tags = _extras(parts["rest"])
        key = parts["name"], tags
        _labels(*key, "")
        if key not in self._last_ms and len(self._last_ms) >= MAX_SERIES:
            raise Rejected("series_limit", f"{MAX_SERIES} series at a time, {line[:80]!r} would be another")
        for value in parts["values"].split(b":"):
            self._take_value(kind, key, value, 1 / rate)
            self._last_ms[key] = self._since_ms

    def _take_value(self, kind: bytes, key: Key, text: bytes, weight: float) -> None:
        if kind == b"s":
            members = self._sets.setdefault(key, set())
            if len(members) >= MAX_MEMBERS and text not in members:
                raise Rejected("set_limit", f"a set has at most {MAX_MEMBERS} members")
            members.add(text)
            return
        value = _number(text)
        if kind == b"c":
            self._counters[key] = self._counters.get(key, 0.0) + value * weight
        elif kind == b"g":
            self._gauges[key] = value + (self._gauges.get(key, 0.0) if text[:1] in _SIGNS else 0.0)
        else:
            self._timers.setdefault(key, Timer()).add(value, weight)


def _number(text: bytes) -> float:
    value = float(text) if _NUMBER.fullmatch(text) else np.nan
    if not np.isfinite(value):
        raise Rejected("value", f"the value {text[:40]!r} is no finite number")
    return value


def _extras(rest: bytes) -> tuple[float, bytes]:
    """Return sample rate and tags; parts that say something else, such as a container's id, are skipped."""
    rate, tags = 1.0, b""
    for part in rest.split(b"|")[1:]:
        if part[:1] == b"@":
            rate = _number(part[1:])
            if not 0 < rate <= 1:
                raise Rejected("sample_rate", f"the sample rate {rate} is not over 0 and up to 1")
        elif part[:1] == b"#":
            tags = part[1:]
    return rate, tags


@lru_cache(maxsize=MAX_SERIES)
def _labels(name: bytes, tags: bytes, suffix: str) -> LabelSet:
    """Return the label set of a series; a tag without a value is `true`.

    Raises:
        Rejected: `label_utf8`, or what `LabelSet.of` refuses.
    """
    try:
        pairs = [(NAME, _NO_NAME.sub("_", name.decode()) + suffix)]
        for tag in filter(None, tags.decode().split(",")):
            key, colon, value = tag.partition(":")
            pairs.append((_NO_LABEL.sub("_", key), value if colon else "true"))
    except UnicodeDecodeError as error:
        raise Rejected("label_utf8", f"a name or tag is not valid UTF-8: {error.object[:40]!r}") from error
    return LabelSet.of(list(dict.fromkeys(pairs)))


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, gathered: Gathered) -> None:
        self._gathered = gathered

    def datagram_received(self, data: bytes, addr: object) -> None:
        """See asyncio.DatagramProtocol."""
        del addr
        self._gathered.take(data)


async def listen(address: str, gathered: Gathered) -> Any:
    """Return a transport that takes packets in until it is closed.

    Args:
        address: `host:port`, for example `127.0.0.1:8125` or `[::1]:8125`.
        gathered: gets them.

    Raises:
        Unavailable: the address cannot be had.
    """
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Protocol(gathered), local_addr=(host.strip("[]"), int(port))
        )
    except OSError as error:
        sentence = f"cannot listen on {address} for StatsD: {error.strerror or error}; see ingest.statsd"
        raise Unavailable(sentence) from None
    return transport
