"""Schedules: on which days, and between which times of the day by the clocks of a place, something is in force.

The words are those of RFC 5545: a schedule is what `RRULE:FREQ=MONTHLY;BYDAY=...` says there, so `MO` is every Monday,
`1MO` the first of a month and `-1MO` the last. How far the clocks of the place are ahead of UTC is a part of it, for as
long as it comes: what it means follows from itself alone, whatever a database of time zones learns later.

An occurrence lasts from the first moment to the last at which clocks show a time within the window, so it is whole on
the night on which an hour comes twice. Where clocks skip the whole window, there is none that day.

>>> nights = Schedule("UTC", ("MO",), "22:00", "02:00", "2026-11-30", "2026-12-07", ((0, 0),))
>>> [one.ends_at_ms - one.starts_at_ms for one in nights.occurrences(0)]
[14400000, 14400000]
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from quantum.domain.civil import DAY_MS
from quantum.domain.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DAYS: Final = 3660
"""From the first day to the last: ten years, so at most so many occurrences."""
MAX_AHEAD_DAYS: Final = 366
"""How far ahead the first day may be."""
WEEKDAYS: Final = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
MAX_BY_DAY: Final = 42
"""Every weekday, and the first four and the last of each."""
MAX_CHANGES: Final = 100
"""How often clocks may change meanwhile; the places that change them most often do it four times a year."""
BY_DAY: Final = r"^(-1|[1-4])?(MO|TU|WE|TH|FR|SA|SU)$"
START_TIME: Final = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
END_TIME: Final = r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"
DAY: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
MINUTE_MS: Final = 60_000
REACH: Final = 2
"""By how many days the day that clocks show may differ from the one on which what lasts now began: one over midnight,
and one where clocks are put back at midnight."""
EPOCH: Final = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One time at which a schedule is in force: `[starts_at_ms, ends_at_ms)`."""

    starts_at_ms: int
    ends_at_ms: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """Some days, a window of the day, and the clocks that both go by.

    Attributes:
        zone: name of the time zone in the IANA's database: `Europe/Berlin`.
        by_day: weekdays as in RFC 5545: `MO`, of a month the first `1MO` to the fourth, or the last `-1MO`.
        start_time: of the day, `22:00`.
        end_time: of the same day, or of the next if it is not after `start_time`; `24:00` is the day's end.
        first_day: on which it may begin, `2026-11-30`.
        last_day: on which it may begin for the last time.
        clocks: from when on (Unix milliseconds, rising) the clocks of the zone are how many milliseconds ahead of UTC.
    """

    zone: str
    by_day: tuple[str, ...]
    start_time: str
    end_time: str
    first_day: str
    last_day: str
    clocks: tuple[tuple[int, int], ...] = ()

    def occurrences(self, at_ms: int) -> Iterator[Occurrence]:
        """Yield those that end after a moment, in order."""
        for day in range(max(number_of(self.first_day), self._day(at_ms) - REACH), number_of(self.last_day) + 1):
            found = self.on(day)
            if found is not None and found.ends_at_ms > at_ms:
                yield found

    def before(self, at_ms: int) -> Iterator[Occurrence]:
        """Yield those that start at a moment or before, the newest first."""
        newest = min(number_of(self.last_day), self._day(at_ms) + REACH)
        for day in range(newest, number_of(self.first_day) - 1, -1):
            found = self.on(day)
            if found is not None and found.starts_at_ms <= at_ms:
                yield found

    def at(self, at_ms: int) -> Occurrence | None:
        """Return the occurrence that a moment lies in; of two, where clocks change at midnight, the later one."""
        day = self._day(at_ms)
        days = range(min(number_of(self.last_day), day + REACH), max(number_of(self.first_day), day - REACH) - 1, -1)
        found = (self.on(one) for one in days)
        return next((one for one in found if one is not None and one.starts_at_ms <= at_ms < one.ends_at_ms), None)

    def on(self, day: int) -> Occurrence | None:
        """Return the occurrence that begins on a day, which is counted from 1 January 1970; None if there is none."""
        if not self._falls_on(date.fromordinal(day + EPOCH)):
            return None
        start_ms = day * DAY_MS + minutes_of(self.start_time) * MINUTE_MS
        end_ms = day * DAY_MS + minutes_of(self.end_time) * MINUTE_MS
        if end_ms <= start_ms:
            end_ms += DAY_MS
        return self._shown(start_ms, end_ms)

    def _falls_on(self, day: date) -> bool:
        name = WEEKDAYS[day.weekday()]
        is_last = date.fromordinal(day.toordinal() + 7).month != day.month
        names = (name, f"{(day.day - 1) // 7 + 1}{name}", f"-1{name}" if is_last else name)
        return any(one in self.by_day for one in names)

    def _shown(self, start_ms: int, end_ms: int) -> Occurrence | None:
        """Return the time from the first to the last moment at which clocks show something in `[start_ms, end_ms)`."""
        # clocks are at most a day ahead or behind, so what they show then lies within two days of UTC's
        first = bisect_right(self.clocks, start_ms - 2 * DAY_MS, key=_from_ms)
        last = bisect_right(self.clocks, end_ms + 2 * DAY_MS, key=_from_ms)
        moments: list[int] = []
        for index in range(max(0, first - 1), last):
            from_ms, ahead_ms = self.clocks[index]
            until_ms = self.clocks[index + 1][0] if index + 1 < len(self.clocks) else end_ms + 2 * DAY_MS
            shown = max(from_ms, start_ms - ahead_ms), min(until_ms, end_ms - ahead_ms)
            if shown[0] < shown[1]:
                moments += shown
        return Occurrence(min(moments), max(moments)) if moments else None

    def ahead_ms(self, at_ms: int) -> int:
        """Return how far clocks are ahead of UTC at a moment, as far as the schedule knows."""
        return self.clocks[max(0, bisect_right(self.clocks, at_ms, key=_from_ms) - 1)][1]

    def _day(self, at_ms: int) -> int:
        """Return the day that clocks show at a moment."""
        return (at_ms + self.ahead_ms(at_ms)) // DAY_MS


