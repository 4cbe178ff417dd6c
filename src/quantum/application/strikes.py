"""Strikes: how often the task of a lane was begun and never finished, and when it is let rest.

A strike is counted before the work is begun, so that one that kills its worker is counted too. After three of them the
task is put aside for ten minutes, with a dead letter that says why. Then it is tried again: three workers may have been
killed by somebody else in the middle of it, and nobody should have to notice that. See ADR 0028.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MOST: Final = 3
REST_MS: Final = 600_000


@dataclass(frozen=True, slots=True)
class Strikes:
    """Of one lane.

    Attributes:
        since: of the task that was begun: the position of the fact before it; -1 for none.
        count: how often it was begun and not finished.
        at_ms: when it was begun last.
        is_told: whether there is a dead letter of it.
    """

    since: int = -1
    count: int = 0
    at_ms: int = 0
    is_told: bool = False

    def begun(self, since: int, now_ms: int) -> Strikes:
        """Return them once a task is begun; another task than before begins with one."""
        return Strikes(since, self.count + 1 if since == self.since else 1, now_ms)

    def rest_ms(self, since: int, now_ms: int) -> int:
        """Return how long a task is still put aside; 0 means that it may be begun."""
        if since != self.since or self.count < MOST:
            return 0
        return max(0, self.at_ms + REST_MS - now_ms)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """That a task was put aside. Its facts are in the log, so the letter only says which.

    Attributes:
        lane: whose task it was.
        since: position of the fact before it.
        upto: position of its last fact.
        rows: samples in it.
        strikes: how often it was begun.
        at_ms: when it was put aside.
        reason: what was seen of it, in words.
    """

    lane: int
    since: int
    upto: int
    rows: int
    strikes: int
    at_ms: int
    reason: str
