"""A sender of new series without end: the process lives within its memory, and series that are known lose nothing.

Row F30 of the fault matrix in docs/reliability.md.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final, Self

import httpx
from tests.parts.program import ALONE, Program, run_quantum

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIMIT_BYTES: Final = 480_000_000
SLACK_BYTES: Final = 120_000_000
"""Requests at work, and what the allocator has not given back: resident memory may be so much more than the limit."""
NEW_AT_ONCE: Final = 1000
REFUSED: Final = 20
"""So many requests of nothing but new series are refused before the flood ends."""
KNOWN: Final = 20
GIVE_UP_S: Final = 120.0


def tables(name: str, first: int, count: int, at_ms: int) -> list[dict[str, Any]]:
    """Samples of some series, one each."""
    return [
        {"labels": {"__name__": name, "number": str(number)}, "timestamps_ms": [at_ms], "values": [float(number)]}
        for number in range(first, first + count)
    ]


class Flood:
    """Sends series that nobody knows, until enough requests of them were refused."""

    def __init__(self, program: Program) -> None:
        self.answers: list[httpx.Response] = []
        self.sent = 0
        self._program = program
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def _run(self) -> None:
        deadline_s = time.monotonic() + GIVE_UP_S
        with httpx.Client(base_url=self._program.base, timeout=60, trust_env=False) as http:
            while time.monotonic() < deadline_s and len(self.refusals()) < REFUSED:
                body = {"series": tables("flood", self.sent, NEW_AT_ONCE, time.time_ns() // 1_000_000)}
                self.answers.append(http.post("/api/v1/samples", json=body))
                self.sent += NEW_AT_ONCE

    def refusals(self) -> list[httpx.Response]:
        return [answer for answer in self.answers if answer.status_code == 503]


def test_f30_a_sender_of_new_series_without_end_neither_ends_the_process_nor_costs_known_series_a_sample(
    tmp_path: Path, tell: Callable[[str], None]
) -> None:
    environment = {**ALONE, "QUANTUM_LIMITS__MAX_MEMORY_BYTES": str(LIMIT_BYTES)}
    with run_quantum(tmp_path / "data", tmp_path / "log", environment=environment) as program:
        times, peak_mb = [time.time_ns() // 1_000_000], 0.0
        assert push(program, tables("known", 0, KNOWN, times[0])) == (200, KNOWN, {})
        with Flood(program) as flood:
            while not flood.is_over:
                times.append(max(times[-1] + 1, time.time_ns() // 1_000_000))
                assert push(program, tables("known", 0, KNOWN, times[-1])) == (200, KNOWN, {})
                peak_mb = max(peak_mb, program.rss_mb())
                time.sleep(0.02)
        refusals = flood.refusals()
        assert len(refusals) == REFUSED
        assert {answer.status_code for answer in flood.answers} <= {200, 400, 503}
        assert {(one.json()["reason"], one.headers["retry-after"]) for one in refusals} == {("memory_limit", "30")}
        assert "limits.max_memory_bytes" in refusals[0].json()["detail"]
        mixed = [*tables("known", 0, KNOWN, times[-1] + 1), *tables("flood", flood.sent, 3, times[-1])]
        assert push(program, mixed) == (400, KNOWN, {"memory_limit": 3})
        times.append(times[-1] + 1)
        for number in range(KNOWN):
            assert stored_ms(program, number, times[0]) == times
        series = program.get("/api/v1/series", limit=1)["total"]
        assert series <= flood.sent + KNOWN - REFUSED * NEW_AT_ONCE
        assert 'reason="memory_limit"' in program.http.get("/metrics").text
        tell(f"F30: {series:,} series, then refused; at most {peak_mb:.0f} MB resident, the limit was {LIMIT_BYTES:,}")
        assert peak_mb * 1e6 <= LIMIT_BYTES + SLACK_BYTES
        assert program.child.stop(timeout_s=60) == 0


def push(program: Program, series: list[dict[str, Any]]) -> tuple[int, int, dict[str, int]]:
    """Return the status of a request, how many samples it stored, and what was refused."""
    answer = program.http.post("/api/v1/samples", json={"series": series})
    receipt = answer.json()
    return answer.status_code, receipt["accepted"], receipt["rejected"]


def stored_ms(program: Program, number: int, start_ms: int) -> list[int]:
    """Return the times of the samples of a known series."""
    found = program.series(f'known{{number="{number}"}}')
    assert found is not None
    path = f"/api/v1/series/{found['fingerprint']}/window"
    window = program.get(path, start_ms=start_ms, end_ms=start_ms + 3_600_000, points=11_000)
    return [at for at, value in zip(window["at_ms"], window["value"], strict=True) if value is not None]
