"""The life of alerts: one state machine per policy and group, advanced by whole evaluations.

    inactive -> pending -(held for `for_ms`)-> firing -(mended for `keep_firing_for_ms`)-> resolved
                pending -(mended)-> withdrawn

Timers count evaluated milliseconds, so time that nobody watched counts toward nothing. A group whose breaking series
have all fallen silent keeps its state (fail open) until `SILENCE_RESOLVES_MS` of watched silence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from quantum.domain.alerts import Alert, AlertState, Contributor, Transition
from quantum.domain.budget import FAINT_SCORE
from quantum.domain.conditions import EVALUATION_MS, Activity, View
from quantum.domain.identity import content_id
from quantum.domain.policies import Absence, AlertPolicy, PageBudget
from quantum.domain.wording import breach_words, duration_words, mended_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from quantum.domain.labels import LabelSet

SILENCE_RESOLVES_MS: Final = 3_600_000
MAX_CONTRIBUTORS: Final = 10
WORSE_BY: Final = 0.05
"""By how much a peak score must grow before an alert that stays in its state is shown anew."""


@dataclass(frozen=True, slots=True)
class AlertTimer:
    """An alert that is not over, and its timers in evaluated milliseconds.

    Attributes:
        reach: the strictest limit under which it would have been held so far; None if the policy was edited meanwhile.
        peak: the strictest limit under which its series broke the policy at any time so far.
        run_ms: how long it was held before it was mended for the first time; None until then.
    """

    alert: Alert
    held_ms: int = 0
    mended_ms: int = 0
    silent_ms: int = 0
    reach: float | None = None
    run_ms: int | None = None
    peak: float | None = None


@dataclass(slots=True)
class Changes:
    """What evaluations changed, in order."""

    alerts: list[Alert] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)

    def step(self, alert: Alert, after: AlertState, at_ms: int, reason: str) -> Alert:
        """Move an alert (seq 0: one that is being born) to a state; note the transition; return what it is then."""
        moved = replace(
            alert,
            state=after,
            seq=alert.seq + 1,
            reason=reason,
            changed_at_ms=at_ms,
            firing_at_ms=at_ms if after is AlertState.FIRING else alert.firing_at_ms,
            resolved_at_ms=at_ms if after in (AlertState.RESOLVED, AlertState.WITHDRAWN) else None,
        )
        before = alert.state if alert.seq else None
        self.alerts.append(moved)
        self.transitions.append(
            Transition(alert_id=moved.id, seq=moved.seq, at_ms=at_ms, before=before, after=after, reason=reason)
        )
        return moved


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation: what is known, who the series are, where changes are noted, and which detector scored."""

    view: View
    labels: Mapping[int, LabelSet]
    changes: Changes
    detector: str = ""


