"""Training runs: queued, told as they go, cancelled, and what they leave in the registry."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.facts import START_MS, labels
from tests.models import COMPILER, STEP_MS, history, job, members, trained

from quantum.adapters.memory import ManualClock, MemoryFeed
from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.application import training as runs_module
from quantum.application.ports import SampleProposal
from quantum.application.training import MAX_WAITING, Order, RunState, TrainingRun, TrainingRuns, channels_of
from quantum.domain.errors import Conflict, NotFound, Overloaded, Rejected, Unavailable
from quantum.domain.facts import CancelTraining, PromoteModel, StartTraining
from quantum.domain.models import ModelKind, ModelState
from quantum.domain.series import SampleBatch
from quantum.domain.serving import ServedBook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from quantum.application.training import Progress
    from quantum.domain.facts import Command
    from quantum.domain.models import Training, TrainingJob

END_MS = START_MS + 300 * STEP_MS


def order(kind: ModelKind = ModelKind.PEERS, name: str = "night") -> Order:
    blank = replace(job(kind).model, channels=(), name=name)
    return Order(model=blank, selector="cpu|load", start_ms=START_MS, end_ms=END_MS, trees=25, seed=7)


class Bench:
    """Training runs over a store with a history, and a trainer that does what the test says."""

    def __init__(self, store: SqliteStore) -> None:
        self.store, self.feed, self.clock = store, MemoryFeed(), ManualClock(END_MS)
        self.jobs: list[TrainingJob] = []
        self.told = 0
        self.hold = asyncio.Event()
        self.hold.set()
        self.failure: Exception | None = None
        self.entered: list[Command] = []
        self.log_is_away = False
        self.lacking: set[ModelKind] = set()
        self.book = ServedBook(COMPILER)
        self.runs = TrainingRuns(
            store,
            store,
            self.feed,
            self.clock,
            self.train,
            lambda: dict(enumerate(members())),
            lambda: self.book,
            COMPILER,
            "0.1.0",
            self.on_trained,
            frozenset({"jump"}),
            lambda kind: "not here" if kind in self.lacking else "",
            self.enter,
        )

    async def enter(self, command: Command) -> None:
        if self.log_is_away:
            raise Unavailable("the log does not answer")
        self.entered.append(command)

    async def train(self, asked: TrainingJob, progress: Progress) -> Training:
        self.jobs.append(asked)
        progress(0.5, "half way")
        try:
            await self.hold.wait()
        except asyncio.CancelledError:
            progress(0.9, "nearly done")  # what was on its way when it was stopped
            raise
        if self.failure is not None:
            raise self.failure
        return trained(asked.model.kind)

    async def on_trained(self) -> None:
        self.told += 1


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with SqliteStore(MEMORY) as store:
        batch = history(300)
        proposal = SampleProposal(SampleBatch.of(-1 - batch.slots, batch.at_ms, batch.values), members())
        await store.append_samples(proposal, END_MS)
        yield Bench(store)


async def test_a_run_leaves_a_shadow_with_its_lineage_and_tells_its_progress(bench: Bench) -> None:
    watcher = bench.feed.subscribe(50)
    watcher.add("training")
    bench.book.put(PromoteModel(trained(ModelKind.PEERS).model, 4, "me"), {})
    run = await bench.runs.start(order(), "me")
    assert (run.state, run.progress) == (RunState.WAITING, 0.0)
    await bench.runs.run_once()
    done = bench.runs.run(run.id)
    assert (done.state, done.progress, done.version, bench.told) == (RunState.DONE, 1.0, 1, 1)
    [made] = await bench.store.models()
    assert (made.state, made.lineage.parent, made.lineage.actor) == (ModelState.SHADOW, 4, "me")
    assert (made.lineage.series, made.lineage.samples, made.lineage.code) == (10, 3000, "0.1.0")
    seen: list[TrainingRun] = []
    async for delivered in watcher:
        assert isinstance(delivered.message, TrainingRun)
        seen.append(delivered.message)
        if delivered.message.state is RunState.DONE:
            break
    assert [one.message for one in seen] == ["waiting", "reading the history", "half way", "version 1 watches now"]


async def test_the_trainer_gets_the_samples_in_order_of_time_and_slots_without_gaps(bench: Bench) -> None:
    few = replace(order(), model=replace(order().model, matchers=job(ModelKind.PEERS).model.matchers[:0]))
    await bench.runs.start(few, "me")
    await bench.runs.run_once()
    columns = {one.name: one.array() for one in bench.jobs[0].samples}
    wanted = history(300)
    assert columns["values"].tolist() == wanted.values.tolist()
    assert columns["slots"].tolist() == wanted.slots.tolist()
    assert columns["at_ms"].tolist() == wanted.at_ms.tolist()
    assert bench.jobs[0].series == members()


async def test_the_channels_of_a_group_model_are_found_in_the_series(bench: Bench) -> None:
    await bench.runs.start(order(ModelKind.GROUPS), "me")
    await bench.runs.run_once()
    assert bench.jobs[0].model.channels == (labels("cpu"), labels("load"))
    unlabelled = channels_of(order(ModelKind.GROUPS).model, (labels("cpu"), *members()))
    assert unlabelled == (labels("cpu"), labels("load"))


async def test_what_makes_no_sense_or_lacks_its_library_is_refused_before_it_is_queued(bench: Bench) -> None:
    fine = order()
    bench.lacking.add(ModelKind.DEEP)
    for bad, reason in (
        (replace(fine, model=replace(fine.model, name="jump")), "model_name"),
        (replace(fine, model=replace(fine.model, name="a b")), "model_name"),
        (replace(fine, model=replace(fine.model, by=())), "model_by"),
        (replace(fine, end_ms=START_MS), "training_range"),
        (replace(fine, trees=5), "training_trees"),
        (order(ModelKind.DEEP), "training_extra"),
    ):
        with pytest.raises(Rejected) as caught:
            await bench.runs.start(bad, "me")
        assert caught.value.reason == reason
    assert bench.runs.runs == []


async def test_too_many_series_or_samples_or_none_fail_the_run_with_the_limit(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs_module, "MAX_SAMPLES", 2999)
    await bench.runs.start(order(), "me")
    await bench.runs.run_once()
    monkeypatch.setattr(runs_module, "MAX_SERIES", 9)
    await bench.runs.start(order(), "me")
    await bench.runs.run_once()
    assert [(one.state, one.message) for one in bench.runs.runs] == [
        (RunState.FAILED, "10 series match, training takes 1 to 9"),
        (RunState.FAILED, "3000 samples match, training takes at most 2999"),
    ]


async def test_waiting_runs_have_a_limit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs_module, "MAX_WAITING", 1)
    await bench.runs.start(order(), "me")
    with pytest.raises(Overloaded, match="1 training runs wait already"):
        await bench.runs.start(order(), "me")


async def test_only_so_many_runs_are_remembered(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs_module, "MAX_KEPT", 2)
    first = await bench.runs.start(order(), "me")
    for _ in range(2):
        await bench.runs.cancel((await bench.runs.start(order(), "me")).id, "me")
    assert bench.runs.run(first.id) is first
    assert len(bench.runs.runs) == 2
    with pytest.raises(NotFound, match="no training run x"):
        bench.runs.run("x")


async def test_a_waiting_run_is_cancelled_and_never_begins(bench: Bench) -> None:
    run = await bench.runs.start(order(), "me")
    assert (await bench.runs.cancel(run.id, "me")).state is RunState.CANCELLED
    with pytest.raises(Conflict, match="it is cancelled"):
        await bench.runs.cancel(run.id, "me")
    waiting = asyncio.create_task(bench.runs.run_once())
    await asyncio.sleep(0)
    other = await bench.runs.start(order(), "me")
    await waiting
    await bench.runs.run_once()
    assert bench.runs.run(other.id).state is RunState.DONE
    assert len(bench.jobs) == 1


async def begun(bench: Bench) -> tuple[TrainingRun, asyncio.Task[None]]:
    bench.hold.clear()
    run = await bench.runs.start(order(), "me")
    pump = asyncio.create_task(bench.runs.run_once())
    async with asyncio.timeout(10.0):
        while bench.runs.run(run.id).progress < 0.5:  # noqa: ASYNC110 - the feed would do, in more lines
            await asyncio.sleep(0.001)
    return run, pump


async def test_a_run_that_is_cancelled_stops_and_leaves_nothing(bench: Bench) -> None:
    run, pump = await begun(bench)
    later = await bench.runs.start(order(), "me")
    await bench.runs.cancel(later.id, "me")
    assert bench.runs.run(run.id).state is RunState.RUNNING
    await bench.runs.cancel(run.id, "me")
    await pump
    assert bench.runs.run(run.id).state is RunState.CANCELLED
    assert await bench.store.models() == []


async def test_stopping_the_pump_stops_what_it_trains(bench: Bench) -> None:
    _, pump = await begun(bench)
    pump.cancel()
    await asyncio.gather(pump, return_exceptions=True)
    others = [one for one in asyncio.all_tasks() if one is not asyncio.current_task()]
    await asyncio.gather(*(one for one in others if "_train" in repr(one)), return_exceptions=True)
    assert await bench.store.models() == []


async def test_a_run_that_fails_says_why_and_a_bug_reaches_the_log_of_the_pump(bench: Bench) -> None:
    bench.failure = Rejected("too_little_history", "training needs more")
    await bench.runs.start(order(), "me")
    await bench.runs.run_once()
    bench.failure = ZeroDivisionError()
    await bench.runs.start(order(), "me")
    with pytest.raises(ZeroDivisionError):
        await bench.runs.run_once()
    assert [(one.state, one.message) for one in bench.runs.runs] == [
        (RunState.FAILED, "training failed; the log of the process says why"),
        (RunState.FAILED, "training needs more"),
    ]


async def test_what_somebody_wants_is_in_the_log_before_it_is_done(bench: Bench) -> None:
    run = await bench.runs.start(order(), "ada")
    await bench.runs.cancel(run.id, "bob")
    assert bench.entered == [
        StartTraining("night", ModelKind.PEERS, "cpu|load", START_MS, END_MS, "ada"),
        CancelTraining("night", run.id, "bob"),
    ]


async def test_what_the_log_does_not_take_is_not_done(bench: Bench) -> None:
    run = await bench.runs.start(order(), "ada")
    bench.log_is_away = True
    with pytest.raises(Unavailable):
        await bench.runs.start(order(), "ada")
    with pytest.raises(Unavailable):
        await bench.runs.cancel(run.id, "ada")
    assert bench.runs.runs == [run]


async def test_what_makes_no_sense_or_is_too_much_is_not_in_the_log(bench: Bench) -> None:
    bad = replace(order(), trees=1)
    with pytest.raises(Rejected):
        await bench.runs.start(bad, "ada")
    asked = [bench.runs.start(order(), "ada") for _ in range(MAX_WAITING + 3)]
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(one) for one in found if not isinstance(one, TrainingRun)] == [Overloaded] * 3
    assert len(bench.entered) == MAX_WAITING
