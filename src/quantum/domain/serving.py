"""Models that count: promoted versions, whose scores join the default detector's, row by row.

Where a model has an opinion and the detector has one too, the row's score becomes the higher or the lower of the two,
as the model says (`Combine`). Expectation and band stay the detector's. Models are applied in order of name.

>>> ServedBook(lambda _: lambda _: True).names
()
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from quantum.domain.drift import Drift
from quantum.domain.errors import NotFound, Rejected
from quantum.domain.models import Combine, check_model

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from quantum.domain.detectors.trained import TrainedDetector
    from quantum.domain.facts import PromoteModel
    from quantum.domain.labels import LabelSet, MatcherCompiler
    from quantum.domain.scoring import Scores
    from quantum.domain.series import SampleBatch

MAX_SERVED: Final = 8
PREFIX: Final = "model."


@dataclass(slots=True)
class Served:
    """One promoted version at work, and how its scores are spread since the process began."""

    command: PromoteModel
    detector: TrainedDetector
    drift: Drift


@dataclass(frozen=True, slots=True)
class Standing:
    """Which version of a model counts, for the audit log."""

    name: str
    counts: int


class ServedBook:
    """The promoted versions, one of each name."""

    def __init__(self, compile_matchers: MatcherCompiler) -> None:
        self._compile = compile_matchers
        self._served: dict[str, Served] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names, sorted."""
        return tuple(self._served)

    @property
    def promoted(self) -> tuple[PromoteModel, ...]:
        """The commands that are in force, by name."""
        return tuple(one.command for one in self._served.values())

    def find(self, name: str) -> Served | None:
        """Return the version that counts, or None."""
        return self._served.get(name)

    def standing(self, name: str) -> Standing | None:
        """Return which version of a model counts; None if none does."""
        found = self.find(name)
        return None if found is None else Standing(name, found.command.version)

    def put(self, command: PromoteModel, labels: Mapping[int, LabelSet]) -> None:
        """Let a version count, in place of the one before; it knows the series, and nothing of their past.

        Raises:
            Rejected: the model is damaged, or `MAX_SERVED` others count already.
        """
        name = check_model(command.model).name
        if name not in self._served and len(self._served) >= MAX_SERVED:
            raise Rejected("model_limit", f"model limit {MAX_SERVED} reached: roll one back first")
        served = Served(command, self._fresh(command), Drift())
        for slot in sorted(labels):
            served.detector.meet(slot, labels[slot])
        self._served = dict(sorted({**self._served, name: served}.items()))

    def _fresh(self, command: PromoteModel) -> TrainedDetector:
        from quantum.domain.detectors.trained import detector_of  # noqa: PLC0415 - imports numba, a second

        return detector_of(command.model, command.version, self._compile)

    def remove(self, name: str) -> None:
        """Let no version of a model count.

        Raises:
            NotFound: none does.
        """
        if name not in self._served:
            raise NotFound(f"no version of a model named {name!r} is promoted")
        self._served = {other: one for other, one in self._served.items() if other != name}

    def meet(self, slot: int, labels: LabelSet) -> None:
        """Take note of a new series."""
        for one in self._served.values():
            one.detector.meet(slot, labels)

    def judge(self, batch: SampleBatch, scores: Scores) -> Scores:
        """Return the detector's scores with those of the models joined in."""
        for one in self._served.values():
            opinion = one.detector.score_and_learn(batch.slots, batch.at_ms, batch.values)
            one.drift.take(opinion)
            scores = joined(scores, opinion, one.command.model.combine)
        return scores

    def dump(self) -> dict[str, NDArray[Any]]:
        """Return the state of all as named arrays."""
        return {
            f"{PREFIX}{name}/{field}": array
            for name, one in self._served.items()
            for field, array in one.detector.dump().items()
        }

    def restore(
        self, commands: Iterable[PromoteModel], labels: Mapping[int, LabelSet], arrays: Mapping[str, NDArray[Any]]
    ) -> None:
        """Replace everything by what was in force when the arrays were dumped."""
        for command in commands:
            self.put(command, labels)
            prefix = f"{PREFIX}{command.model.name}/"
            state = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
            self._served[command.model.name].detector.restore(state)


def joined(scores: Scores, opinion: Scores, combine: Combine) -> Scores:
    """Return scores that are the higher or the lower of two where both sides have one; elsewhere the first."""
    both = ~(np.isnan(scores.expected) | np.isnan(opinion.expected))
    choose = np.maximum if combine is Combine.EITHER else np.minimum
    return replace(scores, score=np.where(both, choose(scores.score, opinion.score), scores.score))
