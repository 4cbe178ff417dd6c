"""Training: what it needs, and what it does with channels that are seldom there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.facts import labels
from tests.models import history, job, train, trained

from quantum.domain.errors import Rejected
from quantum.domain.models import Column, ModelKind, TrainingJob

if TYPE_CHECKING:
    from quantum.domain.series import SampleBatch


def with_samples(wanted: TrainingJob, batch: SampleBatch) -> TrainingJob:
    columns = (("slots", batch.slots), ("at_ms", batch.at_ms), ("values", batch.values))
    return replace(wanted, samples=tuple(Column.of(*one) for one in columns))


@pytest.mark.parametrize("kind", ModelKind)
def test_too_little_history_is_refused_with_the_count(kind: ModelKind) -> None:
    for rows in (1, 30):
        with pytest.raises(Rejected, match="at least 300") as caught:
            train(with_samples(job(kind), history(rows)), lambda *_: None)
        assert caught.value.reason == "too_little_history"


def test_a_channel_that_is_seldom_there_is_left_out_of_a_group_model() -> None:
    wanted = job(ModelKind.GROUPS)
    rare = (labels("rare"), *wanted.model.channels)
    model = train(replace(wanted, model=replace(wanted.model, channels=rare)), lambda *_: None).model
    assert model.channels == wanted.model.channels


def test_a_history_without_values_has_no_frames() -> None:
    batch = history(100)
    with pytest.raises(Rejected, match="has 0"):
        train(with_samples(job(ModelKind.GROUPS), replace(batch, values=batch.values * np.nan)), lambda *_: None)


def test_progress_rises_and_the_metrics_tell_how_rare_one_in_a_hundred_was() -> None:
    told: list[float] = []
    train(job(ModelKind.GROUPS), lambda share, _: told.append(share))
    assert told == sorted(told)
    for kind in ModelKind:
        metrics = dict(trained(kind).metrics)
        assert 0.0 <= metrics["one_in_a_hundred"] < 0.06
        assert metrics["unseen"] > 200
