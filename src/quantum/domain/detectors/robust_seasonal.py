"""The default detector."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.domain.detectors.bank import Bank
from quantum.domain.detectors.tails import BINS, learn_reading, rarity, start_tail
from quantum.domain.kernels import compiled
from quantum.domain.scoring import Scores

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import NDArray

DAY_MS: Final = 86_400_000
BINS_A_DAY: Final = 72
BIN_MS: Final = DAY_MS // BINS_A_DAY
DAYS: Final = 14
SPREAD: Final = 6
RING: Final = BINS_A_DAY * DAYS + SPREAD + 2
WARM_UP_ROWS: Final = 40
HOLD_ROWS: Final = 40
LEVEL, SEASON, MEAN, SPREAD_, RESIDUAL = range(5)
CALIBRATED: Final = 6
CAP: Final = 6.0

STATE: Final = np.dtype(
    [
        ("rows", np.int64),
        ("at_ms", np.int64),
        ("first_bin", np.int64),
        ("bin", np.int64),
        ("level", np.float64),
        ("scale", np.float64),
        ("run", np.int64),
        ("side", np.int64),
        ("mean", np.float64),
        ("var", np.float64),
        ("held", np.int64),
        ("low", np.float64, (3, 3)),
        ("high", np.float64, (3, 3)),
        ("tails", np.float32, (CALIBRATED, BINS)),
        ("total", np.float32, (BINS,)),
        ("loud", np.float64),
        ("last", np.float64),
        ("same", np.float64),
        ("ring_low", np.float32, (RING,)),
        ("ring_high", np.float32, (RING,)),
    ]
)


@compiled
def _start(s: Any, at_ms: int, value: float, params: Any) -> None:
    s["first_bin"] = at_ms // BIN_MS
    s["bin"] = s["first_bin"] - 1
    s["level"] = value
    s["scale"] = 0.0
    s["mean"] = value
    for i in range(CALIBRATED):
        start_tail(s["tails"][i], params[18] if i != RESIDUAL else 1.0)
    start_tail(s["total"], 1.0)
    for i in range(3):
        for j in range(3):
            s["low"][i, j] = np.inf
            s["high"][i, j] = -np.inf


@compiled
def _beyond(s: Any, i: int, x: float, floor: float) -> float:
    low, high = s["low"][i, 0], s["high"][i, 0]
    span = max(high - low, floor)
    if x > high:
        return (x - high) / span
    if x < low:
        return (low - x) / span
    return 0.0


@compiled
def _season_distance(s: Any, g: int, x: float) -> float:
    best = np.inf
    low, high = s["ring_low"], s["ring_high"]
    for day in range(1, DAYS + 1):
        centre = g - day * BINS_A_DAY
        if centre + SPREAD < s["first_bin"]:
            break
        for b in range(max(centre - SPREAD, s["first_bin"]), centre + SPREAD + 1):
            k = b % RING
            d = max(low[k] - x, x - high[k])
            if d < best:
                best = d
        if best <= 0.0:
            return 0.0
    return best


@compiled
def _advance_ring(s: Any, g: int) -> None:
    start = max(s["bin"] + 1, g - RING + 1)
    for b in range(start, g + 1):
        s["ring_low"][b % RING] = np.inf
        s["ring_high"][b % RING] = -np.inf
    s["bin"] = g


@compiled
def _note(s: Any, i: int, x: float) -> None:
    s["low"][i, 2] = min(s["low"][i, 2], x)
    s["high"][i, 2] = max(s["high"][i, 2], x)


@compiled
def _roll_records(s: Any, params: Any) -> None:
    s["held"] = 0
    for i in range(3):
        s["low"][i, 0] = min(s["low"][i, 0], s["low"][i, 1])
        s["high"][i, 0] = max(s["high"][i, 0], s["high"][i, 1])
        fade = 0.5 * (s["high"][i, 0] - s["low"][i, 0]) * params[25]
        if fade > 0.0:
            s["low"][i, 0] += fade
            s["high"][i, 0] -= fade
        s["low"][i, 1] = s["low"][i, 2]
        s["high"][i, 1] = s["high"][i, 2]
        s["low"][i, 2] = np.inf
        s["high"][i, 2] = -np.inf


@compiled
def _score_row(s: Any, at_ms: int, x: float, out: NDArray[np.float64], params: NDArray[np.float64]) -> None:
    """Score and learn one row; out = score, expected, lower, upper."""
    g = at_ms // BIN_MS
    if s["rows"] == 0:
        _start(s, at_ms, x, params)
    s["at_ms"] = at_ms
    s["rows"] += 1
    _advance_ring(s, g)
    warm = s["rows"] > WARM_UP_ROWS
    floor = 1e-9 * (1.0 + abs(x))
    r = x - s["level"]
    span = max(s["high"][0, 0] - s["low"][0, 0], floor) if warm else 1.0
    z = abs(r) / max(s["scale"], 1e-3 * span if warm else floor, floor)
    c = x
    if warm:
        reach = params[21] * max(s["scale"], 1e-3 * span)
        c = min(max(x, s["level"] - reach), s["level"] + reach)
    mean = s["mean"] + (c - s["mean"]) * params[5]
    var = s["var"] + ((c - s["mean"]) ** 2 - s["var"]) * params[6]
    logsd = 0.5 * math.log(var + floor * floor)
    s["same"] = s["same"] + 1 if x == s["last"] else 0.0
    s["last"] = x
    total = 0.0
    if warm:
        d0 = _beyond(s, 0, x, floor)
        d1 = _season_distance(s, g, x)
        d1 = 0.0 if d1 == np.inf else max(0.0, d1) / span
        d2 = _beyond(s, 1, mean, floor)
        d3 = _beyond(s, 2, logsd, 0.1)
        p0 = rarity(s["tails"][0], d0, params[31])
        p1 = rarity(s["tails"][1], d1, params[31])
        p2 = rarity(s["tails"][2], d2, params[31])
        p3 = rarity(s["tails"][3], d3, params[31])
        p4 = rarity(s["tails"][4], z, params[31])
        d5 = s["same"] * 0.25
        p5 = rarity(s["tails"][5], d5, params[31])
        a0 = p0 * params[0]
        a1 = p1 * params[1]
        a2 = p2 * params[2]
        a3 = p3 * params[3]
        a4 = p4 * params[4]
        a5 = p5 * params[22]
        top1 = max(a0, a1, a2, a3, a4, a5)
        total = top1 + params[20] * (a0 + a1 + a2 + a3 + a4 + a5 - top1)
        depth = rarity(s["total"], total, params[30])
        out[0] = min(1.0, depth / 10.0)
        out[1] = s["level"]
        out[2] = s["level"] - 5 * s["scale"]
        out[3] = s["level"] + 5 * s["scale"]
        out[4] = (min(p0, CAP) * params[9] + min(p1, CAP) * params[10] + min(p2, CAP) * params[11]
                 + min(p3, CAP) * params[12] + min(p4, CAP) * params[13] + min(p5, CAP) * params[23])
        if depth >= 3.5 or (p4 if params[27] == 0 else top1) >= params[19]:
            s["loud"] += 1
        else:
            s["loud"] = max(0, s["loud"] - params[17])
        weight = 1.0
        if s["loud"] == 1:
            weight = params[28]
        elif 1 < s["loud"] <= params[16]:
            weight = params[14]
        limit = min(params[29], max(256.0, params[26] * s["rows"]))
        top = params[15]
        learn_reading(s["tails"][0], d0 * min(1.0, top / max(p0, 1e-9)), weight, limit)
        learn_reading(s["tails"][1], d1 * min(1.0, top / max(p1, 1e-9)), weight, limit)
        learn_reading(s["tails"][2], d2 * min(1.0, top / max(p2, 1e-9)), weight, limit)
        learn_reading(s["tails"][3], d3 * min(1.0, top / max(p3, 1e-9)), weight, limit)
        learn_reading(s["tails"][4], z * min(1.0, top / max(p4, 1e-9)), weight, limit)
        learn_reading(s["tails"][5], d5 * min(1.0, top / max(p5, 1e-9)), weight, limit)
        learn_reading(s["total"], total * min(1.0, top / max(depth, 1e-9)), weight, limit)
    # learn
    rate = max(params[7], 1.0 / s["rows"])
    outside = z > 4.0 and warm
    s["run"] = s["run"] + 1 if outside else 0
    if not warm:
        s["level"] += r * rate
        s["scale"] += (abs(r) - s["scale"]) * max(rate * 0.5, 1.0 / s["rows"])
    else:
        move = min(z, 3.0) * s["scale"]
        move = min(move, abs(r))
        if s["scale"] <= 0.0:
            move = abs(r) * 0.1
        if outside and s["run"] < 60:
            rate *= 0.3
        elif outside:
            move = abs(r)
        s["level"] += math.copysign(move, r) * rate
        s["scale"] += (min(abs(r), 3.0 * max(s["scale"], 1e-3 * span)) - s["scale"]) * (params[8] * params[24] if outside and s["run"] < 60 else params[8])
    s["mean"] = mean
    s["var"] = var
    _note(s, 0, x)
    if s["rows"] > 20:
        _note(s, 1, mean)
        _note(s, 2, logsd)
    s["held"] += 1
    if s["rows"] <= WARM_UP_ROWS or s["held"] >= HOLD_ROWS:
        _roll_records(s, params)
    if s["rows"] == WARM_UP_ROWS:
        _roll_records(s, params)
    k = g % RING
    s["ring_low"][k] = min(s["ring_low"][k], np.float32(x))
    s["ring_high"][k] = max(s["ring_high"][k], np.float32(x))


@compiled
def score_rows(state: Any, slots: Any, at_ms: Any, values: Any, out: Any, params: Any) -> None:
    for row in range(len(slots)):
        s = state[slots[row]]
        if not math.isfinite(values[row]) or (s["rows"] > 0 and at_ms[row] <= s["at_ms"]):
            continue
        _score_row(s, at_ms[row], values[row], out[row], params)


PARAMS = np.array([1, 1, 0.6, 0.6, 1, 0.1, 0.033, 0.05, 0.02, 1, 1, 1, 1, 0.3, 0.0, 4.0, 120, 1, 0.1, 3.5, 0.4, 6, 1, 0, 0.25, 0, 0.5, 1, 0.3, 8000, 0.1, 0.0])


class RobustSeasonal:
    """The default detector: see the module."""

    name: Final = "robust-seasonal"
    version: Final = 1

    def __init__(self) -> None:
        self._bank = Bank(STATE)

    @property
    def series_count(self) -> int:
        """How many slots have state."""
        return self._bank.count

    def score_and_learn(
        self, slots: NDArray[np.int64], at_ms: NDArray[np.int64], values: NDArray[np.float64]
    ) -> Scores:
        """Score the rows, then learn from them; see `Detector`."""
        return self.score_with_evidence(slots, at_ms, values)[0]

    def score_with_evidence(
        self, slots: NDArray[np.int64], at_ms: NDArray[np.int64], values: NDArray[np.float64]
    ) -> tuple[Scores, NDArray[np.float64]]:
        """Score and learn as `score_and_learn`; also return the evidence in decades, shape (n,), for `Onsets`."""
        self._bank.grow(int(slots.max()) + 1 if len(slots) else 0)
        out = np.full((5, len(slots)), np.nan)
        out[0] = out[4] = 0.0
        score_rows(self._bank.records, slots, at_ms, values, out.T, PARAMS)
        return Scores(out[0], out[1], out[2], out[3]), out[4]

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """Return the whole state as named arrays (copies)."""
        return self._bank.dump()

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Replace the state by a dumped one; see `Detector`."""
        self._bank.restore(state)
