"""Time zones: what clocks show around the nights on which they change, and names that are none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum.adapters.time_zones import civil_time
from quantum.domain.civil import HOUR_MS
from quantum.domain.errors import Rejected

SPRING_MS = 1_774_746_000_000
"""29 March 2026, 01:00 UTC: clocks in Berlin go from two to three."""
AUTUMN_MS = 1_792_890_000_000
"""25 October 2026, 01:00 UTC: they go from three back to two."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("change_ms", "hours"), [(SPRING_MS, [0, 1, 3, 4]), (AUTUMN_MS, [1, 2, 2, 3])])
def test_hours_are_those_of_the_clocks_through_the_nights_on_which_they_change(
    change_ms: int, hours: list[int]
) -> None:
    at_ms = change_ms + HOUR_MS * np.arange(-2, 2)
    berlin = civil_time("Europe/Berlin")
    assert berlin.hours(at_ms).tolist() == hours
    assert set(berlin.weekdays(at_ms).tolist()) == {6}


@given(
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"]),
    st.lists(st.integers(0, 4_000_000_000_000), max_size=20),
)
def test_hours_and_weekdays_are_those_of_the_calendar_of_python(name: str, at_ms: list[int]) -> None:
    civil, moments = civil_time(name), np.array(at_ms, np.int64)
    ahead = [timedelta(milliseconds=one + civil.ahead_ms(one)) for one in at_ms]
    shown = [EPOCH + one for one in ahead]
    assert civil.hours(moments).tolist() == [one.hour for one in shown]
    assert civil.weekdays(moments).tolist() == [one.weekday() for one in shown]
    assert civil.days(moments).tolist() == [one.days for one in ahead]


@pytest.mark.parametrize("name", ["", "Europe", "Europe/Atlantis", "../passwd", "/etc/localtime", "a\0b", "x" * 999])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(Rejected, match="this machine knows no time zone"):
        civil_time(name)
