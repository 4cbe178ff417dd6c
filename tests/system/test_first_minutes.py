"""The first minutes of a newcomer: a page at once, scores within a minute, and one alert when the processors burn."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from tests.parts.children import start_child

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parts.program import Program

USABLE_WITHIN_S: Final = 60
SCORED_WITHIN_S: Final = 60
BURN_MS: Final = 40_000
LOOKED_MS: Final = 90_000
"""How long a newcomer looks around before trying the processors."""
LOOKED_WITHIN_S: Final = 240
QUIET: Final = 0.3
"""How busy a machine may be for the burning to stand out."""
QUIET_WITHIN_S: Final = 240
CORES: Final = os.cpu_count() or 1
FOR_S: Final = 15
"""How long the default policy wants it to last."""
BURNT: Final = 0.5
"""How busy others must have kept this machine for an alert before the burning to be no false one."""
FIRED_WITHIN_S: Final = 60
RESOLVED_WITHIN_S: Final = 180
BURN: Final = "while True: pass"


def test_a_fresh_installation_serves_its_dashboard(quantum: Program) -> None:
    assert quantum.ready_after_s < USABLE_WITHIN_S
    page = quantum.http.get("/")
    assert page.status_code == 200
    assert "text/html" in page.headers["content-type"]
    assert "<q-shell>" in page.text
    assert quantum.get("/api/v1/session")["banner"] != ""


def test_burning_the_processors_raises_and_resolves_exactly_one_alert(quantum: Program, tmp_path: Path) -> None:
    quantum.wait_until(lambda: first_score(quantum), "a first score", SCORED_WITHIN_S)
    learnt = quantum.wait_until(lambda: learnt_cpu(quantum), "an expectation of the processors", LOOKED_WITHIN_S)
    quantum.wait_until(lambda: cpu(quantum)["at_ms"] >= learnt["at_ms"] + LOOKED_MS or None, "a look", LOOKED_WITHIN_S)
    quantum.wait_until(lambda: quiet(quantum), f"a machine that is usually less than {QUIET:.0%} busy", QUIET_WITHIN_S)
    # nothing has been told but what others really did with this machine, and that has to be over
    assert [one["reason"] for one in fired(quantum) if not was_burnt(quantum, one)] == []
    quantum.wait_until(lambda: not_firing(quantum), "the end of what others did", RESOLVED_WITHIN_S)
    before = [one["id"] for one in fired(quantum)]
    with ExitStack() as burning:
        begin_ms = cpu(quantum)["at_ms"]
        for _ in range(CORES):
            burning.enter_context(start_child([sys.executable, "-c", BURN], tmp_path / "burn.log"))
        quantum.wait_until(lambda: fired_since(quantum, before), "an alert", FIRED_WITHIN_S)
        quantum.wait_until(lambda: cpu(quantum)["at_ms"] >= begin_ms + BURN_MS or None, "the end", FIRED_WITHIN_S)
    quantum.wait_until(lambda: not_firing(quantum), "the end of the alert", RESOLVED_WITHIN_S)
    (alert,) = fired_since(quantum, before)
    assert alert["policy_id"] == "default-cpu"
    assert alert["state"] == "resolved"
    found = quantum.get("/api/v1/anomalies", fingerprint=cpu(quantum)["fingerprint"])["items"]
    assert any(one["peak_at_ms"] >= begin_ms for one in found)


def first_score(program: Program) -> dict[str, Any] | None:
    items = program.get("/api/v1/series", limit=1000)["items"]
    return next((item for item in items if item["expected"] is not None), None)


def cpu(program: Program) -> Any:
    found = program.series("host_cpu_busy_ratio")
    assert found is not None
    return found


def learnt_cpu(program: Program) -> Any:
    found = cpu(program)
    return found if found["expected"] is not None else None


def quiet(program: Program) -> bool | None:
    return cpu(program)["expected"] < QUIET or None


def fired(program: Program) -> list[dict[str, Any]]:
    return [one for one in program.get("/api/v1/alerts")["items"] if one["firing_at_ms"] is not None]


def fired_since(program: Program, before: list[str]) -> list[dict[str, Any]]:
    return [one for one in fired(program) if one["id"] not in before]


def was_burnt(program: Program, alert: dict[str, Any]) -> bool:
    """Return whether the processors were busy, or had been and no longer were, while the alert was pending."""
    begin_ms, end_ms = alert["pending_at_ms"] - BURN_MS, alert["firing_at_ms"] + 1
    path = f"/api/v1/series/{cpu(program)['fingerprint']}/window"
    values: list[float] = program.get(path, start_ms=begin_ms, end_ms=end_ms, points=1000)["value"]
    return sum(value >= BURNT for value in values) * 2 >= FOR_S


def not_firing(program: Program) -> bool | None:
    return all(one["state"] != "firing" for one in fired(program)) or None
