"""Retention: how long each series is kept; the first rule that matches decides.

Facts have one log, and a replay needs all of them, so the log reaches back as far as the shortest term of all. Series
with a longer term keep their samples when the log is forgotten.

>>> from quantum.domain.labels import LabelSet
>>> retention = Retention(Term(90, 400), (RetentionRule((), Term(30, 40)),), lambda matchers: lambda labels: True)
>>> retention.log_ms
30
>>> retention.meet({0: LabelSet.of({"__name__": "up"})})
>>> retention.samples_from_ms(now_ms=1000).tolist() == [WITH_THE_LOG], retention.rollups_from_ms(now_ms=1000).tolist()
(True, [960])
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.domain.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from quantum.domain.labels import LabelSet, Matcher, MatcherCompiler

MAX_RULES: Final = 100
WITH_THE_LOG: Final = int(np.iinfo(np.int64).max)
"""From when on the samples of a series stay whose term is not longer than the log: none does."""


@dataclass(frozen=True, slots=True)
class Term:
    """How long a series is kept, in milliseconds.

    Attributes:
        samples_ms: its samples.
        rollups_ms: its rollups; as long as the samples if that is longer.
    """

    samples_ms: int
    rollups_ms: int

    @property
    def longest_ms(self) -> int:
        """After which nothing is left."""
        return max(self.samples_ms, self.rollups_ms)


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """Series that match are kept for this term, whatever holds for the others."""

    matchers: tuple[Matcher, ...]
    term: Term


class Retention:
    """The term of every series, by slot.

    Attributes:
        log_ms: how long facts are kept, at least.
    """

    def __init__(self, usual: Term, rules: tuple[RetentionRule, ...], compile_matchers: MatcherCompiler) -> None:
        """Take the term of series that no rule matches, and the rules.

        Raises:
            Rejected: `retention_rules`: too many; or a matcher makes no sense.
        """
        if len(rules) > MAX_RULES:
            raise Rejected("retention_rules", f"rule limit {MAX_RULES} reached: {len(rules)} rules")
        terms = [usual, *(rule.term for rule in rules)]
        self.log_ms = min(term.samples_ms for term in terms)
        self._samples_ms = np.array([term.samples_ms for term in terms], np.int64)
        self._longest_ms = np.array([term.longest_ms for term in terms], np.int64)
        self._tests = [compile_matchers(rule.matchers) for rule in rules]
        self._terms = np.zeros(0, np.uint8)

    def meet(self, labels: Mapping[int, LabelSet]) -> None:
        """Decide for the series that were not met before; slots are 0, 1, 2, ..."""
        fresh = [self._term_of(labels[slot]) for slot in range(len(self._terms), len(labels))]
        self._terms = np.concatenate([self._terms, np.array(fresh, np.uint8)])

    def _term_of(self, labels: LabelSet) -> int:
        return next((number for number, test in enumerate(self._tests, 1) if test(labels)), 0)

    @property
    def is_the_same_for_all(self) -> bool:
        """Whether there are no rules."""
        return not self._tests

    @property
    def is_longer_for_some(self) -> bool:
        """Whether samples of some series outlive the log."""
        return bool((self._samples_ms[self._terms] > self.log_ms).any())

    def samples_from_ms(self, now_ms: int) -> NDArray[np.int64]:
        """Return from when on samples stay whose facts are forgotten, by slot of the series that were met."""
        kept_ms = self._samples_ms[self._terms]
        return np.where(kept_ms > self.log_ms, now_ms - kept_ms, WITH_THE_LOG)

    def rollups_from_ms(self, now_ms: int) -> NDArray[np.int64]:
        """Return from when on rollups stay; what is older is gone altogether, unless it was accepted lately."""
        return np.asarray(now_ms - self._longest_ms[self._terms])
