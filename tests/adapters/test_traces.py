"""Traces: from a request over the workers' tasks to the notification, in every trace that follows the facts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from tests.facts import START_MS, full_match, labels, policy
from tests.parts.collector import run_collector

from quantum.adapters import wire
from quantum.adapters.memory import ManualClock, MemoryFeed, MemoryLanes, MemoryStream
from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.adapters.traces import Traces
from quantum.application.monitoring import Monitor, StateCodec
from quantum.application.ports import SampleProposal
from quantum.application.scoring import LaneWork, Scoring, Task
from quantum.domain.detectors.elsewhere import Elsewhere
from quantum.domain.detectors.robust_seasonal import RobustSeasonal
from quantum.domain.detectors.tiered import Tiered
from quantum.domain.errors import Unavailable
from quantum.domain.facts import Heartbeat, PutPolicy, PutReceiver, WebhookReceiver
from quantum.domain.labels import MatcherCompiler
from quantum.domain.lanes import Lane
from quantum.domain.pipeline import Pipeline
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantum.application.scoring import Answer
    from quantum.domain.alerts import NotificationIntent

CODEC = StateCodec(wire.pack_state, wire.unpack_state)
COMPILER = MatcherCompiler(full_match)
LANES = 2
TRACES = ("0af7651916cd43dd8448eb211c80319c", "1bf7651916cd43dd8448eb211c80319d")
PARENT_ID = "b7ad6b7169203331"


def header(trace_id: str) -> str:
    return f"00-{trace_id}-{PARENT_ID}-01"


def tiered() -> Tiered:
    return Tiered(RobustSeasonal(), RobustSeasonal())


class FollowedWork(LaneWork):
    """A worker in a process of its own: it knows of a trace what its task tells."""

    def __init__(self, store: SqliteStore, traces: Traces) -> None:
        super().__init__(store, lambda number: Lane(number, LANES, tiered(), COMPILER), wire.unpack_state)
        self._traces = traces
        self.is_away = False
        self.told: list[dict[str, Any]] = []

    async def do(self, task: Task) -> Answer:
        with self._traces.task(task):
            self.told.append(structlog.contextvars.get_contextvars())
            if self.is_away:
                raise Unavailable("the database is away")
            return await super().do(task)


class Sent:
    """A receiver that notes which trace it is told in."""

    def __init__(self, traces: Traces) -> None:
        self._traces = traces
        self.headers: list[dict[str, str]] = []

    async def send(self, receiver: WebhookReceiver, intent: NotificationIntent) -> None:
        del receiver, intent
        self.headers.append(self._traces.headers())


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        yield lines


async def test_a_trace_leads_over_the_tasks_of_workers_to_the_notification(logged: list[Any]) -> None:
    with run_collector() as collector:
        traces = Traces(collector.url, 0.0, "1", "monitoring")
        worker_traces = Traces(collector.url, 0.0, "1", "ml")
        async with SqliteStore(MEMORY) as store:
            stream, clock = traces.stream(MemoryStream(), "default"), ManualClock(START_MS)
            work = FollowedWork(store, worker_traces)
            scoring = Scoring(traces.lanes(MemoryLanes(work, LANES)))

            def pipeline() -> Pipeline:
                detector = tiered()
                return Pipeline(Elsewhere(detector.name, detector.version), COMPILER)

            monitor = Monitor(
                store,
                store,
                store,
                store,
                stream,
                MemoryFeed(),
                clock,
                pipeline,
                CODEC,
                86_400_000,
                scoring,
                traces.scoring("default"),
            )
            await monitor.open()
            ops = WebhookReceiver(name="ops", url="http://x/")
            for body in (PutReceiver(ops, 0, "me"), PutPolicy(policy(receivers=("ops",)), 0, "me")):
                await stream.publish([await store.append(body, START_MS)])
            for number, trace_id in enumerate(TRACES):
                batch = SampleBatch.of([-1], [START_MS + number], [99.0])
                name = labels("cpu", host=str(number))
                with traces.request("POST", {"traceparent": header(trace_id)}):
                    proposal = SampleProposal(batch, (name,))
                    appended = await traces.log(store).append_samples(proposal, START_MS + number)
                    assert appended.fact is not None
                    await stream.publish([appended.fact])
            await stream.publish([await store.append(Heartbeat(), START_MS + 2000)])
            work.is_away = True
            with pytest.raises(Unavailable):
                await monitor.run_once()
            work.is_away = False
            position, _ = await store.last()
            while monitor.pipeline.position < position:
                await monitor.run_once()
            sent = Sent(traces)
            for delivery in await store.due(START_MS + 10_000, 10):
                await traces.receiver(sent).send(ops, delivery.intent)
        await asyncio.to_thread(traces.close)
        await asyncio.to_thread(worker_traces.close)
    for trace_id in TRACES:
        spans = [one for one in collector.spans if one.trace_id == trace_id]
        [request] = [one for one in spans if one.name == "POST"]
        [pipeline_span] = [one for one in spans if one.name == "pipeline"]
        failed, asked = [one for one in spans if one.name == "tasks"]
        scores = [one for one in spans if one.name == "score"]
        [page] = [one for one in spans if one.name == "notification"]
        assert pipeline_span.parent_id == request.span_id
        assert failed.parent_id == asked.parent_id == pipeline_span.span_id
        assert (failed.is_error, asked.is_error) == (True, False)
        assert [one.is_error for one in scores] == [True, False, False]
        assert {one.parent_id for one in scores[1:]} == {asked.span_id}
        assert {one.attributes["quantum.lane"] for one in scores[1:]} == {0, 1}
        assert page.parent_id == pipeline_span.span_id
    assert {told.get("trace_id") for told in work.told[-2:]} == {TRACES[0]}
    [line] = [line for line in logged if line["event"] == "a task failed"]
    assert (line["trace_id"], line["reason"]) == (TRACES[0], "the database is away")


async def test_a_task_that_nobody_follows_is_no_span_and_one_with_a_broken_header_neither() -> None:
    with run_collector() as collector:
        traces = Traces(collector.url, 1.0, "1", "ml")
        for followers in ((), ("no header",), ("\ufffd",)):
            with traces.task(Task(0, 0, 1, followers=followers)):
                assert "trace_id" not in structlog.contextvars.get_contextvars()
        await asyncio.to_thread(traces.close)
    assert not collector.spans
