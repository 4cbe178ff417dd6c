"""Tasks and answers of lanes as bytes, cut into messages that a broker takes.

A message is `[version, id, part, parts, bytes]` in msgpack; the parts of one id make up one task or answer. Only what
`wire` builds is ever built of them. Of facts only samples and decisions about coverage are sent, so no secret of a
receiver leaves the database this way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from quantum.adapters import wire
from quantum.adapters.fact_tail import pack_body, unpack_body
from quantum.application.scoring import COLUMNS, Answer, Task, Writer
from quantum.application.strikes import DeadLetter, Strikes
from quantum.domain.facts import Fact, Samples
from quantum.domain.scoring import Scores

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION: Final = 1
PARDON: Final = "pardon"
"""Id of a message that is no task: what was put aside in its lane may be begun at once."""
PART_BYTES: Final = 900_000
"""Of one message; brokers take a megabyte unless told otherwise."""
MAX_PARTS: Final = 4096
"""Of one task or answer: 3.7 GB."""


def pack_strikes(strikes: Strikes) -> str:
    """Return strikes as the text that is kept with a worker's place in its lane; none are the empty text."""
    return "" if strikes == Strikes() else msgspec.json.encode(strikes).decode()


def unpack_strikes(text: str) -> Strikes:
    """Return the strikes of a text; of one that makes no sense there are none."""
    try:
        return msgspec.json.decode(text, type=Strikes) if text else Strikes()
    except msgspec.DecodeError:
        return Strikes()


def pack_letter(letter: DeadLetter) -> bytes:
    """Return a dead letter as JSON, which other programs read too."""
    return msgspec.json.encode(letter)


def unpack_letter(data: bytes) -> DeadLetter:
    """Return the dead letter of some bytes.

    Raises:
        CorruptData: there is none in them.
    """
    try:
        return msgspec.json.decode(data, type=DeadLetter)
    except msgspec.DecodeError as error:
        raise wire.CorruptData(f"a dead letter does not read: {error}") from error


def cut(identity: str, body: bytes, part_bytes: int = PART_BYTES) -> Iterator[bytes]:
    """Yield the messages of a task or an answer, in order."""
    parts = max(1, -(-len(body) // part_bytes))
    for part in range(parts):
        piece = body[part * part_bytes : (part + 1) * part_bytes]
        yield msgspec.msgpack.encode((VERSION, identity, part, parts, piece))


class Parts:
    """Puts the messages of one sender in one lane together again, in order; of a broken row nothing is left."""

    def __init__(self) -> None:
        self._identity = ""
        self._pieces: list[bytes] = []

    def add(self, message: bytes) -> tuple[str, bytes] | None:
        """Take the next message; return id and bytes of a task or an answer if it is whole now.

        Raises:
            CorruptData: it is no such message, or of another version.
        """
        try:
            version, identity, part, parts, piece = msgspec.msgpack.decode(
                message, type=tuple[int, str, int, int, bytes]
            )
        except msgspec.DecodeError as error:
            raise wire.CorruptData(f"a message of a lane does not read: {error}") from None
        if version != VERSION or not 0 <= part < parts <= MAX_PARTS:
            raise wire.CorruptData(f"a message of a lane has version {version}, part {part} of {parts}")
        if part == 0:
            self._identity, self._pieces = identity, []
        if identity != self._identity or part != len(self._pieces):
            return None
        self._pieces.append(piece)
        if len(self._pieces) < parts:
            return None
        whole, self._identity, self._pieces = b"".join(self._pieces), "", []
        return identity, whole


def pack_task(task: Task) -> bytes:
    """Return a task as bytes."""
    facts = [(fact.position, fact.at_ms, *pack_body(fact.body), wire.encode(_born(fact))) for fact in task.facts]
    return msgspec.msgpack.encode((task.lane, task.since, task.upto, task.wants_state, facts, *task.writer))


def _born(fact: Fact) -> object:
    return fact.body.new_series if isinstance(fact.body, Samples) else ()


def unpack_task(data: bytes) -> Task:
    """Return the task of some bytes.

    Raises:
        CorruptData: there is none in them.
    """
    try:
        lane, since, upto, wants_state, facts, epoch, holder = msgspec.msgpack.decode(data)
        writer = Writer(epoch, holder)
        return Task(lane, since, upto, tuple(_fact(*one) for one in facts), wants_state, writer=writer)
    except (msgspec.DecodeError, TypeError, ValueError) as error:
        raise wire.CorruptData(f"a task of a lane does not read: {error}") from error


def _fact(position: int, at_ms: int, kind: str, backfill: int, _rows: int, body: bytes, born: bytes) -> Fact:
    new_series: Any = wire.decode(born, tuple)
    return Fact(position, at_ms, unpack_body(kind, backfill, body, new_series))


def pack_answer(answer: Answer) -> bytes:
    """Return an answer as bytes."""
    scores = [np.stack([getattr(one, column) for column in COLUMNS]).tobytes() for one in answer.scores]
    state = None if answer.state is None else wire.pack_arrays(answer.state)
    return msgspec.msgpack.encode((answer.lane, scores, state, answer.problem))


def unpack_answer(data: bytes) -> Answer:
    """Return the answer of some bytes.

    Raises:
        CorruptData: there is none in them.
    """
    try:
        lane, scores, state, problem = msgspec.msgpack.decode(data)
        columns = (np.frombuffer(one, np.float64).reshape(len(COLUMNS), -1) for one in scores)
        arrays = None if state is None else wire.unpack_arrays(state)
        return Answer(lane, tuple(Scores(*one) for one in columns), arrays, problem)
    except (msgspec.DecodeError, TypeError, ValueError) as error:
        raise wire.CorruptData(f"an answer of a lane does not read: {error}") from error
