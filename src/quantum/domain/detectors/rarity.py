"""Rarity: how often distances of such a size were seen, in decades, and what several of them amount to.

A logarithmic histogram per sign, with a tail, turns a distance into a rarity. The strongest rarity and a little of the
others make a total, the histogram of which gives the depth of the row. What an anomaly teaches is held back: histograms
count a row 24 rows late, and an episode only once it has lasted 120 rows. So an outage is not usual at once, and a
lasting new level becomes usual eventually.

No claim goes beyond what the rows seen support. How steep an exponential tail is, is known only as well as the readings
in it tell. With that uncertainty integrated out it is a Lomax distribution: next to nothing is known of the far tail
after three readings, and after a hundred it is as good as exponential (Gelman et al., Bayesian Data Analysis, 2.6 and
2.7). So a beginner that has seen fifty rows says "once in some hundreds" at most, however far a value is off.

Holding back makes the tail look emptier than it is, and rows that break one record break others. So the score is the
depth as the series' own record of depths supports it: how many episodes were as deep, and beyond those how fast they
thin out, again as a Lomax tail (docs/adr/0023-no-claim-beyond-the-rows-seen.md). Episodes and not rows, because where
neighbours are alike, odd rows come in runs, and nobody is told of each
(docs/adr/0051-once-in-thirty-days-counts-episodes.md).

>>> state = np.zeros(1, rarity_state(signs=1))
>>> plan = Plan(np.ones(1), np.ones(1), np.ones(1), np.ones(1))
>>> out = np.zeros((3000, 2))
>>> signs = np.r_[np.tile(np.linspace(0.0, 1.0, 50), 60)[:-1], 9.0][:, None]
>>> judge_rows(state, np.zeros(3000, np.int64), np.full(3000, 2, np.uint8), signs, np.ones(3000), plan, out, False)
>>> bool(out[-1, 0] > 0.4), bool(out[1000:-1, 0].max() < 0.3)
(True, True)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from quantum.domain.detectors.signs import LEARNT, REPEAT, SEASON, WARM_UP_ROWS
from quantum.domain.kernels import compiled, fetch_next
from quantum.domain.scoring import DECADES

if TYPE_CHECKING:
    from numpy import bool_, float32, float64, int64, uint8
    from numpy.typing import NDArray

OTHERS: Final = 0.1
"""Share of the signs beside the strongest in the score's total. They are not independent: a row beyond the highest
value is also far from the season and the level, and with 0.4 that was taken for three proofs."""

BINS: Final = 64
TOTAL, EDGE, ABOVE, EXCESS = 0, 1, 2, 3
"""What is known of a histogram without looking at its bins: their sum, the bin where its tail begins, how much is in
the bins above that, and what the middles of these bins sum up to."""
KNOWN: Final = 4
PER_OCTAVE: Final = 4.0
LOWEST_OCTAVE: Final = -8.0
TAIL_SHARE: Final = 0.02
"""Share of the readings that the tail stands for: the classical compromise of peaks over threshold."""
TAIL_MORE: Final = 2.0
"""Readings by which a tail is taken to be better known than by those that are in it: a Lomax tail of exponent three at
the least. With fewer, fifty rows do not tell an outage from a blip."""
PRIOR_ROWS: Final = 8.0
"""A fresh histogram is exponential and has the weight of so many rows."""
LEAST_MEMORY: Final = 256.0
MOST_MEMORY: Final = 8000.0
"""Histograms are halved at half the rows so far, within these bounds: a clumsy youth is forgotten, and so are events
of four weeks ago at five minutes."""
DEEPEST: Final = 12.0
A_DECADE: Final = math.log10(math.e)
LEARNT_LATE_ROWS: Final = 24
"""Histograms count a row so many rows later: a level that rises over some rows must not teach them that it is usual."""
LEARNT_AT_ONCE_ROWS: Final = 80
"""Before so many rows histograms count at once, then ever later: a beginner has nothing else to go by."""

LOUD: Final = 3.5
"""Rarity in decades from which on a row is not simply learnt."""
LEARNT_AS: Final = 4.0
"""A rarer reading is learnt as if it were one in ten to this power."""
FIRST_WEIGHT: Final = 0.3
ADOPT_ROWS: Final = 120
"""Loud rows after which an episode is learnt as usual."""

DEPTHS: Final = np.array([3.2, 4.0, 5.0, 6.0, 7.0, 12.0])
WORTH: Final = np.array([3.2, 3.63, 4.47, 5.65, 7.17, 8.92])
"""What a depth is worth in decades, by straight lines between these; up to the first as it is. On stationary noise of
ten kinds rows of depth 4 and 5 are more frequent than depths say: records break several signs at once, and what is held
back is missing from every histogram. Rows of depth 7 are as rare as they say, except where tails are heavy."""
for _points in (DEPTHS, WORTH):
    _points.setflags(write=False)
YOUNG_ROWS, GROWN_ROWS = 100.0, 350.0
"""Up to so many rows depths count in full, and from so many on by what they are worth: of what a beginner has seen
little is held back, so its tails are not empty. Of 2,000 stationary starts one in a thousand had a score of 0.35 within
300 rows, where one in ten was due."""
FIRST_DECADE: Final = 2.0
"""Depths below are told as they are."""
STEPS: Final = 28
STEPS_A_DECADE: Final = 4.0
"""The record of depths has steps of a quarter of a decade from there on."""
APART_ROWS: Final = 30
"""Rows of a step that are no farther apart than this are one episode, and count once."""
SLIGHT: Final = 3.0
"""Before `GROWN_ROWS` each row below this depth counts: a beginner that is a little odd for long may always be so."""
ENOUGH: Final = 5.0
"""The tail of the record begins at the highest step that so many episodes reached. With more of them, more has to be
guessed of how the tail goes on: on heavy tails too little, on light ones too much."""
CHOSEN: Final = 2.0
"""Of these episodes so many say nothing of how fast they thin out beyond: the step was chosen because they reached it.
Without that, of exponential tails of any scale what is due once comes one and a half to three times."""
MIDDLE: Final = 0.45
"""Where in a step, as a share of its width, an episode is taken to be that did not reach the next."""
DOUBT_ROWS: Final = 300.0
"""Weight of the prior in how many episodes reach a step: as if so many rows more had come as they should."""
DOUBT, LEAST_DOUBT, DOUBTED_ROWS = 20.0, 1.0, 8000.0
"""Weight of the prior in how fast they thin out beyond: so many that thinned out as they should. It falls to the least
within so many rows: a series that has been watched for long is believed that its tail is not the usual one."""
OLD_ROWS, OLDEST_ROWS, RARER = 20_000.0, 200_000.0, 0.35
"""What breaks records comes ever more seldom, so a record of an old series tells of more than there will be. From so
many rows on to so many it is taken to be rarer than the record says, by up to so many decades, ..."""
RARER_FROM, RARER_TO = 3.0, 5.0
"""... from this many decades on, and in full at this many."""
FADES_TO: Final = 2.0**-0.25
"""What remains of the record each time a series has twice the rows: what came later says more of what is now."""
RECORD_ROWS: Final = 400_000.0
"""After so many rows the record is halved."""

EDGES: Final = np.concatenate([[0.0], 2.0 ** (LOWEST_OCTAVE + np.arange(1, BINS + 1) / PER_OCTAVE)])
"""Edges of the bins, shape (BINS + 1,)."""
EDGES.setflags(write=False)


class Plan(NamedTuple):
    """How signs are weighed in the score, and their means at first, all of shape (signs,).

    A sign that holds back (1, else 0) makes a row loud if it is, and so does a rare total: loud rows are not simply
    learnt. Where the state has two totals, that total has weights of its own (`learning`), and else those of the score.
    """

    score: NDArray[float64]
    prior: NDArray[float64]
    holds: NDArray[float64]
    learning: NDArray[float64]


def rarity_state(signs: int, totals: int = 1) -> np.dtype[Any]:
    """Return the state of one series with so many signs, and one total or two."""
    return np.dtype(
        [
            ("rows", np.int64),
            ("loud", np.int64),
            ("known", np.float64, (signs + totals, KNOWN)),
            ("counts", np.float32, (signs + totals, BINS)),
            ("late", np.float32, (LEARNT_LATE_ROWS, signs + totals + 1)),
            ("judged", np.float64),
            ("reached", np.float32, (STEPS,)),
            ("newest", np.int32, (STEPS,)),
        ]
    )


# ---- a histogram with logarithmic bins and a tail ------------------------------------------------------------------


@compiled
def _start_histogram(s: Any, which: int, scale: float) -> None:
    counts, known = s["counts"][which], s["known"][which]
    known[TOTAL], known[EDGE], known[ABOVE], known[EXCESS] = 0.0, BINS - 1, 0.0, 0.0
    for index in range(BINS):
        above = math.exp(-EDGES[index + 1] / scale) if index + 1 < BINS else 0.0
        counts[index] = PRIOR_ROWS * (math.exp(-EDGES[index] / scale) - above)
        known[TOTAL] += np.float64(counts[index])
    _move_edge(counts, known)


@compiled
def _move_edge(counts: NDArray[float32], known: NDArray[float64]) -> None:
    """Let the tail begin at the highest bin that, with all above, holds `TAIL_SHARE` of the readings."""
    share, index = TAIL_SHARE * known[TOTAL], int(known[EDGE])
    while index > 0 and known[ABOVE] + counts[index] < share:
        known[ABOVE] += np.float64(counts[index])
        known[EXCESS] += counts[index] * 0.5 * (EDGES[index] + EDGES[index + 1])
        index -= 1
    while index < BINS - 1 and known[ABOVE] >= share:
        index += 1
        known[ABOVE] -= np.float64(counts[index])
        known[EXCESS] -= counts[index] * 0.5 * (EDGES[index] + EDGES[index + 1])
    if index == BINS - 1:  # nothing is above; what rounding left must not add up
        known[ABOVE] = known[EXCESS] = 0.0
    known[EDGE] = index


@compiled
def _bin_of(reading: float) -> int:
    if reading <= EDGES[1]:
        return 0
    return min(BINS - 1, int((math.log2(reading) - LOWEST_OCTAVE) * PER_OCTAVE))


@compiled
def _rarity(s: Any, which: int, reading: float) -> tuple[float, float]:
    """Return the rarity of a reading in decades twice: by an exponential tail, and as far as the tail is known."""
    if reading <= 0.0:
        return 0.0, 0.0
    known = s["known"][which]
    total, above, index = known[TOTAL], known[ABOVE], int(known[EDGE])
    edge = EDGES[index + 1]
    if reading <= edge:
        bulk = _bulk_rarity(s["counts"][which], total, reading, index, above)
        return bulk, bulk
    # one more reading, as wide as the last bin, keeps a tail that nothing has entered yet from being a cliff
    many = above + 1.0
    excess = (reading - edge) * many / (known[EXCESS] - above * edge + edge - EDGES[index])
    share, exponent = -math.log10(min(1.0, many / (total + 1.0))), many + TAIL_MORE
    supported = exponent * math.log10(1.0 + excess / exponent)
    return min(DEEPEST, share + excess * A_DECADE), min(DEEPEST, share + supported)


@compiled
def _bulk_rarity(counts: NDArray[float32], total: float, reading: float, index: int, above: float) -> float:
    target = _bin_of(reading)
    while index > target:
        above += np.float64(counts[index])
        index -= 1
    inside = min(1.0, max(0.0, (EDGES[index + 1] - reading) / (EDGES[index + 1] - EDGES[index])))
    return -math.log10(min(1.0, (above + inside * counts[index] + 1.0) / (total + 1.0)))


@compiled
def _as_learnt(reading: float, rarity: float) -> float:
    return reading * LEARNT_AS / rarity if rarity > LEARNT_AS else reading


@compiled
def _count(s: Any, which: int, reading: float, weight: float, memory: float) -> None:
    counts, known, index = s["counts"][which], s["known"][which], _bin_of(reading)
    before = np.float64(counts[index])
    counts[index] = before + weight
    added = np.float64(counts[index]) - before
    known[TOTAL] += added
    if index > known[EDGE]:
        known[ABOVE] += added
        known[EXCESS] += added * 0.5 * (EDGES[index] + EDGES[index + 1])
    if known[TOTAL] >= memory:
        for one in range(BINS):
            counts[one] *= np.float32(0.5)
        for one in (TOTAL, ABOVE, EXCESS):
            known[one] *= 0.5
    _move_edge(counts, known)


# ---- the record of depths ------------------------------------------------------------------------------------------


@compiled
def _worth(depth: float, rows: int) -> float:
    """Return what a depth is worth in decades, for a series of so many rows."""
    if depth <= DEPTHS[0]:
        return depth
    upper = 1
    while upper < len(DEPTHS) - 1 and depth > DEPTHS[upper]:
        upper += 1
    width, height = DEPTHS[upper] - DEPTHS[upper - 1], WORTH[upper] - WORTH[upper - 1]
    worth: float = WORTH[upper - 1] + (depth - DEPTHS[upper - 1]) * height / width
    young = min(1.0, max(0.0, (GROWN_ROWS - rows) / (GROWN_ROWS - YOUNG_ROWS)))
    return worth + young * (depth - worth)


@compiled
def _told(s: Any, depth: float) -> float:
    """Return the decades that a depth may claim by the record, at least `FIRST_DECADE` if it is beyond."""
    if depth <= FIRST_DECADE:
        return depth
    above = (depth - FIRST_DECADE) * STEPS_A_DECADE
    step = 0
    while step + 1 < STEPS and _reached(s, step + 1) >= ENOUGH:
        step += 1
    if above < step:
        step = int(above)
        here = _rarity_of_step(s, step)
        told = here + (_rarity_of_step(s, step + 1) - here) * (above - step)
    else:
        told = _rarity_of_step(s, step) + _thins_out(s, step, (above - step) / STEPS_A_DECADE)
    return max(FIRST_DECADE, told + _rarer_by(s["rows"], told))


@compiled
def _reached(s: Any, step: int) -> float:
    """Return how many episodes reached a step before the one that goes on, which is no proof that its like is usual.

    For a beginner it is one: what he takes for an episode may be how the series always is.
    """
    reached: float = np.float64(s["reached"][step])
    if s["rows"] >= GROWN_ROWS and s["newest"][step] > 0 and s["rows"] - s["newest"][step] <= APART_ROWS:
        reached = max(0.0, reached - 1.0)
    return reached


@compiled
def _rarity_of_step(s: Any, step: int) -> float:
    reached = _reached(s, step) + DOUBT_ROWS * 10.0 ** (-FIRST_DECADE - step / STEPS_A_DECADE)
    return -math.log10(reached / (s["judged"] + DOUBT_ROWS))


@compiled
def _thins_out(s: Any, step: int, over: float) -> float:
    """Return in decades one of how many episodes that reach a step goes so many decades beyond, by a Lomax tail."""
    doubt: float = max(LEAST_DOUBT, DOUBT - (DOUBT - LEAST_DOUBT) * (s["rows"] - WARM_UP_ROWS) / DOUBTED_ROWS)
    beyond, before = 0.0, _reached(s, step)
    many = max(1.0, before + doubt - (CHOSEN if step > 0 else 0.0))
    for index in range(step, STEPS):
        further = _reached(s, index + 1) if index + 1 < STEPS else 0.0
        beyond += max(0.0, before - further) * (index - step + MIDDLE)
        before = further
    return many * math.log10(1.0 + over / (beyond / STEPS_A_DECADE + doubt * A_DECADE))


@compiled
def _rarer_by(rows: int, told: float) -> float:
    old = min(1.0, max(0.0, math.log(rows / OLD_ROWS) / math.log(OLDEST_ROWS / OLD_ROWS)))
    far = min(1.0, max(0.0, (told - RARER_FROM) / (RARER_TO - RARER_FROM)))
    return RARER * old * far


@compiled
def _record(s: Any, depth: float) -> None:
    """Note how deep a row was, in each step that no row of this episode reached: an incident counts once."""
    s["judged"] += 1.0
    if depth >= FIRST_DECADE:
        apart = 0 if s["rows"] < GROWN_ROWS and depth < SLIGHT else APART_ROWS
        _note(s, min(STEPS - 1, int((depth - FIRST_DECADE) * STEPS_A_DECADE)), apart)
    if s["rows"] & (s["rows"] - 1) == 0:
        _fade(s, FADES_TO)
    if s["judged"] >= RECORD_ROWS:
        _fade(s, 0.5)


@compiled
def _note(s: Any, highest: int, apart: int) -> None:
    reached, newest = s["reached"], s["newest"]
    for step in range(highest + 1):
        if newest[step] == 0 or s["rows"] - newest[step] > apart:
            more = reached[step] + np.float32(1.0)
            # a long episode of a lower step may have several of a higher one in it; a deeper row is rarer nevertheless
            reached[step] = more if step == 0 else min(more, reached[step - 1])
        newest[step] = s["rows"]


@compiled
def _fade(s: Any, remains: float) -> None:
    s["judged"] *= remains
    for step in range(STEPS):
        s["reached"][step] *= np.float32(remains)


# ---- one row -------------------------------------------------------------------------------------------------------


@compiled
def _start(s: Any, prior: NDArray[float64]) -> None:
    s["rows"] = WARM_UP_ROWS
    for sign in range(len(prior)):
        _start_histogram(s, sign, prior[sign])
    for total in range(len(prior), len(s["known"])):
        _start_histogram(s, total, 1.0)


@compiled
def _weigh(s: Any, depth: float, loudest: float) -> float:
    if depth < LOUD and loudest < LOUD:
        s["loud"] = max(0, s["loud"] - 1)
    else:
        s["loud"] += 1
    if s["loud"] == 0 or s["loud"] > ADOPT_ROWS:
        return 1.0
    return FIRST_WEIGHT if s["loud"] == 1 else 0.0


@compiled
def _learn(s: Any, late: NDArray[float32]) -> None:
    last = len(late) - 1
    if late[last] > 0.0:
        memory = min(MOST_MEMORY, max(LEAST_MEMORY, 0.5 * s["rows"]))
        for which in range(last):
            _count(s, which, late[which], late[last], memory)


@compiled
def _together(supported: NDArray[float64], weights: NDArray[float64], seasoned: float) -> float:
    """Return the total of rarities: the strongest of all, and a little of the others; the season's counts in part."""
    strongest, together = 0.0, 0.0
    for sign in range(len(weights)):
        counted = supported[sign] * weights[sign]
        if sign == SEASON:
            counted *= seasoned
        strongest = max(strongest, counted)
        together += counted
    return strongest + OTHERS * (together - strongest)


