"""Sentences for people: why an alert is in its state, in the units of the series.

>>> duration_words(90_000), number_words(0.123456)
('1 min 30 s', '0.1235')
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from quantum.domain.policies import (
    Absence,
    AlertPolicy,
    AnomalyScore,
    Comparison,
    Direction,
    PageBudget,
    RateOfChange,
    Threshold,
    TimeToLimit,
)
from quantum.domain.scoring import samples_between

if TYPE_CHECKING:
    from quantum.domain.alerts import Contributor

UNITS: Final = (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000))
SCALES: Final = ((1e9, "billion"), (1e6, "million"), (1e3, "thousand"))
WORDS: Final = {Comparison.ABOVE: "above", Comparison.BELOW: "below"}


def number_words(value: float) -> str:
    """Return a number with four significant digits."""
    return f"{value:.4g}"


def range_words(lower: float, upper: float) -> str:
    """Return a range of values; one number where its edges read the same."""
    low, high = number_words(lower), number_words(upper)
    return low if low == high else f"{low} to {high}"


def duration_words(duration_ms: float) -> str:
    """Return a duration with its two largest units."""
    left, words = int(duration_ms), []
    for unit, size_ms in UNITS:
        if left >= size_ms:
            words.append(f"{left // size_ms} {unit}")
            left %= size_ms
    return " ".join(words[:2]) or f"{left} ms"


def rarity_words(score: float, interval_ms: float = math.nan) -> str:
    """Return how often a score is expected: as a time where the interval between samples is known."""
    samples = samples_between(score)
    if math.isfinite(interval_ms):
        return f"once in about {duration_words(samples * interval_ms)}"
    scale, name = next(((scale, name) for scale, name in SCALES if samples >= scale), (1, ""))
    return f"once in about {samples / scale:.0f} {name}".rstrip() + " samples"


def breach_words(policy: AlertPolicy, worst: Contributor, breaching: int) -> str:
    """Return one sentence about the worst series that breaks a policy, and how many others do."""
    others = f", and {breaching - 1} more series" if breaching > 1 else ""
    value = number_words(worst.value)
    match policy.condition:
        case AnomalyScore(direction=direction) | PageBudget(direction=direction):
            return f"{worst.series} is {value}, {_usual_words(direction, worst)}; {rarity_words(worst.score)}{others}"
        case TimeToLimit(op=op, limit=reached, within_ms=within_ms, probability=least):
            reaches = f"{WORDS[op]} {number_words(reached)} within {duration_words(within_ms)}"
            return f"{worst.series} is {value}, and with a chance of {least * 100:.4g} % or more {reaches}{others}"
        case Absence(after_ms=after_ms):
            return f"nothing heard from {worst.series} for {duration_words(after_ms)}{others}"
        case Threshold(op=op, raise_at=raise_at):
            return f"{worst.series} is {value}, {WORDS[op]} {number_words(raise_at)}{others}"
        case RateOfChange(op=op, raise_at=raise_at, window_ms=window_ms):  # pragma: no branch - the last kind there is
            limit = f"{WORDS[op]} {number_words(raise_at)} per second over {duration_words(window_ms)}"
            return f"{worst.series} changes by {limit}, it is {value} now{others}"


def _usual_words(direction: Direction, worst: Contributor) -> str:
    """Return what is usual for a series, and where a direction was asked for, to which side of that it is."""
    usual = f"usually {range_words(worst.lower, worst.upper)}"
    side = "" if direction is Direction.EITHER else f"{direction} the expected {number_words(worst.expected)}, "
    return side + usual


def reached_words(
    limit: float, expected_ms: int | None, earliest_ms: int | None, latest_ms: int | None, share: float
) -> str:
    """Return when a limit is reached: `reaches 95 in 3 h 20 min (90 % band: 2 h 50 min to 4 h 10 min)`."""
    if expected_ms is None and earliest_ms is None:
        return f"does not reach {number_words(limit)} within the forecast, nor does its {share * 100:.4g} % band"
    when = "is not expected within the forecast" if expected_ms is None else f"in {duration_words(expected_ms)}"
    first = "never" if earliest_ms is None else duration_words(earliest_ms)
    last = "beyond the forecast" if latest_ms is None else duration_words(latest_ms)
    verb = "reaching" if expected_ms is None else "reaches"
    return f"{verb} {number_words(limit)} {when} ({share * 100:.4g} % band: {first} to {last})"


def mended_words(keep_firing_for_ms: int) -> str:
    """Return why an alert that was mended is over."""
    return f"mended for {duration_words(keep_firing_for_ms)}" if keep_firing_for_ms else "mended"
