"""Traces: what became of a request, from the door to the page, told to an OpenTelemetry collector (OTLP over HTTP).

Ports are decorated, so whoever uses them knows nothing of it. A request's span is the parent of those of its commit, of
its facts being scored, and of the notifications that they led to. Where others score, messages tell in a header below
which spans their tasks are done (`traceparent`). What ties them together is held in memory only, for so many facts;
after a restart a notification begins a trace of its own. Sampling is decided once, by the request, or by whoever sent
it a `traceparent` (W3C Trace Context).
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import structlog
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, Status, StatusCode

from quantum.domain.errors import QuantumError
from quantum.domain.facts import Samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from quantum.application.ports import Appended, EventStream, FactLog, Lanes, Receiver, SampleProposal
    from quantum.application.scoring import Answer, Task
    from quantum.domain.alerts import NotificationIntent
    from quantum.domain.facts import Attendance, Command, Denied, Fact, Heartbeat, Ordered, Started, WebhookReceiver
    from quantum.domain.pipeline import Step
    from quantum.domain.series import SampleBatch

    Body = Heartbeat | Started | Denied | Attendance | Ordered | Command

HELD: Final = 10_000
"""So many facts and notifications are followed at most; beyond it the oldest are not followed any more."""
EXPORT_TIMEOUT_S: Final = 5
LEAST_ERROR: Final = 500
HELD_BATCHES: Final = 32
"""Of so many followed requests the samples are held, to know which notifications speak of them."""
MOST_FOLLOWERS: Final = 32
"""So many traces at most have the tasks of one group of facts."""
TRACEPARENT: Final = "traceparent"
FOLLOWING: Final[ContextVar[tuple[Context, ...]]] = ContextVar("FOLLOWING", default=())
"""The spans of the facts that this task takes in."""
K = TypeVar("K")

log = structlog.get_logger("quantum.traces")


class Followed(Generic[K]):
    """Under which span something is followed, for the newest `HELD` things."""

    def __init__(self) -> None:
        self._contexts: dict[K, Context] = {}

    def add(self, key: K, context: Context) -> None:
        """Follow something, if the trace is sampled."""
        if trace.get_current_span(context).get_span_context().trace_flags.sampled:
            self._contexts[key] = context
            if len(self._contexts) > HELD:
                del self._contexts[next(iter(self._contexts))]

    def find(self, key: K) -> Context | None:
        """Return the span under which something is followed."""
        return self._contexts.get(key)

    def take(self, key: K) -> Context | None:
        """Return the same, and follow it no more."""
        return self._contexts.pop(key, None)


class Traces:
    """The tracer of a process; close it to send what waits."""

    def __init__(self, url: str, ratio: float, release: str, role: str) -> None:
        """Take where to and how much.

        Args:
            url: of the collector: `http://127.0.0.1:4318/v1/traces`.
            ratio: 0 to 1, of the requests that come without a decision of their sender.
            release: of this program.
            role: of this process.
        """
        described = {"service.name": "quantum", "service.version": release, "service.instance.role": role}
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)), resource=Resource.create(described), shutdown_on_exit=False
        )
        exporter = OTLPSpanExporter(endpoint=url, timeout=EXPORT_TIMEOUT_S)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self.tracer = self._provider.get_tracer("quantum", release)
        self._facts: dict[str, Followed[int]] = {}
        self._intents: Followed[str] = Followed()

    def close(self) -> None:
        """Send what waits, for a few seconds at most. Blocks."""
        self._provider.shutdown()

    # ---- requests -----------------------------------------------------------------------------------------------

    @contextmanager
    def request(self, method: str, headers: Mapping[str, str]) -> Iterator[Span]:
        """Follow a request while the body runs; the span is named by its method until `answered` knows its route."""
        parent = propagate.extract(headers)
        with self.tracer.start_as_current_span(method, parent, SpanKind.SERVER) as span:
            yield span

    @staticmethod
    def answered(span: Span, method: str, route: str, status: int, request_id: str) -> None:
        """Note what came of a request."""
        span.update_name(f"{method} {route}")
        span.set_attributes(
            {
                "http.request.method": method,
                "http.route": route,
                "http.response.status_code": status,
                "quantum.request_id": request_id,
            }
        )
        if status >= LEAST_ERROR:
            span.set_status(Status(StatusCode.ERROR))

    @staticmethod
    def headers() -> dict[str, str]:
        """Return what tells others under which span they are called."""
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        return carrier

    # ---- ports --------------------------------------------------------------------------------------------------

    def log(self, log: FactLog) -> TracedLog:
        """Return a log whose appends are spans."""
        return TracedLog(log, self.tracer)

    def stream(self, stream: EventStream, tenant: str) -> TracedStream:
        """Return a stream that notes under which span a fact was published."""
        return TracedStream(stream, self._facts.setdefault(tenant, Followed()))

    def receiver(self, receiver: Receiver) -> TracedReceiver:
        """Return a receiver whose deliveries are spans."""
        return TracedReceiver(receiver, self.tracer, self._intents)

    def scoring(self, tenant: str) -> Callable[[Sequence[Fact]], Callable[[Sequence[Step]], None]]:
        """Return what is told of a tenant's facts before and after the pipeline has taken them in."""
        followed = self._facts.setdefault(tenant, Followed())
        scored: deque[tuple[SampleBatch, Context]] = deque(maxlen=HELD_BATCHES)

        spans: dict[int, Span] = {}

        def begun(facts: Sequence[Fact]) -> Callable[[Sequence[Step]], None]:
            for fact in facts:
                # what failed and is taken up again goes on in the span that it began
                if (context := followed.take(fact.position)) is not None:
                    attributes = {"quantum.position": fact.position}
                    spans[fact.position] = self.tracer.start_span("pipeline", context, attributes=attributes)
            mine = [spans.get(fact.position) for fact in facts]
            FOLLOWING.set(tuple(trace.set_span_in_context(span) for span in mine if span is not None)[:MOST_FOLLOWERS])

            def done(steps: Sequence[Step]) -> None:
                for fact, span, step in zip(facts, mine, steps, strict=True):
                    if span is not None:
                        del spans[fact.position]
                        span.set_attribute("quantum.anomalies", len(step.effects.anomalies))
                        span.end()
                        if isinstance(fact.body, Samples):
                            scored.appendleft((fact.body.batch, trace.set_span_in_context(span)))
                    for intent in step.effects.intents:
                        if (cause := _cause(intent, scored)) is not None:
                            self._intents.add(intent.id, cause)

            return done

        return begun

    def lanes(self, lanes: Lanes) -> TracedLanes:
        """Return lanes whose tasks are spans below those of the facts that are scored."""
        return TracedLanes(lanes, self.tracer)

    @contextmanager
    def task(self, task: Task) -> Iterator[None]:
        """Follow a task of a lane while the body does it, in every trace that follows its facts.

        Log lines carry the id of the first of them.
        """
        attributes = {"quantum.lane": task.lane, "quantum.position": task.upto, "quantum.facts": len(task.facts)}
        parents = [propagate.extract({TRACEPARENT: one}) for one in task.followers]
        known = [one for one in parents if _id_of(one)]
        said = {"trace_id": _id_of(known[0])} if known else {}
        with (
            below(self.tracer, known, "score", SpanKind.CONSUMER, attributes),
            structlog.contextvars.bound_contextvars(**said),
        ):
            try:
                yield
            except Exception as error:
                log.warning("a task failed", lane=task.lane, since=task.since, upto=task.upto, reason=str(error))
                raise
            log.debug("a task was done", lane=task.lane, since=task.since, upto=task.upto)


