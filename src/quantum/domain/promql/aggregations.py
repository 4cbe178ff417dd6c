"""Aggregations: many series to one per group, or a choice of some.

>>> sorted(SIMPLE)
['avg', 'count', 'group', 'max', 'min', 'stddev', 'stdvar', 'sum']
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.domain.errors import Rejected
from quantum.domain.labels import NAME, LabelSet
from quantum.domain.promql import kernels
from quantum.domain.promql.tables import LABEL_NAME, Table, group, merge_equal, with_label, without
from quantum.domain.promql.texts import plain_text

if TYPE_CHECKING:
    from numpy import bool_, float64
    from numpy.typing import NDArray

    from quantum.domain.promql.guard import Guard

    Groups = tuple[tuple[LabelSet, ...], NDArray[np.intp]]


BEYOND: Final = 2.0**63


def grouped(table: Table, labels: tuple[str, ...], *, by: bool) -> Groups:
    """Return the groups of a table's series, and which each is in."""
    if by:
        return group([one.only(labels) for one in table.labels])
    return group([without(one, (*labels, NAME)) for one in table.labels])


def aggregate(op: str, table: Table, groups: Groups) -> Table:
    """Return one series per group."""
    names, ids = groups
    values, count = kernels.fold_groups(KINDS[op], ids, len(names), table.values, table.there)
    if op in ("stddev", "stdvar"):
        values /= np.maximum(count, 1.0)
    if op == "stddev":
        values = np.sqrt(values)
    return Table(names, count if op == "count" else values, count > 0)


KINDS: Final = {
    "sum": kernels.SUM,
    "count": kernels.SUM,
    "avg": kernels.AVG,
    "min": kernels.MIN,
    "max": kernels.MAX,
    "stdvar": kernels.STDVAR,
    "stddev": kernels.STDVAR,
}
SIMPLE: Final = frozenset({*KINDS, "group"})


def simple(op: str, table: Table, groups: Groups) -> Table:
    """Return an aggregation that has no parameter."""
    if op != "group":
        return aggregate(op, table, groups)
    counted = aggregate("count", table, groups)
    return Table(counted.labels, np.ones(counted.values.shape), counted.there)


def quantiles(share: NDArray[float64], table: Table, groups: Groups) -> Table:
    """Return a quantile of each group; `share` has one element per step."""
    names, ids = groups
    order = np.argsort(ids, kind="stable")
    bounds = np.searchsorted(ids[order], np.arange(len(names) + 1))
    values, there = kernels.group_quantiles(share, order, bounds, table.values, table.there)
    return Table(names, values, there)


def choose(count: NDArray[float64], table: Table, groups: Groups, *, largest: bool) -> Table:
    """Return the series that are among the `count` largest (or smallest) of their group, at the steps where they are.

    NaN is chosen last. Of equal values the first series is chosen.

    Raises:
        Rejected: `execution`, because a count is NaN or beyond 64 bits.
    """
    if not (np.abs(count) < BEYOND).all():
        raise Rejected("execution", "the number of series to choose is NaN or overflows an integer of 64 bits")
    _, ids = groups
    chosen = np.zeros(table.there.shape, np.bool_)
    rank = -table.values if largest else table.values
    for number in range(int(ids.max(initial=-1)) + 1):
        rows = np.flatnonzero(ids == number)
        # lexsort: the last key counts most
        keys = (np.nan_to_num(rank[rows], nan=np.inf), np.isnan(rank[rows]), ~table.there[rows])
        order = np.lexsort(keys, axis=0)
        place = np.empty_like(order)
        np.put_along_axis(place, order, np.arange(len(rows))[:, None], axis=0)
        chosen[rows] = table.there[rows] & (place < np.floor(count))
    return _those(table, chosen)


def _those(table: Table, there: NDArray[bool_]) -> Table:
    rows = np.flatnonzero(there.any(axis=1))
    return Table(tuple(table.labels[row] for row in rows.tolist()), table.values[rows], there[rows])


def count_values(name: str, table: Table, groups: Groups, guard: Guard) -> Table:
    """Return how many series of each group have each value; the value becomes a label.

    Raises:
        Rejected: `bad_data`, because the name is no label's; `execution`, because there are too many values.
    """
    if not LABEL_NAME.fullmatch(name):
        raise Rejected("bad_data", f"invalid label name {name[:80]!r} in count_values")
    names, ids = groups
    rows, steps = np.nonzero(table.there)
    values = table.values[rows, steps]
    # by their bits, because -0 is written otherwise than 0; there is one text for all NaN
    bits = np.where(np.isnan(values), np.nan, values).view(np.int64)
    patterns, of_value = np.unique(bits, return_inverse=True)
    pairs, place = np.unique(ids[rows] * len(patterns) + of_value, return_inverse=True)
    guard.series(len(pairs))
    guard.room(len(pairs), table.there.shape[1])
    counts = np.zeros((len(pairs), table.there.shape[1]))
    np.add.at(counts, (place, steps), 1.0)
    texts = [plain_text(value) for value in patterns.view(np.float64).tolist()]
    found = [divmod(pair, len(patterns)) for pair in pairs.tolist()]
    labels = [with_label(names[number], name, texts[value]) for number, value in found]
    return merge_equal(labels, Table(tuple(labels), counts, counts > 0))
