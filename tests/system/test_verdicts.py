"""Verdicts teach the real program: a false alarm is judged, learnt from, not raised again, and taken back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tests.parts.program import Program

POLICY: Final = {
    "name": "too hot",
    "matchers": [{"label": "__name__", "op": "=", "value": "heat"}],
    "condition": {"kind": "threshold", "op": "above", "raise_at": 90.0, "clear_at": 80.0},
    "by": ["host"],
}
WITHIN_S: Final = 20


def push(program: Program, host: str, value: float) -> None:
    program.push(({"__name__": "heat", "host": host}, [time.time_ns() // 1_000_000], [value]))


def incidents_of(program: Program, host: str, state: str) -> list[dict[str, Any]]:
    found = program.get("/api/v1/incidents", state=state)["items"]
    return [one for one in found if one["place"] == {"host": host}]


def go_through(program: Program, values: dict[str, float], verdict: dict[str, str]) -> None:
    """Let hosts become hot and cool down, and judge the incidents."""
    for host, value in values.items():
        push(program, host, value)
    for host in values:
        program.wait_until(lambda host=host: incidents_of(program, host, "open"), "an incident", WITHIN_S)  # type: ignore[misc] # a default is not inferred
        push(program, host, 20.0)
    for host in values:
        (over, *_) = program.wait_until(
            lambda host=host: incidents_of(program, host, "resolved"),  # type: ignore[misc] # as above
            "its end",
            WITHIN_S,
        )
        program.post(f"/api/v1/incidents/{over['id']}/verdict", {"verdict": verdict[host]})


def test_a_false_alarm_that_was_judged_is_not_raised_again_until_the_lesson_is_taken_back(
    quiet_quantum: Program,
) -> None:
    policy = quiet_quantum.post("/api/v1/policies", POLICY, status=201)
    path = f"/api/v1/policies/{policy['id']}"
    go_through(quiet_quantum, {"a": 92.0, "b": 99.0}, {"a": "false", "b": "real"})
    proposal = quiet_quantum.post(f"{path}/propose", {})
    (best, *_) = proposal["options"]
    assert (best["setting"], best["value"], best["harmless"]) == ("raise_at", 92.0, True)
    assert (best["evidence"]["alerts"], best["evidence"]["removed"]) == (2, 1)
    assert (best["evidence"]["confirmed"], best["evidence"]["lost"]) == (1, [])
    quiet_quantum.post(f"{path}/learn", {"setting": "raise_at", "value": 99.0}, status=409)
    quiet_quantum.post(f"{path}/learn", {"setting": "raise_at", "value": 92.0})
    # the other host's incident says that the pipeline has seen the first one's value as well
    push(quiet_quantum, "a", 92.0)
    push(quiet_quantum, "c", 99.0)
    quiet_quantum.wait_until(lambda: incidents_of(quiet_quantum, "c", "open"), "an incident", WITHIN_S)
    assert not incidents_of(quiet_quantum, "a", "open")
    restored = quiet_quantum.http.post(f"{path}/unlearn").json()
    assert restored == quiet_quantum.get(path) == policy | {"version": 3}
    quiet_quantum.wait_until(lambda: incidents_of(quiet_quantum, "a", "open"), "the alarm again", WITHIN_S)
