"""Coverage: which series get the full detector, which a cheap one, which none, and why.

A detector of many kilobytes for each of a million series is memory that nobody has. So the first `full_series` series
get the full detector and those that come later the cheap one; rules overrule that for the series that they match, the
first match winning. What is in force is a fact of the log (`PutCoverage`), and who came first is too, so a replay
decides the same for every series.

>>> from quantum.domain.labels import LabelSet
>>> coverage = Coverage(Allotment(full_series=1), lambda matchers: lambda labels: True)
>>> coverage.meet(0, LabelSet.of({"__name__": "up"})), coverage.meet(1, LabelSet.of({"__name__": "up"}))
(0, 1)
>>> coverage.reason(1)
'full_series limit 1 reached'
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.domain.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from quantum.domain.labels import LabelSet, Matcher

    Compiler = Callable[[Iterable[Matcher]], Callable[[LabelSet], bool]]

MAX_RULES: Final = 100
DEFAULT_FULL_SERIES: Final = 10_000
"""What the machine of a small installation has room for; the page on detection says what a series costs."""
BY_LIMIT: Final = -1
"""In the place of the number of a rule: no rule matched, the limit decided."""


class Tier(StrEnum):
    """How closely a series is watched. `none`: stored, not scored: score 0 and no band."""

    FULL = "full"
    CHEAP = "cheap"
    NONE = "none"


TIERS: Final = tuple(Tier)
"""Tiers by their number in arrays."""
FULL: Final = TIERS.index(Tier.FULL)
CHEAP: Final = TIERS.index(Tier.CHEAP)
NONE: Final = TIERS.index(Tier.NONE)


@dataclass(frozen=True, slots=True)
class CoverageRule:
    """Series that match get this tier, whatever the limit says."""

    matchers: tuple[Matcher, ...]
    tier: Tier

    @property
    def selector(self) -> str:
        """The matchers as Prometheus writes them."""
        return "{" + ", ".join(str(one) for one in self.matchers) + "}"


@dataclass(frozen=True, slots=True)
class Allotment:
    """Who gets what.

    Attributes:
        full_series: a series that no rule matches gets the full detector while fewer than this many have it, else the
            cheap one. Series that a rule gave the full detector count.
        rules: the first that matches decides.
    """

    full_series: int = DEFAULT_FULL_SERIES
    rules: tuple[CoverageRule, ...] = ()


class Coverage:
    """The tier of every series, by slot, and what decided it.

    Attributes:
        allotment: what is in force.
    """

    def __init__(self, allotment: Allotment, compile_matchers: Compiler) -> None:
        """Put an allotment in force for no series yet.

        Raises:
            Rejected: `coverage_limit`: a negative number; `coverage_rules`: too many; or a matcher makes no sense.
        """
        if allotment.full_series < 0:
            raise Rejected("coverage_limit", f"full_series is 0 or more, not {allotment.full_series}")
        if len(allotment.rules) > MAX_RULES:
            raise Rejected("coverage_rules", f"rule limit {MAX_RULES} reached: {len(allotment.rules)} rules")
        self.allotment = allotment
        self._tests = [compile_matchers(rule.matchers) for rule in allotment.rules]
        self._tiers = np.zeros(0, np.uint8)
        self._deciders = np.zeros(0, np.int16)
        self._count = 0
        self._full = 0

    @property
    def tiers(self) -> NDArray[np.uint8]:
        """Numbers into `TIERS` by slot, shape (series,)."""
        return self._tiers[: self._count]

    def counts(self) -> dict[str, int]:
        """Return how many series each tier has."""
        found = np.bincount(self.tiers, minlength=len(TIERS)).tolist()
        return {tier.value: count for tier, count in zip(TIERS, found, strict=True)}

    def meet(self, slot: int, labels: LabelSet) -> int:
        """Decide for a series; slots come as 0, 1, 2, ... Return the number of its tier."""
        decider = next((number for number, test in enumerate(self._tests) if test(labels)), BY_LIMIT)
        if decider == BY_LIMIT:
            tier = FULL if self._full < self.allotment.full_series else CHEAP
        else:
            tier = TIERS.index(self.allotment.rules[decider].tier)
        self._grow(slot + 1)
        self._tiers[slot], self._deciders[slot] = tier, decider
        self._full += tier == FULL
        return tier

    def meet_all(self, labels: Mapping[int, LabelSet]) -> NDArray[np.uint8]:
        """Decide for series 0, 1, 2, ... in this order; return their tiers."""
        for slot in range(len(labels)):
            self.meet(slot, labels[slot])
        return self.tiers.copy()

    def _grow(self, count: int) -> None:
        if count > len(self._tiers):
            missing = max(count, 2 * len(self._tiers)) - len(self._tiers)
            self._tiers = np.concatenate([self._tiers, np.zeros(missing, np.uint8)])
            self._deciders = np.concatenate([self._deciders, np.full(missing, BY_LIMIT, np.int16)])
        self._count = max(self._count, count)

    def tier(self, slot: int) -> Tier:
        """Return the tier of a series that was met."""
        return TIERS[int(self._tiers[slot])]

    def reason(self, slot: int) -> str:
        """Return in words what decided for a series that was met."""
        decider = int(self._deciders[slot])
        if decider != BY_LIMIT:
            return f"rule {decider + 1}: {self.allotment.rules[decider].selector}"
        if self.tier(slot) is Tier.FULL:
            return "within full_series"
        return f"full_series limit {self.allotment.full_series} reached"
