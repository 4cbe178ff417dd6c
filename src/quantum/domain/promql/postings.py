"""Postings: which series have a label value, so that a selector costs what it finds and not what there is.

A regular expression is tried once for each distinct value of its label, whatever the number of series.

>>> postings = Postings()
>>> postings.extend([LabelSet.of({"__name__": "cpu", "host": "a"}), LabelSet.of({"__name__": "cpu"})])
>>> postings.find([Matcher("__name__", MatchOp.EQUAL, "cpu"), Matcher("host", MatchOp.EQUAL, "")],
...     MatcherCompiler(lambda pattern: pattern.__eq__)).tolist()
[1]
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.domain.labels import LabelSet, Matcher, MatcherCompiler, MatchOp

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

NOTHING: Final = LabelSet(())
QUICK: Final = 10_000
"""So many slots are read in some tens of microseconds."""


class Postings:
    """The slots of every label value, rising; slots are dense and are added in order."""

    def __init__(self) -> None:
        self._slots: dict[str, dict[str, array[int]]] = {}
        self._size = 0

    def __len__(self) -> int:
        """Return how many series are known."""
        return self._size

    def extend(self, labels: Sequence[LabelSet]) -> None:
        """Add the series of the next slots."""
        for slot, one in enumerate(labels, self._size):
            for name, value in one.pairs:
                self._slots.setdefault(name, {}).setdefault(value, array("q")).append(slot)
        self._size += len(labels)

    def is_quick(self, matchers: Sequence[Matcher]) -> bool:
        """Return whether `find` only looks some short lists up: no value is tried, and nothing long is read."""
        if any(matcher.op is not MatchOp.EQUAL or not matcher.value for matcher in matchers):
            return False
        lists = [self._slots.get(matcher.label, {}).get(matcher.value, ()) for matcher in matchers]
        return bool(lists) and sum(map(len, lists)) <= QUICK

    def find(self, matchers: Iterable[Matcher], compile_matchers: MatcherCompiler) -> NDArray[np.int64]:
        """Return the slots that satisfy every matcher, rising.

        Raises:
            Rejected: `regex`.
        """
        wanted: list[NDArray[np.int64]] = []
        unwanted: list[NDArray[np.int64]] = []
        for matcher in sorted(matchers, key=_cost):
            slots, is_wanted = self._of(matcher, compile_matchers)
            (wanted if is_wanted else unwanted).append(slots)
        # the shortest first: what is looked up in the others only gets shorter
        found, *others = sorted(wanted, key=len) or [np.arange(self._size)]
        for slots in others:
            found = found[_are_in(slots, found)]
        for slots in unwanted:
            found = found[~_are_in(slots, found)]
        return found

    def _of(self, matcher: Matcher, compile_matchers: MatcherCompiler) -> tuple[NDArray[np.int64], bool]:
        """Return the slots with a value that matches and True, or those that do not where no value matches too."""
        values = self._slots.get(matcher.label, {})
        test = compile_matchers([matcher])
        wants_labelled = not test(NOTHING)
        if matcher.op is MatchOp.EQUAL and wants_labelled:
            return _union([values[matcher.value]] if matcher.value in values else []), True
        slots = [each for value, each in values.items() if test(LabelSet(((matcher.label, value),))) is wants_labelled]
        return _union(slots), wants_labelled


def _cost(matcher: Matcher) -> bool:
    return matcher.op is not MatchOp.EQUAL


def _are_in(slots: NDArray[np.int64], asked: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which slots are in a rising list."""
    if not len(slots):
        return np.zeros(len(asked), np.bool_)
    places = np.searchsorted(slots, asked)
    return np.asarray(slots[np.minimum(places, len(slots) - 1)] == asked, np.bool_)


def _union(slots: Sequence[array[int]]) -> NDArray[np.int64]:
    """Return disjoint lists as one that rises."""
    if not slots:
        return np.zeros(0, np.int64)
    found = np.concatenate([np.array(each, np.int64) for each in slots])
    found.sort()
    return found
