"""From scores to anomalies: how they open, grow and end."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.facts import Log, labels, run, silent_for

from quantum.domain.anomalies import (
    ENDS,
    GROWS,
    OPENS,
    QUIET_ROWS,
    SUSTAINED_ROWS,
    SUSTAINED_SCORE,
    AnomalyBook,
    follow_rows,
)
from quantum.domain.facts import (
    Samples,
)
from quantum.domain.scoring import Scores
from quantum.domain.series import SampleBatch

CPU = labels("cpu", host="a")


def test_an_anomaly_opens_grows_and_ends_after_some_quiet_samples() -> None:
    log = Log()
    for value in (0, 0, 6, 14, 14, 14, 14, 14, 14, 14):
        log.send({CPU: value})
    told = [one for each in run(log.facts)[1] for one in each.anomalies]
    assert [(one.score, one.end_ms is None) for one in told] == [(0.6, True), (0.8, True), (0.8, False)]
    assert told[-1].start_ms == log.facts[2].at_ms
    assert told[-1].end_ms == told[-1].peak_at_ms == log.facts[3].at_ms
    assert len({one.id for one in told}) == 1


def test_a_score_between_the_thresholds_goes_on_without_being_told_again() -> None:
    log = Log()
    for value in (0, 8, 12, 16):
        log.send({CPU: value})
    told = [one for each in run(log.facts)[1] for one in each.anomalies]
    assert len(told) == 1


def test_an_anomaly_ends_when_its_series_falls_silent() -> None:
    log = Log()
    for value in (0, 0, 20):
        log.send({CPU: value})
    silent_for(log, 30)
    pipeline, effects = run(log.facts)
    assert [one.end_ms is None for each in effects for one in each.anomalies] == [True, False]
    assert pipeline.ongoing_anomalies == ()


@given(odd=st.sets(st.integers(0, 6)), silent=st.sets(st.integers(0, 8)), restored=st.booleans())
def test_of_the_stretches_that_last_those_end_whose_series_fell_silent(
    odd: set[int], silent: set[int], restored: bool
) -> None:
    """In order of slots, at their last loud row, once; a book that was restored does the same."""
    slots, score = np.arange(7), np.where(np.isin(np.arange(7), list(odd)), 0.7, 0.0)
    book = AnomalyBook(0.4)
    scores = Scores(score, *(np.full(7, np.nan) for _ in range(3)))
    book.take(SampleBatch.of(slots, slots * 10, slots), scores, dict.fromkeys(range(7), CPU))
    book = AnomalyBook(0.4, book.ongoing) if restored else book
    is_silent = np.isin(np.arange(9), list(silent))
    ended = [(one.slot, one.end_ms) for one in book.end_silent(is_silent)]
    assert ended == [(slot, slot * 10) for slot in sorted(odd & silent)]
    assert [one.anomaly.slot for one in book.ongoing] == sorted(odd - silent)
    assert book.is_odd(slots).tolist() == [slot in odd - silent for slot in range(7)]
    assert book.end_silent(is_silent) == []


def test_an_anomaly_may_begin_and_end_within_one_batch() -> None:
    log = Log()
    log.send({CPU: 0.0})
    values = [9.0, *[9.0] * 6, 10.0]
    at_ms = [log.at_ms + 100 * (n + 1) for n in range(len(values))]
    log.add(Samples(SampleBatch.of([0] * len(values), at_ms, values)), 1000)
    told = [one for each in run(log.facts)[1] for one in each.anomalies]
    assert [(one.start_ms, one.end_ms) for one in told] == [(at_ms[0], at_ms[0])]


def test_what_is_a_little_odd_for_long_is_an_anomaly_that_began_with_the_first_odd_sample() -> None:
    log = Log()
    for n in range(12):
        log.send({CPU: 3.0 * n})
    told = [one for each in run(log.facts)[1] for one in each.anomalies]
    assert [(one.start_ms, one.peak_at_ms) for one in told] == [(log.facts[1].at_ms, log.facts[SUSTAINED_ROWS].at_ms)]


def test_what_is_a_little_odd_now_and_then_is_no_anomaly() -> None:
    log = Log()
    for n in range(60):
        log.send({CPU: 3.0 * (n - n // SUSTAINED_ROWS)})
    assert [one for each in run(log.facts)[1] for one in each.anomalies] == []


def told_row_by_row(rows: list[tuple[int, float]]) -> list[tuple[int, int]]:
    """What the rows of one series mean, by the rules of the module's docstring."""
    told, since, run, quiet, peak, last = [], 0, 0, -1, 0.0, 0
    for at_ms, score in rows:
        run, since = (run + 1, since if run else at_ms) if score >= SUSTAINED_SCORE else (0, at_ms)
        mean, time = 0, 0
        if quiet < 0 and (run >= SUSTAINED_ROWS or score >= 0.45):
            mean, time, quiet, peak, last = OPENS, since, 0, score, at_ms
        elif quiet >= 0 and score < SUSTAINED_SCORE / 2:
            quiet += 1
            if quiet == QUIET_ROWS:
                mean, time, quiet = ENDS, last, -1
        elif quiet >= 0:
            quiet, last = 0, at_ms
            if score >= peak + 0.05:
                mean, peak = GROWS, score
        told.append((mean, time))
    return told


@given(
    rows=st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0.0, 0.1, 0.2, 0.2, 0.5, 0.52, 0.9])), max_size=60),
    cut=st.integers(0, 60),
)
def test_stretches_open_grow_and_end_by_the_rules_however_the_rows_are_cut_into_batches(
    rows: list[tuple[int, float]], cut: int
) -> None:
    slots = np.array([slot for slot, _ in rows], np.int64)
    score = np.array([score for _, score in rows], np.float64)
    at_ms = np.arange(len(rows), dtype=np.int64)
    for function in (follow_rows, follow_rows.py_func):  # type: ignore[attr-defined]
        kinds = (np.int64, np.int64, np.bool_, np.float64, np.int64, np.int64)
        columns: list[Any] = [np.zeros(3, kind) for kind in kinds]
        parts = [function(slots[p], at_ms[p], score[p], 0.45, *columns) for p in (slice(cut), slice(cut, None))]
        means, times = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
        for slot in range(3):
            of_slot = np.flatnonzero(slots == slot)
            expected = told_row_by_row([(int(row), float(score[row])) for row in of_slot])
            assert list(zip(means[of_slot].tolist(), times[of_slot].tolist(), strict=True)) == expected
