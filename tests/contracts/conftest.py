"""Every store that implements the ports, freshly made, and one that was told a story."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from tests.facts import Log, labels, new_pipeline, policy

from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.domain.facts import Heartbeat, PutPolicy, PutReceiver, WebhookReceiver
from quantum.domain.policies import Severity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from quantum.domain.alerts import Effects


@pytest.fixture(params=["memory", "file"])
def open_store(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Callable[[], AbstractAsyncContextManager[SqliteStore]]:
    """Return how to open the store; a file keeps what was written from one opening to the next."""
    path = MEMORY if request.param == "memory" else str(tmp_path / "quantum.db")

    @asynccontextmanager
    async def opened() -> AsyncIterator[SqliteStore]:
        async with SqliteStore(path) as store:
            yield store

    return opened


@pytest.fixture
async def store(open_store: Callable[[], AbstractAsyncContextManager[SqliteStore]]) -> AsyncIterator[SqliteStore]:
    async with open_store() as opened:
        yield opened


def story() -> list[Effects]:
    """Three hosts burn one after the other; one recovers; one only flickers."""
    log = Log()
    log.add(PutReceiver(WebhookReceiver(name="ops", url="http://x/"), 0, "me"))
    log.add(PutPolicy(policy(receivers=("ops",), for_ms=1000, severity=Severity.CRITICAL), 0, "me"))
    log.add(PutPolicy(policy("other", "disk"), 0, "me"))
    a, b, c = (labels("cpu", host=host) for host in "abc")
    for values in ((95.0, 1.0, 1.0), (95.0, 95.0, 1.0), (95.0, 95.0, 95.0), (1.0, 95.0, 1.0), (1.0, 95.0, 1.0)):
        log.send(dict(zip((a, b, c), values, strict=True)))
    log.add(Heartbeat(), 1000)
    pipeline = new_pipeline()
    return [pipeline.step(fact).effects for fact in log.facts]


@pytest.fixture
def told_effects() -> list[Effects]:
    return story()


@pytest.fixture
async def told(store: SqliteStore, told_effects: list[Effects]) -> SqliteStore:
    for position, effects in enumerate(told_effects, 1):
        await store.record(effects, position)
    return store
