"""Bugs that are planted on purpose, each a wrong way to connect parts that are right: the judges have to find them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from tests.simulation.disk import Line, SimulatedEngine, SimulatedStore
from tests.simulation.world import Wiring

if TYPE_CHECKING:
    import sqlite3

    from quantum.adapters.memory import MemoryStream
    from quantum.application.ports import Delivery
    from quantum.domain.alerts import Effects
    from quantum.domain.facts import Fact

LATE_S: Final = 0.3


class HastyLine(Line):
    """Says that it has committed, and does so a moment later."""

    def execute(self, text: str, *values: Any) -> sqlite3.Cursor:
        if text.startswith("BEGIN"):
            self._commit_now()
        return super().execute(text, *values)

    def _commit(self) -> None:
        self._disk.loop.call_later(self._disk.loop.below(LATE_S), self._commit_now)

    def _commit_now(self) -> None:
        if self._disk.file.in_transaction:
            self._disk.file.execute("COMMIT")


class HastyEngine(SimulatedEngine):
    """Acknowledges before the commit."""

    line = HastyLine


class HastyStore(SimulatedStore):
    """Acknowledges before the commit."""

    engine = HastyEngine


class AcknowledgedBeforeCommit(Wiring):
    """Senders are answered before what they sent is durable."""

    store = HastyStore


class TalkativeStore(SimulatedStore):
    """Publishes a fact from within the transaction that appends it, which may fail yet."""

    stream: MemoryStream | None = None

    def _append(self, *arguments: Any) -> Fact:
        fact = super()._append(*arguments)
        if self.stream is not None:
            self.disk.loop.create_task(self.stream.publish([fact]))
        return fact


class PublishedBeforeCommit(Wiring):
    """Facts are published before they are durable."""

    store = TalkativeStore

    def built(self, workspace: Any) -> None:
        workspace.store().stream = workspace.stream()


class LateConclusions:
    """Says that conclusions are recorded, and records them a moment later, one after the other."""

    def __init__(self, store: SimulatedStore) -> None:
        self._loop, self._store = store.disk.loop, store
        self._last: asyncio.Task[None] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def record(self, effects: Effects, upto: int) -> None:
        self._last = asyncio.create_task(self._record(self._last, effects, upto))

    async def _record(self, before: asyncio.Task[None] | None, effects: Effects, upto: int) -> None:
        if before is not None:
            await asyncio.wait([before])
        await asyncio.sleep(self._loop.below(LATE_S))
        await self._store.record(effects, upto)


class SavedBeforeConclusions(Wiring):
    """A state is saved that knows what is not recorded yet, and so never will be after a crash."""

    def alerts(self, store: SimulatedStore) -> Any:
        return LateConclusions(store)


class SettledQueue:
    """Notes that notifications are sent when they are taken from it."""

    def __init__(self, store: SimulatedStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def due(self, now_ms: int, limit: int) -> list[Delivery]:
        found = await self._store.due(now_ms, limit)
        for one in found:
            await self._store.settle(replace(one, due_at_ms=None, outcome="sent"))
        return found


class SettledBeforeTold(Wiring):
    """Whoever dies between the two never tells anybody."""

    def queue(self, store: SimulatedStore) -> Any:
        return SettledQueue(store)


class RepeatingStore(SimulatedStore):
    """Forgets in which order notifications of an alert belong, and takes what failed to be new."""

    async def due(self, now_ms: int, limit: int) -> list[Delivery]:
        found = await super().due(now_ms, limit)
        return [*found, *found]


class ToldTwice(Wiring):
    """What is due is told twice, whether anybody died or not."""

    store = RepeatingStore


PLANTED: Final = (
    AcknowledgedBeforeCommit,
    PublishedBeforeCommit,
    SavedBeforeConclusions,
    SettledBeforeTold,
    ToldTwice,
)
