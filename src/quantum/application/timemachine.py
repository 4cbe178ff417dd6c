"""The time machine: runs stored facts through the same pipeline again and says what it would have told whom.

With what was in force, the replayed history equals the recorded one, byte for byte. With a draft, the policies and
routes in the log are left aside and the draft is in force from the first fact on; a draft of routes alone leaves the
policies as they were. Nothing leaves the machine.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

from quantum.application.ports import AlertFilter, Page
from quantum.domain.alerts import Alert, AlertState
from quantum.domain.errors import Rejected
from quantum.domain.facts import (
    DeletePolicy,
    DeleteReceiver,
    DeleteRoute,
    Fact,
    Heartbeat,
    PromoteModel,
    PutPolicy,
    PutReceiver,
    PutRoute,
    RetireModel,
    Samples,
    TeachPolicy,
    UnteachPolicy,
    command_in,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from quantum.application.monitoring import StateCodec
    from quantum.application.ports import AlertStore, CheckpointStore, FactLog, SampleStore
    from quantum.domain.alerts import Incident, NotificationIntent, Transition
    from quantum.domain.facts import FactBody, WebhookReceiver
    from quantum.domain.pipeline import Pipeline, PipelineState
    from quantum.domain.policies import AlertPolicy
    from quantum.domain.routes import Route

ROWS_AT_ONCE: Final = 200_000
MAX_ALERTS: Final = 10_000
ROUTES: Final = (PutRoute, DeleteRoute)
CONFIGURATION: Final = (*ROUTES, PutPolicy, DeletePolicy, TeachPolicy, UnteachPolicy, PutReceiver, DeleteReceiver)


@dataclass(frozen=True, slots=True)
class Draft:
    """What to try instead of what is in the log.

    Attributes:
        policies: None leaves those of the log, and its receivers.
        receivers: those that policies and routes may name.
        routes: without any, the root tells nobody.
    """

    policies: tuple[AlertPolicy, ...] | None
    receivers: tuple[WebhookReceiver, ...] = ()
    routes: tuple[Route, ...] = ()

    def put_in_force(self, pipeline: Pipeline) -> None:
        """Let a pipeline work by it; raises QuantumError if it makes no sense."""
        if self.policies is None:
            pipeline.lead_by(self.routes, {one.name for one in self.receivers})
        else:
            pipeline.install(self.policies, self.receivers, self.routes)

    @property
    def aside(self) -> tuple[type[object], ...]:
        """Commands of the log that do not count any more."""
        return ROUTES if self.policies is None else CONFIGURATION


@dataclass(slots=True)
class History:
    """What happened in `[start_ms, end_ms)`: transitions and intents in order, alerts and incidents as last seen."""

    start_ms: int
    end_ms: int
    samples: int = 0
    transitions: list[Transition] = field(default_factory=list)
    intents: list[NotificationIntent] = field(default_factory=list)
    alerts: dict[str, Alert] = field(default_factory=dict)
    incidents: dict[str, Incident] = field(default_factory=dict)

    @property
    def fired(self) -> list[Alert]:
        """Alerts that began to fire within the time, in order."""
        return [alert for alert in self.alerts.values() if alert.firing_at_ms is not None]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A replay beside the record: ids of fired alerts."""

    live: int
    only_replayed: tuple[str, ...]
    only_live: tuple[str, ...]


