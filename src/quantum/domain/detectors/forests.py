"""Isolation forests and peers: what trained models see, and how odd they find it. Scoring needs no scikit-learn.

An isolation forest (Liu, Ting, Zhou 2008) splits at random until a point is alone; odd points are alone early. The
trees that scikit-learn trained are kept as flat arrays and walked by one kernel, which gives scikit-learn's scores.
Where a channel is missing, the walk takes both branches and weighs them by the training rows that went each way: the
path that is expected, given what is known (as in path-dependent SHAP, Lundberg 2020).

Every series keeps its last `MEMORY` values; their median and median absolute deviation (MAD) put all series on one
scale. What a model looks at is made of such values:

- windows: newest value, last step, mean and spread of the last `WINDOW` rows of a series, for each row as it comes;
- groups: one value per channel and *frame* (a step of the clock), all channels of a host together;
- peers: how far a series is from the median of its siblings in a frame, less what is usual for it, in MADs.

A frame is complete when the first row of a later one arrives, so rows of series that are compared are judged by the
frame before theirs, and the order of rows within a frame means nothing. A model calibrates its readings on rows that
it was not trained on: `Knots` turn a reading into decades of rarity.

All compiled code of models is in this file, because a cache of compiled code notices only changes of its own file.

>>> forest = forest_of(*(np.array(a) for a in ([0, -1, -1], [0.5, 0, 0], [1, 0, 0], [2, 0, 0], [9, 8, 1], [0])))
>>> score_samples(forest, np.array([[0.0], [1.0], [np.nan]], np.float32)).round(2).tolist()
[-0.43, -0.82, -0.46]
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from quantum.domain.kernels import compiled

if TYPE_CHECKING:
    from numpy import float32, float64, int16, int32, int64
    from numpy.typing import NDArray

MEMORY: Final = 64
"""Values by which a series is put on scale: an hour of one-minute rows."""
LEAST: Final = 16
"""With fewer values than these there is no scale, and so no opinion."""
WINDOW: Final = 8
FEATURES: Final = 4
"""Of a window, in scales: its newest value, the last step, mean and spread. As eight separate features a lone spike
would be one odd split in eight, which isolation hardly notices."""
WIDTH: Final = 128
"""Channels or siblings of a group at most."""
LEAST_PEERS: Final = 4
"""Fewer siblings have no median to differ from: of three, the odd one moves it."""
STALE_FRAMES: Final = 3
"""A frame that ended longer ago says nothing about now."""
MAD_TO_SD: Final = 1.4826
"""The standard deviation of normal noise in median absolute deviations."""
MEAN_TO_SD: Final = 1.2533
"""The same in mean absolute deviations; used where more than half of the values are equal."""
FARTHEST: Final = 20.0
"""Distances in scales are cut here."""
BAND: Final = 4.0
"""Half width of the band in standard deviations."""
TWO: Final = 2
"""A tree of fewer rows has nothing to split."""
DEEPEST: Final = 62
"""Levels of a tree at most."""
ABREAST: Final = 10
"""Trees that are walked at a time. With eight or sixteen a row takes as long, with one twice as long."""
LARGEST: Final = 1e150
"""Values are cut here: their differences and sums are still finite."""
SCALE_FLOOR: Final = 1e-6
"""The scale is at least this share of the value: rounding is no event."""
EULER: Final = 0.5772156649015329
TAIL: Final = 1.7
"""From this decade of rarity on (one row in fifty), rarity follows an exponential tail."""
KNOT_STEP: Final = 0.1

NODE: Final = np.dtype(
    [("feature", np.int32), ("threshold", np.float32), ("left", np.int32), ("right", np.int32)], align=True
)
WINDOWED: Final = np.dtype([("rows", np.int64), ("at_ms", np.int64), ("ring", np.float64, (MEMORY,))])
MEMBER: Final = np.dtype(
    [
        ("group", np.int64),  # 1 and up; 0 for none
        ("place", np.int64),
        ("at_ms", np.int64),
        ("is_known", np.int64),
        ("has_value", np.int64),
        ("current", np.float64),
        ("rows", np.int64),
        ("ring", np.float64, (MEMORY,)),
        ("centre", np.float64),
        ("scale", np.float64),
    ]
)
GROUP: Final = np.dtype(
    [
        ("is_open", np.int64),
        ("bucket", np.int64),
        ("closed", np.int64),
        ("is_told", np.int64),
        ("middle", np.float64),
        ("members", np.int64, (WIDTH,)),  # slots + 1; 0 for nobody
        ("frame", np.float32, (WIDTH,)),
    ]
)


class Forest(NamedTuple):
    """Trees, all nodes one after the other; both branches of a leaf lead to itself.

    Attributes:
        nodes: of dtype `NODE`: what a walk needs, in one place of memory.
        levels: splits above the deepest leaf.
        weight: training rows of each node.
        length: of leaves: levels above it and the levels that its training rows would still need.
        unit: the length that is usual in a tree of this size.
    """

    nodes: NDArray[Any]
    levels: int
    weight: NDArray[float64]
    length: NDArray[float64]
    roots: NDArray[int32]
    unit: float


class Knots(NamedTuple):
    """Rarity in decades by reading: straight lines between knots, and a straight line of `slope` beyond the last."""

    raw: NDArray[float64]
    decades: NDArray[float64]
    slope: float


# ---- forests -------------------------------------------------------------------------------------------------------


def usual_length(rows: NDArray[float64]) -> NDArray[float64]:
    """Return the mean path length of a search tree of so many rows (Liu, Ting, Zhou 2008, equation 1)."""
    many = np.maximum(rows, 3.0)
    found = 2.0 * (np.log(many - 1.0) + EULER) - 2.0 * (many - 1.0) / many
    return np.where(rows > 2.0, found, np.where(rows == 2.0, 1.0, 0.0))


def forest_of(
    feature: NDArray[int16],
    threshold: NDArray[float32],
    left: NDArray[int32],
    right: NDArray[int32],
    weight: NDArray[int32],
    roots: NDArray[int32],
) -> Forest:
    """Return a forest that can be walked; the arrays are as `problem_of_forest` wants them.

    Args:
        feature: of each node, shape (n,); -1 for leaves.
        threshold: rows with at most this go left.
        left: node of the left branch; of leaves 0.
        right: node of the right branch.
        weight: training rows of each node.
        roots: of each tree; all have the same weight.
    """
    rows = weight.astype(np.float64)
    depths = node_depths(feature, left, right)
    length = depths.astype(np.float64) + usual_length(rows)
    unit = float(usual_length(rows[roots[:1]])[0]) if len(roots) else 1.0
    nodes = np.zeros(len(feature), NODE)
    for name, column in (("feature", feature), ("threshold", threshold), ("left", left), ("right", right)):
        nodes[name] = column
    leaves = np.flatnonzero(feature < 0)
    nodes["feature"][leaves] = 0
    nodes["left"][leaves] = nodes["right"][leaves] = leaves
    return Forest(nodes, int(depths.max(initial=0)), rows, length, roots.astype(np.int32), unit)


def node_depths(feature: NDArray[int16], left: NDArray[int32], right: NDArray[int32]) -> NDArray[int64]:
    """Return how many splits are above each node; children come after their parents."""
    depths = np.zeros(len(feature), np.int64)
    for node in np.flatnonzero(feature >= 0).tolist():
        depths[left[node]] = depths[right[node]] = depths[node] + 1
    return depths


def problem_of_forest(
    feature: NDArray[int16],
    threshold: NDArray[float32],
    left: NDArray[int32],
    right: NDArray[int32],
    weight: NDArray[int32],
    roots: NDArray[int32],
    *,
    features: int,
    empty: bool,
) -> str:
    """Return what is wrong with arrays that should be a forest, or the empty string: then every walk ends."""
    count = len(feature)
    if len({len(one) for one in (feature, threshold, left, right, weight)}) != 1:
        return "its nodes do not fit together"
    if empty or not count or not len(roots):
        return "" if empty and not count and not len(roots) else "it has trees where it should not, or none"
    if (feature < -1).any() or (feature >= features).any() or np.isnan(threshold).any() or (weight < 1).any():
        return "a node asks for what is not there"
    splits = np.flatnonzero(feature >= 0)
    branches = np.stack([left[splits], right[splits]])
    if (branches <= splits).any() or (branches >= count).any():
        return "a branch leads back or nowhere"
    if (roots < 0).any() or (roots >= count).any() or len(set(weight[roots])) != 1 or weight[roots[0]] < TWO:
        return "its roots are not those of trees of one size"
    return "a tree is too deep" if node_depths(feature, left, right).max() > DEEPEST else ""


@compiled
def expected_length(forest: Any, root: int, row: NDArray[float32], nodes: Any, shares: Any) -> float:
    """Return the path length of a row in one tree; at a split on a missing channel both branches count."""
    nodes[0], shares[0], waiting, total = root, 1.0, 1, 0.0
    while waiting > 0:
        waiting -= 1
        node, share = nodes[waiting], shares[waiting]
        while forest.nodes[node]["left"] != node:
            split = forest.nodes[node]
            reading = row[split["feature"]]
            left, right = split["left"], split["right"]
            if math.isnan(reading):
                part = forest.weight[left] / (forest.weight[left] + forest.weight[right])
                nodes[waiting], shares[waiting] = right, share * (1.0 - part)
                waiting += 1
                node, share = left, share * part
            else:
                node = left if reading <= split["threshold"] else right
        total += share * forest.length[node]
    return total


@compiled
def with_plain_lengths(forest: Any, first: int, row: NDArray[float32], nodes: Any, total: float) -> float:
    """Return a total with the path lengths of a row without missing channels in up to `ABREAST` trees from one on.

    A walk waits for memory and guesses which way it goes, so several are done at a time, as deep as the deepest; a
    walk that has come to a leaf stays there.
    """
    many = min(ABREAST, len(forest.roots) - first)
    for tree in range(many):
        nodes[tree] = forest.roots[first + tree]
    for _ in range(forest.levels):
        for tree in range(many):
            split = forest.nodes[nodes[tree]]
            left, right = split["left"], split["right"]
            nodes[tree] = left if row[split["feature"]] <= split["threshold"] else right
    for tree in range(many):
        total += forest.length[nodes[tree]]
    return total


@compiled
def isolate(forest: Any, rows: NDArray[float32], out: NDArray[float64]) -> None:
    """Fill `out` with how alone each row is, in (0, 1]: 2 to the minus of its mean path length in usual lengths."""
    nodes, shares = np.zeros(DEEPEST + 2, np.int64), np.zeros(DEEPEST + 2)
    trees = len(forest.roots)
    for row in range(len(rows)):
        total = 0.0
        if np.isnan(rows[row]).any():
            for tree in range(trees):
                total += expected_length(forest, forest.roots[tree], rows[row], nodes, shares)
        else:
            for first in range(0, trees, ABREAST):
                total = with_plain_lengths(forest, first, rows[row], nodes, total)
        out[row] = 2.0 ** (-total / (trees * forest.unit))


def loneliness(forest: Forest, rows: NDArray[float32]) -> NDArray[float64]:
    """Return how alone each row is, shape (n,), in (0, 1]; NaN in a row means that the channel is missing."""
    out = np.zeros(len(rows))
    isolate(forest, rows, out)
    return out


def score_samples(forest: Forest, rows: NDArray[float32]) -> NDArray[float64]:
    """Return what scikit-learn's `score_samples` returns of the forest that this one was made from, shape (n,)."""
    return -loneliness(forest, rows)


