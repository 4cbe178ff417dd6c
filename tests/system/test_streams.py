"""Other programs read along on a real Kafka that goes away and comes back, as docs/streams.md tells them to."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.parts.children import start_child
from tests.parts.kafka import run_kafka
from tests.parts.program import ALONE, run_quantum
from tests.parts.topics import address_of, read_topic
from tests.system.test_run import POLICY

from quantum.cli import run_command

if TYPE_CHECKING:
    import pytest
    from tests.parts.kafka import KafkaBroker
    from tests.parts.program import Program

DOCUMENT: Final = Path(__file__).parents[2] / "docs/streams.md"
PARTITIONS: Final = 2
ENOUGH_S: Final = 300.0
"""Only a program that hangs takes so long."""
STOP_WITHIN_S: Final = 300.0


def example(broker: KafkaBroker) -> str:
    """Return the consumer of the documentation, for a broker of a test."""
    found = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    assert len(found) == 1
    assert "kafka-1.example:9092" in found[0]
    return str(found[0]).replace("kafka-1.example:9092", address_of(broker))


def published(broker: KafkaBroker, kind: str) -> list[dict[str, Any]]:
    """Return the messages of a topic, in order of each key."""
    records = asyncio.run(read_topic(broker, f"quantum.default.{kind}", PARTITIONS))
    return [json.loads(one.value) for one in records]


def heats(broker: KafkaBroker) -> list[tuple[int, float]]:
    """Return the samples of the series `heat` as they are published."""
    messages = [one for one in published(broker, "samples") if one["labels"]["__name__"] == "heat"]
    return [row for one in messages for row in zip(one["timestamps_ms"], one["values"], strict=True)]


def send(program: Program, *values: float) -> list[tuple[int, float]]:
    """Store samples of the series `heat`; return them."""
    now_ms = time.time_ns() // 1_000_000
    rows = [(now_ms + number, value) for number, value in enumerate(values)]
    program.push(({"__name__": "heat"}, [at_ms for at_ms, _ in rows], [value for _, value in rows]))
    return rows


def lag_ms(program: Program) -> int:
    found: int = program.get("/api/v1/overview")["publishing_lag_ms"]
    return found


def wait_until_published(program: Program, samples: int) -> None:
    """Wait until so many samples, and all that was concluded of them, are in the topics."""
    program.wait_until(
        lambda: program.get("/api/v1/overview")["samples_total"] >= samples or None, "scored samples", ENOUGH_S
    )
    position = program.metric("quantum_pipeline_position")
    program.wait_until(
        lambda: program.metric("quantum_published_position") >= position or None, "published samples", ENOUGH_S
    )


def test_other_programs_read_along_while_kafka_and_quantum_come_and_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "kafka"
    home.mkdir()
    with run_kafka(home) as broker:
        environment = {
            **ALONE,
            "QUANTUM_STREAM__KIND": "kafka",
            "QUANTUM_STREAM__URL": broker.url,
            "QUANTUM_STREAM__LANES": str(PARTITIONS),
            "QUANTUM_STREAM__PUBLISH": "true",
        }
        with run_quantum(
            tmp_path / "data", tmp_path / "log", environment=environment, ready_within_s=ENOUGH_S
        ) as program:
            program.post("/api/v1/policies", POLICY, status=201)
            sent = send(program, 1.0, 2.0)
            wait_until_published(program, len(sent))
            with start_child([sys.executable, "-c", example(broker)], tmp_path / "reader") as reader:
                sent += send(program, 99.0)
                reader.wait_for_line(f"{POLICY['name']} firing", ENOUGH_S)
            broker.kill()
            sent += send(program, 98.0, 97.0)
            program.wait_until(lambda: lag_ms(program) > 0 or None, "a lag", ENOUGH_S)
            assert program.http.get("/readyz").status_code == 200
            broker.start()
            wait_until_published(program, len(sent))
            program.wait_until(lambda: lag_ms(program) == 0 or None, "no lag", ENOUGH_S)
            assert list(dict.fromkeys(heats(broker))) == sent
            assert program.child.stop(timeout_s=STOP_WITHIN_S) == 0
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        before = len(heats(broker))
        assert run_command(["publish", "--from", str(sent[0][0]), "--data-dir", str(tmp_path / "data")]) == 0
        assert "published again from the next start on" in capsys.readouterr().out
        with run_quantum(
            tmp_path / "data", tmp_path / "log", environment=environment, ready_within_s=ENOUGH_S
        ) as program:
            program.wait_until(lambda: len(heats(broker)) == before + len(sent) or None, "all of it again", ENOUGH_S)
            assert heats(broker)[before:] == sent
            again = [one["alert"]["id"] for one in published(broker, "alerts") if one["alert"]["state"] == "firing"]
            assert len(again) >= 2
            assert len(set(again)) == 1
