"""The promise of the time machine: 24 simulated hours, lived through with faults, replay to the same bytes, twice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.facts import START_MS, full_match, labels, policy

from quantum.adapters import wire
from quantum.adapters.memory import ManualClock, MemoryFeed, MemoryStream
from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.application.control import Control
from quantum.application.ingest import Incoming, Ingest, Limits, incoming_readings
from quantum.application.monitoring import Monitor, StateCodec
from quantum.application.ports import AlertFilter, Page
from quantum.application.timemachine import TimeMachine, history_lines
from quantum.domain.alerts import AlertState, Verdict
from quantum.domain.coverage import Allotment, CoverageRule, Tier
from quantum.domain.detectors.robust_ensemble import RobustEnsemble
from quantum.domain.detectors.robust_seasonal import RobustSeasonal
from quantum.domain.detectors.tiered import Tiered
from quantum.domain.facts import (
    AcknowledgeIncident,
    DeleteRoute,
    Heartbeat,
    JudgeIncident,
    NoteIncident,
    PutCoverage,
    PutPolicy,
    PutReceiver,
    PutRoute,
    PutSilence,
    WebhookReceiver,
)
from quantum.domain.labels import LabelSet, Matcher, MatcherCompiler, MatchOp
from quantum.domain.pipeline import Pipeline
from quantum.domain.policies import Absence, AnomalyScore, Comparison, Direction, RateOfChange, Threshold
from quantum.domain.routes import Route
from quantum.domain.routing import ROOT
from quantum.domain.schedules import WEEKDAYS, Schedule, span_of
from quantum.domain.silences import Silence

if TYPE_CHECKING:
    from pathlib import Path

    from quantum.adapters.postgres import PostgresStore

STEP_MS = 10_000
STEPS = 8640
DAY_STEPS = 8640
KEEP_MS = 90 * 86_400_000
CODEC = StateCodec(wire.pack_state, wire.unpack_state)
RESTARTS = (1800, 4321, 7000)
WEB = [labels("load", host=f"web-{n}") for n in range(10)]
DISKS = [labels("disk", host=f"web-{n}") for n in range(8)]
QUEUE = labels("queue", job="mail")
DEAD = labels("load", host="doomed")
ROUTED = frozenset({"high", "gone"})
"""Policies that leave it to the routes whom to tell."""


def pipeline() -> Pipeline:
    return Pipeline(Tiered(RobustEnsemble(), RobustSeasonal()), MatcherCompiler(full_match))


class Life:
    """One process over a store, from start to kill; the next continues."""

    def __init__(self, store: SqliteStore, clock: ManualClock) -> None:
        self.store, self.clock = store, clock
        self.stream = MemoryStream()
        self.monitor = Monitor(
            store,
            store,
            store,
            store,
            self.stream,
            MemoryFeed(),
            clock,
            pipeline,
            CODEC,
            KEEP_MS,
        )
        self.control = Control(store, self.stream, clock, self.monitor)
        self.ingest = Ingest(store, self.stream, clock, Limits())

    async def begin(self) -> None:
        await self.ingest.open(self.store)
        await self.monitor.open()

    async def settle(self) -> None:
        while self.monitor.pipeline.position < (await self.store.last())[0]:
            await self.monitor.run_once()

    async def obey(self, command: object) -> None:
        fact = await self.store.append(command, self.clock.now_ms())  # type: ignore[arg-type]
        await self.stream.publish([fact])
        await self.settle()


def values_at(step: int, generator: np.random.Generator) -> dict[LabelSet, float]:
    """Return what every source says at a step: a day's curve, noise, and what goes wrong."""
    curve = 50 + 30 * np.sin(2 * np.pi * step / DAY_STEPS)
    values = {series: curve + generator.normal(0, 2) + n for n, series in enumerate(WEB)}
    values |= {series: 40 + step / 200 + generator.normal(0, 0.1) for series in DISKS}
    values[QUEUE] = float(generator.poisson(3))
    if step < 5000:
        values[DEAD] = curve + generator.normal(0, 2)
    if 2000 <= step < 2030:
        values[WEB[3]] += 120  # a spike for five minutes
    if step >= 3500:
        values[WEB[5]] += 60  # a lasting level shift
    if 6000 <= step < 6040:
        values[QUEUE] = 0.0 if step % 2 else 400.0  # flapping
    if 2500 <= step < 2560:
        values = {series: value for series, value in values.items() if series not in WEB[:4]}  # a gap
    return values


