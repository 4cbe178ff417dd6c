"""`quantum publish` as a user types it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from quantum.cli import run_command

if TYPE_CHECKING:
    from pathlib import Path

CSV = "timestamp,value\n2026-01-01T00:00:00Z,1.5\n2026-01-01T00:00:10Z,2.5\n"


@pytest.fixture(name="quantum")
def command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs one command on a data directory of its own; returns exit status, output and errors."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cpu.csv").write_text(CSV)

    def run(*arguments: str) -> tuple[int, str, str]:
        status = run_command([*arguments, "--data-dir", "data"])
        found = capsys.readouterr()
        return status, found.out, found.err

    return run


def test_it_says_how_far_publishing_has_come_and_where_it_begins_again(quantum: Any) -> None:
    assert quantum("publish") == (0, "nothing was published yet\n", "")
    quantum("import", "cpu.csv")
    status, said, _ = quantum("publish", "--after", "1")
    assert status == 0
    assert said.startswith("published again from the next start on: what comes after fact 1, of 20")
    assert quantum("publish")[1].startswith("published fact 1, of 20")
    status, said, _ = quantum("publish", "--from", "2020-01-01")
    assert (status, said.split(": ")[1]) == (0, "what comes after fact 0, of 1970-01-01T00:00:00.000+00:00\n")
    assert quantum("publish", "--after", "0")[1].endswith("fact 0, of 1970-01-01T00:00:00.000+00:00\n")


def test_it_refuses_what_makes_no_sense(quantum: Any) -> None:
    quantum("import", "cpu.csv")
    assert quantum("publish", "--after", "99")[::2] == (1, "quantum: there is no fact 99: the newest is 1\n")
    both = "quantum: --from and --after both say where to begin; give one of them\n"
    assert quantum("publish", "--after", "1", "--from", "2020-01-01")[::2] == (1, both)
    assert "neither an ISO 8601 time" in quantum("publish", "--from", "yesterday")[2]
