"""Faults: harm is done to the running program and its real parts, under load, and then the books are checked.

Each test starts the program as a user does, lets a ledger client send batches and drive an alert up and down, does its
harm in a seeded order, and waits for the end of it. `tests/parts/ordeal.py` then holds the store, the alerts and the
notifications against the ledger: lost 0, doubled 0, no answer but 200 and 503 with Retry-After, every alert once.

`TEST_FAULT_ROUNDS` says how often each harm is done (1; `make faults`: 50), `TEST_LONG_ROUNDS` how often those are that
last (1; 3), `TEST_SEED` in which order. How long they last: `TEST_LOCKED_S` (1; 30), `TEST_FROZEN_S` (2),
`TEST_OUTAGE_S` (4; 60). What takes a whole fleet, or very long, is in `at_length/`, which `make test` leaves out.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

HERE: Final = Path(__file__).parent


@pytest.fixture(scope="session")
def rounds() -> int:
    """How often each harm is done."""
    return int(os.environ.get("TEST_FAULT_ROUNDS", "1"))


@pytest.fixture(scope="session")
def long_rounds() -> int:
    """How often each harm is done that lasts."""
    return int(os.environ.get("TEST_LONG_ROUNDS", "1"))


@pytest.fixture(scope="session")
def seed() -> int:
    """Which order, and which moments."""
    return int(os.environ.get("TEST_SEED", "1"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this directory, so that `-m "not system"` leaves the quick tests."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("system")
