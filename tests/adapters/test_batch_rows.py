"""Rows of the log: exact to the bit whatever they are, few bytes where they are usual, an error where cut short."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.adapters.test_chunks import VALUES, bits

from quantum.adapters import chunks
from quantum.adapters.batch_rows import BEYOND, packed_rows, unpacked_rows
from quantum.domain.series import SampleBatch

Row = tuple[int, int, float]
ROW = st.tuples(st.integers(0, 2**40), st.integers(0, BEYOND - 1), VALUES)
WALKS = st.lists(st.integers(-300, 300), min_size=1, max_size=60)


@given(st.lists(ROW, max_size=60))
@example([(BEYOND - 1, 0, 1.0), (0, BEYOND - 1, -1.0), (BEYOND - 1, 0, 2.0**53)])
def test_rows_come_back_bit_by_bit(rows: list[Row]) -> None:
    batch = SampleBatch.of(*([row[column] for row in rows] for column in range(3)))
    packed = packed_rows(batch.slots, batch.at_ms, batch.values)
    assert packed is not None
    assert bits(SampleBatch(*unpacked_rows(packed))) == bits(batch)


@given(WALKS, st.sampled_from([1, 10, 100, 1000, 10_000]))
def test_decimal_fractions_of_a_series_take_a_few_bytes_each(steps: list[int], parts: int) -> None:
    values, count = np.cumsum(steps) / parts, len(steps)
    packed = packed_rows(np.zeros(count, np.int64), 10_000 * np.arange(count), values)
    assert packed is not None
    # a slot, a time of up to three bytes, a form, and a number of up to two; more where the form changes
    assert len(packed) <= 4 + 3 + count * 7 + 3 * len(set(np.sign(steps)))
    assert unpacked_rows(packed)[2].tolist() == values.tolist()


@pytest.mark.parametrize("row", [(-1, 0, 1.0), (0, -1, 1.0), (BEYOND, 0, 1.0), (0, BEYOND, 1.0)])
def test_slots_and_times_out_of_range_are_not_packed_so_and_come_back_all_the_same(row: Row) -> None:
    batch = SampleBatch.of(*([one] for one in row))
    assert packed_rows(batch.slots, batch.at_ms, batch.values) is None
    assert bits(chunks.unpack_batch(chunks.pack_batch(batch))) == bits(batch)


@given(st.lists(ROW, min_size=1, max_size=9), st.data())
def test_rows_that_are_cut_short_or_too_long_are_an_error(rows: list[Row], data: st.DataObject) -> None:
    packed = packed_rows(*(np.array([row[column] for row in rows]) for column in range(3)))
    assert packed is not None
    cut = data.draw(st.integers(0, len(packed) - 1))
    for wrong in (packed[:cut], packed + b"\x00"):
        with pytest.raises(ValueError, match="packed rows"):
            unpacked_rows(wrong)


def test_a_batch_of_the_second_version_is_read() -> None:
    """Golden bytes of a batch whose columns were compressed as they are."""
    batch = SampleBatch.of([0, 1, 0, 1], [1000, 1000, 2000, 2000], [1.5, -2.0, 2.5, 1e-9])
    assert bits(chunks.unpack_batch(OF_COLUMNS)) == bits(batch)


def test_a_batch_of_rows_is_read() -> None:
    """Golden bytes of what is written now: whatever is written in future, these must be read."""
    batch = SampleBatch.of([0, 1, 1, 1], [1000, 1000, 2000, 2000], [1.5, -2.0, 2.5, 1e-9])
    assert bits(chunks.unpack_batch(OF_ROWS)) == bits(batch)


OF_COLUMNS = bytes.fromhex(
    "add86abb0160000000130001001301080013ff010004100023e80319000302000c100002020022f83f08002200c00800a0044095"
    "d626e80b2e113e"
)
OF_ROWS = bytes.fromhex("35566ab7021d000000a00400000000020000d00f0300f000010101051e275a95d626e80b2e113e")
