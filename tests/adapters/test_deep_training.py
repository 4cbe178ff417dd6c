"""Training of deep models: what TensorFlow leaves is what the domain scores with, and it is needed for nothing else."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from tests.models import history, job, random_weights, train, trained

from quantum.adapters import deep_training, wire
from quantum.adapters.training_process import LACKING, framed, lacking
from quantum.domain.errors import Rejected
from quantum.domain.models import Column, ModelKind, Training

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = "from tests.parts.deep_trainer import main; main()"


def frames(data: bytes) -> list[Any]:
    found = []
    while data:
        size = int.from_bytes(data[:4], "big")
        found.append(msgspec.msgpack.decode(data[4 : 4 + size]))
        data = data[4 + size :]
    return found


def test_tensorflow_trains_within_the_bounds_of_memory_the_same_again_and_keras_says_what_the_domain_says(
    tmp_path: Path,
) -> None:
    asked = wire.encode(job(ModelKind.DEEP, rows=120))
    (tmp_path / "job").write_bytes(asked)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, input=framed(asked), capture_output=True, check=False, timeout=560)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    *progress, last = frames(done.stdout)
    assert [kind for kind, _, _ in progress] == ["progress"] * len(progress)
    shares = [share for _, share, _ in progress]
    assert shares == sorted(shares)
    assert "went through the history 8 of 8 times" in [message for _, _, message in progress]
    assert last[0] == "done"
    training = wire.decode(last[1], Training)
    metrics = dict(training.metrics)
    assert metrics["loss_to_as_before"] < 1.0
    assert (metrics["readings"], metrics["weights"]) == (560.0, 23574.0)
    assert (tmp_path / "again").read_bytes() == last[1]
    theirs, ours = np.load(tmp_path / "said.npy")
    assert np.abs(ours - theirs).max() < 1e-5
    assert np.abs(theirs).max() > 1.0
    assert "tensorflow" not in sys.modules


def test_without_tensorflow_a_training_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(Rejected, match=r"install quantum\[deep\]") as caught:
        deep_training.train(job(ModelKind.DEEP), lambda *_: None)
    assert caught.value.reason == "training_extra"


def test_only_deep_models_lack_tensorflow_where_it_is_not_installed() -> None:
    assert lacking(ModelKind.DEEP, lambda _: None) == LACKING
    assert [lacking(kind, lambda _: None) for kind in ModelKind if kind is not ModelKind.DEEP] == [""] * 3
    assert lacking(ModelKind.DEEP) == ""


def test_of_a_long_history_as_many_rows_as_are_wanted_are_drawn_from_every_series(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deep_training, "MOST_ROWS", 1000)
    few = deep_training.train(job(ModelKind.DEEP, rows=400), lambda *_: None, random_weights)
    assert 700 < dict(few.metrics)["readings"] < 1000
    assert few == deep_training.train(job(ModelKind.DEEP, rows=400), lambda *_: None, random_weights)


def test_missing_values_are_no_readings() -> None:
    wanted, batch = job(ModelKind.DEEP), history(300)
    values = np.where(batch.slots == 3, np.nan, batch.values)
    columns = (("slots", batch.slots), ("at_ms", batch.at_ms), ("values", values))
    found = train(replace(wanted, samples=tuple(Column.of(*one) for one in columns)), lambda *_: None)
    assert dict(found.metrics)["readings"] == 9 * (300 - 64)
    assert dict(trained(ModelKind.DEEP).metrics)["readings"] == 10 * (300 - 64)
