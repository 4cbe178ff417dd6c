"""The time machine: the same facts give the same history, and a draft gives another."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.application.test_monitoring import CODEC, running
from tests.facts import START_MS, JumpDetector, full_match, labels, new_pipeline, policy

from quantum.adapters.memory import ManualClock
from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.application.ports import AlertFilter, Page
from quantum.application.timemachine import Draft, TimeMachine, history_lines
from quantum.domain.alerts import AlertState
from quantum.domain.errors import Rejected
from quantum.domain.facts import DeleteRoute, PutPolicy, PutReceiver, PutRoute, WebhookReceiver
from quantum.domain.labels import Matcher, MatcherCompiler, MatchOp
from quantum.domain.pipeline import Pipeline
from quantum.domain.policies import Comparison, Threshold
from quantum.domain.routes import Route
from quantum.domain.routing import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CPU = labels("cpu", host="a")
DAY_MS = 86_400_000
END_MS = START_MS + 4 * DAY_MS
OPS = WebhookReceiver(name="ops", url="http://ops/")


@pytest.fixture
async def store() -> AsyncIterator[SqliteStore]:
    """A store with two alerts in its past, ten seconds apart."""
    async with SqliteStore(MEMORY) as opened, running(opened) as system:
        await system.control.submit(PutReceiver(OPS, 0, "me"))
        await system.control.submit(PutPolicy(policy(receivers=("ops",)), 0, "me"))
        for value in (10.0, 95.0, 10.0, *[10.0] * 8, 92.0, 10.0, 10.0):
            await system.send({CPU: value})
        yield opened


async def live_two_days(store: SqliteStore, clock: ManualClock | None = None) -> None:
    """Fill a store whose facts are kept for a day: a landmark every three hours, an alert every other hour."""
    async with running(store, clock or ManualClock(START_MS)) as system:
        await system.control.submit(PutReceiver(OPS, 0, "me"))
        await system.control.submit(PutPolicy(policy(receivers=("ops",)), 0, "me"))
        for minute in range(2 * 24 * 12):
            await system.send({CPU: 95.0 if minute % 24 == 0 else 10.0 + minute % 3}, after_ms=298_000)
            await system.send({CPU: 10.0}, after_ms=2000)
        await system.kill()
        await system.monitor.close()


def machine(store: SqliteStore) -> TimeMachine:
    return TimeMachine(store, store, store, store, new_pipeline, CODEC)


async def test_a_replay_with_the_policies_in_force_equals_what_was_recorded(store: SqliteStore) -> None:
    told: list[float] = []
    history = await machine(store).replay(0, END_MS, progress=told.append)
    recorded = [step for one in await store.alerts(AlertFilter(), Page()) for step in (await store.alert(one.id))[1]]
    intents = [one.intent for one in await store.deliveries(None, Page())]
    incidents = await store.incidents((), Page())
    assert history_lines(history.transitions, history.intents, history.incidents.values()) == history_lines(
        recorded, intents, incidents
    )
    compared = await machine(store).compare(history)
    assert (compared.live, compared.only_live, compared.only_replayed) == (2, (), ())
    assert history.samples == 14
    assert told[-1] == 1.0


async def test_a_stricter_draft_loses_the_weaker_alert(store: SqliteStore) -> None:
    stricter = policy(condition=Threshold(op=Comparison.ABOVE, raise_at=94.0, clear_at=80.0), receivers=("ops",))
    history = await machine(store).replay(0, END_MS, Draft((stricter,), (OPS,)))
    compared = await machine(store).compare(history)
    assert len(history.fired) == 1
    assert len(compared.only_live) == 1
    assert [one.receiver for one in history.intents] == ["ops", "ops"]


async def test_a_draft_of_routes_alone_says_who_else_would_have_been_told_of_the_same_alerts() -> None:
    dev = WebhookReceiver(name="dev", url="http://dev/")
    first = Route(name="hosts", matchers=(Matcher("host", MatchOp.EQUAL, "a"),), receivers=("ops",))
    async with SqliteStore(MEMORY) as store, running(store) as system:
        await system.control.submit(PutReceiver(OPS, 0, "me"))
        await system.control.submit(PutPolicy(policy(), 0, "me"))
        await system.control.submit(PutRoute(first, 0, "me"))
        for value in (95.0, 10.0, 10.0):
            await system.send({CPU: value})
        await system.control.submit(DeleteRoute("hosts", 1, "me"))
        await system.send({CPU: 95.0})
        await system.send({CPU: 95.0})

        async def told(draft: Draft | None) -> list[str]:
            history = await machine(store).replay(0, END_MS, draft)
            assert len(history.fired) == 2
            return [one.receiver for one in history.intents]

        assert await told(None) == ["ops", "ops"]
        assert await told(Draft(None, (OPS, dev), (replace(ROOT, receivers=("dev",)),))) == ["dev"] * 3
        assert await told(Draft(None)) == []
        assert (
            await told(Draft((policy(),), (OPS, dev), (replace(first, receivers=("dev", "ops")),)))
            == [
                "dev",
                "ops",
            ]
            * 3
        )
        with pytest.raises(Rejected, match="no receiver named 'dev'"):
            await told(Draft(None, (OPS,), (replace(first, receivers=("dev",)),)))


async def test_only_the_asked_stretch_is_reported_though_what_came_before_is_learnt(store: SqliteStore) -> None:
    history = await machine(store).replay(START_MS + 8000, END_MS)
    assert len(history.fired) == 1
    assert (await machine(store).compare(history)).live == 1
    early = await machine(store).replay(START_MS, START_MS + 5000)
    assert len(early.fired) == 1


async def test_a_stretch_that_ends_before_it_begins_is_refused(store: SqliteStore) -> None:
    with pytest.raises(Rejected, match="after its start"):
        await machine(store).replay(5, 5)


async def test_an_empty_log_has_an_empty_history() -> None:
    async with SqliteStore(MEMORY) as store:
        history = await machine(store).replay(0, END_MS)
        assert (history.samples, history.transitions, history.fired) == (0, [], [])


class OtherJump(JumpDetector):
    """A later version of the detector, which cannot use the states of the first."""

    version = 2


def next_version() -> Pipeline:
    return Pipeline(OtherJump(), MatcherCompiler(full_match))


async def test_a_replay_from_a_landmark_equals_the_same_stretch_of_a_replay_from_the_beginning() -> None:
    async with SqliteStore(MEMORY) as store:
        await live_two_days(store)
        whole = await machine(store).replay(0, END_MS)
        (*_, (position, at_ms)) = [mark for mark in await store.landmarks() if mark[1] < START_MS + DAY_MS]
        start_ms = at_ms + 1
        part = await machine(store).replay(start_ms, END_MS)
        assert position > 10
        assert part.transitions == [one for one in whole.transitions if one.at_ms >= start_ms]
        assert part.intents == [one for one in whole.intents if one.at_ms >= start_ms]
        assert 0 < part.samples < whole.samples


async def test_a_draft_is_tried_from_a_landmark_without_the_alerts_that_were_open_there() -> None:
    async with SqliteStore(MEMORY) as store:
        await live_two_days(store)
        start_ms = START_MS + DAY_MS
        strict = policy("strict", condition=Threshold(op=Comparison.ABOVE, raise_at=94.0, clear_at=80.0))
        history = await machine(store).replay(start_ms, END_MS, Draft((strict,)))
        assert {one.policy_id for one in history.alerts.values()} == {"strict"}
        assert history.intents == []


async def test_after_forgetting_a_replay_begins_where_the_log_does_and_says_so() -> None:
    async with SqliteStore(MEMORY) as store:
        await live_two_days(store)
        whole = await machine(store).replay(0, END_MS)
        position, at_ms = (await store.landmarks())[3]
        await store.forget(position)
        left = await machine(store).replay(0, END_MS)
        assert left.start_ms == at_ms
        assert left.transitions == [one for one in whole.transitions if one.at_ms >= at_ms]
        with pytest.raises(Rejected, match="was forgotten"):
            await machine(store).replay(0, at_ms)


async def test_a_new_version_of_the_detector_replays_what_is_left() -> None:
    async with SqliteStore(MEMORY) as store:
        await live_two_days(store)
        later = TimeMachine(store, store, store, store, next_version, CODEC)
        whole = await later.replay(START_MS + DAY_MS, END_MS)
        assert whole.transitions == (await machine(store).replay(START_MS + DAY_MS, END_MS)).transitions
        position, at_ms = (await store.landmarks())[3]
        await store.forget(position)
        left = await later.replay(at_ms, END_MS)
        assert left.transitions == (await machine(store).replay(at_ms, END_MS)).transitions


async def test_a_start_with_a_new_version_of_the_detector_goes_on_with_what_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = ManualClock(START_MS)
    async with SqliteStore(MEMORY) as store:
        await live_two_days(store, clock)
        await store.forget((await store.landmarks())[3][0])
        before = repr(await store.alerts(AlertFilter(), Page()))
        monkeypatch.setattr("tests.application.test_monitoring.new_pipeline", next_version)
        async with running(store, clock) as system:
            assert repr(await store.alerts(AlertFilter(), Page())) == before
            await system.send({CPU: 95.0})
            await system.send({CPU: 95.0})
            assert len(await store.alerts(AlertFilter(states=(AlertState.FIRING,)), Page())) == 1
