"""Tasks and answers of lanes survive being cut up and put together, and nothing else is built of bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.facts import START_MS, labels

from quantum.adapters import lane_messages as messages
from quantum.adapters.wire import CorruptData
from quantum.application.scoring import Answer, Task, Writer
from quantum.domain.coverage import Allotment
from quantum.domain.facts import Fact, Ordered, PutCoverage, Samples
from quantum.domain.scoring import Scores
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    from collections.abc import Sequence

FLOATS = st.floats(width=64)


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    rows = draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 10**12), FLOATS), max_size=20))
    batch = SampleBatch.of([s for s, _, _ in rows], [at for _, at, _ in rows], [value for _, _, value in rows])
    samples = Samples(batch, ((3, labels("m", host="a")),), draw(st.booleans()))
    coverage = Ordered(PutCoverage(Allotment(draw(st.integers(0, 9))), "me"), "here")
    facts = (Fact(5, START_MS, samples), Fact(6, START_MS, coverage))
    writer = Writer(draw(st.integers(0, 2**40)), draw(st.text()))
    return Task(draw(st.integers(0, 255)), 4, draw(st.integers(6, 99)), facts, draw(st.booleans()), writer=writer)


def put_together(cut: Sequence[bytes]) -> list[tuple[str, bytes]]:
    parts = messages.Parts()
    return [whole for one in cut if (whole := parts.add(one)) is not None]


@given(tasks(), st.integers(1, 500))
def test_a_task_comes_out_as_it_went_in_however_it_is_cut(task: Task, part_bytes: int) -> None:
    cut = list(messages.cut("id", messages.pack_task(task), part_bytes))
    ((identity, body),) = put_together(cut)
    found = messages.unpack_task(body)
    assert identity == "id"
    for name in ("lane", "since", "upto", "wants_state", "writer"):
        assert getattr(found, name) == getattr(task, name)
    assert found.facts[1] == task.facts[1]
    left, right = found.facts[0].body, task.facts[0].body
    assert isinstance(left, Samples)
    assert isinstance(right, Samples)
    assert left.batch.values.tobytes() == right.batch.values.tobytes()
    assert left.batch.slots.tolist() == right.batch.slots.tolist()
    assert (left.new_series, left.backfill) == (right.new_series, right.backfill)


@given(st.lists(st.lists(st.tuples(FLOATS, FLOATS, FLOATS, FLOATS), max_size=5), max_size=4))
def test_an_answer_comes_out_as_it_went_in(rows: list[list[tuple[float, float, float, float]]]) -> None:
    scores = tuple(Scores(*np.array(one, np.float64).reshape(-1, 4).T) for one in rows)
    state: dict[str, Any] = {"tiers": np.arange(3, dtype=np.uint8), "full.x": np.zeros((0, 7), np.int16)}
    found = messages.unpack_answer(messages.pack_answer(Answer(3, scores, state)))
    for left, right in zip(found.scores, scores, strict=True):
        for column in ("score", "expected", "lower", "upper"):
            assert getattr(left, column).tobytes() == getattr(right, column).tobytes()
    assert found.state is not None
    assert found.state["full.x"].shape == (0, 7)
    assert messages.unpack_answer(messages.pack_answer(Answer(1, problem="why"))) == Answer(1, problem="why")


@given(st.lists(st.integers(0, 11), max_size=40))
def test_of_messages_that_are_lost_repeated_or_mixed_only_whole_ones_come_out(order: list[int]) -> None:
    bodies = {"a": b"0123456789", "b": b"abcdef"}
    sent = [one for identity, body in bodies.items() for one in messages.cut(identity, body, 2)]
    assert all(bodies[identity] == body for identity, body in put_together([sent[k] for k in order if k < len(sent)]))
    assert put_together(sent) == list(bodies.items())


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff",
        b"\x93\x01\x02\x03",
        msgspec.msgpack.encode((2, "a", 0, 1, b"")),
        msgspec.msgpack.encode((1, "a", 1, 1, b"")),
        msgspec.msgpack.encode((1, "a", 0, 10**6, b"")),
    ],
)
def test_what_is_no_message_is_refused(message: bytes) -> None:
    with pytest.raises(CorruptData):
        messages.Parts().add(message)


@given(st.binary(max_size=60))
def test_bytes_that_are_no_task_or_answer_are_refused(data: bytes) -> None:
    for unpack in (messages.unpack_task, messages.unpack_answer):
        with pytest.raises(CorruptData):
            unpack(b"\x00" + data)