@compiled
def _is_in_bulk(s: Any, which: int, reading: float) -> bool:
    found: bool = reading <= EDGES[int(s["known"][which, EDGE]) + 1]
    return found


@compiled
def _judge(
    s: Any,
    signs: NDArray[float64],
    seasoned: float,
    plan: Plan,
    asked: NDArray[bool_],
    work: NDArray[float64],
    out: NDArray[float64],
) -> None:
    rarities, supported, count, last = work[0], work[1], len(plan.score), len(s["known"]) - 1
    loudest = 0.0
    for sign in range(count):
        # in the bulk nothing is as rare as `LEARNT_AS`, so a sign that is only learnt there is learnt as it is
        if not asked[sign] and _is_in_bulk(s, sign, signs[sign]):
            rarities[sign] = supported[sign] = 0.0
            continue
        rarities[sign], supported[sign] = _rarity(s, sign, signs[sign])
        loudest = max(loudest, rarities[sign] * plan.holds[sign])
    total = _together(supported, plan.score, seasoned)
    rarity, depth = _rarity(s, count, total)
    worth = _worth(depth, s["rows"])
    told = min(_told(s, worth), 2.0 * math.log10(s["rows"] - 1))
    out[0], out[1] = min(1.0, told / DECADES), s["rows"]
    _record(s, worth)
    late = s["late"][s["rows"] % LEARNT_LATE_ROWS]
    if s["rows"] > LEARNT_AT_ONCE_ROWS + LEARNT_LATE_ROWS:
        _learn(s, late)
    for sign in range(count):
        late[sign] = _as_learnt(signs[sign], rarities[sign])
    late[count] = _as_learnt(total, rarity)
    if last > count:
        total = _together(supported, plan.learning, 1.0)
        rarity = _rarity(s, last, total)[0]
        late[last] = _as_learnt(total, rarity)
    late[last + 1] = _weigh(s, rarity, loudest)
    if s["rows"] <= LEARNT_AT_ONCE_ROWS:
        _learn(s, late)


