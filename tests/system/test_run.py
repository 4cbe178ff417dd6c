from __future__ import annotations

import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.parts.program import ALONE, QUANTUM, Program, run_quantum

if TYPE_CHECKING:
    from pathlib import Path

STOP_WITHIN_S = 5
POLICY = {
    "name": "too hot",
    "matchers": [{"label": "__name__", "op": "=", "value": "heat"}],
    "condition": {"kind": "threshold", "op": "above", "raise_at": 90.0, "clear_at": 80.0},
    "by": ["room"],
}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def alerts_of(program: Program, policy: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = program.get("/api/v1/alerts")["items"]
    return [alert for alert in found if alert["policy_name"] == policy]


def firing(program: Program) -> dict[str, Any] | None:
    return next((alert for alert in alerts_of(program, "too hot") if alert["state"] == "firing"), None)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_it_stops_within_seconds_with_status_0_and_says_nothing_alarming(quantum: Program, how: signal.Signals) -> None:
    assert quantum.child.stop(how, STOP_WITHIN_S) == 0
    log = quantum.child.text()
    assert "Traceback" not in log
    assert '"level": "error"' not in log


def test_a_taken_port_is_one_sentence_and_status_1(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run_once("--port", port, "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 1
    assert port in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_second_process_on_the_same_data_is_refused_and_the_first_goes_on(quantum: Program, tmp_path: Path) -> None:
    done = run_once("--port", "0", "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 1
    assert str(tmp_path / "data") in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert quantum.get("/readyz")["status"] == "ok"


def test_wrong_usage_is_one_sentence_and_status_2() -> None:
    done = run_once("--no-such-option")
    assert done.returncode == 2
    assert "--no-such-option" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_restart_makes_no_transition_and_forgets_no_alert(tmp_path: Path) -> None:
    data, log = tmp_path / "data", tmp_path / "quantum.log"
    with run_quantum(data, log, environment=ALONE) as first:
        first.post("/api/v1/policies", POLICY, status=201)
        first.push(({"__name__": "heat", "room": "kitchen"}, [now_ms()], [95.0]))
        before = first.wait_until(lambda: firing(first), "a firing alert", 15)
        history = first.get(f"/api/v1/alerts/{before['id']}")["transitions"]
        assert first.child.stop(signal.SIGINT, STOP_WITHIN_S) == 0
    with run_quantum(data, log, environment=ALONE) as second:
        assert second.get(f"/api/v1/alerts/{before['id']}")["transitions"] == history
        second.push(({"__name__": "heat", "room": "kitchen"}, [now_ms()], [70.0]))
        second.wait_until(
            lambda: second.get(f"/api/v1/alerts/{before['id']}")["alert"]["state"] == "resolved" or None,
            "the end of the alert",
            15,
        )
        assert len(alerts_of(second, "too hot")) == 1


def test_a_pending_alert_goes_on_waiting_after_a_restart(tmp_path: Path) -> None:
    data, log = tmp_path / "data", tmp_path / "quantum.log"
    policy = POLICY | {"for_ms": 6000}
    with run_quantum(data, log, environment=ALONE) as first:
        first.post("/api/v1/policies", policy, status=201)
        first.push(({"__name__": "heat", "room": "kitchen"}, [now_ms()], [95.0]))
        pending = first.wait_until(lambda: alerts_of(first, "too hot"), "a pending alert", 15)[0]
        assert pending["state"] == "pending"
        first.child.kill()
    with run_quantum(data, log, environment=ALONE) as second:
        fired = second.wait_until(lambda: firing(second), "the same alert firing", 20)
        assert fired["id"] == pending["id"]
        assert fired["pending_at_ms"] == pending["pending_at_ms"]
        assert fired["firing_at_ms"] - fired["pending_at_ms"] >= 6000


def run_once(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [QUANTUM, "run", *arguments], capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
    )
