"""Trained models at work: each is a `Detector` that has an opinion on some series and none on the others.

A row without an opinion scores 0 and has a NaN band. `meet` tells a model the label set of each slot before its first
row; that decides to which group and channel it belongs, and whether it is modelled at all.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from quantum.domain.detectors.bank import Bank
from quantum.domain.detectors.deep import MOST, STRETCH, STRETCHED, forecasts, readings_of, take_stretches
from quantum.domain.detectors.forests import (
    BAND,
    FEATURES,
    GROUP,
    MEMBER,
    WIDTH,
    WINDOWED,
    Forest,
    loneliness,
    rarity,
    take_frames,
    take_windows,
)
from quantum.domain.models import ModelKind
from quantum.domain.scoring import DECADES, Scores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from quantum.domain.detectors import Detector
    from quantum.domain.labels import LabelSet, MatcherCompiler
    from quantum.domain.models import TrainedModel

    class TrainedDetector(Detector, Protocol):
        """A detector that is told who a series is before its first row."""

        def meet(self, slot: int, labels: LabelSet) -> None:
            """Take note of a series; in order of slot."""

        def left_out(self) -> dict[str, int]:
            """Return how many series are not modelled, by reason."""


MAX_GROUPS: Final = 10_000
ROWS_AT_ONCE: Final = 4096
"""Stretches of so many rows are held at a time, a megabyte."""
ELSEWHERE: Final = "it is not for this series"
UNLABELLED: Final = "the series lacks a label to group by"
UNKNOWN: Final = "the channel was not there when the model was trained"
FULL: Final = f"its group has {WIDTH} series already"
TOO_MANY: Final = f"there are {MAX_GROUPS} groups already"


def detector_of(model: TrainedModel, version: int, compile_matchers: MatcherCompiler) -> TrainedDetector:
    """Return a fresh detector that scores with a model that was checked.

    Raises:
        Rejected: `regex`, for a pattern in its matchers that the engine refuses.
    """
    matches = compile_matchers(model.matchers)
    if model.kind is ModelKind.WINDOWS:
        return WindowForest(model, version, matches)
    if model.kind is ModelKind.DEEP:
        return DeepForecaster(model, version, matches)
    return FrameModel(model, version, matches)


class SingleSeries:
    """What models that look at each series by itself share: which series are theirs, and the state of each."""

    def __init__(
        self, model: TrainedModel, version: int, matches: Callable[[LabelSet], bool], record: np.dtype[Any]
    ) -> None:
        self.name, self.version = model.name, version
        self._matches = matches
        self._knots = model.knots
        self._bank = Bank(record)
        self._is_mine: list[bool] = []

    def meet(self, slot: int, labels: LabelSet) -> None:
        """See TrainedDetector."""
        self._is_mine += [False] * (slot + 1 - len(self._is_mine))
        self._is_mine[slot] = self._matches(labels)

    def left_out(self) -> dict[str, int]:
        """See TrainedDetector."""
        return {ELSEWHERE: self._is_mine.count(False)} if False in self._is_mine else {}

    @property
    def series_count(self) -> int:
        """How many slots have state."""
        return self._bank.count

    def _rows_of_mine(self, slots: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return the rows of series that the model is for, all of which have state then."""
        self._bank.grow(int(slots.max()) + 1 if len(slots) else 0)
        return np.flatnonzero(_of(slots, np.array(self._is_mine, np.bool_)))

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """Return the whole state as named arrays (copies)."""
        return self._bank.dump()

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Replace the state by a dumped one; see `Detector`."""
        self._bank.restore(state)


class WindowForest(SingleSeries):
    """Judges every row of a series by its window, as it comes."""

    def __init__(self, model: TrainedModel, version: int, matches: Callable[[LabelSet], bool]) -> None:
        super().__init__(model, version, matches, WINDOWED)
        self._forest = model.forest

    def score_and_learn(
        self, slots: NDArray[np.int64], at_ms: NDArray[np.int64], values: NDArray[np.float64]
    ) -> Scores:
        """Score the rows, then learn from them; see `Detector`."""
        mine = self._rows_of_mine(slots)
        windows, about = windows_of(self._bank.records, slots[mine], at_ms[mine], values[mine])
        known = np.flatnonzero(~np.isnan(about[:, 0]))
        readings = loneliness(self._forest, windows[known])
        return opinions(len(slots), mine[known], rarity(self._knots, readings), banded(about[known]))


class DeepForecaster(SingleSeries):
    """Judges every row of a series by how far it is from what a network said of it before it came."""

    def __init__(self, model: TrainedModel, version: int, matches: Callable[[LabelSet], bool]) -> None:
        super().__init__(model, version, matches, STRETCHED)
        self._network = model.network

    def score_and_learn(
        self, slots: NDArray[np.int64], at_ms: NDArray[np.int64], values: NDArray[np.float64]
    ) -> Scores:
        """Score the rows, then learn from them; see `Detector`."""
        mine = self._rows_of_mine(slots)
        parts = [mine[begin : begin + ROWS_AT_ONCE] for begin in range(0, len(mine), ROWS_AT_ONCE)]
        found = [self._opinions(slots[rows], at_ms[rows], values[rows]) for rows in parts]
        decades, bands = (np.concatenate([*one]) for one in zip((np.zeros(0), np.zeros((0, 3))), *found, strict=True))
        known = np.flatnonzero(~np.isnan(decades))
        return opinions(len(slots), mine[known], decades[known], bands[known])

    def _opinions(
        self, slots: NDArray[np.int64], at_ms: NDArray[np.int64], values: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return decades of rarity, shape (n,), and expectations with their bands, shape (n, 3), NaN where unknown."""
        decades, bands = np.full(len(slots), np.nan), np.full((len(slots), 3), np.nan)
        stretches, about = stretches_of(self._bank.records, slots, at_ms, values)
        known = np.flatnonzero(~np.isnan(about[:, 0]))
        said = forecasts(self._network, stretches[known])
        decades[known] = rarity(self._knots, readings_of(said, about[known, 2]))
        centre, scale, reach = about[known, 0], about[known, 1], min(self._knots.raw[-1], MOST)
        sides = np.stack([said[:, 1], said[:, 1] - reach * said[:, 0], said[:, 1] + reach * said[:, 2]])
        bands[known] = (centre + scale * sides).T
        return decades, bands