@compiled
def judge_rows(
    state: NDArray[Any],
    slots: NDArray[int64],
    taken: NDArray[uint8],
    signs: NDArray[float64],
    seasoned: NDArray[float64],
    plan: Plan,
    out: NDArray[float64],
    tells: bool,  # noqa: FBT001 - numba
) -> None:
    """Judge measured rows in order and learn from them; of those of the warm-up, learn the repeats.

    Args:
        state: of dtype `rarity_state(...)`, one record per slot; changed.
        slots: shape (n,).
        taken: shape (n,); rows with 0 are passed over.
        signs: shape (n, signs); where they are told it holds the rarities of measured rows afterwards, in decades.
        seasoned: shape (n,), in [0, 1]: in which part the season counts in the score.
        plan: how the signs are weighed.
        out: shape (n, 2): score in [0, 1] and rows so far, of measured rows; others keep what was there.
        tells: whether the rarities of all signs are wanted. What is learnt does not depend on it; without, those that
            count for no score are not worked out.
    """
    work = np.zeros((2, len(plan.score)))
    asked = (plan.score != 0.0) | (plan.holds != 0.0) | (plan.learning != 0.0) | tells
    for row in range(len(slots)):
        fetch_next(state, slots, row)
        if taken[row] == 0:
            continue
        s = state[slots[row]]
        if s["rows"] == 0:
            _start(s, plan.prior)
        if taken[row] == LEARNT:
            # how often values come again is known before anything else is, and a constant is no event
            if len(plan.prior) > REPEAT:
                _count(s, REPEAT, signs[row, REPEAT], 1.0, LEAST_MEMORY)
        else:
            s["rows"] += 1
            _judge(s, signs[row], seasoned[row], plan, asked, work, out[row])
            if tells:
                signs[row] = work[0]
