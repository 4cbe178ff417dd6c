"""Who follows a log that another process writes knows what that one knows, beside what detectors say."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.application.test_monitoring import CODEC, KEEP_MS, System, running
from tests.facts import START_MS, full_match, labels, policy

from quantum.adapters.memory import ManualClock, MemoryFeed, MemoryStream
from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.application.following import FOLLOW_MS, Mirror
from quantum.application.monitoring import Monitor
from quantum.domain.detectors.elsewhere import Unscored
from quantum.domain.errors import Conflict, NotFound
from quantum.domain.facts import DeletePolicy, IssueApiKey, PutPolicy, PutReceiver, RevokeApiKey, WebhookReceiver
from quantum.domain.labels import MatcherCompiler
from quantum.domain.pipeline import Pipeline

if TYPE_CHECKING:
    from quantum.domain.facts import Command

CPUS: Final = [labels("cpu", host=host) for host in "abc"]
COMMANDS: Final[list[Command]] = [
    PutPolicy(policy("hot"), 0, "me"),
    DeletePolicy("hot", None, "me"),
    PutReceiver(WebhookReceiver(name="ops", url="http://ops/"), 0, "me"),
    IssueApiKey("k1", "agent", bytes(32), ("ingest",), None, "me"),
    RevokeApiKey("k1", "me"),
]


def unscored() -> Pipeline:
    return Pipeline(Unscored("jump", 1), MatcherCompiler(full_match))


def mirror_of(system: System) -> tuple[Mirror, Monitor]:
    store, clock = system.store, system.clock

    async def nothing_to_do() -> None:
        """In one process the store knows what was committed."""

    monitor = Monitor(store, store, store, store, MemoryStream(), MemoryFeed(), clock, unscored, CODEC, KEEP_MS)
    return Mirror(store, nothing_to_do, monitor, clock), monitor


def known(monitor: Monitor) -> dict[str, Any]:
    pipeline, columns = monitor.pipeline, monitor.pipeline.newest.columns
    return {
        "position": pipeline.position,
        "labels": pipeline.labels,
        "policies": pipeline.catalog.policies,
        "receivers": pipeline.catalog.receivers,
        "keys": (pipeline.keys.keys, monitor.keys.ring.keys),
        "newest": [columns[name][: len(pipeline.labels)].tobytes() for name in ("at_ms", "value")],
        "heard": pipeline.presence.newest_ms().tolist(),
        "firing": pipeline.firing,
    }


steps = st.one_of(
    st.sampled_from(COMMANDS),
    st.dictionaries(st.sampled_from(CPUS), st.sampled_from([1.0, 85.0, 95.0]), min_size=1),
    st.sampled_from(["follow", "save", "begin anew"]),
)


@settings(max_examples=40)
@given(st.lists(steps, max_size=12))
def test_a_mirror_knows_what_the_writer_knows_wherever_it_begins(story: list[Any]) -> None:
    async def tell() -> None:
        async with SqliteStore(MEMORY) as store, running(store, ManualClock(START_MS)) as system:
            mirror, monitor = mirror_of(system)
            await mirror.open()
            for step in story:
                match step:
                    case "follow":
                        await mirror.follow()
                    case "save":
                        await system.monitor._seal()
                        await system.monitor._save(is_sealed=True)
                    case "begin anew":
                        mirror, monitor = mirror_of(system)
                        await mirror.open()
                    case dict():
                        await system.send(step)
                    case command:
                        with suppress(Conflict, NotFound):
                            await system.control.submit(command)
            await mirror.follow()
            assert known(monitor) == known(system.monitor)

    asyncio.run(tell())


async def test_a_mirror_looks_again_every_moment() -> None:
    async with SqliteStore(MEMORY) as store, running(store) as system:
        mirror, monitor = mirror_of(system)
        await mirror.open()
        await system.send({CPUS[0]: 1.0})
        following = asyncio.create_task(mirror.run_once())
        await asyncio.sleep(0)
        assert len(monitor.pipeline.labels) == 0
        system.clock.advance(FOLLOW_MS)
        await following
        assert list(monitor.pipeline.labels.values()) == [CPUS[0]]


async def test_a_mirror_that_is_behind_what_was_forgotten_begins_at_a_checkpoint() -> None:
    async with SqliteStore(MEMORY) as store, running(store) as system:
        mirror, monitor = mirror_of(system)
        await mirror.open()
        await system.send({CPUS[0]: 1.0})
        await system.monitor._seal()
        await store.save(system.monitor.pipeline.position, CODEC.pack(system.monitor.pipeline.dump()), START_MS)
        await store.merge()
        await store.forget(system.monitor.pipeline.position)
        await system.send({CPUS[1]: 2.0})
        with pytest.raises(NotFound):
            await store.read(monitor.pipeline.position, 1)
        await mirror.follow()
        assert known(monitor) == known(system.monitor)


def test_nothing_is_expected_of_what_nobody_scores() -> None:
    scores = Unscored("jump", 1).score_and_learn(np.arange(3), np.arange(3), np.ones(3))
    assert scores.score.tolist() == [0.0] * 3
    assert np.isnan([scores.expected, scores.lower, scores.upper]).all()
