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

    def find(self, matchers: Iterable[Matcher], compile_matchers: MatcherCompiler) -> NDArray[np.int64]:
        """Return the slots that satisfy every matcher, rising.

        Raises:
            Rejected: `regex`.
        """
        found: NDArray[np.int64] | None = None
        unwanted: list[NDArray[np.int64]] = []
        for matcher in sorted(matchers, key=_cost):
            slots, is_wanted = self._of(matcher, compile_matchers)
            if not is_wanted:
                unwanted.append(slots)
            else:
                found = slots if found is None else np.intersect1d(found, slots, assume_unique=True)
        found = np.arange(self._size) if found is None else found
        for slots in unwanted:
            found = np.setdiff1d(found, slots, assume_unique=True)
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


def _union(slots: Sequence[array[int]]) -> NDArray[np.int64]:
    """Return disjoint lists as one that rises."""
    if not slots:
        return np.zeros(0, np.int64)
    found = np.concatenate([np.array(each, np.int64) for each in slots])
    found.sort()
    return found
