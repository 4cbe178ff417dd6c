"""Columnar batches."""

from __future__ import annotations

import numpy as np
import pytest

from quantum.domain.series import SampleBatch


def test_columns_must_be_equally_long() -> None:
    with pytest.raises(ValueError, match="equally long"):
        SampleBatch.of([0], [1, 2], [0.5])


def test_concat_keeps_the_order_of_rows() -> None:
    joined = SampleBatch.concat([SampleBatch.of([1], [10], [0.1]), SampleBatch.of([0, 2], [20, 30], [0.2, 0.3])])
    assert joined.slots.tolist() == [1, 0, 2]
    assert joined.at_ms.tolist() == [10, 20, 30]
    assert joined.values.tolist() == [0.1, 0.2, 0.3]


def test_concat_of_nothing_is_an_empty_batch() -> None:
    assert len(SampleBatch.concat([])) == 0


def test_take_chooses_rows_by_mask_index_or_slice() -> None:
    batch = SampleBatch.of([0, 1, 2], [10, 20, 30], [0.1, 0.2, 0.3])
    assert batch.take(np.array([True, False, True])).slots.tolist() == [0, 2]
    assert batch.take(np.array([2, 0])).slots.tolist() == [2, 0]
    assert batch.take(slice(1, 3)).at_ms.tolist() == [20, 30]


def test_every_bit_of_a_value_is_kept() -> None:
    stale = np.array([0x7FF0000000000002], np.uint64).view(np.float64)
    assert SampleBatch.of([0], [0], stale).values.view(np.uint64)[0] == 0x7FF0000000000002
