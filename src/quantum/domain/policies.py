"""Alert policies: what breaks one, for whom, for how long, and who is told. Pure definitions; `alerting` applies them.

A policy looks at every series its matchers select and gathers them `by` some labels: one alert per distinct label set
of those labels, however many series take part. A stopped exporter with 500 series is one alert, not 500.

>>> Threshold(op=Comparison.ABOVE, raise_at=90.0, clear_at=80.0).clear_at
80.0
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from quantum.domain.errors import Rejected
from quantum.domain.labels import Matcher, MatchOp

MAX_NAME: Final = 200
MAX_SUMMARY: Final = 2000
MAX_MATCHERS: Final = 20
MIN_WINDOW_MS: Final = 1000
MAX_DURATION_MS: Final = 30 * 86_400_000
MIN_WITHIN_MS: Final = 60_000
MAX_WITHIN_MS: Final = 7 * 86_400_000
PROBABILITIES: Final = (0.05, 0.95)
MIN_BUDGET_MS: Final = 3_600_000
MAX_PAGES: Final = 1000


class Severity(StrEnum):
    """How much an alert matters; ordered from least to most."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Comparison(StrEnum):
    """Which side of a threshold breaks a policy."""

    ABOVE = "above"
    BELOW = "below"


class Direction(StrEnum):
    """To which side of what was expected a series has to be odd."""

    ABOVE = "above"
    BELOW = "below"
    EITHER = "either"


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Broken while the newest value is beyond `raise_at`; mended when it is back across `clear_at` (hysteresis)."""

    op: Comparison
    raise_at: float
    clear_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyScore:
    """Broken while the newest score is at least `raise_at`; mended when it is below `clear_at`. Both in [0, 1].

    With a direction a score counts only while the value is to that side of what was expected; else it counts as 0.
    """

    raise_at: float
    clear_at: float
    direction: Direction = Direction.EITHER


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """Broken when every series of a group has been silent for `after_ms` (at least its own learnt heartbeat)."""

    after_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RateOfChange:
    """Broken while the change per second, over the newest `window_ms`, is beyond `raise_at`; mended at `clear_at`."""

    op: Comparison
    window_ms: int
    raise_at: float
    clear_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PageBudget:
    """Broken while a group is among the oddest that `pages` pages in `per_ms` allow, by scores; see `budget`.

    A direction means what it means in `AnomalyScore`.
    """

    pages: int
    per_ms: int
    direction: Direction = Direction.EITHER


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeToLimit:
    """Broken while a series reaches `limit` within `within_ms` with at least this `probability`; see `nearing`.

    Mended when the probability is below half of that.
    """

    op: Comparison
    limit: float
    within_ms: int
    probability: float


Condition = Threshold | AnomalyScore | Absence | RateOfChange | PageBudget | TimeToLimit


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertPolicy:
    """One alert policy. Durations are in milliseconds of evaluated time: time Quantum was down does not count.

    Attributes:
        id: stable identifier, made from the name when the policy is created.
        name: what people call it; unique.
        matchers: which series it looks at; all must hold.
        by: labels whose distinct values make separate alerts; empty means one alert in all.
        condition: what breaks it.
        for_ms: how long it must be broken before the alert fires.
        keep_firing_for_ms: how long the alert goes on firing after it is mended (flap damping).
        severity: of its alerts.
        summary: one sentence for the person who is told.
        receivers: names of the receivers that are told; none means nobody is paged.
        enabled: a disabled policy resolves its alerts and evaluates nothing.
        version: 1, 2, 3, ...: raised by each edit.
    """

    id: str
    name: str
    matchers: tuple[Matcher, ...]
    condition: Condition
    by: tuple[str, ...] = ()
    for_ms: int = 0
    keep_firing_for_ms: int = 0
    severity: Severity = Severity.WARNING
    summary: str = ""
    receivers: tuple[str, ...] = ()
    enabled: bool = True
    version: int = 1


def check_policy(policy: AlertPolicy) -> AlertPolicy:
    """Return the policy if it makes sense.

    Raises:
        Rejected: `policy_name`, `policy_matchers`, `policy_condition`, `policy_duration` or `policy_text`.
    """
    if not policy.name.strip() or len(policy.name) > MAX_NAME:
        raise Rejected("policy_name", f"a policy name has 1 to {MAX_NAME} characters")
    if len(policy.summary) > MAX_SUMMARY or "\x00" in policy.name + policy.summary:
        raise Rejected("policy_text", f"a summary has at most {MAX_SUMMARY} characters and no NUL")
    _check_matchers(policy.matchers)
    for name, duration_ms in (("for_ms", policy.for_ms), ("keep_firing_for_ms", policy.keep_firing_for_ms)):
        if not 0 <= duration_ms <= MAX_DURATION_MS:
            raise Rejected("policy_duration", f"{name} must lie in [0, {MAX_DURATION_MS}], it is {duration_ms}")
    _check_condition(policy.condition)
    return policy


def _check_matchers(matchers: tuple[Matcher, ...]) -> None:
    if not 1 <= len(matchers) <= MAX_MATCHERS:
        raise Rejected("policy_matchers", f"a policy has 1 to {MAX_MATCHERS} matchers")
    if all(matcher.value == "" and matcher.op in (MatchOp.EQUAL, MatchOp.REGEX) for matcher in matchers):
        raise Rejected("policy_matchers", "at least one matcher must ask for a value, or every series would match")


def _check_condition(condition: Condition) -> None:
    match condition:
        case Absence(after_ms=after_ms):
            if not MIN_WINDOW_MS <= after_ms <= MAX_DURATION_MS:
                raise Rejected("policy_duration", f"after_ms must lie in [1000, {MAX_DURATION_MS}], it is {after_ms}")
        case PageBudget(pages=pages, per_ms=per_ms):
            if not (1 <= pages <= MAX_PAGES and MIN_BUDGET_MS <= per_ms <= MAX_DURATION_MS):
                raise Rejected(
                    "policy_condition",
                    f"a page budget is 1 to {MAX_PAGES} pages in {MIN_BUDGET_MS} to {MAX_DURATION_MS} ms",
                )
        case TimeToLimit():
            _check_time_to_limit(condition)
        case AnomalyScore(raise_at=raise_at, clear_at=clear_at):
            if not 0 < clear_at <= raise_at <= 1:
                raise Rejected("policy_condition", "scores need 0 < clear_at <= raise_at <= 1")
        case _:
            _check_limits(condition)


def _check_time_to_limit(condition: TimeToLimit) -> None:
    if not MIN_WITHIN_MS <= condition.within_ms <= MAX_WITHIN_MS:
        raise Rejected(
            "policy_duration",
            f"within_ms must lie in [{MIN_WITHIN_MS}, {MAX_WITHIN_MS}], it is {condition.within_ms}",
        )
    low, high = PROBABILITIES
    if not (math.isfinite(condition.limit) and low <= condition.probability <= high):
        raise Rejected("policy_condition", f"limit must be finite and probability lie in [{low}, {high}]")


def _check_limits(condition: Threshold | RateOfChange) -> None:
    if not (math.isfinite(condition.raise_at) and math.isfinite(condition.clear_at)):
        raise Rejected("policy_condition", "raise_at and clear_at must be finite numbers")
    towards_raise = condition.raise_at - condition.clear_at
    if (towards_raise if condition.op is Comparison.ABOVE else -towards_raise) < 0:
        raise Rejected("policy_condition", f"clear_at must not lie beyond raise_at for a policy that is {condition.op}")
    if isinstance(condition, RateOfChange) and not MIN_WINDOW_MS <= condition.window_ms <= MAX_DURATION_MS:
        raise Rejected(
            "policy_duration", f"window_ms must lie in [1000, {MAX_DURATION_MS}], it is {condition.window_ms}"
        )
