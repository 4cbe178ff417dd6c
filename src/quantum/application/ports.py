"""Ports: what the application needs from the world, in the domain's words. Every sentence here is a contract test.

A store object belongs to one tenant. All methods may raise `Unavailable`: nothing is then known of the outcome, and
doing the same again is safe. No driver's exception passes a port.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from quantum.application.publishing import News
    from quantum.application.scoring import Answer, Task, Writer
    from quantum.domain.alerts import (
        Alert,
        AlertState,
        Anomaly,
        Effects,
        Incident,
        IncidentState,
        NotificationIntent,
        Transition,
    )
    from quantum.domain.audit import AuditEntry, Outcome
    from quantum.domain.facts import Attendance, Command, Denied, Fact, Heartbeat, Ordered, Started, WebhookReceiver
    from quantum.domain.labels import LabelSet
    from quantum.domain.models import Lineage, ModelVersion, TrainedModel
    from quantum.domain.policies import AlertPolicy, Severity
    from quantum.domain.rollups import Rollups
    from quantum.domain.scoring import ScoredRows
    from quantum.domain.series import SampleBatch

    Metrics = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class SampleProposal:
    """Samples that somebody wants stored.

    Attributes:
        batch: the rows; slot `-1 - k` stands for `unknown[k]`, other slots are known to the store.
        unknown: label sets that the proposer has no slot for; distinct, though the store may know them by now.
        backfill: see `facts.Samples`.
    """

    batch: SampleBatch
    unknown: tuple[LabelSet, ...] = ()
    backfill: bool = False


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of a proposal.

    Attributes:
        fact: the fact with the rows that are new, in the order proposed; None when no row was new.
        slots: int64 (len(unknown),): the slots of `SampleProposal.unknown`.
        outcome: uint8 (n,), for each proposed row one of STORED, DUPLICATE (same value is there) and CONFLICT
            (another value is there; the first write wins).
    """

    fact: Fact | None
    slots: NDArray[np.int64]
    outcome: NDArray[np.uint8]


STORED, DUPLICATE, CONFLICT = 0, 1, 2


class FactLog(Protocol):
    """The durable, totally ordered log of facts: write-ahead log, hot tail and outbox in one.

    A method returns only after its fact would survive the loss of the process and, where the engine can promise it,
    of power. Positions are 1, 2, 3, ... without gaps; `at_ms` is `max(now_ms, at_ms of the fact before)`. Concurrent
    calls are serialised, and may share one commit. A cancelled call either happened wholly or not at all.
    """

    async def append_samples(self, proposal: SampleProposal, now_ms: int) -> Appended:
        """Store the rows whose (series, at_ms) is new, register new series, and append one fact of them.

        Equal values are compared bit by bit. Of equal (series, at_ms) within the proposal the first row counts. New
        label sets get the next dense slots, in the order of `unknown`, only if a row of theirs is stored.

        Raises:
            Overloaded: too many proposals wait.
        """

    async def append(self, body: Heartbeat | Started | Denied | Attendance | Ordered | Command, now_ms: int) -> Fact:
        """Append one fact that is not samples."""

    async def read(self, after: int, max_rows: int) -> list[Fact]:
        """Return facts with positions > `after`, in order: at least one if there is one, until `max_rows` samples.

        Sealed, merged or neither makes no difference: every fact comes back exactly as it was appended, rows in the
        same order.

        Raises:
            NotFound: the fact after `after` was forgotten.
        """

    async def begins_after(self) -> int:
        """Return the position up to which facts were forgotten, or 0."""

    async def last(self) -> tuple[int, int]:
        """Return position and `at_ms` of the newest fact, or (0, 0)."""


