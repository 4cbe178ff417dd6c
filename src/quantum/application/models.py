"""Models in service: which versions there are, which count, what a new one would change, and scores on demand.

A version is promoted through a gate: the history is replayed with it, and it is refused, with numbers, if it would
have raised more alerts than asked for or lost an incident that somebody judged to be real. Promotion and roll-back are
commands, and so facts: a replay repeats them at their place.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.application.ports import Page
from quantum.domain.alerts import Verdict
from quantum.domain.errors import Conflict, NotFound, Overloaded, Rejected
from quantum.domain.facts import ImportModel, PromoteModel, RetireModel
from quantum.domain.models import Lineage, ModelKind, ModelState, ModelVersion
from quantum.domain.scoring import Scores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from quantum.application.control import Control
    from quantum.application.monitoring import Monitor
    from quantum.application.ports import AlertStore, Clock, ModelStore
    from quantum.application.shadows import Shadows
    from quantum.application.timemachine import History, TimeMachine
    from quantum.domain.alerts import Incident
    from quantum.domain.detectors import Detector
    from quantum.domain.detectors.trained import TrainedDetector
    from quantum.domain.drift import Drift
    from quantum.domain.labels import LabelSet, MatcherCompiler
    from quantum.domain.models import TrainedModel

TRIAL_MS: Final = 7 * 86_400_000
"""How far back a trial looks, unless asked otherwise."""
MAX_INCIDENTS: Final = 1000
MAX_SCORED_ROWS: Final = 100_000
MAX_SCORED_SERIES: Final = 1000
END: Final = 2**62
RESERVED: Final = "coverage"
"""No model can have this name: under it the API tells of coverage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a version would have changed in `[start_ms, end_ms)`.

    Attributes:
        alerts_now: that fire in a replay with what counts now.
        alerts_then: with the version.
        confirmed: incidents that somebody judged to be real, and that the replay with what counts now has too.
        lost: ids of those that the version would have lost.
        sooner: how many of those it would have opened sooner.
    """

    name: str
    version: int
    start_ms: int
    end_ms: int
    alerts_now: int
    alerts_then: int
    confirmed: int
    lost: tuple[str, ...]
    sooner: int

    @property
    def is_the_same(self) -> bool:
        """Whether as many alerts fire with the version, and none of what was real is told sooner."""
        return self.alerts_then == self.alerts_now and not self.sooner


@dataclass(frozen=True, slots=True)
class AtWork:
    """A version that scores now: how its scores are spread, and which series it leaves out, counted by reason."""

    version: int
    drift: Drift
    left_out: dict[str, int]


@dataclass(frozen=True, slots=True)
class NamedModel:
    """All versions of a name, oldest first; the one that counts, and the one that watches beside it."""

    name: str
    versions: tuple[ModelVersion, ...]
    promoted: AtWork | None
    shadow: AtWork | None


@dataclass(frozen=True, slots=True)
class Window:
    """Rows of one series, in order of time: what is scored on demand."""

    labels: LabelSet
    at_ms: NDArray[np.int64]
    values: NDArray[np.float64]


class Models:
    """The registry at work."""

    def __init__(
        self,
        store: ModelStore,
        alerts: AlertStore,
        control: Control,
        monitor: Monitor,
        machine: TimeMachine,
        shadows: Shadows,
        clock: Clock,
        detector: Callable[[], Detector],
        compile_matchers: MatcherCompiler,
    ) -> None:
        self._store, self._alerts, self._control, self._monitor = store, alerts, control, monitor
        self._machine, self._shadows, self._clock = machine, shadows, clock
        self._detector, self._compile = detector, compile_matchers
        self._trying = asyncio.Lock()

    # ---- reading ----------------------------------------------------------------------------------------------

    async def listing(self) -> list[NamedModel]:
        """Return every model, by name."""
        versions = await self._store.models()
        names = sorted({one.name for one in versions})
        return [self._named(name, [one for one in versions if one.name == name]) for name in names]

    async def named(self, name: str) -> NamedModel:
        """Return one model.

        Raises:
            NotFound: there is none of that name.
        """
        versions = await self._store.models(name)
        if not versions:
            raise NotFound(f"there is no model named {name!r}")
        return self._named(name, versions)

    def _named(self, name: str, versions: Sequence[ModelVersion]) -> NamedModel:
        served, shadow = self._monitor.in_force.models.find(name), self._shadows.find(name)
        return NamedModel(
            name,
            tuple(versions),
            None if served is None else AtWork(served.command.version, served.drift, served.detector.left_out()),
            None if shadow is None else AtWork(shadow.version, shadow.drift, shadow.detector.left_out()),
        )

    # ---- the gate ---------------------------------------------------------------------------------------------

    async def try_out(self, name: str, version: int, start_ms: int | None, end_ms: int | None, actor: str) -> Trial:
        """Return what a version would have changed; by default in the last seven days.

        Raises:
            NotFound: there is no such version.
            Rejected: its bytes are damaged, or the range makes no sense.
            Overloaded: another trial is running.
        """
        command = PromoteModel(await self._store.model(name, version), version, actor)
        return await self._tried(command, start_ms, end_ms)

    async def _tried(self, command: PromoteModel, start_ms: int | None, end_ms: int | None) -> Trial:
        if self._trying.locked():
            raise Overloaded("a model is being tried out already", retry_after_s=10)
        async with self._trying:
            end = self._clock.now_ms() if end_ms is None else end_ms
            start = max(0, end - TRIAL_MS) if start_ms is None else start_ms
            now = await self._machine.replay(start, end)
            then = await self._machine.replay(start, end, trial=command)
            confirmed = await self._confirmed(now)
            return Trial(
                name=command.model.name,
                version=command.version,
                start_ms=now.start_ms,
                end_ms=end,
                alerts_now=_fired(now),
                alerts_then=_fired(then),
                confirmed=len(confirmed),
                lost=tuple(one.id for one in confirmed if not any(map(one_like(one), then.incidents.values()))),
                sooner=sum(_is_sooner(now.incidents[one.id], then) for one in confirmed),
            )

    async def _confirmed(self, now: History) -> list[Incident]:
        recorded = await self._alerts.incidents((), Page(limit=MAX_INCIDENTS))
        return [one for one in recorded if one.verdict is Verdict.REAL and one.id in now.incidents]

    async def promote(
        self,
        name: str,
        version: int,
        actor: str,
        start_ms: int | None = None,
        end_ms: int | None = None,
        max_more_alerts: int = 0,
    ) -> Trial:
        """Let a version count from now on, if a trial says that it does no harm, and of a deep model that it helps.

        Raises:
            Conflict: it counts already, or would raise more alerts than allowed, or lose a confirmed incident; or it is
                a deep model with which everything would have been as it was.
            NotFound, Rejected, Overloaded: as for `try_out`.
        """
        found = await self.named(name)
        if found.promoted is not None and found.promoted.version == version:
            raise Conflict(f"version {version} of model {name!r} is promoted already")
        command = PromoteModel(await self._store.model(name, version), version, actor)
        trial = await self._tried(command, start_ms, end_ms)
        if trial.lost:
            raise Conflict(
                f"version {version} of model {name!r} is not promoted: of {trial.confirmed} incidents judged real it"
                f" would have lost {len(trial.lost)}, the first {trial.lost[0]}"
            )
        if trial.alerts_then > trial.alerts_now + max_more_alerts:
            raise Conflict(
                f"version {version} of model {name!r} is not promoted: it would have raised {trial.alerts_then} alerts"
                f" instead of {trial.alerts_now}, and at most {max_more_alerts} more are allowed"
            )
        if command.model.kind is ModelKind.DEEP and trial.is_the_same:
            raise Conflict(
                f"version {version} of model {name!r} is not promoted: with it {trial.alerts_then} alerts would have"
                " fired as without it, and none of what was real sooner; a deep-forecaster counts only where it helps"
            )
        await self._control.submit(command)
        await self._shadows.refresh()
        return trial

    async def roll_back(self, name: str, actor: str) -> NamedModel:
        """Return to the version below that was promoted before, or to none; nothing is tried out first.

        Raises:
            NotFound: there is no model of that name.
            Conflict: no version of it is promoted.
        """
        found = await self.named(name)
        if found.promoted is None:
            raise Conflict(f"no version of model {name!r} is promoted")
        before = [
            one.version
            for one in found.versions
            if one.version < found.promoted.version and one.state is ModelState.RETIRED
        ]
        if before:
            await self._control.submit(PromoteModel(await self._store.model(name, before[-1]), before[-1], actor))
        else:
            await self._control.submit(RetireModel(name, actor))
        await self._shadows.refresh()
        return await self.named(name)

    # ---- models of others -------------------------------------------------------------------------------------

    async def take_in(self, model: TrainedModel, selector: str, origin: str, actor: str) -> ModelVersion:
        """Keep a model that was trained elsewhere as the next version of its name: a shadow, as any other.

        Args:
            model: checked by `check_imported`.
            selector: of the series it is for, as it was written.
            origin: what trained it, in the words of who brings it.
            actor: who that is.

        Raises:
            Rejected: `model_name`, for the name of a detector; `regex`, for a pattern of its matchers.
            Unavailable: the log does not answer; nothing is kept.
        """
        if model.name in (self._detector().name, RESERVED):
            raise Rejected("model_name", f"{model.name!r} is the name of a detector")
        self._compile(model.matchers)
        served = self._monitor.in_force.models.find(model.name)
        lineage = Lineage(
            selector=selector,
            series=0,
            samples=0,
            start_ms=0,
            end_ms=0,
            parent=None if served is None else served.command.version,
            code=f"imported: {origin}" if origin else "imported",
            seed=0,
            actor=actor,
        )
        # first, so that nothing is kept of which the audit log does not know who wanted it
        await self._control.append(ImportModel(model.name, selector, origin, actor))
        made = await self._store.add_model(model, lineage, (), self._clock.now_ms())
        await self._shadows.refresh()
        return made

    async def exported(self, name: str, version: int | None) -> tuple[TrainedModel, ModelVersion]:
        """Return a version with its model: the one asked for, or that which counts, or else the newest.

        Raises:
            NotFound: there is none.
        """
        found = await self.named(name)
        if version is None:
            version = found.promoted.version if found.promoted is not None else found.versions[-1].version
        known = next((one for one in found.versions if one.version == version), None)
        if known is None:
            raise NotFound(f"there is no version {version} of model {name!r}")
        return await self._store.model(name, version), known

    # ---- scores on demand -------------------------------------------------------------------------------------

    async def score(self, name: str, version: int | None, windows: Sequence[Window]) -> tuple[int, list[Scores]]:
        """Score rows as if nothing had been before them; return the version that did, and scores by window.

        Args:
            name: of a model, or of the default detector.
            version: of the model; None means the one that counts, or else the newest.
            windows: each of a series of its own.

        Raises:
            NotFound: there is no such model or version.
            Rejected: `score_size`, or the model is damaged.
        """
        rows = sum(len(one.values) for one in windows)
        if len(windows) > MAX_SCORED_SERIES or rows > MAX_SCORED_ROWS:
            raise Rejected(
                "score_size",
                f"{len(windows)} series with {rows} rows are too many: at most {MAX_SCORED_SERIES} series and"
                f" {MAX_SCORED_ROWS} rows are scored at once",
            )
        plain = self._detector()
        if name == plain.name:
            if version not in (None, plain.version):
                raise NotFound(f"the detector {name} is of version {plain.version}")
            return plain.version, await asyncio.to_thread(scores_of, plain, windows)
        found = await self.named(name)
        if version is None:
            version = found.promoted.version if found.promoted is not None else found.versions[-1].version
        model = await self._store.model(name, version)
        return version, await asyncio.to_thread(self._scores_of_model, model, version, windows)

    def _scores_of_model(self, model: TrainedModel, version: int, windows: Sequence[Window]) -> list[Scores]:
        from quantum.domain.detectors.trained import detector_of  # noqa: PLC0415 - imports numba, a second

        detector: TrainedDetector = detector_of(model, version, self._compile)
        for slot, one in enumerate(windows):
            detector.meet(slot, one.labels)
        return scores_of(detector, windows)


def scores_of(detector: Detector, windows: Sequence[Window]) -> list[Scores]:
    """Return the scores of each window, all rows taken in order of time."""
    sizes = [len(one.values) for one in windows]
    slots = np.repeat(np.arange(len(windows)), sizes)
    at_ms = np.concatenate([np.zeros(0, np.int64), *(one.at_ms for one in windows)])
    values = np.concatenate([np.zeros(0), *(one.values for one in windows)])
    order = np.lexsort((slots, at_ms))
    scores = detector.score_and_learn(slots[order], at_ms[order], values[order])
    back = np.empty(len(order), np.intp)
    back[order] = np.arange(len(order))
    parts = np.split(back, np.cumsum(sizes)[:-1]) if windows else []
    return [Scores(scores.score[rows], scores.expected[rows], scores.lower[rows], scores.upper[rows]) for rows in parts]


def one_like(wanted: Incident) -> Callable[[Incident], bool]:
    """Return a test for incidents of the same place at an overlapping time."""

    def is_like(one: Incident) -> bool:
        begins_before = one.opened_at_ms <= (wanted.resolved_at_ms or END)
        return one.place == wanted.place and begins_before and (one.resolved_at_ms or END) >= wanted.opened_at_ms

    return is_like


def _is_sooner(known: Incident, then: History) -> bool:
    """Return whether an incident like a known one opens before it."""
    is_like = one_like(known)
    return any(is_like(one) and one.opened_at_ms < known.opened_at_ms for one in then.incidents.values())


def _fired(history: History) -> int:
    return sum(history.start_ms <= (one.firing_at_ms or 0) < history.end_ms for one in history.fired)
