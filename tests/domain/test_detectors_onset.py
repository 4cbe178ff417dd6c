"""Onsets: one row per event, whatever the batches."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum.domain.detectors.onset import (
    DAMPING,
    EPISODE_ROWS,
    EVIDENCE_ROWS,
    FULL_EVIDENCE,
    GROWING_ROWS,
    GROWING_STEP,
    STEP,
    Onsets,
    evidence_of,
    weigh_rarities,
)

evidences = st.lists(st.floats(0.0, 60.0), min_size=1, max_size=400)


def decide(evidence: list[float]) -> np.ndarray:
    return Onsets().decide(np.zeros(len(evidence), np.int64), np.array(evidence))


@settings(deadline=None)
@given(evidences)
def test_an_onset_keeps_its_evidence_and_every_other_row_is_damped(evidence: list[float]) -> None:
    told = decide(evidence)
    full = np.minimum(1.0, np.array(evidence) / FULL_EVIDENCE)
    assert np.all((told == full) | (told == full * DAMPING))


@settings(deadline=None)
@given(evidences)
def test_an_onset_exceeds_every_onset_of_the_last_rows(evidence: list[float]) -> None:
    told, full = decide(evidence), np.minimum(1.0, np.array(evidence) / FULL_EVIDENCE)
    onsets = [row for row in range(len(told)) if told[row] == full[row] > 0.0]
    for earlier, later in itertools.pairwise(onsets):
        assert later - earlier > EPISODE_ROWS or evidence[later] > evidence[earlier]


@settings(deadline=None)
@given(evidences, st.integers(0, 400))
def test_a_dump_restored_in_between_changes_nothing(evidence: list[float], cut: int) -> None:
    first, second = Onsets(), Onsets()
    slots, given_evidence = np.zeros(len(evidence), np.int64), np.array(evidence)
    head = first.decide(slots[:cut], given_evidence[:cut])
    second.restore(first.dump())
    tail = second.decide(slots[cut:], given_evidence[cut:])
    assert np.array_equal(np.concatenate([head, tail]), decide(evidence))


def test_series_do_not_disturb_each_other() -> None:
    told = Onsets().decide(np.array([0, 3, 0, 3]), np.array([9.0, 6.0, 6.0, 9.0]))
    assert told == pytest.approx([0.225, 0.15, 0.015, 0.225])


def test_after_the_episode_is_over_the_same_evidence_is_an_onset_again() -> None:
    told = decide([9.0, *[0.0] * (EPISODE_ROWS + 5), 9.0])
    assert told[0] == told[-1] == pytest.approx(0.225)


def test_within_an_episode_a_little_more_is_more_of_the_same() -> None:
    later = [0.0] * GROWING_ROWS
    assert decide([9.0, *later, 9.0 * STEP])[-1] == pytest.approx(0.0225 * STEP)
    assert decide([9.0, *later, 9.1 * STEP])[-1] == pytest.approx(0.2275 * STEP)


@given(st.integers(0, GROWING_ROWS - 1))
def test_soon_after_an_onset_it_takes_more_to_be_another(rows_between: int) -> None:
    soon = [0.0] * rows_between
    assert decide([9.0, *soon, 9.0 * GROWING_STEP])[-1] == pytest.approx(0.0225 * GROWING_STEP)
    assert decide([9.0, *soon, 9.1 * GROWING_STEP])[-1] == pytest.approx(0.2275 * GROWING_STEP)


shares = st.lists(st.floats(0.1, 2.0), min_size=3, max_size=3)
powers = st.floats(0.3, 1.0)


@settings(deadline=None)
@given(shares, powers, st.floats(4.0, 12.0))
def test_evidence_is_full_with_all_signs_at_their_loudest_and_not_before(
    weights: list[float], power: float, cap: float
) -> None:
    evidence = evidence_of(np.array(weights), power, cap)
    rarities = np.array([[cap, cap, cap], [99.0, 99.0, 99.0], [cap, cap, 0.0]])
    found = weigh_rarities(rarities, np.full(3, 1000.0), evidence)
    assert found[:2] == pytest.approx([FULL_EVIDENCE, FULL_EVIDENCE])
    assert found[2] < FULL_EVIDENCE


@settings(deadline=None)
@given(shares, powers, st.integers(1, int(EVIDENCE_ROWS)))
def test_the_evidence_of_a_young_series_is_cut_in_proportion_to_its_rows(
    weights: list[float], power: float, rows: int
) -> None:
    evidence = evidence_of(np.array(weights), power, 11.0)
    young = weigh_rarities(np.full((1, 3), 11.0), np.array([float(rows)]), evidence)
    assert young[0] == pytest.approx(FULL_EVIDENCE * (rows / EVIDENCE_ROWS) ** power)


def test_a_row_that_was_not_measured_has_no_evidence() -> None:
    evidence = evidence_of(np.ones(2), 0.8, 11.0)
    assert weigh_rarities(np.full((1, 2), 9.0), np.zeros(1), evidence).tolist() == [0.0]


def test_a_state_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="not a state of onsets"):
        Onsets().restore({"peaks": np.zeros(1)})
    with pytest.raises(ValueError, match="not a state of onsets"):
        Onsets().restore({"peaks": np.zeros(1), "ages": np.zeros(2)})
