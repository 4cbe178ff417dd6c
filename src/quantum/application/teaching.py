"""Teaching: verdicts on incidents become proposals for the policy that raised them, and lessons if people want them.

Every figure of a proposal comes from one replay of the log in which the policy as it is and its candidates watch beside
each other. A lesson is tried out once more before it is given, refused if it would lose a confirmed incident, and is a
command like any other: recorded, audited, repeated by a replay, and taken back by another one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from quantum.application.ports import AlertFilter, Page
from quantum.domain.alerts import AlertState, Verdict
from quantum.domain.errors import Conflict, NotFound, Overloaded, Rejected
from quantum.domain.facts import TeachPolicy, UnteachPolicy
from quantum.domain.teaching import JudgedIncident, Pages, Setting, candidates, size_of, tightened, weigh, words_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from quantum.application.control import Control
    from quantum.application.monitoring import Monitor
    from quantum.application.ports import AlertStore, Clock
    from quantum.application.timemachine import History, TimeMachine
    from quantum.domain.alerts import Alert
    from quantum.domain.labels import MatcherCompiler
    from quantum.domain.policies import AlertPolicy
    from quantum.domain.teaching import Evidence, Lesson, Tightening

LOOK_BACK_MS: Final = 30 * 86_400_000
"""Verdicts on incidents of this time count, unless asked otherwise."""
LEAD_MS: Final = 3_600_000
"""How long before the first judged alert a replay begins."""
MAX_ALERTS: Final = 10_000
FIRED: Final = (AlertState.FIRING, AlertState.RESOLVED)


@dataclass(frozen=True, slots=True)
class Option:
    """A stricter setting, the policy with it, and what a replay says of it."""

    change: Tightening
    policy: AlertPolicy
    words: str
    evidence: Evidence

    @property
    def is_harmless(self) -> bool:
        """Whether it may be learnt: it spares something unwanted, and nothing confirmed is lost."""
        return self.evidence.unwanted_removed > 0 and not self.evidence.lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What the verdicts of a stretch teach a policy.

    Attributes:
        unwanted: judged incidents of the policy that nobody wanted to be told of.
        confirmed: those that were real.
        options: at most one of each setting, the best first; none without unwanted incidents.
    """

    policy: AlertPolicy
    start_ms: int
    end_ms: int
    unwanted: int
    confirmed: int
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class _Past:
    """The judged past of a policy: where a replay begins and ends, and the incidents with their recorded alerts."""

    start_ms: int
    end_ms: int
    judged: tuple[JudgedIncident, ...]


