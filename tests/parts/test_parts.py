from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.parts import need
from tests.parts.children import Child, free_port, start_child
from tests.parts.redis import run_redis

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parts.kafka import KafkaBroker


def test_a_part_on_the_path_is_found_without_installing_anything() -> None:
    assert need("sh").name == "sh"


def test_the_environment_can_name_another_executable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_PROMETHEUS", "/bin/sh")
    assert str(need("prometheus")) == "/bin/sh"


def test_a_wrong_name_in_the_environment_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_PROMETHEUS", "/nowhere/prometheus")
    with pytest.raises(pytest.fail.Exception, match="TEST_PROMETHEUS names /nowhere/prometheus"):
        need("prometheus")


def test_a_part_that_nobody_knows_fails_and_does_not_skip() -> None:
    with pytest.raises(pytest.fail.Exception, match="no Debian package is known"):
        need("quantum-no-such-part")


def test_a_free_port_can_be_listened_on() -> None:
    assert 0 < free_port() < 65_536


def test_a_child_that_dies_early_fails_with_its_log(tmp_path: Path) -> None:
    with (
        start_child(["sh", "-c", "echo out of luck; exit 3"], tmp_path / "log") as child,
        pytest.raises(pytest.fail.Exception, match=r"(?s)exited with 3.*out of luck"),
    ):
        child.wait_for_line("never said", timeout_s=10)


def test_a_line_of_the_log_is_waited_for(tmp_path: Path) -> None:
    with start_child(["sh", "-c", "echo ready at 9; exec sleep 60"], tmp_path / "log") as child:
        assert child.wait_for_line(r"ready at (\d+)", timeout_s=10).group(1) == "9"


def test_a_child_and_its_own_children_are_gone_afterwards(tmp_path: Path) -> None:
    with start_child(["sh", "-c", "sleep 60 & echo started; wait"], tmp_path / "log") as child:
        child.wait_for_line("started", timeout_s=10)
        assert child.members() >= 2
    deadline_s = time.monotonic() + 10
    while child.members() and time.monotonic() < deadline_s:
        time.sleep(0.02)  # a grandchild is reaped by another process, in its own time
    assert child.members() == 0


def test_a_killed_child_is_reaped(tmp_path: Path) -> None:
    with start_child(["sleep", "60"], tmp_path / "log") as child:
        child.kill()
        assert child.process.returncode == -9
        assert isinstance(child, Child)


def test_a_redis_answers_until_it_is_killed_and_again_after_a_start(tmp_path: Path) -> None:
    with run_redis(tmp_path) as server:
        assert server.answers()
        server.freeze()
        assert not server.answers()
        server.thaw()
        assert server.answers()
        server.kill()
        assert not server.answers()
        server.start()
        assert server.answers()
    assert not server.answers()


def test_a_kafka_answers_unless_it_is_frozen(kafka: KafkaBroker) -> None:
    assert kafka.answers()
    kafka.freeze()
    assert not kafka.answers()
    kafka.thaw()
    assert kafka.answers()
