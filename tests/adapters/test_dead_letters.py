"""Work that fails again and again, or kills who does it, on a real Kafka: it is put aside, told of, and tried again.

Rows F31 and F32 of the fault matrix in docs/reliability.md; `TEST_FAULT_ROUNDS` says how often (1; `make faults`: 50).
"""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
import pytest
from tests.contracts.test_lanes import COMPILER, LANES, PATIENCE_S, new_tenant, send, tiered

from quantum.adapters import lane_messages, wire
from quantum.adapters.kafka import DIED, Cluster, KafkaLanes, KafkaWork, Topics, dead_letters, pardon
from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.application import strikes
from quantum.application.pump import Pump
from quantum.application.scoring import Answer, LaneWork, Scoring, Task
from quantum.application.strikes import MOST, DeadLetter, Strikes
from quantum.cli import run_command
from quantum.domain.errors import Unavailable
from quantum.domain.lanes import Lane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.parts.kafka import KafkaBroker

POISONED: Final = 1
ROUNDS: Final = range(int(os.environ.get("TEST_FAULT_ROUNDS", "1")))
SEED: Final = int(os.environ.get("TEST_SEED", "1"))


class Touchy(LaneWork):
    """Does tasks, but one lane's are poison: they fail, or are never finished."""

    def __init__(self, store: SqliteStore) -> None:
        super().__init__(store, lambda number: Lane(number, LANES, tiered(), COMPILER), wire.unpack_state)
        self.poison, self.begun = "", 0
        self.is_stuck = asyncio.Event()

    async def do(self, task: Task) -> Answer:
        if task.lane == POISONED:
            self.begun += 1
            if self.poison == "fails":
                raise ZeroDivisionError("a mean of nothing")
            if self.poison == "kills":
                self.is_stuck.set()
                await asyncio.Event().wait()
        return await super().do(task)


class Mortal(KafkaWork):
    """A worker that has no time for a goodbye."""

    async def __aexit__(self, *_: object) -> None:
        await self._close()


@asynccontextmanager
async def at_work(
    cluster: Cluster, tenant: str, work: LaneWork, kind: type[KafkaWork] = KafkaWork
) -> AsyncIterator[KafkaWork]:
    async with kind(cluster, tenant, LANES, work) as worker:
        pump = asyncio.create_task(Pump("lanes", worker.run_once, lambda *_: None).run())
        try:
            yield worker
        finally:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)


def nonsense(generator: np.random.Generator, task: Task) -> Iterator[bytes]:
    """Yield messages that nobody can make sense of, in any order."""
    whole = lane_messages.pack_task(task)
    (message,) = lane_messages.cut("of another release", whole)
    made = [
        b"",
        generator.bytes(int(generator.integers(1, 500_000))),
        message[: int(generator.integers(len(message)))],
        message[::-1],
        msgspec.msgpack.encode((lane_messages.VERSION + 1, "newer", 0, 1, whole)),
        *lane_messages.cut("no task", generator.bytes(1000)),
        next(lane_messages.cut("never whole", whole, part_bytes=10)),
    ]
    for number in generator.permutation(len(made)).tolist():
        yield made[number]


async def pour(cluster: Cluster, tenant: str, generator: np.random.Generator, task: Task) -> None:
    """Send nonsense to every lane, as tasks and as answers."""
    topics = Topics(cluster, tenant, LANES)
    await topics.make()
    async with topics.producer() as producer:
        for topic in (topics.tasks, topics.answers):
            for lane in range(LANES):
                for message in nonsense(generator, task):
                    await producer.send_and_wait(topic, message, partition=lane)


async def test_f31_messages_that_make_no_sense_are_nobodys_and_hold_nobody_up(kafka: KafkaBroker) -> None:
    cluster, tenant, generator = Cluster(url=kafka.url), new_tenant(), np.random.default_rng(SEED)
    async with SqliteStore(MEMORY) as store, KafkaLanes(cluster, tenant, LANES, PATIENCE_S) as lanes:
        scoring, position = Scoring(lanes), 0
        async with at_work(cluster, tenant, Touchy(store)) as worker:
            for number in ROUNDS:
                fact = await send(store, 5 * number)
                await pour(cluster, tenant, generator, Task(0, position, fact.position, (fact,)))
                (scores,) = await scoring.scores(position, [fact])
                assert scores is not None
                position = fact.position
            assert worker.letters == 0


