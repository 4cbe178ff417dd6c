"""JSON shapes of models: versions, trials, training runs, scores on demand."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from quantum.adapters.http.messages import Labels, Message, Request, Score, TimeMs
from quantum.application.models import MAX_SCORED_SERIES

Kind = Literal["window-forest", "group-forest", "peers", "deep-forecaster"]
Combine = Literal["either", "both"]
State = Literal["shadow", "promoted", "retired"]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Version = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
Selector = Annotated[str, msgspec.Meta(min_length=1, max_length=4000)]
LabelName = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
ColumnName = Annotated[str, msgspec.Meta(min_length=1, max_length=20)]
RunState = Literal["waiting", "running", "done", "failed", "cancelled"]


class ModelFile(Request):
    """A model as a file.

    `columns` are its arrays by name: little-endian numbers in base64; which a kind has, and their types, is in
    docs/models.md. `sha256` is that of their bytes in that order; `origin` says what trained it.
    """

    format: Literal[1]
    name: Name
    kind: Kind
    selector: Selector
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{64}$")]
    columns: Annotated[dict[ColumnName, str], msgspec.Meta(max_length=16)]
    by: Annotated[list[LabelName], msgspec.Meta(max_length=8)] = msgspec.field(default_factory=list)
    channels: Annotated[list[Labels], msgspec.Meta(max_length=128)] = msgspec.field(default_factory=list)
    step_ms: Annotated[int, msgspec.Meta(ge=1000, le=3_600_000)] = 60_000
    combine: Combine = "either"
    origin: Annotated[str, msgspec.Meta(max_length=100)] = ""


class LineageItem(Message):
    """Where a version comes from; `parent` is the version that counted when it was trained.

    `code` is the release that trained it; of one that was trained elsewhere it begins with `imported`.
    """

    selector: str
    series: int
    samples: int
    start_ms: int
    end_ms: int
    parent: int | None
    code: str
    seed: int
    actor: str


class VersionItem(Message):
    """One version. `shadow`: it only watches; `promoted`: its scores count; `retired`: it counted once."""

    name: str
    version: int
    kind: Kind
    combine: Combine
    state: State
    sha256: str
    size: int
    created_at_ms: int
    promoted_at_ms: int | None
    lineage: LineageItem
    metrics: dict[str, float]


class WorkItem(Message):
    """A version that scores now.

    `drift` is the population stability index of its scores (null: too few rows yet); `odd_rows` scored at least the
    anomaly threshold; `left_out` counts the series that it does not model, by reason.
    """

    version: int
    rows: int
    odd_rows: int
    drift: float | None
    tenths: list[int]
    left_out: dict[str, int]


class ModelItem(Message):
    """A model with all its versions, newest first; which of them counts, and which watches."""

    name: str
    kind: Kind
    promoted: WorkItem | None
    shadow: WorkItem | None
    versions: list[VersionItem]


class DetectorItem(Message):
    """The detector that every series gets, and how many have no expectation yet."""

    name: str
    version: int
    series: int
    learning: int


class ModelList(Message):
    """All models, by name."""

    detector: DetectorItem
    items: list[ModelItem]


class TrialRequest(Request):
    """Which version to try out, and on which history; by default that of the last seven days."""

    version: Version
    start_ms: TimeMs | None = None
    end_ms: TimeMs | None = None


class PromoteRequest(TrialRequest):
    """Which version is to count; it may raise so many more alerts than what counts now."""

    max_more_alerts: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0


class TrialItem(Message):
    """What a version would have changed.

    Of the `confirmed` incidents that were judged real, `lost` are ids of those that it would have lost; `sooner` is how
    many it would have told sooner.
    """

    name: str
    version: int
    start_ms: int
    end_ms: int
    alerts_now: int
    alerts_then: int
    confirmed: int
    lost: list[str]
    sooner: int


class TrainingRequest(Request):
    """What to train.

    `selector` chooses the series. `by`: for `group-forest` the labels that make a group, for `peers` the labels that
    tell siblings apart; other kinds have none. `combine`: a row is as odd as the odder (`either`) or the less odd
    (`both`) of detector and model say. `trees`: of a forest; of no meaning to other kinds.
    """

    name: Name
    kind: Kind
    selector: Selector
    start_ms: TimeMs
    end_ms: TimeMs
    by: Annotated[list[LabelName], msgspec.Meta(max_length=8)] = msgspec.field(default_factory=list)
    step_ms: Annotated[int, msgspec.Meta(ge=1000, le=3_600_000)] = 60_000
    combine: Combine = "either"
    trees: Annotated[int, msgspec.Meta(ge=10, le=200)] = 100
    seed: Annotated[int, msgspec.Meta(ge=0, le=4_294_967_295)] = 0


class TrainingRunItem(Message):
    """A training run; `progress` in [0, 1]."""

    id: str
    name: str
    kind: Kind
    selector: str
    state: RunState
    progress: Score
    message: str
    actor: str
    asked_at_ms: int
    started_at_ms: int | None
    ended_at_ms: int | None
    version: int | None


class TrainingRunList(Message):
    """Training runs of this process, newest first."""

    items: list[TrainingRunItem]


class WindowRequest(Request):
    """Rows of one series, in order of time; null is a missing value."""

    timestamps_ms: list[TimeMs]
    values: list[float | None]
    labels: Labels = msgspec.field(default_factory=dict)


class ScoreRequest(Request):
    """What to score, as if nothing had been before it."""

    series: Annotated[list[WindowRequest], msgspec.Meta(min_length=1, max_length=MAX_SCORED_SERIES)]
    version: Version | None = None


class ScoredWindow(Message):
    """Columns, one row for each row sent; null where there is no opinion."""

    score: list[float | None]
    expected: list[float | None]
    lower: list[float | None]
    upper: list[float | None]


class ScoreAnswer(Message):
    """Scores of each series, in the order sent, by this version."""

    name: str
    version: int
    series: list[ScoredWindow]
