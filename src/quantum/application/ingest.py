"""Ingest: from what a decoder understood to facts that are durable, with an account of every sample.

A decoder hands over columns and the raw identity of each series; labels are only decoded for a series that is new to
this process. Rows are screened in whole columns, the rest is proposed to the log in one piece, and the receipt says
what became of each row: `accepted + duplicates + sum(rejected.values())` is always what was sent. One bad sample
never takes its neighbours along.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.application.directory import DEFAULT_MAX_KEYS, Directory
from quantum.application.headroom import Headroom
from quantum.application.keys import ABSENT, Keys
from quantum.application.ports import CONFLICT, DUPLICATE, STORED, SampleProposal
from quantum.application.rates import Rate
from quantum.domain.errors import OutOfRoom, Rejected, Throttled
from quantum.domain.labels import MAX_WRITTEN_BYTES
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from quantum.application.headroom import Shortage
    from quantum.application.ports import Clock, EventStream, FactLog, SampleStore
    from quantum.domain.labels import LabelSet

MAX_EXAMPLES: Final = 5
MOST_KEY_BYTES: Final = 64 << 20
"""Of all series of a request, written out."""
LONG_BYTES: Final = 16_384
"""After a series whose labels take more than this others have their turn as well."""
NAMES_PER_TURN: Final = 500
"""How many new label sets are decoded (10 to 40 us each) before other requests get their turn."""

MEMORY_LIMIT: Final = "memory_limit"
RESERVED: Final = 2
"""So many times the limit of series may be registered: those that have data, and those that had."""

_MINUTE_MS: Final = 60_000
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one installation accepts. Each limit's id is the reason of its refusals.

    Attributes:
        max_future_ms: `too_far_in_future`: how far ahead of the clock a sample may be.
        max_age_ms: `too_old`: how old a sample may be; backfill is exempt.
        max_series: `series_limit`: distinct series that have data, and as many again whose data is forgotten; samples
            of known series go on being stored.
        max_series_per_request: `request_series_limit`: refuses the whole request.
        max_samples_per_request: `request_sample_limit`: refuses the whole request.
        max_samples_per_s: `samples_per_second`: over time; a burst may have ten seconds' worth. 0 means any.
        max_known_keys: of raw keys held in memory; beyond it the least recently used are forgotten.
    """

    max_future_ms: int = 10 * _MINUTE_MS
    max_age_ms: int = 30 * _DAY_MS
    max_series: int = 1_000_000
    max_series_per_request: int = 100_000
    max_samples_per_request: int = 1_000_000
    max_samples_per_s: int = 0
    max_known_keys: int = DEFAULT_MAX_KEYS

    def by_id(self) -> dict[str, float]:
        """Return the limits by the reasons of their refusals."""
        return {
            "too_far_in_future": self.max_future_ms,
            "too_old": self.max_age_ms,
            "series_limit": self.max_series,
            "request_series_limit": self.max_series_per_request,
            "request_sample_limit": self.max_samples_per_request,
            "samples_per_second": self.max_samples_per_s or float("inf"),
        }


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refused sample (or series, if `at_ms` is None), for people."""

    reason: str
    message: str
    labels: LabelSet | None = None
    at_ms: int | None = None


@dataclass(slots=True)
class Refusals:
    """Refused samples counted by reason, with the first few as examples."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: list[Refusal] = field(default_factory=list)

    def add(self, example: Refusal, samples: int = 1) -> None:
        """Count `samples` refusals; keep the example while there are fewer than `MAX_EXAMPLES`."""
        self.counts[example.reason] += samples
        self.illustrate(example)

    @property
    def has_room(self) -> bool:
        """Whether another example would be kept."""
        return len(self.examples) < MAX_EXAMPLES

    def illustrate(self, example: Refusal) -> None:
        """Keep an example of something that is counted elsewhere."""
        if self.has_room:
            self.examples.append(example)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Incoming:
    """What a decoder understood of one request; the row columns have shape (n,).

    Attributes:
        keys: raw identity of each distinct series as received. Equal bytes mean equal label sets; the first byte tells
            protocols apart (`{` JSON, 0x0a protobuf, `l` labels).
        labels_of: decodes the labels of `keys[i]`; raises Rejected. Only called for series seen for the first time.
        row_series: int64, index into `keys`.
        at_ms: int64, Unix milliseconds.
        values: float64, every bit as received.
        refusals: what the decoder refused already.
        ignored: by kind, what the protocol carries besides samples and was left out by design.
    """

    keys: Sequence[bytes]
    labels_of: Callable[[int], LabelSet]
    row_series: NDArray[np.int64]
    at_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    refusals: Refusals = field(default_factory=Refusals)
    ignored: Mapping[str, int] = field(default_factory=dict)

    def labels(self, index: int) -> LabelSet:
        """Return the labels of `keys[index]`.

        Raises:
            Rejected: `max_labels`, without decoding what no label set within the limits could be; or as `labels_of`.
        """
        size = len(self.keys[index])
        if size > MAX_WRITTEN_BYTES:
            raise Rejected("max_labels", f"the labels of a series take {size} bytes, more than any within the limits")
        return self.labels_of(index)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a request's samples: `accepted + duplicates + sum(rejected.values())` is what was sent."""

    accepted: int
    duplicates: int
    rejected: dict[str, int]
    examples: tuple[Refusal, ...]


