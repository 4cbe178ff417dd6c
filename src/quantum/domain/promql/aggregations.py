"""Aggregations: many series to one per group, or a choice of some.

>>> sorted(SIMPLE)
['avg', 'count', 'group', 'max', 'min', 'stddev', 'stdvar', 'sum']
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.domain.labels import NAME, LabelSet
from quantum.domain.promql.kernels import quantile_of
from quantum.domain.promql.tables import Table, group, merge_equal, with_label, without
from quantum.domain.promql.texts import plain_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy import bool_, float64
    from numpy.typing import NDArray

    Groups = tuple[tuple[LabelSet, ...], NDArray[np.intp]]


def grouped(table: Table, labels: tuple[str, ...], *, by: bool) -> Groups:
    """Return the groups of a table's series, and which each is in."""
    if by:
        return group([one.only(labels) for one in table.labels])
    return group([without(one, (*labels, NAME)) for one in table.labels])


def aggregate(op: str, table: Table, groups: Groups) -> Table:
    """Return one series per group."""
    names, ids = groups
    count = np.zeros((len(names), table.there.shape[1]))
    np.add.at(count, ids, table.there)
    with np.errstate(all="ignore"):
        return Table(names, SIMPLE[op](table, ids, count), count > 0)


def _sum(table: Table, ids: NDArray[np.intp], count: NDArray[float64]) -> NDArray[float64]:
    total = np.zeros(count.shape)
    np.add.at(total, ids, np.where(table.there, table.values, 0.0))
    return total


def _mean(table: Table, ids: NDArray[np.intp], count: NDArray[float64]) -> NDArray[float64]:
    return _sum(table, ids, count) / count


def _variance(table: Table, ids: NDArray[np.intp], count: NDArray[float64]) -> NDArray[float64]:
    off = table.values - _mean(table, ids, count)[ids]
    variance = _sum(Table(table.labels, off * off, table.there), ids, count) / count
    # one value differs from nothing, even if it is no number
    return np.where(count == 1, 0.0, variance)


def _extreme(pick: np.ufunc) -> Callable[[Table, NDArray[np.intp], NDArray[float64]], NDArray[float64]]:
    def find(table: Table, ids: NDArray[np.intp], count: NDArray[float64]) -> NDArray[float64]:
        found = np.full(count.shape, np.nan)
        pick.at(found, ids, np.where(table.there, table.values, np.nan))
        return found

    return find


SIMPLE: Final[dict[str, Callable[[Table, NDArray[np.intp], NDArray[float64]], NDArray[float64]]]] = {
    "sum": _sum,
    "avg": _mean,
    "count": lambda _, __, count: count,
    "group": lambda _, __, count: np.ones(count.shape),
    "min": _extreme(np.fmin),
    "max": _extreme(np.fmax),
    "stdvar": _variance,
    "stddev": lambda table, ids, count: np.sqrt(_variance(table, ids, count)),
}


def quantiles(share: NDArray[float64], table: Table, groups: Groups) -> Table:
    """Return a quantile of each group; `share` has one element per step."""
    names, ids = groups
    there = np.zeros((len(names), table.there.shape[1]), np.bool_)
    np.logical_or.at(there, ids, table.there)
    values = np.full(there.shape, np.nan)
    for number, step in zip(*(place.tolist() for place in np.nonzero(there)), strict=True):
        members = table.values[(ids == number) & table.there[:, step], step]
        values[number, step] = quantile_of(float(share[step]), members)
    return Table(names, values, there)


def choose(count: NDArray[float64], table: Table, groups: Groups, *, largest: bool) -> Table:
    """Return the series that are among the `count` largest (or smallest) of their group, at the steps where they are.

    NaN is chosen last. Of equal values the first series is chosen.
    """
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


def count_values(name: str, table: Table, groups: Groups) -> Table:
    """Return how many series of each group have each value; the value becomes a label."""
    names, ids = groups
    labels: list[LabelSet] = []
    rows: list[NDArray[float64]] = []
    # by their bits, because -0 is written otherwise than 0; there is one text for all NaN
    bits = np.where(np.isnan(table.values), np.nan, table.values).view(np.int64)
    for pattern in np.unique(bits[table.there]):
        same = table.there & (bits == pattern)
        count = np.zeros((len(names), same.shape[1]))
        np.add.at(count, ids, same)
        labels += [with_label(one, name, plain_text(float(pattern.view(np.float64)))) for one in names]
        rows += list(count)
    values = np.array(rows).reshape(len(rows), table.there.shape[1])
    found = _those(Table(tuple(labels), values, values > 0), values > 0)
    return merge_equal(found.labels, found)
