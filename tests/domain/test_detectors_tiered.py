"""Tiers: each series is scored as its own detector would alone, whoever else there is and however they are moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.facts import JumpDetector

from quantum.domain.coverage import CHEAP, FULL, NONE, Tier
from quantum.domain.detectors.robust_ensemble import RobustEnsemble
from quantum.domain.detectors.robust_seasonal import RobustSeasonal
from quantum.domain.detectors.tiered import PORTION_ROWS, Tiered, part_of

if TYPE_CHECKING:
    from quantum.domain.scoring import Scores

ROWS = 120
tiers_of = st.lists(st.sampled_from([FULL, CHEAP, NONE]), min_size=1, max_size=5)


def tiered() -> Tiered:
    return Tiered(RobustSeasonal(), RobustSeasonal())


def columns(scores: Scores) -> np.ndarray:
    return np.stack([scores.score, scores.expected, scores.lower, scores.upper])


def rows_of(count: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return `ROWS` rows of each of some series, series by series within a second."""
    rng = np.random.default_rng(seed)
    slots = np.tile(np.arange(count), ROWS)
    return slots, np.repeat(np.arange(ROWS) * 1000, count), rng.normal(10.0, 1.0, count * ROWS)


def alone(values: np.ndarray, at_ms: np.ndarray) -> np.ndarray:
    return columns(RobustSeasonal().score_and_learn(np.zeros(len(values), np.int64), at_ms, values))


@settings(max_examples=25, deadline=None)
@given(tiers_of, st.integers(1, 4 * PORTION_ROWS), st.integers(0, 99))
def test_others_may_be_let_in_between_portions_of_many_rows_which_changes_nothing(
    tiers: list[int], batch_rows: int, seed: int
) -> None:
    times: list[int] = []
    whole = Tiered(RobustEnsemble(), RobustSeasonal())
    portioned = Tiered(RobustEnsemble(), RobustSeasonal(), lambda: times.append(1))
    slots, at_ms, values = rows_of(len(tiers), seed)
    for bank in (whole, portioned):
        bank.assign(np.array(tiers, np.uint8))
    for first in range(0, len(slots), batch_rows):
        rows = slice(first, first + batch_rows)
        found = [columns(bank.score_and_learn(slots[rows], at_ms[rows], values[rows])) for bank in (whole, portioned)]
        assert found[0].tobytes() == found[1].tobytes()
    assert {name: state.tobytes() for name, state in whole.dump().items()} == {
        name: state.tobytes() for name, state in portioned.dump().items()
    }
    sizes = [min(batch_rows, len(slots) - first) for first in range(0, len(slots), batch_rows)]
    assert len(times) == sum(-(-size // PORTION_ROWS) - 1 for size in sizes)


@settings(max_examples=25, deadline=None)
@given(tiers_of)
@example([NONE, NONE])
def test_a_series_is_scored_as_by_its_own_detector_alone_and_none_is_not_scored(tiers: list[int]) -> None:
    bank = tiered()
    bank.assign(np.array(tiers, np.uint8))
    slots, at_ms, values = rows_of(len(tiers))
    found = columns(bank.score_and_learn(slots, at_ms, values))
    for slot, tier in enumerate(tiers):
        mine = slots == slot
        if tier == NONE:
            assert np.all(found[0, mine] == 0.0)
            assert np.all(np.isnan(found[1:, mine]))
        else:
            assert np.array_equal(found[:, mine], alone(values[mine], at_ms[mine]), equal_nan=True)
    assert bank.series_count == len(tiers)


@settings(max_examples=25, deadline=None)
@given(tiers_of, st.integers(0, 5 * ROWS))
def test_splitting_a_batch_and_restoring_a_dump_in_between_change_nothing(tiers: list[int], cut: int) -> None:
    first, whole, second = tiered(), tiered(), tiered()
    rows = rows_of(len(tiers))
    for bank in (first, whole):
        bank.assign(np.array(tiers, np.uint8))
    expected = columns(whole.score_and_learn(*rows))
    begun = columns(first.score_and_learn(*(one[:cut] for one in rows)))
    second.restore(first.dump())
    rest = columns(second.score_and_learn(*(one[cut:] for one in rows)))
    assert np.array_equal(np.concatenate([begun, rest], axis=1), expected, equal_nan=True)
    assert {name: array.tobytes() for name, array in second.dump().items()} == {
        name: array.tobytes() for name, array in whole.dump().items()
    }


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(*[st.sampled_from([FULL, CHEAP, NONE])] * 2), min_size=1, max_size=5))
def test_moved_series_keep_what_they_learnt_where_the_tier_is_the_same_and_begin_anew_where_it_is_not(
    moves: list[tuple[int, int]],
) -> None:
    bank = tiered()
    before, after = (np.array(one, np.uint8) for one in zip(*moves, strict=True))
    bank.assign(before)
    slots, at_ms, values = rows_of(len(moves))
    bank.score_and_learn(slots, at_ms, values)
    bank.assign(after)
    _, _, more = rows_of(len(moves), seed=2)
    found = columns(bank.score_and_learn(slots, at_ms + ROWS * 1000, more))
    for slot, (was, now) in enumerate(moves):
        mine = slots == slot
        if now != NONE:
            seen = (
                np.concatenate([values[mine], more[mine]]),
                np.concatenate([at_ms[mine], at_ms[mine] + ROWS * 1000]),
            )
            expected = alone(*seen)[:, ROWS:] if was == now else alone(more[mine], at_ms[mine])
            assert np.array_equal(found[:, mine], expected, equal_nan=True)


def test_a_slot_that_was_not_assigned_gets_the_full_detector() -> None:
    bank = tiered()
    bank.meet(2, CHEAP)
    bank.score_and_learn(np.array([0, 2, 4]), np.ones(3, np.int64), np.ones(3))
    assert (bank.full.series_count, bank.cheap.series_count, bank.series_count) == (4, 1, 5)


def test_an_empty_batch_has_no_scores() -> None:
    empty = np.zeros(0, np.int64)
    assert len(tiered().score_and_learn(empty, empty, np.zeros(0)).score) == 0


def test_a_series_that_was_given_a_tier_and_never_seen_can_be_moved() -> None:
    bank = tiered()
    bank.assign(np.array([FULL, FULL], np.uint8))
    bank.assign(np.array([CHEAP, FULL], np.uint8))
    assert bank.series_count == 2


def test_a_state_of_something_else_is_refused() -> None:
    for state in ({}, {"tiers": np.array([7], np.uint8)}):
        with pytest.raises(ValueError, match="not a state of tiers"):
            tiered().restore(state)
    with pytest.raises(ValueError, match="not a state of this detector"):
        tiered().restore({"tiers": np.zeros(1, np.uint8)})


def test_its_name_and_version_change_with_those_of_either_detector() -> None:
    class Newer(JumpDetector):
        version = 2

    assert Tiered(JumpDetector(), JumpDetector()).name == "jump+jump"
    assert len({Tiered(a(), b()).version for a in (JumpDetector, Newer) for b in (JumpDetector, Newer)}) == 4


def test_the_part_of_a_tier_is_told_with_its_own_version() -> None:
    both = Tiered(RobustEnsemble(), RobustSeasonal())
    whole = f"{both.name}/{both.version}"
    assert part_of(whole, Tier.FULL) == f"{RobustEnsemble.name}/{RobustEnsemble.version}"
    assert part_of(whole, Tier.CHEAP) == f"{RobustSeasonal.name}/{RobustSeasonal.version}"
    assert part_of("another/3", Tier.CHEAP) == "another/3"
