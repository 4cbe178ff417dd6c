"""What a policy may say."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from quantum.domain.errors import Rejected
from quantum.domain.labels import Matcher, MatchOp
from quantum.domain.policies import (
    MAX_DURATION_MS,
    MAX_MATCHERS,
    MAX_NAME,
    MAX_SUMMARY,
    Absence,
    AlertPolicy,
    AnomalyScore,
    Comparison,
    Condition,
    Direction,
    PageBudget,
    RateOfChange,
    Threshold,
    TimeToLimit,
    check_policy,
)

ABOVE, BELOW = Comparison.ABOVE, Comparison.BELOW
cpu = Matcher("__name__", MatchOp.EQUAL, "cpu")
policy = AlertPolicy(id="p", name="CPU", matchers=(cpu,), condition=Threshold(op=ABOVE, raise_at=90.0, clear_at=80.0))


def reason_of(broken: AlertPolicy) -> str:
    with pytest.raises(Rejected) as raised:
        check_policy(broken)
    return raised.value.reason


@pytest.mark.parametrize(
    "condition",
    [
        Threshold(op=ABOVE, raise_at=90.0, clear_at=80.0),
        Threshold(op=BELOW, raise_at=1.0, clear_at=2.0),
        Threshold(op=BELOW, raise_at=1.0, clear_at=1.0),
        AnomalyScore(raise_at=0.5, clear_at=0.25),
        AnomalyScore(raise_at=0.5, clear_at=0.25, direction=Direction.BELOW),
        PageBudget(pages=1, per_ms=3_600_000, direction=Direction.ABOVE),
        TimeToLimit(op=ABOVE, limit=95.0, within_ms=60_000, probability=0.95),
        Absence(after_ms=1000),
        RateOfChange(op=ABOVE, window_ms=1000, raise_at=5.0, clear_at=5.0),
    ],
)
def test_a_sensible_policy_passes_unchanged(condition: Condition) -> None:
    sensible = replace(policy, condition=condition)
    assert check_policy(sensible) is sensible


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"name": "  "}, "policy_name"),
        ({"name": "x" * (MAX_NAME + 1)}, "policy_name"),
        ({"name": "a\x00"}, "policy_text"),
        ({"summary": "x" * (MAX_SUMMARY + 1)}, "policy_text"),
        ({"matchers": ()}, "policy_matchers"),
        ({"matchers": (cpu,) * (MAX_MATCHERS + 1)}, "policy_matchers"),
        ({"matchers": (Matcher("a", MatchOp.EQUAL, ""),)}, "policy_matchers"),
        ({"for_ms": -1}, "policy_duration"),
        ({"keep_firing_for_ms": MAX_DURATION_MS + 1}, "policy_duration"),
        ({"condition": TimeToLimit(op=ABOVE, limit=1.0, within_ms=59_999, probability=0.5)}, "policy_duration"),
        ({"condition": TimeToLimit(op=ABOVE, limit=1.0, within_ms=60_000, probability=0.96)}, "policy_condition"),
        ({"condition": TimeToLimit(op=ABOVE, limit=math.inf, within_ms=60_000, probability=0.5)}, "policy_condition"),
        ({"condition": PageBudget(pages=0, per_ms=3_600_000)}, "policy_condition"),
        ({"condition": PageBudget(pages=1, per_ms=3_599_999)}, "policy_condition"),
        ({"condition": Absence(after_ms=999)}, "policy_duration"),
        ({"condition": AnomalyScore(raise_at=0.5, clear_at=0.6)}, "policy_condition"),
        ({"condition": AnomalyScore(raise_at=math.nan, clear_at=0.1)}, "policy_condition"),
        ({"condition": Threshold(op=ABOVE, raise_at=80.0, clear_at=90.0)}, "policy_condition"),
        ({"condition": Threshold(op=BELOW, raise_at=90.0, clear_at=80.0)}, "policy_condition"),
        ({"condition": Threshold(op=BELOW, raise_at=math.inf, clear_at=80.0)}, "policy_condition"),
        ({"condition": RateOfChange(op=ABOVE, window_ms=1, raise_at=1.0, clear_at=1.0)}, "policy_duration"),
        ({"condition": RateOfChange(op=ABOVE, window_ms=1000, raise_at=1.0, clear_at=2.0)}, "policy_condition"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_by_name(change: dict[str, object], reason: str) -> None:
    assert reason_of(replace(policy, **change)) == reason  # type: ignore[arg-type]
