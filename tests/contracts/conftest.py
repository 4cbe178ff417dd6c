"""Every store that implements the ports, freshly made, and one that was told a story."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.facts import Log, labels, new_pipeline, policy
from tests.stores import store_maker

from quantum.domain.facts import Heartbeat, PutPolicy, PutReceiver, WebhookReceiver
from quantum.domain.policies import Severity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.stores import Store

    from quantum.domain.alerts import Effects

    OpenStore = Callable[[], Store]


@pytest.fixture
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], OpenStore]:
    """Return how to have a new store of a kind; opened again, it has what was written, except in memory."""

    def new(kind: str) -> OpenStore:
        url = request.getfixturevalue("postgres_url") if kind == "postgres" else ""
        return store_maker(kind, str(tmp_path), url)

    return new


@pytest.fixture(params=["memory", "file", "postgres"])
def open_store(request: pytest.FixtureRequest, new_store: Callable[[str], OpenStore]) -> OpenStore:
    return new_store(request.param)


@pytest.fixture
async def store(open_store: OpenStore) -> AsyncIterator[Store]:
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
async def told(store: Store, told_effects: list[Effects]) -> Store:
    for position, effects in enumerate(told_effects, 1):
        await store.record(effects, position)
    return store
