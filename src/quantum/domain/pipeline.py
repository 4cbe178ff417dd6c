"""The pipeline: samples -> scores -> policies -> alerts -> incidents -> notifications, as one function of the facts.

`Pipeline.step(fact)` is pure and synchronous; the live system and the time machine feed it the same facts and get the
same history, byte for byte. The log is its only clock: policies are evaluated at every whole second between the times
of consecutive facts. A `Started` fact, or a hole of more than a minute, is time that nobody watched: it is skipped,
and counts toward no timer and no silence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from quantum.domain.alerting import AlertTimer, Changes, Evaluation, PolicyWatch
from quantum.domain.alerts import AlertState, Effects, IncidentState, NotificationIntent, ServedModel
from quantum.domain.anomalies import AnomalyBook, OpenAnomaly
from quantum.domain.api_keys import KeyRing
from quantum.domain.audit import attendance_of, denial_of, entry_of
from quantum.domain.catalog import Catalog
from quantum.domain.conditions import EVALUATION_MS, View, rate_shape
from quantum.domain.coverage import Allotment, Coverage
from quantum.domain.detectors.tiered import Tiered
from quantum.domain.errors import QuantumError
from quantum.domain.facts import (
    AcceptLoss,
    Attendance,
    CancelTraining,
    Command,
    DeletePolicy,
    DeleteReceiver,
    DeleteRoute,
    Denied,
    EndSilence,
    Fact,
    Heartbeat,
    ImportModel,
    IssueApiKey,
    Ordered,
    PromoteModel,
    PutCoverage,
    PutPolicy,
    PutReceiver,
    PutRoute,
    PutSilence,
    RetireModel,
    RevokeApiKey,
    Samples,
    Started,
    StartTraining,
    TeachPolicy,
    UnteachPolicy,
    WebhookReceiver,
)
from quantum.domain.identity import content_id
from quantum.domain.incidents import IncidentBook
from quantum.domain.newest import Newest
from quantum.domain.presence import SILENT, STALENESS_MARKER, Presence
from quantum.domain.routing import RouteBook
from quantum.domain.scoring import Scores
from quantum.domain.serving import ServedBook
from quantum.domain.silences import Silence, SilenceBook, labels_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from numpy.typing import NDArray

    from quantum.domain.alerts import Alert, Anomaly, Incident, Transition
    from quantum.domain.api_keys import ApiKey
    from quantum.domain.audit import AuditEntry
    from quantum.domain.detectors import Detector
    from quantum.domain.labels import LabelSet, MatcherCompiler
    from quantum.domain.policies import AlertPolicy
    from quantum.domain.routes import Route
    from quantum.domain.series import SampleBatch
    from quantum.domain.teaching import Lesson

UNWATCHED_MS: Final = 60_000
"""A longer hole between two facts means that nobody watched (a suspended laptop, say)."""
HISTORY_MS: Final = 300_000
"""Samples that are older than this when they arrive are learnt and scored, but policies do not look at them."""
ANOMALY_SCORE: Final = 0.4
NEVER_MS: Final = int(np.iinfo(np.int64).max)
"""Later than any sample."""
AS_EVER: Final = Allotment()
"""What is in force until a fact says otherwise."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one fact led to.

    Attributes:
        effects: everything concluded.
        scores: for samples, one row each; else None.
        refusal: why a command was refused; it then changed nothing.
    """

    effects: Effects
    scores: Scores | None = None
    refusal: QuantumError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineMemory:
    """The part of the state that is not arrays."""

    position: int = 0
    at_ms: int = 0
    watched_ms: int = 0
    series_count: int = 0
    samples: int = 0
    policies: tuple[AlertPolicy, ...] = ()
    receivers: tuple[WebhookReceiver, ...] = ()
    timers: tuple[tuple[str, AlertTimer], ...] = ()
    anomalies: tuple[OpenAnomaly, ...] = ()
    incidents: tuple[Incident, ...] = ()
    alert_homes: tuple[tuple[str, str], ...] = ()
    detector: str = ""
    models: tuple[PromoteModel, ...] = ()
    allotment: Allotment = AS_EVER
    api_keys: tuple[ApiKey, ...] = ()
    lessons: tuple[Lesson, ...] = ()
    silences: tuple[Silence, ...] = ()
    routes: tuple[Route, ...] = ()


@dataclass(frozen=True, slots=True)
class PipelineState:
    """The whole state: `Pipeline.restore` of it continues as if nothing had happened."""

    arrays: dict[str, NDArray[Any]]
    memory: PipelineMemory


class Conclusions:
    """Collects what a step concludes; of upserts, the last of each id is told."""

    def __init__(self) -> None:
        self.transitions: list[Transition] = []
        self.alerts: dict[str, Alert] = {}
        self.incidents: dict[str, Incident] = {}
        self.anomalies: dict[str, Anomaly] = {}
        self.intents: list[NotificationIntent] = []
        self.audit: list[AuditEntry] = []

    def effects(self, **configuration: Any) -> Effects:
        """Return everything collected."""
        return Effects(
            transitions=tuple(self.transitions),
            alerts=tuple(self.alerts.values()),
            incidents=tuple(self.incidents.values()),
            anomalies=tuple(self.anomalies.values()),
            intents=tuple(self.intents),
            audit=tuple(self.audit),
            **configuration,
        )


class Pipeline:
    """State of everything that is derived from the log of one tenant."""

    def __init__(
        self, detector: Detector, compile_matchers: MatcherCompiler, anomaly_score: float = ANOMALY_SCORE
    ) -> None:
        self.detector = detector
        self.catalog = Catalog()
        self.models = ServedBook(compile_matchers)
        self.keys = KeyRing()
        self.newest = Newest()
        self.presence = Presence()
        self.labels: dict[int, LabelSet] = {}
        self.position = 0
        self.at_ms = 0
        self.watched_ms = 0
        self.samples = 0
        self._compile = compile_matchers
        self.coverage = Coverage(AS_EVER, compile_matchers)
        self._anomaly_score = anomaly_score
        self._anomalies = AnomalyBook(anomaly_score, detector=self._detector_version)
        self._incidents = IncidentBook()
        self.silences = SilenceBook(compile_matchers)
        self.routes = RouteBook(compile_matchers)
        self._watches: dict[str, PolicyWatch] = {}
        self._withheld: set[tuple[str, LabelSet]] = set()

    # ---- facts ------------------------------------------------------------------------------------------------

    def step(self, fact: Fact, scores: Scores | None = None) -> Step:
        """Take in the next fact of the log.

        Args:
            fact: the next one.
            scores: what the detector says to its samples, if that was asked elsewhere.

        Raises:
            ValueError: the fact does not follow the one before; nothing was changed.
        """
        if fact.position != self.position + 1:
            raise ValueError(f"fact {fact.position} does not follow fact {self.position}")
        found = Conclusions()
        self._pass_time(fact, found)
        self.position, self.at_ms = fact.position, fact.at_ms
        match fact.body:
            case Samples():
                scores = self._take_samples(fact.body, fact.at_ms, found, scores)
                return Step(found.effects(), scores=scores)
            case Heartbeat() | Started():
                return Step(found.effects())
            case Denied() as denied:
                found.audit.append(denial_of(fact, denied))
                return Step(found.effects())
            case Attendance() as attendance:
                found.audit.append(attendance_of(fact, attendance))
                return Step(found.effects())
            case Ordered(command, origin):
                return self._account(fact, command, origin, found)
            case command:
                return self._account(fact, command, "", found)

    def _pass_time(self, fact: Fact, found: Conclusions) -> None:
        """Evaluate at every whole second after the fact before, up to this one."""
        if isinstance(fact.body, Started) or not 0 < fact.at_ms - self.at_ms <= UNWATCHED_MS:
            return
        first = self.at_ms // EVALUATION_MS + 1
        for second in range(first, fact.at_ms // EVALUATION_MS + 1):
            self._evaluate(second * EVALUATION_MS, found)

    def _take_samples(self, samples: Samples, at_ms: int, found: Conclusions, given: Scores | None) -> Scores:
        for slot, labels in samples.new_series:
            self._meet(slot, labels)
        batch = samples.batch
        ends = batch.values.view(np.uint64) == STALENESS_MARKER
        blank = np.isnan(batch.values) & ~ends
        alone = given or self.detector.score_and_learn(batch.slots, batch.at_ms, batch.values)
        scores = self.models.judge(batch, alone)
        for anomaly in self._anomalies.take(*_some(batch, scores, ~blank), self.labels):
            found.anomalies[anomaly.id] = anomaly
        self.presence.end(batch.slots[ends])
        live_from_ms = NEVER_MS if samples.backfill else at_ms - HISTORY_MS + 1
        news, scores_of_news = _some(batch, scores, ~(ends | blank))
        rows = self.newest.take(news, scores_of_news, live_from_ms)
        self.presence.hear(news.slots[rows], news.at_ms[rows], self.watched_ms)
        self.presence.hear(batch.slots[blank], batch.at_ms[blank], self.watched_ms)
        self.presence.space(batch.slots, batch.at_ms)
        self.samples += len(batch)
        return scores

    def _meet(self, slot: int, labels: LabelSet) -> None:
        self.newest.columns.grow(slot + 1)
        self.presence.grow(slot + 1)
        self.models.meet(slot, labels)
        tier = self.coverage.meet(slot, labels)
        if isinstance(self.detector, Tiered):
            self.detector.meet(slot, tier)
        # last, because readers in other threads look up what is named here
        self.labels[slot] = labels
        for watch in self._watches.values():
            watch.bind(slot, labels)

    # ---- policies ---------------------------------------------------------------------------------------------

    def view(self, now_ms: int) -> View:
        """Return what policies see now."""
        return View(
            now_ms=now_ms,
            watched_ms=self.watched_ms,
            newest=self.newest.columns,
            silence_ms=self.presence.silence_ms(self.watched_ms),
            interval_ms=self.presence.interval_ms(),
            spacing_ms=self.presence.spacing_ms(),
            silent=self.presence.status(self.watched_ms) == SILENT,
        )

    def _evaluate(self, now_ms: int, found: Conclusions) -> None:
        self.watched_ms += EVALUATION_MS
        view = self.view(now_ms)
        for anomaly in self._anomalies.end_silent(view.silent):
            found.anomalies[anomaly.id] = anomaly
        for policy_id in sorted(self._watches):
            changes = Changes()
            self._watches[policy_id].evaluate(Evaluation(view, self.labels, changes, self._detector_version))
            self._follow(self._watches[policy_id], changes, now_ms, found)
        self._tell_what_was_withheld(now_ms, found)

    def _follow(self, watch: PolicyWatch, changes: Changes, now_ms: int, found: Conclusions) -> None:
        """Let incidents and notifications follow what a policy's alerts did."""
        found.alerts.update((alert.id, alert) for alert in changes.alerts)
        found.transitions.extend(changes.transitions)
        for transition in changes.transitions:
            alert = found.alerts[transition.alert_id]
            if transition.after is AlertState.FIRING:
                incident = self._incidents.fire(alert)
                alert = self._routed(watch.policy, replace(alert, incident_id=incident.id))
                alert = self._withhold(watch.policy.id, alert, now_ms)
                watch.attach(alert)
            elif transition.before is AlertState.FIRING:
                incident = self._incidents.mend(alert)
                self._withheld.discard((watch.policy.id, alert.group))
            else:
                continue
            found.alerts[alert.id] = alert
            found.incidents[incident.id] = incident
            if alert.silenced_by is None:
                found.intents.extend(self._tell(watch.policy, alert, now_ms))

    def _withhold(self, policy_id: str, alert: Alert, now_ms: int) -> Alert:
        """Return an alert that begins to fire, with the silence that keeps it quiet, if one does."""
        silence = self.silences.covering(labels_of(alert), now_ms)
        if silence is None:
            return alert
        self._withheld.add((policy_id, alert.group))
        return replace(alert, silenced_by=silence.id)

    def _tell_what_was_withheld(self, now_ms: int, found: Conclusions) -> None:
        """Tell of alerts that still fire and that no silence keeps quiet any more."""
        for policy_id, group in sorted(self._withheld, key=lambda one: (one[0], one[1].pairs)):
            watch = self._watches[policy_id]
            alert = watch.timers[group].alert
            silence = self.silences.covering(labels_of(alert), now_ms)
            if silence is not None and silence.id == alert.silenced_by:
                continue
            # the routes may have changed while it was kept quiet
            alert = replace(self._routed(watch.policy, alert), silenced_by=None if silence is None else silence.id)
            watch.attach(alert)
            found.alerts[alert.id] = alert
            if silence is None:
                self._withheld.remove((policy_id, group))
                found.intents.extend(self._tell(watch.policy, alert, now_ms))

    def _routed(self, policy: AlertPolicy, alert: Alert) -> Alert:
        """Return an alert with where it is led: nowhere, if its policy says itself whom to tell."""
        return replace(alert, routed=None if policy.receivers else self.routes.route(labels_of(alert)))

    def _tell(self, policy: AlertPolicy, alert: Alert, now_ms: int) -> list[NotificationIntent]:
        receivers = policy.receivers if alert.routed is None else alert.routed.receivers
        return [
            NotificationIntent(
                id=content_id(alert.id, alert.seq, receiver, digits=32), receiver=receiver, at_ms=now_ms, alert=alert
            )
            for receiver in receivers
        ]

    # ---- commands ---------------------------------------------------------------------------------------------

    def _account(self, fact: Fact, command: Command, origin: str, found: Conclusions) -> Step:
        """Carry out a command and enter in the audit log what came of it."""
        before = self._standing(command)
        step = self._obey(command, found)
        entry = entry_of(fact, command, origin, before, self._standing(command), step.refusal)
        return step if entry is None else replace(step, effects=replace(step.effects, audit=(entry,)))

    def _standing(self, command: Command) -> object:
        """Return what a command is about as it stands; None if it is not there, or is told by the command alone."""
        looks: dict[type[object], Callable[[Any], object]] = {
            PutPolicy: lambda put: self.catalog.policy(put.policy.id),
            DeletePolicy: lambda gone: self.catalog.policy(gone.policy_id),
            TeachPolicy: lambda put: self.catalog.policy(put.policy.id),
            UnteachPolicy: lambda put: self.catalog.policy(put.policy_id),
            PutReceiver: lambda put: self.catalog.receiver(put.receiver.name),
            DeleteReceiver: lambda gone: self.catalog.receiver(gone.name),
            PutRoute: lambda put: self.routes.find(put.route.name),
            DeleteRoute: lambda gone: self.routes.find(gone.name),
            PutSilence: lambda put: self.silences.find(put.silence.id),
            EndSilence: lambda gone: self.silences.find(gone.silence_id),
            PromoteModel: lambda put: self.models.standing(put.model.name),
            RetireModel: lambda gone: self.models.standing(gone.name),
        }
        look = looks.get(type(command))
        return look(command) if look else self._incidents.find(getattr(command, "incident_id", ""))

    def _obey(self, command: Command, found: Conclusions) -> Step:
        try:
            return Step(self._obeyed(command, found))
        except QuantumError as refusal:
            return Step(found.effects(), refusal=refusal)

    def _obeyed(self, command: Command, found: Conclusions) -> Effects:
        match command:
            case PutPolicy() | TeachPolicy() | UnteachPolicy():
                return found.effects(policies=(self._put_policy(command, found),))
            case DeletePolicy():
                gone = self.catalog.delete_policy(command)
                self._end_watch(gone.id, "its policy was deleted", found)
                return found.effects(deleted_policies=(gone.id,))
            case PromoteModel() | RetireModel():
                return found.effects(served=(self._serve(command),))
            case PutReceiver():
                return found.effects(receivers=(self.catalog.put_receiver(command),))
            case PutCoverage():
                self._cover(Coverage(command.allotment, self._compile))
            case AcceptLoss() | ImportModel() | StartTraining() | CancelTraining():
                pass
            case DeleteReceiver():
                self.routes.check_loss(command.name)
                return found.effects(deleted_receivers=(self.catalog.delete_receiver(command).name,))
            case IssueApiKey() | RevokeApiKey():
                self.keys.obey(command, self.at_ms)
            case PutSilence() | EndSilence() | PutRoute() | DeleteRoute():
                self._direct(command)
            case _:
                incident = self._incidents.obey(command, self.at_ms)
                found.incidents[incident.id] = incident
        return found.effects()

    def _receiver_names(self) -> frozenset[str]:
        return frozenset(one.name for one in self.catalog.receivers)

    def _direct(self, command: PutSilence | EndSilence | PutRoute | DeleteRoute) -> None:
        """Change who is told of what."""
        match command:
            case PutSilence():
                self.silences.put(command.silence, self.at_ms)
            case EndSilence():
                self.silences.end(command.silence_id, command.actor, self.at_ms)
            case PutRoute():
                self.routes.put(command, self._receiver_names())
            case DeleteRoute():  # pragma: no branch - the last kind there is
                self.routes.delete(command)

    def _cover(self, coverage: Coverage) -> None:
        """Put other rules in force, for all series that were met too."""
        self.coverage = coverage
        tiers = coverage.meet_all(self.labels)
        if isinstance(self.detector, Tiered):
            self.detector.assign(tiers)

    def _serve(self, command: PromoteModel | RetireModel) -> ServedModel:
        if isinstance(command, RetireModel):
            self.models.remove(command.name)
            return ServedModel(command.name, 0, self.at_ms)
        self.models.put(command, self.labels)
        return ServedModel(command.model.name, command.version, self.at_ms)

    def _put_policy(self, command: PutPolicy | TeachPolicy | UnteachPolicy, found: Conclusions) -> AlertPolicy:
        if not isinstance(command, UnteachPolicy):
            # a pattern that is refused must be so before anything changes
            self._compile(command.policy.matchers)
        match command:
            case PutPolicy():
                policy = self.catalog.put_policy(command)
            case TeachPolicy():
                policy = self.catalog.teach_policy(command, self.at_ms)
            case UnteachPolicy():  # pragma: no branch - the last kind there is
                policy = self.catalog.unteach_policy(command)
        watch = PolicyWatch(policy, self._compile(policy.matchers))
        self._put_watch(policy, watch, self._watches.get(policy.id), found)
        return policy

    def _put_watch(
        self, policy: AlertPolicy, watch: PolicyWatch, before: PolicyWatch | None, found: Conclusions
    ) -> None:
        if before is not None and policy.enabled and _same_watch(before.policy, policy):
            before.revise(policy)
            return
        self._end_watch(policy.id, "its policy was edited" if policy.enabled else "its policy was disabled", found)
        if policy.enabled:
            self._start_watch(watch)

    def _start_watch(self, watch: PolicyWatch) -> None:
        for slot in sorted(self.labels):
            watch.bind(slot, self.labels[slot])
        self._watches[watch.policy.id] = watch

    def _end_watch(self, policy_id: str, reason: str, found: Conclusions) -> None:
        watch = self._watches.pop(policy_id, None)
        if watch is not None:
            changes = Changes()
            watch.end_all(self.at_ms, reason, changes)
            self._follow(watch, changes, self.at_ms, found)

    def install(
        self, policies: Iterable[AlertPolicy], receivers: Iterable[WebhookReceiver], routes: Iterable[Route] = ()
    ) -> None:
        """Put policies and routes in force, and no others, without a fact: how a replay tries a draft.

        What was in force ends without a word: its alerts and incidents are forgotten.

        Raises:
            QuantumError: one of them could not be put in force.
        """
        self.catalog, self._incidents, self._watches, self._withheld = Catalog(), IncidentBook(), {}, set()
        for receiver in receivers:
            self.catalog.put_receiver(PutReceiver(receiver, None, "draft"))
        self.lead_by(routes, self._receiver_names())
        for policy in policies:
            step = self._obey(PutPolicy(policy, None, "draft"), Conclusions())
            if step.refusal is not None:
                raise step.refusal

    def lead_by(self, routes: Iterable[Route], receivers: Collection[str]) -> None:
        """Put routes in force, and no others, without a fact: how a replay tries them. They may tell these receivers.

        Raises:
            Rejected: they make no sense.
        """
        self.routes.replace_all(routes, receivers)

    def watch_beside(self, policies: Iterable[AlertPolicy]) -> None:
        """Watch by more policies, without a fact and outside the catalog: how a replay compares settings of one.

        The alerts of a policy depend on no other policy, so those in force go on as ever; their ids must differ.

        Raises:
            QuantumError: a pattern of one is refused.
        """
        for policy in policies:
            self._start_watch(PolicyWatch(policy, self._compile(policy.matchers)))

    # ---- state ------------------------------------------------------------------------------------------------

    def dump(self) -> PipelineState:
        """Return the whole state as copies."""
        arrays = {f"detector.{name}": array for name, array in self.detector.dump().items()}
        arrays |= self.newest.dump() | self.presence.dump() | self._anomalies.dump() | self.models.dump()
        timers = []
        for policy_id, watch in sorted(self._watches.items()):
            arrays |= watch.dump()
            timers += [(policy_id, watch.timers[group]) for group in sorted(watch.timers, key=lambda name: name.pairs)]
        memory = PipelineMemory(
            position=self.position,
            at_ms=self.at_ms,
            watched_ms=self.watched_ms,
            series_count=len(self.labels),
            samples=self.samples,
            policies=self.catalog.policies,
            receivers=self.catalog.receivers,
            api_keys=self.keys.keys,
            lessons=self.catalog.lessons,
            silences=self.silences.silences,
            routes=self.routes.routes,
            timers=tuple(timers),
            anomalies=self._anomalies.ongoing,
            incidents=self._incidents.incidents,
            alert_homes=self._incidents.alert_homes,
            detector=self._detector_version,
            models=self.models.promoted,
            allotment=self.coverage.allotment,
        )
        return PipelineState(arrays, memory)

    @property
    def _detector_version(self) -> str:
        return f"{self.detector.name}/{self.detector.version}"

    def restore(self, state: PipelineState, labels: Mapping[int, LabelSet]) -> None:
        """Replace the state of a fresh pipeline.

        Args:
            state: what `dump` returned.
            labels: label sets by slot, at least of the slots that the state knows.

        Raises:
            ValueError: the state is of another detector, or does not fit the series; begin from the log's start.
        """
        memory = state.memory
        if memory.detector != self._detector_version:
            raise ValueError(f"the state is of detector {memory.detector}, this is {self._detector_version}")
        prefix = "detector."
        self.detector.restore({n.removeprefix(prefix): a for n, a in state.arrays.items() if n.startswith(prefix)})
        self.adopt(state, labels)

    def adopt(self, state: PipelineState, labels: Mapping[int, LabelSet]) -> None:
        """Do as `restore`, but leave the state of the detector, which may be another, and let it learn anew.

        Raises:
            ValueError: the state does not fit the series.
        """
        memory = state.memory
        self.newest.restore(state.arrays)
        self.presence.restore(state.arrays)
        self.labels = {slot: labels[slot] for slot in range(memory.series_count)}
        self._cover(Coverage(memory.allotment, self._compile))
        self.catalog = Catalog(memory.policies, memory.receivers, memory.lessons)
        self.models = ServedBook(self._compile)
        self.models.restore(memory.models, self.labels, state.arrays)
        self.keys = KeyRing(memory.api_keys)
        self.silences = SilenceBook(self._compile, memory.silences)
        self.routes = RouteBook(self._compile, memory.routes)
        self._anomalies = AnomalyBook(self._anomaly_score, memory.anomalies, self._detector_version)
        self._anomalies.restore(state.arrays)
        self._incidents = IncidentBook(memory.incidents, memory.alert_homes)
        self.position, self.at_ms = memory.position, memory.at_ms
        self.watched_ms, self.samples = memory.watched_ms, memory.samples
        self._restore_watches(state)

    def _restore_watches(self, state: PipelineState) -> None:
        self._watches = {}
        for policy in self.catalog.policies:
            if policy.enabled:
                self._start_watch(PolicyWatch(policy, self._compile(policy.matchers)))
                self._watches[policy.id].restore(state.arrays)
        self._withheld = set()
        for policy_id, timer in state.memory.timers:
            self._watches[policy_id].timers[timer.alert.group] = timer
            if timer.alert.silenced_by is not None:
                self._withheld.add((policy_id, timer.alert.group))

    # ---- for people -------------------------------------------------------------------------------------------

    @property
    def ongoing_anomalies(self) -> tuple[Anomaly, ...]:
        """Anomalies that last."""
        return tuple(item.anomaly for item in self._anomalies.ongoing)

    def is_odd(self, slots: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which slots have an anomaly that lasts, shape (n,)."""
        return self._anomalies.is_odd(slots)

    def cut_score(self, policy_id: str) -> float:
        """Return the score that pages now under a policy with a page budget; NaN if it is not in force."""
        watch = self._watches.get(policy_id)
        return float("nan") if watch is None else watch.cut_score

    @property
    def firing(self) -> int:
        """How many alerts fire now."""
        timers = (timer for watch in list(self._watches.values()) for timer in list(watch.timers.values()))
        return sum(timer.alert.state is AlertState.FIRING for timer in timers)

    @property
    def open_incidents(self) -> int:
        """How many incidents are not resolved."""
        return sum(one.state is not IncidentState.RESOLVED for one in self._incidents.incidents)


def _some(batch: SampleBatch, scores: Scores, rows: NDArray[np.bool_]) -> tuple[SampleBatch, Scores]:
    """Return the rows of a mask and their scores."""
    if rows.all():
        return batch, scores
    columns = (column[rows] for column in (scores.score, scores.expected, scores.lower, scores.upper))
    return batch.take(rows), Scores(*columns)


def _same_watch(before: AlertPolicy, after: AlertPolicy) -> bool:
    """Return whether alerts of a policy can live on after an edit: the same series, groups and kind of condition."""
    return (
        before.matchers == after.matchers
        and before.by == after.by
        and type(before.condition) is type(after.condition)
        and rate_shape(before.condition) == rate_shape(after.condition)
    )
