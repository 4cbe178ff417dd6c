"""Ingest: the way in for samples of every protocol, and for this machine's own.

A decoder turns a request into `Incoming`: distinct series as opaque keys, and columns of rows that point into them.
Ingest refuses what breaks a limit row by row, never the neighbours; looks label sets up by key, so a known series
costs one dictionary look-up per request; and answers only after the store has committed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.application.ports import CONFLICT, DUPLICATE, STORED, SampleProposal
from quantum.domain.errors import Rejected
from quantum.domain.presence import STALENESS_MARKER
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from quantum.application.ports import Clock, EventStream, FactLog, SampleStore
    from quantum.domain.labels import LabelSet

MAX_EXAMPLES: Final = 5
REFUSED: Final = np.iinfo(np.int64).min
"""Stands for the slot of a series that was refused."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is accepted; the name of each is the reason of its refusals.

    Attributes:
        max_series: `series_limit`: series ever stored.
        max_future_ms: `too_far_in_future`: how far ahead of the clock a sample may be.
        max_age_ms: `too_old`: how old a sample may be; imports are exempt.
        max_known_keys: how many received identities are remembered; more only cost time.
    """

    max_series: int = 1_000_000
    max_future_ms: int = 600_000
    max_age_ms: int = 30 * 86_400_000
    max_known_keys: int = 2_000_000


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refused sample or series, for the answer."""

    reason: str
    message: str
    labels: LabelSet | None = None
    at_ms: int | None = None


