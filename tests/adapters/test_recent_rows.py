"""Recent rows: what is found in runs is what looking at every batch would find, whatever came and went."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quantum.adapters import recent_rows
from quantum.adapters.recent_rows import RecentRows, begins_anew, by_series, places_by_slot, sorted_by_slot
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    import pytest

ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=1, max_size=6)
STEPS = st.lists(ROWS | st.sampled_from(["seal", "undo", "ask"]), max_size=30)


def batch_of(rows: list[tuple[int, int]], number: int) -> SampleBatch:
    return SampleBatch.of([slot for slot, _ in rows], [at for _, at in rows], [float(number)] * len(rows))


def listed(batches: list[SampleBatch]) -> list[tuple[int, int, float]]:
    return [
        row for one in batches for row in zip(one.slots.tolist(), one.at_ms.tolist(), one.values.tolist(), strict=True)
    ]


@given(STEPS, st.sets(st.integers(0, 5), min_size=1), st.integers(0, 6), st.integers(0, 7))
def test_runs_have_what_every_batch_together_has(
    steps: list[list[tuple[int, int]] | str], wanted: set[int], start_ms: int, end_ms: int
) -> None:
    tail: dict[int, SampleBatch] = {}
    recent, slots, position = RecentRows(lambda: tail), np.array(sorted(wanted)), 0
    for number, step in enumerate([*steps, "ask"]):
        if step == "seal":  # facts leave at the front
            tail = dict(list(tail.items())[len(tail) // 2 :])
        elif step == "undo" and tail:  # or at the back, and others get their positions
            tail.popitem()
            position = max(tail, default=0)
        elif step == "ask":
            found = recent.select(slots, start_ms, end_ms)
            everything = listed(list(tail.values()))
            expected = [row for row in everything if row[0] in wanted and start_ms <= row[1] < end_ms]
            assert sorted(listed(found)) == sorted(expected)
            assert all(listed([by_series(part)]) == listed([part]) for part in found)
        elif step != "undo":
            position += 1
            tail[position] = batch_of(step, number)  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=12))
def test_rows_are_sorted_and_equal_ones_keep_their_order(rows: list[tuple[int, int]]) -> None:
    batch = SampleBatch.of([slot for slot, _ in rows], [at for _, at in rows], range(len(rows)))
    expected = sorted(listed([batch]), key=lambda row: row[:2])
    assert listed([by_series(batch)]) == expected


def test_a_row_is_sorted_as_often_as_its_run_doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    sorted_rows = 0

    def counted(rows: SampleBatch) -> SampleBatch:
        nonlocal sorted_rows
        sorted_rows += len(rows)
        return by_series(rows)

    monkeypatch.setattr(recent_rows, "by_series", counted)
    tail, count = dict[int, SampleBatch](), 1000
    recent = RecentRows(lambda: tail)
    for position in range(count):
        tail[position] = batch_of([(position % 7, position)], position)
        recent.select(np.array([3]), 0, 10)
    assert sorted_rows <= count * (np.log2(count) + 2)
    assert len(recent._runs) <= np.log2(count) + 1


def test_several_threads_may_ask_while_batches_come_in() -> None:
    tail: dict[int, SampleBatch] = {}
    recent, counts = RecentRows(lambda: tail), list[tuple[int, int, int]]()

    def ask() -> None:
        while len(tail) < size:
            before = len(tail)
            found = sum(map(len, recent.select(np.arange(3), 0, 1000)))
            counts.append((before, found, len(tail)))

    size = 300
    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for position in range(size):
        tail[position] = batch_of([(position % 3, position)], position)
    for thread in threads:
        thread.join()
    assert all(before <= found <= after for before, found, after in counts)
    assert sum(map(len, recent.select(np.arange(3), 0, 1000))) == size


@given(st.lists(st.integers(0, 40) | st.integers(0, 10**9), max_size=60))
def test_rows_sorted_by_slot_are_those_of_a_stable_sort(slots: list[int]) -> None:
    column = np.array(slots, np.int64)
    assert places_by_slot(column).tolist() == np.argsort(column, kind="stable").tolist()
    rows = SampleBatch(column, np.arange(len(slots)), np.arange(float(len(slots))))
    assert sorted_by_slot(rows).at_ms.tolist() == np.argsort(column, kind="stable").tolist()


@given(st.lists(st.lists(st.integers(0, 2), max_size=4), min_size=1, max_size=6))
def test_parts_of_a_column_begin_anew_where_they_are_not_as_the_one_before(parts: list[list[int]]) -> None:
    ends = np.cumsum([len(part) for part in parts])
    starts = np.append(0, ends[:-1])
    column = np.array([number for part in parts for number in part], np.int64)
    expected = [True, *(part != before for before, part in pairwise(parts))]
    assert begins_anew(column, starts, ends).tolist() == expected