class SampleStore(Protocol):
    """Samples and scores by series and time."""

    async def series(self) -> list[tuple[int, LabelSet]]:
        """Return every registered series, in order of slot."""

    async def samples(self, slots: Sequence[int], start_ms: int, end_ms: int) -> SampleBatch:
        """Return the stored samples of some series with `start_ms <= at_ms < end_ms`, sorted by (slot, at_ms)."""

    async def scores(self, slots: Sequence[int], start_ms: int, end_ms: int) -> ScoredRows:
        """Return the kept scores in `[start_ms, end_ms)`, sorted by (slot, at_ms).

        Scores are within 0.0005 of what was kept, bands within a 256th of their width.
        """

    async def seal(self, upto: int, scores: ScoredRows) -> None:
        """Turn the facts up to a position into compressed per-series chunks and keep these scores with them.

        Samples and facts read the same before and after. Sealing up to a position that is sealed already changes
        nothing, so a repeated call is safe and keeps no score twice.
        """

    async def sealed_upto(self) -> int:
        """Return the position up to which facts are sealed, or 0."""

    async def merge(self) -> bool:
        """Rewrite some neighbouring sealed pieces as one, if that pays; return whether it did.

        Everything reads the same before, meanwhile and after. Repeated until it returns False, the number of pieces
        grows with the logarithm of what is stored, up to a size of piece that fits in memory. Pieces on different
        sides of a landmark stay apart. Only one caller at a time.
        """

    async def forget(self, upto: int, samples_from_ms: NDArray[np.int64] | None = None) -> None:
        """Delete facts, samples and scores of positions up to that of a landmark, and the states before it.

        Series keep their slots. Only one caller at a time, and not beside `merge` or `RollupStore.roll_up`.

        Args:
            upto: the position.
            samples_from_ms: by slot, of all series with samples up to there: samples and scores from then on stay,
                though their facts are gone. They still count as stored: the first write wins. What is stored together
                goes together, so some that are older stay until a later call. None: nothing stays.

        Raises:
            NotFound: there is no landmark at that position.
        """

    async def without_data(self, slots: Sequence[int], upto_ms: int) -> list[int]:
        """Return those of some series, sorted, that have neither samples nor rollups up to a time.

        Samples that are not sealed count whatever their time is; so may others that are stored together with older
        ones.
        """


class RollupStore(Protocol):
    """Lowest, highest, sum and count of samples by minute, ten minutes and hour; kept longer than the samples."""

    async def roll_up(self, upto: int) -> bool:
        """Roll up the next facts of positions up to that of a landmark; return whether there were any.

        Repeated until it returns False, all of them are rolled up. What `rollups` returns is the same before,
        meanwhile and after. Only one caller at a time, and not beside `merge` or `forget`.
        """

    async def rollups(self, slots: Sequence[int], start_ms: int, end_ms: int, resolution_ms: int) -> Rollups:
        """Return the buckets of some series that end in `(start_ms, end_ms]`, sorted by (slot, end_ms).

        They are those of all samples ever stored, rolled up or not, early or late, except facts that were forgotten
        before they were rolled up and what `forget_rollups` deleted. Lowest, highest and count are exact; the sum is
        that of the samples within rounding.

        Args:
            slots: which series.
            start_ms: a multiple of the resolution.
            end_ms: another.
            resolution_ms: one of `rollups.RESOLUTIONS_MS`.
        """

    async def whole_since(self) -> int:
        """Return the time from which no sample was forgotten, or 0 if none was."""

    async def forget_rollups(self, before_ms: int | NDArray[np.int64]) -> None:
        """Delete buckets that ended before a time, or that of their series by slot, where the facts are forgotten.

        Buckets that are stored together go together, so some stay longer.
        """


class CheckpointStore(Protocol):
    """States of the pipeline at positions of the log, so that a restart need not read everything."""

    async def save(self, position: int, state: bytes, landmark_at_ms: int | None = None) -> None:
        """Keep a state; older ones may be dropped once this one is durable.

        Landmarks stay, and so does the newest one that is not after what was published (`PublicationStore`).

        Args:
            position: of the last fact that the state knows; for a landmark, everything up to it is sealed.
            state: as the pipeline dumped it.
            landmark_at_ms: the time of that fact, if the state is to be kept until its past is forgotten.
        """

    async def landmarks(self) -> list[tuple[int, int]]:
        """Return position and time of every landmark, oldest first."""

    async def newest(self, upto: int | None = None) -> tuple[int, bytes] | None:
        """Return the state with the highest position (not above `upto`), or None."""


@dataclass(frozen=True, slots=True)
class Published:
    """Up to where everything was published.

    Attributes:
        position: of the last fact whose samples and conclusions are in the topics.
        at_ms: its time.
    """

    position: int
    at_ms: int


class PublicationStore(Protocol):
    """How far publishing has come."""

    async def published(self) -> Published | None:
        """Return what was noted last, or None if nothing ever was."""

    async def note_published(self, published: Published) -> None:
        """Note how far publishing has come, or from where on it is to be done again."""


class Publication(Protocol):
    """Topics in which other programs read what Quantum knows."""

    async def publish(self, news: News) -> None:
        """Publish news after all that were published before; on return they are there.

        Of one series, and of one alert, what is published first is read first. The same may be published again.

        Raises:
            Unavailable: some of it may be there. Publish the same again before anything else.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A slice of a list that is sorted newest first by (time, id): at most `limit` items strictly before `before`."""

    limit: int = 100
    before: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertFilter:
    """Which alerts; empty tuples and None mean any. Time is `pending_at_ms`, `[start_ms, end_ms)`."""

    states: tuple[AlertState, ...] = ()
    severities: tuple[Severity, ...] = ()
    policy_id: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyFilter:
    """Which anomalies; overlap with `[start_ms, end_ms)`; `ongoing` true keeps those that have not ended."""

    slots: tuple[int, ...] = ()
    ongoing: bool = False
    min_score: float = 0.0
    start_ms: int | None = None
    end_ms: int | None = None


