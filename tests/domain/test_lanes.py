"""Lanes: series dealt out to several detectors are scored as by one, and their states make up the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.facts import START_MS, full_match, labels

from quantum.domain.coverage import Allotment, CoverageRule, Tier
from quantum.domain.detectors.elsewhere import Elsewhere
from quantum.domain.detectors.robust_seasonal import RobustSeasonal
from quantum.domain.detectors.tiered import Tiered
from quantum.domain.facts import Fact, Heartbeat, Ordered, PutCoverage, Samples
from quantum.domain.labels import NAME, Matcher, MatcherCompiler, MatchOp
from quantum.domain.lanes import Lane, in_lane, matters, part_of, whole_of
from quantum.domain.pipeline import Pipeline
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

COMPILER = MatcherCompiler(full_match)
SERIES = 12
ODD = (Matcher(NAME, MatchOp.REGEX, "m[13579]"),)


def tiered() -> Tiered:
    return Tiered(RobustSeasonal(), RobustSeasonal())


def new_lane(number: int, lanes: int) -> Lane:
    return Lane(number, lanes, tiered(), COMPILER)


def coverage(full: int, tier: Tier) -> PutCoverage:
    return PutCoverage(Allotment(full, (CoverageRule(ODD, tier),)), "me")


def samples(values: Sequence[tuple[int, float]], at_ms: int, met: set[int]) -> Samples:
    """Rows of the series that are named, and all below them that are new."""
    highest = max(slot for slot, _ in values)
    fresh = tuple((slot, labels(f"m{slot}")) for slot in range(highest + 1) if slot not in met)
    met.update(slot for slot, _ in fresh)
    return Samples(SampleBatch.of([s for s, _ in values], [at_ms] * len(values), [v for _, v in values]), fresh)


@st.composite
def stories(draw: st.DrawFn) -> list[Fact]:
    """Facts of some series, with decisions about coverage in between, one of which is refused."""
    met: set[int] = set()
    found = []
    for position in range(1, draw(st.integers(2, 25)) + 1):
        at_ms = START_MS + position * 1000
        kind = draw(st.sampled_from(["samples"] * 8 + ["coverage", "refused", "heartbeat"]))
        if kind == "samples":
            slots = draw(st.lists(st.integers(0, SERIES - 1), min_size=1, max_size=SERIES, unique=True))
            body: Any = samples([(slot, draw(st.sampled_from([1.0, 2.0, 50.0]))) for slot in slots], at_ms, met)
        elif kind == "coverage":
            body = Ordered(coverage(draw(st.integers(0, SERIES)), draw(st.sampled_from(list(Tier)))), "here")
        else:
            body = PutCoverage(Allotment(-1), "me") if kind == "refused" else Heartbeat()
        found.append(Fact(position, at_ms, body))
    return found


def same(left: dict[str, NDArray[Any]], right: dict[str, NDArray[Any]]) -> bool:
    """Whether states are the same; the last series may be missing in one where the other has the zeros they begin with.

    A detector has these as soon as any series of it changes its tier, and a lane only if one of its own does.
    """
    return left.keys() == right.keys() and all(alike(left[name], right[name]) for name in left)


def alike(left: NDArray[Any], right: NDArray[Any]) -> bool:
    short, long = sorted((left.tobytes(), right.tobytes()), key=len)
    return long.startswith(short) and not any(long[len(short) :])


def scored(lane: Lane, facts: Sequence[Fact]) -> list[bytes]:
    found = (lane.take(fact) for fact in facts)
    return [np.stack([one.score, one.expected, one.lower, one.upper]).tobytes() for one in found if one is not None]


@given(stories(), st.integers(1, 5), st.data())
@settings(max_examples=40)
def test_lanes_score_as_one_detector_does_and_their_states_are_its_state(
    facts: list[Fact], lanes: int, data: st.DataObject
) -> None:
    alone = Pipeline(tiered(), COMPILER)
    steps = [alone.step(fact) for fact in facts]
    several = [new_lane(number, lanes) for number in range(lanes)]
    for fact, step in zip(facts, steps, strict=True):
        found = [lane.take(fact) for lane in several]
        if step.scores is None:
            assert found == [None] * lanes
            continue
        for number, part in enumerate(found):
            assert part is not None
            mine = in_lane(fact.body.batch.slots, number, lanes)  # type: ignore[union-attr] # they are samples
            assert part.score.tobytes() == step.scores.score[mine].tobytes()
            assert part.upper.tobytes() == step.scores.upper[mine].tobytes()
    whole = alone.detector.dump()
    assert same(whole_of([lane.dump() for lane in several]), whole)
    others = data.draw(st.integers(1, 6))
    assert same(whole_of([part_of(whole, number, others) for number in range(others)]), whole)


@given(stories(), st.integers(1, 4), st.integers(0, 24))
@settings(max_examples=25)
def test_a_lane_that_begins_at_a_checkpoint_goes_on_as_if_nothing_had_happened(
    facts: list[Fact], lanes: int, at: int
) -> None:
    before, after = facts[:at], facts[at:]
    alone = Pipeline(tiered(), COMPILER)
    for fact in before:
        alone.step(fact)
    for number in range(lanes):
        gone_on, restored = new_lane(number, lanes), new_lane(number, lanes)
        scored(gone_on, before)
        restored.restore(alone.dump(), alone.labels)
        assert restored.position == len(before)
        assert scored(restored, after) == scored(gone_on, after)


def test_a_state_of_another_detector_is_refused_and_can_be_adopted_without_what_it_learnt() -> None:
    alone = Pipeline(RobustSeasonal(), COMPILER)
    alone.step(Fact(1, START_MS, samples([(0, 1.0), (1, 2.0)], START_MS, set())))
    lane = new_lane(0, 2)
    with pytest.raises(ValueError, match="is of detector robust-seasonal/"):
        lane.restore(alone.dump(), alone.labels)
    lane.adopt(alone.dump(), alone.labels)
    assert lane.position == 1
    assert lane.dump()["tiers"].tolist() == [0]


def test_bytes_that_are_no_state_of_tiers_are_refused() -> None:
    with pytest.raises(ValueError, match="not a state of tiers"):
        part_of({"full.mean": np.zeros(3)}, 0, 2)


def test_lanes_of_no_series_make_up_a_state_of_none() -> None:
    assert same(whole_of([new_lane(0, 2).dump(), new_lane(1, 2).dump()]), tiered().dump())


def test_heartbeats_do_not_matter_to_detectors() -> None:
    assert not matters(Fact(1, 0, Heartbeat()))
    assert matters(Fact(1, 0, Ordered(coverage(1, Tier.FULL), "here")))


def test_a_pipeline_whose_detector_works_elsewhere_takes_the_scores_that_come_along() -> None:
    fact = Fact(1, START_MS, samples([(0, 1.0), (1, 2.0)], START_MS, set()))
    alone, told = Pipeline(tiered(), COMPILER), Pipeline(Elsewhere(tiered().name, tiered().version), COMPILER)
    with pytest.raises(ValueError, match="the scores of 2 rows should have come along"):
        Pipeline(Elsewhere("x", 1), COMPILER).step(fact)
    told.step(fact, alone.step(fact).scores)
    assert told.newest.columns["value"].tobytes() == alone.newest.columns["value"].tobytes()
    told.restore(alone.dump(), alone.labels)
    assert told.position == 1
