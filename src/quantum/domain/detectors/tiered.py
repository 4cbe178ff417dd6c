"""The detector of an installation: a full and a cheap detector side by side, and series that get neither.

Slots of the whole are numbered anew within each tier, in order, so that each detector's state has no holes. A row goes
to the detector of its series' tier; detectors never see each other's rows, so the order between them does not matter.

>>> from quantum.domain.detectors.robust_seasonal import RobustSeasonal
>>> bank = Tiered(RobustSeasonal(), RobustSeasonal())
>>> bank.assign(np.array([FULL, NONE, CHEAP], np.uint8))
>>> bank.score_and_learn(np.array([0, 1, 2]), np.full(3, 1000), np.ones(3)).score.tolist()
[0.0, 0.0, 0.0]
>>> bank.full.series_count, bank.cheap.series_count
(1, 1)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.domain.coverage import CHEAP, FULL, NONE, TIERS, Tier
from quantum.domain.scoring import Scores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from quantum.domain.detectors import Detector

CHEAP_VERSIONS: Final = 1000
"""More versions than the cheap detector will have: two versions as one number."""
COLUMNS: Final = ("score", "expected", "lower", "upper")
PORTION_ROWS: Final = 250
"""Between so many rows (half a millisecond) others may be let in; each portion costs as much as nine rows more."""


def part_of(detector: str, tier: Tier) -> str:
    """Return which of both detectors watches a tier, of `name/version` of the whole; what is not of two, as it is.

    >>> part_of("robust-ensemble+robust-seasonal/8010", Tier.CHEAP)
    'robust-seasonal/10'
    """
    names, _, version = detector.rpartition("/")
    full, _, cheap = names.rpartition("+")
    if not full:
        return detector
    both = int(version)
    return f"{cheap}/{both % CHEAP_VERSIONS}" if tier is Tier.CHEAP else f"{full}/{both // CHEAP_VERSIONS}"


class Tiered:
    """Two detectors as one; slots that were not assigned get the full one.

    Attributes:
        full: detector of the tier `full`.
        cheap: detector of the tier `cheap`.
    """

    def __init__(self, full: Detector, cheap: Detector, let_others: Callable[[], object] | None = None) -> None:
        """Take both, and what to call between portions of many rows to let others have the processor.

        What is found does not depend on it.
        """
        self.full, self.cheap = full, cheap
        self._let_others = let_others
        self._count = 0
        self._tiers = np.zeros(0, np.uint8)
        self._inner = np.zeros(0, np.int64)
        self._members = [0] * len(TIERS)

    @property
    def name(self) -> str:
        """Both names."""
        return f"{self.full.name}+{self.cheap.name}"

    @property
    def version(self) -> int:
        """Both versions as one number."""
        return self.full.version * CHEAP_VERSIONS + self.cheap.version

    @property
    def series_count(self) -> int:
        """How many slots are known, those that are not scored included."""
        return self._count

    def meet(self, slot: int, tier: int) -> None:
        """Give a new slot its tier; slots that were passed over get the full detector."""
        if slot > self._count:
            self._number(np.full(slot - self._count, FULL, np.uint8))
        self._make_room(slot + 1)
        self._tiers[slot], self._inner[slot] = tier, self._members[tier]
        self._members[tier] += 1
        self._count = slot + 1

    def assign(self, tiers: NDArray[np.uint8]) -> None:
        """Say which tier each slot has, shape (slots,), at least all that are known.

        Slots that keep their tier keep what was learnt; those that change begin anew.
        """
        known = self._count
        if not np.array_equal(self._tiers[:known], tiers[:known]):
            for tier, detector in ((FULL, self.full), (CHEAP, self.cheap)):
                self._move(detector, tier, tiers[:known])
            self._forget()
            self._number(tiers[:known])
        self._number(tiers[known:])

    def _move(self, detector: Detector, tier: int, after: NDArray[np.uint8]) -> None:
        """Give a detector the members that its tier has now: who stays moves, who comes is fresh, who goes is lost."""
        members = np.flatnonzero(after == tier)
        before = np.where(self._tiers[members] == tier, self._inner[members], -1)
        stays = (before >= 0) & (before < detector.series_count)
        state = {}
        for name, array in detector.dump().items():
            state[name] = np.zeros((len(members), *array.shape[1:]), array.dtype)
            state[name][stays] = array[before[stays]]
        detector.restore(state)

    def _forget(self) -> None:
        self._count, self._members = 0, [0] * len(TIERS)

    def _number(self, tiers: NDArray[np.uint8]) -> None:
        """Number further slots within their tiers."""
        first, count = self._count, self._count + len(tiers)
        self._make_room(count)
        self._tiers[first:count] = tiers
        for tier in range(len(TIERS)):
            mine = np.flatnonzero(tiers == tier)
            self._inner[first + mine] = self._members[tier] + np.arange(len(mine))
            self._members[tier] += len(mine)
        self._count = count

    def _make_room(self, count: int) -> None:
        if count > len(self._tiers):
            room = max(count, 2 * len(self._tiers)) - len(self._tiers)
            self._tiers = np.concatenate([self._tiers, np.zeros(room, np.uint8)])
            self._inner = np.concatenate([self._inner, np.zeros(room, np.int64)])

    def score_and_learn(
        self, slots: NDArray[np.int64], at_ms: NDArray[np.int64], values: NDArray[np.float64]
    ) -> Scores:
        """Score the rows, then learn from them; see `Detector`. Rows of the tier `none` score 0 and have no band."""
        if self._let_others is None or len(slots) <= PORTION_ROWS:
            return self._score(slots, at_ms, values)
        found = []
        for first in range(0, len(slots), PORTION_ROWS):
            if first:
                self._let_others()
            rows = slice(first, first + PORTION_ROWS)
            found.append(self._score(slots[rows], at_ms[rows], values[rows]))
        return Scores(*(np.concatenate([getattr(one, column) for one in found]) for column in COLUMNS))

    def _score(self, slots: NDArray[np.int64], at_ms: NDArray[np.int64], values: NDArray[np.float64]) -> Scores:
        fresh = int(slots.max(initial=-1)) + 1 - self._count
        if fresh > 0:
            self._number(np.full(fresh, FULL, np.uint8))
        tiers, inner = self._tiers[slots], self._inner[slots]
        for tier, detector in ((FULL, self.full), (CHEAP, self.cheap)):
            if (tiers == tier).all():
                return detector.score_and_learn(inner, at_ms, values)
        scores = Scores(np.zeros(len(slots)), *(np.full(len(slots), np.nan) for _ in range(3)))
        if tiers.min() == NONE:
            return scores
        for tier, detector in ((FULL, self.full), (CHEAP, self.cheap)):
            rows = np.flatnonzero(tiers == tier)
            if len(rows):
                found = detector.score_and_learn(inner[rows], at_ms[rows], values[rows])
                for column in COLUMNS:
                    getattr(scores, column)[rows] = getattr(found, column)
        return scores

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """Return the state of both detectors, each under its tier, and the tiers."""
        state: dict[str, NDArray[np.generic]] = {"tiers": self._tiers[: self._count].copy()}
        for tier, detector in ((FULL, self.full), (CHEAP, self.cheap)):
            state |= {f"{TIERS[tier]}.{name}": array for name, array in detector.dump().items()}
        return state

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Replace the state by a dumped one; see `Detector`."""
        tiers = state.get("tiers", np.zeros(1)).astype(np.int64)
        if "tiers" not in state or (tiers > NONE).any():
            raise ValueError("not a state of tiers")
        for tier, detector in ((FULL, self.full), (CHEAP, self.cheap)):
            prefix = f"{TIERS[tier]}."
            detector.restore({n.removeprefix(prefix): a for n, a in state.items() if n.startswith(prefix)})
        self._forget()
        self._number(tiers.astype(np.uint8))
