"""What verdicts teach a policy: the smallest stricter setting that spares what nobody wanted, and what it would cost.

Candidates come from what would have spared the alerts (their tipping points, peaks and durations) and are judged by a
replay: only what the pipeline itself concludes with a candidate counts as evidence. A candidate that loses a confirmed
incident is no proposal.

>>> rounded(83.2172, 80.0)
83.3
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from quantum.domain.alerts import Verdict
from quantum.domain.errors import Rejected
from quantum.domain.labels import NAME, Matcher, MatchOp
from quantum.domain.policies import (
    MAX_DURATION_MS,
    Absence,
    AlertPolicy,
    AnomalyScore,
    Comparison,
    Direction,
    PageBudget,
    RateOfChange,
    Threshold,
    check_policy,
)
from quantum.domain.why import counterfactuals
from quantum.domain.wording import duration_words, number_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from quantum.domain.alerts import Alert
    from quantum.domain.labels import LabelSet
    from quantum.domain.why import Counterfactual

UNWANTED: Final = frozenset({Verdict.FALSE, Verdict.EXPECTED, Verdict.NEW_NORMAL})
"""Verdicts on incidents of which nobody wanted to be told. Of a duplicate nothing follows."""
END_MS: Final = 2**62
MAX_NARROWED: Final = 2
"""How many labels are tried out for leaving series aside."""
ROUND_MS: Final = 1000


class Setting(StrEnum):
    """What of a policy is made stricter; in order of preference."""

    RAISE_AT = "raise_at"
    AFTER_MS = "after_ms"
    FOR_MS = "for_ms"
    DIRECTION = "direction"
    MATCHER = "matcher"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tightening:
    """One setting made stricter.

    It is a number, for `DIRECTION` the one side that still counts, or for `MATCHER` a label value whose series are left
    aside.
    """

    setting: Setting
    value: float = 0.0
    direction: Direction | None = None
    matcher: Matcher | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """How often a receiver would have been told that an alert fires, before and after a change."""

    receiver: str
    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a replay of `[start_ms, end_ms)` says of a change to a policy.

    Attributes:
        alerts: that fire with the policy as it is.
        alerts_after: that fire with the change.
        removed: of `alerts`, those at whose time nothing fires for their group with the change.
        unwanted: of `alerts`, those of incidents that nobody wanted to be told of.
        unwanted_removed: of `removed`, the same.
        confirmed: incidents judged real of which the policy as it is tells.
        lost: ids of those of which it would tell no more.
        unproven: incidents judged real with recorded alerts of the policy that do not fire with it as it is now.
        delay_ms: by how much later, at most, it would tell of a confirmed incident.
        pages: by receiver.
    """

    start_ms: int
    end_ms: int
    alerts: int
    alerts_after: int
    removed: int
    unwanted: int
    unwanted_removed: int
    confirmed: int
    lost: tuple[str, ...]
    unproven: int
    delay_ms: int
    pages: tuple[Pages, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """A change that a policy learnt; taking it back restores `before`, which differs by nothing but its version."""

    before: AlertPolicy
    after: AlertPolicy
    evidence: Evidence
    at_ms: int
    actor: str


@dataclass(frozen=True, slots=True)
class JudgedIncident:
    """An incident with a verdict, and those of its alerts that are of one policy."""

    id: str
    verdict: Verdict
    alerts: tuple[Alert, ...]

    @property
    def is_unwanted(self) -> bool:
        """Whether nobody wanted to be told of it."""
        return self.verdict in UNWANTED

    @property
    def is_confirmed(self) -> bool:
        """Whether it was real."""
        return self.verdict is Verdict.REAL


# ---- changes --------------------------------------------------------------------------------------------------------


def tightened(policy: AlertPolicy, change: Tightening) -> AlertPolicy:
    """Return the policy with one setting stricter.

    Raises:
        Rejected: `lesson`: the policy has no such setting, or it would not be stricter; or what `check_policy` raises.
    """
    condition = policy.condition
    match change:
        case Tightening(setting=Setting.MATCHER, matcher=Matcher(op=MatchOp.NOT_EQUAL) as matcher) if matcher.value:
            if matcher in policy.matchers:
                raise Rejected("lesson", f"the policy leaves {matcher.label} {matcher.value!r} aside already")
            return check_policy(replace(policy, matchers=(*policy.matchers, matcher)))
        case Tightening(setting=Setting.DIRECTION, direction=Direction.ABOVE | Direction.BELOW as side) if isinstance(
            condition, AnomalyScore | PageBudget
        ):
            if condition.direction is Direction.EITHER:
                return check_policy(replace(policy, condition=replace(condition, direction=side)))
        case Tightening(setting=Setting.FOR_MS, value=value) if policy.for_ms < value <= MAX_DURATION_MS:
            return check_policy(replace(policy, for_ms=int(value)))
        case Tightening(setting=Setting.AFTER_MS, value=value) if isinstance(condition, Absence):
            if condition.after_ms < value <= MAX_DURATION_MS:
                return check_policy(replace(policy, condition=replace(condition, after_ms=int(value))))
        case Tightening(setting=Setting.RAISE_AT, value=value) if isinstance(
            condition, Threshold | RateOfChange | AnomalyScore
        ):
            if _side(policy) * value > _side(policy) * condition.raise_at:
                return check_policy(replace(policy, condition=replace(condition, raise_at=float(value))))
    raise Rejected("lesson", f"the policy {policy.name!r} cannot be made stricter by this {change.setting.value}")


def words_of(policy: AlertPolicy, change: Tightening) -> str:
    """Return a change to a policy as half a sentence."""
    match change:
        case Tightening(setting=Setting.RAISE_AT, value=value):
            was = getattr(policy.condition, "raise_at", math.nan)
            return f"a limit of {number_words(value)} instead of {number_words(was)}"
        case Tightening(setting=Setting.AFTER_MS, value=value):
            was = getattr(policy.condition, "after_ms", 0)
            return f"after a silence of {duration_words(value)} instead of {duration_words(was)}"
        case Tightening(setting=Setting.FOR_MS, value=value):
            was_words = duration_words(policy.for_ms) if policy.for_ms else "at once"
            return f"only what holds for {duration_words(value)} instead of {was_words}"
        case Tightening(setting=Setting.DIRECTION, direction=side):
            return f"only what is {side} the expected, instead of either side"
    return f"without the series with {change.matcher}"


def _side(policy: AlertPolicy) -> int:
    """Return 1 where a larger limit is the stricter one, else -1."""
    return -1 if getattr(policy.condition, "op", Comparison.ABOVE) is Comparison.BELOW else 1


def rounded(limit: float, before: float) -> float:
    """Return a limit rounded away from the one before it, to two digits of what lies between them."""
    gap = limit - before
    if not gap or not math.isfinite(gap):
        return limit
    unit = 10.0 ** (math.floor(math.log10(abs(gap))) - 1)
    steps = math.ceil(limit / unit) if gap > 0 else math.floor(limit / unit)
    # one further where the division was rounded; with few digits, which steps * unit need not have
    found = (float(f"{(steps + further) * unit:.12g}") for further in (0, math.copysign(1, gap)))
    return next((one for one in found if math.isfinite(one) and (one - limit) * gap >= 0), limit)


def size_of(policy: AlertPolicy, change: Tightening) -> float:
    """Return how far a change goes, for comparing changes of one setting; sides and label values are equally far."""
    is_number = change.direction is None and change.matcher is None
    return abs(change.value - getattr(policy.condition, change.setting.value, 0.0)) if is_number else 0.0


# ---- candidates -----------------------------------------------------------------------------------------------------


def candidates(
    policy: AlertPolicy, unwanted: Sequence[Alert], confirmed: Sequence[Alert], series: Iterable[LabelSet]
) -> tuple[Tightening, ...]:
    """Return stricter settings worth a trial: of each kind that spares most, and that spares most with nothing lost.

    Args:
        policy: as it is.
        unwanted: its alerts that nobody wanted.
        confirmed: its alerts of confirmed incidents.
        series: that it watches.
    """
    found: list[Tightening] = []
    for setting in (Setting.RAISE_AT, Setting.AFTER_MS, Setting.FOR_MS):
        found += _numbers(policy, setting, unwanted, confirmed)
    found += _sided(unwanted)
    found += _narrowed(policy, unwanted, confirmed, series)
    return tuple(one for one in dict.fromkeys(found) if _is_possible(policy, one))


def _is_possible(policy: AlertPolicy, change: Tightening) -> bool:
    try:
        tightened(policy, change)
    except Rejected:
        return False
    return True


def _numbers(
    policy: AlertPolicy, setting: Setting, unwanted: Sequence[Alert], confirmed: Sequence[Alert]
) -> list[Tightening]:
    """Return the strictest values that unwanted alerts ask for, and the strictest that keep every confirmed one."""
    side = _side(policy) if setting is Setting.RAISE_AT else 1
    then, ever = (_values(policy, setting, unwanted, is_ever=is_ever) for is_ever in (False, True))
    wanted = sorted((side * one.spares_at for one in then + ever), reverse=True)
    picked = {max((side * one.spares_at for one in known), default=math.nan) for known in (then, ever)}
    bounds = [math.inf]
    for is_ever in (False, True):
        kept = [side * one.fires_at for one in _values(policy, setting, confirmed, is_ever=is_ever)]
        bounds += [min(kept)] if kept else []
    picked |= {next((one for one in wanted if one <= bound), math.nan) for bound in bounds}
    return [
        Tightening(setting=setting, value=_presentable(policy, setting, side * one, bounds))
        for one in sorted(picked)
        if math.isfinite(one)
    ]


def _values(policy: AlertPolicy, setting: Setting, alerts: Sequence[Alert], *, is_ever: bool) -> list[Counterfactual]:
    """Return what would have spared alerts when they fired, or at any time while they lasted."""
    found = []
    for alert in alerts:
        if setting is Setting.FOR_MS:
            found += [one for one in counterfactuals(alert) if one.setting == setting.value]
        elif type(alert.condition) is type(policy.condition):
            limit = alert.peak_at if is_ever else alert.tipping_at
            found += [one for one in counterfactuals(replace(alert, tipping_at=limit)) if one.setting == setting.value]
    return found


def _presentable(policy: AlertPolicy, setting: Setting, value: float, bounds: Iterable[float]) -> float:
    """Return a value as people would write it, unless that goes beyond what a confirmed alert bears."""
    if setting is not Setting.RAISE_AT:
        return min(math.ceil(value / ROUND_MS) * ROUND_MS, MAX_DURATION_MS)
    side = _side(policy)
    round_one = rounded(value, getattr(policy.condition, "raise_at", value))
    if any(side * value <= bound < side * round_one for bound in bounds):
        return value
    return min(round_one, 1.0) if isinstance(policy.condition, AnomalyScore) else round_one


def _sided(unwanted: Sequence[Alert]) -> list[Tightening]:
    """Return the sides to which an unwanted alert was not: its worst series is the first."""
    known = [one.contributors[0] for one in unwanted if one.contributors]
    others = {
        Direction.ABOVE: any(one.value < one.expected for one in known),
        Direction.BELOW: any(one.value > one.expected for one in known),
    }
    return [Tightening(setting=Setting.DIRECTION, direction=side) for side, is_other in others.items() if is_other]


def _narrowed(
    policy: AlertPolicy, unwanted: Sequence[Alert], confirmed: Sequence[Alert], series: Iterable[LabelSet]
) -> list[Tightening]:
    """Return label values that unwanted alerts have in common, that few series have, and no confirmed alert."""
    shared = Counter(pair for alert in unwanted for pair in _pairs(alert))
    kept = {pair for alert in confirmed for one in alert.contributors for pair in one.series.pairs}
    watched = list(series)
    having = Counter(pair for one in watched for pair in one.pairs)
    possible = [pair for pair in shared if pair not in kept and pair[0] != NAME and having[pair] < len(watched)]
    possible.sort(key=lambda pair: (-shared[pair], having[pair], pair[0] not in policy.by, pair))
    return [
        Tightening(setting=Setting.MATCHER, matcher=Matcher(label, MatchOp.NOT_EQUAL, value))
        for label, value in possible[:MAX_NARROWED]
    ]


def _pairs(alert: Alert) -> set[tuple[str, str]]:
    """Return the labels that all series of an alert have in common."""
    return set.intersection(*(set(one.series.pairs) for one in alert.contributors)) if alert.contributors else set()


# ---- evidence -------------------------------------------------------------------------------------------------------


def alike(one: Alert, other: Alert) -> bool:
    """Return whether two alerts that fired are of one group and fired at overlapping times."""
    return (
        one.group == other.group
        and (one.firing_at_ms or 0) <= (other.resolved_at_ms or END_MS)
        and (other.firing_at_ms or 0) <= (one.resolved_at_ms or END_MS)
    )


def weigh(
    before: Sequence[Alert],
    after: Sequence[Alert],
    judged: Sequence[JudgedIncident],
    pages: tuple[Pages, ...],
    stretch: tuple[int, int],
) -> Evidence:
    """Return what a change does, from the alerts of one replay that fired within a stretch.

    Args:
        before: with the policy as it is.
        after: with the change.
        judged: incidents with the recorded alerts of the policy.
        pages: by receiver.
        stretch: `(start_ms, end_ms)`.
    """
    removed = [one for one in before if not _has_like(one, after)]
    unwanted = {one.id for one in before if any(_has_like(one, known.alerts) for known in judged if known.is_unwanted)}
    confirmed = [known for known in judged if known.is_confirmed]
    proven = [known for known in confirmed if _first_like(known, before) is not None]
    return Evidence(
        start_ms=stretch[0],
        end_ms=stretch[1],
        alerts=len(before),
        alerts_after=len(after),
        removed=len(removed),
        unwanted=len(unwanted),
        unwanted_removed=sum(one.id in unwanted for one in removed),
        confirmed=len(proven),
        lost=tuple(known.id for known in proven if _first_like(known, after) is None),
        unproven=len(confirmed) - len(proven),
        delay_ms=max((_delay_ms(known, before, after) for known in proven), default=0),
        pages=pages,
    )


def _has_like(one: Alert, others: Iterable[Alert]) -> bool:
    return any(alike(one, other) for other in others)


def _first_like(known: JudgedIncident, alerts: Sequence[Alert]) -> int | None:
    """Return when the first of some alerts fired that is like one of an incident; None if there is none."""
    return min((one.firing_at_ms or 0 for one in alerts if _has_like(one, known.alerts)), default=None)


def _delay_ms(known: JudgedIncident, before: Sequence[Alert], after: Sequence[Alert]) -> int:
    was, would_be = _first_like(known, before), _first_like(known, after)
    return 0 if was is None or would_be is None else max(0, would_be - was)
