"""Strikes: who is put aside, for how long, and that nobody is for ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quantum.application.strikes import MOST, REST_MS, Strikes

BEGINNINGS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2 * REST_MS)), max_size=12)


@given(BEGINNINGS)
def test_only_what_was_begun_three_times_in_a_row_is_put_aside_and_never_for_longer_than_a_rest(
    beginnings: list[tuple[int, int]],
) -> None:
    strikes, now_ms = Strikes(), 0
    for since, after_ms in beginnings:
        now_ms += after_ms
        strikes = strikes.begun(since, now_ms)
    last = beginnings[-1][0] if beginnings else -1
    in_a_row = 0
    while in_a_row < len(beginnings) and beginnings[-1 - in_a_row][0] == last:
        in_a_row += 1
    assert strikes.count == in_a_row
    for since in range(3):
        is_out = since == last and in_a_row >= MOST
        assert strikes.rest_ms(since, now_ms) == (REST_MS if is_out else 0)
        assert strikes.rest_ms(since, now_ms + REST_MS) == 0