class Ingest:
    """Takes samples in. Calls may run concurrently; `open` comes first.

    Attributes:
        limits: in force.
        accepted: samples stored since the start; `duplicates` were there already, `refused` are counted by reason.
        ignored: by kind, what came besides samples and was left out by design.
    """

    def __init__(
        self,
        log: FactLog,
        stream: EventStream,
        clock: Clock,
        limits: Limits | None = None,
        bare: Callable[[], int] = int,
        headroom: Headroom | None = None,
    ) -> None:
        """Take what is needed; `bare` returns how many series are registered and have nothing left."""
        self.limits = limits or Limits()
        self._bare = bare
        self._headroom = headroom or Headroom()
        self.accepted = 0
        self.duplicates = 0
        self.refused: Counter[str] = Counter()
        self.ignored: Counter[str] = Counter()
        self._log = log
        self._stream = stream
        self._clock = clock
        self._directory = Directory(self.limits.max_known_keys)
        self._rate = Rate(self.limits.max_samples_per_s, clock.now_ms()) if self.limits.max_samples_per_s else None

    async def open(self, store: SampleStore) -> None:
        """Load the directory of registered series; until then known series would count as new."""
        for slot, labels in await store.series():
            self._directory.register(labels, slot)

    @property
    def series(self) -> int:
        """How many series are registered, or about to be."""
        return len(self._directory) + self._directory.promised

    async def accept(self, incoming: Incoming, *, backfill: bool = False) -> Receipt:
        """Store every sample that is fit to be stored, durably, and account for all.

        NaN and infinities are stored as they came, bit by bit. Negative times are refused as `negative_time`. A sample
        whose series has one at that time already is a duplicate if the values are equal bit by bit, otherwise it is
        refused as `duplicate_value`: the first write wins.

        Raises:
            Rejected: `request_series_limit` or `request_sample_limit`: nothing was stored.
            Throttled: `samples_per_second`: nothing was stored; try again later. Backfill is exempt.
            OutOfRoom: every sample was of a new series and there is no memory for them: nothing was stored. Where a
                request has other samples too, those of new series are refused as `memory_limit` instead: a sender that
                repeats what is answered with "later" would hold back the series that are known.
            Overloaded: nothing was stored; try again later.
            Unavailable: unknown what was stored; sending the same again is safe.
        """
        check_request_size(self.limits, len(incoming.keys), len(incoming.at_ms))
        now_ms = self._clock.now_ms()
        if not backfill:
            self._keep_rate(len(incoming.at_ms), now_ms)
        refusals = Refusals(incoming.refusals.counts.copy(), list(incoming.refusals.examples))
        fit = _Screen(self.limits, now_ms, backfill=backfill).fit_rows(incoming, refusals)
        room = min(self.limits.max_series + self._bare(), RESERVED * self.limits.max_series)
        naming = _Naming(incoming, self._directory, room, self._headroom, refusals)
        try:
            slots = await naming.slots_of(fit)
            _put_off(slots, refusals)
            accepted, duplicates = await self._append(incoming, slots, naming, now_ms, backfill=backfill)
        finally:
            naming.close()
        self.accepted += accepted
        self.duplicates += duplicates
        self.refused.update(refusals.counts)
        self.ignored.update(incoming.ignored)
        return Receipt(accepted, duplicates, dict(refusals.counts), tuple(refusals.examples))

    def check_rate(self) -> None:
        """Refuse a request that would be refused whatever is in it, so that it need not be read.

        Raises:
            Throttled: `samples_per_second`: too many samples came just now.
        """
        self._keep_rate(0, self._clock.now_ms())

    def _keep_rate(self, samples: int, now_ms: int) -> None:
        wait_s = self._rate.take(samples, now_ms) if self._rate is not None else 0
        if wait_s:
            limit = self.limits.max_samples_per_s
            sentence = f"more than {limit} samples a second arrive (limits.max_samples_per_s); try again in {wait_s} s"
            raise Throttled("samples_per_second", sentence, wait_s)

    async def _append(
        self, incoming: Incoming, slots: NDArray[np.int64], naming: _Naming, now_ms: int, *, backfill: bool
    ) -> tuple[int, int]:
        """Append the rows that have a slot; return how many were accepted and how many were duplicates."""
        rows = np.flatnonzero(slots != ABSENT)
        if not len(rows):
            return 0, 0
        batch = SampleBatch(slots, incoming.at_ms, incoming.values)
        if len(rows) < len(slots):
            batch = batch.take(rows)
        appended = await self._log.append_samples(SampleProposal(batch, tuple(naming.unknown), backfill), now_ms)
        naming.learn(appended.slots)
        if appended.fact is not None:
            await self._stream.publish([appended.fact])
        sentence = "another value is stored for this series and time; the first one counts"
        _refuse(incoming, rows[appended.outcome == CONFLICT], "duplicate_value", sentence, naming.refusals)
        return int((appended.outcome == STORED).sum()), int((appended.outcome == DUPLICATE).sum())