async def configure(life: Life) -> None:
    for name in ("ops", "dev"):
        await life.obey(PutReceiver(WebhookReceiver(name=name, url=f"http://{name}/"), 0, "test"))
    for one in (
        policy("spike", "load", Threshold(op=Comparison.ABOVE, raise_at=130.0, clear_at=110.0), for_ms=30_000),
        policy("odd", "load", AnomalyScore(raise_at=0.4, clear_at=0.2), for_ms=20_000, keep_firing_for_ms=60_000),
        policy("high", "load", AnomalyScore(raise_at=0.4, clear_at=0.2, direction=Direction.ABOVE), for_ms=20_000),
        policy("gone", "load", Absence(after_ms=120_000)),
        policy(
            "fast", "queue", RateOfChange(op=Comparison.ABOVE, window_ms=20_000, raise_at=5.0, clear_at=1.0), ("job",)
        ),
    ):
        await life.obey(PutPolicy(replace(one, receivers=() if one.id in ROUTED else ("ops",)), 0, "test"))
    hosts = (Matcher("host", MatchOp.REGEX, "web-[1-3]|db.*"),)
    await life.obey(PutRoute(Route(name="some", matchers=hosts, receivers=("ops", "dev"), goes_on=True), 0, "test"))
    await life.obey(PutRoute(Route(name="gone", matchers=(Matcher("alertname", MatchOp.EQUAL, "gone"),)), 0, "test"))
    await life.obey(PutRoute(replace(ROOT, receivers=("dev",)), 1, "test"))
    # every morning, so that of what fires then nobody is told
    mornings = Schedule("Europe/Berlin", WEEKDAYS, "04:00", "09:00", "2023-11-01", "2023-12-01", ((0, 3_600_000),))
    span = span_of(mornings)
    quiet = Silence(
        id="5" * 16,
        matchers=(Matcher("host", MatchOp.REGEX, "web-[0-4]"),),
        starts_at_ms=span.starts_at_ms,
        ends_at_ms=span.ends_at_ms,
        comment="",
        author="test",
        created_at_ms=START_MS,
        schedule=mornings,
    )
    await life.obey(PutSilence(quiet, "test"))


async def live_a_day(store: SqliteStore) -> None:
    """Live through 24 hours with late data, gaps, a dead source, restarts, people's acts and an edit."""
    clock, generator = ManualClock(START_MS), np.random.default_rng(24)
    life = Life(store, clock)
    await life.begin()
    await configure(life)
    for step in range(STEPS):
        clock.advance(STEP_MS)
        if step in RESTARTS:
            if step == RESTARTS[1]:
                await life.monitor.close()
            clock.advance(90_000)
            life = Life(store, clock)
            await life.begin()
        values = values_at(step, generator)
        await life.ingest.accept(incoming_readings(list(values.items()), clock.now_ms()))
        if step % 700 == 350:
            late = [(series, value + 1) for series, value in values.items()][:5]
            await life.ingest.accept(incoming_readings(late, clock.now_ms() - 33_333))
        if step == 4000:
            history = Incoming(
                keys=[b"h"],
                labels_of=lambda _: labels("load", host="new"),
                row_series=np.zeros(50, np.int64),
                at_ms=clock.now_ms() - np.arange(50, 0, -1) * 60_000,
                values=np.linspace(1, 400, 50),
            )
            await life.ingest.accept(history, backfill=True)
        if step % 40 == 0:
            await life.stream.publish([await store.append(Heartbeat(), clock.now_ms())])
            await life.settle()
            await life.monitor._tidy()
        if step in (2040, 5200):
            await act(life)
        if step == 4500:
            rules = (CoverageRule(policy("odd", "disk").matchers, Tier.NONE),)
            await life.obey(PutCoverage(Allotment(7, rules), "ann"))
        if step == 5500:
            edited = policy(
                "spike",
                "load",
                Threshold(op=Comparison.ABOVE, raise_at=140.0, clear_at=110.0),
                for_ms=60_000,
                receivers=("ops",),
            )
            await life.obey(PutPolicy(edited, 1, "test"))
            await life.obey(DeleteRoute("some", 1, "ann"))
    await life.settle()
    await life.monitor.close()


async def act(life: Life) -> None:
    for incident in await life.store.incidents((), Page(limit=1)):
        await life.obey(AcknowledgeIncident(incident.id, "ann"))
        await life.obey(NoteIncident(incident.id, "looking", "ann"))
        await life.obey(JudgeIncident(incident.id, Verdict.REAL, "ann"))


async def recorded(store: SqliteStore | PostgresStore) -> bytes:
    everything = AlertFilter(states=tuple(AlertState))
    found = await store.alerts(everything, Page(limit=100_000))
    transitions = [step for one in found for step in (await store.alert(one.id))[1]]
    intents = [one.intent for one in await store.deliveries(None, Page(limit=100_000))]
    return history_lines(transitions, intents, await store.incidents((), Page(limit=100_000)))


@pytest.mark.parametrize("kind", ["memory", "file"])
async def test_a_day_with_faults_replays_to_the_same_bytes_twice(kind: str, tmp_path: Path) -> None:
    path = MEMORY if kind == "memory" else str(tmp_path / "quantum.db")
    async with SqliteStore(path) as store:
        await live_a_day(store)
        lived = await recorded(store)
        told = {line.split(b'"')[1] for line in lived.splitlines()}
        assert told == {b"transition", b"intent", b"incident"}
        assert lived.count(b'"firing"') > 5
        fired = await store.alerts(AlertFilter(states=(AlertState.RESOLVED,)), Page(limit=1000))
        assert any(one.silenced_by for one in fired)
        machine = TimeMachine(store, store, store, store, pipeline, CODEC)
        for _ in range(2):
            history = await machine.replay(0, START_MS * 2)
            assert history_lines(history.transitions, history.intents, history.incidents.values()) == lived
        compared = await machine.compare(history)
        assert compared.live > 3
        assert (compared.only_live, compared.only_replayed) == ((), ())
