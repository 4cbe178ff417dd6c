"""Compose's files as they are: all roles, PostgreSQL, Kafka and Redis in containers. `make image-test` runs this.

The images of the parts are pulled, or were made by `python -m tests.images.standins` where that is not possible.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx
import pytest
from tests.parts.children import free_port
from websockets.sync.client import connect

from tools import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

FILES: Final = ("--file", "compose.yaml", "--file", "compose.roles.yaml")
READY_S: Final = 600.0
ENOUGH_S: Final = 120.0
OURS: Final = ("quantum", "gateway", "ml")
PARTS: Final = ("postgres", "kafka", "redis")
HOT: Final[dict[str, Any]] = {
    "name": "too hot",
    "matchers": [{"label": "__name__", "op": "=", "value": "heat"}],
    "condition": {"kind": "threshold", "op": "above", "raise_at": 90.0},
}


class Stack:
    """The stack under a name of its own, with ports of its own."""

    def __init__(self) -> None:
        self.project = f"quantum-test-{os.getpid()}"
        ports = {"QUANTUM_PORT": str(free_port()), "QUANTUM_GATEWAY_PORT": str(free_port())}
        self._environment = {**os.environ, **ports}
        self.gateway = f"http://127.0.0.1:{ports['QUANTUM_GATEWAY_PORT']}"

    def compose(self, *arguments: str, within_s: float = READY_S) -> str:
        """Return what Compose says; fail with its complaint."""
        done = subprocess.run(
            ["docker", "compose", "--project-name", self.project, *FILES, *arguments],
            cwd=prepare.ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )
        assert done.returncode == 0, f"docker compose {' '.join(arguments)}: {done.stderr[-3000:]}"
        return done.stdout

    def up(self, *more: str) -> None:
        """Start what does not run, in the order of the files, and wait until all of it is healthy."""
        self.compose("up", "--detach", "--wait", "--no-build", *more)

    def containers(self, service: str) -> list[dict[str, Any]]:
        """Return what Docker knows of the containers of a service."""
        numbers = self.compose("ps", "--all", "--quiet", service).split()
        done = subprocess.run(["docker", "inspect", *numbers], capture_output=True, text=True, check=True)
        return list(json.loads(done.stdout))

    def get(self, path: str, **parameters: Any) -> Any:
        """Return the JSON of a GET to the gateway that succeeds."""
        answer = httpx.get(self.gateway + path, params=parameters, timeout=30, trust_env=False)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def push(self, value: float) -> int:
        """Store a sample by way of the gateway; return its time."""
        at_ms = time.time_ns() // 1_000_000
        table = {"labels": {"__name__": "heat"}, "timestamps_ms": [at_ms], "values": [value]}
        answer = httpx.post(f"{self.gateway}/api/v1/samples", json={"series": [table]}, timeout=30, trust_env=False)
        assert (answer.status_code, answer.json()["accepted"]) == (200, 1), answer.text
        return at_ms


def wait_until(probe: Callable[[], T | None], what: str) -> T:
    """Repeat a probe until it finds something."""
    deadline_s = time.monotonic() + ENOUGH_S
    while not (found := probe()):
        assert time.monotonic() < deadline_s, f"{what} was not there within {ENOUGH_S:g} s"
        time.sleep(0.2)
    return found


@pytest.fixture(name="stack", scope="module")
def running_stack() -> Iterator[Stack]:
    stack = Stack()
    try:
        stack.up()
        yield stack
    finally:
        stack.compose("down", "--volumes", "--timeout", "5")


def test_every_container_may_do_and_have_only_what_it_needs(stack: Stack) -> None:
    for service in OURS:
        (found,) = stack.containers(service)
        host = found["HostConfig"]
        assert found["Config"]["User"] == "10001"
        assert (host["ReadonlyRootfs"], host["CapDrop"]) == (True, ["ALL"])
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert host["PidsLimit"] == 200
        assert host["Memory"] == 2 << 30
    for service in PARTS:
        (found,) = stack.containers(service)
        assert list(found["NetworkSettings"]["Networks"]) == [f"{stack.project}_inside"]
        assert not any(found["NetworkSettings"]["Ports"].values()), f"{service} is open to this machine"
        assert found["HostConfig"]["Memory"] > 0


def firing(stack: Stack) -> Any:
    return [one for one in stack.get("/api/v1/alerts", state="firing")["items"] if one["policy_name"] == "too hot"]


def test_what_comes_in_at_the_gateway_is_scored_by_a_worker_and_raises_an_alert(stack: Stack) -> None:
    made = httpx.post(f"{stack.gateway}/api/v1/policies", json=HOT, timeout=60, trust_env=False)
    assert made.status_code == 201, made.text
    with connect(f"{stack.gateway.replace('http', 'ws', 1)}/api/v1/live", proxy=None) as socket:
        socket.send(json.dumps({"op": "subscribe", "topic": "alerts"}))
        stack.push(95.0)
        wait_until(lambda: firing(stack), "an alert")
        heard = json.loads(socket.recv(timeout=ENOUGH_S))
        while heard["type"] != "event":
            heard = json.loads(socket.recv(timeout=ENOUGH_S))
    assert heard["data"]["policy_name"] == "too hot"


def test_a_second_worker_joins_and_scoring_goes_on(stack: Stack) -> None:
    stack.up("--scale", "ml=2", "--no-recreate")
    assert len(stack.containers("ml")) == 2
    at_ms = stack.push(96.0)
    wait_until(lambda: caught_up(stack, at_ms), "a score")
    stack.up("--scale", "ml=1", "--no-recreate")


def caught_up(stack: Stack, at_ms: int) -> bool:
    """Whether detection has come to a time."""
    overview = stack.get("/api/v1/overview")
    return bool(overview["at_ms"] - overview["lag_ms"] >= at_ms)


@pytest.mark.parametrize("service", ["kafka", "redis", "ml", "gateway", "quantum", "postgres"])
def test_each_is_started_again_when_it_is_killed_and_everything_goes_on(stack: Stack, service: str) -> None:
    # not `docker kill`: what a person stops stays stopped
    pid = stack.containers(service)[0]["State"]["Pid"]
    subprocess.run(["kill", "-9", str(pid)], check=True)
    wait_until(lambda: stack.containers(service)[0]["RestartCount"] >= 1 or None, "another start")
    stack.up()
    at_ms = wait_until(lambda: pushed(stack), "a receipt")
    wait_until(lambda: caught_up(stack, at_ms), "a score")


def pushed(stack: Stack) -> int | None:
    """Return the time of a sample that was stored, if one could be."""
    try:
        return stack.push(97.0)
    except (AssertionError, httpx.TransportError):
        return None


def test_stopping_ends_everything_cleanly_and_the_data_is_there_afterwards(stack: Stack) -> None:
    before = stack.get("/api/v1/overview")["samples_total"]
    with connect(f"{stack.gateway.replace('http', 'ws', 1)}/api/v1/live", proxy=None) as socket:
        stack.compose("stop")
        list(socket)
        assert socket.close_code == 1001
    states = {service: stack.containers(service)[0]["State"]["ExitCode"] for service in (*OURS, "postgres", "redis")}
    assert set(states.values()) == {0}, states
    stack.up()
    wait_until(lambda: stack.get("/api/v1/overview")["samples_total"] >= before or None, "what was stored")
    assert firing(stack), "the alert that was firing is forgotten"
