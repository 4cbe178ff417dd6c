"""Verdicts that teach: what is proposed, what a replay says of it, what is refused, and how it is taken back."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.application.test_monitoring import CODEC, System, running
from tests.facts import START_MS, labels, new_pipeline, policy
from tests.models import COMPILER

from quantum.adapters.memory import ManualClock
from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.application.ports import AlertFilter, AuditFilter, Page
from quantum.application.teaching import Option, Teaching
from quantum.application.timemachine import Draft, TimeMachine
from quantum.domain.alerts import Verdict
from quantum.domain.errors import Conflict, NotFound, Overloaded, Rejected
from quantum.domain.facts import JudgeIncident, PutPolicy, PutReceiver, WebhookReceiver
from quantum.domain.labels import Matcher, MatchOp
from quantum.domain.policies import Comparison, Threshold
from quantum.domain.teaching import Pages, Setting, Tightening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from quantum.domain.policies import AlertPolicy

HOSTS = {name: labels("cpu", host=name) for name in "abc"}
OPS = WebhookReceiver(name="ops", url="http://ops/")
HOT = policy(receivers=("ops",))


def hot(raise_at: float) -> AlertPolicy:
    above = Threshold(op=Comparison.ABOVE, raise_at=raise_at, clear_at=80.0)
    return policy(receivers=("ops",), condition=above)


ALL = Page(limit=1000)


@dataclass
class School:
    """The application with teaching around one store, in virtual time."""

    system: System
    machine: TimeMachine
    teaching: Teaching

    async def spike(self, host: str, *heights: float, verdict: Verdict | None = None) -> str:
        """Let a host go through some values and calm down; judge the incident, if there is one; return its id."""
        for height in heights:
            await self.system.send({HOSTS[host]: height})
        for _ in range(3):
            await self.system.send({HOSTS[host]: 10.0})
        found = await self.system.store.incidents((), Page(limit=1))
        if not found:
            return ""
        if verdict is not None:
            await self.system.control.submit(JudgeIncident(found[0].id, verdict, "me"))
        return found[0].id

    async def would_fire(self, changed: AlertPolicy) -> list[tuple[str, int, int]]:
        """Return host, begin and end of the alerts of a replay in which a policy is in force all the time."""
        history = await self.machine.replay(0, START_MS * 2, Draft((changed,), (OPS,)))
        return [
            (one.group.get("host"), one.firing_at_ms or 0, one.resolved_at_ms or 2 * START_MS) for one in history.fired
        ]


@asynccontextmanager
async def school(taught: AlertPolicy = HOT) -> AsyncIterator[School]:
    async with SqliteStore(MEMORY) as store, running(store, ManualClock(START_MS)) as system:
        await system.control.submit(PutReceiver(OPS, 0, "me"))
        await system.control.submit(PutPolicy(taught, 0, "me"))
        machine = TimeMachine(store, store, store, store, new_pipeline, CODEC)
        yield School(system, machine, Teaching(store, system.control, system.monitor, machine, system.clock, COMPILER))


@pytest.fixture(name="opened")
async def opened_school() -> AsyncIterator[School]:
    async with school() as opened:
        yield opened


def by_setting(options: Sequence[Option]) -> dict[Setting, Option]:
    return {one.change.setting: one for one in options}


async def test_false_alarms_propose_the_smallest_limit_that_spares_them_and_keeps_what_was_real(opened: School) -> None:
    for height in (91.0, 93.24, 92.0):
        await opened.spike("a", height, verdict=Verdict.FALSE)
    await opened.spike("b", 99.0, 99.0, verdict=Verdict.REAL)
    await opened.spike("c", 92.5)
    proposal = await opened.teaching.propose("hot")
    assert (proposal.unwanted, proposal.confirmed) == (3, 1)
    limit = by_setting(proposal.options)[Setting.RAISE_AT]
    assert limit.is_harmless
    assert limit.change.value == 93.3
    assert limit.words == "a limit of 93.3 instead of 90"
    evidence = limit.evidence
    assert (evidence.alerts, evidence.alerts_after, evidence.removed) == (5, 1, 4)
    assert (evidence.unwanted, evidence.unwanted_removed) == (3, 3)
    assert (evidence.confirmed, evidence.lost, evidence.unproven, evidence.delay_ms) == (1, (), 0, 0)
    assert evidence.pages == (Pages(receiver="ops", before=5, after=1),)


async def test_what_holds_shortly_proposes_a_longer_hold_and_one_host_to_leave_it_aside(opened: School) -> None:
    for _ in range(2):
        await opened.spike("a", 99.0, 99.0, verdict=Verdict.EXPECTED)
    await opened.spike("b", *[99.0] * 6, verdict=Verdict.REAL)
    await opened.spike("c", 95.0)
    found = by_setting((await opened.teaching.propose("hot")).options)
    assert found[Setting.FOR_MS].is_harmless
    assert found[Setting.FOR_MS].policy.for_ms == 2000
    assert found[Setting.FOR_MS].evidence.delay_ms == 2000
    aside = found[Setting.MATCHER]
    assert aside.change.matcher == Matcher("host", MatchOp.NOT_EQUAL, "a")
    assert (aside.evidence.unwanted_removed, aside.evidence.removed, aside.evidence.lost) == (2, 2, ())
    # as high as what was real: no limit spares the one and keeps the other
    assert found[Setting.RAISE_AT].evidence.lost
    assert not found[Setting.RAISE_AT].is_harmless


async def test_a_slow_rise_is_spared_by_a_limit_at_its_peak(opened: School) -> None:
    await opened.spike("a", 91.0, 93.0, 96.0, 94.0, verdict=Verdict.FALSE)
    limit = by_setting((await opened.teaching.propose("hot")).options)[Setting.RAISE_AT]
    assert (limit.change.value, limit.evidence.unwanted_removed) == (96.0, 1)


async def test_a_policy_that_looks_below_gets_a_lower_limit() -> None:
    low = policy(condition=Threshold(op=Comparison.BELOW, raise_at=5.0, clear_at=6.0))
    async with school(low) as opened:
        await opened.spike("a", 4.0, 3.12, verdict=Verdict.FALSE)
        await opened.spike("b", 1.0, verdict=Verdict.REAL)
        limit = by_setting((await opened.teaching.propose("hot")).options)[Setting.RAISE_AT]
        assert (limit.change.value, limit.is_harmless) == (3.1, True)


async def test_what_is_learnt_is_in_force_recorded_audited_and_taken_back_exactly(opened: School) -> None:
    await opened.spike("a", 92.0, verdict=Verdict.FALSE)
    before = opened.system.control.policies()[0]
    learnt = await opened.teaching.learn("hot", Tightening(setting=Setting.RAISE_AT, value=92.0), 1, "ada")
    (now,) = opened.system.control.policies()
    assert learnt.policy == now == replace(hot(92.0), version=2)
    (lesson,) = opened.teaching.lessons("hot")
    assert (lesson.before, lesson.after, lesson.actor, lesson.evidence.unwanted_removed) == (before, now, "ada", 1)
    await opened.spike("a", 92.0)
    assert len(await opened.system.store.alerts(AlertFilter(), ALL)) == 1
    back = await opened.teaching.unlearn("hot", 2, "bob")
    assert back == replace(before, version=3)
    assert opened.system.control.policies() == (back,)
    assert opened.teaching.lessons("hot") == ()
    await opened.spike("a", 92.0)
    assert len(await opened.system.store.alerts(AlertFilter(), ALL)) == 2
    told = [(one.action, one.actor, one.target) for one in await opened.system.store.audit(AuditFilter(), ALL)]
    assert told[:2] == [("unteach_policy", "bob", "hot"), ("teach_policy", "ada", "hot")]


async def test_lessons_outlive_a_restart_and_are_repeated_by_a_replay(opened: School) -> None:
    await opened.spike("a", 92.0, verdict=Verdict.FALSE)
    await opened.teaching.learn("hot", Tightening(setting=Setting.FOR_MS, value=5000), None, "ada")
    await opened.spike("b", *[99.0] * 9)
    history = await opened.machine.replay(0, START_MS * 2)
    recorded = await opened.system.store.alerts(AlertFilter(), ALL)
    assert repr({one.id: one for one in recorded}) == repr(
        dict(sorted(history.alerts.items(), key=lambda one: -one[1].pending_at_ms))
    )
    await opened.system.kill()
    await opened.system.monitor.close()
    async with running(opened.system.store, opened.system.clock) as again:
        assert again.monitor.pipeline.catalog.lessons == opened.teaching.lessons("hot")
        assert again.control.policies()[0].for_ms == 5000


async def test_a_change_that_would_lose_a_confirmed_incident_is_refused_with_its_id(opened: School) -> None:
    await opened.spike("a", 92.0, verdict=Verdict.FALSE)
    real = await opened.spike("b", 95.0, verdict=Verdict.REAL)
    change = Tightening(setting=Setting.RAISE_AT, value=95.0)
    with pytest.raises(Conflict, match=f"of 1 incidents judged real it would lose 1, the first {real}"):
        await opened.teaching.learn("hot", change, None, "me")
    assert opened.system.control.policies()[0].version == 1
    await opened.teaching.learn("hot", replace(change, value=94.9), None, "me")
    assert opened.system.control.policies()[0].version == 2


async def test_a_change_that_spares_nothing_or_is_no_stricter_is_refused(opened: School) -> None:
    await opened.spike("a", 95.0, verdict=Verdict.FALSE)
    with pytest.raises(Conflict, match="spare no alert that was unwanted"):
        await opened.teaching.learn("hot", Tightening(setting=Setting.RAISE_AT, value=91.0), None, "me")
    with pytest.raises(Rejected, match="cannot be made stricter by this raise_at"):
        await opened.teaching.learn("hot", Tightening(setting=Setting.RAISE_AT, value=80.0), None, "me")
    with pytest.raises(Conflict, match="at version 1, not 7"):
        await opened.teaching.learn("hot", Tightening(setting=Setting.RAISE_AT, value=96.0), 7, "me")


async def test_without_verdicts_nothing_is_proposed_and_what_is_not_there_is_not_found(opened: School) -> None:
    await opened.spike("a", 95.0)
    await opened.spike("a", 95.0, verdict=Verdict.DUPLICATE)
    proposal = await opened.teaching.propose("hot")
    assert (proposal.unwanted, proposal.confirmed, proposal.options) == (0, 0, ())
    for ask in (opened.teaching.propose("cold"), opened.teaching.unlearn("cold", None, "me")):
        with pytest.raises(NotFound):
            await ask
    with pytest.raises(NotFound, match="there is no policy cold"):
        opened.teaching.lessons("cold")
    with pytest.raises(NotFound, match="has learnt nothing"):
        await opened.teaching.unlearn("hot", None, "me")


async def test_only_verdicts_of_the_asked_stretch_count_and_a_disabled_policy_is_tried_as_if_it_were_on(
    opened: School,
) -> None:
    await opened.spike("a", 92.0, verdict=Verdict.FALSE)
    await opened.spike("a", 94.0, verdict=Verdict.FALSE)
    await opened.system.control.submit(PutPolicy(replace(HOT, enabled=False), 1, "me"))
    second_ms = (await opened.system.store.alerts(AlertFilter(), Page(limit=1)))[0].pending_at_ms
    proposal = await opened.teaching.propose("hot", second_ms, second_ms + 60_000)
    assert (proposal.unwanted, proposal.start_ms) == (1, second_ms)
    early = await opened.teaching.propose("hot", START_MS, second_ms)
    assert by_setting(early.options)[Setting.RAISE_AT].change.value == 92.0
    assert not early.options[0].policy.enabled


async def test_an_alert_that_was_edited_away_since_cannot_be_proven_and_is_said_so(opened: School) -> None:
    await opened.spike("a", 91.0, verdict=Verdict.REAL)
    await opened.spike("b", 94.0, verdict=Verdict.FALSE)
    await opened.system.control.submit(PutPolicy(hot(93.0), 1, "me"))
    (*_, option) = (await opened.teaching.propose("hot")).options
    assert (option.evidence.confirmed, option.evidence.unproven, option.evidence.alerts) == (0, 1, 1)


async def test_one_proposal_is_worked_out_at_a_time(opened: School, monkeypatch: pytest.MonkeyPatch) -> None:
    await opened.spike("a", 92.0, verdict=Verdict.FALSE)
    entered, leave = asyncio.Event(), asyncio.Event()
    replay = opened.machine.replay

    async def slow(*args: object, **others: object) -> object:
        entered.set()
        await leave.wait()
        return await replay(*args, **others)  # type: ignore[arg-type] # as it was called

    monkeypatch.setattr(opened.machine, "replay", slow)
    first = asyncio.create_task(opened.teaching.propose("hot"))
    await entered.wait()
    with pytest.raises(Overloaded, match="worked out already"):
        await opened.teaching.propose("hot")
    leave.set()
    assert (await first).options


spikes = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.lists(st.integers(85, 110).map(float), min_size=1, max_size=5),
        st.sampled_from([None, Verdict.REAL, Verdict.FALSE, Verdict.EXPECTED, Verdict.NEW_NORMAL]),
    ),
    min_size=2,
    max_size=7,
)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(spikes, st.sampled_from([0, 2000]))
async def test_with_an_applied_proposal_a_replay_loses_no_confirmed_incident(
    story: list[tuple[str, list[float], Verdict | None]], for_ms: int
) -> None:
    """And every figure beside it is that of a replay with the change alone in force."""
    async with school(policy(for_ms=for_ms, receivers=("ops",))) as opened:
        for host, heights, verdict in story:
            before = await opened.system.store.incidents((), ALL)
            await opened.spike(host, *heights)
            fresh = (await opened.system.store.incidents((), ALL))[: -len(before) or None]
            if verdict is not None and fresh:
                await opened.system.control.submit(JudgeIncident(fresh[0].id, verdict, "me"))
        proposal = await opened.teaching.propose("hot")
        incidents = await opened.system.store.incidents((), ALL)
        real = [one for one in incidents if one.verdict is Verdict.REAL]
        assert proposal.confirmed == len(real)
        for option in proposal.options:
            fired = await opened.would_fire(option.policy)
            assert option.evidence.alerts_after == len(fired)
            lost = {
                one.id
                for one in real
                if not any(
                    host == one.place.get("host") and begins <= (one.resolved_at_ms or 0) and ends >= one.opened_at_ms
                    for host, begins, ends in fired
                )
            }
            assert lost == set(option.evidence.lost)
            assert option.is_harmless == (not lost and option.evidence.unwanted_removed > 0)
        before_policy = opened.system.control.policies()[0]
        for option in (one for one in proposal.options if one.is_harmless):
            await opened.teaching.learn("hot", option.change, None, "me")
            assert await opened.teaching.unlearn("hot", None, "me") == replace(
                before_policy, version=opened.system.control.policies()[0].version
            )