def minutes_of(time: str) -> int:
    """Return a time of the day as minutes since it began.

    >>> minutes_of("01:30")
    90
    """
    hours, minutes = time.split(":")
    return int(hours) * 60 + int(minutes)


def number_of(day: str) -> int:
    """Return a day as its number, counted from 1 January 1970.

    Raises:
        Rejected: `silence_schedule`: there is no such day.
    """
    try:
        return date.fromisoformat(day).toordinal() - EPOCH
    except ValueError:
        raise Rejected("silence_schedule", f"{day} is no day of the calendar") from None


def day_of(number: int) -> str:
    """Return a day as people write it: `2026-11-30`."""
    return date.fromordinal(number + EPOCH).isoformat()


def check_schedule(schedule: Schedule, now_ms: int) -> None:
    """Make sure that a schedule makes sense, whether or not its clocks are known.

    Raises:
        Rejected: `silence_schedule`.
    """
    texts = [(one, BY_DAY, "a day is like MO, 1MO to 4MO, or -1MO for the last") for one in schedule.by_day]
    texts += [(schedule.start_time, START_TIME, "a window starts at 00:00 to 23:59")]
    texts += [(schedule.end_time, END_TIME, "a window ends at 00:00 to 24:00")]
    texts += [(one, DAY, "a day is like 2026-11-30") for one in (schedule.first_day, schedule.last_day)]
    for text, pattern, words in texts:
        if re.fullmatch(pattern.strip("^$"), text) is None:
            raise Rejected("silence_schedule", f"{words}, not {text[:20]!r}")
    if not 1 <= len(schedule.by_day) <= MAX_BY_DAY:
        raise Rejected("silence_schedule", f"a schedule has 1 to {MAX_BY_DAY} days of the week")
    if schedule.start_time == schedule.end_time:
        raise Rejected("silence_schedule", "a window has two different times; a whole day is 00:00 to 24:00")
    first, last, today = number_of(schedule.first_day), number_of(schedule.last_day), now_ms // DAY_MS
    if not 0 <= last - first <= MAX_DAYS:
        raise Rejected("silence_schedule", f"the last day is the first or later, by {MAX_DAYS} days at most")
    if last < today - REACH:
        raise Rejected("silence_schedule", f"the last day, {schedule.last_day}, is over")
    if first > today + MAX_AHEAD_DAYS:
        raise Rejected("silence_schedule", f"the first day is at most {MAX_AHEAD_DAYS} days ahead")


def span_of(schedule: Schedule) -> Occurrence:
    """Return the time from the start of the first occurrence to the end of the last.

    Raises:
        Rejected: `silence_schedule`: there is none at all, or its clocks do not read.
    """
    instants = [one[0] for one in schedule.clocks]
    if not 1 <= len(instants) <= MAX_CHANGES or any(a >= b for a, b in pairwise(instants)):
        raise Rejected("silence_schedule", f"a schedule has 1 to {MAX_CHANGES} changes of its clocks, in order")
    days = range(number_of(schedule.first_day), number_of(schedule.last_day) + 1)
    first = next(filter(None, map(schedule.on, days)), None)
    last = next(filter(None, map(schedule.on, reversed(days))), None)
    if first is None or last is None:
        raise Rejected("silence_schedule", f"from {schedule.first_day} to {schedule.last_day} it never comes")
    return Occurrence(first.starts_at_ms, last.ends_at_ms)


def _from_ms(change: tuple[int, int]) -> int:
    return change[0]
