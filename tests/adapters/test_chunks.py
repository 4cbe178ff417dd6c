"""Chunks: exact to the bit, damaged bytes are an error, and a part of a block is what the whole says of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum.adapters import chunks
from quantum.adapters.wire import CorruptData
from quantum.domain.scoring import ScoredRows
from quantum.domain.series import SampleBatch

VALUES = st.floats(width=64) | st.sampled_from([0.1, 0.25, 12.34, -7.0, 1e300, -0.0, 5e-324])
ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2**41), VALUES), min_size=1, max_size=300)


def batch_of(rows: list[tuple[int, int, float]]) -> SampleBatch:
    return SampleBatch.of(*(list(column) for column in zip(*rows, strict=True)))


def table(series: int, times: int, late_ms: int = 0) -> SampleBatch:
    """Return rows of series that share their times, as an agent sends them; each third time is late."""
    at_ms = 1_700_000_000_000 + np.repeat(1000 * np.arange(times) + late_ms * (np.arange(times) % 3 == 0), series)
    return SampleBatch(np.tile(np.arange(series), times), at_ms, np.arange(series * times) / 10)


def bits(batch: SampleBatch) -> list[tuple[int, int, int]]:
    columns = batch.slots, batch.at_ms, batch.values.view(np.int64)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@given(ROWS)
def test_a_batch_comes_back_bit_by_bit(rows: list[tuple[int, int, float]]) -> None:
    batch = batch_of(rows)
    assert bits(chunks.unpack_batch(chunks.pack_batch(batch))) == bits(batch)


@given(ROWS)
def test_a_segment_comes_back_in_the_order_accepted(rows: list[tuple[int, int, float]]) -> None:
    batch = batch_of(rows)
    order, blocks = chunks.pack_samples(batch)
    assert bits(chunks.unpack_samples(order, [block.body for block in blocks])) == bits(batch)
    for block in blocks:
        assert block.min_slot <= block.max_slot
        assert block.min_ms <= block.max_ms


@given(st.lists(VALUES, min_size=1, max_size=200))
def test_floats_are_exact_to_the_bit(values: list[float]) -> None:
    column = np.array(values)
    assert chunks.unpack_floats(chunks.pack_floats(column)).view(np.int64).tolist() == column.view(np.int64).tolist()


@given(
    rows=ROWS
    | st.builds(lambda *sizes: bits_free(table(*sizes)), st.integers(1, 3), st.sampled_from([3, 127, 128, 200]))
    | st.builds(lambda n, m: bits_free(table(n, m, 7)), st.integers(1, 3), st.sampled_from([3, 128])),
    wanted=st.sets(st.integers(0, 5)),
    bounds=st.tuples(st.integers(0, 2**41), st.integers(0, 2**41)),
)
def test_selecting_from_a_block_is_filtering_what_is_in_it(
    rows: list[tuple[int, int, float]], wanted: set[int], bounds: tuple[int, int]
) -> None:
    batch, (start_ms, end_ms) = batch_of(rows), bounds
    slots = np.array(sorted(wanted), np.int64)
    keep = np.isin(batch.slots, slots) & (batch.at_ms >= start_ms) & (batch.at_ms < end_ms)
    expected = sorted(bits(batch.take(np.flatnonzero(keep))))
    bodies = [block.body for block in chunks.pack_samples(batch)[1]]
    kept = chunks.DecodedBlocks()
    columns = chunks.Columns()
    for select in (chunks.select_block, kept.select, kept.select, columns.select, columns.select):
        found = SampleBatch.concat([select(body, slots, start_ms, end_ms) for body in bodies])
        assert sorted(bits(found)) == expected


def bits_free(batch: SampleBatch) -> list[tuple[int, int, float]]:
    return list(zip(batch.slots.tolist(), batch.at_ms.tolist(), batch.values.tolist(), strict=True))


def test_decoded_blocks_are_kept_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "DECODED_VALUES", 250)
    kept = chunks.DecodedBlocks()
    bodies = [chunks.pack_samples(table(1, count))[1][0].body for count in (100, 110, 120, 300)]
    for body in (*bodies, *bodies):
        assert len(kept.select(body, np.array([0]), 0, 2**62)) in (100, 110, 120, 300)
        assert kept._values == sum(block.values.size for block in kept._blocks.values()) <= 250


def test_columns_are_kept_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "KEPT_VALUES", 250)
    kept = chunks.Columns()
    columns = [chunks.pack_floats(np.arange(count) / 4) for count in (100, 110, 120, 300)]
    for packed in (*columns[:2], columns[0], *columns, *columns):
        assert kept.unpacked(packed).tolist() == chunks.unpack_floats(packed).tolist()
        assert kept._values == sum(map(len, kept._columns.values())) <= 250
    assert kept.unpacked(columns[1]) is kept.unpacked(columns[1])


@pytest.mark.parametrize("place", [0, 3, 4, -1])
def test_damaged_bytes_are_an_error_and_never_wrong_data(place: int) -> None:
    batch = table(2, 130)
    order, blocks = chunks.pack_samples(batch)
    for body, read in (
        (chunks.pack_batch(batch), chunks.unpack_batch),
        (order, lambda data: chunks.unpack_samples(data, [])),
        (blocks[0].body, lambda data: chunks.select_block(data, np.array([0, 1]), 0, 2**62)),
    ):
        damaged = bytearray(body)
        damaged[place] ^= 1
        with pytest.raises(CorruptData, match="checksum"):
            read(bytes(damaged))


@given(st.lists(st.sampled_from([(1, 2), (1, 3), (2, 2), (1, 2, 3), (3,)]), min_size=1, max_size=12))
def test_series_with_the_very_same_times_are_in_one_block(times: list[tuple[int, ...]]) -> None:
    rows = [(slot, at_ms, 0.5) for slot, of_series in enumerate(times) for at_ms in of_series]
    blocks = chunks.pack_samples(batch_of(rows))[1]
    found = [chunks.slots_of_block(block.body).tolist() for block in blocks]
    alike = [[slot for slot, one in enumerate(times) if one == kind] for kind in dict.fromkeys(times)]
    assert found == alike


def test_series_of_an_agent_share_their_times_and_cost_little() -> None:
    batch = table(100, 1000)
    _, blocks = chunks.pack_samples(batch)
    assert sum(len(block.body) for block in blocks) < 0.5 * len(batch)


def test_what_the_first_version_stored_is_read() -> None:
    """Golden bytes of `pack_batch` and `pack_samples`: whatever is written in future, these must be read."""
    batch = SampleBatch.of([0, 1, 0, 1], [1000, 1000, 2000, 2000], [1.5, -2.0, 2.5, 1e-9])
    assert bits(chunks.unpack_batch(BATCH)) == bits(batch)
    assert bits(chunks.unpack_samples(ORDER, [BLOCK])) == bits(batch)


def test_what_is_stored_since_blocks_have_directories_is_read() -> None:
    """Golden bytes of regular times with one column for all series, and of others with a column for each."""
    batch = SampleBatch.of([0, 1, 0, 1], [1000, 1000, 2000, 2000], [1.5, -2.0, 2.5, 1e-9])
    assert bits(chunks.unpack_samples(ORDER, [REGULAR_BLOCK])) == bits(batch)
    at_ms = np.cumsum(np.where(np.arange(130) % 7 == 0, 11, 10))
    found = chunks.select_block(IRREGULAR_BLOCK, np.array([3, 4, 5]), 0, 2**40)
    assert bits(found) == bits(SampleBatch(np.full(130, 4), at_ms, np.arange(130) / 4))


BAND = st.tuples(st.floats(-1e9, 1e9), st.floats(0.0, 1e6) | st.just(0.0) | st.floats(0.0, 1e-6), st.floats(0.0, 1.0))


@given(st.lists(BAND, min_size=1, max_size=40))
def test_bands_come_back_within_a_256th_of_their_width(bands: list[tuple[float, float, float]]) -> None:
    expected = np.array([middle for middle, _, _ in bands])
    lower = np.array([middle - width * share for middle, width, share in bands])
    upper = np.maximum(lower, np.array([middle + width * (1 - share) for middle, width, share in bands]))
    rows = ScoredRows(
        np.zeros(len(bands), np.int64), np.arange(len(bands)), np.full(len(bands), 0.5), expected, lower, upper
    )
    (block,) = chunks.pack_scores(rows)
    found = chunks.unpack_scores(block.body)
    # where a band is narrower than float32 can tell, that is how exact it is
    allowed = (upper - lower) / 256 + np.maximum(np.abs(expected), np.abs(upper - lower)) * 2.0**-22 + 1e-37
    for name in ("expected", "lower", "upper"):
        assert (np.abs(getattr(found, name) - getattr(rows, name)) <= allowed).all()
    assert found.score.tolist() == [0.5] * len(bands)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 20)), min_size=1, max_size=40, unique=True),
    st.sets(st.integers(0, 5)),
    st.tuples(st.integers(0, 21), st.integers(0, 21)),
    st.booleans(),
)
def test_selecting_scores_from_a_block_is_filtering_what_is_in_it(
    keys: list[tuple[int, int]], wanted: set[int], bounds: tuple[int, int], is_finite: bool
) -> None:
    slots, at_ms = np.array([slot for slot, _ in keys]), np.array([at for _, at in keys])
    middle = np.arange(float(len(keys)))
    upper = middle + 1.0 if is_finite else np.full(len(keys), np.inf)
    (block,) = chunks.pack_scores(ScoredRows(slots, at_ms, middle / 100, middle, middle - 1.0, upper))
    every = chunks.unpack_scores(block.body)
    inside = np.isin(every.slots, list(wanted)) & (every.at_ms >= bounds[0]) & (every.at_ms < bounds[1])
    expected = chunks.take_scores(every, np.flatnonzero(inside))
    found = chunks.select_scores_of_block(block.body, np.array(sorted(wanted), np.int64), *bounds)
    assert (found is None) == (not inside.any())
    for name in ("slots", "at_ms", "score", "expected", "lower", "upper") if found is not None else ():
        assert getattr(found, name).tolist() == getattr(expected, name).tolist()


def test_bands_that_are_not_finite_are_kept_as_they_are() -> None:
    one = np.array([1.5])
    rows = ScoredRows(np.array([0]), np.array([1]), one, one, np.array([-np.inf]), np.array([np.inf]))
    (block,) = chunks.pack_scores(rows)
    found = chunks.unpack_scores(block.body)
    assert (found.expected.tolist(), found.lower.tolist(), found.upper.tolist()) == ([1.5], [-np.inf], [np.inf])


BATCH = bytes.fromhex(
    "2d4a37d628b52ffd2060750100c800000100ff0100e80300f83f00c000044095d626e80b2e113e0900406030060c301301e0"
    "0c30106406461b401b"
)
ORDER = bytes.fromhex("6acd1d1428b52ffd201081000000000000010000000000000001000000")
BLOCK = bytes.fromhex(
    "1521b5dc93c41000000000000000000100000000000000c41e70636f21030081040104010000001000401f00000000000054"
    "0000a00f0091c43aff70636f2103000201040106030000004200e0ffffffffffffff0740a5b509fa824b842f000000000000"
    "00fc5f0000000000000004c000c60000"
)
REGULAR_BLOCK = bytes.fromhex(
    "b383efac02020000000200000000000000e803000000000000e80300000000000000000000010000003a000000228f83f7ff70"
    "636f210300020104010603000010210380000000000000180001585a9ba02fb844f803f8ffffffffffdfff0700000000000000"
    "f8bf240000"
)
IRREGULAR_BLOCK = bytes.fromhex(
    "7fd4d0d1020100000082000000350000000b00000000000000000000000000000004000000380000005211be2970636f210300"
    "87200401048100001001010005000000000000c0000b0000000000008040201008040281402010080402814020000002"
    "70636f21030087200401048100009101000000000000100101800000000000000040000400100000000000000000b81e85eb51"
    "b81e0500"
)
