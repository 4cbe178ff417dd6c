"""Operators between scalars and vectors, with the matching of series.

>>> sorted(COMPARISONS)
['!=', '<', '<=', '==', '>', '>=']
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from quantum.domain.errors import Rejected
from quantum.domain.labels import NAME, LabelSet
from quantum.domain.promql.tables import Table, group, merge_equal, with_label, without, without_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy import bool_, float64
    from numpy.typing import NDArray

    from quantum.domain.promql.guard import Guard
    from quantum.domain.promql.plan import Binary, Matching

ARITHMETIC: Final[dict[str, Callable[..., Any]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
}
COMPARISONS: Final[dict[str, Callable[..., Any]]] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}
SETS: Final = frozenset({"and", "or", "unless"})


def calculate(op: str, left: NDArray[float64], right: NDArray[float64]) -> NDArray[float64]:
    """Return the numbers of an operator; comparisons give 0 and 1."""
    with np.errstate(all="ignore"):
        return np.asarray((ARITHMETIC.get(op) or COMPARISONS[op])(left, right), np.float64)


def with_scalar(node: Binary, table: Table, scalar: NDArray[float64], *, scalar_is_left: bool) -> Table:
    """Return a vector combined with a scalar; a comparison keeps what it is true of."""
    sides = (scalar, table.values) if scalar_is_left else (table.values, scalar)
    found = calculate(node.op, *sides)
    if node.op in COMPARISONS and not node.is_bool:
        return Table(table.labels, table.values, table.there & (found != 0))
    return table.mapped(found)


def combine_sets(op: str, left: Table, right: Table, matching: Matching) -> Table:
    """Return `and`, `or` or `unless` of two vectors."""
    size = len(left.labels)
    keys, ids = group([_key(one, matching) for one in (*left.labels, *right.labels)])
    in_right, in_left = (np.zeros((len(keys), left.there.shape[1]), np.bool_) for _ in range(2))
    np.logical_or.at(in_left, ids[:size], left.there)
    np.logical_or.at(in_right, ids[size:], right.there)
    if op == "and":
        return Table(left.labels, left.values, left.there & in_right[ids[:size]])
    if op == "unless":
        return Table(left.labels, left.values, left.there & ~in_right[ids[:size]])
    there = np.concatenate([left.there, right.there & ~in_left[ids[size:]]])
    labels = (*left.labels, *right.labels)
    return merge_equal(labels, Table(labels, np.concatenate([left.values, right.values]), there))


def _key(labels: LabelSet, matching: Matching) -> LabelSet:
    return labels.only(matching.labels) if matching.on else without(labels, (*matching.labels, NAME))


def combine(node: Binary, left: Table, right: Table, guard: Guard) -> Table:
    """Return two vectors combined series by series.

    Raises:
        Rejected: `execution`, because series do not match as the expression says, or too many do.
    """
    matching, flipped = node.matching, node.matching.many == "right"
    many, one = (right, left) if flipped else (left, right)
    size = len(many.labels)
    keys, ids = group([_key(labels, matching) for labels in (*many.labels, *one.labels)])
    if not size:
        return Table.empty(left.there.shape[1])
    # where the other side is empty nothing is matched, so nothing is refused
    asked = Table(one.labels, one.values, one.there & many.there.any(axis=0))
    _refuse_doubles(len(keys), ids[size:], asked, keys, "left" if flipped else "right")
    found = np.bincount(ids[size:], minlength=len(keys))[ids[:size]]
    guard.room(int(found.sum()), left.there.shape[1])
    rows, others = _pairs(ids[:size], ids[size:], found)
    sides = (one.values[others], many.values[rows]) if flipped else (many.values[rows], one.values[others])
    values, there = calculate(node.op, *sides), many.there[rows] & one.there[others]
    if node.op in COMPARISONS and not node.is_bool:
        values, there = sides[0], there & (values != 0)
    labels = [
        _result_labels(node, many.labels[row], one.labels[other])
        for row, other in zip(rows.tolist(), others.tolist(), strict=True)
    ]
    if not matching.many:
        _refuse_many(len(keys), ids[rows], there)
    return _unique(labels, values, there)


def _pairs(
    many: NDArray[np.intp], one: NDArray[np.intp], found: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows of two sides that have the same key, as columns; `found` says how many each of the first has."""
    order = np.argsort(one, kind="stable")
    first = np.searchsorted(one[order], many)
    rows = np.repeat(np.arange(len(many)), found)
    nth = np.arange(len(rows)) - np.repeat(np.cumsum(found) - found, found)
    return rows, order[np.repeat(first, found) + nth]


def _refuse_doubles(count: int, ids: NDArray[np.intp], table: Table, keys: tuple[LabelSet, ...], side: str) -> None:
    """Refuse two series of one match on the side that may have one only, even if the match has none on the other."""
    seen = np.zeros((count, table.there.shape[1]), np.int64)
    np.add.at(seen, ids, table.there)
    for key in np.flatnonzero((seen > 1).any(axis=1)).tolist()[:1]:
        raise Rejected(
            "execution",
            f"found duplicate series for the match group {keys[key]} on the {side} hand-side of the operation;"
            " many-to-many matching not allowed: matching labels must be unique on one side",
        )


def _refuse_many(count: int, ids: NDArray[np.intp], there: NDArray[bool_]) -> None:
    seen = np.zeros((count, there.shape[1]), np.int64)
    np.add.at(seen, ids, there)
    if (seen > 1).any():
        raise Rejected(
            "execution",
            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
        )


def _unique(labels: list[LabelSet], values: NDArray[float64], there: NDArray[bool_]) -> Table:
    try:
        return merge_equal(labels, Table(tuple(labels), values, there))
    except Rejected:
        raise Rejected("execution", "multiple matches for labels: grouping labels must ensure unique matches") from None


def _result_labels(node: Binary, many: LabelSet, one: LabelSet) -> LabelSet:
    matching = node.matching
    kept = without_name(many) if node.op in ARITHMETIC or node.is_bool else many
    if not matching.many:
        return kept.only(matching.labels) if matching.on else without(kept, matching.labels)
    for name in matching.include:
        kept = with_label(kept, name, one.get(name))
    return kept
