"""check_detector: every detector that is shipped passes, and each way of breaking one's word is found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.models import COMPILER, members, trained

from quantum.domain.coverage import CHEAP, FULL
from quantum.domain.detectors.conformance import NonConforming, check_detector
from quantum.domain.detectors.robust_ensemble import RobustEnsemble
from quantum.domain.detectors.robust_seasonal import RobustSeasonal
from quantum.domain.detectors.tiered import Tiered
from quantum.domain.detectors.trained import detector_of
from quantum.domain.models import ModelKind
from quantum.domain.scoring import Scores

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from quantum.domain.detectors import Detector


def test_the_default_detector_conforms() -> None:
    check_detector(RobustSeasonal)
    check_detector(RobustEnsemble)


def test_the_detector_of_an_installation_conforms_for_series_that_are_watched() -> None:
    def make() -> Detector:
        both = Tiered(RobustSeasonal(), RobustSeasonal())
        both.assign(np.array([FULL, CHEAP] * 5, np.uint8))
        return both

    check_detector(make)


@pytest.mark.parametrize("kind", ModelKind)
def test_trained_models_conform(kind: ModelKind) -> None:
    def make() -> Detector:
        detector = detector_of(trained(kind).model, 1, COMPILER)
        for slot, labels in enumerate(members()):
            detector.meet(slot, labels)
        return detector

    check_detector(make)


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
