"""The embedded store without threads and files: the real statements and commits, on a disk that may fail.

What was committed survives a life; nothing else does. A statement that begins or ends a transaction may fail, and of a
commit that fails nobody hears whether it happened. The writer takes what waits when its turn comes, as its thread does.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Self

from quantum.adapters.sqlite import SqliteStore
from quantum.adapters.sqlite.engine import MAX_SHARED, Engine
from quantum.adapters.sqlite.schema import migrate
from quantum.domain.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.loop import SimulatedLoop

    from quantum.adapters.sqlite.engine import Job
    from quantum.domain.facts import Fact

LONGEST_TURN_S: Final = 0.02
"""So long a write waits at most for the writer."""


@cache
def _empty() -> bytes:
    """Return a database with the tables and nothing in them."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    return connection.serialize()


class Disk:
    """What is left of a process that died.

    Attributes:
        trouble: how likely it is that the beginning or the end of a transaction fails.
        is_away: whether every transaction fails now.
        forgotten: facts that the store forgot, as they were.
    """

    def __init__(self, loop: SimulatedLoop) -> None:
        self.loop = loop
        self.trouble = 0.0
        self.is_away = False
        self.unheard = 0
        self.forgotten: list[Fact] = []
        self.file = sqlite3.connect(":memory:", isolation_level=None, cached_statements=512)
        self.file.deserialize(_empty())

    def lose_power(self) -> None:
        """Lose what is not committed."""
        if self.file.in_transaction:
            self.file.execute("ROLLBACK")


class Line:
    """The connection of one life to the disk."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.executemany = disk.file.executemany

    def execute(self, text: str, *values: Any) -> sqlite3.Cursor:
        """Run a statement, or fail."""
        if text == "COMMIT":
            self._commit()
        elif text.startswith("BEGIN") and self._fails():
            raise sqlite3.OperationalError("disk I/O error")
        return self._disk.file.execute(text, *values) if text != "COMMIT" else self._disk.file.execute("SELECT 1")

    def _fails(self) -> bool:
        return self._disk.is_away or self._disk.loop.chance(self._disk.trouble)

    def _commit(self) -> None:
        fails = self._fails()
        if not fails or self._disk.loop.chance(0.5):
            self._disk.file.execute("COMMIT")
        if fails:
            self._disk.unheard += 1
            raise sqlite3.OperationalError("disk I/O error")

    def close(self) -> None:
        """Leave the disk to the next life."""


class Waiting:
    """The queue of the writer: whatever comes makes a turn of it due."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._jobs: deque[Job | None] = deque()
        self._wake = wake

    def put(self, job: Job | None) -> None:
        self._jobs.append(job)
        self._wake()

    def qsize(self) -> int:
        return len(self._jobs)

    def get_nowait(self) -> Job | None:
        return self._jobs.popleft()

    def share(self) -> list[Job]:
        """Return those that share the next commit."""
        jobs = [job for job in self._jobs if job is not None][:MAX_SHARED]
        for job in jobs:
            self._jobs.remove(job)
        return jobs


class SimulatedEngine(Engine):
    """The engine, whose writer and readers are steps of the loop."""

    line: type[Line] = Line

    def __init__(self, disk: Disk, path: str, catch_up: Callable[[sqlite3.Connection], None]) -> None:
        super().__init__(path, catch_up)
        self._disk = disk
        self._waiting = Waiting(self._wake)
        self._jobs = self._waiting  # type: ignore[assignment] # all that the engine asks of a queue
        self._connection = self._local.connection = self.line(disk)  # type: ignore[assignment] # likewise

    async def __aenter__(self) -> Self:
        """Open what is on the disk."""
        if self._disk.is_away:
            raise Unavailable("the disk is away")
        self._opened.set()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Finish what waits, then close."""
        while self._waiting.qsize():
            self._turn()
        self._opened.clear()
        self._readers.shutdown()

    def _wake(self) -> None:
        self._disk.loop.call_later(self._disk.loop.below(LONGEST_TURN_S), self._turn)

    def _turn(self) -> None:
        if jobs := self._waiting.share():
            self._commit(jobs)


class SimulatedStore(SqliteStore):
    """The embedded store on a simulated disk; it keeps for the judges what it is told to forget."""

    engine: type[SimulatedEngine] = SimulatedEngine

    def __init__(self, disk: Disk) -> None:
        super().__init__("simulated", engine=lambda path, catch_up: self.engine(disk, path, catch_up))
        self.disk = disk

    async def forget(self, upto: int, samples_from_ms: Any = None) -> None:
        """See SampleStore."""
        known = len(self.disk.forgotten)
        while known < upto:
            facts = await self.read(known, 100_000)
            self.disk.forgotten += [fact for fact in facts if known < fact.position <= upto]
            known = len(self.disk.forgotten)
        await super().forget(upto, samples_from_ms)
