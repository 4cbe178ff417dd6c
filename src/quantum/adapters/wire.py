"""The written form of domain values: tagged msgpack for plain values, a checked envelope for arrays. No pickle.

A dataclass is a map with its name under `$`, an enumeration likewise, a tuple an array. Only names in `KINDS` are ever
built, so stored bytes cannot make anything else. A field that is added to a domain class needs a default, so that
older data reads on; a class that is renamed keeps its old name here.
"""

from __future__ import annotations

import zlib
from dataclasses import fields, is_dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeVar

import cramjam
import msgspec
import numpy as np

from quantum.domain import (
    alerting,
    alerts,
    anomalies,
    api_keys,
    audit,
    coverage,
    facts,
    labels,
    models,
    pipeline,
    policies,
    routes,
    schedules,
    silences,
    teaching,
)
from quantum.domain.errors import Rejected
from quantum.domain.pipeline import PipelineState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

MAGIC: Final = b"QST1"
MODEL_MAGIC: Final = b"QMD1"
MODEL_HEAD_BYTES: Final = 1 << 20
"""Room for what a model has besides its columns: channels, matchers, names."""
COMPRESSION_LEVEL: Final = 1
TAG: Final = "$"

KINDS: Final[dict[str, type[Any]]] = {
    kind.__name__: kind
    for kind in (
        labels.LabelSet,
        labels.Matcher,
        labels.MatchOp,
        policies.Severity,
        policies.Comparison,
        policies.Direction,
        policies.Threshold,
        policies.AnomalyScore,
        policies.Absence,
        policies.RateOfChange,
        policies.PageBudget,
        policies.TimeToLimit,
        policies.AlertPolicy,
        alerts.AlertState,
        alerts.IncidentState,
        alerts.Verdict,
        alerts.Contributor,
        alerts.Alert,
        alerts.Transition,
        alerts.Note,
        alerts.Incident,
        alerts.Anomaly,
        alerts.NotificationIntent,
        alerting.AlertTimer,
        anomalies.OpenAnomaly,
        facts.Heartbeat,
        facts.Started,
        facts.PutPolicy,
        facts.DeletePolicy,
        teaching.Pages,
        teaching.Evidence,
        teaching.Lesson,
        facts.TeachPolicy,
        facts.UnteachPolicy,
        facts.WebhookReceiver,
        facts.PutReceiver,
        facts.DeleteReceiver,
        routes.Route,
        routes.RouteOutcome,
        routes.RouteStep,
        routes.Routed,
        facts.PutRoute,
        facts.DeleteRoute,
        schedules.Schedule,
        silences.Silence,
        facts.PutSilence,
        facts.EndSilence,
        coverage.Tier,
        coverage.CoverageRule,
        coverage.Allotment,
        facts.PutCoverage,
        facts.AcceptLoss,
        facts.AcknowledgeIncident,
        facts.ResolveIncident,
        facts.JudgeIncident,
        facts.NoteIncident,
        facts.PromoteModel,
        facts.RetireModel,
        facts.ImportModel,
        facts.StartTraining,
        facts.CancelTraining,
        models.ModelKind,
        models.Combine,
        models.ModelState,
        models.Column,
        models.TrainedModel,
        models.TrainingJob,
        models.Training,
        models.Lineage,
        models.ModelVersion,
        facts.Ordered,
        facts.Denied,
        facts.Attendance,
        audit.Outcome,
        audit.Change,
        audit.AuditEntry,
        facts.IssueApiKey,
        facts.RevokeApiKey,
        api_keys.ApiKey,
        pipeline.PipelineMemory,
    )
}

_MEMBERS: Final[dict[type[object], tuple[str, ...]]] = {
    kind: tuple(one.name for one in fields(kind)) for kind in KINDS.values() if is_dataclass(kind)
}
_ATOMS: Final = frozenset((str, int, float, bool, bytes, type(None)))

T = TypeVar("T")


class CorruptData(ValueError):
    """Stored bytes are not what was written."""


def encode(value: object) -> bytes:
    """Return the bytes of a plain domain value; every float keeps its value, NaN included."""
    return msgspec.msgpack.encode(_plain(value))


