"""Facts: the only input of the pipeline. Each is appended to the log once, in one order, and never changed.

Everything else (scores, alerts, incidents, notifications) is a pure function of this log, so feeding the same facts
again gives the same history. The log is also the only clock: `Fact.at_ms` never goes back from one fact to the next.

>>> Fact(position=7, at_ms=1000, body=Heartbeat()).position
7
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quantum.domain.alerts import Verdict
    from quantum.domain.coverage import Allotment
    from quantum.domain.labels import LabelSet
    from quantum.domain.models import ModelKind, TrainedModel
    from quantum.domain.policies import AlertPolicy
    from quantum.domain.routes import Route
    from quantum.domain.series import SampleBatch
    from quantum.domain.silences import Silence
    from quantum.domain.teaching import Evidence


@dataclass(frozen=True, slots=True)
class Samples:
    """Accepted samples: no two rows of one series at one time, neither here nor in any fact before.

    Attributes:
        batch: the rows, in the order received.
        new_series: slots that appear for the first time, with their label sets, in order of slot.
        backfill: true for history loaded after the event: it is learnt but raises no alert.
    """

    batch: SampleBatch
    new_series: tuple[tuple[int, LabelSet], ...] = ()
    backfill: bool = False


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Time passed and nothing else happened."""


@dataclass(frozen=True, slots=True)
class Started:
    """The process began (again): the time since the fact before was not watched and counts toward nothing."""


@dataclass(frozen=True, slots=True)
class PutPolicy:
    """Create or replace a policy; `expected_version` 0 means create, None means whatever is there."""

    policy: AlertPolicy
    expected_version: int | None
    actor: str


@dataclass(frozen=True, slots=True)
class DeletePolicy:
    """Remove a policy; its firing alerts resolve with that reason."""

    policy_id: str
    expected_version: int | None
    actor: str


@dataclass(frozen=True, slots=True)
class TeachPolicy:
    """Let a policy learn from verdicts: put it in force with a stricter setting, and remember what it was before."""

    policy: AlertPolicy
    expected_version: int
    evidence: Evidence
    actor: str


@dataclass(frozen=True, slots=True)
class UnteachPolicy:
    """Let a policy forget what it learnt last: put it in force again as it was before."""

    policy_id: str
    expected_version: int | None
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookReceiver:
    """Where notifications go: an HTTP endpoint that gets one POST per notification.

    Attributes:
        name: unique; policies name it.
        url: http or https.
        secret: optional; sent as a bearer token, never given out again.
        version: raised by each edit.
    """

    name: str
    url: str
    secret: str = ""
    version: int = 1


@dataclass(frozen=True, slots=True)
class PutReceiver:
    """Create or replace a receiver; `expected_version` as in PutPolicy."""

    receiver: WebhookReceiver
    expected_version: int | None
    actor: str


@dataclass(frozen=True, slots=True)
class DeleteReceiver:
    """Remove a receiver; refused while a policy or a route names it."""

    name: str
    expected_version: int | None
    actor: str


@dataclass(frozen=True, slots=True)
class PutRoute:
    """Create or replace a route; `expected_version` as in PutPolicy."""

    route: Route
    expected_version: int | None
    actor: str


@dataclass(frozen=True, slots=True)
class DeleteRoute:
    """Remove a route; refused while routes are below it."""

    name: str
    expected_version: int | None
    actor: str


@dataclass(frozen=True, slots=True)
class PutSilence:
    """Let nobody be told of alerts that match, for a time."""

    silence: Silence
    actor: str


@dataclass(frozen=True, slots=True)
class EndSilence:
    """End a silence before its time."""

    silence_id: str
    actor: str


@dataclass(frozen=True, slots=True)
class PutCoverage:
    """Decide anew which series get which detector; those that change begin to learn anew."""

    allotment: Allotment
    actor: str


@dataclass(frozen=True, slots=True)
class AcceptLoss:
    """Go on with a store that lacks facts that were acknowledged: `first` to `last` of a log that is no more.

    Nothing changes by it: it is there to be read in the audit log.
    """

    first: int
    last: int
    actor: str

    @property
    def name(self) -> str:
        """What it is about."""
        return f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class AcknowledgeIncident:
    """Somebody has it."""

    incident_id: str
    actor: str


