"""`quantum doctor` about Kafka: it answers, or it is said that it does not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.parts.children import free_port
from tests.parts.kafka import PASSWORD, USER

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
    words = f"{kafka.url} has 1 brokers; not encrypted, nobody signs in"
    assert stream_finding(capsys) == {"part": "stream", "well": True, "words": words}
    nobody = f"kafka://127.0.0.1:{free_port()}"
    monkeypatch.setenv("QUANTUM_STREAM__URL", nobody)
    found = stream_finding(capsys)
    assert not found["well"]
    assert found["words"].startswith(f"{nobody}: Kafka: ")


def test_doctor_signs_in_and_says_why_it_may_not(
    kafka: KafkaBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    certificate, key = kafka.shown
    for name, value in {
        "KIND": "kafka",
        "URL": kafka.secure_url,
        "TLS": "true",
        "CA_FILE": str(kafka.ca_file),
        "CERT_FILE": str(certificate),
        "KEY_FILE": str(key),
        "SASL": "scram-sha-512",
        "USER": USER,
        "PASSWORD": PASSWORD,
    }.items():
        monkeypatch.setenv(f"QUANTUM_STREAM__{name}", value)
    words = f"{kafka.secure_url} has 1 brokers; encrypted, signed in as {USER} by scram-sha-512"
    assert stream_finding(capsys) == {"part": "stream", "well": True, "words": words}
    run_command(["check-config", "--json"])
    shown = capsys.readouterr().out
    assert json.loads(shown)["stream"]["password"] == "(set)"
    assert PASSWORD not in shown
    monkeypatch.setenv("QUANTUM_STREAM__PASSWORD", "guessed")
    refused = stream_finding(capsys)
    assert not refused["well"]
    assert "authentication" in refused["words"].lower()
    assert "guessed" not in refused["words"]