class AlertStore(Protocol):
    """Conclusions of the pipeline, for reading.

    Lists are newest first, by (pending_at_ms, id), (opened_at_ms, id) and (start_ms, id).
    """

    async def record(self, effects: Effects, upto: int) -> None:
        """Apply effects and note the position they reach, atomically.

        Effects of positions that were recorded already are applied again without a visible change: transitions and
        intents are unique, and an intent that was delivered is not due again.
        """

    async def recorded_upto(self) -> int:
        """Return the newest recorded position, or 0."""

    async def prune(self, before_ms: int) -> None:
        """Delete anomalies that began and ended, and deliveries that were settled, before a time."""

    async def alerts(self, wanted: AlertFilter, page: Page) -> list[Alert]:
        """Return matching alerts; withdrawn ones only when asked for by state."""

    async def alert(self, alert_id: str) -> tuple[Alert, list[Transition]]:
        """Return an alert and its history, oldest first.

        Raises:
            NotFound: there is none.
        """

    async def incidents(self, states: Sequence[IncidentState], page: Page) -> list[Incident]:
        """Return matching incidents; no states means any."""

    async def incident(self, incident_id: str) -> Incident:
        """Return one.

        Raises:
            NotFound: there is none.
        """

    async def anomalies(self, wanted: AnomalyFilter, page: Page) -> list[Anomaly]:
        """Return matching anomalies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which entries of the audit log; None and empty mean any. Time is `[start_ms, end_ms)`.

    Attributes:
        words: a text that is in the actor, the action, the target or the origin, in any case.
    """

    outcomes: tuple[Outcome, ...] = ()
    actor: str | None = None
    words: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None


class AuditStore(Protocol):
    """The audit log, for reading; `AlertStore.record` adds to it, and nothing changes an entry."""

    async def audit(self, wanted: AuditFilter, page: Page) -> list[AuditEntry]:
        """Return matching entries, newest first by (at_ms, id)."""

    async def prune_audit(self, before_ms: int) -> None:
        """Delete entries that are older than a time."""


class PolicyStore(Protocol):
    """Policies and receivers as the pipeline last decided them, sorted by name."""

    async def policies(self) -> list[AlertPolicy]:
        """Return all policies."""

    async def receivers(self) -> list[WebhookReceiver]:
        """Return all receivers, with their secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One intent and how far its delivery has come.

    Attributes:
        attempts: how many were made.
        due_at_ms: when the next is due; None when it is over.
        outcome: "" while it is open, "sent", or "failed" when it was given up.
        detail: what the last attempt said.
    """

    intent: NotificationIntent
    attempts: int
    due_at_ms: int | None
    outcome: str
    detail: str
    changed_at_ms: int


class ModelStore(Protocol):
    """Versions of trained models: kept as plain bytes, never changed, and checked before they are handed out.

    Which version counts is a conclusion of the pipeline: `AlertStore.record` of a `ServedModel` makes that version
    promoted, and the one that was promoted before retired; with version 0 none is promoted any more.
    """

    async def add_model(self, model: TrainedModel, lineage: Lineage, metrics: Metrics, now_ms: int) -> ModelVersion:
        """Keep a model as the next version of its name (1, 2, 3, ... without gaps), as a shadow; return the version."""

    async def models(self, name: str | None = None) -> list[ModelVersion]:
        """Return all versions (of one name, if asked), sorted by (name, version)."""

    async def model(self, name: str, version: int) -> TrainedModel:
        """Return the model of a version.

        Raises:
            NotFound: there is none.
            Rejected: its bytes are not those that were kept (`model_damaged`).
        """


class NotificationQueue(Protocol):
    """Intents on their way out. Only one claimer at a time; order per (alert, receiver) is that of `seq`."""

    async def due(self, now_ms: int, limit: int) -> list[Delivery]:
        """Return open deliveries whose time has come, oldest first; of one (alert, receiver) only the earliest open."""

    async def next_due_ms(self) -> int | None:
        """Return when the next open delivery is due, or None."""

    async def settle(self, delivery: Delivery) -> None:
        """Replace the progress of a delivery, by intent id."""

    async def deliveries(self, alert_id: str | None, page: Page) -> list[Delivery]:
        """Return deliveries, newest intent first by (at_ms, id); of one alert if asked."""