@dataclass(frozen=True, slots=True)
class ResolveIncident:
    """Somebody declares it over; alerts that still fire stay attached and do not reopen it."""

    incident_id: str
    actor: str


@dataclass(frozen=True, slots=True)
class JudgeIncident:
    """Somebody says what it was."""

    incident_id: str
    verdict: Verdict
    actor: str


@dataclass(frozen=True, slots=True)
class NoteIncident:
    """Somebody writes something down."""

    incident_id: str
    text: str
    actor: str


@dataclass(frozen=True, slots=True)
class PromoteModel:
    """Let a trained model's scores count from here on, in place of the version before.

    The model is part of the fact: a replay needs nothing but the log.
    """

    model: TrainedModel
    version: int
    actor: str


@dataclass(frozen=True, slots=True)
class RetireModel:
    """Let no version of a model count any more."""

    name: str
    actor: str


@dataclass(frozen=True, slots=True)
class ImportModel:
    """Keep a model that was trained elsewhere. What is kept is in the registry; here it is read in the audit log.

    Attributes:
        name: of the model.
        selector: of the series it is for.
        trained_by: what trained it, in the words of who brings it.
    """

    name: str
    selector: str
    trained_by: str
    actor: str


@dataclass(frozen=True, slots=True)
class StartTraining:
    """Train a model on the samples of a window. What it leaves is in the registry, as with `ImportModel`."""

    name: str
    kind: ModelKind
    selector: str
    start_ms: int
    end_ms: int
    actor: str


@dataclass(frozen=True, slots=True)
class CancelTraining:
    """Stop a training run."""

    name: str
    run_id: str
    actor: str


@dataclass(frozen=True, slots=True)
class IssueApiKey:
    """Put an API key in force; see `api_keys.ApiKey`. The key itself is in no fact."""

    key_id: str
    name: str
    digest: bytes
    scopes: tuple[str, ...]
    expires_at_ms: int | None
    actor: str


@dataclass(frozen=True, slots=True)
class RevokeApiKey:
    """Take an API key out of force, for good."""

    key_id: str
    actor: str


Command = (
    PutPolicy
    | DeletePolicy
    | TeachPolicy
    | UnteachPolicy
    | PutReceiver
    | DeleteReceiver
    | PutRoute
    | DeleteRoute
    | PutSilence
    | EndSilence
    | PutCoverage
    | AcceptLoss
    | AcknowledgeIncident
    | ResolveIncident
    | JudgeIncident
    | NoteIncident
    | PromoteModel
    | RetireModel
    | ImportModel
    | StartTraining
    | CancelTraining
    | IssueApiKey
    | RevokeApiKey
)


@dataclass(frozen=True, slots=True)
class Ordered:
    """A command, and the address from which it was given."""

    command: Command
    origin: str


@dataclass(frozen=True, slots=True)
class Denied:
    """Somebody asked for what they may not have; nothing changed.

    Attributes:
        actor: who; empty if that is not known.
        origin: the address from which it was asked.
        action: method and route.
        target: what it was about, as far as the route tells.
        reason: why it was denied.
    """

    actor: str
    origin: str
    action: str
    target: str
    reason: str


@dataclass(frozen=True, slots=True)
class Attendance:
    """Somebody signed in or out; nothing else changed.

    Attributes:
        actor: who.
        origin: the address from which they did.
        action: `sign_in` or `sign_out`.
    """

    actor: str
    origin: str
    action: str


FactBody = Samples | Heartbeat | Started | Command | Ordered | Denied | Attendance


def command_in(body: FactBody) -> FactBody:
    """Return the command in an order; everything else as it is."""
    return body.command if isinstance(body, Ordered) else body


@dataclass(frozen=True, slots=True)
class Fact:
    """One entry of the log.

    Attributes:
        position: 1, 2, 3, ... without gaps.
        at_ms: when it was accepted; never earlier than the fact before.
    """

    position: int
    at_ms: int
    body: FactBody
