"""What expressions evaluate to: an array of numbers per series and step, and which of them are there.

A scalar is an array of shape (steps,). A vector over all steps is a `Table`; NaN is a value like any other, so what is
missing is told apart by `there`. Range vectors are `Ragged`: the samples of every series, one after the other.

>>> merge_equal((LabelSet((("a", "1"),)),), Table.empty(3)).values.shape
(0, 3)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from quantum.domain.errors import Rejected
from quantum.domain.labels import NAME, LabelSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy import bool_, float64, int64
    from numpy.typing import NDArray

LABEL_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Table:
    """A vector at every step.

    Attributes:
        labels: of each series; those of two rows differ, or the rows are never there at the same step.
        values: shape (series, steps); meaningless where not `there`.
        there: shape (series, steps).
    """

    labels: tuple[LabelSet, ...]
    values: NDArray[float64]
    there: NDArray[bool_]

    @classmethod
    def empty(cls, steps: int) -> Self:
        """Return a table without series."""
        return cls((), np.zeros((0, steps)), np.zeros((0, steps), np.bool_))

    def take(self, rows: NDArray[np.intp]) -> Table:
        """Return some rows."""
        return Table(tuple(self.labels[row] for row in rows.tolist()), self.values[rows], self.there[rows])

    def mapped(self, values: NDArray[float64]) -> Table:
        """Return the table with other values and without metric names."""
        return relabelled(self, without_name, values)


@dataclass(frozen=True, slots=True)
class Ragged:
    """Samples of some series.

    Attributes:
        at_ms: int64, of all series, one after the other; ascending within each.
        values: float64, likewise.
        bounds: int64 (series + 1,): where each series begins and ends.
    """

    labels: tuple[LabelSet, ...]
    at_ms: NDArray[int64]
    values: NDArray[float64]
    bounds: NDArray[int64]

    def keep(self, rows: NDArray[bool_]) -> Ragged:
        """Return only some of the samples."""
        if rows.all():
            return self
        before = np.concatenate([[0], np.cumsum(rows)])
        return Ragged(self.labels, self.at_ms[rows], self.values[rows], before[self.bounds])


def without_name(labels: LabelSet) -> LabelSet:
    """Return a label set without the metric name."""
    pairs = labels.pairs
    place = next((place for place, pair in enumerate(pairs) if pair[0] == NAME), len(pairs))
    return LabelSet(pairs[:place] + pairs[place + 1 :])


def without(labels: LabelSet, names: Iterable[str]) -> LabelSet:
    """Return a label set without some names."""
    dropped = frozenset(names)
    return LabelSet(tuple(pair for pair in labels.pairs if pair[0] not in dropped))


def with_label(labels: LabelSet, name: str, value: str) -> LabelSet:
    """Return a label set with one label set, or dropped where the value is empty."""
    others = [pair for pair in labels.pairs if pair[0] != name]
    return LabelSet(tuple(sorted([*others, (name, value)] if value else others)))


def relabelled(table: Table, change: Callable[[LabelSet], LabelSet], values: NDArray[float64] | None = None) -> Table:
    """Return a table with other labels (and values); see `merge_equal`."""
    kept = Table(table.labels, table.values if values is None else values, table.there)
    return merge_equal(tuple(change(one) for one in table.labels), kept)


def merge_equal(labels: Sequence[LabelSet], table: Table) -> Table:
    """Return a table under new labels; rows that now have the same become one.

    Raises:
        Rejected: `execution`, because two of them are there at the same step.
    """
    groups, ids = group(labels)
    if len(groups) == len(labels):
        return Table(groups, table.values, table.there)
    count = np.zeros((len(groups), table.there.shape[1]), np.int64)
    np.add.at(count, ids, table.there)
    if (count > 1).any():
        raise Rejected("execution", "vector cannot contain metrics with the same labelset")
    values = np.zeros(count.shape)
    np.add.at(values, ids, np.where(table.there, table.values, 0.0))
    return Table(groups, values, count > 0)


def group(labels: Sequence[LabelSet]) -> tuple[tuple[LabelSet, ...], NDArray[np.intp]]:
    """Return the distinct label sets, in order of appearance, and which of them each is."""
    # by their pairs: a label set computes its hash in Python
    numbers: dict[tuple[tuple[str, str], ...], int] = {}
    ids = np.array([numbers.setdefault(one.pairs, len(numbers)) for one in labels], np.intp)
    if len(numbers) == len(labels):
        return tuple(labels), ids
    return tuple(map(LabelSet, numbers)), ids