class Teaching:
    """Proposals and lessons of policies."""

    def __init__(
        self,
        alerts: AlertStore,
        control: Control,
        monitor: Monitor,
        machine: TimeMachine,
        clock: Clock,
        compile_matchers: MatcherCompiler,
    ) -> None:
        self._alerts, self._control, self._monitor = alerts, control, monitor
        self._machine, self._clock, self._compile = machine, clock, compile_matchers
        self._trying = asyncio.Lock()

    def lessons(self, policy_id: str) -> tuple[Lesson, ...]:
        """Return what a policy learnt and did not take back, oldest first; raises NotFound."""
        self._policy(policy_id)
        return self._monitor.in_force.catalog.lessons_of(policy_id)

    def _policy(self, policy_id: str) -> AlertPolicy:
        policy = self._monitor.in_force.catalog.policy(policy_id)
        if policy is None:
            raise NotFound(f"there is no policy {policy_id}")
        return policy

    async def propose(self, policy_id: str, start_ms: int | None = None, end_ms: int | None = None) -> Proposal:
        """Return what verdicts teach a policy; by default those on incidents of the last 30 days.

        Raises:
            NotFound: there is no such policy.
            Rejected: `replay_range`.
            Overloaded: another proposal is being worked out.
        """
        policy = self._policy(policy_id)
        past = await self._past(policy, start_ms, end_ms)
        changes = self._candidates(policy, past)
        options = await self._tried(policy, changes, past) if changes else []
        kinds = [[one for one in options if one.change.setting is setting] for setting in Setting]
        best = [min(kind, key=lambda one: _rank(policy, one)) for kind in kinds if kind]
        return Proposal(
            policy=policy,
            start_ms=past.start_ms,
            end_ms=past.end_ms,
            unwanted=sum(one.is_unwanted for one in past.judged),
            confirmed=sum(one.is_confirmed for one in past.judged),
            options=tuple(sorted(best, key=lambda one: _rank(policy, one))),
        )

    async def learn(
        self,
        policy_id: str,
        change: Tightening,
        expected_version: int | None,
        actor: str,
        start_ms: int | None = None,
        end_ms: int | None = None,
    ) -> Option:
        """Let a policy learn a change, if a replay says that nothing confirmed is lost by it.

        Raises:
            Conflict: it would lose a confirmed incident, or spare nothing unwanted, or the policy was edited meanwhile.
            Rejected: `lesson`, if the change makes nothing stricter; or `replay_range`.
            NotFound, Overloaded: as for `propose`.
        """
        policy = self._policy(policy_id)
        if expected_version not in (None, policy.version):
            raise Conflict(f"policy {policy.name!r} is at version {policy.version}, not {expected_version}")
        past = await self._past(policy, start_ms, end_ms)
        tightened(policy, change)
        (option,) = await self._tried(policy, [change], past)
        if option.evidence.lost:
            raise Conflict(
                f"policy {policy.name!r} does not learn this: of {option.evidence.confirmed} incidents judged real it"
                f" would lose {len(option.evidence.lost)}, the first {option.evidence.lost[0]}"
            )
        if not option.is_harmless:
            raise Conflict(f"policy {policy.name!r} does not learn this: it would spare no alert that was unwanted")
        await self._control.submit(TeachPolicy(option.policy, policy.version, option.evidence, actor))
        return replace(option, policy=self._policy(policy_id))

    async def unlearn(self, policy_id: str, expected_version: int | None, actor: str) -> AlertPolicy:
        """Take back what a policy learnt last; return it as it was before, with a new version.

        Raises:
            NotFound: there is no such policy, or it learnt nothing.
            Conflict: it was edited since.
        """
        await self._control.submit(UnteachPolicy(policy_id, expected_version, actor))
        return self._policy(policy_id)

    # ---- what was judged --------------------------------------------------------------------------------------

    async def _past(self, policy: AlertPolicy, start_ms: int | None, end_ms: int | None) -> _Past:
        end = self._clock.now_ms() if end_ms is None else end_ms
        start = max(0, end - LOOK_BACK_MS) if start_ms is None else start_ms
        if start >= end:
            raise Rejected("replay_range", "the end of a replay must lie after its start")
        wanted = AlertFilter(states=FIRED, policy_id=policy.id, start_ms=start, end_ms=end)
        fired = await self._alerts.alerts(wanted, Page(limit=MAX_ALERTS))
        homes: dict[str, list[Alert]] = {}
        for one in fired:
            # what fired has an incident
            homes.setdefault(str(one.incident_id), []).append(one)
        judged = []
        for key, alerts in homes.items():
            verdict = (await self._alerts.incident(key)).verdict
            if verdict is not None and verdict is not Verdict.DUPLICATE:
                judged.append(JudgedIncident(key, verdict, tuple(alerts)))
        if start_ms is None:
            # a replay of what nobody judged would cost time and teach nothing
            start = max(start, min((one.pending_at_ms for one in _alerts_of(judged)), default=end) - LEAD_MS)
        return _Past(start, end, tuple(judged))

    # ---- what a replay says -----------------------------------------------------------------------------------

    def _candidates(self, policy: AlertPolicy, past: _Past) -> tuple[Tightening, ...]:
        matches = self._compile(policy.matchers)
        series = [one for one in list(self._monitor.pipeline.labels.values()) if matches(one)]
        unwanted = _alerts_of(one for one in past.judged if one.is_unwanted)
        confirmed = _alerts_of(one for one in past.judged if one.is_confirmed)
        return candidates(policy, unwanted, confirmed, series)

    async def _tried(self, policy: AlertPolicy, changes: Sequence[Tightening], past: _Past) -> list[Option]:
        """Return an option for each change, all from one replay."""
        if self._trying.locked():
            raise Overloaded("a proposal is being worked out already", retry_after_s=10)
        async with self._trying:
            policies = [policy, *(tightened(policy, one) for one in changes)]
            beside = [replace(one, id=f"{policy.id}~{number}", enabled=True) for number, one in enumerate(policies)]
            history = await self._machine.replay(past.start_ms, past.end_ms, beside=beside)
        return [
            Option(change, changed, words_of(policy, change), _weighed(history, beside[0], watched, past.judged))
            for change, changed, watched in zip(changes, policies[1:], beside[1:], strict=True)
        ]


def _weighed(history: History, before: AlertPolicy, after: AlertPolicy, judged: Sequence[JudgedIncident]) -> Evidence:
    """Return what a replay says of two policies that watched beside each other."""
    pages = tuple(
        Pages(receiver=name, before=_told(history, before, name), after=_told(history, after, name))
        for name in before.receivers
    )
    stretch = (history.start_ms, history.end_ms)
    return weigh(_fired(history, before.id), _fired(history, after.id), judged, pages, stretch)


def _alerts_of(incidents: Iterable[JudgedIncident]) -> list[Alert]:
    return [alert for one in incidents for alert in one.alerts]


def _fired(history: History, policy_id: str) -> list[Alert]:
    return [
        one
        for one in history.fired
        if one.policy_id == policy_id and history.start_ms <= (one.firing_at_ms or 0) < history.end_ms
    ]


def _told(history: History, policy: AlertPolicy, receiver: str) -> int:
    """Return how often a receiver of a policy would have been told that an alert fires."""
    return sum(
        one.receiver == receiver and one.alert.policy_id == policy.id and one.alert.state is AlertState.FIRING
        for one in history.intents
    )


def _rank(policy: AlertPolicy, option: Option) -> tuple[bool, int, int, int, float]:
    """Return by what options are compared: harmless, sparing most of the unwanted, little else, and mild."""
    evidence, setting = option.evidence, option.change.setting
    return (
        not option.is_harmless,
        -evidence.unwanted_removed,
        evidence.removed - evidence.unwanted_removed,
        list(Setting).index(setting),
        size_of(policy, option.change),
    )
