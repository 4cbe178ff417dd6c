"""Refusals for asking too much go out one by one.

A sender who is refused at once asks again at once, on all its connections together, and whoever else asks then waits
behind a pile of refusals. One who is told a little later comes back alone, and asks less.

>>> pace = Pace(gap_s=0.5, patience_s=1.0)
>>> [pace.hold_s(now_s=10.0) for _ in range(4)]
[0.0, 0.5, 0.0, 0.0]
>>> pace.hold_s(now_s=10.75)
0.25
"""

from __future__ import annotations

from typing import Final

GAP_S: Final = 0.02
"""Between two refusals of a tenant."""
PATIENCE_S: Final = 1.0
"""All are held for less: it is the shortest time after which senders are told to come again."""


class Pace:
    """The line of one tenant's refusals. At most `patience_s / gap_s` of them wait; further ones are told at once."""

    def __init__(self, gap_s: float = GAP_S, patience_s: float = PATIENCE_S) -> None:
        self._gap_s = gap_s
        self._patience_s = patience_s
        self._free_at_s = float("-inf")

    def hold_s(self, now_s: float) -> float:
        """Return for how many seconds a refusal of now has to wait, from 0 to less than `patience_s`."""
        turn_s = max(now_s, self._free_at_s)
        hold_s = turn_s - now_s
        if hold_s >= self._patience_s:
            return 0.0
        self._free_at_s = turn_s + self._gap_s
        return hold_s
