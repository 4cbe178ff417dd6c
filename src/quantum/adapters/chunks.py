"""The compressed forms of samples, shared by every SQL store: batch rows for the log's tail, blocks for sealed history.

A sealed segment holds the facts of a range of positions. Its *order* (the slot of every row as it was accepted) is
stored once, so the facts come back exactly; the samples themselves are stored by series: series with the same
timestamps form a block and share one timestamp column, and each block is read without the others. Floats are exact
to the bit. Everything carries a CRC-32: damaged bytes are an error, never wrong data.
"""

from __future__ import annotations

import struct
import threading
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import cramjam
import msgspec
import numpy as np
from pcodec import ChunkConfig, DeltaSpec, standalone

from quantum.adapters.batch_rows import packed_rows, unpacked_rows
from quantum.adapters.decimals import fewest_digits, fewest_digits_of_each
from quantum.adapters.ratios import as_ratios
from quantum.adapters.recent_rows import begins_anew, places_by_slot, rows_of, sorted_by_slot
from quantum.adapters.wire import CorruptData
from quantum.domain.rollups import Rollups, roll_up
from quantum.domain.scoring import ScoredRows
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    Care = Callable[[NDArray[Any]], ChunkConfig]

BLOCK_VALUES: Final = 32_768
"""A block stops growing at this many samples. A store reads all of it to get at one series; smaller ones have more rows
around them."""
DECODED_VALUES: Final = 4_000_000
"""So many values of decoded blocks are kept where old samples are expected: 32 MB."""
KEPT_VALUES: Final = 2_000_000
"""The same for columns of which queries read a part: 16 MB."""
OWN_COLUMN: Final = 128
"""From this many samples a series has a compressed column of its own; shorter ones are compressed together."""
ROWS, LZ4 = b"\x02", b"\x01"
"""First bytes of a packed batch: rows as `batch_rows` writes them, and columns as they are, for what that cannot take.
Both are compressed by LZ4, in a fifth of the processor time of zstd and to the same size."""
LONG_COLUMN: Final = 1024
MANY_SERIES: Final = 16_384
"""Lengths from which columns are compressed with more care, see `by_length`."""
UNSEARCHED: Final = ChunkConfig(compression_level=4, delta_spec=DeltaSpec.try_consecutive(1))
SEARCHED: Final = ChunkConfig(compression_level=4)
THOROUGH: Final = ChunkConfig(compression_level=8)
PLAIN, SHARES, LACKS = 0xFF, 0xFE, 0xFD
"""First bytes of columns that are no decimal fractions: as they are; denominators with numerators; denominators with
what the numerators lack of them."""
INDEXED: Final = 2
HEAD: Final = struct.Struct("<BIIIqq")
"""What the directory of a block begins with: its form, how many series and times it has, bytes of packed times, the
first time, and how far times are apart. Slots, ends and checksums of columns and packed times follow."""
PACKED_WHOLE: Final = b"\x93"
"""The first byte of a block of an older version, after its checksum: a list of three."""
CHECKSUM_BYTES: Final = 4
DAMAGED: Final = "stored samples are damaged: their checksum does not match"
ORDER_LEVEL: Final = 1
"""Of zstd: orders repeat themselves, which any level finds."""
SCORE_STEPS: Final = 1000.0
SCORE_BLOCK_ROWS: Final = 4096
ROLLUP_BLOCK_ROWS: Final = 16_384
BAND_STEPS: Final = 512.0
"""The width of a band has at least so many steps, and less than twice as many."""
WIDTHLESS: Final = 2.0**40
"""A band without a width is where it is to this part."""
SMALLEST: Final = 1e-200
MANTISSA: Final = 2.0**52
EVERY: Final = slice(None)
SINGLES: Final = 3
"""So many columns bands have that are kept as float32."""


