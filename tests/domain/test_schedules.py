"""Schedules: when something that comes again is in force, by the clocks of a place."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quantum.adapters.time_zones import civil_time
from quantum.domain.civil import DAY_MS
from quantum.domain.errors import Rejected
from quantum.domain.schedules import (
    MAX_CHANGES,
    MAX_DAYS,
    WEEKDAYS,
    Occurrence,
    Schedule,
    check_schedule,
    day_of,
    number_of,
    span_of,
)

MINUTE_MS = 60_000
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "America/Havana",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Africa/Casablanca",
    "Australia/Lord_Howe",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
)
"""Among them some whose clocks change at midnight, by half an hour, or four times a year."""


def schedule(zone: str = "Europe/Berlin", **more: Any) -> Schedule:
    """Return a schedule of every day at half past two for half an hour, with the clocks of its zone."""
    plain = Schedule(
        zone=zone,
        by_day=WEEKDAYS,
        start_time="02:15",
        end_time="02:45",
        first_day="2026-01-01",
        last_day="2026-12-31",
    )
    one = replace(plain, **more)
    days = number_of(one.first_day), number_of(one.last_day)
    clocks = civil_time(zone).changes((days[0] - 2) * DAY_MS, (days[1] + 4) * DAY_MS)
    return replace(one, clocks=clocks)


def written(found: Occurrence | None) -> tuple[str, str] | None:
    """Return an occurrence as UTC writes it."""
    if found is None:
        return None
    times = (datetime.fromtimestamp(at_ms / 1000, UTC) for at_ms in (found.starts_at_ms, found.ends_at_ms))
    start, end = (f"{one:%m-%d %H:%M}" for one in times)
    return start, end


def on(day: str, **more: Any) -> tuple[str, str] | None:
    return written(schedule(**more).on(number_of(day)))


# 29 March 2026: at 01:00 UTC clocks in Berlin go from two to three; 25 October: from three back to two
@pytest.mark.parametrize(
    ("day", "window", "found"),
    [
        ("2026-03-28", ("02:15", "02:45"), ("03-28 01:15", "03-28 01:45")),
        ("2026-03-29", ("02:15", "02:45"), None),
        ("2026-03-29", ("02:30", "03:00"), None),
        ("2026-03-29", ("02:30", "03:15"), ("03-29 01:00", "03-29 01:15")),
        ("2026-03-29", ("01:30", "02:30"), ("03-29 00:30", "03-29 01:00")),
        ("2026-03-29", ("01:30", "03:30"), ("03-29 00:30", "03-29 01:30")),
        ("2026-03-29", ("00:00", "24:00"), ("03-28 23:00", "03-29 22:00")),
        ("2026-10-25", ("02:15", "02:45"), ("10-25 00:15", "10-25 01:45")),
        ("2026-10-25", ("01:30", "02:30"), ("10-24 23:30", "10-25 01:30")),
        ("2026-10-25", ("02:30", "03:30"), ("10-25 00:30", "10-25 02:30")),
        ("2026-10-25", ("00:00", "24:00"), ("10-24 22:00", "10-25 23:00")),
        ("2026-03-28", ("22:00", "06:00"), ("03-28 21:00", "03-29 04:00")),
        ("2026-10-24", ("22:00", "06:00"), ("10-24 20:00", "10-25 05:00")),
        ("2026-10-24", ("22:00", "00:00"), ("10-24 20:00", "10-24 22:00")),
    ],
)
def test_a_window_lasts_from_the_first_to_the_last_moment_at_which_clocks_show_it(
    day: str, window: tuple[str, str], found: tuple[str, str] | None
) -> None:
    assert on(day, start_time=window[0], end_time=window[1]) == found


@pytest.mark.parametrize(
    ("by_day", "days"),
    [
        (("MO", "FR"), ["01-02", "01-05", "01-09", "01-12", "01-16"]),
        (("1SU",), ["01-04", "02-01", "03-01", "04-05", "05-03"]),
        (("-1FR",), ["01-30", "02-27", "03-27", "04-24", "05-29"]),
        (("4MO", "-1MO"), ["01-26", "02-23", "03-23", "03-30", "04-27"]),
        (("2WE", "TH"), ["01-01", "01-08", "01-14", "01-15", "01-22"]),
    ],
)
def test_days_are_those_of_the_week_or_of_the_month(by_day: tuple[str, ...], days: list[str]) -> None:
    found = schedule("UTC", by_day=by_day).occurrences(0)
    assert [f"{datetime.fromtimestamp(one.starts_at_ms / 1000, UTC):%m-%d}" for one in islice(found, 5)] == days


def test_it_comes_from_the_first_day_to_the_last_and_no_longer() -> None:
    one = schedule("UTC", start_time="22:00", end_time="01:00", first_day="2026-05-05", last_day="2026-05-06")
    span = span_of(one)
    assert written(span) == ("05-05 22:00", "05-07 01:00")
    assert [written(each) for each in one.occurrences(span.starts_at_ms)] == [
        ("05-05 22:00", "05-06 01:00"),
        ("05-06 22:00", "05-07 01:00"),
    ]
    assert [written(each) for each in one.before(span.ends_at_ms)] == [
        ("05-06 22:00", "05-07 01:00"),
        ("05-05 22:00", "05-06 01:00"),
    ]
    assert list(one.occurrences(span.ends_at_ms)) == list(one.before(span.starts_at_ms - 1)) == []
    assert one.at(span.ends_at_ms) is one.at(span.starts_at_ms - 1) is None


windows = st.tuples(st.integers(0, 95), st.integers(1, 96)).filter(lambda pair: pair[0] != pair[1])
"""Starts and ends, in quarters of an hour."""
days_of_week = st.lists(
    st.sampled_from([*WEEKDAYS, *(f"{place}{name}" for place in (-1, 1, 2, 3, 4) for name in WEEKDAYS)]),
    min_size=1,
    max_size=9,
    unique=True,
)


def clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def falls(day: date, by_day: list[str]) -> bool:
    """Say whether a day is one of those, by counting the days of its month."""
    alike = [
        one
        for one in (date(day.year, day.month, 1) + timedelta(n) for n in range(31))
        if one.month == day.month and one.weekday() == day.weekday()
    ]
    name = WEEKDAYS[day.weekday()]
    place = alike.index(day)
    return name in by_day or f"{place + 1}{name}" in by_day or (day == alike[-1] and f"-1{name}" in by_day)


def shown_in(zone: str, day: date, window: tuple[int, int]) -> list[int]:
    """Return the minutes at which clocks show a time in a window of a day, by the calendar of Python alone."""
    start = datetime(day.year, day.month, day.day) + timedelta(minutes=window[0])  # noqa: DTZ001 - what clocks show
    end = datetime(day.year, day.month, day.day) + timedelta(minutes=window[1])  # noqa: DTZ001 - what clocks show
    if end <= start:
        end += timedelta(days=1)
    noon_ms = number_of(day.isoformat()) * DAY_MS + DAY_MS // 2
    found = []
    for at_ms in range(noon_ms - 2 * DAY_MS, noon_ms + 3 * DAY_MS, 15 * MINUTE_MS):
        shown = datetime.fromtimestamp(at_ms / 1000, ZoneInfo(zone)).replace(tzinfo=None)
        if start <= shown < end:
            found.append(at_ms)
    return found


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(ZONES),
    st.dates(date(2026, 1, 3), date(2027, 12, 20)),
    windows.map(lambda pair: (pair[0] * 15, pair[1] * 15)),
    days_of_week,
)
@example("America/Santiago", date(2026, 4, 4), (1380, 30), ["SA"])
@example("America/Havana", date(2026, 11, 1), (0, 45), ["SU"])
@example("Asia/Beirut", date(2026, 3, 29), (0, 60), ["SU"])
def test_a_moment_is_in_force_if_and_only_if_it_lies_between_what_clocks_show(
    zone: str, day: date, window: tuple[int, int], by_day: list[str]
) -> None:
    one = schedule(
        zone,
        by_day=tuple(by_day),
        start_time=clock(window[0]),
        end_time=clock(window[1]),
        first_day=(day - timedelta(3)).isoformat(),
        last_day=(day + timedelta(3)).isoformat(),
    )
    hulls = [
        (shown[0], shown[-1] + 15 * MINUTE_MS)
        for each in (day + timedelta(n) for n in range(-3, 4))
        if falls(each, by_day) and (shown := shown_in(zone, each, window))
    ]
    noon_ms = number_of(day.isoformat()) * DAY_MS + DAY_MS // 2
    for at_ms in range(noon_ms - 6 * DAY_MS, noon_ms + 6 * DAY_MS, 15 * MINUTE_MS):
        lying = [hull for hull in hulls if hull[0] <= at_ms < hull[1]]
        found = one.at(at_ms)
        assert (found is not None) == bool(lying)
        if found is not None:
            assert (found.starts_at_ms, found.ends_at_ms) == max(lying)
    assert [(each.starts_at_ms, each.ends_at_ms) for each in one.occurrences(0)] == hulls


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(ZONES), st.integers(number_of("2020-01-01"), number_of("2040-01-01")), st.integers(1, 3000))
def test_clocks_in_the_schedule_show_what_those_of_the_zone_show(zone: str, first: int, length: int) -> None:
    one = schedule(zone, first_day=day_of(first), last_day=day_of(first + length))
    assert len(one.clocks) < MAX_CHANGES
    assert all(a[0] < b[0] for a, b in pairwise(one.clocks))
    civil = civil_time(zone)
    for change_ms, _ in one.clocks:
        for at_ms in (change_ms - 1, change_ms, change_ms + 1):
            if at_ms >= one.clocks[0][0]:
                assert one.ahead_ms(at_ms) == civil.ahead_ms(at_ms)
    for at_ms in range(first * DAY_MS, (first + length) * DAY_MS, 97 * DAY_MS + 12_345_678):
        assert one.ahead_ms(at_ms) == civil.ahead_ms(at_ms)


NOW_MS = number_of("2026-05-05") * DAY_MS


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"by_day": ()}, "1 to 42 days"),
        ({"by_day": ("MO",) * 43}, "1 to 42 days"),
        ({"by_day": ("5MO",)}, "a day is like MO"),
        ({"by_day": ("MO\n",)}, "a day is like MO"),
        ({"start_time": "24:00"}, "starts at 00:00 to 23:59, not '24:00'"),
        ({"end_time": "24:01"}, "ends at 00:00 to 24:00, not '24:01'"),
        ({"start_time": "02:00", "end_time": "02:00"}, "two different times"),
        ({"first_day": "2026-5-1"}, "a day is like 2026-11-30, not '2026-5-1'"),
        ({"first_day": "2026-02-30"}, "2026-02-30 is no day of the calendar"),
        ({"first_day": "2026-06-01", "last_day": "2026-05-31"}, "the last day is the first or later"),
        ({"first_day": "2026-06-01", "last_day": "2036-06-10"}, f"by {MAX_DAYS} days at most"),
        ({"first_day": "2027-05-07", "last_day": "2027-05-07"}, "at most 366 days ahead"),
        ({"first_day": "2020-05-07", "last_day": "2026-05-02"}, "the last day, 2026-05-02, is over"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused_by_name(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(Rejected, match=words) as refused:
        check_schedule(replace(schedule(), **changed), NOW_MS)
    assert refused.value.reason == "silence_schedule"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"clocks": ()}, "1 to 100 changes"),
        ({"clocks": tuple((n, 0) for n in range(101))}, "1 to 100 changes"),
        ({"clocks": ((5, 0), (5, 1))}, "in order"),
        ({"by_day": ("MO",), "first_day": "2026-05-05", "last_day": "2026-05-10"}, "2026-05-10 it never comes"),
        ({"first_day": "2026-03-29", "last_day": "2026-03-29"}, "it never comes"),
    ],
)
def test_a_schedule_that_never_comes_or_has_no_clocks_is_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(Rejected, match=words):
        span_of(replace(schedule(), **changed))
