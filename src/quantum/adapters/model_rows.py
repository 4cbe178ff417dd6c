"""What the SQL stores of models share: versions as rows, and the check of what is read."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from quantum.adapters import wire
from quantum.domain.errors import NotFound, Rejected
from quantum.domain.models import ModelState, ModelVersion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantum.application.ports import Metrics
    from quantum.domain.models import Lineage, TrainedModel

COLUMNS: Final = "state, promoted_at_ms, about"
"""Of a version as it is listed; `read_version` reads them."""


def version_of(
    model: TrainedModel, version: int, data: bytes, lineage: Lineage, metrics: Metrics, now_ms: int
) -> ModelVersion:
    """Return a new version."""
    return ModelVersion(
        name=model.name,
        version=version,
        kind=model.kind,
        combine=model.combine,
        state=ModelState.SHADOW,
        sha256=sha256(data).hexdigest(),
        size=len(data),
        created_at_ms=now_ms,
        lineage=lineage,
        metrics=metrics,
    )


def read_version(row: Sequence[Any]) -> ModelVersion:
    """Return the version of a row of `COLUMNS`."""
    state, promoted_at_ms, about = row
    found = wire.decode(about, ModelVersion)
    return replace(found, state=ModelState(state), promoted_at_ms=promoted_at_ms)


def read_model(name: str, version: int, rows: Sequence[Sequence[Any]]) -> TrainedModel:
    """Return the model of a row of (about, body), if there is one and it is what was kept."""
    if not rows:
        raise NotFound(f"there is no version {version} of a model named {name!r}")
    about, body = rows[0]
    if sha256(body).hexdigest() != wire.decode(about, ModelVersion).sha256:
        raise Rejected("model_damaged", f"version {version} of model {name!r} is damaged: its sha256 is another")
    return wire.unpack_model(body)
