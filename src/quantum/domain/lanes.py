"""Lanes: the series of a tenant dealt out to several workers, so that each scores its own and needs no other.

Series number `slot` belongs to lane `slot % lanes`, where it is number `slot // lanes`. A score depends on the samples
of one series alone, so scores are the same for every number of lanes; and the state of the whole detector is that of
its lanes put together, so one is made of the other whenever somebody else goes on.

>>> in_lane(np.array([0, 1, 2, 3]), 1, 2).tolist()
[False, True, False, True]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from quantum.domain.coverage import TIERS, Allotment, Coverage, Tier
from quantum.domain.errors import QuantumError
from quantum.domain.facts import PutCoverage, Samples, command_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from quantum.domain.detectors.tiered import Tiered
    from quantum.domain.facts import Fact
    from quantum.domain.labels import LabelSet, MatcherCompiler
    from quantum.domain.pipeline import PipelineState
    from quantum.domain.scoring import Scores

    State = dict[str, NDArray[Any]]

TIERS_NAME: Final = "tiers"
DETECTOR: Final = "detector."
"""What the detector's arrays are called in the state of a pipeline begins with this."""


def in_lane(slots: NDArray[np.int64], lane: int, lanes: int) -> NDArray[np.bool_]:
    """Return which rows are of series of a lane, shape (n,)."""
    return np.equal(slots % lanes, lane)


def matters(fact: Fact) -> bool:
    """Return whether a fact changes any detector's state: samples, and decisions about coverage."""
    return isinstance(command_in(fact.body), Samples | PutCoverage)


class Lane:
    """The detector of one lane, fed with facts.

    Attributes:
        position: of the last fact that it knows.
    """

    def __init__(self, number: int, lanes: int, detector: Tiered, compile_matchers: MatcherCompiler) -> None:
        self.number, self.lanes = number, lanes
        self.position = 0
        self._detector, self._compile = detector, compile_matchers
        self._coverage = Coverage(Allotment(), compile_matchers)
        self._labels: dict[int, LabelSet] = {}

    def take(self, fact: Fact) -> Scores | None:
        """Take in a fact; return the scores of the rows of this lane, in their order, or None if it is not samples.

        Facts come in order of position; those that do not matter, and rows of other lanes, may be left out.
        """
        scores = None
        match command_in(fact.body):
            case Samples() as samples:
                scores = self._score(samples)
            case PutCoverage(allotment):
                self._cover(allotment)
        self.position = fact.position
        return scores

    def _score(self, samples: Samples) -> Scores:
        for slot, labels in samples.new_series:
            self._labels[slot] = labels
            tier = self._coverage.meet(slot, labels)
            if slot % self.lanes == self.number:
                self._detector.meet(slot // self.lanes, tier)
        batch = samples.batch.take(in_lane(samples.batch.slots, self.number, self.lanes))
        return self._detector.score_and_learn(batch.slots // self.lanes, batch.at_ms, batch.values)

    def _cover(self, allotment: Allotment) -> None:
        try:
            coverage = Coverage(allotment, self._compile)
        except QuantumError:
            return  # the pipeline refuses it too
        tiers = coverage.meet_all(self._labels)
        self._coverage = coverage
        self._detector.assign(tiers[self.number :: self.lanes])

    def restore(self, state: PipelineState, labels: Mapping[int, LabelSet]) -> None:
        """Begin where a pipeline was when it was dumped.

        Raises:
            ValueError: the state is of another detector.
        """
        if state.memory.detector != f"{self._detector.name}/{self._detector.version}":
            raise ValueError(f"the state is of detector {state.memory.detector}")
        whole = {name.removeprefix(DETECTOR): one for name, one in state.arrays.items() if name.startswith(DETECTOR)}
        self._detector.restore(part_of(whole, self.number, self.lanes))
        self.adopt(state, labels)

    def adopt(self, state: PipelineState, labels: Mapping[int, LabelSet]) -> None:
        """Do as `restore`, but learn anew."""
        self._labels = {slot: labels[slot] for slot in range(state.memory.series_count)}
        self._cover(state.memory.allotment)
        self.position = state.memory.position

    def dump(self) -> State:
        """Return the state of its detector as copies; `whole_of` puts those of all lanes together."""
        return self._detector.dump()


def part_of(whole: Mapping[str, NDArray[Any]], lane: int, lanes: int) -> State:
    """Return the part of one lane of the state of all series (of `Tiered`).

    Raises:
        ValueError: it is not such a state.
    """
    if TIERS_NAME not in whole:
        raise ValueError("not a state of tiers")
    tiers = whole[TIERS_NAME]
    part: State = {TIERS_NAME: tiers[lane::lanes].copy()}
    for name, rows in whole.items():
        if name != TIERS_NAME:
            part[name] = rows[in_lane(_members(tiers, name)[: len(rows)], lane, lanes)]
    return part


def whole_of(parts: Sequence[Mapping[str, NDArray[Any]]]) -> State:
    """Return the state of all series, of those of all lanes at one position.

    Series without a row have the zeros that a detector begins with.

    Raises:
        ValueError: they do not belong together.
    """
    lanes = len(parts)
    tiers = np.zeros(sum(len(part[TIERS_NAME]) for part in parts), np.uint8)
    for lane, part in enumerate(parts):
        tiers[lane::lanes] = part[TIERS_NAME]
    whole: State = {TIERS_NAME: tiers}
    for name in parts[0]:
        if name != TIERS_NAME:
            whole[name] = _joined([part[name] for part in parts], _members(tiers, name))
    return whole


def _members(tiers: NDArray[Any], name: str) -> NDArray[np.int64]:
    """Return the slots of the tier that an array is of, in order."""
    return np.flatnonzero(tiers == TIERS.index(Tier(name.partition(".")[0]))).astype(np.int64)


def _joined(parts: Sequence[NDArray[Any]], members: NDArray[np.int64]) -> NDArray[Any]:
    places = [np.flatnonzero(in_lane(members, lane, len(parts)))[: len(rows)] for lane, rows in enumerate(parts)]
    count = max((int(place[-1]) + 1 for place in places if len(place)), default=0)
    joined = np.zeros((count, *parts[0].shape[1:]), parts[0].dtype)
    for place, rows in zip(places, parts, strict=True):
        joined[place] = rows
    return joined
