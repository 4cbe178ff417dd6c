"""Facts, policies and a plain detector for tests: small words to tell long stories with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from quantum.domain.errors import Rejected
from quantum.domain.facts import Fact, FactBody, Heartbeat, Samples
from quantum.domain.labels import NAME, LabelSet, Matcher, MatcherCompiler, MatchOp
from quantum.domain.pipeline import Pipeline
from quantum.domain.policies import AlertPolicy, Comparison, Condition, Threshold
from quantum.domain.scoring import Scores
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from quantum.domain.alerts import AlertState, Effects

START_MS = 1_700_000_000_000


def labels(name: str, **others: str) -> LabelSet:
    return LabelSet.of({NAME: name, **others})


def full_match(pattern: str) -> Callable[[str], bool]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise Rejected("regex", str(error)) from None
    return lambda value: compiled.fullmatch(value) is not None


class JumpDetector:
    """Expects the value before; a jump by ten scores one. Honest, and easy to foresee in a test."""

    name = "jump"
    version = 1

    def __init__(self) -> None:
        self._last: dict[int, tuple[int, float]] = {}

    @property
    def series_count(self) -> int:
        return len(self._last)

    def score_and_learn(
        self, slots: NDArray[np.int64], at_ms: NDArray[np.int64], values: NDArray[np.float64]
    ) -> Scores:
        out = np.full((4, len(slots)), np.nan)
        out[0] = 0.0
        for row, (slot, at, value) in enumerate(zip(slots.tolist(), at_ms.tolist(), values.tolist(), strict=True)):
            known = self._last.get(slot)
            if not np.isfinite(value) or (known is not None and at <= known[0]):
                continue
            if known is not None:
                out[:, row] = min(1.0, abs(value - known[1]) / 10), known[1], known[1] - 1, known[1] + 1
            self._last[slot] = (at, value)
        return Scores(out[0], out[1], out[2], out[3])

    def dump(self) -> dict[str, NDArray[Any]]:
        rows = sorted(self._last.items())
        return {
            "slots": np.array([slot for slot, _ in rows], np.int64),
            "at_ms": np.array([known[0] for _, known in rows], np.int64),
            "values": np.array([known[1] for _, known in rows], np.float64),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        columns = (state[name].tolist() for name in ("slots", "at_ms", "values"))
        self._last = {slot: (at, value) for slot, at, value in zip(*columns, strict=True)}


def new_pipeline() -> Pipeline:
    return Pipeline(JumpDetector(), MatcherCompiler(full_match))


def policy(
    name: str = "hot",
    metric: str = "cpu",
    condition: Condition | None = None,
    by: Sequence[str] = ("host",),
    **more: Any,
) -> AlertPolicy:
    above = Threshold(op=Comparison.ABOVE, raise_at=90.0, clear_at=80.0)
    return AlertPolicy(
        id=name,
        name=name,
        matchers=(Matcher(NAME, MatchOp.EQUAL, metric),),
        condition=condition or above,
        by=tuple(by),
        **more,
    )


class Log:
    """Writes the facts of a story: series by name, time that goes on."""

    def __init__(self, at_ms: int = START_MS) -> None:
        self.at_ms = at_ms
        self.facts: list[Fact] = []
        self.slots: dict[LabelSet, int] = {}

    def add(self, body: FactBody, after_ms: int = 0) -> Fact:
        self.at_ms += after_ms
        self.facts.append(Fact(len(self.facts) + 1, self.at_ms, body))
        return self.facts[-1]

    def send(
        self,
        values: Mapping[LabelSet, float],
        after_ms: int = 1000,
        *,
        at_ms: int | None = None,
        backfill: bool = False,
    ) -> Fact:
        """Add samples of some series, taken at the moment they are accepted unless said otherwise."""
        new = [series for series in values if series not in self.slots]
        fresh = tuple((len(self.slots) + k, series) for k, series in enumerate(new))
        self.slots.update({series: slot for slot, series in fresh})
        taken_ms = self.at_ms + after_ms if at_ms is None else at_ms
        batch = SampleBatch.of(
            [self.slots[series] for series in values], [taken_ms] * len(values), list(values.values())
        )
        return self.add(Samples(batch, fresh, backfill), after_ms)


def run(facts: list[Fact], pipeline: Pipeline | None = None) -> tuple[Pipeline, list[Effects]]:
    pipeline = pipeline or new_pipeline()
    return pipeline, [pipeline.step(fact).effects for fact in facts]


def run_with_restart(log: Log, cut: int) -> tuple[Pipeline, list[Effects]]:
    """Run a story as `run` does, with a restart after so many facts: a fresh pipeline goes on from the state."""
    first, before = run(log.facts[:cut])
    second = new_pipeline()
    second.restore(first.dump(), {slot: series for series, slot in log.slots.items()})
    _, after = run(log.facts[cut:], second)
    return second, before + after


def history(effects: list[Effects]) -> list[tuple[int, AlertState]]:
    """Return (second since the start, state) of every transition."""
    return [(one.at_ms // 1000 % 100_000, one.after) for each in effects for one in each.transitions]


def states(effects: list[Effects]) -> list[AlertState]:
    return [state for _, state in history(effects)]


def silent_for(log: Log, seconds: int) -> None:
    for _ in range(seconds):
        log.add(Heartbeat(), 1000)