def check_request_size(limits: Limits, series: int, samples: int) -> None:
    """Refuse a request that is too large as a whole.

    Raises:
        Rejected: `request_series_limit` or `request_sample_limit`.
    """
    if series > limits.max_series_per_request:
        limit = limits.max_series_per_request
        raise Rejected("request_series_limit", f"{series} series in one request, the limit is {limit}: send fewer")
    if samples > limits.max_samples_per_request:
        limit = limits.max_samples_per_request
        raise Rejected("request_sample_limit", f"{samples} samples in one request, the limit is {limit}: send fewer")


def check_key_bytes(size: int) -> None:
    """Refuse a request whose series, each written out, would take more than any use has.

    In some protocols a few bytes stand for long texts again and again: tags for each field, attributes for each bucket.

    Raises:
        Rejected: `decoded_too_large`.
    """
    if size > MOST_KEY_BYTES:
        raise Rejected("decoded_too_large", f"the labels of a request have at most {MOST_KEY_BYTES} bytes, not {size}")


class _Screen:
    """Refuses rows whose time can never be stored."""

    def __init__(self, limits: Limits, now_ms: int, *, backfill: bool) -> None:
        self._now_ms = now_ms
        self._oldest_ms = 0 if backfill else max(0, now_ms - limits.max_age_ms)
        self._newest_ms = now_ms + limits.max_future_ms
        self._limits = limits

    def fit_rows(self, incoming: Incoming, refusals: Refusals) -> NDArray[np.bool_]:
        """Return a mask (n,) of the rows to go on with; the others are counted in `refusals`."""
        at_ms = incoming.at_ms
        unfit = (at_ms < self._oldest_ms) | (at_ms > self._newest_ms)
        if unfit.any():
            self._explain(incoming, np.flatnonzero(unfit), refusals)
        return ~unfit

    def _explain(self, incoming: Incoming, rows: NDArray[np.intp], refusals: Refusals) -> None:
        at_ms = incoming.at_ms[rows]
        kinds = {
            "negative_time": at_ms < 0,
            "too_old": (at_ms >= 0) & (at_ms < self._oldest_ms),
            "too_far_in_future": at_ms > self._newest_ms,
        }
        for reason, chosen in kinds.items():
            refused = rows[chosen]
            _refuse(incoming, refused, reason, self._sentence(reason), refusals)

    def _sentence(self, reason: str) -> str:
        return {
            "negative_time": "the time is before 1970",
            "too_old": f"the time is more than {_duration(self._limits.max_age_ms)} ago",
            "too_far_in_future": f"the time is more than {_duration(self._limits.max_future_ms)} ahead of "
            f"{self._now_ms}; times are Unix milliseconds",
        }[reason]


def _put_off(slots: NDArray[np.int64], refusals: Refusals) -> None:
    """Refuse a whole request that would be welcome if there were more memory."""
    if set(refusals.counts) == {MEMORY_LIMIT} and (slots == ABSENT).all():
        raise OutOfRoom(f"nothing was stored: {refusals.examples[0].message}")


