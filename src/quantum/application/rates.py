"""Rates: how many samples a second one installation takes, with room for bursts.

A bucket fills at the rate and holds ten seconds of it. A request is let in while anything is in the bucket, whatever
its size, and may leave a debt: so a large request is never impossible, and the rate holds over time.

>>> rate = Rate(100, now_ms=0)
>>> rate.take(1500, now_ms=0), rate.take(1, now_ms=1000), rate.take(1, now_ms=5001)
(0, 4, 0)
"""

from __future__ import annotations

from math import ceil
from typing import Final

BURST_S: Final = 10


class Rate:
    """A bucket of tokens that is refilled as time goes by."""

    def __init__(self, per_s: int, now_ms: int) -> None:
        """Begin with a full bucket; `per_s` tokens a second, at least 1."""
        self._per_s = per_s
        self._tokens = float(per_s * BURST_S)
        self._at_ms = now_ms

    def take(self, count: int, now_ms: int) -> int:
        """Take tokens and return 0, or take none and return after how many seconds to try again (at least 1)."""
        passed_ms = max(0, now_ms - self._at_ms)
        self._at_ms = max(now_ms, self._at_ms)
        self._tokens = min(float(self._per_s * BURST_S), self._tokens + self._per_s * passed_ms / 1000)
        if self._tokens <= 0:
            return max(1, ceil(-self._tokens / self._per_s))
        self._tokens -= count
        return 0