@dataclass(slots=True)
class Refusals:
    """Counts by reason and a few examples."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: list[Refusal] = field(default_factory=list)

    def add(self, refusal: Refusal, count: int = 1) -> None:
        """Note that samples were refused."""
        self.counts[refusal.reason] += count
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(refusal)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A decoded request.

    Attributes:
        keys: identity of each distinct series as received, prefixed by its protocol; equal bytes, equal labels.
        labels_of: decodes the label set of one of them; raises Rejected. Only called on first sight.
        row_series: int64 (n,), index into keys; at_ms int64 (n,); values float64 (n,).
        refusals: what the decoder refused already.
    """

    keys: Sequence[bytes]
    labels_of: Callable[[int], LabelSet]
    row_series: NDArray[np.int64]
    at_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    refusals: Refusals = field(default_factory=Refusals)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a request: `accepted + duplicates + sum(rejected.values())` is what was sent."""

    accepted: int
    duplicates: int
    rejected: dict[str, int]
    examples: tuple[Refusal, ...]


class Ingest:
    """Accepts samples into one tenant's log."""

    def __init__(self, log: FactLog, stream: EventStream, clock: Clock, limits: Limits) -> None:
        self.limits = limits
        self.accepted = 0
        self.refused: Counter[str] = Counter()
        self._log = log
        self._stream = stream
        self._clock = clock
        self._slots: dict[LabelSet, int] = {}
        self._slot_of_key: dict[bytes, int] = {}

    async def open(self, store: SampleStore) -> None:
        """Learn the series that are registered already."""
        self._slots = {labels: slot for slot, labels in await store.series()}

    @property
    def series(self) -> int:
        """How many series are registered."""
        return len(self._slots)

    async def accept(self, incoming: Incoming, *, backfill: bool = False) -> Receipt:
        """Store what can be stored and say what became of every sample.

        Raises:
            Unavailable: nothing is known of the outcome; sending the same again is safe.
        """
        now_ms = self._clock.now_ms()
        refusals = incoming.refusals
        slots, unknown = self._look_up(incoming, refusals)
        good = self._check_rows(incoming, slots, now_ms, refusals, backfill=backfill)
        batch = SampleBatch(slots[incoming.row_series], incoming.at_ms, incoming.values).take(good)
        if not len(batch):
            return self._receipt(0, 0, refusals)
        proposal = SampleProposal(batch, tuple(labels for labels, _ in unknown), backfill)
        appended = await self._log.append_samples(proposal, now_ms)
        self._learn(incoming, unknown, appended.slots)
        if appended.fact is not None:
            await self._stream.publish([appended.fact])
        conflicts = np.flatnonzero(appended.outcome == CONFLICT)
        if len(conflicts):
            at_ms = int(batch.at_ms[conflicts[0]])
            text = f"another value is stored at {at_ms}; the first write wins"
            refusals.add(Refusal("duplicate_value", text, at_ms=at_ms), len(conflicts))
        stored = int((appended.outcome == STORED).sum())
        return self._receipt(stored, int((appended.outcome == DUPLICATE).sum()), refusals)

    def _look_up(
        self, incoming: Incoming, refusals: Refusals
    ) -> tuple[NDArray[np.int64], list[tuple[LabelSet, list[int]]]]:
        """Return the slot of each key (-1 - k for the k-th unknown label set), and the unknown label sets with keys."""
        known = self._slot_of_key
        slots = np.array([known.get(key, REFUSED) for key in incoming.keys], np.int64)
        unknown: dict[LabelSet, list[int]] = {}
        ranks: dict[LabelSet, int] = {}
        for index in np.flatnonzero(slots == REFUSED).tolist():
            try:
                labels = incoming.labels_of(index)
                slots[index] = self._slot_for(labels, unknown, ranks, index)
                if slots[index] >= 0:
                    known[incoming.keys[index]] = int(slots[index])
            except Rejected as error:
                count = int((incoming.row_series == index).sum())
                refusals.add(Refusal(error.reason, str(error)), count)
        return slots, list(unknown.items())

    def _slot_for(
        self, labels: LabelSet, unknown: dict[LabelSet, list[int]], ranks: dict[LabelSet, int], index: int
    ) -> int:
        slot = self._slots.get(labels)
        if slot is not None:
            return slot
        if not labels.name:
            raise Rejected("metric_name", f"{labels} has no metric name (label __name__)")
        if labels not in unknown and len(self._slots) + len(unknown) >= self.limits.max_series:
            raise Rejected("series_limit", f"series limit {self.limits.max_series} reached; {labels} is new")
        unknown.setdefault(labels, []).append(index)
        return -1 - ranks.setdefault(labels, len(ranks))

    def _check_rows(
        self, incoming: Incoming, slots: NDArray[np.int64], now_ms: int, refusals: Refusals, *, backfill: bool
    ) -> NDArray[np.bool_]:
        """Return which rows may be stored; note the others."""
        limits, at_ms, values = self.limits, incoming.at_ms, incoming.values
        good = np.asarray(slots[incoming.row_series] != REFUSED)
        oldest_ms = 0 if backfill else max(0, now_ms - limits.max_age_ms)
        checks = (
            ("nan_value", "the value is not a number", np.isnan(values) & (values.view(np.uint64) != STALENESS_MARKER)),
            ("too_old", f"the time lies before {oldest_ms}, the oldest that is accepted", at_ms < oldest_ms),
            (
                "too_far_in_future",
                f"the time lies more than {limits.max_future_ms} ms ahead of this machine's clock",
                at_ms > now_ms + limits.max_future_ms,
            ),
        )
        for reason, message, bad in checks:
            rows = np.flatnonzero(bad & good)
            if len(rows):
                refusals.add(Refusal(reason, message, at_ms=int(at_ms[rows[0]])), len(rows))
                good &= ~bad
        return good

    def _learn(self, incoming: Incoming, unknown: list[tuple[LabelSet, list[int]]], slots: NDArray[np.int64]) -> None:
        """Remember the keys of series that are registered now."""
        if len(self._slot_of_key) + len(incoming.keys) > self.limits.max_known_keys:
            self._slot_of_key.clear()
        for (labels, indices), slot in zip(unknown, slots.tolist(), strict=True):
            if slot >= 0:
                self._slots[labels] = slot
                self._slot_of_key.update((incoming.keys[index], slot) for index in indices)

    def _receipt(self, accepted: int, duplicates: int, refusals: Refusals) -> Receipt:
        self.accepted += accepted
        self.refused.update(refusals.counts)
        return Receipt(accepted, duplicates, dict(refusals.counts), tuple(refusals.examples))


def incoming_readings(readings: Sequence[tuple[LabelSet, float]], at_ms: int) -> Incoming:
    """Return readings of one moment as a decoded request."""
    series = [labels for labels, _ in readings]
    return Incoming(
        keys=[b"l" + labels.canonical() for labels in series],
        labels_of=series.__getitem__,
        row_series=np.arange(len(readings)),
        at_ms=np.full(len(readings), at_ms, np.int64),
        values=np.array([value for _, value in readings], np.float64),
    )
