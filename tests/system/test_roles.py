"""The roles `monitoring` and `ml` in processes of their own, on a real PostgreSQL and a real Kafka, killed in turn.

Row F7 of the fault matrix in docs/reliability.md.
What they stored and concluded is held against the ledger of a sender, and against one process that takes the same
facts: its alerts, notifications and incidents, and all that its detectors have learnt, have to be the same bytes.
`TEST_OUTAGE_S` says how long Kafka is away (`make faults`: 60).
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.manifests import answers_probes
from tests.parts.children import start_child
from tests.parts.collector import run_collector
from tests.parts.kafka import run_kafka
from tests.parts.ledger import LANES, LedgerClient, read_ledger
from tests.parts.ordeal import POLICY_NAME, SETTLE_WITHIN_S, check_alerts, check_samples, set_the_scene
from tests.parts.program import ALONE, QUANTUM, run_quantum
from tests.parts.sink import run_sink
from tests.parts.topics import read_topic
from tests.system.test_replay_is_byte_equal import CODEC, recorded

from quantum.adapters import wire
from quantum.adapters.postgres import PostgresStore
from quantum.application.timemachine import TimeMachine, history_lines
from quantum.composition import build_workspace
from quantum.loading import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.parts.collector import Collector
    from tests.parts.kafka import KafkaBroker
    from tests.parts.program import Program

OUTAGE_S: Final = float(os.environ.get("TEST_OUTAGE_S", "4"))
LIVE_S: Final = 1.5
LIVE_ANSWERS: Final = 10
"""So many at least, however slow the machine is."""
CATCH_UP_S: Final = SETTLE_WITHIN_S
START_WITHIN_S: Final = SETTLE_WITHIN_S
STOP_WITHIN_S: Final = SETTLE_WITHIN_S
KILLS: Final = 2
PARTITIONS: Final = 2
TRACE_ID: Final = "0af7651916cd43dd8448eb211c80319c"
TRACED: Final = 4
"""So many samples are sent by a request that is followed."""
TRACE_S: Final = 60.0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[KafkaBroker]:
    home = tmp_path / "kafka"
    home.mkdir()
    with run_kafka(home) as running:
        yield running


@pytest.fixture
def environment(postgres_url: str, broker: KafkaBroker) -> dict[str, str]:
    return {
        **ALONE,
        "QUANTUM_STORE__KIND": "postgres",
        "QUANTUM_STORE__URL": postgres_url,
        "QUANTUM_STORE__TENANT": f"roles-{os.getpid()}",
        "QUANTUM_STORE__WAIT_MS": "300000",
        "QUANTUM_STREAM__KIND": "kafka",
        "QUANTUM_STREAM__URL": broker.url,
        "QUANTUM_STREAM__LANES": str(PARTITIONS),
        "QUANTUM_STREAM__PUBLISH": "true",
    }


def caught_up(program: Program) -> bool | None:
    """Whether the pipeline is where the log was a moment ago."""
    wanted = program.get("/api/v1/overview")["at_ms"]
    time.sleep(0.2)
    overview = program.get("/api/v1/overview")
    return overview["at_ms"] - overview["lag_ms"] >= wanted or None


def live(client: LedgerClient, duration_s: float) -> list[int]:
    """Let time pass, and a few samples be sent; return what senders were answered meanwhile."""
    before = len(client.answers)
    begin_s = time.monotonic()
    while time.monotonic() - begin_s < duration_s or len(client.answers) < before + LIVE_ANSWERS:
        assert time.monotonic() - begin_s < duration_s + SETTLE_WITHIN_S
        time.sleep(0.05)
    return [status for _, status, _ in client.answers[before:]]


def test_killed_workers_a_killed_kafka_and_a_killed_monitor_change_nothing(
    environment: dict[str, str], broker: KafkaBroker, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    client = LedgerClient(tmp_path / "ledger", POLICY_NAME)

    def start(role: str, name: str, stack: ExitStack) -> Program:
        running = run_quantum(
            tmp_path / name,
            tmp_path / f"{name}.log",
            "--role",
            role,
            environment=environment,
            ready_within_s=START_WITHIN_S,
        )
        program = stack.enter_context(running)
        answers_probes(role, program.http)
        return program

    with run_sink() as sink, run_collector() as collector, ExitStack() as others:
        environment |= {"QUANTUM_TRACES__URL": collector.url, "QUANTUM_TRACES__RATIO": "0"}
        others.callback(client.stop)
        with ExitStack() as first:
            monitor, short = start("monitoring", "first", first), first.enter_context(ExitStack())
            start("ml", "worker-1", short)
            start("ml", "worker-2", others)
            set_the_scene(monitor, client, sink)
            monitor.wait_until(lambda: caught_up(monitor), "a pipeline that has caught up", CATCH_UP_S)
            check_trace(monitor, collector)
            live(client, LIVE_S)
            short.close()
            while_one_is_dead = live(client, LIVE_S)
            monitor.wait_until(lambda: caught_up(monitor), "the other worker", CATCH_UP_S)
            begin_s = time.monotonic()
            broker.kill()
            while_kafka_is_away = live(client, OUTAGE_S)
            assert monitor.http.get("/readyz").status_code == 200
            broker.start()
            monitor.wait_until(lambda: caught_up(monitor), "scores again", CATCH_UP_S)
            tell(f"roles: Kafka away {OUTAGE_S:g} s, all scored {time.monotonic() - begin_s - OUTAGE_S:.1f} s later")
        start("ml", "worker-3", others)
        second = start("monitoring", "second", others)
        client.use(second.base)
        assert client.finish(SETTLE_WITHIN_S), "the signal came down, but its alert did not"
        assert set(while_one_is_dead + while_kafka_is_away) == {200}
        # what is asked below is known once the second monitor has had everything scored that the first had not saved
        stored = len(client.books.acknowledged) * (LANES + 1)
        second.wait_until(
            lambda: second.get("/api/v1/overview")["samples_total"] >= stored or None, "all samples", CATCH_UP_S
        )
        check_samples(second, read_ledger(tmp_path / "ledger"), client, tell, TRACED)
        check_alerts(second, client, sink, tell, KILLS)
        begin_s = time.monotonic()
        assert second.child.stop(timeout_s=STOP_WITHIN_S) == 0
        tell(f"roles: stopped and saved in {time.monotonic() - begin_s:.1f} s")
        check_published(broker, environment["QUANTUM_STORE__TENANT"], client, tell)
    check_against_one_process(environment)


def check_trace(monitor: Program, collector: Collector) -> None:
    """A trace leads from a request to the workers that scored its samples, in processes of their own."""
    at_ms = time.time_ns() // 1_000_000
    lanes = [
        {"labels": {"__name__": f"traced {one}"}, "timestamps_ms": [at_ms], "values": [1.0]} for one in range(TRACED)
    ]
    headers = {"traceparent": f"00-{TRACE_ID}-b7ad6b7169203331-01"}
    assert monitor.http.post("/api/v1/samples", json={"series": lanes}, headers=headers).status_code == 200
    # a process sends its spans every few seconds
    monitor.wait_until(lambda: {"pipeline", "score"} <= {one.name for one in collector.spans} or None, "spans", TRACE_S)
    monitor.wait_until(lambda: len(collector.named("score")) >= PARTITIONS or None, "those of both workers", TRACE_S)
    assert {one.trace_id for one in collector.spans} == {TRACE_ID}
    [pipeline], asked, scores = (collector.named(name) for name in ("pipeline", "tasks", "score"))
    assert {one.parent_id for one in asked} == {pipeline.span_id}
    assert {one.parent_id for one in scores} <= {one.span_id for one in asked}
    assert {one.attributes["quantum.lane"] for one in scores} == set(range(PARTITIONS))


def check_published(broker: KafkaBroker, tenant: str, client: LedgerClient, tell: Callable[[str], None]) -> None:
    """Whatever was killed, other programs can read every sample that was acknowledged, and every alert."""
    samples, alerts = (
        [json.loads(one.value) for one in asyncio.run(read_topic(broker, f"quantum.{tenant}.{kind}", PARTITIONS))]
        for kind in ("samples", "alerts")
    )
    for lane in range(LANES):
        mine = [one for one in samples if one["labels"].get("lane") == str(lane)]
        found = [at_ms for one in mine for at_ms in one["timestamps_ms"]]
        assert not set(client.books.acknowledged) - set(found)
        assert list(dict.fromkeys(found)) == sorted(set(found))
    fired = {one["alert"]["id"] for one in alerts if one["alert"]["state"] == "firing"}
    assert fired == set(client.episodes)
    rows = sum(len(one["timestamps_ms"]) for one in samples)
    stored = len(client.books.acknowledged) * (LANES + 1)
    tell(f"roles: {rows} samples published, {rows - stored} of them again after kills")


def check_against_one_process(environment: dict[str, str]) -> None:
    """One process that takes the facts of the log concludes and knows the same."""

    async def check() -> None:
        settings = load_settings(environment=environment)
        pipeline = build_workspace(settings).pipeline
        async with PostgresStore(settings.store.url, settings.store.tenant) as store:
            machine = TimeMachine(store, store, store, store, pipeline, CODEC)
            history = await machine.replay(0, 2**60)
            assert history.fired
            replayed = history_lines(history.transitions, history.intents, history.incidents.values())
            assert replayed == await recorded(store)
            newest = await store.newest()
            assert newest is not None
            kept, alone = wire.unpack_state(newest[1]), pipeline()
            for fact in await store.read(0, 10_000_000):
                if fact.position <= newest[0]:
                    alone.step(fact)
            assert learnt(kept.arrays) == learnt(alone.dump().arrays)

    asyncio.run(check())


def learnt(arrays: dict[str, Any]) -> dict[str, bytes]:
    found = {name: array.tobytes() for name, array in arrays.items() if name.startswith("detector.")}
    assert found
    return found


def test_a_role_that_shares_its_work_refuses_what_others_cannot_reach(tmp_path: Path) -> None:
    for role in ("monitoring", "ml"):
        with start_child([QUANTUM, "run", "--role", role, "--data-dir", tmp_path], tmp_path / role) as child:
            status, said = child.process.wait(60), child.text()
        assert status == 1
        assert f"store.kind: the role {role} needs postgres" in said
        assert f"stream.kind: the role {role} needs kafka" in said
