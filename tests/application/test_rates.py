"""Rates: over time no more than asked, in a burst ten seconds of it, and a large request once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quantum.application.rates import BURST_S, Rate


@given(
    per_s=st.integers(1, 1000),
    requests=st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 3000)), min_size=1, max_size=60),
)
def test_between_any_two_moments_no_more_is_let_in_than_the_rate_a_burst_and_one_request(
    per_s: int, requests: list[tuple[int, int]]
) -> None:
    rate, now_ms = Rate(per_s, now_ms=0), 0
    let_in: list[tuple[int, int]] = []
    for wait_ms, count in requests:
        now_ms += wait_ms
        if not rate.take(count, now_ms):
            let_in.append((now_ms, count))
    for first, (begin_ms, _) in enumerate(let_in):
        for last in range(first, len(let_in)):
            before = sum(count for _, count in let_in[first:last])
            assert before <= per_s * (BURST_S + (let_in[last][0] - begin_ms) / 1000) + 1e-6


@given(per_s=st.integers(1, 1000), counts=st.lists(st.integers(1, 100_000), min_size=1, max_size=20))
def test_whoever_waits_as_long_as_told_is_let_in(per_s: int, counts: list[int]) -> None:
    rate, now_ms = Rate(per_s, now_ms=0), 0
    for count in counts:
        wait_s = rate.take(count, now_ms)
        if wait_s:
            now_ms += wait_s * 1000 + 1
            assert rate.take(count, now_ms) == 0


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    rate = Rate(10, now_ms=100_000)
    assert rate.take(150, 100_000) == 0
    assert rate.take(1, 50_000) == 5
    assert rate.take(1, 100_000) == 5
