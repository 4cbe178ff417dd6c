"""Lanes on Kafka: tasks go out on one topic and answers come back on another, a partition for each lane.

Workers are a consumer group, so Kafka deals the lanes out among those that are alive. Positions and state are not
Kafka's matter: see `application/scoring.py`.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import CommitFailedError, IllegalStateError, RebalanceInProgressError

from quantum.adapters import lane_messages as messages
from quantum.adapters.kafka.cluster import (
    ANSWER_S,
    CONNECT_S,
    TROUBLE,
    administering,
    end,
    make_topics,
    new_producer,
    new_reader,
    part,
    unavailable,
    within,
)
from quantum.adapters.wire import CorruptData
from quantum.application.scoring import Answer
from quantum.application.strikes import DeadLetter, Strikes
from quantum.domain.errors import QuantumError
from quantum.domain.facts import Samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from quantum.adapters.kafka.cluster import Cluster
    from quantum.application.scoring import LaneWork, Task

    Follow = Callable[[Task], AbstractContextManager[object]]
    """Is entered while a task is done."""

AWAY_MS: Final = 6000
"""A worker that is silent for so long has died: its lanes go to others. Kafka takes no less by default."""
LONGEST_WORK_MS: Final = 3_600_000
"""A worker that is busy for so long is taken for dead: a restart with a large state takes minutes."""
POLL_MS: Final = 1000
RETENTION: Final = {"retention.ms": "3600000", "segment.ms": "600000", "cleanup.policy": "delete"}
"""A task that is an hour old was asked again long ago."""
LETTER_RETENTION: Final = {**RETENTION, "retention.ms": "604800000"}
"""Dead letters stay for a week."""
FOLLOWER: Final = "traceparent"
"""Header of a message for each who follows it, as W3C Trace Context writes it."""
DIED: Final = "its worker died, or was stopped, in the middle of it"


@dataclass(frozen=True, slots=True)
class Membership:
    """How a worker is a member of its group.

    Attributes:
        name: by which it is known again; empty means that it leaves when it stops.
        away_ms: after so long without a sign of life it is no member any more.
    """

    name: str = ""
    away_ms: int = AWAY_MS


class Topics:
    """The topics of one tenant. Their names have the number of lanes, so that another number begins with new ones."""

    def __init__(self, cluster: Cluster, tenant: str, lanes: int) -> None:
        self.cluster, self.lanes = cluster, lanes
        self.tasks, self.answers, self.letters = (
            f"quantum.{tenant}.{name}.{lanes}" for name in ("tasks", "answers", "dead-letters")
        )
        self.group = f"quantum.{tenant}.ml.{lanes}"

    def partitions(self, topic: str) -> list[TopicPartition]:
        """Return those of all lanes."""
        return [TopicPartition(topic, lane) for lane in range(self.lanes)]

    async def make(self) -> None:
        """Make the topics that are missing."""
        kept = {self.tasks: RETENTION, self.answers: RETENTION, self.letters: LETTER_RETENTION}
        await make_topics(self.cluster, self.lanes, kept)

    def reader(self) -> Any:
        """Return a consumer of partitions that it is told, for itself alone."""
        return new_reader(self.cluster)

    def producer(self) -> Any:
        """Return a producer that keeps the order of what it sends and repeats nothing."""
        return new_producer(self.cluster)


async def dead_letters(cluster: Cluster, tenant: str, lanes: int) -> list[DeadLetter]:
    """Return all that Kafka has of a tenant, oldest first.

    Raises:
        Unavailable: as `survey`.
    """
    topics = Topics(cluster, tenant, lanes)
    try:
        await topics.make()
        consumer = topics.reader()
        try:
            await within(CONNECT_S, consumer.start())
            async with asyncio.timeout(ANSWER_S):
                found = await _all_of(consumer, topics.partitions(topics.letters))
        finally:
            await end(consumer.stop())
    except TROUBLE as error:
        raise unavailable(error) from error
    return sorted(found, key=lambda letter: (letter.at_ms, letter.lane))


async def _all_of(consumer: Any, partitions: list[TopicPartition]) -> list[DeadLetter]:
    consumer.assign(partitions)
    ends = await consumer.end_offsets(partitions)
    await consumer.seek_to_beginning(*partitions)
    found: list[DeadLetter] = []
    while [one for one in partitions if await consumer.position(one) < ends[one]]:
        for records in (await consumer.getmany(timeout_ms=POLL_MS)).values():
            for record in records:
                with suppress(CorruptData):  # of another release
                    found.append(messages.unpack_letter(record.value))
    return found


async def pardon(cluster: Cluster, tenant: str, lanes: int, which: Iterable[int]) -> None:
    """Let what was put aside in some lanes be begun at once.

    Raises:
        Unavailable: as `survey`.
    """
    topics = Topics(cluster, tenant, lanes)
    try:
        await topics.make()
        producer = topics.producer()
        try:
            await within(CONNECT_S, producer.start())
            async with asyncio.timeout(ANSWER_S):
                for lane in which:
                    for message in messages.cut(messages.PARDON, b""):
                        await producer.send_and_wait(topics.tasks, message, partition=lane)
        finally:
            await end(producer.stop())
    except TROUBLE as error:
        raise unavailable(error) from error


async def members_of(cluster: Cluster, tenant: str, lanes: int) -> list[frozenset[int]]:
    """Return the lanes of each worker of a tenant; none while lanes are dealt out.

    Raises:
        Unavailable: as `survey`.
    """
    topics = Topics(cluster, tenant, lanes)
    try:
        async with administering(cluster) as admin:
            (answer,) = await admin.describe_consumer_groups([topics.group])
    except TROUBLE as error:
        raise unavailable(error) from error
    state, members = answer.groups[0][2], answer.groups[0][5]
    if state != "Stable":
        return []
    return [_lanes_in(member[4]) for member in members]


def _lanes_in(assignment: bytes) -> frozenset[int]:
    found = ConsumerProtocolMemberAssignment.decode(assignment)
    return frozenset(lane for _, partitions in found.assignment for lane in partitions)


class KafkaLanes:
    """Asks lanes that are worked on by whoever is in the group.

    Attributes:
        count: how many lanes there are.
        connections: how often one was made.
    """

    def __init__(self, cluster: Cluster, tenant: str, lanes: int, answer_s: float = ANSWER_S) -> None:
        self.count = lanes
        self.connections = 0
        self._topics = Topics(cluster, tenant, lanes)
        self._answer_s = answer_s
        self._producer: Any = None
        self._consumer: Any = None
        self._number = 0
        self._one_at_a_time = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Connect when something is asked: nobody waits for Kafka before."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        await self._close()

    async def ask(self, tasks: Sequence[Task]) -> list[Answer]:
        """See Lanes."""
        async with self._one_at_a_time:
            try:
                if self._producer is None:
                    await self._open()
                async with asyncio.timeout(self._answer_s):
                    return await self._ask(tasks)
            except TROUBLE as error:
                await self._close()
                raise unavailable(error, "no answer from every lane in time; is a worker there?") from error

    async def _ask(self, tasks: Sequence[Task]) -> list[Answer]:
        self._number += 1
        identity = f"{time.time_ns()}-{self._number}"
        for task in tasks:
            headers = _headers(task.followers)
            for message in messages.cut(identity, messages.pack_task(task)):
                await self._producer.send_and_wait(self._topics.tasks, message, partition=task.lane, headers=headers)
        return await self._collect(identity, [task.lane for task in tasks])

    async def _collect(self, identity: str, lanes: list[int]) -> list[Answer]:
        found: dict[int, Answer] = {}
        parts = {lane: messages.Parts() for lane in range(self.count)}
        while len(found) < len(lanes):
            for partition, records in (await self._consumer.getmany(timeout_ms=POLL_MS)).items():
                for record in records:
                    whole = _whole(parts[partition.partition], record.value)
                    if whole is not None and whole[0] == identity:
                        answer = messages.unpack_answer(whole[1])
                        found[answer.lane] = answer
        return [found[lane] for lane in lanes]

    async def _open(self) -> None:
        topics = self._topics
        await topics.make()
        self._producer, self._consumer = topics.producer(), topics.reader()
        self.connections += 1
        await within(CONNECT_S, self._producer.start())
        await within(CONNECT_S, self._consumer.start())
        await within(CONNECT_S, self._skip_old())

    async def _skip_old(self) -> None:
        """Begin after the answers to those who asked before."""
        partitions = self._topics.partitions(self._topics.answers)
        self._consumer.assign(partitions)
        await self._consumer.seek_to_end(*partitions)
        for partition in partitions:
            await self._consumer.position(partition)

    async def _close(self) -> None:
        producer, consumer, self._producer, self._consumer = self._producer, self._consumer, None, None
        if producer is not None:
            await part(consumer, producer)


class Order(NamedTuple):
    """A task as it came: the id under which it is answered, its bytes, and who follows it."""

    identity: str
    body: bytes
    followers: tuple[str, ...]


class KafkaWork:
    """A worker of the group: does the newest task of each of its lanes and answers.

    Attributes:
        lanes: those that are its own now.
        dealings: how often lanes were dealt out to it.
        letters: dead letters that it wrote.
    """

    def __init__(
        self,
        cluster: Cluster,
        tenant: str,
        lanes: int,
        work: LaneWork,
        membership: Membership | None = None,
        follow: Follow = nullcontext,
    ) -> None:
        self.work = work
        self._follow = follow
        self.lanes: frozenset[int] = frozenset()
        self.dealings = self.letters = 0
        self._topics = Topics(cluster, tenant, lanes)
        self._membership = membership or Membership()
        self._producer: Any = None
        self._consumer: Any = None
        self._parts: dict[int, messages.Parts] = {}
        self._places: dict[int, tuple[int, int]] = {}
        """By lane, offsets of messages: the first that is not done, and the one after the last that was read."""
        self._strikes: dict[int, Strikes] = {}
        self._reasons: dict[int, str] = {}
        self._unsaid: dict[TopicPartition, tuple[int, str]] = {}

    async def __aenter__(self) -> Self:
        """Connect at the first step, so that a worker may be started before Kafka."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the group, so that others have the lanes at once; a member with a name will be back and stays in it."""
        if self._consumer is not None:
            await end(self._note())
        await self._close()

    async def run_once(self) -> None:
        """Wait for tasks, do them, answer.

        Raises:
            Unavailable: Kafka does not answer. The next step connects again.
            Exception: a task failed in a way that nobody thought of; all others have their answers.
        """
        try:
            if self._producer is None:
                await self._open()
            failures = [await self._answer(lane, order) for lane, order in (await self._newest()).items()]
            await self._note()
        except TROUBLE as error:
            await self._close()
            raise unavailable(error) from error
        for failure in filter(None, failures):
            raise failure

    async def _newest(self) -> dict[int, Order]:
        """Return the newest task of each lane, as bytes; whoever asks has given up those before it."""
        found: dict[int, Order] = {}
        polled = await self._consumer.getmany(timeout_ms=POLL_MS)
        while polled:
            for partition, records in polled.items():
                lane = partition.partition
                parts = self._parts.setdefault(lane, messages.Parts())
                self._places[lane] = (self._places.get(lane, (records[0].offset,))[0], records[-1].offset + 1)
                for record in records:
                    whole = _whole(parts, record.value)
                    if whole is not None and whole[0] == messages.PARDON:
                        self._strikes[lane] = Strikes()
                    elif whole is not None:
                        found[lane] = Order(*whole, _followers(record.headers))
            polled = await self._consumer.getmany(timeout_ms=0)
        return found

    async def _answer(self, lane: int, order: Order) -> Exception | None:
        """Do a task and answer; return what went wrong if nobody thought of that."""
        try:
            task = replace(messages.unpack_task(order.body), followers=order.followers)
        except CorruptData as error:
            await self._say(order, Answer(lane, problem=str(error)))
            return None
        strikes, now_ms = await self._strikes_of(lane), _now_ms()
        if rest_ms := strikes.rest_ms(task.since, now_ms):
            await self._put_aside(task, strikes, now_ms)
            words = f"put aside for {rest_ms // 1000} s more, it failed {strikes.count} times: {self._reason(lane)}"
            await self._say(order, Answer(lane, problem=words))
            return None
        self._strikes[lane] = strikes.begun(task.since, now_ms)
        self._keep(lane)
        await self._note()
        try:
            with self._follow(task):
                answer = await self.work.do(task)
        except QuantumError as error:
            # that of others, the database's say: no reason to put the task aside
            self._strikes[lane] = strikes
            answer = Answer(lane, problem=str(error))
        except asyncio.CancelledError:
            # told to stop: no fault of the task
            self._strikes[lane] = strikes
            self._keep(lane)
            raise
        except Exception as error:  # noqa: BLE001 - the pump gets it, once the other lanes have their answers
            self._reasons[lane] = repr(error)
            await self._say(order, Answer(lane, problem=f"it failed: {self._reasons[lane]}"))
            return error
        else:
            self._strikes[lane] = Strikes()
        await self._say(order, answer)
        self._places[lane] = (self._places[lane][1],) * 2
        self._keep(lane)
        return None

    async def _strikes_of(self, lane: int) -> Strikes:
        """Return what was counted in a lane, by whoever had it before if it is new here."""
        if lane not in self._strikes:
            place = TopicPartition(self._topics.tasks, lane)
            # what the driver returns of this by its public name lacks the text beside the offset
            kept = await self._consumer._coordinator.fetch_committed_offsets([place])  # noqa: SLF001
            self._strikes[lane] = messages.unpack_strikes(kept[place].metadata if place in kept else "")
        return self._strikes[lane]

    def _reason(self, lane: int) -> str:
        return self._reasons.get(lane, DIED)

    async def _put_aside(self, task: Task, strikes: Strikes, now_ms: int) -> None:
        """Write a dead letter of a task, unless there is one."""
        if strikes.is_told:
            return
        rows = sum(len(fact.body.batch) for fact in task.facts if isinstance(fact.body, Samples))
        letter = DeadLetter(task.lane, task.since, task.upto, rows, strikes.count, now_ms, self._reason(task.lane))
        async with asyncio.timeout(ANSWER_S):
            await self._producer.send_and_wait(self._topics.letters, messages.pack_letter(letter), partition=task.lane)
        self.letters += 1
        self._strikes[task.lane] = replace(strikes, is_told=True)
        self._keep(task.lane)

    async def _say(self, order: Order, answer: Answer) -> None:
        topic, headers = self._topics.answers, _headers(order.followers)
        async with asyncio.timeout(ANSWER_S):
            for message in messages.cut(order.identity, messages.pack_answer(answer)):
                await self._producer.send_and_wait(topic, message, partition=answer.lane, headers=headers)

    def _keep(self, lane: int) -> None:
        """Let the next note tell the place and the strikes of a lane."""
        place, strikes = self._places[lane][0], messages.pack_strikes(self._strikes[lane])
        self._unsaid[TopicPartition(self._topics.tasks, lane)] = (place, strikes)

    async def _note(self) -> None:
        """Note what is to be noted with the group."""
        notes, self._unsaid = self._unsaid, {}
        own = {place: note for place, note in notes.items() if place.partition in self.lanes}
        if own:
            # while lanes are dealt out anew nothing can be noted; then a task is done once more, or counted once less
            with suppress(CommitFailedError, RebalanceInProgressError, IllegalStateError):
                await self._consumer.commit(own)

    async def _open(self) -> None:
        topics = self._topics
        await topics.make()
        self._producer, self._consumer = (
            topics.producer(),
            AIOKafkaConsumer(
                **topics.cluster.options(),
                group_id=topics.group,
                group_instance_id=self._membership.name or None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                session_timeout_ms=self._membership.away_ms,
                heartbeat_interval_ms=AWAY_MS // 4,
                max_poll_interval_ms=LONGEST_WORK_MS,
            ),
        )
        await within(CONNECT_S, self._producer.start())
        self._consumer.subscribe([topics.tasks], listener=Assignment(self))
        await within(ANSWER_S, self._consumer.start())

    def take_over(self, lanes: frozenset[int]) -> None:
        """Work on these lanes from now on; those that are kept go on as they are."""
        for lane in self.lanes - lanes:
            self.work.drop(lane)
        kept = self.lanes & lanes
        for known in (self._parts, self._places, self._strikes, self._reasons):
            for lane in set(known) - kept:
                del known[lane]
        self.lanes = lanes
        self.dealings += 1

    async def _close(self) -> None:
        producer, consumer, self._producer, self._consumer = self._producer, self._consumer, None, None
        if producer is not None:
            await part(consumer, producer)


class Assignment(ConsumerRebalanceListener):  # type: ignore[misc] # the driver has no types
    """Tells a worker which lanes are its own."""

    def __init__(self, worker: KafkaWork) -> None:
        self._worker = worker

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Wait: most come back a moment later."""

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Take over what is assigned, drop what is not."""
        self._worker.take_over(frozenset(partition.partition for partition in assigned))


def _headers(followers: Iterable[str]) -> list[tuple[str, bytes]]:
    return [(FOLLOWER, one.encode()) for one in followers]


def _followers(headers: Iterable[tuple[str, bytes]]) -> tuple[str, ...]:
    return tuple(value.decode("ascii", "replace") for name, value in headers if name == FOLLOWER)


def _whole(parts: messages.Parts, message: bytes) -> tuple[str, bytes] | None:
    """Return what is whole now; a message that makes no sense is nobody's, and what it was of will be asked again."""
    with suppress(CorruptData):
        return parts.add(message)
    return None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
