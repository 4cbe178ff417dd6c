"""The image as it is deployed: a user without rights, a read-only root, one volume. `make image-test` runs this."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
from tests.parts.children import free_port

from quantum.adapters.memory import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE: Final = os.environ.get("QUANTUM_IMAGE", "quantum:dev")
READY_S: Final = 300.0
"""The first start compiles; later ones take seconds."""
HARDENED: Final = ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges:true")


def docker(*arguments: str) -> str:
    """Return what a docker command says; fail with its complaint."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


class Container:
    """A container of the image with a volume of its own, published on a port of the loopback interface."""

    def __init__(self, volume: str) -> None:
        self.base = f"http://127.0.0.1:{free_port()}"
        published = f"--publish={self.base.removeprefix('http://')}:8470"
        allowed = "--env=QUANTUM_AUTH__STUB_BEYOND_LOOPBACK=true"
        data = f"--volume={volume}:/var/lib/quantum"
        self.id = docker("run", "--detach", *HARDENED, data, published, allowed, IMAGE)

    def wait_until_ready(self) -> None:
        """Wait for a good answer of /readyz; fail with the log."""
        deadline_s = time.monotonic() + READY_S
        while time.monotonic() < deadline_s:
            try:
                if httpx.get(f"{self.base}/readyz", trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.2)
        pytest.fail(f"not ready within {READY_S:.0f} s:\n{docker('logs', self.id)}")

    def get(self, path: str) -> httpx.Response:
        """Return an answer."""
        return httpx.get(self.base + path, trust_env=False)

    def state(self) -> dict[str, Any]:
        """Return what Docker knows of it."""
        [found] = json.loads(docker("inspect", self.id))
        return dict(found["State"])


@pytest.fixture(name="container", scope="module")
def running_container() -> Iterator[Container]:
    volume = docker("volume", "create")
    container = Container(volume)
    try:
        container.wait_until_ready()
        yield container
    finally:
        docker("rm", "--force", container.id)
        docker("volume", "rm", volume)


def test_it_runs_as_a_user_without_rights_who_writes_to_the_volume_and_to_tmp(container: Container) -> None:
    assert docker("exec", container.id, "id", "-u") == "10001"
    written = docker("exec", container.id, "sh", "-c", "find / -xdev -writable \\( -type d -o -type f \\) 2>&- ; true")
    assert set(written.split()) == {"/tmp", "/var/lib/quantum"}


def test_it_serves_the_dashboard(container: Container) -> None:
    assert "<title>Quantum</title>" in container.get("/").text


def test_docker_finds_it_healthy(container: Container) -> None:
    deadline_s = time.monotonic() + 60
    while container.state()["Health"]["Status"] != "healthy":
        assert time.monotonic() < deadline_s, container.state()
        time.sleep(0.5)


def test_sigterm_ends_it_cleanly_and_its_data_outlives_it(container: Container) -> None:
    sample = {"labels": {"__name__": "kept"}, "timestamps_ms": [SystemClock().now_ms()], "values": [4.5]}
    stored = httpx.post(f"{container.base}/api/v1/samples", json={"series": [sample]}, trust_env=False)
    assert stored.json()["accepted"] == 1
    docker("stop", "--time=30", container.id)
    assert container.state()["ExitCode"] == 0
    docker("start", container.id)
    container.wait_until_ready()
    [found] = container.get("/api/v1/series?match[]=kept").json()["items"]
    assert found["value"] == 4.5
