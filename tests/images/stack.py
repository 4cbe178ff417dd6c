"""Compose's files under a name of their own, as `docker compose` runs them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx
from tests.parts.children import free_port

from tools import prepare

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

READY_S: Final = 600.0
ENOUGH_S: Final = 120.0


class Stack:
    """Containers of a project of their own, with ports of their own.

    Attributes:
        quantum: address of the service of that name.
        gateway: the same, of the gateway if there is one.
    """

    def __init__(self, *files: str, **environment: str) -> None:
        """Take Compose's files, in order, and variables that they read."""
        self.project = f"quantum-test-{os.getpid()}"
        ports = {"QUANTUM_PORT": str(free_port()), "QUANTUM_GATEWAY_PORT": str(free_port())} | environment
        self._environment = {**os.environ, **ports}
        self._files = [part for file in files for part in ("--file", file)]
        self.quantum = f"http://localhost:{ports['QUANTUM_PORT']}"
        self.gateway = f"http://127.0.0.1:{ports['QUANTUM_GATEWAY_PORT']}"

    def compose(self, *arguments: str, within_s: float = READY_S) -> str:
        """Return what Compose says; fail with its complaint."""
        done = subprocess.run(
            ["docker", "compose", "--project-name", self.project, *self._files, *arguments],
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
