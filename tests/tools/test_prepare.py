from __future__ import annotations

import hashlib
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from tools import prepare

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def empty_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(prepare, "ROOT", tmp_path)
    monkeypatch.setattr(prepare, "TOOLS", tmp_path / ".tools")
    return tmp_path


def program(path: Path, says: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_a_uv_on_the_path_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uv = program(tmp_path / "bin/uv", "uv 0.13.9")
    monkeypatch.setenv("PATH", str(uv.parent))
    assert prepare.find_uv() == str(uv)


@pytest.mark.parametrize("says", ["uv 0.4.1", "pyenv: uv: command not found"])
def test_a_uv_that_is_too_old_or_does_not_run_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    monkeypatch.setenv("PATH", str(program(tmp_path / "bin/uv", says).parent))
    own = program(tmp_path / ".tools/uv/bin/uv", "uv 1.0.0")
    assert prepare.find_uv() == str(own)


def test_without_any_uv_none_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert prepare.find_uv() is None


def test_tensorflow_is_installed_for_who_asks_and_for_tests_and_never_removed_by_a_run() -> None:
    def command(*, dev: bool, deep: bool) -> str:
        return " ".join(prepare.sync_step("uv", dev=dev, deep=deep)[1])

    assert command(dev=False, deep=False) == "uv sync --frozen --no-dev --inexact"
    assert command(dev=False, deep=True) == "uv sync --frozen --no-dev --inexact --extra deep"
    assert command(dev=True, deep=False) == "uv sync --frozen --extra deep"


def test_a_step_that_fails_shows_the_end_of_its_output(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('the disk is full'); raise SystemExit(4)"]
    with pytest.raises(
        prepare.StepFailedError, match=r"(?s)getting ready: failed.*\.tools/ready\.log.*the disk is full"
    ):
        prepare.run_step("getting ready", command, "ready")


def test_a_step_that_takes_no_time_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    prepare.run_step("getting ready", [sys.executable, "-c", ""], "ready")
    assert capfd.readouterr() == ("", "")


def test_an_unknown_argument_is_wrong_usage(capfd: pytest.CaptureFixture[str]) -> None:
    assert prepare.main(["--develop"]) == 2
    assert "--develop" in capfd.readouterr().err


def test_something_else_in_the_place_of_pip_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.whl"
    other.write_bytes(b"not pip")
    monkeypatch.setattr(prepare, "PIP_URL", other.as_uri())
    with pytest.raises(prepare.StepFailedError, match="not what was asked for"):
        prepare.download_pip()


def test_what_was_asked_for_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "pip.whl"
    wheel.write_bytes(b"pip")
    monkeypatch.setattr(prepare, "PIP_URL", wheel.as_uri())
    monkeypatch.setattr(prepare, "PIP_SHA256", hashlib.sha256(b"pip").hexdigest())
    assert prepare.download_pip() == b"pip"


def test_no_network_is_a_sentence_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "PIP_URL", (tmp_path / "nowhere").as_uri())
    with pytest.raises(prepare.StepFailedError, match="apt-get install python3-pip"):
        prepare.download_pip()
