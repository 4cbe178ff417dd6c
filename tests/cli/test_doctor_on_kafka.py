"""`quantum doctor` about Kafka: it answers, or it is said that it does not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.parts.children import free_port

from quantum.cli import run_command

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from tests.parts.kafka import KafkaBroker


def stream_finding(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    run_command(["doctor", "--json"])
    return next(one for one in json.loads(capsys.readouterr().out) if one["part"] == "stream")


def test_doctor_says_whether_kafka_answers(
    kafka: KafkaBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QUANTUM_STREAM__KIND", "kafka")
    monkeypatch.setenv("QUANTUM_STREAM__URL", kafka.url)
    assert stream_finding(capsys) == {"part": "stream", "well": True, "words": f"{kafka.url} has 1 brokers"}
    nobody = f"kafka://127.0.0.1:{free_port()}"
    monkeypatch.setenv("QUANTUM_STREAM__URL", nobody)
    found = stream_finding(capsys)
    assert not found["well"]
    assert found["words"].startswith(f"{nobody}: Kafka: ")
