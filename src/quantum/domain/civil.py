"""Civil time: what clocks on walls show, for hours of the day and days of the week as people mean them.

The domain knows no time zones. It is given a name and a function that says how far clocks are ahead of UTC at a moment,
and puts many moments on those clocks at once.

>>> berlin = CivilTime("Europe/Berlin", lambda at_ms: 7_200_000 if at_ms > 0 else 3_600_000)
>>> berlin.hours(np.array([3_600_000])).tolist(), berlin.weekdays(np.array([3_600_000])).tolist()
([3], [3])
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

STEP_MS: Final = 900_000
"""Clocks change at quarters of an hour, if they do."""
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
EPOCH_WEEKDAY: Final = 3
"""1 January 1970 was a Thursday; Monday is 0."""


@dataclass(frozen=True, slots=True)
class CivilTime:
    """The clocks of a place.

    Attributes:
        zone: name of the place's time zone: `Europe/Berlin`.
        ahead_ms: how far its clocks are ahead of UTC at a moment, which is Unix milliseconds.
    """

    zone: str
    ahead_ms: Callable[[int], int]

    def shown_ms(self, at_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what clocks show, as milliseconds since they showed the first moment of 1970, shape (n,)."""
        steps, of = np.unique(at_ms // STEP_MS, return_inverse=True)
        ahead = np.array([self.ahead_ms(one * STEP_MS) for one in steps.tolist()], np.int64)
        return at_ms + ahead[of]

    def changes(self, start_ms: int, end_ms: int) -> tuple[tuple[int, int], ...]:
        """Return how far clocks are ahead in `[start_ms, end_ms)`: from when on (the first is `start_ms`) by how much.

        A change that is undone within the same day of UTC is not seen; no place has done that.
        """
        found = [(start_ms, self.ahead_ms(start_ms))]
        for after_ms in range(start_ms, end_ms, DAY_MS):
            until_ms = min(after_ms + DAY_MS, end_ms) - 1
            ahead_ms = self.ahead_ms(until_ms)
            if ahead_ms != found[-1][1]:
                found.append((self._changed_ms(after_ms, until_ms), ahead_ms))
        return tuple(found)

    def _changed_ms(self, before_ms: int, after_ms: int) -> int:
        """Return the first moment at which clocks are as far ahead as at `after_ms`, as they are not at `before_ms`."""
        moments, ahead_ms = range(before_ms, after_ms), self.ahead_ms(after_ms)
        return before_ms + bisect_left(moments, x=True, key=lambda one: self.ahead_ms(one) == ahead_ms)

    def days(self, at_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the days of the calendar, 0 is 1 January 1970, shape (n,)."""
        return self.shown_ms(at_ms) // DAY_MS

    def hours(self, at_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the hours of the day, 0 to 23, shape (n,)."""
        return self.shown_ms(at_ms) // HOUR_MS % 24

    def weekdays(self, at_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the days of the week, Monday is 0, shape (n,)."""
        return (self.days(at_ms) + EPOCH_WEEKDAY) % 7


UTC: Final = CivilTime("UTC", lambda _: 0)
