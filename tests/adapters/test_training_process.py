"""Training in a process of its own: the same model, told progress, bounded, and gone when nobody waits."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from typing import Any

import msgspec
import psutil
import pytest
from tests.models import job, trained

from quantum.adapters import forest_training, training_process, wire
from quantum.adapters.training_process import framed, serve, train_apart
from quantum.domain.errors import Rejected
from quantum.domain.models import ModelKind, Training


async def test_a_process_of_its_own_leaves_the_same_model_and_tells_how_far_it_is() -> None:
    told: list[tuple[float, str]] = []
    made = await train_apart(job(ModelKind.GROUPS), lambda *one: told.append(one))
    assert made == trained(ModelKind.GROUPS)
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    assert ("grew 25 of 25 trees") in [message for _, message in told]


async def test_what_the_training_refuses_is_refused_here() -> None:
    empty = replace(job(ModelKind.PEERS), samples=job(ModelKind.PEERS, rows=1).samples)
    with pytest.raises(Rejected, match="at least 300") as caught:
        await train_apart(empty, lambda *_: None)
    assert caught.value.reason == "too_little_history"


async def test_a_training_that_takes_too_long_is_killed() -> None:
    with pytest.raises(Rejected, match=r"longer than 0\.05 s"):
        await train_apart(job(ModelKind.WINDOWS), lambda *_: None, timeout_s=0.05)
    assert children() == []


async def test_a_cancelled_training_leaves_no_process() -> None:
    task = asyncio.create_task(train_apart(job(ModelKind.WINDOWS), lambda *_: None))
    async with asyncio.timeout(20.0):
        while not children():  # noqa: ASYNC110 - a process that begins has no event
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert children() == []


async def test_a_training_that_dies_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_process, "PROGRAM", "raise SystemExit(3)")
    with pytest.raises(Rejected, match="the training died"):
        await train_apart(job(ModelKind.PEERS), lambda *_: None)


def children() -> list[psutil.Process]:
    found = psutil.Process().children()
    return [one for one in found if training_process.PROGRAM in " ".join(one.cmdline())]


def answers_of(asked: Any) -> list[Any]:
    answers = io.BytesIO()
    serve(io.BytesIO(framed(wire.encode(asked))), answers)
    frames, data = [], answers.getvalue()
    while data:
        size = int.from_bytes(data[:4], "big")
        frames.append(msgspec.msgpack.decode(data[4 : 4 + size]))
        data = data[4 + size :]
    return frames


def test_the_trainer_answers_in_frames() -> None:
    last = answers_of(job(ModelKind.PEERS))[-1]
    assert last[0] == "done"
    assert wire.decode(last[1], Training) == trained(ModelKind.PEERS)


def test_a_training_without_memory_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(forest_training, "train", greedy)
    assert answers_of(job(ModelKind.PEERS))[-1][:2] == ["refused", "training_memory"]
