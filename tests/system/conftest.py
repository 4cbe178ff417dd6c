from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from tests.parts.program import ALONE, Program, run_quantum

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE: Final = Path(__file__).parent


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
    """Mark everything in this directory, so that `-m "not system"` leaves the quick tests."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("system")