class PolicyWatch:
    """One policy at work: the series it watches, their activity, and its alerts that are not over."""

    def __init__(self, policy: AlertPolicy, matches: Callable[[LabelSet], bool]) -> None:
        self.policy = policy
        self.timers: dict[LabelSet, AlertTimer] = {}
        self._matches = matches
        self._slots: list[int] = []
        self._group_of: list[int] = []
        self._groups: dict[LabelSet, int] = {}
        self._names: list[LabelSet] = []
        self._arrays: tuple[NDArray[np.int64], NDArray[np.int64]] = (np.zeros(0, np.int64), np.zeros(0, np.int64))
        self._activity = Activity(policy.condition)

    def bind(self, slot: int, labels: LabelSet) -> None:
        """Watch a series if the matchers select it; slots come in rising order."""
        if self._matches(labels):
            group = labels.only(self.policy.by)
            if group not in self._groups:
                self._groups[group] = len(self._names)
                self._names.append(group)
            self._slots.append(slot)
            self._group_of.append(self._groups[group])

    def revise(self, policy: AlertPolicy) -> None:
        """Go on with an edited policy that watches the same groups by a condition of the same kind."""
        self.policy = policy
        self._activity.condition = policy.condition

    def evaluate(self, now: Evaluation) -> None:
        """Advance every group that is breaking or has an alert by one evaluation."""
        slots, groups = self._bound()
        if not len(slots):
            return
        active = self._activity.update(slots, groups, now.view)
        breaking = self._breaking(active, slots, now.view)
        concerned = {self._names[group] for group in np.flatnonzero(breaking)} | self.timers.keys()
        for name in sorted(concerned, key=lambda group: group.pairs):
            group = self._groups[name]
            if breaking[group]:
                self._hold(name, np.flatnonzero(active & (groups == group)), now)
            else:
                self._mend(name, self.timers[name], now)

    def _breaking(self, active: NDArray[np.bool_], slots: NDArray[np.int64], view: View) -> NDArray[np.bool_]:
        """Return which groups break the policy: by any series, or for absence by all that were ever live."""
        _, groups = self._bound()
        counts = np.bincount(groups[active], minlength=len(self._names))
        if not self._absence:
            return np.asarray(counts > 0)
        live = np.bincount(groups[view.newest["live"][slots]], minlength=len(self._names))
        return np.asarray((counts > 0) & (counts == live))

    def attach(self, alert: Alert) -> None:
        """Let the timer of an alert go on with the alert as its incident sees it."""
        self.timers[alert.group] = replace(self.timers[alert.group], alert=alert)

    @property
    def cut_score(self) -> float:
        """The score that pages now, of a policy with a page budget, if one series says it alone."""
        return FAINT_SCORE + self._activity.budget.cut / 10.0

    @property
    def _absence(self) -> bool:
        return isinstance(self.policy.condition, Absence)

    def _bound(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if len(self._arrays[0]) != len(self._slots):
            self._arrays = np.array(self._slots, np.int64), np.array(self._group_of, np.int64)
            self._activity.widen(len(self._slots))
        return self._arrays

    def _hold(self, group: LabelSet, rows: NDArray[np.intp], now: Evaluation) -> None:
        """The group breaks the policy with these of the watched series."""
        slots, timer = self._arrays[0][rows], self.timers.get(group)
        if timer and not self._absence and now.view.silent[slots].all():
            self._wait(group, timer, rows, now)
            return
        shown = _contributors(slots, now)
        timer = timer or self._begin(group, shown, len(slots), now)
        alert = _worsen(timer.alert, shown, len(slots), now.changes)
        seen = self._activity.reach(rows)
        held_ms, reach = timer.held_ms + EVALUATION_MS, self._reach(timer, seen)
        if alert.state is AlertState.PENDING and held_ms >= self.policy.for_ms:
            reason = breach_words(self.policy, shown[0], len(slots))
            alert = now.changes.step(replace(alert, tipping_at=reach), AlertState.FIRING, now.view.now_ms, reason)
        peak = self._activity.sterner(timer.peak, seen)
        self.timers[group] = AlertTimer(alert, held_ms=held_ms, reach=reach, run_ms=timer.run_ms, peak=peak)

    def _reach(self, timer: AlertTimer, seen: float) -> float | None:
        if timer.reach is None or timer.alert.policy_version != self.policy.version:
            return None
        reach = self._activity.milder(timer.reach, seen)
        return reach if math.isfinite(reach) else None

    def _begin(self, group: LabelSet, shown: tuple[Contributor, ...], breaching: int, now: Evaluation) -> AlertTimer:
        policy, now_ms = self.policy, now.view.now_ms
        reason = breach_words(policy, shown[0], breaching)
        unborn = Alert(
            id=content_id(policy.id, group.canonical(), now_ms),
            policy_id=policy.id,
            policy_name=policy.name,
            policy_version=policy.version,
            group=group,
            state=AlertState.PENDING,
            seq=0,
            severity=policy.severity,
            summary=policy.summary,
            reason=reason,
            pending_at_ms=now_ms,
            firing_at_ms=None,
            resolved_at_ms=None,
            changed_at_ms=now_ms,
            incident_id=None,
            breaching=breaching,
            peak_score=shown[0].score,
            contributors=shown,
            condition=policy.condition,
            detector=now.detector,
        )
        reach = self._activity.strictest
        # the evaluation that begins it has held it for no time yet
        pending = now.changes.step(unborn, AlertState.PENDING, now_ms, reason)
        return AlertTimer(pending, held_ms=-EVALUATION_MS, reach=reach)

    def _wait(self, group: LabelSet, timer: AlertTimer, rows: NDArray[np.intp], now: Evaluation) -> None:
        """Nobody says whether it still breaks: keep the state, but not for ever."""
        silent_ms = timer.silent_ms + EVALUATION_MS
        self.timers[group] = replace(timer, silent_ms=silent_ms)
        if silent_ms >= SILENCE_RESOLVES_MS:
            self._activity.active[rows] = False
            self.timers[group] = _stopped(self.timers[group])
            self._end(group, now.view.now_ms, f"no data for {duration_words(silent_ms)}", now.changes)

    def _mend(self, group: LabelSet, timer: AlertTimer, now: Evaluation) -> None:
        """The group no longer breaks the policy."""
        mended_ms = timer.mended_ms + EVALUATION_MS
        self.timers[group] = replace(_stopped(timer), mended_ms=mended_ms, silent_ms=0)
        if timer.alert.state is AlertState.PENDING or mended_ms >= self.policy.keep_firing_for_ms:
            self._end(group, now.view.now_ms, mended_words(self.policy.keep_firing_for_ms), now.changes)

    def _end(self, group: LabelSet, now_ms: int, reason: str, changes: Changes) -> None:
        timer = self.timers.pop(group)
        alert = replace(timer.alert, held_ms=timer.run_ms, peak_at=timer.peak)
        over = AlertState.WITHDRAWN if alert.state is AlertState.PENDING else AlertState.RESOLVED
        changes.step(alert, over, now_ms, reason)

    def end_all(self, now_ms: int, reason: str, changes: Changes) -> None:
        """End every alert of this policy: it was edited, disabled or deleted."""
        for group in sorted(self.timers, key=lambda name: name.pairs):
            self._end(group, now_ms, reason, changes)

    def dump(self) -> dict[str, NDArray[Any]]:
        """Return the activity of the watched slots; timers are plain values and dumped by the owner."""
        slots, _ = self._bound()
        prefix = f"watch.{self.policy.id}."
        activity = self._activity
        return {
            f"{prefix}slots": slots,
            f"{prefix}active": activity.active.copy(),
            f"{prefix}past": activity.past.copy(),
            f"{prefix}worst": activity.worst.copy(),
        } | (activity.budget.dump(f"{prefix}budget.") if isinstance(activity.condition, PageBudget) else {})

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Put the activity of a dump back; the same series must be bound."""
        prefix = f"watch.{self.policy.id}."
        if not np.array_equal(self._bound()[0], arrays[f"{prefix}slots"]):
            raise ValueError(f"policy {self.policy.name!r} watched other series when the state was saved")
        self._activity.active = np.array(arrays[f"{prefix}active"], np.bool_)
        self._activity.past = np.array(arrays[f"{prefix}past"], np.float64)
        # states of earlier releases do not have it, and then an alert has no tipping point
        if isinstance(self.policy.condition, PageBudget):
            self._activity.budget.restore(f"{prefix}budget.", arrays, self._activity.active)
        unknown = np.full(len(self._activity.active), np.nan)
        self._activity.worst = np.array(arrays.get(f"{prefix}worst", unknown), np.float64)


def _stopped(timer: AlertTimer) -> AlertTimer:
    """Return the timer, which was held without a break until now or, once it was mended, until then."""
    return timer if timer.run_ms is not None else replace(timer, run_ms=timer.held_ms)


def _worsen(alert: Alert, shown: tuple[Contributor, ...], breaching: int, changes: Changes) -> Alert:
    """Return the alert with its new peak and contributors, and note it, if it got clearly worse."""
    peak = max(alert.peak_score, shown[0].score)
    if peak < alert.peak_score + WORSE_BY and breaching < 2 * alert.breaching:
        return alert
    worse = replace(alert, peak_score=peak, breaching=breaching, contributors=shown)
    changes.alerts.append(worse)
    return worse


def _contributors(slots: NDArray[np.int64], now: Evaluation) -> tuple[Contributor, ...]:
    """Return the oddest series, worst first; of equal scores the lower slot."""
    newest = now.view.newest
    worst = slots[np.lexsort((slots, -newest["score"][slots]))][:MAX_CONTRIBUTORS]
    return tuple(
        Contributor(
            slot=int(slot),
            series=now.labels[int(slot)],
            at_ms=int(newest["at_ms"][slot]),
            value=float(newest["value"][slot]),
            expected=float(newest["expected"][slot]),
            lower=float(newest["lower"][slot]),
            upper=float(newest["upper"][slot]),
            score=float(newest["score"][slot]),
        )
        for slot in worst
    )