def _cause(intent: NotificationIntent, scored: Iterable[tuple[SampleBatch, Context]]) -> Context | None:
    """Return the context of the newest followed samples that a notification speaks of.

    Policies are judged some moments after the samples, so it is not the fact at hand.
    """
    for batch, context in scored:
        for one in intent.alert.contributors:
            if ((batch.slots == one.slot) & (batch.at_ms == one.at_ms)).any():
                return context
    return None


def _id_of(context: Context) -> str:
    """Return the id of the trace that a context is in; the empty string for none."""
    found = trace.get_current_span(context).get_span_context()
    return format(found.trace_id, "032x") if found.is_valid else ""


@contextmanager
def below(
    tracer: trace.Tracer, parents: Iterable[Context], name: str, kind: SpanKind, attributes: dict[str, Any]
) -> Iterator[list[Span]]:
    """Have a span below each of some others for the length of a block; one that fails is noted in all."""
    spans = [tracer.start_span(name, parent, kind, attributes) for parent in parents]
    try:
        yield spans
    except Exception as error:
        for span in spans:
            span.set_status(Status(StatusCode.ERROR, str(error)))
        raise
    finally:
        for span in spans:
            span.end()


class TracedLanes:
    """Lanes whose tasks are spans below those of the facts that are scored; whoever does one is told of them."""

    def __init__(self, lanes: Lanes, tracer: trace.Tracer) -> None:
        self._lanes = lanes
        self._tracer = tracer

    @property
    def count(self) -> int:
        """See Lanes."""
        return self._lanes.count

    async def ask(self, tasks: Sequence[Task]) -> list[Answer]:
        """See Lanes."""
        attributes = {"quantum.lanes": len(tasks), "quantum.position": max(task.upto for task in tasks)}
        with below(self._tracer, FOLLOWING.get(), "tasks", SpanKind.PRODUCER, attributes) as spans:
            followers = tuple(_traceparent(span) for span in spans)
            return await self._lanes.ask([replace(task, followers=followers) for task in tasks])


