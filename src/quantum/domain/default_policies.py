"""The policies that a new installation starts with: few, and quiet on a healthy machine.

>>> sorted(policy.name for policy in DEFAULT_POLICIES)[0]
'A source fell silent'
"""

from __future__ import annotations

from typing import Final

from quantum.domain.labels import NAME, Matcher, MatchOp
from quantum.domain.policies import (
    Absence,
    AlertPolicy,
    AnomalyScore,
    Comparison,
    Condition,
    Direction,
    Severity,
    Threshold,
)


def _policy(key: str, name: str, metric: str, condition: Condition, **more: object) -> AlertPolicy:
    return AlertPolicy(
        id=key,
        name=name,
        matchers=(Matcher(NAME, MatchOp.EQUAL, metric),),
        condition=condition,
        by=("host",),
        **more,  # type: ignore[arg-type]
    )


DEFAULT_POLICIES: Final = (
    _policy(
        "default-cpu",
        "CPU busy far beyond usual",
        "host_cpu_busy_ratio",
        AnomalyScore(raise_at=0.25, clear_at=0.2, direction=Direction.ABOVE),
        for_ms=15_000,
        keep_firing_for_ms=20_000,
        severity=Severity.WARNING,
        summary="The machine's processors are much busier than this machine usually is. See which process it is.",
    ),
    _policy(
        "default-memory",
        "Memory nearly exhausted",
        "host_memory_used_ratio",
        Threshold(op=Comparison.ABOVE, raise_at=0.95, clear_at=0.9),
        for_ms=60_000,
        keep_firing_for_ms=60_000,
        severity=Severity.CRITICAL,
        summary="Less than 5 % of memory is available; the kernel may soon kill processes.",
    ),
    AlertPolicy(
        id="default-disk",
        name="Disk nearly full",
        matchers=(Matcher(NAME, MatchOp.EQUAL, "host_disk_used_ratio"),),
        condition=Threshold(op=Comparison.ABOVE, raise_at=0.95, clear_at=0.93),
        by=("host", "mountpoint"),
        for_ms=60_000,
        severity=Severity.CRITICAL,
        summary="Less than 5 % of the file system is free.",
    ),
    AlertPolicy(
        id="default-silence",
        name="A source fell silent",
        matchers=(Matcher(NAME, MatchOp.NOT_EQUAL, ""),),
        condition=Absence(after_ms=120_000),
        by=("host", "instance", "job"),
        severity=Severity.WARNING,
        summary="Nothing has been heard from any series of this source: it stopped, or cannot reach Quantum.",
    ),
)
