"""The time machine: the same facts give the same history, and a draft gives another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.application.test_monitoring import running
from tests.facts import START_MS, labels, new_pipeline, policy

from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.application.ports import AlertFilter, Page
from quantum.application.timemachine import Draft, TimeMachine, history_lines
from quantum.domain.errors import Rejected
from quantum.domain.facts import PutPolicy, PutReceiver, WebhookReceiver
from quantum.domain.policies import Comparison, Threshold

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CPU = labels("cpu", host="a")
END_MS = START_MS + 1_000_000
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


def machine(store: SqliteStore) -> TimeMachine:
    return TimeMachine(store, store, new_pipeline)


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
