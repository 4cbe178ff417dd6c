"""Headroom: what counts, and when there is none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quantum.application.headroom import SERIES_BYTES, STATE_BYTES, Headroom, coming_bytes
from quantum.domain.coverage import Tier

COUNTS = st.integers(0, 10**6)


def test_without_bounds_there_is_always_room() -> None:
    headroom = Headroom(used_bytes=lambda: 10**15)
    headroom.admit(lambda: 10**9, lambda: 10**15)
    assert headroom.shortage() is None
    assert set(headroom.by_id().values()) == {float("inf")}


@given(series=st.lists(st.integers(0, 100), max_size=4), limit=st.integers(1, 300))
def test_there_is_room_while_all_tenants_together_have_fewer_series_than_the_limit(
    series: list[int], limit: int
) -> None:
    headroom = Headroom(max_series=limit)
    for count in series:
        headroom.admit(lambda count=count: count, int)  # type: ignore[misc] # a default binds it now
    shortage = headroom.shortage()
    assert (shortage is None) == (sum(series) < limit)
    assert shortage is None or (shortage.reason, str(limit) in shortage.sentence) == ("process_series_limit", True)


@given(used=COUNTS, coming=st.lists(COUNTS, max_size=4), limit=COUNTS)
def test_what_is_on_its_way_counts_as_memory(used: int, coming: list[int], limit: int) -> None:
    headroom = Headroom(max_bytes=limit, used_bytes=lambda: used)
    for size in coming:
        headroom.admit(int, lambda size=size: size)  # type: ignore[misc] # a default binds it now
    shortage = headroom.shortage()
    assert (shortage is None) == (used + sum(coming) < limit)
    assert shortage is None or shortage.reason == "memory_limit"


@given(full=COUNTS, cheap=COUNTS, none=COUNTS, registered=COUNTS)
def test_a_copy_of_the_state_is_on_its_way_and_every_series_that_was_not_met(
    full: int, cheap: int, none: int, registered: int
) -> None:
    tiers = {"full": full, "cheap": cheap, "none": none}
    coming = coming_bytes(tiers, registered)
    copy = full * STATE_BYTES[Tier.FULL.value] + cheap * STATE_BYTES[Tier.CHEAP.value]
    unmet = max(0, registered - full - cheap - none)
    assert coming >= copy + unmet * SERIES_BYTES
    assert coming_bytes(tiers, registered + 1) >= coming
