"""check_detector: every detector that is shipped passes, and each way of breaking one's word is found."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.models import COMPILER, members, trained

from quantum.domain.coverage import CHEAP, FULL
from quantum.domain.detectors.conformance import SERIES, NonConforming, check_detector, inputs
from quantum.domain.detectors.robust_ensemble import RobustEnsemble
from quantum.domain.detectors.robust_seasonal import RobustSeasonal
from quantum.domain.detectors.tiered import Tiered
from quantum.domain.detectors.trained import detector_of
from quantum.domain.models import ModelKind
from quantum.domain.scoring import Scores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from quantum.domain.detectors import Detector
    from quantum.domain.detectors.conformance import Columns


def both_tiers() -> Detector:
    both = Tiered(RobustEnsemble(), RobustSeasonal())
    both.assign(np.array([FULL, CHEAP] * 5, np.uint8))
    return both


def of_model(kind: ModelKind) -> Callable[[], Detector]:
    def make() -> Detector:
        detector = detector_of(trained(kind).model, 1, COMPILER)
        for slot, labels in enumerate(members()):
            detector.meet(slot, labels)
        return detector

    return make


MAKERS: Final[dict[str, Callable[[], Detector]]] = {
    "full": RobustEnsemble,
    "cheap": RobustSeasonal,
    "both tiers": both_tiers,
    **{kind.value: of_model(kind) for kind in ModelKind},
}
"""Every detector that is shipped."""
EVERY: Final = pytest.mark.parametrize("name", MAKERS)
ROWS: Final = 120


@EVERY
def test_every_detector_that_is_shipped_conforms(name: str) -> None:
    check_detector(MAKERS[name])


def scored(detector: Detector, columns: Columns, low: int = 0, high: int | None = None) -> NDArray[np.float64]:
    slots, at_ms, values = columns
    found = detector.score_and_learn(slots[low:high], at_ms[low:high], values[low:high])
    return np.stack([found.score, found.expected, found.lower, found.upper])


DRAWN: Final = st.tuples(st.sampled_from(sorted(inputs(2, 0))), st.integers(0, 2**32 - 1))


@EVERY
@settings(max_examples=8, deadline=None)
@given(DRAWN, st.integers(0, ROWS * SERIES))
def test_scores_of_a_prefix_are_the_prefix_of_the_scores_and_the_same_again(
    name: str, drawn: tuple[str, int], cut: int
) -> None:
    columns = inputs(ROWS, drawn[1])[drawn[0]]
    whole = scored(MAKERS[name](), columns)
    assert whole.tobytes() == scored(MAKERS[name](), columns).tobytes()
    assert np.array_equal(whole[:, :cut], scored(MAKERS[name](), columns, 0, cut), equal_nan=True)


@EVERY
@settings(max_examples=8, deadline=None)
@given(DRAWN, st.lists(st.integers(0, ROWS * SERIES), max_size=3))
def test_a_state_that_is_dumped_and_loaded_anywhere_changes_nothing(
    name: str, drawn: tuple[str, int], cuts: list[int]
) -> None:
    columns = inputs(ROWS, drawn[1])[drawn[0]]
    detector, parts = MAKERS[name](), []
    for low, high in pairwise([0, *sorted(cuts), ROWS * SERIES]):
        successor = MAKERS[name]()
        successor.restore(detector.dump())
        detector = successor
        parts.append(scored(detector, columns, low, high))
    assert np.array_equal(np.concatenate(parts, axis=1), scored(MAKERS[name](), columns), equal_nan=True)


class Plain:
    """Does what it should: expects the mean of all before."""

    name: str = "plain"
    version = 1

    def __init__(self) -> None:
        self.count, self.total, self.newest = np.zeros(10), np.zeros(10), np.full(10, -1)

    @property
    def series_count(self) -> int:
        return len(self.count)

    def score_and_learn(
        self, slots: NDArray[np.int64], at_ms: NDArray[np.int64], values: NDArray[np.float64]
    ) -> Scores:
        out = np.full((4, len(slots)), np.nan)
        out[0] = 0.0
        for row, (slot, at, value) in enumerate(zip(slots.tolist(), at_ms.tolist(), values.tolist(), strict=True)):
            if not np.isfinite(value) or at <= self.newest[slot]:
                continue
            if self.count[slot]:
                out[:, row] = self.judge(value, self.total[slot] / self.count[slot])
            self.learn(slot, at, value)
        return Scores(*out)

    def judge(self, value: float, mean: float) -> tuple[float, float, float, float]:
        return min(1.0, abs(value - mean) / 1e3), mean, mean - 5.0, mean + 5.0

    def learn(self, slot: int, at: int, value: float) -> None:
        self.count[slot] += 1
        self.total[slot] += max(-1e9, min(1e9, value))
        self.newest[slot] = at

    def dump(self) -> dict[str, NDArray[np.generic]]:
        return {"count": self.count.copy(), "total": self.total.copy(), "newest": self.newest.copy()}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        if set(state) != {"count", "total", "newest"}:
            raise ValueError("not a state of this detector")
        for name, array in state.items():
            setattr(self, name, array.copy())


class Nameless(Plain):
    name = ""


class Narrow(Plain):
    def score_and_learn(self, *columns: Any) -> Scores:
        scores = super().score_and_learn(*columns)
        return Scores(scores.score[1:], scores.expected[1:], scores.lower[1:], scores.upper[1:])


class TooLoud(Plain):
    def judge(self, value: float, mean: float) -> tuple[float, float, float, float]:
        return abs(value - mean) + 1.5, mean, mean, mean


class Boundless(Plain):
    def judge(self, value: float, mean: float) -> tuple[float, float, float, float]:
        return value * 0.0 + 0.1, mean, -np.inf, np.inf


class Beside(Plain):
    def judge(self, value: float, mean: float) -> tuple[float, float, float, float]:
        return value * 0.0 + 0.1, mean, mean + 1.0, mean + 2.0


class Deaf(Plain):
    def judge(self, value: float, mean: float) -> tuple[float, float, float, float]:
        return value * mean * 0.0 + 0.1, np.nan, np.nan, np.nan


class Few(Plain):
    @property
    def series_count(self) -> int:
        return 1


class Prophet(Plain):
    def score_and_learn(self, *columns: Any) -> Scores:
        scores = super().score_and_learn(*columns)
        last = columns[2][np.isfinite(columns[2])][-1:].sum()
        return Scores(scores.score, *(band + last % 1.0 for band in (scores.expected, scores.lower, scores.upper)))


class Forgetful(Plain):
    def dump(self) -> dict[str, NDArray[np.generic]]:
        return super().dump() | {"count": np.ones(10)}


class Jealous(Plain):
    def learn(self, slot: int, at: int, value: float) -> None:
        super().learn(slot, at, value)
        self.total += 0.001 * slot * self.count.sum()


class Hasty(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.count += 1.0


class Tolerant(Plain):
    def score_and_learn(
        self, slots: NDArray[np.int64], at_ms: NDArray[np.int64], values: NDArray[np.float64]
    ) -> Scores:
        for slot, at in zip(slots.tolist(), at_ms.tolist(), strict=True):
            if at < self.newest[slot]:
                self.total[slot] += 1.0
        return super().score_and_learn(slots, at_ms, values)


class Open(Plain):
    def learn(self, slot: int, at: int, value: float) -> None:
        super().learn(slot, min(at, 0), value)


class Gullible(Plain):
    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        for name, array in state.items():
            setattr(self, name, array.copy())


RUNS = [0]


class Moody(Plain):
    def __init__(self) -> None:
        super().__init__()
        RUNS[0] += 1
        self.mood = float(RUNS[0])

    def judge(self, value: float, mean: float) -> tuple[float, float, float, float]:
        return value * 0.0 + 0.1, mean + self.mood, mean, mean + 2.0 * self.mood


def test_a_detector_that_does_what_it_should_passes() -> None:
    check_detector(Plain)


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (Nameless, "a name"),
        (Narrow, "four columns"),
        (TooLoud, "outside \\[0, 1\\]"),
        (Boundless, "neither finite"),
        (Beside, "outside its band"),
        (Deaf, "without a band"),
        (Few, "state for 1"),
        (Moody, "second run"),
        (Prophet, "knows the future"),
        (Forgetful, "restoring a dump"),
        (Jealous, "order of series"),
        (Hasty, "the first row"),
        (Open, "late rows have a score"),
        (Tolerant, "leave a trace"),
        (Gullible, "not its own"),
    ],
)
def test_what_a_detector_does_wrong_is_named(broken: Any, complaint: str) -> None:
    with pytest.raises(NonConforming, match=complaint):
        check_detector(broken)
