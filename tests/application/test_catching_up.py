"""A monitor that begins at an old checkpoint, while nobody scores: what it acts on must not be what it knew then."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.application.test_scoring import System, system
from tests.facts import START_MS, Log, labels, new_pipeline, policy

from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.application import api_keys, key_log
from quantum.application.api_keys import Admission, ApiKeys, KeyOwners
from quantum.application.budgets import Budgets
from quantum.application.control import Control
from quantum.application.ingest import incoming_readings
from quantum.application.key_log import KeyLog
from quantum.application.notifying import Notifier
from quantum.application.ports import Delivery, Page, Principal
from quantum.application.scoring import Scoring
from quantum.domain.errors import Conflict, NotFound, Rejected, Unavailable
from quantum.domain.facts import Heartbeat, IssueApiKey, PutPolicy, PutReceiver, RevokeApiKey, WebhookReceiver

if TYPE_CHECKING:
    from quantum.domain.alerts import NotificationIntent
    from quantum.domain.facts import Command

OPS: Final = WebhookReceiver(name="ops", url="http://ops/")
HOT: Final = labels("cpu", host="h0")
PATIENCE_S: Final = 300.0


class Phone:
    """A receiver that remembers what reached it."""

    def __init__(self) -> None:
        self.heard: list[NotificationIntent] = []

    async def send(self, receiver: WebhookReceiver, intent: NotificationIntent) -> None:
        assert receiver == OPS
        self.heard.append(intent)


class Nobody:
    """Who is asked about what is no key."""

    banner = ""

    async def identify(self, credential: str) -> Principal:
        raise Rejected("invalid_credential", credential)


class Office:
    """One process of the role `monitoring`, without workers until they come."""

    def __init__(self, made: System, tenant: str = "mine", owners: KeyOwners | None = None) -> None:
        self.made, self.monitor, self.phone = made, made.monitor, Phone()
        self.control = Control(made.store, made.stream, made.clock, made.monitor)
        self.keys = ApiKeys(self.control, made.monitor, made.clock, tenant, owners or KeyOwners())
        self.notifier = Notifier(made.store, self.phone, self.control.receivers, made.clock, np.random.default_rng(1))

    async def take_in(self) -> None:
        """Let the pipeline take in everything."""
        position, _ = await self.made.store.last()
        taken = self.monitor.expect(position)
        async with asyncio.timeout(PATIENCE_S):
            while not taken.done():
                await self.monitor.run_once()

    async def carry_out(self, *commands: Command) -> None:
        for command in commands:
            await self.control.append(command)
        await self.take_in()

    async def send(self, value: float) -> None:
        self.made.clock.advance(1000)
        await self.made.ingest.accept(incoming_readings([(HOT, value)], self.made.clock.now_ms()))
        await self.take_in()


async def taken_over(made: System, tenant: str = "mine", owners: KeyOwners | None = None) -> Office:
    """Return another process that begins where the checkpoint is, while no worker answers."""
    made.unreliable.problem = "nobody is there"
    made.scoring = Scoring(made.unreliable)
    made.monitor = made.new_monitor()
    office = Office(made, tenant, owners)
    await office.monitor.open()
    office.keys.open()
    return office


def workers_come(office: Office) -> None:
    office.made.unreliable.problem = ""


async def given_a_page(office: Office) -> None:
    """Let a notification become due whose receiver is younger than the checkpoint."""
    await office.monitor._save()
    await office.carry_out(PutReceiver(OPS, 0, "me"), PutPolicy(policy(receivers=("ops",)), 0, "me"))
    await office.send(95.0)
    office.made.clock.advance(1000)
    await office.monitor.append(Heartbeat())
    await office.take_in()


async def deliveries(office: Office) -> list[Delivery]:
    return await office.made.store.deliveries(None, Page())


async def test_a_notification_is_not_given_up_by_who_does_not_know_its_receiver_yet() -> None:
    async with system(2) as made:
        first = Office(made)
        await given_a_page(first)
        second = await taken_over(made)
        notifying = asyncio.ensure_future(second.monitor.once_caught_up(second.notifier.run_once)())
        with pytest.raises(Unavailable, match="nobody is there"):
            await second.take_in()
        (waiting,) = await deliveries(second)
        assert (waiting.outcome, waiting.attempts) == ("", 0)
        workers_come(second)
        await second.take_in()
        await notifying
        (sent,) = await deliveries(second)
        assert sent.outcome == "sent"
        assert [intent.receiver for intent in second.phone.heard] == ["ops"]


async def test_what_is_in_force_is_not_told_before_it_is_known() -> None:
    async with system(2) as made:
        first = Office(made)
        await given_a_page(first)
        second = await taken_over(made)
        budgets = Budgets(made.store, second.monitor, made.clock)
        for ask in (second.control.policies, second.control.receivers):
            with pytest.raises(Unavailable, match="catching up"):
                ask()
        with pytest.raises(Unavailable, match="catching up"):
            await budgets.of("x")
        # the notifier would not give a notification up even if it were let
        made.clock.advance(1000)
        with pytest.raises(Unavailable, match="catching up"):
            await second.notifier.send_due()
        workers_come(second)
        await second.take_in()
        assert second.control.receivers() == (OPS,)
        assert [one.receivers for one in second.control.policies()] == [("ops",)]


async def test_keys_are_good_or_not_as_the_log_has_it_however_far_behind_detection_is() -> None:
    async with system(2) as made:
        first = Office(made)
        pump = asyncio.create_task(forever(first))
        leaked_id, leaked = await first.keys.issue("leaked", ["ingest"], None, "me")
        await first.monitor._save()
        _, young = await first.keys.issue("young", ["ingest"], None, "me")
        await first.keys.revoke(leaked_id, "me")
        pump.cancel()
        await asyncio.gather(pump, return_exceptions=True)
        second = await taken_over(made)
        assert second.monitor.pipeline.keys.find(leaked_id) is not None
        assert (await second.keys.identify(young)).subject == "key young"
        with pytest.raises(Rejected, match="unknown, expired or revoked"):
            await second.keys.identify(leaked)
        assert [key.name for key in second.keys.every()] == ["young"]


async def forever(office: Office) -> None:
    while True:
        await office.monitor.run_once()


async def test_a_key_is_issued_and_revoked_while_nobody_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_keys, "AUDIT_S", 0.01)
    async with system(2) as made:
        first = Office(made)
        await given_a_page(first)
        second = await taken_over(made)
        key_id, key = await second.keys.issue("new", ["read"], None, "me")
        assert (await second.keys.identify(key)).scopes == {"read"}
        with pytest.raises(Conflict, match="named 'new' already"):
            await second.keys.issue("new", ["read"], None, "me")
        await second.keys.revoke(key_id, "me")
        with pytest.raises(Rejected, match="unknown, expired or revoked"):
            await second.keys.identify(key)
        with pytest.raises(NotFound, match=key_id):
            await second.keys.revoke(key_id, "me")
        assert second.monitor.pipeline.position < second.monitor.keys.position
        workers_come(second)
        await second.take_in()
        assert second.monitor.pipeline.keys.keys == second.keys.every() == ()


async def test_keys_of_every_tenant_are_found_while_nobody_scores_for_any() -> None:
    owners = KeyOwners()
    async with system(2) as mine, system(2) as theirs:
        offices = []
        for tenant, made in (("mine", mine), ("theirs", theirs)):
            office = Office(made, tenant)
            await office.monitor._save()
            await office.carry_out(PutPolicy(policy(), 0, "me"))
            offices.append(office)
        shown = []
        for office in offices:
            pump = asyncio.create_task(forever(office))
            shown.append((await office.keys.issue("ingest", ["ingest"], None, "me"))[1])
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)
        again = {
            tenant: await taken_over(made, tenant, owners) for tenant, made in (("mine", mine), ("theirs", theirs))
        }
        admission = Admission({tenant: one.keys for tenant, one in again.items()}, owners, Nobody())
        assert [(await admission.identify(key)).tenant for key in shown] == ["mine", "theirs"]


async def test_who_scores_by_itself_has_caught_up_once_it_is_open() -> None:
    async with system(0) as made:
        office = Office(made)
        assert office.monitor.caught_up.is_set()
        assert office.control.receivers() == ()
        await office.monitor.once_caught_up(office.take_in)()
        assert office.monitor.keys.position == office.monitor.pipeline.position


NAMES = st.sampled_from("abc")
ORDERS = st.one_of(
    st.builds(lambda key, name: IssueApiKey(key, name, bytes(32), ("read",), None, "me"), NAMES, NAMES),
    st.builds(lambda key, name: IssueApiKey(key, name, bytes(32), ("read",), START_MS + 5000, "me"), NAMES, NAMES),
    st.builds(lambda key: RevokeApiKey(key, "me"), NAMES),
    st.just(Heartbeat()),
)


@given(orders=st.lists(ORDERS, max_size=12), begin=st.integers(0, 12), cuts=st.lists(st.integers(0, 12), max_size=3))
@settings(max_examples=60, deadline=None)
def test_the_log_of_keys_says_what_the_pipeline_will(orders: list[Command], begin: int, cuts: list[int]) -> None:
    """From wherever it begins, however facts come together, and if some come twice."""
    log, pipeline = Log(), new_pipeline()
    for order in orders:
        log.add(order, 1000)
    followed = KeyLog(None)  # type: ignore[arg-type] # it is handed the facts
    refusals = {}
    for fact in log.facts:
        step = pipeline.step(fact)
        if step.refusal is not None:
            refusals[fact.position] = repr(step.refusal)
        if fact.position == begin:
            followed.begin(pipeline.keys, begin)
    facts = log.facts
    for cut in (*sorted(cuts), len(facts)):
        followed.take(facts[min(followed.position, cut) : cut])
        followed.take(facts[:cut])
    assert followed.position == len(facts)
    assert followed.ring.keys == pipeline.keys.keys
    found = {fact.position: followed.refusal(fact.position) for fact in facts}
    late = {at: repr(refusal) for at, refusal in found.items() if refusal is not None}
    assert late == {at: said for at, said in refusals.items() if at > begin or begin > len(facts)}


async def test_refusals_that_nobody_asked_about_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_log, "REMEMBERED", 2)
    async with SqliteStore(MEMORY) as store:
        for _ in range(3):
            await store.append(RevokeApiKey("none", "me"), START_MS)
        followed = KeyLog(store)
        await followed.follow()
        assert [followed.refusal(at) is None for at in (1, 2, 3)] == [True, False, False]


async def test_who_gives_up_waiting_for_an_answer_takes_it_from_nobody_else() -> None:
    async with system(2) as made:
        office = Office(made)
        position = await office.control.append(PutReceiver(OPS, 0, "me"))
        hasty, patient = office.monitor.expect(position), office.monitor.expect(position)
        hasty.cancel()
        late = office.monitor.expect(position)
        await office.take_in()
        assert (hasty.cancelled(), patient.result(), late.result()) == (True, None, None)
