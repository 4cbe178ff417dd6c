"""`quantum bench lanes` measures a real worker on a real Kafka."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from quantum.cli import run_command

if TYPE_CHECKING:
    import pytest
    from tests.parts.kafka import KafkaBroker


def test_workers_are_measured_by_what_they_score(kafka: KafkaBroker, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", "lanes", "--kafka", kafka.url, "--workers", "1", "--scale", "0.01"]
    assert run_command([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    (found,) = report["results"]
    assert (report["series"], found["workers"], found["samples"]) == (200, 1, 200 * 35)
    assert found["samples_per_s"] == found["samples_per_s_per_worker"] > 0
    assert found["worker_cpu_us_per_sample"] > 0
    assert found["cpu_s_of_each_worker_per_million"] == [found["worker_cpu_us_per_sample"]]
    assert report["changes"] == {}  # one alone has nobody who takes over
