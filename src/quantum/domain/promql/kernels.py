"""Compiled loops over samples: the newest of each step, windows, and functions of windows, as Prometheus 2 has them.

Both ends of a window belong to it. All kernels take samples as in `tables.Ragged`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from quantum.domain.kernels import compiled

if TYPE_CHECKING:
    from numpy import bool_, float64, int64
    from numpy.typing import NDArray

AVG, MIN, MAX, SUM, STDVAR, LAST, CHANGES, RESETS, DERIV, PREDICT = range(10)
EXTRAPOLATE_FROM: Final = 1.1
LEAST: Final = 2
"""Samples that make a change, and buckets that make a histogram."""


@compiled
def find_bounds(slots: NDArray[int64]) -> NDArray[int64]:
    """Return where each series begins in rows that are sorted by slot, and where the last ends: shape (series + 1,)."""
    count = 0
    for row in range(len(slots)):
        count += row == 0 or slots[row] != slots[row - 1]
    bounds = np.full(count + 1, len(slots), np.int64)
    count = 0
    for row in range(len(slots)):
        if row == 0 or slots[row] != slots[row - 1]:
            bounds[count] = row
            count += 1
    return bounds


@compiled
def find_windows(
    at_ms: NDArray[int64], bounds: NDArray[int64], ends_ms: NDArray[int64], range_ms: int
) -> tuple[NDArray[int64], NDArray[int64]]:
    """Return where the samples of `[end - range, end]` begin and end, both of shape (series, steps)."""
    first = np.empty((len(bounds) - 1, len(ends_ms)), np.int64)
    last = np.empty_like(first)
    for series in range(len(bounds) - 1):
        low = high = bounds[series]
        for step in range(len(ends_ms)):
            while low < bounds[series + 1] and at_ms[low] < ends_ms[step] - range_ms:
                low += 1
            while high < bounds[series + 1] and at_ms[high] <= ends_ms[step]:
                high += 1
            first[series, step], last[series, step] = low, high
    return first, last


@compiled
def extrapolate(
    at_ms: NDArray[int64],
    values: NDArray[float64],
    first: NDArray[int64],
    last: NDArray[int64],
    ends_ms: NDArray[int64],
    range_ms: int,
    is_counter: int,
) -> NDArray[float64]:
    """Return by how much each series changed within each window, extrapolated to its ends."""
    out = np.full(first.shape, np.nan)
    for series in range(first.shape[0]):
        for step in range(first.shape[1]):
            low, high = first[series, step], last[series, step]
            if high - low >= LEAST:
                end_ms = ends_ms[step]
                out[series, step] = _change(at_ms, values, low, high, end_ms - range_ms, end_ms, is_counter)
    return out


@compiled
def _change(
    at_ms: NDArray[int64],
    values: NDArray[float64],
    low: int,
    high: int,
    start_ms: int,
    end_ms: int,
    is_counter: int,
) -> Any:
    change = values[high - 1] - values[low]
    if is_counter:
        for row in range(low + 1, high):
            if values[row] < values[row - 1]:
                change += values[row - 1]
    to_start = (at_ms[low] - start_ms) / 1000.0
    to_end = (end_ms - at_ms[high - 1]) / 1000.0
    sampled = (at_ms[high - 1] - at_ms[low]) / 1000.0
    between = sampled / (high - low - 1)
    if is_counter and change > 0.0 and values[low] >= 0.0:
        to_start = min(to_start, sampled * (values[low] / change))
    covered = sampled
    covered += to_start if to_start < between * EXTRAPOLATE_FROM else between / 2.0
    covered += to_end if to_end < between * EXTRAPOLATE_FROM else between / 2.0
    return change * (covered / sampled)


@compiled
def last_change(
    at_ms: NDArray[int64], values: NDArray[float64], first: NDArray[int64], last: NDArray[int64], is_rate: int
) -> NDArray[float64]:
    """Return the change between the last two samples of each window; as a rate, per second and across resets."""
    out = np.full(first.shape, np.nan)
    for series in range(first.shape[0]):
        for step in range(first.shape[1]):
            high = last[series, step]
            if high - first[series, step] >= LEAST:
                change = values[high - 1] - values[high - 2]
                if is_rate:
                    if values[high - 1] < values[high - 2]:
                        change = values[high - 1]
                    change /= (at_ms[high - 1] - at_ms[high - 2]) / 1000.0
                out[series, step] = change
    return out


@compiled
def over_time(
    kind: int,
    at_ms: NDArray[int64],
    values: NDArray[float64],
    first: NDArray[int64],
    last: NDArray[int64],
    origins_ms: NDArray[int64],
    ahead_s: NDArray[float64],
) -> NDArray[float64]:
    """Return a function of each window that has a sample; the rest is NaN."""
    out = np.full(first.shape, np.nan)
    for series in range(first.shape[0]):
        for step in range(first.shape[1]):
            low, high = first[series, step], last[series, step]
            if high <= low:
                continue
            if kind <= STDVAR:
                out[series, step] = _moment(kind, values, low, high)
            elif kind <= RESETS:
                out[series, step] = _steps(kind, values, low, high)
            else:
                origin_ms = at_ms[low] if kind == DERIV else origins_ms[step]
                slope, level = _line(at_ms, values, low, high, origin_ms)
                out[series, step] = slope if kind == DERIV else slope * ahead_s[step] + level
    return out


@compiled
def _moment(kind: int, values: NDArray[float64], low: int, high: int) -> Any:
    if kind in (MIN, MAX):
        return _extreme(kind, values, low, high)
    total, lost = 0.0, 0.0
    for row in range(low, high):
        # Neumaier's sum: what rounding loses is kept aside (ZAMM 54, 1974)
        following = total + values[row]
        if math.isinf(following):
            lost = 0.0
        elif abs(total) >= abs(values[row]):
            lost += (total - following) + values[row]
        else:
            lost += (values[row] - following) + total
        total = following
    total += lost
    if kind == SUM:
        return total
    mean = total / (high - low)
    if math.isinf(total):
        # the sum may have overflowed, the mean does not
        mean = 0.0
        for row in range(low, high):
            mean = _mean(mean, values[row], float(row - low + 1))
    if kind == AVG:
        return mean
    squares = 0.0
    for row in range(low, high):
        squares += (values[row] - mean) * (values[row] - mean)
    return squares / (high - low)


@compiled
def _extreme(kind: int, values: NDArray[float64], low: int, high: int) -> Any:
    found = values[low]
    for row in range(low + 1, high):
        if math.isnan(found) or (values[row] < found if kind == MIN else values[row] > found):
            found = values[row]
    return found


@compiled
def _steps(kind: int, values: NDArray[float64], low: int, high: int) -> Any:
    if kind == LAST:
        return values[high - 1]
    count = 0.0
    for row in range(low + 1, high):
        before, now = values[row - 1], values[row]
        if kind == RESETS:
            count += now < before
        elif now != before and not (math.isnan(now) and math.isnan(before)):
            count += 1.0
    return count


@compiled
def _line(at_ms: NDArray[int64], values: NDArray[float64], low: int, high: int, origin_ms: int) -> tuple[float, float]:
    count, same = float(high - low), True
    if high - low < LEAST:
        return np.nan, np.nan
    mean_x, mean_y = 0.0, 0.0
    for row in range(low, high):
        mean_x += (at_ms[row] - origin_ms) / 1000.0 / count
        mean_y += values[row] / count
        same = same and values[row] == values[low]
    if same:
        return (np.nan, np.nan) if math.isinf(values[low]) else (0.0, values[low])
    both, squares = 0.0, 0.0
    for row in range(low, high):
        x = (at_ms[row] - origin_ms) / 1000.0 - mean_x
        both += x * (values[row] - mean_y)
        squares += x * x
    slope = both / squares
    return slope, mean_y - slope * mean_x


@compiled
def smooth(
    level_share: NDArray[float64],
    trend_share: NDArray[float64],
    values: NDArray[float64],
    first: NDArray[int64],
    last: NDArray[int64],
) -> NDArray[float64]:
    """Return the smoothed value at the end of each window that has two samples, as C. C. Holt's method has it.

    Args:
        level_share: how much a sample counts beside what was expected, in (0, 1), shape (steps,).
        trend_share: how much the newest change counts beside those before, likewise.
        values: of the samples.
        first: where windows begin.
        last: one beyond their last sample.
    """
    out = np.full(first.shape, np.nan)
    for series in range(first.shape[0]):
        for step in range(first.shape[1]):
            low, high = first[series, step], last[series, step]
            if high - low < LEAST:
                continue
            level, trend = values[low], values[low + 1] - values[low]
            for row in range(low + 1, high):
                following = level_share[step] * values[row] + (1.0 - level_share[step]) * (level + trend)
                trend = trend_share[step] * (following - level) + (1.0 - trend_share[step]) * trend
                level = following
            out[series, step] = level
    return out


@compiled
def quantile_over_time(
    share: NDArray[float64], values: NDArray[float64], first: NDArray[int64], last: NDArray[int64]
) -> NDArray[float64]:
    """Return a quantile of each window that has a sample; `share` has one element per step."""
    out = np.full(first.shape, np.nan)
    for series in range(first.shape[0]):
        for step in range(first.shape[1]):
            low, high = first[series, step], last[series, step]
            if high > low:
                out[series, step] = quantile_of(share[step], values[low:high].copy())
    return out


@compiled
def quantile_of(share: float, values: NDArray[float64]) -> Any:
    """Return a quantile of at least one value, interpolated; NaN sorts first. The values are sorted in place."""
    if math.isnan(share):
        return np.nan
    if share < 0.0 or share > 1.0:
        return -np.inf if share < 0.0 else np.inf
    values.sort()
    missing = 0
    while missing < len(values) and math.isnan(values[len(values) - 1 - missing]):
        missing += 1
    rank = share * (len(values) - 1)
    low = math.floor(rank)
    high = min(len(values) - 1, low + 1)
    weight = rank - low
    # numpy sorts NaN last
    left = np.nan if low < missing else values[low - missing]
    right = np.nan if high < missing else values[high - missing]
    return left * (1.0 - weight) + right * weight


@compiled
def bucket_quantiles(
    share: NDArray[float64], edges: NDArray[float64], counts: NDArray[float64], there: NDArray[bool_]
) -> NDArray[float64]:
    """Return a quantile of a cumulative histogram at each step.

    Args:
        share: shape (steps,).
        edges: upper edges, ascending and distinct, shape (buckets,).
        counts: shape (buckets, steps).
        there: which buckets there are at each step, shape (buckets, steps).
    """
    out = np.full(counts.shape[1], np.nan)
    edge, count = np.empty(len(edges)), np.empty(len(edges))
    for step in range(counts.shape[1]):
        size, most = 0, -np.inf
        for bucket in range(len(edges)):
            if there[bucket, step]:
                most = max(most, counts[bucket, step])
                edge[size], count[size] = edges[bucket], most
                size += 1
        out[step] = _bucket_quantile(share[step], edge[:size], count[:size])
    return out


@compiled
def _bucket_quantile(share: float, edges: NDArray[float64], counts: NDArray[float64]) -> Any:
    if math.isnan(share):
        return np.nan
    if share < 0.0 or share > 1.0:
        return -np.inf if share < 0.0 else np.inf
    size = len(edges)
    if size < LEAST or edges[size - 1] != np.inf or counts[size - 1] == 0.0 or math.isnan(counts[size - 1]):
        return np.nan
    rank, bucket = share * counts[size - 1], 0
    while bucket < size - 1 and counts[bucket] < rank:
        bucket += 1
    if bucket == size - 1:
        return edges[size - 2]
    if bucket == 0 and edges[0] <= 0.0:
        return edges[0]
    start, below = (0.0, 0.0) if bucket == 0 else (edges[bucket - 1], counts[bucket - 1])
    inside = counts[bucket] - below
    return start + (edges[bucket] - start) * ((rank - below) / inside) if inside > 0.0 else np.nan


@compiled
def fold_groups(
    kind: int, ids: NDArray[np.intp], groups: int, values: NDArray[float64], there: NDArray[bool_]
) -> tuple[NDArray[float64], NDArray[float64]]:
    """Return the fold of each group at each step, and of how many values it is; both of shape (groups, steps).

    A fold is the SUM, a running AVG that does not overflow, MIN, MAX, or STDVAR: the sum of squared distances from the
    mean in one pass (B. P. Welford, Technometrics 4, 1962).
    """
    out, count = np.zeros((groups, values.shape[1])), np.zeros((groups, values.shape[1]))
    means = np.zeros((groups if kind == STDVAR else 0, values.shape[1]))
    for row in range(len(ids)):
        group = ids[row]
        for step in range(values.shape[1]):
            if not there[row, step]:
                continue
            value, held = values[row, step], out[group, step]
            count[group, step] += 1.0
            if kind == SUM:
                out[group, step] = held + value
            elif kind == AVG:
                out[group, step] = _mean(held, value, count[group, step])
            elif kind == STDVAR:
                off = value - means[group, step]
                means[group, step] += off / count[group, step]
                # one value differs from nothing, even if it is no number
                out[group, step] = held + off * (value - means[group, step]) if count[group, step] > 1.0 else 0.0
            elif count[group, step] == 1.0 or math.isnan(held) or (value < held if kind == MIN else value > held):
                out[group, step] = value
    return out, count


@compiled
def _mean(mean: float, value: float, count: float) -> float:
    """Return the mean after one more value; an infinite one stays unless the value is NaN or the other infinity."""
    if math.isinf(mean) and not math.isnan(value) and (not math.isinf(value) or (mean > 0.0) == (value > 0.0)):
        return mean
    return mean + (value / count - mean / count)


@compiled
def group_quantiles(
    share: NDArray[float64],
    order: NDArray[np.intp],
    bounds: NDArray[np.intp],
    values: NDArray[float64],
    there: NDArray[bool_],
) -> tuple[NDArray[float64], NDArray[bool_]]:
    """Return the quantile `share[step]` of each group, and where there is one; group g is `order[bounds[g]:...]`."""
    shape = (len(bounds) - 1, values.shape[1])
    out, known = np.full(shape, np.nan), np.zeros(shape, np.bool_)
    members = np.empty(len(order))
    for group in range(shape[0]):
        for step in range(shape[1]):
            size = 0
            for place in range(bounds[group], bounds[group + 1]):
                if there[order[place], step]:
                    members[size] = values[order[place], step]
                    size += 1
            if size:
                known[group, step] = True
                out[group, step] = quantile_of(share[step], members[:size].copy())
    return out, known


def warm_up() -> None:
    """Call every kernel once, with two samples, so that it is compiled."""
    at_ms, values, share = np.array([0, 1000]), np.array([1.0, 2.0]), np.array([0.5])
    ends_ms = np.array([1000])
    find_bounds(at_ms)
    first, last = find_windows(at_ms, np.array([0, 2]), ends_ms, 1000)
    extrapolate(at_ms, values, first, last, ends_ms, 1000, 1)
    last_change(at_ms, values, first, last, 1)
    over_time(DERIV, at_ms, values, first, last, ends_ms, share)
    quantile_over_time(share, values, first, last)
    smooth(share, share, values, first, last)
    bucket_quantiles(share, np.array([1.0, np.inf]), np.ones((2, 1)), np.ones((2, 1), np.bool_))
    ids, there = np.zeros(1, np.intp), np.ones((1, 2), np.bool_)
    fold_groups(STDVAR, ids, 1, values[None, :], there)
    group_quantiles(at_ms / 1000.0, ids, np.array([0, 1], np.intp), values[None, :], there)