async def test_work_that_fails_three_times_is_put_aside_until_somebody_lets_it_be_tried(
    kafka: KafkaBroker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster, tenant = Cluster(url=kafka.url), new_tenant()
    async with SqliteStore(MEMORY) as store, KafkaLanes(cluster, tenant, LANES, PATIENCE_S) as lanes:
        fact, work = await send(store, 0), Touchy(store)
        work.poison = "fails"
        async with at_work(cluster, tenant, work) as worker:
            for _ in range(MOST):
                with pytest.raises(Unavailable, match="it failed: ZeroDivisionError"):
                    await Scoring(lanes).scores(0, [fact])
            for _ in range(2):
                with pytest.raises(Unavailable, match=r"put aside for \d+ s more, it failed 3 times: ZeroDivision"):
                    await Scoring(lanes).scores(0, [fact])
            assert work.begun == MOST
            # who works on other lanes is not held up
            assert [answer.problem for answer in await lanes.ask([Task(0, 0, 1, (fact,))])] == [""]
            (letter,) = await dead_letters(cluster, tenant, LANES)
            assert (letter.lane, letter.since, letter.upto, letter.strikes, worker.letters) == (POISONED, 0, 1, MOST, 1)
            assert letter.reason == "ZeroDivisionError('a mean of nothing')"
            work.poison = ""
            with pytest.raises(Unavailable, match="put aside"):
                await Scoring(lanes).scores(0, [fact])
            monkeypatch.setenv("QUANTUM_STREAM__KIND", "kafka")
            monkeypatch.setenv("QUANTUM_STREAM__URL", kafka.url)
            monkeypatch.setenv("QUANTUM_STREAM__LANES", str(LANES))
            monkeypatch.setenv("QUANTUM_STORE__TENANT", tenant)
            assert await asyncio.to_thread(run_command, ["dead-letters", "list", "--json"]) == 0
            assert json.loads(capsys.readouterr().out)[0]["reason"] == letter.reason
            assert await asyncio.to_thread(run_command, ["dead-letters", "list"]) == 0
            assert "lane 1, facts 1 to 1, 2 samples, begun 3 times: ZeroDivisionError" in capsys.readouterr().out
            assert await asyncio.to_thread(run_command, ["dead-letters", "replay"]) == 0
            assert capsys.readouterr().out == "tried again at once: lanes 1\n"
            (scores,) = await Scoring(lanes).scores(0, [fact])
            assert scores is not None


@pytest.mark.parametrize("_round", ROUNDS)
async def test_work_that_kills_three_workers_is_put_aside_by_the_fourth_and_tried_again_later(
    _round: int, kafka: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, tenant = Cluster(url=kafka.url), new_tenant()
    async with SqliteStore(MEMORY) as store, KafkaLanes(cluster, tenant, LANES, PATIENCE_S) as lanes:
        facts = [await send(store, 0)]
        asking = asyncio.create_task(Scoring(lanes).scores(0, facts))
        for _ in range(MOST):
            work = Touchy(store)
            work.poison = "kills"
            async with asyncio.timeout(PATIENCE_S), at_work(cluster, tenant, work, Mortal):
                await work.is_stuck.wait()
        survivor = Touchy(store)
        async with at_work(cluster, tenant, survivor):
            with pytest.raises(Unavailable, match=DIED):
                await asking
            assert survivor.begun == 0
            (letter,) = await dead_letters(cluster, tenant, LANES)
            assert (letter.reason, letter.strikes) == (DIED, MOST)
            monkeypatch.setattr(strikes, "REST_MS", 0)
            (scores,) = await Scoring(lanes).scores(0, facts)
            assert scores is not None
            assert survivor.begun == 1


async def test_a_worker_that_is_told_to_stop_leaves_no_strike(kafka: KafkaBroker) -> None:
    cluster, tenant = Cluster(url=kafka.url), new_tenant()
    async with SqliteStore(MEMORY) as store, KafkaLanes(cluster, tenant, LANES, PATIENCE_S) as lanes:
        facts = [await send(store, 0)]
        asking = asyncio.create_task(Scoring(lanes).scores(0, facts))
        for _ in range(MOST):
            work = Touchy(store)
            work.poison = "kills"
            async with asyncio.timeout(PATIENCE_S), at_work(cluster, tenant, work):
                await work.is_stuck.wait()
        async with at_work(cluster, tenant, Touchy(store)):
            (scores,) = await asking
            assert scores is not None
        assert await dead_letters(cluster, tenant, LANES) == []


async def test_a_pardon_of_what_was_never_put_aside_changes_nothing(kafka: KafkaBroker) -> None:
    cluster, tenant = Cluster(url=kafka.url), new_tenant()
    await pardon(cluster, tenant, LANES, range(LANES))
    async with (
        SqliteStore(MEMORY) as store,
        at_work(cluster, tenant, Touchy(store)),
        KafkaLanes(cluster, tenant, LANES, PATIENCE_S) as lanes,
    ):
        (scores,) = await Scoring(lanes).scores(0, [await send(store, 0)])
        assert scores is not None


def test_there_are_dead_letters_only_where_there_is_kafka_and_of_lanes_that_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    monkeypatch.chdir(str(tmp_path))
    assert run_command(["dead-letters", "list"]) == 1
    assert "stream.kind is memory" in capsys.readouterr().err
    monkeypatch.setenv("QUANTUM_STREAM__KIND", "kafka")
    monkeypatch.setenv("QUANTUM_STREAM__URL", "kafka://127.0.0.1:9")
    assert run_command(["dead-letters", "replay", "--lane", "4"]) == 1
    assert "there is no lane 4: stream.lanes is 4, so the last is 3" in capsys.readouterr().err


def test_strikes_and_letters_that_do_not_read_are_none() -> None:
    for text in ("", "x", '{"since": "y"}'):
        assert lane_messages.unpack_strikes(text) == Strikes()
    for kept in (Strikes(7, 2, 1000), Strikes(7, 3, 1000, is_told=True)):
        assert lane_messages.unpack_strikes(lane_messages.pack_strikes(kept)) == kept
    letter = DeadLetter(1, 6, 9, 100, 3, 1000, "because")
    assert lane_messages.unpack_letter(lane_messages.pack_letter(letter)) == letter
    with pytest.raises(wire.CorruptData, match="a dead letter does not read"):
        lane_messages.unpack_letter(b"{}")