def decode(data: bytes, kind: type[T]) -> T:
    """Return the domain value of some bytes.

    Raises:
        CorruptData: they are not such a value.
    """
    try:
        value = _built(msgspec.msgpack.decode(data))
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise CorruptData(f"stored {kind.__name__} does not read: {error}") from error
    if not isinstance(value, kind):
        raise CorruptData(f"stored value is a {type(value).__name__}, not a {kind.__name__}")
    return value


def _plain(value: object) -> object:
    kind = type(value)
    if kind in _ATOMS:
        return value
    if (names := _MEMBERS.get(kind)) is not None:
        members: dict[str, object] = {TAG: kind.__name__}
        for name in names:
            members[name] = _plain(getattr(value, name))
        return members
    if isinstance(value, StrEnum):
        return {TAG: kind.__name__, "value": value.value}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _built(value: object) -> object:
    if isinstance(value, list):
        return tuple(_built(item) for item in value)
    if isinstance(value, dict):
        members = {name: _built(member) for name, member in value.items()}
        return KINDS[str(members.pop(TAG))](**members)
    return value


def pack_model(model: models.TrainedModel) -> bytes:
    """Return a model as bytes: a magic number, a checksum, and its plain values compressed."""
    body = bytes(cramjam.zstd.compress(encode(model), level=COMPRESSION_LEVEL))
    return MODEL_MAGIC + zlib.crc32(body).to_bytes(4, "big") + body


def unpack_model(data: bytes) -> models.TrainedModel:
    """Return the model of some bytes, checked.

    Raises:
        Rejected: `model_damaged`, for bytes that are damaged or something else; or what `check_model` raises.
    """
    body = data[8:]
    if data[:4] != MODEL_MAGIC or zlib.crc32(body) != int.from_bytes(data[4:8], "big"):
        raise Rejected("model_damaged", "these bytes are no model of Quantum, or damaged")
    room = bytearray(models.MAX_MODEL_BYTES + MODEL_HEAD_BYTES)
    try:
        size = cramjam.zstd.decompress_into(body, room)
        model = decode(bytes(room[:size]), models.TrainedModel)
        models.ModelKind(model.kind), models.Combine(model.combine)
        return models.check_model(model)
    except (cramjam.DecompressionError, ValueError, TypeError, AttributeError) as error:
        raise Rejected("model_damaged", f"these bytes are no model of Quantum: {str(error)[:200]}") from None


def pack_state(state: PipelineState) -> bytes:
    """Return the envelope of a pipeline's state; each array is compressed on its own."""
    body = msgspec.msgpack.encode((encode(state.memory), pack_arrays(state.arrays)))
    return MAGIC + zlib.crc32(body).to_bytes(4, "big") + body


def unpack_state(data: bytes) -> PipelineState:
    """Return the state of an envelope.

    Raises:
        CorruptData: the envelope is damaged or of another format.
    """
    body = memoryview(data)[8:]
    if data[:4] != MAGIC or zlib.crc32(body) != int.from_bytes(data[4:8], "big"):
        raise CorruptData("the stored state is damaged or of another format")
    memory, packed = msgspec.msgpack.decode(body)
    return PipelineState(unpack_arrays(packed), decode(memory, pipeline.PipelineMemory))


def pack_arrays(arrays: Mapping[str, NDArray[Any]]) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Return arrays as plain values: type, shape and compressed bytes."""
    return {
        name: (array.dtype.str, array.shape, bytes(cramjam.zstd.compress(_raw(array), level=COMPRESSION_LEVEL)))
        for name, array in arrays.items()
    }


def _raw(array: NDArray[Any]) -> memoryview:
    """Return the bytes of an array where they are: a copy of a large state would be a quarter of it."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def unpack_arrays(packed: Mapping[str, tuple[str, list[int], bytes]]) -> dict[str, NDArray[Any]]:
    """Return the arrays of `pack_arrays`."""
    return {
        name: np.frombuffer(bytes(cramjam.zstd.decompress(data)), np.dtype(dtype)).reshape(shape).copy()
        for name, (dtype, shape, data) in packed.items()
    }