@dataclass(frozen=True, slots=True)
class Block:
    """Series with the same timestamps, or kept scores of neighbouring slots; `body` is what a store keeps."""

    min_slot: int
    max_slot: int
    min_ms: int
    max_ms: int
    body: bytes


def pack_batch(batch: SampleBatch) -> bytes:
    """Return one accepted batch as bytes, small and fast: this is written before the sender is answered."""
    rows = packed_rows(batch.slots, batch.at_ms, batch.values)
    if rows is not None:
        return _sealed(ROWS + bytes(cramjam.lz4.compress_block(rows)))
    raw = np.zeros((3, len(batch)), "<i8")
    for row, column in zip(raw, (batch.slots, batch.at_ms), strict=False):
        row[:1] = column[:1]
        np.subtract(column[1:], column[:-1], out=row[1:])
    raw[2] = batch.values.view(np.int64)
    return _sealed(LZ4 + bytes(cramjam.lz4.compress_block(raw.reshape(-1).view(np.uint8).data)))


def unpack_batch(data: bytes) -> SampleBatch:
    """Return the batch of `pack_batch`; raises CorruptData."""
    packed = _opened(data)
    if packed[:1] == ROWS:
        return SampleBatch(*unpacked_rows(bytes(cramjam.lz4.decompress_block(packed[1:]))))
    if packed[:1] == LZ4:
        raw = bytes(cramjam.lz4.decompress_block(packed[1:]))
    else:  # written by a version that used zstd, the frames of which begin with another byte
        raw = bytes(cramjam.zstd.decompress(packed))
    slots, at_ms, values = (np.frombuffer(raw[k * len(raw) // 3 : (k + 1) * len(raw) // 3], "<i8") for k in range(3))
    return SampleBatch(np.cumsum(slots), np.cumsum(at_ms), values.view("<f8").copy())


def by_length(column: NDArray[Any]) -> ChunkConfig:
    """Return the care that pays for the length of a column.

    To search how the values of a short column follow each other takes five times as long as all the rest, and saves
    three bytes in a hundred until merging makes a long one of it. For one of a single series, a higher level takes
    three times as long and saves one byte in a hundred; where it is many series one after the other, a fifth.
    """
    return UNSEARCHED if len(column) < LONG_COLUMN else SEARCHED if len(column) < MANY_SERIES else THOROUGH


def briefly(_: NDArray[Any]) -> ChunkConfig:
    """Return the care for a column that will be merged into a longer one soon."""
    return UNSEARCHED


def pack_samples(batch: SampleBatch, care: Care = by_length) -> tuple[bytes, list[Block]]:
    """Return the order of a segment's rows, and its samples as blocks.

    Args:
        batch: all rows of the segment in the order accepted.
        care: how much of it is taken with each column.
    """
    return pack_order(batch.slots), pack_blocks(batch, care)


def pack_order(slots: NDArray[np.int64]) -> bytes:
    """Return the slot of every row as it was accepted, as bytes."""
    return _sealed(bytes(cramjam.zstd.compress(slots.astype("<i4").view(np.uint8).data, level=ORDER_LEVEL)))


def unpack_order(order: bytes) -> NDArray[np.int64]:
    """Return the slots of `pack_order`; raises CorruptData."""
    return np.frombuffer(bytes(cramjam.zstd.decompress(_opened(order))), "<i4").astype(np.int64)


def pack_blocks(batch: SampleBatch, care: Care) -> list[Block]:
    """Return samples as blocks; within a series they are in the order accepted."""
    rows = sorted_by_slot(batch)
    starts = np.flatnonzero(np.append(True, rows.slots[1:] != rows.slots[:-1])[: len(rows)])
    ends = np.append(starts[1:], len(rows))[: len(starts)]
    slots = rows.slots[starts]
    return [
        _pack_block(slots[members], rows, starts[members], ends[members], care)
        for alike in _with_the_same_times(rows.at_ms, starts, ends)
        for members in _portions(alike, int(ends[alike[0]] - starts[alike[0]]))
    ]


def _with_the_same_times(
    at_ms: NDArray[np.int64], starts: NDArray[np.intp], ends: NDArray[np.intp]
) -> list[NDArray[np.intp]]:
    """Return which series have the very same times: groups of their numbers, by the first of each.

    Neighbours mostly have, so of each run of such series only the first is compared with others.
    """
    begins = begins_anew(at_ms, starts, ends)
    firsts = np.flatnonzero(begins)
    if len(firsts) <= 1:
        return [np.arange(len(starts))] * len(firsts)
    of_first = np.empty(len(firsts), np.intp)
    for number, members in enumerate(_alike(at_ms, starts[firsts], ends[firsts])):
        of_first[members] = number
    groups = of_first[np.cumsum(begins) - 1]
    return np.split(np.argsort(groups, kind="stable"), np.cumsum(np.bincount(groups))[:-1])


def _alike(at_ms: NDArray[np.int64], starts: NDArray[np.intp], ends: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Do as `_with_the_same_times` for series that are compared each with each.

    Series with the same count, first time and sum are compared as a table; only where these are alike and the rest is
    not, one by one.
    """
    sums = np.cumsum(at_ms)
    traits = np.stack([ends - starts, at_ms[starts], sums[ends - 1] - sums[starts]], axis=1)
    _, kinds = np.unique(traits, axis=0, return_inverse=True)
    groups: list[NDArray[np.intp]] = []
    for alike in np.split(np.argsort(kinds, kind="stable"), np.cumsum(np.bincount(kinds))[:-1]):
        table = at_ms[starts[alike][:, None] + np.arange(ends[alike[0]] - starts[alike[0]])]
        if bool((table == table[0]).all()):
            groups.append(alike)
            continue
        same: dict[bytes, list[int]] = {}
        for member, times in zip(alike.tolist(), table, strict=True):
            same.setdefault(times.tobytes(), []).append(member)
        groups += [np.array(members) for members in same.values()]
    return sorted(groups, key=lambda members: int(members[0]))


def _portions(indices: NDArray[np.intp], length: int) -> Iterator[NDArray[np.intp]]:
    size = max(1, BLOCK_VALUES // length)
    return (indices[first : first + size] for first in range(0, len(indices), size))


def _pack_block(
    slots: NDArray[np.int64], rows: SampleBatch, starts: NDArray[np.intp], ends: NDArray[np.intp], care: Care
) -> Block:
    at_ms = rows.at_ms[starts[0] : ends[0]]
    # nearly always all of them, and then they lie side by side
    is_whole = int(ends[-1] - starts[0]) == len(slots) * len(at_ms)
    places = slice(int(starts[0]), int(ends[-1])) if is_whole else (starts[:, None] + np.arange(len(at_ms))).ravel()
    values = rows.values[places]
    if len(at_ms) >= OWN_COLUMN:
        columns = _columns_of(values.reshape(len(slots), -1), care)
    else:
        columns = [pack_floats(values, care)]
    body = _indexed(slots, at_ms, columns)
    return Block(int(slots.min()), int(slots.max()), int(at_ms.min()), int(at_ms.max()), body)


def _columns_of(values: NDArray[np.float64], care: Care) -> list[bytes]:
    """Return each row of a table as a column; all are looked at in one compiled pass."""
    whole, digits = np.empty(values.shape, np.int64), np.empty(len(values), np.int64)
    fewest_digits_of_each(values, whole, digits)
    return [_packed(*one, care) for one in zip(values, whole, digits.tolist(), strict=True)]


def _indexed(slots: NDArray[np.int64], at_ms: NDArray[np.int64], columns: Sequence[bytes]) -> bytes:
    """Return the body of a block: a directory with a checksum, then columns, each with one in the directory.

    So who reads one column neither checks nor copies the others.
    """
    step_ms = _step_of(at_ms)
    packed = b"" if step_ms else pack_integers(at_ms)
    ends = np.cumsum([len(column) for column in columns])
    checks = [zlib.crc32(column) for column in columns]
    head = b"".join(
        (
            HEAD.pack(INDEXED, len(slots), len(at_ms), len(packed), int(at_ms[0]), step_ms),
            *(np.asarray(numbers).astype("<u4").tobytes() for numbers in (slots, ends, checks)),
            packed,
        )
    )
    return b"".join((_sealed(head), *columns))


def _step_of(at_ms: NDArray[np.int64]) -> int:
    """Return how far times are apart, if all of them are equally far and rise; otherwise 0."""
    steps = np.diff(at_ms)
    return 1 if not len(steps) else int(steps[0]) if steps[0] > 0 and bool((steps == steps[0]).all()) else 0


@dataclass(frozen=True, slots=True)
class Times:
    """The times of a block, in the order accepted; not unpacked where they are equally far apart.

    Attributes:
        step_ms: how far, or 0.
        packed: otherwise, see `pack_integers`.
    """

    count: int
    first_ms: int
    step_ms: int
    packed: bytes

    def unpacked(self) -> NDArray[np.int64]:
        """Return all of them."""
        return self._some(0, self.count) if self.step_ms else unpack_integers(self.packed)

    def between(self, start_ms: int, end_ms: int) -> tuple[slice | NDArray[np.intp], NDArray[np.int64]]:
        """Return which times are in `[start_ms, end_ms)`, and these."""
        if not self.step_ms:
            at_ms = unpack_integers(self.packed)
            inside = _inside(at_ms, start_ms, end_ms)
            return inside, at_ms[inside]
        low, high = self._place(start_ms), self._place(end_ms)
        return slice(low, high), self._some(low, high)

    def _some(self, low: int, high: int) -> NDArray[np.int64]:
        return np.arange(low, high, dtype=np.int64) * self.step_ms + self.first_ms

    def _place(self, at_ms: int) -> int:
        """Return how many times are before one."""
        return min(max(-((self.first_ms - at_ms) // self.step_ms), 0), self.count)


@dataclass(frozen=True, slots=True)
class Opened:
    """A block of which only the directory was read: series, times, and what returns the column of a number."""

    slots: NDArray[np.int64]
    times: Times
    column: Callable[[int], bytes]


def _open(body: bytes) -> Opened:
    """Return a block, opened.

    Raises:
        CorruptData: its directory is damaged; a damaged column says so when it is asked for.
    """
    if body[CHECKSUM_BYTES : CHECKSUM_BYTES + 1] == PACKED_WHOLE:
        return _open_whole(body)
    try:
        form, series, count, packed, first_ms, step_ms = HEAD.unpack_from(body, CHECKSUM_BYTES)
    except struct.error:
        raise CorruptData(DAMAGED) from None
    columns = series if count >= OWN_COLUMN else 1
    at = CHECKSUM_BYTES + HEAD.size
    end = at + 4 * (series + 2 * columns) + packed
    if form != INDEXED or _is_damaged(body, end):
        raise CorruptData(DAMAGED)
    numbers = np.frombuffer(body, "<u4", series + 2 * columns, at).astype(np.int64)
    slots, ends, checks = np.split(numbers, (series, series + columns))
    places, sums = [end, *(end + ends).tolist()], checks.tolist()

    def column(number: int) -> bytes:
        found = body[places[number] : places[number + 1]]
        if zlib.crc32(found) != sums[number]:
            raise CorruptData(DAMAGED)
        return found

    return Opened(slots, Times(count, first_ms, step_ms, body[end - packed : end]), column)


def _open_whole(body: bytes) -> Opened:
    """Return a block of an older version, which has one checksum for all of it."""
    packed_slots, packed_at_ms, columns = msgspec.msgpack.decode(_opened(body))
    count = len(unpack_integers(packed_at_ms))
    return Opened(np.frombuffer(packed_slots, "<i8"), Times(count, 0, 0, packed_at_ms), columns.__getitem__)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A block in memory: values of shape (len(slots), len(at_ms)), the times in the order accepted."""

    slots: NDArray[np.int64]
    at_ms: NDArray[np.int64]
    values: NDArray[np.float64]

    def select(self, wanted: NDArray[np.int64], start_ms: int, end_ms: int) -> SampleBatch:
        """Return samples of some series in `[start_ms, end_ms)`, by series, then in the order accepted."""
        rows = np.flatnonzero(np.isin(self.slots, wanted))
        inside = np.flatnonzero((self.at_ms >= start_ms) & (self.at_ms < end_ms))
        return _table(self.slots[rows], self.at_ms[inside], self.values[np.ix_(rows, inside)])


class DecodedBlocks:
    """The blocks that were asked for last, decoded: whoever sends old samples again sends many of the same time."""

    def __init__(self) -> None:
        self._blocks: dict[bytes, Decoded] = {}
        self._values = 0

    def select(self, body: bytes, wanted: NDArray[np.int64], start_ms: int, end_ms: int) -> SampleBatch:
        """Do as `select_block`."""
        block = self._blocks.pop(body, None)
        if block is None:
            block = _decode(body)
            self._values += block.values.size
        self._blocks[body] = block
        while self._values > DECODED_VALUES:
            self._values -= self._blocks.pop(next(iter(self._blocks))).values.size
        return block.select(wanted, start_ms, end_ms)


def _decode(body: bytes) -> Decoded:
    block = _open(body)
    columns = range(len(block.slots) if block.times.count >= OWN_COLUMN else 1)
    values = np.concatenate([unpack_floats(block.column(number)) for number in columns])
    return Decoded(block.slots, block.times.unpacked(), values.reshape(len(block.slots), block.times.count))


def slots_of_block(body: bytes) -> NDArray[np.int64]:
    """Return the series of a block of samples, sorted, without decoding these."""
    return _open(body).slots


def _places_of(wanted: NDArray[np.int64], slots: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return where in sorted slots those are that are wanted, in order; `wanted` is sorted too."""
    places = np.searchsorted(slots, wanted)
    found = places < len(slots)
    found[found] = slots[places[found]] == wanted[found]
    return places[found]


def _inside(at_ms: NDArray[np.int64], start_ms: int, end_ms: int) -> slice | NDArray[np.intp]:
    """Return which times are in `[start_ms, end_ms)`: a slice where they are in order, as nearly always."""
    if bool((at_ms[1:] >= at_ms[:-1]).all()):
        return slice(*np.searchsorted(at_ms, (start_ms, end_ms)).tolist())
    return np.flatnonzero((at_ms >= start_ms) & (at_ms < end_ms))


def _table(slots: NDArray[np.int64], at_ms: NDArray[np.int64], values: NDArray[np.float64]) -> SampleBatch:
    """Return a table of series and times as rows."""
    times = np.broadcast_to(at_ms, (len(slots), len(at_ms))).reshape(-1)
    return SampleBatch(np.repeat(slots, len(at_ms)), times, values.ravel())


def unpack_samples(order: bytes, bodies: Sequence[bytes]) -> SampleBatch:
    """Return all rows of a segment in the order accepted."""
    slots = unpack_order(order)
    places, found = places_by_slot(slots), sorted_by_slot(unpack_blocks(bodies))
    rows = SampleBatch(slots, np.empty(len(slots), np.int64), np.empty(len(slots), np.float64))
    if len(found):
        rows.at_ms[places], rows.values[places] = found.at_ms, found.values
    return rows


def unpack_blocks(bodies: Sequence[bytes]) -> SampleBatch:
    """Return all rows of some blocks, block by block; those of one series in the order accepted."""
    blocks = map(_decode, bodies)
    return SampleBatch.concat([_table(block.slots, block.at_ms, block.values) for block in blocks])


def pack_integers(column: NDArray[np.int64], care: Care = by_length) -> bytes:
    """Return an int64 column compressed (regular timestamps cost almost nothing)."""
    return _compressed(np.ascontiguousarray(column, np.int64), care)


def _compressed(column: NDArray[Any], care: Care = by_length) -> bytes:
    return bytes(standalone.simple_compress(column, care(column)))


def unpack_integers(data: bytes) -> NDArray[np.int64]:
    """Return the column of `pack_integers`."""
    found = standalone.simple_decompress(data)
    return np.zeros(0, np.int64) if found is None else np.asarray(found, np.int64)  # None: there were no values


def pack_floats(column: NDArray[np.float64], care: Care = by_length) -> bytes:
    """Return a float64 column compressed, exact to the bit.

    Decimal fractions become integers and quotients of counts become these, where that loses no bit; a leading byte
    says by which power of ten, or in which form.
    """
    column = np.ascontiguousarray(column, np.float64)
    whole = np.empty(len(column), np.int64)
    return _packed(column, whole, fewest_digits(column, whole), care)


def _packed(column: NDArray[np.float64], whole: NDArray[np.int64], digits: int, care: Care) -> bytes:
    """Return a column compressed; `whole` and `digits` are what `fewest_digits` says of it."""
    if digits >= 0:
        return bytes((digits,)) + _compressed(whole, care)
    plain = bytes((PLAIN,)) + _compressed(column, care)
    bottoms = np.empty(len(column), np.int64)
    if not as_ratios(column, whole, bottoms):
        return plain
    counts = ((SHARES, whole), (LACKS, bottoms - whole))
    packed = [
        bytes((form,)) + msgspec.msgpack.encode([_compressed(some, care) for some in (bottoms, one)])
        for form, one in counts
    ]
    return min(plain, *packed, key=len)


def unpack_floats(data: bytes, rows: slice | NDArray[np.intp] = EVERY) -> NDArray[np.float64]:
    """Return the column of `pack_floats`, or some rows of it."""
    form = data[0]
    if form == PLAIN:
        return np.asarray(standalone.simple_decompress(data[1:])[rows], np.float64)
    if form in (SHARES, LACKS):
        bottoms, counted = (unpack_integers(one)[rows] for one in msgspec.msgpack.decode(data[1:]))
        return np.asarray((counted if form == SHARES else bottoms - counted) / bottoms)
    return np.asarray(unpack_integers(data[1:])[rows] / 10.0**form)


class Columns:
    """The columns that were unpacked last: who draws a dashboard asks for the same ones again. Any thread may ask."""

    def __init__(self) -> None:
        self._columns: dict[bytes, NDArray[np.float64]] = {}
        self._values = 0
        self._changing = threading.Lock()

    def unpacked(self, packed: bytes) -> NDArray[np.float64]:
        """Return the column of `pack_floats`, which is not to be written to."""
        with self._changing:
            if (known := self._columns.pop(packed, None)) is not None:
                self._columns[packed] = known
                return known
        column = unpack_floats(packed)
        with self._changing:
            self._values += len(column) if packed not in self._columns else 0
            self._columns[packed] = column
            while self._values > KEPT_VALUES:
                self._values -= len(self._columns.pop(next(iter(self._columns))))
        return column

    def select(self, body: bytes, wanted: NDArray[np.int64], start_ms: int, end_ms: int) -> SampleBatch:
        """Do as `select_block`."""
        return select_block(body, wanted, start_ms, end_ms, self.unpacked)


def select_block(
    body: bytes,
    wanted: NDArray[np.int64],
    start_ms: int,
    end_ms: int,
    unpacked: Callable[[bytes], NDArray[np.float64]] = unpack_floats,
) -> SampleBatch:
    """Return samples of some series of a block in `[start_ms, end_ms)`, by series, then in the order accepted.

    Only what is asked for is decoded, as far as the form of the block allows.
    """
    block = _open(body)
    rows = _places_of(wanted, block.slots)
    if not len(rows):
        return SampleBatch.concat([])
    inside, times = block.times.between(start_ms, end_ms)
    if block.times.count < OWN_COLUMN:
        values = unpacked(block.column(0)).reshape(len(block.slots), block.times.count)[rows][:, inside]
        return _table(block.slots[rows], times, values)
    values = np.empty((len(rows), len(times)))
    for place, row in enumerate(rows.tolist() if len(times) else ()):
        values[place] = unpacked(block.column(row))[inside]
    return _table(block.slots[rows], times, values)


def pack_scores(rows: ScoredRows) -> list[Block]:
    """Return kept scores as blocks by slot; scores keep three decimals, bands a 512th of their width."""
    order = np.lexsort((rows.at_ms, rows.slots))
    return [_pack_scores(rows, order[at : at + SCORE_BLOCK_ROWS]) for at in range(0, len(order), SCORE_BLOCK_ROWS)]


def _pack_scores(rows: ScoredRows, order: NDArray[np.intp]) -> Block:
    slots, at_ms = rows.slots[order], rows.at_ms[order]
    columns = [
        pack_integers(slots),
        pack_integers(at_ms),
        pack_integers(np.rint(rows.score[order] * SCORE_STEPS).astype(np.int64)),
        *_packed_bands(rows.expected[order], rows.lower[order], rows.upper[order]),
    ]
    body = _sealed(msgspec.msgpack.encode(columns))
    return Block(int(slots.min()), int(slots.max()), int(at_ms.min()), int(at_ms.max()), body)


def _packed_bands(
    expected: NDArray[np.float64], lower: NDArray[np.float64], upper: NDArray[np.float64]
) -> tuple[bytes, ...]:
    """Return bands as whole steps of a power of two that fits their width: neighbours then differ by few of them.

    Bands that are not finite, or are narrow beyond all sense beside where they are, are kept as float32.
    """
    with np.errstate(all="ignore"):  # what becomes of it is looked at below
        width = upper - lower
        least = (np.abs(expected) + SMALLEST) / WIDTHLESS
        exponents = np.floor(np.log2(np.where(width > 0.0, width / BAND_STEPS, least)))
        steps = np.exp2(exponents)
        whole = [np.rint(column / steps) for column in (expected, expected - lower, upper - expected)]
        fits = all(bool((np.abs(column) < MANTISSA).all()) for column in (exponents, *whole))
    if not fits:
        singles = (np.ascontiguousarray(band.astype("<f4")) for band in (expected, lower, upper))
        return tuple(_compressed(band) for band in singles)
    return tuple(pack_integers(column.astype(np.int64)) for column in (exponents, *whole))


def unpack_scores(body: bytes) -> ScoredRows:
    """Return the rows of one block of scores, sorted by (slot, at_ms)."""
    slots, at_ms, *others = msgspec.msgpack.decode(_opened(body))
    return _scored(unpack_integers(slots), unpack_integers(at_ms), others, EVERY)


def select_scores_of_block(body: bytes, wanted: NDArray[np.int64], start_ms: int, end_ms: int) -> ScoredRows | None:
    """Return the rows of some series of one block of scores in `[start_ms, end_ms)`, or None if it has none.

    Args:
        body: of the block.
        wanted: slots, rising.
        start_ms: first time.
        end_ms: end of the times.
    """
    slots, at_ms, *others = msgspec.msgpack.decode(_opened(body))
    all_slots, all_ms = unpack_integers(slots), unpack_integers(at_ms)
    rows = rows_of(all_slots, all_ms, wanted, start_ms, end_ms)
    return _scored(all_slots[rows], all_ms[rows], others, rows) if len(rows) else None


def _scored(
    slots: NDArray[np.int64], at_ms: NDArray[np.int64], columns: Sequence[bytes], rows: NDArray[np.intp] | slice
) -> ScoredRows:
    """Return scored rows, of which the other columns are still packed, for all rows of the block."""
    score, *bands = columns
    return ScoredRows(slots, at_ms, unpack_integers(score)[rows] / SCORE_STEPS, *_unpacked_bands(bands, rows))


def _unpacked_bands(columns: Sequence[bytes], rows: NDArray[np.intp] | slice) -> tuple[NDArray[np.float64], ...]:
    if len(columns) == SINGLES:
        return tuple(np.asarray(standalone.simple_decompress(band)[rows], np.float64) for band in columns)
    exponents, expected, below, above = (unpack_integers(column)[rows].astype(np.float64) for column in columns)
    steps = np.exp2(exponents)
    return expected * steps, (expected - below) * steps, (expected + above) * steps


def concat_scores(parts: Sequence[ScoredRows]) -> ScoredRows:
    """Return the rows of all parts, in order."""
    names = ("slots", "at_ms", "score", "expected", "lower", "upper")
    dtypes: tuple[Any, ...] = (np.int64, np.int64, np.float64, np.float64, np.float64, np.float64)
    return ScoredRows(
        *(
            np.concatenate([np.zeros(0, dtype), *(getattr(part, name) for part in parts)])
            for name, dtype in zip(names, dtypes, strict=True)
        )
    )


def take_scores(rows: ScoredRows, chosen: NDArray[np.intp]) -> ScoredRows:
    """Return some rows, in the order asked for."""
    return ScoredRows(
        rows.slots[chosen],
        rows.at_ms[chosen],
        rows.score[chosen],
        rows.expected[chosen],
        rows.lower[chosen],
        rows.upper[chosen],
    )


def roll_up_block(body: bytes, resolution_ms: int) -> Rollups:
    """Return the buckets of all samples of a block."""
    block = _decode(body)
    return roll_up(_table(block.slots, block.at_ms, block.values), resolution_ms)


def pack_rollups(rows: Rollups) -> list[Block]:
    """Return buckets, sorted by series and time, as blocks whose times are the ends of their buckets."""
    places = range(0, len(rows), ROLLUP_BLOCK_ROWS)
    return [_pack_rollups(rows.take(np.arange(at, min(at + ROLLUP_BLOCK_ROWS, len(rows))))) for at in places]


def _pack_rollups(rows: Rollups) -> Block:
    several = rows.count > 1  # of a single sample, the lowest says it all
    columns = [
        *(pack_integers(column) for column in (rows.slots, rows.end_ms, rows.count)),
        pack_floats(rows.lowest),
        *(pack_floats(column[several]) if several.any() else b"" for column in (rows.highest, rows.total)),
    ]
    body = _sealed(msgspec.msgpack.encode(columns))
    return Block(int(rows.slots[0]), int(rows.slots[-1]), int(rows.end_ms.min()), int(rows.end_ms.max()), body)


def unpack_rollups(body: bytes) -> Rollups:
    """Return the buckets of one block."""
    *whole, packed_lowest, highest, total = msgspec.msgpack.decode(_opened(body))
    slots, end_ms, count = map(unpack_integers, whole)
    lowest = unpack_floats(packed_lowest)
    rows = Rollups(slots, end_ms, lowest, lowest.copy(), lowest.copy(), count)
    several = count > 1
    if several.any():
        rows.highest[several], rows.total[several] = unpack_floats(highest), unpack_floats(total)
    return rows


def _sealed(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(4, "big") + body


def _opened(data: bytes) -> bytes:
    if _is_damaged(data):
        raise CorruptData(DAMAGED)
    return data[CHECKSUM_BYTES:]


def _is_damaged(data: bytes, end: int | None = None) -> bool:
    """Return whether bytes up to an end are others than they were when they were sealed."""
    return zlib.crc32(memoryview(data)[CHECKSUM_BYTES:end]) != int.from_bytes(data[:CHECKSUM_BYTES], "big")
