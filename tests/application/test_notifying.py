"""Notifying: every intent reaches its receiver, in order, at least once, or is visibly given up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.facts import START_MS, Log, labels, new_pipeline, policy

from quantum.adapters.memory import ManualClock
from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.application.notifying import GIVE_UP_AFTER_MS, Notifier
from quantum.application.ports import Delivery, Page
from quantum.domain.alerts import AlertState, NotificationIntent
from quantum.domain.errors import Rejected, Unavailable
from quantum.domain.facts import Heartbeat, PutPolicy, PutReceiver, WebhookReceiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OPS = WebhookReceiver(name="ops", url="http://ops/")


class Phone:
    """A receiver that answers as it is told to, and remembers what reached it."""

    def __init__(self) -> None:
        self.answers: list[Exception | None] = []
        self.heard: list[NotificationIntent] = []
        self.rings = asyncio.Event()
        self.is_free = asyncio.Event()
        self.is_free.set()

    async def send(self, receiver: WebhookReceiver, intent: NotificationIntent) -> None:
        assert receiver is OPS
        self.rings.set()
        await self.is_free.wait()
        answer = self.answers.pop(0) if self.answers else None
        if answer:
            raise answer
        self.heard.append(intent)


class Desk:
    def __init__(self, store: SqliteStore) -> None:
        self.store, self.phone, self.clock = store, Phone(), ManualClock(START_MS + 60_000)
        self.receivers: tuple[WebhookReceiver, ...] = (OPS,)
        self.notifier = Notifier(store, self.phone, lambda: self.receivers, self.clock, np.random.default_rng(1))

    async def deliveries(self) -> list[Delivery]:
        return (await self.store.deliveries(None, Page()))[::-1]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    """A desk with two intents due: an alert that fired, and that it resolved."""
    log = Log()
    log.add(PutReceiver(OPS, 0, "me"))
    log.add(PutPolicy(policy(receivers=("ops",)), 0, "me"))
    log.send({labels("cpu", host="a"): 95.0})
    log.send({labels("cpu", host="a"): 5.0})
    log.add(Heartbeat(), 1000)
    pipeline = new_pipeline()
    async with SqliteStore(MEMORY) as store:
        for fact in log.facts:
            await store.record(pipeline.step(fact).effects, fact.position)
        yield Desk(store)


async def test_intents_are_sent_once_and_in_order(desk: Desk) -> None:
    assert [await desk.notifier.send_due() for _ in range(3)] == [1, 1, 0]
    assert [one.alert.state for one in desk.phone.heard] == [AlertState.FIRING, AlertState.RESOLVED]
    assert {one.outcome for one in await desk.deliveries()} == {"sent"}


async def test_a_failure_is_tried_again_later_and_holds_back_what_follows(desk: Desk) -> None:
    desk.phone.answers = [Unavailable("ops answered 503"), Unavailable("ops answered 503")]
    await desk.notifier.send_due()
    assert await desk.notifier.send_due() == 0
    first = (await desk.deliveries())[0]
    assert (first.attempts, first.detail, first.outcome) == (1, "ops answered 503", "")
    desk.clock.advance(1000)
    await desk.notifier.send_due()
    desk.clock.advance(2000)
    await desk.notifier.send_due()
    await desk.notifier.send_due()
    assert [one.alert.state for one in desk.phone.heard] == [AlertState.FIRING, AlertState.RESOLVED]
    assert (await desk.deliveries())[0].attempts == 3


async def test_pauses_grow_but_stay_within_five_minutes(desk: Desk) -> None:
    desk.phone.answers = [Unavailable("no")] * 20
    pauses = []
    for _ in range(15):
        await desk.notifier.send_due()
        due_ms = await desk.store.next_due_ms()
        assert due_ms is not None
        waiting = (await desk.deliveries())[0].due_at_ms
        assert waiting is not None
        pauses.append(waiting - desk.clock.now_ms())
        desk.clock.advance(pauses[-1])
    assert 500 <= pauses[0] <= 1000
    assert max(pauses) <= 300_000
    assert pauses[10] > 100_000


async def test_after_a_day_it_is_given_up_visibly(desk: Desk) -> None:
    desk.phone.answers = [Unavailable("ops answered 500")]
    desk.clock.advance(GIVE_UP_AFTER_MS)
    await desk.notifier.send_due()
    first = (await desk.deliveries())[0]
    assert first.outcome == "failed"
    assert "given up after 1 attempts" in first.detail


async def test_a_refusal_is_final(desk: Desk) -> None:
    desk.phone.answers = [Rejected("receiver_refused", "ops answered 404")]
    await desk.notifier.send_due()
    assert next((one.outcome, one.detail) for one in await desk.deliveries()) == ("failed", "ops answered 404")


async def test_a_receiver_that_is_gone_is_said_to_be(desk: Desk) -> None:
    desk.receivers = ()
    await desk.notifier.send_due()
    assert (await desk.deliveries())[0].detail == "there is no receiver named 'ops' any more"


async def test_the_pump_rests_only_when_nothing_is_due(desk: Desk) -> None:
    await desk.notifier.run_once()
    await desk.notifier.run_once()
    resting = asyncio.create_task(desk.notifier.run_once())
    while not desk.clock._sleepers:  # noqa: ASYNC110 - virtual time has no event for "somebody sleeps"
        await asyncio.sleep(0)
    desk.clock.advance(1000)
    await resting
    assert len(desk.phone.heard) == 2


async def test_what_was_delivered_but_could_not_be_noted_is_noted_later_and_not_delivered_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle, failures = desk.store.settle, [Unavailable("the disk is full")] * 3

    async def forgetful(delivery: Delivery) -> None:
        if failures:
            raise failures.pop()
        await settle(delivery)

    monkeypatch.setattr(desk.store, "settle", forgetful)
    for _ in range(3):
        with pytest.raises(Unavailable):
            await desk.notifier.send_due()
    assert len(desk.phone.heard) == 1
    while await desk.notifier.send_due():
        pass
    assert [one.alert.state for one in desk.phone.heard] == [AlertState.FIRING, AlertState.RESOLVED]
    assert [one.outcome for one in await desk.deliveries()] == ["sent", "sent"]


async def test_an_attempt_that_was_begun_when_the_pump_stops_is_waited_for_and_noted(desk: Desk) -> None:
    desk.phone.is_free.clear()
    pump = asyncio.create_task(desk.notifier.run_once())
    await desk.phone.rings.wait()
    pump.cancel()
    await asyncio.gather(pump, return_exceptions=True)
    closing = asyncio.create_task(desk.notifier.close())
    desk.phone.is_free.set()
    await closing
    assert desk.notifier.is_settled
    assert [one.outcome for one in await desk.deliveries()] == ["sent", ""]
    assert len(desk.phone.heard) == 1


async def test_what_the_store_did_not_take_is_tried_once_more_at_the_end(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle, failures = desk.store.settle, [Unavailable("the disk is full")] * 2

    async def forgetful(delivery: Delivery) -> None:
        if failures:
            raise failures.pop()
        await settle(delivery)

    monkeypatch.setattr(desk.store, "settle", forgetful)
    with pytest.raises(Unavailable):
        await desk.notifier.send_due()
    await desk.notifier.close()
    assert not desk.notifier.is_settled
    await desk.notifier.close()
    assert [one.outcome for one in await desk.deliveries()] == ["sent", ""]