class EventStream(Protocol):
    """Facts on their way from the log to the pumps: at least once, in order; the log is what it is re-read from."""

    async def publish(self, facts: Sequence[Fact]) -> None:
        """Hand over facts that are durable, in order of position."""

    async def take(self, after: int, max_facts: int) -> list[Fact]:
        """Wait for facts with positions > `after`; return them in order, or [] if the log has to be read instead."""


class Lanes(Protocol):
    """Workers elsewhere, each with the detector of some lanes."""

    @property
    def count(self) -> int:
        """How many lanes there are."""

    async def ask(self, tasks: Sequence[Task]) -> list[Answer]:
        """Have tasks done, at most one a lane; return their answers in order.

        The same tasks may be asked again, after a failure or without one, and are answered alike.

        Raises:
            Unavailable: an answer did not come in time.
        """


class LaneSource(Protocol):
    """What workers read, without the right to write: see FactLog, CheckpointStore and SampleStore."""

    async def read(self, after: int, max_rows: int) -> list[Fact]:
        """See FactLog."""

    async def begins_after(self) -> int:
        """See FactLog."""

    async def newest(self, upto: int | None = None) -> tuple[int, bytes] | None:
        """See CheckpointStore."""

    async def series(self) -> list[tuple[int, LabelSet]]:
        """See SampleStore."""

    async def has(self, writer: Writer, position: int) -> bool:
        """Return whether the log has what it had up to a position when somebody was its writer.

        Of a database that was replaced by an older copy it has not.
        """


class LiveFeed(Protocol):
    """Best-effort fan-out to whoever watches. Never blocks a publisher."""

    def publish(self, topic: str, message: object) -> None:
        """Offer a message to the topic's subscribers; a full queue drops its oldest and marks the gap."""

    def watched(self, prefix: str) -> frozenset[str]:
        """Return the topics with that prefix that have a subscriber now."""


class Receiver(Protocol):
    """Delivers notifications."""

    async def send(self, receiver: WebhookReceiver, intent: NotificationIntent) -> None:
        """Deliver once, with the intent's id as idempotency key.

        Raises:
            Unavailable: it may work later.
            Rejected: it will not work (`receiver_refused`).
        """


class Clock(Protocol):
    """Wall time and waiting."""

    def now_ms(self) -> int:
        """Return Unix milliseconds, UTC."""

    async def sleep(self, duration_ms: int) -> None:
        """Wait."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking.

    Attributes:
        subject: for the audit trail, for example `local-admin`.
        roles: of viewer, operator, admin, ingest.
        tenant: whose data it may see.
        scopes: what its credential was given for, where that is less than its owner may do.
        expires_at_ms: when what it showed is of no more use; None if never.
        means: how it was identified: `stub`, `key`, `token` or `session`.
    """

    subject: str
    roles: frozenset[str]
    tenant: str = "default"
    scopes: frozenset[str] = frozenset()
    expires_at_ms: int | None = None
    means: str = "stub"


class Counters(Protocol):
    """Counts events by name over a window of ten seconds."""

    @property
    def shared(self) -> bool:
        """Whether what other processes count is counted too."""

    async def hit(self, name: str, per_s: int) -> int:
        """Count an event; return 0, or after how many seconds (at least 1) to try again if there were too many.

        At most `10 * per_s` events of a name are counted in any ten seconds (at the change of two windows, somewhat
        more); one that is too many is not counted. Names do not affect each other. It never fails and waits a tenth of
        a second at most: where counters cannot be shared, this process counts by itself.
        """


class TransientStore(Protocol):
    """Keeps values for a while, each under a secret: sessions, tickets. To lose them costs a sign-in.

    Who reads all that is kept and does not know a secret learns neither it nor its value. After its time a value is
    there no more. Secrets do not affect each other. Every method raises Unavailable within two seconds if nothing can
    be said now; what was asked for may then have happened or not.
    """

    async def add(self, secret: str, value: bytes, for_ms: int) -> bool:
        """Keep a value unless the secret has one; return whether it is kept. Of many at once, one is."""

    async def find(self, secret: str) -> bytes | None:
        """Return the value of a secret, None if it has none."""

    async def replace(self, secret: str, value: bytes, for_ms: int) -> bool:
        """Keep another value, for another time, where there is one; return whether there was."""

    async def take(self, secret: str) -> bytes | None:
        """Return the value of a secret and keep it no longer, None if it has none. Of many at once, one gets it."""


class Identity(Protocol):
    """Finds out who is asking."""

    async def identify(self, credential: str) -> Principal:
        """Return the principal of a token or key; the empty string stands for none.

        Raises:
            Rejected: `unauthenticated` if there is none, `invalid_credential` if it is no good (any more).
            Unavailable: it cannot be judged now.
        """

    @property
    def banner(self) -> str:
        """A sentence that the dashboard must show about how people are identified, or the empty string."""