class Frames:
    """Who belongs to which group, and what a group was like in the frame before: what group models and peers see."""

    def __init__(self, model: TrainedModel, matches: Callable[[LabelSet], bool]) -> None:
        self._model, self._matches = model, matches
        self._channels = {labels: place for place, labels in enumerate(model.channels)}
        self._is_peers = model.kind is ModelKind.PEERS
        self._groups: dict[LabelSet, int] = {}
        self._sizes: Counter[int] = Counter()
        self.members = Bank(MEMBER)
        self.groups = Bank(GROUP)
        self.left_out: Counter[str] = Counter()

    def meet(self, slot: int, labels: LabelSet) -> None:
        """Give a series its place, or note why it has none."""
        self.members.grow(slot + 1)
        reason = self._join(slot, labels)
        if reason:
            self.left_out[reason] += 1

    def _join(self, slot: int, labels: LabelSet) -> str:
        if not self._matches(labels):
            return ELSEWHERE
        both = self._model.group_and_channel(labels)
        if both is None:
            return UNLABELLED
        group, channel = both
        if not self._is_peers and channel not in self._channels:
            return UNKNOWN
        if group not in self._groups and len(self._groups) >= MAX_GROUPS:
            return TOO_MANY
        number = self._groups.setdefault(group, len(self._groups))
        place = self._sizes[number] if self._is_peers else self._channels[channel]
        if place >= WIDTH:
            return FULL
        self._sizes[number] += 1
        self._seat(slot, number, place)
        return ""

    def _seat(self, slot: int, number: int, place: int) -> None:
        self.groups.grow(number + 1)
        self.members.records["group"][slot], self.members.records["place"][slot] = number + 1, place
        self.groups.records["members"][number, place] = slot + 1

    def take(
        self, slots: NDArray[np.int64], at_ms: NDArray[np.int64], values: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float64]]:
        """Take in rows.

        Returns:
            the frames that judge them, shape (frames, WIDTH); of each row its frame or -1, shape (n,); and what was
            expected with its scale, shape (n, 2), NaN where there is no frame.
        """
        self.members.grow(int(slots.max()) + 1 if len(slots) else 0)
        frames = np.empty((len(slots), WIDTH), np.float32)
        frame_of, about = np.full(len(slots), -1, np.int64), np.full((len(slots), 2), np.nan)
        records = self.members.records, self.groups.records
        count = take_frames(
            *records, self._model.step_ms, self._is_peers, slots, at_ms, values, frames, frame_of, about
        )
        return frames[:count], frame_of, about

    def places(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the place of each row's series in its group."""
        found: NDArray[np.int64] = self.members.records["place"][slots]
        return found


class FrameModel:
    """Judges the rows of a group by the frame before: a group's channels together, or siblings beside each other."""

    def __init__(self, model: TrainedModel, version: int, matches: Callable[[LabelSet], bool]) -> None:
        self.name, self.version = model.name, version
        self._frames = Frames(model, matches)
        self._channels = len(model.channels)
        self._knots = model.knots
        self._forest: Forest | None = None if model.kind is ModelKind.PEERS else model.forest

    def meet(self, slot: int, labels: LabelSet) -> None:
        """See TrainedDetector."""
        self._frames.meet(slot, labels)

    def left_out(self) -> dict[str, int]:
        """See TrainedDetector."""
        return dict(self._frames.left_out)

    @property
    def series_count(self) -> int:
        """How many slots have state."""
        return self._frames.members.count

    def score_and_learn(
        self, slots: NDArray[np.int64], at_ms: NDArray[np.int64], values: NDArray[np.float64]
    ) -> Scores:
        """Score the rows, then learn from them; see `Detector`. Rows of one frame may come in any order."""
        frames, frame_of, about = self._frames.take(slots, at_ms, values)
        known = np.flatnonzero(frame_of >= 0)
        if self._forest is None:
            readings = frames[frame_of[known], self._frames.places(slots[known])].astype(np.float64)
        else:
            readings = loneliness(self._forest, frames[:, : self._channels])[frame_of[known]]
        return opinions(len(slots), known, rarity(self._knots, readings), banded(about[known]))

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """Return the whole state as named arrays (copies)."""
        members, groups = self._frames.members.dump(), self._frames.groups.dump()
        return {f"member.{name}": array for name, array in members.items()} | {
            f"group.{name}": array for name, array in groups.items()
        }

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Replace the state by a dumped one; see `Detector`. The same series must have been met."""
        parts: dict[str, dict[str, NDArray[np.generic]]] = {"member": {}, "group": {}}
        for name, array in state.items():
            part, _, field = name.partition(".")
            parts.setdefault(part, {})[field] = array
        if set(parts) != {"member", "group"}:
            raise ValueError("not a state of this detector: other parts")
        self._frames.members.restore(parts["member"])
        self._frames.groups.restore(parts["group"])


def windows_of(
    records: NDArray[Any], slots: NDArray[np.int64], at_ms: NDArray[np.int64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return the window of each row, shape (n, FEATURES), and its centre and scale, shape (n, 2), NaN where unknown."""
    windows, about = np.zeros((len(slots), FEATURES), np.float32), np.full((len(slots), 2), np.nan)
    take_windows(records, slots, at_ms, values, windows, about)
    return windows, about


def stretches_of(
    records: NDArray[Any], slots: NDArray[np.int64], at_ms: NDArray[np.int64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return the stretch before each row, shape (n, STRETCH), and its centre and scale with the row's value in scales.

    The second has the shape (n, 3), NaN where there is no stretch yet.
    """
    stretches, about = np.zeros((len(slots), STRETCH), np.float32), np.full((len(slots), 3), np.nan)
    take_stretches(records, slots, at_ms, values, stretches, about)
    return stretches, about


def banded(about: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what was expected with a band of `BAND` scales around it, shape (n, 3), of centres and scales (n, 2)."""
    reach = BAND * about[:, 1]
    return np.stack([about[:, 0], about[:, 0] - reach, about[:, 0] + reach], axis=1)


def opinions(count: int, rows: NDArray[np.intp], decades: NDArray[np.float64], bands: NDArray[np.float64]) -> Scores:
    """Return the scores of `count` rows, of which only `rows` have an opinion: a rarity and a band, shape (m, 3)."""
    score = np.zeros(count)
    columns = np.full((3, count), np.nan)
    score[rows] = np.minimum(1.0, decades / DECADES)
    columns[:, rows] = bands.T
    return Scores(score, *columns)


def _of(slots: NDArray[np.int64], flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the flag of each row's slot; slots that are not known have none."""
    known = np.zeros(max(len(flags), int(slots.max()) + 1 if len(slots) else 0), np.bool_)
    known[: len(flags)] = flags
    found: NDArray[np.bool_] = known[slots]
    return found
