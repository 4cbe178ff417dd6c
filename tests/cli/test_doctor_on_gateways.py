"""`quantum doctor` about what gateways need: a Redis, and a process that writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.parts.children import free_port
from tests.parts.redis import run_redis
from tests.watching import served_aside

from quantum.cli import run_command

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from tests.watching import Watching


def findings(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    run_command(["doctor", "--json"])
    return {one["part"]: one for one in json.loads(capsys.readouterr().out)}


async def nothing(_: Watching) -> None:
    """There is nothing to prepare."""


def test_doctor_says_whether_redis_and_the_writer_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not findings(capsys).keys() & {"redis", "writer"}
    with run_redis(tmp_path) as redis, served_aside(nothing) as writer:
        monkeypatch.setenv("QUANTUM_REDIS__URL", redis.url.replace("//", "//:secret@"))
        monkeypatch.setenv("QUANTUM_GATEWAY__WRITERS", writer)
        found = findings(capsys)
        assert found["writer"] == {"part": "writer", "well": True, "words": f"{writer} takes requests"}
        assert found["redis"]["well"]
        assert "is version" in found["redis"]["words"]
    nobody = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("QUANTUM_GATEWAY__WRITERS", nobody)
    away = findings(capsys)
    assert not away["redis"]["well"]
    assert "secret" not in away["redis"]["words"]
    assert away["writer"]["words"] == f"{nobody}: nothing answers there; gateways only read while none answers"
