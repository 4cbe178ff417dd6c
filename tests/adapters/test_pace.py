"""The line of refusals: one by one, none held for long, and never more than a few waiting."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from quantum.adapters.http.pace import GAP_S, PATIENCE_S, Pace

MOMENTS_S = st.lists(st.floats(0, 5), min_size=1, max_size=200).map(sorted)


@given(MOMENTS_S)
def test_none_is_held_as_long_as_patience_lasts(moments_s: list[float]) -> None:
    pace = Pace()
    assert all(0 <= pace.hold_s(moment_s) < PATIENCE_S for moment_s in moments_s)


@given(MOMENTS_S)
def test_between_two_that_take_their_turn_there_is_a_gap(moments_s: list[float]) -> None:
    pace, told_s = Pace(), list[float]()
    for moment_s in moments_s:
        waiting = sum(told > moment_s for told in told_s)
        hold_s = pace.hold_s(moment_s)
        assert waiting <= PATIENCE_S / GAP_S
        if hold_s or not waiting:
            told_s.append(moment_s + hold_s)
    assert all(later - earlier > GAP_S - 1e-9 for earlier, later in pairwise(told_s))


@given(st.floats(0, 1e6))
def test_who_comes_alone_does_not_wait(moment_s: float) -> None:
    pace = Pace()
    assert pace.hold_s(moment_s) == 0
    assert pace.hold_s(moment_s + 1) == 0


def test_once_the_line_is_long_further_ones_are_told_at_once() -> None:
    pace = Pace(gap_s=0.125, patience_s=1.0)
    assert [pace.hold_s(7.0) for _ in range(10)] == [0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 0, 0]
    assert pace.hold_s(7.5) == 0.5
