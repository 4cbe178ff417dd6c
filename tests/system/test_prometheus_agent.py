"""A real Prometheus, scraping itself and a real node exporter, writes into Quantum: every sample arrives."""

from __future__ import annotations

import math
import socket
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
from tests.serving import Served
from tools.debian import program

from quantum.adapters.http.bodies import Bounds
from quantum.domain.labels import LabelSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SCRAPES: Final = 4
PATIENCE_S: Final = 30.0

Stored = dict[tuple[str, int], float]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds; fail with its name when patience ends."""
    deadline, pause = time.monotonic() + PATIENCE_S, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"not in {PATIENCE_S:.0f} s: {what}"
        pause.wait(0.1)


@contextmanager
def running(log: Path, *command: str) -> Iterator[None]:
    """A child process that ends with the block."""
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def configuration(quantum: str, prometheus: int, exporter: int) -> str:
    return f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
remote_write: [{{url: "{quantum}/prometheus/api/v1/write", queue_config: {{batch_send_deadline: 200ms}}}}]
scrape_configs:
- {{job_name: prometheus, static_configs: [{{targets: ["127.0.0.1:{prometheus}"]}}]}}
- {{job_name: node, static_configs: [{{targets: ["127.0.0.1:{exporter}"]}}]}}
"""


@contextmanager
def agent(quantum: str, folder: Path) -> Iterator[str]:
    """A Prometheus and a node exporter that write to Quantum; gives the address of the Prometheus."""
    prometheus, exporter = free_port(), free_port()
    config = folder / "prometheus.yml"
    config.write_text(configuration(quantum, prometheus, exporter))
    with ExitStack() as stack:
        node_exporter = str(program("prometheus-node-exporter"))
        stack.enter_context(running(folder / "node.log", node_exporter, f"--web.listen-address=127.0.0.1:{exporter}"))
        options = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
        listen = f"--web.listen-address=127.0.0.1:{prometheus}"
        stack.enter_context(running(folder / "prometheus.log", str(program("prometheus")), *options, listen))
        yield f"http://127.0.0.1:{prometheus}"


def ask(prometheus: str, query: str) -> list[dict[str, Any]]:
    """Return the result of a PromQL query, or nothing while Prometheus starts."""
    try:
        answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": query}, timeout=10)
    except httpx.TransportError:
        return []
    found: list[dict[str, Any]] = answer.json()["data"]["result"] if answer.is_success else []
    return found


def samples_of(prometheus: str) -> Stored:
    """Every raw sample that Prometheus itself has, in Quantum's terms."""
    return {
        (str(LabelSet.of(one["metric"])), round(at_s * 1000)): float(value)
        for one in ask(prometheus, '{__name__=~".+"}[5m]')
        for at_s, value in one["values"]
    }


@pytest.mark.system
def test_every_sample_of_a_real_prometheus_arrives_and_none_is_refused(tmp_path: Path) -> None:
    with Served(bounds=Bounds(10_000_000, 32 << 20)) as server, agent(server.url, tmp_path) as prometheus:
        eventually(lambda: len(ask(prometheus, f"count_over_time(up[1m]) >= {SCRAPES}")) == 2, f"{SCRAPES} scrapes")
        sent = samples_of(prometheus)
        eventually(lambda: sent.keys() <= server.stored().keys(), "every sample stored")
        stored = server.stored()
        assert {key: repr(stored[key]) for key in sent} == {key: repr(value) for key, value in sent.items()}
        assert not server.ingest.refused
        assert {key.partition("{")[0] for key, _ in sent} >= {"up", "node_load1", "prometheus_build_info"}
        assert any(math.isnan(value) for value in sent.values())
        assert len(sent) > SCRAPES * 500
        failed = ask(prometheus, "prometheus_remote_storage_samples_failed_total")
        assert [one["value"][1] for one in failed] == ["0"]