class _Naming:
    """Finds the slots of a request's series; of those nobody knows yet it makes a list, and promises them room.

    Attributes:
        unknown: distinct label sets without a slot; a row of `unknown[k]` has the slot `-1 - k`.
        refusals: gets the samples of series that are refused.
    """

    def __init__(
        self, incoming: Incoming, directory: Directory, room: int, headroom: Headroom, refusals: Refusals
    ) -> None:
        self.unknown: dict[LabelSet, int] = {}
        self.refusals = refusals
        self._incoming = incoming
        self._directory = directory
        self._room = room
        self._headroom = headroom
        self._shortage: Shortage | None = None
        self._left = 0.0
        self._keys = Keys.of(incoming.keys)
        self._named: list[tuple[int, int]] = []

    async def slots_of(self, fit: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return int64 (n,): each row's slot; `ABSENT` where the row or its series is refused."""
        slots = self._directory.find(self._keys)
        missing = np.flatnonzero(slots == ABSENT)
        if len(missing):
            await self._resolve(slots, missing, fit)
        rows = slots[self._incoming.row_series] if len(slots) else np.empty(0, np.int64)
        if not fit.all():
            rows[~fit] = ABSENT
        return rows

    def learn(self, slots: NDArray[np.int64]) -> None:
        """Note the slots that the store gave to `unknown`."""
        given = slots.tolist()
        for labels, index in self.unknown.items():
            self._directory.register(labels, given[index])
        if self._named:
            indices, named = np.array(self._named, np.int64).T
            fresh = named < 0
            named[fresh] = slots[-1 - named[fresh]]
            self._directory.remember(self._keys.take(indices), named)

    def close(self) -> None:
        """Give back the promised room: the series are registered by now, or they failed."""
        self._directory.promised -= len(self.unknown)

    async def _resolve(self, slots: NDArray[np.int64], missing: NDArray[np.intp], fit: NDArray[np.bool_]) -> None:
        """Decode the labels of series that are not cached and have a row to store; others wait their turn meanwhile."""
        sizes = np.bincount(self._incoming.row_series[fit], minlength=len(slots))
        long = np.diff(self._keys.places).ravel() > LONG_BYTES
        sent = missing[sizes[missing] > 0]
        self._look()
        for count, index in enumerate(sent.tolist(), 1):
            try:
                slots[index] = self._name(index)
            except Rejected as error:
                labels = _labels_or_none(self._incoming, index) if self.refusals.has_room else None
                self.refusals.add(Refusal(error.reason, str(error), labels), int(sizes[index]))
            if count % NAMES_PER_TURN == 0 or long[index]:
                await asyncio.sleep(0)
                self._look()

    def _look(self) -> None:
        """See how many more series there may be, and why no more; that holds until others have their turn."""
        self._shortage, self._left = self._headroom.shortage(), self._headroom.series_left()

    def _name(self, index: int) -> int:
        """Return the slot of a series that is not cached, `-1 - k` if it goes on the list of unknown ones."""
        labels = self._incoming.labels(index)
        if not labels.name:
            raise Rejected("metric_name", "a series needs a metric name: the label __name__ is missing or empty")
        slot = self._directory.slot_of(labels)
        if slot is None:
            if labels not in self.unknown:
                self._promise_room(labels)
            slot = -1 - self.unknown.setdefault(labels, len(self.unknown))
        self._named.append((index, slot))
        return slot

    def _promise_room(self, labels: LabelSet) -> None:
        if len(self._directory) + self._directory.promised >= self._room:
            raise Rejected("series_limit", f"series limit {self._room} reached: {labels} would be a new series")
        if self._left <= 0 and self._shortage is None:
            self._look()
        if self._shortage is not None:
            raise Rejected(self._shortage.reason, f"{self._shortage.sentence}: {labels} would be a new series")
        self._directory.promised += 1
        self._left -= 1


def _refuse(incoming: Incoming, rows: NDArray[np.intp], reason: str, sentence: str, refusals: Refusals) -> None:
    """Count the rows as refused and show the first ones while there is room."""
    if not len(rows):
        return
    refusals.counts[reason] += len(rows)
    for row in rows[: MAX_EXAMPLES - len(refusals.examples)].tolist():
        labels = _labels_or_none(incoming, int(incoming.row_series[row]))
        refusals.illustrate(Refusal(reason, sentence, labels, int(incoming.at_ms[row])))


def _labels_or_none(incoming: Incoming, index: int) -> LabelSet | None:
    try:
        return incoming.labels(index)
    except Rejected:
        return None


def _duration(duration_ms: int) -> str:
    if duration_ms % _DAY_MS == 0:
        return f"{duration_ms // _DAY_MS} days"
    return f"{duration_ms / _MINUTE_MS:g} minutes"


def incoming_readings(readings: Sequence[tuple[LabelSet, float]], at_ms: int) -> Incoming:
    """Return readings of one moment, taken by this process itself, as a decoded request."""
    series = [labels for labels, _ in readings]
    return Incoming(
        keys=[b"l" + labels.canonical() for labels in series],
        labels_of=series.__getitem__,
        row_series=np.arange(len(readings), dtype=np.int64),
        at_ms=np.full(len(readings), at_ms, np.int64),
        values=np.array([value for _, value in readings], np.float64),
    )
