"""From models, trials and training runs to their messages, and back."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from quantum.adapters.http import model_messages as m
from quantum.adapters.http.views import column
from quantum.application.models import Window
from quantum.application.training import Order
from quantum.domain.errors import Rejected
from quantum.domain.labels import LabelSet
from quantum.domain.models import Combine, ModelKind, TrainedModel
from quantum.domain.selectors import parse_selector

if TYPE_CHECKING:
    from quantum.application.models import AtWork, NamedModel, Trial
    from quantum.application.training import TrainingRun
    from quantum.domain.models import ModelVersion
    from quantum.domain.scoring import Scores


def version(one: ModelVersion) -> m.VersionItem:
    """Return a version."""
    return m.VersionItem(
        name=one.name,
        version=one.version,
        kind=one.kind.value,
        combine=one.combine.value,
        state=one.state.value,
        sha256=one.sha256,
        size=one.size,
        created_at_ms=one.created_at_ms,
        promoted_at_ms=one.promoted_at_ms,
        lineage=m.LineageItem(**asdict(one.lineage)),
        metrics=dict(one.metrics),
    )


def work(one: AtWork | None) -> m.WorkItem | None:
    """Return a version at work."""
    if one is None:
        return None
    return m.WorkItem(
        version=one.version,
        rows=one.drift.rows,
        odd_rows=one.drift.odd,
        drift=one.drift.index,
        tenths=one.drift.tenths.tolist(),
        left_out=one.left_out,
    )


def model(one: NamedModel) -> m.ModelItem:
    """Return a model with its versions, newest first."""
    versions = [version(each) for each in reversed(one.versions)]
    return m.ModelItem(
        name=one.name,
        kind=versions[0].kind,
        promoted=work(one.promoted),
        shadow=work(one.shadow),
        versions=versions,
    )


def trial(one: Trial) -> m.TrialItem:
    """Return a trial."""
    return m.TrialItem(**{**asdict(one), "lost": list(one.lost)})


def run(one: TrainingRun) -> m.TrainingRunItem:
    """Return a training run."""
    return m.TrainingRunItem(
        id=one.id,
        name=one.order.model.name,
        kind=one.order.model.kind.value,
        selector=one.order.selector,
        state=one.state.value,
        progress=one.progress,
        message=one.message,
        actor=one.actor,
        asked_at_ms=one.asked_at_ms,
        started_at_ms=one.started_at_ms,
        ended_at_ms=one.ended_at_ms,
        version=one.version,
    )


def asked_order(request: m.TrainingRequest) -> Order:
    """Return what is to be trained; raises Rejected for a selector that does not parse."""
    blank = TrainedModel(
        name=request.name,
        kind=ModelKind(request.kind),
        matchers=parse_selector(request.selector),
        by=tuple(request.by),
        step_ms=request.step_ms,
        combine=Combine(request.combine),
    )
    return Order(
        model=blank,
        selector=request.selector,
        start_ms=request.start_ms,
        end_ms=request.end_ms,
        trees=request.trees,
        seed=request.seed,
    )


def asked_window(request: m.WindowRequest) -> Window:
    """Return rows to score.

    Raises:
        Rejected: `score_columns`, or the labels are none.
    """
    if len(request.values) != len(request.timestamps_ms):
        raise Rejected(
            "score_columns", f"{len(request.timestamps_ms)} timestamps and {len(request.values)} values do not match"
        )
    at_ms = np.array(request.timestamps_ms, np.int64)
    if (np.diff(at_ms) <= 0).any():
        raise Rejected("score_columns", "the timestamps of a series must rise")
    values = np.array([np.nan if value is None else value for value in request.values], np.float64)
    return Window(LabelSet.of(request.labels), at_ms, values)


def scored(scores: Scores) -> m.ScoredWindow:
    """Return the scores of a window."""
    return m.ScoredWindow(
        score=column(scores.score),
        expected=column(scores.expected),
        lower=column(scores.lower),
        upper=column(scores.upper),
    )