def _traceparent(span: Span) -> str:
    carrier: dict[str, str] = {}
    propagate.inject(carrier, trace.set_span_in_context(span))
    return carrier[TRACEPARENT]


class TracedLog:
    """A FactLog whose appends are spans."""

    def __init__(self, log: FactLog, tracer: trace.Tracer) -> None:
        self._log = log
        self._tracer = tracer

    async def append_samples(self, proposal: SampleProposal, now_ms: int) -> Appended:
        """See FactLog."""
        attributes = {"quantum.samples": len(proposal.batch), "quantum.new_series": len(proposal.unknown)}
        with self._span(attributes):
            return await self._log.append_samples(proposal, now_ms)

    async def append(self, body: Body, now_ms: int) -> Fact:
        """See FactLog."""
        with self._span({"quantum.fact": type(body).__name__}):
            return await self._log.append(body, now_ms)

    async def read(self, after: int, max_rows: int) -> list[Fact]:
        """See FactLog."""
        return await self._log.read(after, max_rows)

    async def begins_after(self) -> int:
        """See FactLog."""
        return await self._log.begins_after()

    async def last(self) -> tuple[int, int]:
        """See FactLog."""
        return await self._log.last()

    @contextmanager
    def _span(self, attributes: dict[str, Any]) -> Iterator[None]:
        with self._tracer.start_as_current_span("commit", attributes=attributes, record_exception=False):
            yield


class TracedStream:
    """An EventStream that notes under which span each fact was published."""

    def __init__(self, stream: EventStream, followed: Followed[int]) -> None:
        self._stream = stream
        self._followed = followed

    async def publish(self, facts: Sequence[Fact]) -> None:
        """See EventStream."""
        context = trace.set_span_in_context(trace.get_current_span())
        for fact in facts:
            self._followed.add(fact.position, context)
        await self._stream.publish(facts)

    async def take(self, after: int, max_facts: int) -> list[Fact]:
        """See EventStream."""
        return await self._stream.take(after, max_facts)


class TracedReceiver:
    """A Receiver whose deliveries are spans under the one of the fact that led to them."""

    def __init__(self, receiver: Receiver, tracer: trace.Tracer, followed: Followed[str]) -> None:
        self._receiver = receiver
        self._tracer = tracer
        self._followed = followed

    async def send(self, receiver: WebhookReceiver, intent: NotificationIntent) -> None:
        """See Receiver. A delivery that fails is followed until it succeeds."""
        attributes = {
            "quantum.receiver": receiver.name,
            "quantum.alert_id": intent.alert.id,
            "quantum.alert_state": intent.alert.state.value,
        }
        parent = self._followed.find(intent.id)
        with self._tracer.start_as_current_span("notification", parent, SpanKind.CLIENT, attributes) as span:
            try:
                await self._receiver.send(receiver, intent)
            except QuantumError as error:
                span.set_status(Status(StatusCode.ERROR, str(error)))
                raise
        self._followed.take(intent.id)
