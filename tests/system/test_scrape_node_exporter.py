"""A real node exporter, asked by the real program: what it says is stored, and ends when the exporter does."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import httpx
from prometheus_client.parser import text_string_to_metric_families
from tests.parts.program import ALONE, Program, run_quantum
from tests.system.test_prometheus_agent import eventually, free_port, running
from tools.debian import program

from quantum.domain.labels import LabelSet

if TYPE_CHECKING:
    from pathlib import Path

CONFIG: Final = """
[[scrape]]
job = "node"
targets = ["127.0.0.1:{port}"]
interval_s = 1
"""
OWN: Final = {"up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling"}


def exposed(port: int) -> set[str]:
    """Every series that the exporter has and whose value is a number, in Quantum's terms; nothing while it starts."""
    try:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    except httpx.TransportError:
        return set()
    place = {"job": "node", "instance": f"127.0.0.1:{port}"}
    return {
        str(LabelSet.of({**sample.labels, **place, "__name__": sample.name}))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not math.isnan(sample.value)
    }


def found(quantum: Program, query: str) -> dict[str, Any]:
    """What a PromQL query finds: values by series."""
    answer = quantum.get("/prometheus/api/v1/query", query=query)
    return {str(LabelSet.of(one["metric"])): float(one["value"][1]) for one in answer["data"]["result"]}


def test_all_of_a_node_exporter_is_stored_and_ends_with_it(tmp_path: Path) -> None:
    port, config = free_port(), tmp_path / "quantum.toml"
    config.write_text(CONFIG.format(port=port))
    exporter = (str(program("prometheus-node-exporter")), f"--web.listen-address=127.0.0.1:{port}")
    options = "--config", str(config)
    with run_quantum(tmp_path / "data", tmp_path / "quantum.log", *options, environment=ALONE) as quantum:
        with running(tmp_path / "node.log", *exporter):
            eventually(lambda: len(exposed(port)) > 100, "the exporter starts")
            eventually(lambda: 1.0 in found(quantum, "up").values(), "the target is up")
            said = exposed(port)
            eventually(lambda: said <= found(quantum, '{job="node"}').keys(), "every series of the exporter is stored")
            stored = found(quantum, '{job="node"}')
            assert {name.partition("{")[0] for name in stored.keys() - said} >= OWN
        eventually(lambda: 0.0 in found(quantum, "up").values(), "the target is down")
        eventually(lambda: not (found(quantum, '{job="node"}').keys() & said), "its series have ended")
        metrics = quantum.http.get("/metrics").text
    assert 'quantum_scrape_failures_total{reason="connection"}' in metrics
