"""What every SQL store of facts shares: the tail in memory, the judging of proposed rows, and the written forms.

A store keeps facts as rows of a *tail* until they are sealed. What is needed to judge a proposal (which series there
are, the newest time of each, the rows that are not sealed) is in the memory of the one process that writes; nearly
every proposal is judged without a question to the database. Whatever changes here during a transaction has an undo.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, get_args

import msgspec
import numpy as np

from quantum.adapters import chunks, wire
from quantum.adapters.recent_rows import by_series, is_sorted
from quantum.application.ports import CONFLICT, DUPLICATE, STORED, Appended, SampleProposal
from quantum.domain.facts import Attendance, Command, Denied, Fact, FactBody, Heartbeat, Ordered, Samples, Started
from quantum.domain.kernels import compiled
from quantum.domain.labels import LabelSet
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from quantum.domain.scoring import ScoredRows

SAMPLES: Final = "samples"
OTHER: Final = "other"
SCORES: Final = "scores"
BODIES: Final = (Heartbeat, Started, Ordered, Denied, Attendance, *get_args(Command))
NEVER_MS: Final = int(np.iinfo(np.int64).min)
"""The newest time of a series that has no row."""

NewSeries = tuple[tuple[int, LabelSet], ...]
Header = tuple[int, str, int, int, bytes]
"""Of a fact: `at_ms`, kind, whether it is backfill, rows, and the body if it is not samples."""


@compiled
def follows(slots: NDArray[np.int64], at_ms: NDArray[np.int64], newest_ms: NDArray[np.int64]) -> bool:
    """Return whether every row is newer than its series' newest time and than the rows of its series before it.

    `newest_ms`, by slot, is the same afterwards; meanwhile it follows the rows, which spares sorting them.
    """
    before = np.empty_like(at_ms)
    rows = 0
    while rows < len(slots) and at_ms[rows] > newest_ms[slots[rows]]:
        before[rows] = newest_ms[slots[rows]]
        newest_ms[slots[rows]] = at_ms[rows]
        rows += 1
    for row in range(rows - 1, -1, -1):
        newest_ms[slots[row]] = before[row]
    return rows == len(slots)


@compiled
def raise_newest(slots: NDArray[np.int64], at_ms: NDArray[np.int64], newest_ms: NDArray[np.int64]) -> None:
    """Bring `newest_ms`, by slot, up to the times of some rows."""
    for row in range(len(slots)):
        newest_ms[slots[row]] = max(newest_ms[slots[row]], at_ms[row])


class Undo:
    """What to do, last first, if the transaction fails, and what to do once it is committed."""

    def __init__(self) -> None:
        self._steps: list[Callable[[], object]] = []
        self._later: list[tuple[int, Callable[[], object]]] = []

    def __call__(self, step: Callable[[], object]) -> None:
        """Remember a step."""
        self._steps.append(step)

    def once_committed(self, step: Callable[[], object]) -> None:
        """Remember a step for when others can read what the transaction wrote; undoing forgets it."""
        self._later.append((len(self._steps), step))

    def run(self, down_to: int = 0) -> None:
        """Undo what was remembered after the first `down_to` steps."""
        self._later = [(place, step) for place, step in self._later if place <= down_to]
        while len(self._steps) > down_to:
            self._steps.pop()()

    def conclude(self) -> None:
        """Do what was to be done once the transaction is committed, in the order given."""
        for _, step in self._later:
            step()

    def __len__(self) -> int:
        """Return how many steps are remembered."""
        return len(self._steps)


@dataclass(frozen=True, slots=True)
class Proposed:
    """A proposal with the slots that it would get.

    Attributes:
        batch: its rows, with slots that are known or given by `fresh`.
        known: int64 (len(unknown),): slots of `SampleProposal.unknown`, -1 where there is none.
        fresh: label sets that would be registered, with their slots.
        suspects: rows that may not be new: no newer than their series, or equal to another row in series and time.
    """

    batch: SampleBatch
    known: NDArray[np.int64]
    fresh: NewSeries
    suspects: NDArray[np.intp]

    def judge(self, stored: SampleBatch) -> NDArray[np.uint8]:
        """Return the outcome of each row, shape (n,), given what is stored in `Tail.span_of_doubt`."""
        outcome = np.zeros(len(self.batch), np.uint8)
        if not len(self.suspects):
            return outcome
        rows = SampleBatch.concat([stored, self.batch.take(self.suspects)])
        # a stable sort: within the rows of one series and time, what is stored comes first, then the first proposed
        order = np.lexsort((rows.at_ms, rows.slots))
        slots, at_ms, bits = rows.slots[order], rows.at_ms[order], rows.values.view(np.int64)[order]
        is_first = np.ones(len(order), np.bool_)
        is_first[1:] = (np.diff(slots) != 0) | (np.diff(at_ms) != 0)
        first = np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))
        verdict = np.empty(len(order), np.uint8)
        verdict[order] = np.where(is_first, STORED, np.where(bits == bits[first], DUPLICATE, CONFLICT))
        outcome[self.suspects] = verdict[len(stored) :]
        return outcome

    def samples(self, outcome: NDArray[np.uint8], *, backfill: bool) -> Samples | None:
        """Return the body of the fact of the rows that are new, or None if there are none."""
        if not len(self.suspects):
            return Samples(self.batch, self.fresh, backfill) if len(self.batch) else None
        new = outcome == STORED
        if not new.any():
            return None
        return Samples(self.batch if new.all() else self.batch.take(new), self.fresh, backfill)

    def answer(self, fact: Fact | None, outcome: NDArray[np.uint8]) -> Appended:
        """Return what the proposer is told."""
        return Appended(fact, self.known, outcome)


@dataclass(frozen=True, slots=True)
class Unsealed:
    """Facts that are to be sealed: `first` and `last` position, and the batches of those that have one, in order."""

    first: int
    last: int
    batches: Mapping[int, SampleBatch]

    @property
    def rows(self) -> SampleBatch:
        """All rows, in order of acceptance."""
        return SampleBatch.concat(list(self.batches.values()))


@dataclass(slots=True)
class Tail:
    """What of the store is in memory. Its writer owns it: it changes only in a transaction, with an undo.

    Attributes:
        position: of the newest fact; `at_ms` is its time, `sealed` the position up to which facts are sealed.
        slots: every registered series.
        newest_ms: newest stored time of each slot, shape (series,) or longer.
        rows: batches of the facts that are not sealed, by position.
        whole_since_ms: the time from which no sample was forgotten.
    """

    position: int = 0
    at_ms: int = 0
    sealed: int = 0
    slots: dict[LabelSet, int] = field(default_factory=dict)
    newest_ms: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    rows: dict[int, SampleBatch] = field(default_factory=dict)
    whole_since_ms: int = 0

    def make_room(self, size: int) -> None:
        """Let `newest_ms` have at least `size` elements."""
        if size > len(self.newest_ms):
            never = np.full(max(size, 2 * len(self.newest_ms)) - len(self.newest_ms), NEVER_MS)
            self.newest_ms = np.concatenate([self.newest_ms, never])

    # ---- taking over what is in the database --------------------------------------------------------------------

    def load_series(self, slot: int, labels: LabelSet, newest_ms: int) -> None:
        """Take over a registered series."""
        self.slots[labels] = slot
        self.make_room(slot + 1)
        self.newest_ms[slot] = max(newest_ms, int(self.newest_ms[slot]))

    def load_newest(self, packed: bytes) -> None:
        """Take over the newest times that `packed_newest` returned, after the series."""
        known = unpack_times(packed)[: len(self.newest_ms)]
        np.maximum(self.newest_ms[: len(known)], known, out=self.newest_ms[: len(known)])

    def load_fact(self, position: int, at_ms: int, batch: SampleBatch | None) -> None:
        """Take over a fact that is not sealed, after its series; facts come in order."""
        self.position, self.at_ms = position, at_ms
        if batch is not None:
            self.rows[position] = batch
            raise_newest(batch.slots, batch.at_ms, self.newest_ms)

    # ---- appending ----------------------------------------------------------------------------------------------

    def resolve(self, proposal: SampleProposal) -> Proposed:
        """Return the proposal with slots; nothing is registered yet, but `newest_ms` has room for all of them."""
        asked = proposal.batch.slots
        if not proposal.unknown:
            return Proposed(proposal.batch, np.empty(0, np.int64), (), self._suspects(proposal.batch))
        fresh = self._fresh(proposal, np.unique(-1 - asked[asked < 0]))
        known = np.array([self.slots.get(one, fresh.get(one, -1)) for one in proposal.unknown], np.int64)
        slots = asked.copy()
        slots[asked < 0] = known[-1 - asked[asked < 0]]
        self.make_room(len(self.slots) + len(fresh))
        batch = SampleBatch(slots, proposal.batch.at_ms, proposal.batch.values)
        new_series = tuple((slot, labels) for labels, slot in fresh.items())
        return Proposed(batch, known, new_series, self._suspects(batch))

    def _fresh(self, proposal: SampleProposal, used: NDArray[np.int64]) -> dict[LabelSet, int]:
        """Give the next slots to the label sets that have rows and are not registered."""
        fresh: dict[LabelSet, int] = {}
        for index in used.tolist():
            labels = proposal.unknown[index]
            if labels not in self.slots and labels not in fresh:
                fresh[labels] = len(self.slots) + len(fresh)
        return fresh

    def _suspects(self, batch: SampleBatch) -> NDArray[np.intp]:
        if follows(batch.slots, batch.at_ms, self.newest_ms):
            return np.zeros(0, np.intp)
        suspects = batch.at_ms <= self.newest_ms[batch.slots]
        if len(batch) > 1:
            order = np.lexsort((np.arange(len(batch)), batch.at_ms, batch.slots))
            same = np.zeros(len(batch), np.bool_)
            same[order[1:]] = (np.diff(batch.slots[order]) == 0) & (np.diff(batch.at_ms[order]) == 0)
            same[order[:-1]] |= same[order[1:]]
            suspects |= same
        return np.flatnonzero(suspects)

    def span_of_doubt(self, proposed: Proposed) -> tuple[NDArray[np.int64], int, int] | None:
        """Return slots, start and end of the stored samples that decide about the proposal, or None if none do."""
        batch, rows = proposed.batch, proposed.suspects
        old = rows[batch.at_ms[rows] <= self.newest_ms[batch.slots[rows]]]
        if not len(old):
            return None
        return np.unique(batch.slots[old]), int(batch.at_ms[old].min()), int(batch.at_ms[old].max()) + 1

    def append(self, undo: Undo, body: FactBody, now_ms: int) -> Fact:
        """Return the next fact, and remember it with its series and rows."""
        before = (self.position, self.at_ms)
        fact = Fact(self.position + 1, max(now_ms, self.at_ms), body)
        self.position, self.at_ms = fact.position, fact.at_ms

        def back() -> None:
            self.position, self.at_ms = before

        undo(back)
        if isinstance(body, Samples):
            self._remember(undo, fact.position, body)
        return fact

    def _remember(self, undo: Undo, position: int, body: Samples) -> None:
        slots = body.batch.slots
        before = self.newest_ms[slots]
        self.slots.update({labels: slot for slot, labels in body.new_series})
        raise_newest(slots, body.batch.at_ms, self.newest_ms)
        self.rows[position] = body.batch

        def forget() -> None:
            del self.rows[position]
            self.newest_ms[slots] = before
            for _, labels in body.new_series:
                del self.slots[labels]

        undo(forget)

    # ---- sealing ------------------------------------------------------------------------------------------------

    def unsealed(self, upto: int) -> Unsealed | None:
        """Return what there is to be sealed up to a position, or None if that is sealed."""
        upto = min(upto, self.position)
        if upto <= self.sealed:
            return None
        return Unsealed(self.sealed + 1, upto, self.rows_upto(upto, after=self.sealed))

    def is_next(self, unsealed: Unsealed) -> bool:
        """Whether that is still to be sealed: it was not, if a commit turned out well of which that was not known."""
        return self.sealed == unsealed.first - 1

    def rows_upto(self, position: int, after: int = 0) -> dict[int, SampleBatch]:
        """Return the batches that are held of facts up to a position, in order; `after` is before the first."""
        return {one: self.rows[one] for one in sorted(self.rows) if after < one <= position}

    def packed_newest(self) -> bytes:
        """Return the newest time of every series, by slot, as bytes: a row of each would be too many to rewrite."""
        return pack_times(self.newest_ms[: len(self.slots)])

    def forget_sealed(self, undo: Undo, sealed: Unsealed) -> None:
        """Note that facts are sealed.

        They are held until the commit: a reader who looked in between would find them neither here nor in the database.
        """
        before = self.sealed
        self.sealed = sealed.last

        def unseal() -> None:
            self.sealed = before

        def drop() -> None:
            for position in sealed.batches:
                del self.rows[position]

        undo(unseal)
        undo.once_committed(drop)


# ---- reading ----------------------------------------------------------------------------------------------------


def select_samples(
    recent: Sequence[SampleBatch],
    bodies: Iterable[bytes],
    slots: NDArray[np.int64],
    start_ms: int,
    end_ms: int,
    select: Callable[[bytes, NDArray[np.int64], int, int], SampleBatch] = chunks.select_block,
) -> SampleBatch:
    """Return samples of some series in `[start_ms, end_ms)`, sorted by (slot, at_ms), of equal ones the first.

    Args:
        recent: those that are not sealed.
        bodies: sealed blocks that may have some.
        slots: which series, sorted.
        start_ms: first time.
        end_ms: end of the times.
        select: takes what is asked for from a block.
    """
    sealed = [select(body, slots, start_ms, end_ms) for body in bodies]
    rows = by_series(SampleBatch.concat([*recent, *sealed]))
    again = (rows.at_ms[1:] == rows.at_ms[:-1]) & (rows.slots[1:] == rows.slots[:-1])
    return rows.take(np.append(True, ~again)) if again.any() else rows


def select_scores(bodies: Iterable[bytes], slots: NDArray[np.int64], start_ms: int, end_ms: int) -> ScoredRows:
    """Return kept scores of some series in `[start_ms, end_ms)`, sorted by (slot, at_ms)."""
    parts = (chunks.select_scores_of_block(body, slots, start_ms, end_ms) for body in bodies)
    rows = chunks.concat_scores([part for part in parts if part is not None])
    if is_sorted(rows.slots, rows.at_ms):
        return rows
    return chunks.take_scores(rows, np.lexsort((rows.at_ms, rows.slots)))


def unseal_facts(packed_headers: bytes, rows: SampleBatch, born: Mapping[int, NewSeries], first: int) -> Iterator[Fact]:
    """Yield the facts of one piece, from position `first` on, exactly as they were appended."""
    start = 0
    for position, (at_ms, kind, backfill, count, body) in enumerate(unpack_headers(packed_headers), first):
        if kind == SAMPLES:
            samples = Samples(rows.take(slice(start, start + count)), born.get(position, ()), bool(backfill))
            yield Fact(position, at_ms, samples)
            start += count
        else:
            yield Fact(position, at_ms, _decode_body(body))


def row_count(fact: Fact) -> int:
    """Return how many samples a fact holds."""
    return len(fact.body.batch) if isinstance(fact.body, Samples) else 0


# ---- written forms ----------------------------------------------------------------------------------------------


def pack_times(times_ms: NDArray[np.int64]) -> bytes:
    """Return a column of times as bytes with a checksum."""
    body = chunks.pack_integers(times_ms)
    return zlib.crc32(body).to_bytes(4, "big") + body


def unpack_times(data: bytes) -> NDArray[np.int64]:
    """Return the column of `pack_times`.

    Raises:
        CorruptData: the bytes are damaged.
    """
    if zlib.crc32(data[4:]) != int.from_bytes(data[:4], "big"):
        raise wire.CorruptData("the stored newest times are damaged: their checksum does not match")
    return chunks.unpack_integers(data[4:])


def pack_headers(headers: Sequence[Header]) -> bytes:
    """Return the headers of a segment's facts as bytes."""
    return msgspec.msgpack.encode(headers)


