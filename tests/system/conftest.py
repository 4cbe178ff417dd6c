from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from tests.parts.program import ALONE, Program, run_quantum

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE: Final = Path(__file__).parent
UNHURRIED: Final = {
    "test_detect_command.py",
    "test_nab.py",
    "test_promql_against_prometheus.py",
    "test_replay_is_byte_equal.py",
}
"""What they find does not depend on what else the machine does, so they share it with the quick tests."""


@pytest.fixture
def quantum(tmp_path: Path) -> Iterator[Program]:
    """A program on a fresh data directory that collects this machine's metrics, as after `make run`."""
    with run_quantum(tmp_path / "data", tmp_path / "quantum.log") as program:
        yield program


@pytest.fixture
def quiet_quantum(tmp_path: Path) -> Iterator[Program]:
    """A program on a fresh data directory that knows only what a test sends."""
    with run_quantum(tmp_path / "data", tmp_path / "quantum.log", environment=ALONE) as program:
        yield program


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what has to have the machine for itself, so that `-m "not system"` leaves the rest, the longest first."""
    items.sort(key=lambda item: item.path.name not in UNHURRIED)
    for item in items:
        if item.path.is_relative_to(HERE) and item.path.name not in UNHURRIED:
            item.add_marker("system")