# ---- calibration ---------------------------------------------------------------------------------------------------


def calibrate(readings: NDArray[float64]) -> Knots:
    """Return how rare readings are, as those of rows that the model has not seen tell: shape (n,), n > 0, >= 0.

    Quantiles up to one in fifty; beyond, an exponential tail with the mean excess (peaks over threshold).
    """
    decades = np.arange(0.0, TAIL + KNOT_STEP / 2, KNOT_STEP)
    raw = np.quantile(readings, 1.0 - 10.0**-decades)
    raw = np.maximum.accumulate(raw) + np.arange(len(raw)) * 1e-9  # equal readings must not make equal knots
    over = readings[readings > raw[-1]] - raw[-1]
    # one more reading, as far out as the last knot is from the median, keeps an empty tail from being a cliff
    excess = (over.sum() + raw[-1] - raw[len(raw) // 6]) / (len(over) + 1.0)
    return Knots(raw, decades, float(math.log10(math.e) / max(excess, 1e-9)))


def rarity(knots: Knots, readings: NDArray[float64]) -> NDArray[float64]:
    """Return the rarity of readings in decades, >= 0; NaN stays NaN."""
    beyond = np.maximum(0.0, readings - knots.raw[-1]) * knots.slope
    found: NDArray[float64] = np.interp(readings, knots.raw, knots.decades) + beyond
    return found


# ---- one series on its own scale -----------------------------------------------------------------------------------


@compiled
def _scale(ring: NDArray[float64], count: int) -> tuple[float, float]:
    """Return median and standard deviation, both robust, of the values in a ring."""
    known = np.sort(ring[:count])
    centre = 0.5 * (known[(count - 1) // 2] + known[count // 2])
    off = np.abs(known - centre)
    mean = off.mean() * MEAN_TO_SD
    off.sort()
    scale = 0.5 * (off[(count - 1) // 2] + off[count // 2]) * MAD_TO_SD
    return centre, max(scale if scale > 0.0 else mean, SCALE_FLOOR * abs(centre), 1e-12)


@compiled
def _cut(value: float) -> float:
    return min(LARGEST, max(-LARGEST, value))


@compiled
def _in_scales(value: float, centre: float, scale: float) -> float:
    return min(FARTHEST, max(-FARTHEST, (value - centre) / scale))


@compiled
def _describe(
    ring: NDArray[float64], count: int, newest: float, centre: float, scale: float, window: NDArray[float32]
) -> None:
    total, squares = newest, newest * newest
    for back in range(1, WINDOW):
        one = _in_scales(ring[(count - back) % MEMORY], centre, scale)
        total += one
        squares += one * one
    mean = total / WINDOW
    window[0] = newest
    window[1] = newest - _in_scales(ring[(count - 1) % MEMORY], centre, scale)
    window[2] = mean
    window[3] = math.sqrt(max(0.0, squares / WINDOW - mean * mean))


@compiled
def take_windows(
    state: NDArray[Any],
    slots: NDArray[int64],
    at_ms: NDArray[int64],
    values: NDArray[float64],
    windows: NDArray[float32],
    out: NDArray[float64],
) -> None:
    """Fill `windows` (n, FEATURES) and `out` (n, 2): centre and scale; rows without opinion stay."""
    for row in range(len(slots)):
        s = state[slots[row]]
        if not math.isfinite(values[row]) or (s["rows"] > 0 and at_ms[row] <= s["at_ms"]):
            continue
        count, value = s["rows"], _cut(values[row])
        if count >= LEAST:
            centre, scale = _scale(s["ring"], min(count, MEMORY))
            _describe(s["ring"], count, _in_scales(value, centre, scale), centre, scale, windows[row])
            out[row, 0], out[row, 1] = centre, scale
        s["ring"][count % MEMORY] = value
        s["at_ms"] = at_ms[row]
        s["rows"] = count + 1


# ---- frames of series that are compared ----------------------------------------------------------------------------


@compiled
def _note(member: Any, value: float) -> None:
    member["ring"][member["rows"] % MEMORY] = value
    member["rows"] += 1
    member["has_value"] = 0


@compiled
def _close_channels(group: Any, members: NDArray[Any]) -> None:
    for place in range(WIDTH):
        group["frame"][place] = np.nan
        if group["members"][place] == 0:
            continue
        member = members[group["members"][place] - 1]
        if member["has_value"] == 0:
            continue
        if member["rows"] >= LEAST:
            centre, scale = _scale(member["ring"], min(member["rows"], MEMORY))
            member["centre"], member["scale"] = centre, scale
            group["frame"][place] = _in_scales(member["current"], centre, scale)
        _note(member, member["current"])


@compiled
def _middle(group: Any, members: NDArray[Any], work: NDArray[float64]) -> int:
    """Set the median of the members that have a value; return how many there are."""
    count = 0
    for place in range(WIDTH):
        if group["members"][place] > 0 and members[group["members"][place] - 1]["has_value"] > 0:
            work[count] = members[group["members"][place] - 1]["current"]
            count += 1
    if count > 0:
        known = np.sort(work[:count])
        group["middle"] = 0.5 * (known[(count - 1) // 2] + known[count // 2])
    return count


@compiled
def _close_peers(group: Any, members: NDArray[Any], work: NDArray[float64]) -> None:
    present = _middle(group, members, work)
    count = 0
    for place in range(WIDTH):
        group["frame"][place] = np.nan
        if group["members"][place] == 0:
            continue
        member = members[group["members"][place] - 1]
        if member["has_value"] == 0:
            continue
        offset = member["current"] - group["middle"]
        if present >= LEAST_PEERS and member["rows"] >= LEAST:
            centre, scale = _scale(member["ring"], min(member["rows"], MEMORY))
            member["centre"], member["scale"] = centre, max(scale, SCALE_FLOOR * abs(group["middle"]))
            work[count] = abs(offset - centre)
            count += 1
            group["frame"][place] = offset - centre
        _note(member, offset)
    if count > 0:
        known = np.sort(work[:count])
        spread = 0.5 * (known[(count - 1) // 2] + known[count // 2]) * MAD_TO_SD
        for place in range(WIDTH):
            if not math.isnan(group["frame"][place]):
                scale = max(spread, members[group["members"][place] - 1]["scale"])
                # a logarithm, because such distances have heavy tails
                group["frame"][place] = math.log1p(abs(group["frame"][place]) / scale)


@compiled
def _tell(group: Any, member: Any, bucket: int, row: int, out: NDArray[float64]) -> bool:
    place = member["place"]
    stale = group["closed"] == 0 or bucket - group["bucket"] > 0 or group["is_told"] == 0
    if stale or math.isnan(group["frame"][place]):
        return False
    out[row, 0], out[row, 1] = group["middle"] + member["centre"], member["scale"]
    return True


@compiled
def _begin_frame(
    group: Any,
    members: NDArray[Any],
    bucket: int,
    is_peers: bool,  # noqa: FBT001 - a kernel takes numbers
    work: NDArray[float64],
) -> None:
    """Close the frame that a group is in, if any, and open the one of a bucket."""
    if group["is_open"] > 0:
        if is_peers:
            _close_peers(group, members, work)
        else:
            _close_channels(group, members)
        group["closed"] = 1
        group["is_told"] = 1 if bucket - group["bucket"] <= STALE_FRAMES else 0
    group["is_open"], group["bucket"] = 1, bucket


@compiled
def take_frames(
    members: NDArray[Any],
    groups: NDArray[Any],
    step_ms: int,
    is_peers: bool,  # noqa: FBT001 - a kernel takes numbers
    slots: NDArray[int64],
    at_ms: NDArray[int64],
    values: NDArray[float64],
    frames: NDArray[float32],
    frame_of: NDArray[int64],
    out: NDArray[float64],
) -> int:
    """Take in rows; return how many frames they are judged by.

    Args:
        members: of dtype `MEMBER`, by slot; changed.
        groups: of dtype `GROUP`, by group; changed.
        step_ms: how long a frame is.
        is_peers: whether members are siblings, else channels.
        slots: shape (n,).
        at_ms: shape (n,).
        values: shape (n,).
        frames: shape (n, WIDTH); the first so many are filled.
        frame_of: shape (n,): the frame that judges the row; rows without one stay.
        out: shape (n, 2): what was expected, and the scale; rows without a frame stay.
    """
    count, work = 0, np.zeros(WIDTH)
    emitted = np.full(len(groups), -1, np.int64)
    for row in range(len(slots)):
        member = members[slots[row]]
        if member["group"] == 0 or not math.isfinite(values[row]):
            continue
        if member["is_known"] > 0 and at_ms[row] <= member["at_ms"]:
            continue
        number, bucket = member["group"] - 1, at_ms[row] // step_ms
        group = groups[number]
        if group["is_open"] == 0 or bucket > group["bucket"]:
            _begin_frame(group, members, bucket, is_peers, work)
            emitted[number] = -1
        member["is_known"], member["at_ms"] = 1, at_ms[row]
        if bucket == group["bucket"]:
            member["has_value"], member["current"] = 1, _cut(values[row])
        if _tell(group, member, bucket, row, out):
            if emitted[number] < 0:
                frames[count] = group["frame"]
                emitted[number] = count
                count += 1
            frame_of[row] = emitted[number]
    return count
