"""Trained models: what training leaves, as plain values and columns of numbers that are checked before they are used.

A model is data, never code: a kind, the series that it is for, and arrays. `check_model` refuses what no training of
this program could have left, so that damaged or foreign bytes fail before a kernel walks over them.

>>> column = Column.of("roots", np.arange(3, dtype=np.int32))
>>> column.dtype, column.array().tolist()
('<i4', [0, 1, 2])
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from quantum.domain.detectors import deep, forests
from quantum.domain.detectors.forests import FEATURES, WIDTH, Forest, Knots
from quantum.domain.errors import Rejected
from quantum.domain.labels import NAME, LabelSet, Matcher

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quantum.domain.detectors.deep import Network

MAX_MODEL_BYTES: Final = 4 << 20
"""Of all columns of a model together: it becomes part of the log and of every saved state."""
LEAST_KNOTS: Final = 2
MAX_BY: Final = 8
LEAST_STEP_MS: Final = 1000
LONGEST_STEP_MS: Final = 3_600_000
MAX_NAME: Final = 100


class ModelKind(StrEnum):
    """What a model looks at."""

    WINDOWS = "window-forest"
    GROUPS = "group-forest"
    PEERS = "peers"
    DEEP = "deep-forecaster"


SINGLE: Final = frozenset({ModelKind.WINDOWS, ModelKind.DEEP})
"""Kinds that look at each series by itself."""


class Combine(StrEnum):
    """How a model's score and the default detector's become one: the higher, or the lower of the two."""

    EITHER = "either"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Column:
    """One array, written out: little-endian, in C order."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: bytes

    @classmethod
    def of(cls, name: str, array: NDArray[Any]) -> Column:
        """Return an array as a column."""
        plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        return cls(name, plain.dtype.str, plain.shape, plain.tobytes())

    def array(self) -> NDArray[Any]:
        """Return the array; raises ValueError where the bytes are not as many as they should be."""
        return np.frombuffer(self.data, np.dtype(self.dtype)).reshape(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """What training leaves.

    Attributes:
        name: unique; its versions share it.
        kind: what it looks at.
        matchers: which series it is for.
        by: `group-forest`: the labels whose values make a group; `peers`: the labels that tell siblings apart.
        channels: `group-forest`: label sets without the `by` labels, in the order of the forest's features.
        step_ms: `group-forest` and `peers`: how long a frame is.
        combine: how its score joins the default detector's.
        columns: arrays by name, as `columns_of` its kind says.
    """

    name: str
    kind: ModelKind
    matchers: tuple[Matcher, ...]
    by: tuple[str, ...] = ()
    channels: tuple[LabelSet, ...] = ()
    step_ms: int = 60_000
    combine: Combine = Combine.EITHER
    columns: tuple[Column, ...] = ()

    @property
    def forest(self) -> Forest:
        """The forest; a model of peers has an empty one."""
        return forests.forest_of(**{name: self._column(name) for name in FOREST})

    @property
    def network(self) -> Network:
        """The network of a `deep-forecaster`."""
        return deep.network_of(**{name: self._column(name) for name in NETWORK})

    @property
    def knots(self) -> Knots:
        """How its readings become scores."""
        return Knots(self._column("raw"), self._column("decades"), float(self._column("slope")[0]))

    @property
    def channel_count(self) -> int:
        """How many features its forest may ask for."""
        return FEATURES if self.kind is ModelKind.WINDOWS else len(self.channels)

    def _column(self, name: str) -> NDArray[Any]:
        return next(one for one in self.columns if one.name == name).array()

    def group_and_channel(self, labels: LabelSet) -> tuple[LabelSet, LabelSet] | None:
        """Return the group of a series and its channel in it; None where it lacks a `by` label."""
        if any(not labels.get(name) for name in self.by):
            return None
        ours, others = labels.only(self.by), labels.only({name for name, _ in labels.pairs} - set(self.by))
        return (others, ours) if self.kind is ModelKind.PEERS else (ours, others)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """What a training gets: a model without columns, and samples.

    Attributes:
        model: what to train; the channels of a `group-forest` are those that may be used.
        series: label sets of the samples' slots 0, 1, 2, ...
        samples: columns slots, at_ms and values, sorted by time.
        seed: of everything that is drawn.
        trees: how many a forest has; of no meaning to other kinds.
    """

    model: TrainedModel
    series: tuple[LabelSet, ...]
    samples: tuple[Column, ...]
    seed: int
    trees: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What a training leaves.

    Attributes:
        model: the whole model.
        metrics: by name: rows it saw, and how it did on later rows that it did not see.
    """

    model: TrainedModel
    metrics: tuple[tuple[str, float], ...]


class ModelState(StrEnum):
    """Whether a version counts: it only watches, its scores count, or it is done with."""

    SHADOW = "shadow"
    PROMOTED = "promoted"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Where a version comes from.

    Attributes:
        selector: of the series it was trained on, as Prometheus writes it.
        series: how many there were.
        samples: how many.
        start_ms, end_ms: the window.
        parent: the version that was promoted when it was trained, or None.
        code: the release that trained it.
        seed: of everything that was drawn.
        actor: who asked for it.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One version of a model, as the registry lists it.

    Attributes:
        sha256: of the model's bytes, 64 hex digits.
        size: of the model's bytes.
        promoted_at_ms: when it was last promoted; None if it never was.
    """

    name: str
    version: int
    kind: ModelKind
    combine: Combine
    state: ModelState
    sha256: str
    size: int
    created_at_ms: int
    lineage: Lineage
    metrics: tuple[tuple[str, float], ...]
    promoted_at_ms: int | None = None


KNOTS: Final = {"raw": "<f8", "decades": "<f8", "slope": "<f8"}
FOREST: Final = {
    "feature": "<i2",
    "threshold": "<f4",
    "left": "<i4",
    "right": "<i4",
    "weight": "<i4",
    "roots": "<i4",
}
NETWORK: Final = dict.fromkeys(("first", "first_bias", "inner", "inner_bias", "head", "head_bias"), "<f4")
STEEPEST: Final = 1e9
"""Decades a reading beyond the last knot; calibration leaves less than half of it."""


def columns_of(kind: ModelKind) -> dict[str, str]:
    """Return names and types of the columns of a kind, in their order; all have one axis."""
    return (NETWORK if kind is ModelKind.DEEP else FOREST) | KNOTS


def check_name(name: str) -> str:
    """Return the name of a model.

    Raises:
        Rejected: `model_name`.
    """
    if not 0 < len(name) <= MAX_NAME or not name.isascii() or not all(one.isalnum() or one in "-_." for one in name):
        raise Rejected("model_name", f"a model's name has 1 to {MAX_NAME} letters, digits, dots, dashes, underscores")
    return name


def check_shape(kind: ModelKind, by: tuple[str, ...], step_ms: int) -> None:
    """Refuse what a model of a kind cannot be.

    Raises:
        Rejected: `model_by` or `model_step`.
    """
    if (kind in SINGLE) == bool(by):
        raise Rejected("model_by", f"a {kind} needs {'no' if by else 'at least one'} label to group by")
    if len(by) > MAX_BY or len(set(by)) != len(by) or NAME in by:
        raise Rejected("model_by", f"a model is grouped by at most {MAX_BY} labels, each once, and not by {NAME}")
    if not LEAST_STEP_MS <= step_ms <= LONGEST_STEP_MS:
        raise Rejected("model_step", f"a frame lasts {LEAST_STEP_MS} to {LONGEST_STEP_MS} milliseconds")


def check_model(model: TrainedModel) -> TrainedModel:
    """Return the model, if a training of this program could have left it.

    Raises:
        Rejected: `model_name`, `model_by`, `model_step`, `model_size` or `model_damaged`.
    """
    check_name(model.name)
    check_shape(model.kind, model.by, model.step_ms)
    size = sum(len(one.data) for one in model.columns)
    if size > MAX_MODEL_BYTES:
        raise Rejected("model_size", f"a model has at most {MAX_MODEL_BYTES} bytes, this one {size}")
    if len(model.channels) > WIDTH:
        raise Rejected("model_size", f"a group has at most {WIDTH} channels, this one {len(model.channels)}")
    if problem := _problem(model):
        raise Rejected("model_damaged", f"model {model.name!r} is damaged: {problem}")
    return model


def check_imported(model: TrainedModel) -> TrainedModel:
    """Return a model that somebody else made, if it could be one of ours: `check_model`, and what training ensures.

    Without a node that two parents share every walk is short, also where a reading is missing.

    Raises:
        Rejected: as `check_model`.
    """
    check_model(model)
    arrays = {one.name: one.array() for one in model.columns}
    if problem := _problem_of_channels(model) or (model.kind is not ModelKind.DEEP and _problem_of_trees(arrays)):
        raise Rejected("model_damaged", f"model {model.name!r} cannot be imported: {problem}")
    return model


def _problem_of_channels(model: TrainedModel) -> str:
    if (model.kind is ModelKind.GROUPS) != bool(model.channels):
        return f"a {model.kind} has {'at least one channel' if model.kind is ModelKind.GROUPS else 'no channels'}"
    if len(set(model.channels)) != len(model.channels):
        return "a channel is there twice"
    if any(one.only(model.by).pairs for one in model.channels):
        return "a channel has a label that the groups are made by"
    return ""


def _problem_of_trees(arrays: dict[str, NDArray[Any]]) -> str:
    feature, left, right, weight, roots = (arrays[name] for name in ("feature", "left", "right", "weight", "roots"))
    if not np.isfinite(arrays["threshold"]).all():
        return "a threshold is not finite"
    splits = feature >= 0
    parents = np.bincount(np.concatenate([left[splits], right[splits]]), minlength=len(feature))
    wanted = np.ones(len(feature), np.int64)
    wanted[roots] = 0
    if len(set(roots.tolist())) != len(roots) or not np.array_equal(parents, wanted):
        return "a node has not one parent, or a root has one"
    if (weight[splits].astype(np.int64) != weight[left[splits]].astype(np.int64) + weight[right[splits]]).any():
        return "the rows of a node are not those of its branches"
    return ""


def _problem(model: TrainedModel) -> str:
    if [(one.name, one.dtype) for one in model.columns] != list(columns_of(model.kind).items()):
        return "it has other columns"
    try:
        arrays = {one.name: one.array() for one in model.columns}
    except ValueError:
        return "a column has another length than it says"
    if any(array.ndim != 1 for array in arrays.values()):
        return "a column has more than one axis"
    if problem := _problem_of_knots(arrays):
        return problem
    if model.kind is ModelKind.DEEP:
        return deep.problem_of_network(arrays)
    return forests.problem_of_forest(
        *(arrays[name] for name in FOREST), features=model.channel_count, empty=model.kind is ModelKind.PEERS
    )


def _problem_of_knots(arrays: dict[str, NDArray[Any]]) -> str:
    raw, decades, slope = arrays["raw"], arrays["decades"], arrays["slope"]
    if len(raw) != len(decades) or len(raw) < LEAST_KNOTS or len(slope) != 1:
        return "its knots do not fit together"
    numbers = np.concatenate([raw, decades, slope])
    if not np.isfinite(numbers).all() or (numbers < 0.0).any():
        return "its knots are not finite"
    if (np.diff(raw) <= 0.0).any() or (np.diff(decades) < 0.0).any():
        return "its knots do not rise"
    if slope[0] > STEEPEST:
        return f"its knots rise by more than {STEEPEST:g} decades a reading"
    return ""
