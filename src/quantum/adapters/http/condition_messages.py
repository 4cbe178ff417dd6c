"""The JSON shapes of policy conditions; `kind` says which one it is."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from quantum.domain.policies import (
    MAX_DURATION_MS,
    MAX_PAGES,
    MAX_WITHIN_MS,
    MIN_BUDGET_MS,
    MIN_WINDOW_MS,
    MIN_WITHIN_MS,
    PROBABILITIES,
)

Score = Annotated[float, msgspec.Meta(gt=0, le=1)]
Direction = Annotated[
    Literal["above", "below", "either"],
    msgspec.Meta(description="To which side of what was expected a series has to be odd"),
]
WindowMs = Annotated[int, msgspec.Meta(ge=MIN_WINDOW_MS, le=MAX_DURATION_MS, description="Milliseconds")]


class Condition(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What breaks a policy; unknown members are refused."""


class ThresholdCondition(Condition, tag="threshold", tag_field="kind"):
    """Newest value beyond a limit; `clear_at` defaults to `raise_at`."""

    op: Literal["above", "below"]
    raise_at: float
    clear_at: float | None = None


class AnomalyScoreCondition(Condition, tag="anomaly_score", tag_field="kind"):
    """Newest score at least `raise_at`; `clear_at` defaults to half of it."""

    raise_at: Score
    clear_at: Score | None = None
    direction: Direction = "either"


class AbsenceCondition(Condition, tag="absence", tag_field="kind"):
    """Nothing heard for a while."""

    after_ms: WindowMs


class RateOfChangeCondition(Condition, tag="rate_of_change", tag_field="kind"):
    """Change per second over a window beyond a limit; `clear_at` defaults to `raise_at`."""

    op: Literal["above", "below"]
    window_ms: WindowMs
    raise_at: float
    clear_at: float | None = None


class PageBudgetCondition(Condition, tag="page_budget", tag_field="kind"):
    """Among the oddest that so many pages allow; `per_ms` defaults to a week."""

    pages: Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGES)]
    per_ms: Annotated[int, msgspec.Meta(ge=MIN_BUDGET_MS, le=MAX_DURATION_MS)] = 604_800_000
    direction: Direction = "either"


class TimeToLimitCondition(Condition, tag="time_to_limit", tag_field="kind"):
    """Reaches a limit within a time, with at least a probability."""

    op: Literal["above", "below"]
    limit: float
    within_ms: Annotated[int, msgspec.Meta(ge=MIN_WITHIN_MS, le=MAX_WITHIN_MS)]
    probability: Annotated[float, msgspec.Meta(ge=PROBABILITIES[0], le=PROBABILITIES[1])] = 0.9


ConditionItem = (
    ThresholdCondition
    | AnomalyScoreCondition
    | AbsenceCondition
    | RateOfChangeCondition
    | PageBudgetCondition
    | TimeToLimitCondition
)