def unpack_headers(packed: bytes) -> list[Any]:
    """Return the headers of `pack_headers`."""
    headers: list[Any] = msgspec.msgpack.decode(packed)
    return headers


def pack_body(body: FactBody) -> tuple[str, int, int, bytes]:
    """Return kind, backfill, number of rows and bytes of a fact's body, as the tail stores them."""
    if isinstance(body, Samples):
        return SAMPLES, int(body.backfill), len(body.batch), chunks.pack_batch(body.batch)
    return OTHER, 0, 0, wire.encode(body)


def unpack_body(kind: str, backfill: int, body: bytes, new_series: NewSeries) -> FactBody:
    """Return the body of `pack_body`; new series are stored with the series."""
    if kind == SAMPLES:
        return Samples(chunks.unpack_batch(body), new_series, bool(backfill))
    return _decode_body(body)


def _decode_body(body: bytes) -> FactBody:
    value: Any = wire.decode(body, object)
    if not isinstance(value, BODIES):
        raise wire.CorruptData(f"a stored fact is a {type(value).__name__}")
    return value  # type: ignore[no-any-return] # mypy cannot see what BODIES lists


def by_position(rows: Iterable[tuple[int, int, bytes]]) -> dict[int, NewSeries]:
    """Return new series by the position of their fact, of rows (position, slot, labels) in order of slot."""
    born: dict[int, NewSeries] = {}
    for position, slot, labels in rows:
        born[position] = (*born.get(position, ()), (slot, wire.decode(labels, LabelSet)))
    return born
