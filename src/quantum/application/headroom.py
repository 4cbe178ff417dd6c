"""Headroom: what a process has left for series that are new, of all its tenants together.

What is known goes on whatever happens, so only what would make the process grow for good is refused: new series. They
are refused before memory ends and not when it has ended, so what is on its way already counts as well: series that the
log has and the pipeline has not met yet, and the copy of the detectors' state that is made when it is saved.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from quantum.domain.coverage import Tier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STATE_BYTES: Final = {Tier.FULL.value: 23_600, Tier.CHEAP.value: 6300, Tier.NONE.value: 0}
"""What the detectors keep of a series, by tier: twice that while it is saved."""
SERIES_BYTES: Final = 4000
"""What else a series takes: labels, keys, newest rows, and the room that tables have to spare."""
MEGABYTE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why there is no room: the id of the limit, and a sentence that names it."""

    reason: str
    sentence: str


@dataclass(slots=True)
class Headroom:
    """Bounds of a process.

    Attributes:
        max_series: `process_series_limit`: registered series of all tenants.
        max_bytes: `memory_limit`: of resident memory, what is on its way included.
        used_bytes: returns how much is resident now.
    """

    max_series: float = float("inf")
    max_bytes: float = float("inf")
    used_bytes: Callable[[], int] = int
    _tenants: list[tuple[Callable[[], int], Callable[[], int]]] = field(default_factory=list)

    def by_id(self) -> dict[str, float]:
        """Return the limits by the reasons of their refusals."""
        return {"process_series_limit": self.max_series, "memory_limit": self.max_bytes}

    def admit(self, series: Callable[[], int], coming_bytes: Callable[[], int]) -> None:
        """Count a tenant from now on: what returns how many series it has, and how many bytes are on their way."""
        self._tenants.append((series, coming_bytes))

    def series_left(self) -> float:
        """Return how many more series all tenants together may have."""
        return self.max_series - sum(series() for series, _ in self._tenants)

    def shortage(self) -> Shortage | None:
        """Return why no tenant may have a new series now; None if they may."""
        if self.series_left() <= 0:
            limit = f"{self.max_series:.0f} (limits.max_process_series)"
            return Shortage("process_series_limit", f"the process has as many series as its limit allows, {limit}")
        used = self.used_bytes() + sum(coming() for _, coming in self._tenants)
        if used >= self.max_bytes:
            limit = f"{self.max_bytes / MEGABYTE:.0f} MB (limits.max_memory_bytes)"
            return Shortage("memory_limit", f"the process uses or is about to use its limit of memory, {limit}")
        return None


def coming_bytes(tiers: Mapping[str, int], registered: int) -> int:
    """Return how many bytes a tenant is about to need.

    Args:
        tiers: how many series of each tier the pipeline has met.
        registered: how many series the log has.
    """
    saving = sum(STATE_BYTES[tier] * count for tier, count in tiers.items())
    met = sum(tiers.values())
    return saving + max(0, registered - met) * (SERIES_BYTES + 2 * STATE_BYTES[Tier.CHEAP.value])
