from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

from quantum.application.headroom import SERIES_BYTES, STATE_BYTES
from quantum.domain.coverage import Tier

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.parts.program import Program

SERIES: Final = 10_000
SAMPLES_EACH: Final = 100
STEP_MS: Final = 10_000
AT_ONCE: Final = (500, 20)
"""Series and timestamps of one request."""
PROGRAM_MB: Final = 350
"""The program with all that it has loaded, before the first series."""
SERIES_MB: Final = SERIES * (2 * STATE_BYTES[Tier.FULL.value] + SERIES_BYTES) / 1e6
"""What the limit of memory takes series to need: detectors, a copy of these while they are saved, and the rest."""
AT_WORK_MB: Final = 100
"""Requests of 10,000 samples as JSON, rows that are not sealed, and what the allocator has not given back."""
LIMIT_MB: Final = PROGRAM_MB + SERIES_MB + AT_WORK_MB
SCORED_WITHIN_S: Final = 120


def value_of(number: int, step: int) -> float:
    """Return a value that any reader can compute: a level of the series' own, a wave, and a little roughness."""
    return round(100 + number % 50 + 10 * math.sin(step / 8 + number) + ((number * 31 + step * 17) % 13) / 10, 3)


def labels_of(number: int) -> dict[str, str]:
    return {"__name__": "requests_per_s", "service": f"service-{number // 100}", "instance": f"i{number}"}


def test_a_million_samples_of_ten_thousand_series_fit_in_memory_and_can_be_read(
    quiet_quantum: Program, tell: Callable[[str], None]
) -> None:
    quantum = quiet_quantum
    last_ms = time.time_ns() // 1_000_000 // STEP_MS * STEP_MS
    times = [last_ms - (SAMPLES_EACH - 1 - step) * STEP_MS for step in range(SAMPLES_EACH)]
    peak_mb, begin_s = 0.0, time.monotonic()
    series_at_once, steps_at_once = AT_ONCE
    for first_step in range(0, SAMPLES_EACH, steps_at_once):
        steps = range(first_step, first_step + steps_at_once)
        for first in range(0, SERIES, series_at_once):
            receipt = quantum.push(
                *(
                    (labels_of(number), [times[step] for step in steps], [value_of(number, step) for step in steps])
                    for number in range(first, first + series_at_once)
                )
            )
            assert receipt["accepted"] == series_at_once * steps_at_once
            peak_mb = max(peak_mb, quantum.rss_mb())
    stored_s = time.monotonic() - begin_s

    def scored() -> bool | None:
        nonlocal peak_mb
        peak_mb = max(peak_mb, quantum.rss_mb())
        return quantum.get("/api/v1/overview")["samples_total"] >= SERIES * SAMPLES_EACH or None

    quantum.wait_until(scored, "a score for every sample", SCORED_WITHIN_S)
    for number in (0, 4321, SERIES - 1):
        found = quantum.series(f'requests_per_s{{instance="i{number}"}}')
        assert found is not None
        window = quantum.get(
            f"/api/v1/series/{found['fingerprint']}/window", start_ms=times[0], end_ms=last_ms + 1, points=1000
        )
        assert window["at_ms"] == times
        assert window["value"] == [value_of(number, step) for step in range(SAMPLES_EACH)]
        peak_mb = max(peak_mb, quantum.rss_mb())
    assert quantum.get("/api/v1/series", limit=1)["total"] == SERIES
    tell(f"memory: {SERIES * SAMPLES_EACH:,} samples stored in {stored_s:.1f} s, at most {peak_mb:.0f} MB resident")
    assert peak_mb < LIMIT_MB