class TimeMachine:
    """Replays one tenant's log."""

    def __init__(
        self,
        log: FactLog,
        samples: SampleStore,
        alerts: AlertStore,
        checkpoints: CheckpointStore,
        pipeline: Callable[[], Pipeline],
        codec: StateCodec,
    ) -> None:
        self._log, self._samples, self._alerts, self._checkpoints = log, samples, alerts, checkpoints
        self._pipeline = pipeline
        self._codec = codec

    async def replay(
        self,
        start_ms: int,
        end_ms: int,
        draft: Draft | None = None,
        *,
        trial: PromoteModel | None = None,
        beside: Sequence[AlertPolicy] = (),
        progress: Callable[[float], None] = lambda _: None,
    ) -> History:
        """Return the history of `[start_ms, end_ms)` as the pipeline concludes it from the facts.

        Args:
            start_ms: from when on to report; the pipeline knows what came before.
            end_ms: where to stop.
            draft: policies and routes to try; None keeps those of the log.
            trial: a version of a model that counts all the time, whatever the log says of that model.
            beside: more policies to watch by, with ids of their own; those of the log are not touched by them.
            progress: is told the share that is done, in [0, 1].

        Raises:
            Rejected: `replay_range`, or the draft makes no sense.
        """
        if start_ms >= end_ms:
            raise Rejected("replay_range", "the end of a replay must lie after its start")
        pipeline = await self._pipeline_before(start_ms)
        # what was forgotten cannot be replayed; the history says from when on it is
        history = History(max(start_ms, pipeline.at_ms), end_ms)
        if history.start_ms >= end_ms:
            raise Rejected("replay_range", f"everything before {history.start_ms} was forgotten")
        if draft is not None:
            draft.put_in_force(pipeline)
        pipeline.watch_beside(beside)
        if trial is not None:
            pipeline.models.put(trial, pipeline.labels)
        aside = _Aside(() if draft is None else draft.aside, None if trial is None else trial.model.name)
        first, (last, _) = pipeline.position, await self._log.last()
        while facts := await self._log.read(pipeline.position, ROWS_AT_ONCE):
            wanted = [fact for fact in facts if fact.at_ms < end_ms]
            await asyncio.to_thread(_run, pipeline, wanted, history, aside)
            progress((facts[-1].position - first) / max(1, last - first))
            if len(wanted) < len(facts):
                break
        return history

    async def _pipeline_before(self, start_ms: int) -> Pipeline:
        """Return the pipeline as it was at the last landmark before a time, or at the beginning of what is left."""
        begins = await self._log.begins_after()
        before = [position for position, at_ms in await self._checkpoints.landmarks() if at_ms < start_ms]
        return await self.pipeline_at(max(begins, *before, 0))

    async def pipeline_at(self, position: int) -> Pipeline:
        """Return the pipeline as it was at the newest checkpoint that is not after a position of what is left.

        Without one that is of this version of the detector, it is at the beginning of what is left, and learns anew.
        """
        labels = dict(await self._samples.series())
        pipeline = self._pipeline()
        try:
            pipeline.restore(await self._state(position), labels)
        except (ValueError, KeyError):
            pipeline = self._pipeline()
            if begins := await self._log.begins_after():
                pipeline.adopt(await self._state(begins), labels)
        return pipeline

    async def _state(self, position: int) -> PipelineState:
        found = await self._checkpoints.newest(position)
        if found is None:
            raise KeyError(position)
        return self._codec.unpack(found[1])

    async def compare(self, history: History) -> Comparison:
        """Return how the fired alerts of a replay differ from those that were recorded."""
        wanted = AlertFilter(end_ms=history.end_ms, states=(AlertState.FIRING, AlertState.RESOLVED))
        live = {
            alert.id
            for alert in await self._alerts.alerts(wanted, Page(limit=MAX_ALERTS))
            if alert.firing_at_ms is not None and history.start_ms <= alert.firing_at_ms < history.end_ms
        }
        replayed = {
            alert.id for alert in history.fired if history.start_ms <= (alert.firing_at_ms or 0) < history.end_ms
        }
        return Comparison(len(live), tuple(sorted(replayed - live)), tuple(sorted(live - replayed)))


@dataclass(frozen=True, slots=True)
class _Aside:
    """Which commands of the log a replay leaves aside, because it tries something else in their place."""

    kinds: tuple[type[object], ...]
    model: str | None

    def has(self, body: FactBody) -> bool:
        """Return whether a fact is one of them."""
        match body:
            case PromoteModel():
                return body.model.name == self.model
            case RetireModel():
                return body.name == self.model
        return isinstance(body, self.kinds)


def _run(pipeline: Pipeline, facts: Sequence[Fact], history: History, aside: _Aside) -> None:
    for fact in facts:
        is_aside = aside.has(command_in(fact.body))
        step = pipeline.step(Fact(fact.position, fact.at_ms, Heartbeat()) if is_aside else fact)
        if fact.at_ms < history.start_ms:
            continue
        effects = step.effects
        history.samples += len(fact.body.batch) if isinstance(fact.body, Samples) else 0
        history.transitions += (one for one in effects.transitions if history.start_ms <= one.at_ms < history.end_ms)
        history.intents += (one for one in effects.intents if history.start_ms <= one.at_ms < history.end_ms)
        history.alerts.update((alert.id, alert) for alert in effects.alerts)
        history.incidents.update((incident.id, incident) for incident in effects.incidents)


def history_lines(
    transitions: Iterable[Transition], intents: Iterable[NotificationIntent], incidents: Iterable[Incident]
) -> bytes:
    """Return a history as canonical JSON lines: equal histories are equal bytes."""
    rows: list[tuple[int, str, str, int, str, Transition | NotificationIntent | Incident]] = [
        *((one.at_ms, "transition", one.alert_id, one.seq, "", one) for one in transitions),
        *((one.at_ms, "intent", one.alert.id, one.alert.seq, one.receiver, one) for one in intents),
        *((one.opened_at_ms, "incident", one.id, 0, "", one) for one in incidents),
    ]
    rows.sort(key=lambda row: row[:-1])
    return b"".join(json.dumps([row[1], asdict(row[-1])], sort_keys=True).encode() + b"\n" for row in rows)
