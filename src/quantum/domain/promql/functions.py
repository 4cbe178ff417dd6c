"""The functions of PromQL by name: of windows, of every number, of labels, of time.

>>> "rate" in WINDOWED, "abs" in NUMERIC
(True, True)
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from quantum.domain.errors import Rejected
from quantum.domain.labels import LabelSet, MatchOp
from quantum.domain.promql import kernels
from quantum.domain.promql.plan import Selector
from quantum.domain.promql.tables import (
    LABEL_NAME,
    Table,
    group,
    merge_equal,
    relabelled,
    with_label,
    without,
    without_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy import bool_, float64, int64
    from numpy.typing import NDArray

    from quantum.domain.promql.evaluate import Evaluator, Windows
    from quantum.domain.promql.plan import Call, Plan

    Numbers = NDArray[float64]

REFERENCE: Final = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})")
DAY_MS: Final = 86_400_000
EPOCH_WEEKDAY: Final = 4
"""1 January 1970 was a Thursday."""
BUCKET: Final = "le"


def call(evaluator: Evaluator, node: Call) -> Numbers | Table:
    """Return the value of a function call.

    Raises:
        Rejected: `bad_data`, because there is no such function here.
    """
    if node.name in WINDOWED:
        return _windowed(evaluator, node)
    if node.name in NUMERIC:
        return _numeric(evaluator, node)
    if node.name in CALENDAR:
        return _calendar(evaluator, node)
    if node.name in SPECIAL:
        return SPECIAL[node.name](evaluator, node)
    raise Rejected("bad_data", f"the function {node.name} is not supported")


def unnamed(values: Numbers) -> Table:
    """Return a vector of one series without labels; values of shape (1, steps)."""
    return Table((LabelSet(()),), values, np.ones(values.shape, np.bool_))


def by_value(table: Table, *, falling: bool) -> Table:
    """Return a table in order of value, NaN last; over several steps there is no such order, so it stays as it is."""
    if table.values.shape[1] != 1:
        return table
    values = -table.values[:, 0] if falling else table.values[:, 0]
    return table.take(np.lexsort((values, np.isnan(values))))


# ---- functions of windows ------------------------------------------------------------------------------------------


def _windowed(evaluator: Evaluator, node: Call) -> Table:
    *before, plan = node.arguments if node.name == "quantile_over_time" else node.arguments[:1]
    windows = evaluator.windows(plan)
    others = [evaluator.scalar(one) for one in (*before, *node.arguments[1 if not before else 2 :])]
    with np.errstate(all="ignore"):
        values, there = WINDOWED[node.name](windows, *others)
    table = Table(windows.samples.labels, values, there)
    return table if node.name == "last_over_time" else relabelled(table, without_name)


def _extrapolated(windows: Windows, *, is_counter: bool) -> tuple[Numbers, NDArray[bool_]]:
    samples = windows.samples
    values = kernels.extrapolate(
        samples.at_ms,
        samples.values,
        windows.first,
        windows.last,
        windows.ends_ms,
        windows.range_ms,
        int(is_counter),
    )
    return values, windows.last - windows.first >= kernels.LEAST


def _rate(windows: Windows) -> tuple[Numbers, NDArray[bool_]]:
    values, there = _extrapolated(windows, is_counter=True)
    return values / (windows.range_ms / 1000), there


def _last_change(*, is_rate: bool) -> Callable[[Windows], tuple[Numbers, NDArray[bool_]]]:
    def find(windows: Windows) -> tuple[Numbers, NDArray[bool_]]:
        samples, first, last = windows.samples, windows.first, windows.last
        return kernels.last_change(
            samples.at_ms, samples.values, first, last, int(is_rate)
        ), last - first >= kernels.LEAST

    return find


def _over_time(kind: int, least: int = 1) -> Callable[..., tuple[Numbers, NDArray[bool_]]]:
    def find(windows: Windows, ahead_s: Numbers | None = None) -> tuple[Numbers, NDArray[bool_]]:
        samples, steps = windows.samples, len(windows.times_ms)
        ahead_s = np.zeros(steps) if ahead_s is None else ahead_s
        values = kernels.over_time(
            kind, samples.at_ms, samples.values, windows.first, windows.last, windows.times_ms, ahead_s
        )
        return values, windows.last - windows.first >= least

    return find


def _deviation(windows: Windows) -> tuple[Numbers, NDArray[bool_]]:
    variance, there = _over_time(kernels.STDVAR)(windows)
    return np.sqrt(variance), there


def _quantile(windows: Windows, share: Numbers) -> tuple[Numbers, NDArray[bool_]]:
    values = kernels.quantile_over_time(share, windows.samples.values, windows.first, windows.last)
    return values, windows.there


def _smoothed(windows: Windows, level_share: Numbers, trend_share: Numbers) -> tuple[Numbers, NDArray[bool_]]:
    for share in (level_share, trend_share):
        if ((share <= 0.0) | (share >= 1.0)).any():
            raise Rejected("execution", "both factors of double_exponential_smoothing lie between 0 and 1")
    values = kernels.smooth(level_share, trend_share, windows.samples.values, windows.first, windows.last)
    return values, windows.last - windows.first >= kernels.LEAST


WINDOWED: Final[dict[str, Callable[..., tuple[Numbers, NDArray[bool_]]]]] = {
    "rate": _rate,
    "increase": lambda windows: _extrapolated(windows, is_counter=True),
    "delta": lambda windows: _extrapolated(windows, is_counter=False),
    "irate": _last_change(is_rate=True),
    "idelta": _last_change(is_rate=False),
    "deriv": _over_time(kernels.DERIV, 2),
    "predict_linear": _over_time(kernels.PREDICT, 2),
    "avg_over_time": _over_time(kernels.AVG),
    "min_over_time": _over_time(kernels.MIN),
    "max_over_time": _over_time(kernels.MAX),
    "sum_over_time": _over_time(kernels.SUM),
    "stdvar_over_time": _over_time(kernels.STDVAR),
    "stddev_over_time": _deviation,
    "last_over_time": _over_time(kernels.LAST),
    "changes": _over_time(kernels.CHANGES),
    "resets": _over_time(kernels.RESETS),
    "quantile_over_time": _quantile,
    "double_exponential_smoothing": _smoothed,
    "count_over_time": lambda windows: ((windows.last - windows.first).astype(np.float64), windows.there),
    "present_over_time": lambda windows: (np.ones(windows.first.shape), windows.there),
}


# ---- functions of every number -------------------------------------------------------------------------------------


def _numeric(evaluator: Evaluator, node: Call) -> Table:
    table = evaluator.table(node.arguments[0])
    others = [evaluator.scalar(one) for one in node.arguments[1:]]
    with np.errstate(all="ignore"):
        return table.mapped(np.asarray(NUMERIC[node.name](table.values, *others), np.float64))


def _round(values: Numbers, to: Numbers | float = 1.0) -> Numbers:
    # halves go up, and the inverse is multiplied with, as Prometheus does
    inverse = 1.0 / to
    return np.asarray(np.floor(values * inverse + 0.5) / inverse)


def _at_least(values: Numbers, least: Numbers) -> Numbers:
    # to Go the largest of NaN and infinity is infinity
    return np.where((values == np.inf) | (least == np.inf), np.inf, np.maximum(values, least))


def _at_most(values: Numbers, most: Numbers) -> Numbers:
    return -_at_least(-values, -most)


def _clamp(evaluator: Evaluator, node: Call) -> Table:
    """Return values between two bounds; nothing at the steps where the bounds are crossed."""
    table, least, most = evaluator.table(node.arguments[0]), *map(evaluator.scalar, node.arguments[1:])
    clamped = table.mapped(_at_least(_at_most(table.values, most), least))
    return Table(clamped.labels, clamped.values, clamped.there & ~(most < least))


NUMERIC: Final[dict[str, Callable[..., Any]]] = {
    **{name: getattr(np, name) for name in ("abs", "ceil", "exp", "floor", "log10", "log2", "sqrt", "sin", "cos")},
    **{name: getattr(np, name) for name in ("tan", "sinh", "cosh", "tanh")},
    **{name: getattr(np, f"arc{name[1:]}") for name in ("asin", "acos", "atan", "asinh", "acosh", "atanh")},
    "ln": np.log,
    "sgn": np.sign,
    "deg": np.degrees,
    "rad": np.radians,
    "round": _round,
    "clamp_min": _at_least,
    "clamp_max": _at_most,
}


# ---- functions of time ---------------------------------------------------------------------------------------------


def _calendar(evaluator: Evaluator, node: Call) -> Table:
    now = unnamed((evaluator.times_ms / 1000.0)[None, :])
    table = evaluator.table(node.arguments[0]) if node.arguments else now
    fit = np.isfinite(table.values) & (np.abs(table.values) < 1e11)  # noqa: PLR2004 - the year 5138
    ms = np.floor(np.where(fit, table.values, 0.0)).astype(np.int64) * 1000
    return table.mapped(np.where(fit, CALENDAR[node.name](ms).astype(np.float64), np.nan))


def _day_of_month(ms: NDArray[int64]) -> NDArray[int64]:
    days = ms.astype("datetime64[ms]").astype("datetime64[D]")
    return np.asarray((days - days.astype("datetime64[M]")).astype(np.int64) + 1)


def _day_of_year(ms: NDArray[int64]) -> NDArray[int64]:
    days = ms.astype("datetime64[ms]").astype("datetime64[D]")
    return np.asarray((days - days.astype("datetime64[Y]")).astype(np.int64) + 1)


def _days_in_month(ms: NDArray[int64]) -> NDArray[int64]:
    month = ms.astype("datetime64[ms]").astype("datetime64[M]")
    return np.asarray(((month + 1).astype("datetime64[D]") - month.astype("datetime64[D]")).astype(np.int64))


CALENDAR: Final[dict[str, Callable[[NDArray[int64]], NDArray[int64]]]] = {
    "minute": lambda ms: ms // 60_000 % 60,
    "hour": lambda ms: ms // 3_600_000 % 24,
    "day_of_week": lambda ms: (ms // DAY_MS + EPOCH_WEEKDAY) % 7,
    "day_of_month": _day_of_month,
    "day_of_year": _day_of_year,
    "days_in_month": _days_in_month,
    "month": lambda ms: ms.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64) % 12 + 1,
    "year": lambda ms: ms.astype("datetime64[ms]").astype("datetime64[Y]").astype(np.int64) + 1970,
}


# ---- the others ----------------------------------------------------------------------------------------------------


def _timestamp(evaluator: Evaluator, node: Call) -> Table:
    plan = node.arguments[0]
    if isinstance(plan, Selector):
        table, at_ms = evaluator.newest(plan)
        return table.mapped(at_ms / 1000.0)
    table = evaluator.table(plan)
    return table.mapped(np.broadcast_to(evaluator.times_ms / 1000.0, table.values.shape))


def _scalar(evaluator: Evaluator, node: Call) -> Numbers:
    table = evaluator.table(node.arguments[0])
    total = np.where(table.there, table.values, 0.0).sum(axis=0)
    return np.where(table.there.sum(axis=0) == 1, total, np.nan)


def _absent(evaluator: Evaluator, node: Call) -> Table:
    plan = node.arguments[0]
    there = evaluator.table(plan).there if node.name == "absent" else evaluator.windows(plan).there
    found = np.asarray(there.any(axis=0))[None, :]
    return Table((_wanted_labels(plan),), np.ones(found.shape), ~found)


def _wanted_labels(plan: Plan) -> LabelSet:
    """Return the labels that a selector asks for by `=`, once each."""
    if not isinstance(plan, Selector):
        return LabelSet(())
    names = [one.label for one in plan.matchers]
    pairs = {one.label: one.value for one in plan.matchers if one.op is MatchOp.EQUAL and names.count(one.label) == 1}
    return without_name(LabelSet(tuple(sorted(pair for pair in pairs.items() if pair[1]))))


def _replace(evaluator: Evaluator, node: Call) -> Table:
    table = evaluator.table(node.arguments[0])
    target, replacement, source, pattern = (cast("str", evaluator.value(one)) for one in node.arguments[1:])
    _check_label(target)
    groups_of = evaluator.compile_groups(pattern)

    def change(labels: LabelSet) -> LabelSet:
        groups = groups_of(labels.get(source))
        if groups is None:
            return labels
        value = REFERENCE.sub(lambda found: "$" if found[0] == "$$" else groups(found[1] or found[2]), replacement)
        return with_label(labels, target, value)

    return relabelled(table, change)


def _check_label(name: str) -> None:
    if not LABEL_NAME.fullmatch(name):
        raise Rejected("bad_data", f"invalid destination label name in label_replace or label_join: {name[:80]!r}")


def _join(evaluator: Evaluator, node: Call) -> Table:
    table = evaluator.table(node.arguments[0])
    target, separator, *sources = (cast("str", evaluator.value(one)) for one in node.arguments[1:])
    _check_label(target)
    return relabelled(
        table, lambda labels: with_label(labels, target, separator.join(labels.get(one) for one in sources))
    )


def _histogram_quantile(evaluator: Evaluator, node: Call) -> Table:
    share, table = evaluator.scalar(node.arguments[0]), evaluator.table(node.arguments[1])
    edges = np.array([_edge(labels) for labels in table.labels])
    with_edge = table.take(np.flatnonzero(~np.isnan(edges)))
    edges = edges[~np.isnan(edges)]
    names, ids = group([without_name(without(labels, (BUCKET,))) for labels in with_edge.labels])
    values = np.zeros((len(names), len(evaluator.times_ms)))
    there = np.zeros(values.shape, np.bool_)
    for number in range(len(names)):
        rows = np.flatnonzero(ids == number)
        there[number] = with_edge.there[rows].any(axis=0)
        distinct, places = np.unique(edges[rows], return_inverse=True)
        counts, known = np.zeros((len(distinct), values.shape[1])), np.zeros((len(distinct), values.shape[1]), np.bool_)
        np.add.at(counts, places, np.where(with_edge.there[rows], with_edge.values[rows], 0.0))
        np.logical_or.at(known, places, with_edge.there[rows])
        values[number] = kernels.bucket_quantiles(share, distinct, counts, known)
    return merge_equal(names, Table(names, values, there))


def _edge(labels: LabelSet) -> float:
    try:
        return float(labels.get(BUCKET).replace("_", "x"))
    except ValueError:
        return float("nan")


SPECIAL: Final[dict[str, Callable[[Evaluator, Call], Numbers | Table]]] = {
    "time": lambda evaluator, _: evaluator.times_ms / 1000.0,
    "pi": lambda evaluator, _: np.full(len(evaluator.times_ms), np.pi),
    "vector": lambda evaluator, node: unnamed(evaluator.scalar(node.arguments[0])[None, :]),
    "scalar": _scalar,
    "clamp": _clamp,
    "timestamp": _timestamp,
    "absent": _absent,
    "absent_over_time": _absent,
    "label_replace": _replace,
    "label_join": _join,
    "histogram_quantile": _histogram_quantile,
    "sort": lambda evaluator, node: by_value(evaluator.table(node.arguments[0]), falling=False),
    "sort_desc": lambda evaluator, node: by_value(evaluator.table(node.arguments[0]), falling=True),
}
