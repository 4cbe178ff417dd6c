"""Sentences for people."""

from __future__ import annotations

import math

import pytest
from tests.facts import labels, policy

from quantum.domain.alerts import Contributor
from quantum.domain.policies import (
    Absence,
    AnomalyScore,
    Comparison,
    Condition,
    Direction,
    PageBudget,
    RateOfChange,
    Threshold,
)
from quantum.domain.wording import (
    breach_words,
    duration_words,
    mended_words,
    number_words,
    range_words,
    rarity_words,
)

WORST = Contributor(
    slot=0, series=labels("cpu", host="a"), at_ms=0, value=97.0, expected=5.0, lower=2.0, upper=10.0, score=0.6
)


@pytest.mark.parametrize(
    ("duration_ms", "words"),
    [(0, "0 ms"), (999, "999 ms"), (1000, "1 s"), (61_000, "1 min 1 s"), (90_061_000, "1 d 1 h"), (3_600_000, "1 h")],
)
def test_durations_have_their_two_largest_units(duration_ms: int, words: str) -> None:
    assert duration_words(duration_ms) == words


@pytest.mark.parametrize(
    ("score", "interval_ms", "words"),
    [
        (0.0, math.nan, "once in about 1 samples"),
        (0.3, math.nan, "once in about 1 thousand samples"),
        (0.65, math.nan, "once in about 3 million samples"),
        (1.0, math.nan, "once in about 10 billion samples"),
        (0.4, 1000.0, "once in about 2 h 46 min"),
    ],
)
def test_rarity_is_told_in_time_where_the_interval_is_known(score: float, interval_ms: float, words: str) -> None:
    assert rarity_words(score, interval_ms) == words


@pytest.mark.parametrize(
    ("lower", "upper", "words"), [(24.0, 26.0, "24 to 26"), (25.0, 25.0, "25"), (25.011, 25.014, "25.01")]
)
def test_a_range_whose_edges_read_the_same_is_one_number(lower: float, upper: float, words: str) -> None:
    assert range_words(lower, upper) == words


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        (
            AnomalyScore(raise_at=0.5, clear_at=0.2),
            'cpu{host="a"} is 97, usually 2 to 10; once in about 1 million samples',
        ),
        (
            AnomalyScore(raise_at=0.5, clear_at=0.2, direction=Direction.ABOVE),
            'cpu{host="a"} is 97, above the expected 5, usually 2 to 10; once in about 1 million samples',
        ),
        (
            PageBudget(pages=1, per_ms=3_600_000, direction=Direction.BELOW),
            'cpu{host="a"} is 97, below the expected 5, usually 2 to 10; once in about 1 million samples',
        ),
        (Threshold(op=Comparison.ABOVE, raise_at=90.0, clear_at=80.0), 'cpu{host="a"} is 97, above 90'),
        (Absence(after_ms=60_000), 'nothing heard from cpu{host="a"} for 1 min'),
        (
            RateOfChange(op=Comparison.BELOW, window_ms=60_000, raise_at=-2.0, clear_at=0.0),
            'cpu{host="a"} changes by below -2 per second over 1 min, it is 97 now',
        ),
    ],
)
def test_a_breach_is_one_sentence_in_the_series_own_units(condition: Condition, sentence: str) -> None:
    assert breach_words(policy(condition=condition), WORST, 1) == sentence
    assert breach_words(policy(condition=condition), WORST, 3) == f"{sentence}, and 2 more series"


def test_mending_says_for_how_long() -> None:
    assert mended_words(0) == "mended"
    assert mended_words(30_000) == "mended for 30 s"


def test_numbers_have_four_digits() -> None:
    assert number_words(1234567.0) == "1.235e+06"
