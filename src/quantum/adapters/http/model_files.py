"""Models as files: the JSON that the API takes and gives out, with plain arrays in it and nothing that could be run.

Columns are little-endian numbers in base64, `sha256` is that of all their bytes, in the order of `columns_of`
its kind.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from quantum.adapters.http import model_messages as m
from quantum.domain.errors import Rejected
from quantum.domain.labels import LabelSet
from quantum.domain.models import (
    MAX_MODEL_BYTES,
    Column,
    Combine,
    ModelKind,
    TrainedModel,
    check_imported,
    columns_of,
)
from quantum.domain.selectors import parse_selector

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

FORMAT: Final = 1
MAX_FILE_BYTES: Final = 2 * MAX_MODEL_BYTES
"""Of a body: base64 takes a third more than the arrays, and the rest is small."""


def asked_model(file: m.ModelFile) -> TrainedModel:
    """Return the model of a file, checked.

    Raises:
        Rejected: `model_damaged`, `model_size`, `model_name`, `model_by`, `model_step`, or the selector or a label is
            none.
    """
    kind = ModelKind(file.kind)
    types = columns_of(kind)
    if set(file.columns) != set(types):
        raise Rejected("model_damaged", f"a {kind} has the columns {', '.join(types)} and no others")
    data = {name: _bytes_of(name, file.columns[name]) for name in types}
    if hashlib.sha256(b"".join(data.values())).hexdigest() != file.sha256.lower():
        raise Rejected("model_damaged", "the sha256 of the columns is another one than the file says")
    model = TrainedModel(
        name=file.name,
        kind=kind,
        matchers=parse_selector(file.selector),
        by=tuple(file.by),
        channels=tuple(LabelSet.of(one) for one in file.channels),
        step_ms=file.step_ms,
        combine=Combine(file.combine),
        columns=tuple(_column(name, types[name], raw) for name, raw in data.items()),
    )
    return check_imported(model)


def _bytes_of(name: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Rejected("model_damaged", f"column {name} is no base64") from None


def _column(name: str, dtype: str, raw: bytes) -> Column:
    size = np.dtype(dtype).itemsize
    if len(raw) % size:
        raise Rejected("model_damaged", f"column {name} has {len(raw)} bytes, which are no numbers of {size}")
    return Column(name, dtype, (len(raw) // size,), raw)


def file_of(model: TrainedModel, origin: str) -> m.ModelFile:
    """Return a model as a file; `asked_model` of it is the model again, if its matchers can be written."""
    data = [(one.name, one.data) for one in model.columns]
    return m.ModelFile(
        format=FORMAT,
        name=model.name,
        kind=model.kind.value,
        selector="{" + ",".join(map(str, model.matchers)) + "}",
        by=list(model.by),
        channels=[dict(one.pairs) for one in model.channels],
        step_ms=model.step_ms,
        combine=model.combine.value,
        origin=origin,
        sha256=hashlib.sha256(b"".join(raw for _, raw in data)).hexdigest(),
        columns={name: base64.b64encode(raw).decode() for name, raw in data},
    )


def read_model_file(data: bytes) -> TrainedModel:
    """Return the model of a file's bytes; raises Rejected as `asked_model`, and for what is no such JSON."""
    if len(data) > MAX_FILE_BYTES:
        raise Rejected("model_size", f"a model's file has at most {MAX_FILE_BYTES} bytes, this one {len(data)}")
    try:
        return asked_model(msgspec.json.decode(data, type=m.ModelFile))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected("model_damaged", f"this is no model's file: {str(error)[:200]}") from None


def forest_file(
    forest: Any,
    features: NDArray[np.float32],
    *,
    name: str,
    selector: str,
    by: Sequence[str] = (),
    channels: Sequence[Mapping[str, str]] = (),
    step_ms: int = 60_000,
) -> bytes:
    """Return the file of an isolation forest that scikit-learn grew elsewhere.

    Args:
        forest: a fitted `sklearn.ensemble.IsolationForest`.
        features: rows that it was not grown from, shape (n, features), to calibrate its scores by; 300 or more.
        name: of the model.
        selector: of the series it is for.
        by: labels that make a group; none for a forest over windows of single series.
        channels: labels of each feature without those of `by`, in the order of the features.
        step_ms: how long a frame of a group is.

    Raises:
        Rejected: it is no forest that can be imported.
    """
    from quantum.adapters.forest_training import columns_with, flattened  # noqa: PLC0415 - imports numba, a second
    from quantum.domain.detectors.forests import calibrate, forest_of, loneliness  # noqa: PLC0415 - as above

    trees = flattened(forest)
    knots = calibrate(loneliness(forest_of(**trees), np.ascontiguousarray(features, np.float32)))
    model = TrainedModel(
        name=name,
        kind=ModelKind.GROUPS if by else ModelKind.WINDOWS,
        matchers=parse_selector(selector),
        by=tuple(by),
        channels=tuple(LabelSet.of(one) for one in channels),
        step_ms=step_ms,
        columns=columns_with(ModelKind.WINDOWS, trees, knots),
    )
    return msgspec.json.encode(file_of(check_imported(model), "scikit-learn"))
