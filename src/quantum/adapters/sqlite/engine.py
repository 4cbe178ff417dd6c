"""The connection to one SQLite file: one writer thread with group commit, a few readers, nothing on the event loop.

Requests that wait while a transaction commits share the next one: each caller is answered after *its* commit, and a
failed transaction undoes what its requests changed in memory. SQLite runs with a write-ahead log and
`synchronous=FULL`: a commit that was answered survives the loss of the process and of power.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import queue
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from quantum.adapters.fact_tail import Undo
from quantum.adapters.sqlite.schema import migrate
from quantum.domain.errors import Overloaded, QuantumError, StorageFull, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

T = TypeVar("T")

MAX_WAITING: Final = 1024
MAX_SHARED: Final = 64
"""How many requests may share one commit."""
READERS: Final = 3
BUSY_TIMEOUT_S: Final = 5.0
FULL: Final = 2
CLOSED: Final = "the store is closed"
MEMORY: Final = ":memory:"


BEGIN: Final = "BEGIN IMMEDIATE"


class Around(NamedTuple):
    """Statements before a job of a transaction, after it is done, and after it was refused."""

    before: tuple[str, ...]
    done: tuple[str, ...]
    refused: tuple[str, ...]


TOGETHER: Final = Around(("SAVEPOINT job",), ("RELEASE job",), ("ROLLBACK TO job",))
ALONE: Final = Around((), (), ("ROLLBACK", BEGIN))
"""With every statement the thread lets go of the interpreter and has to get it again, so one job has none around it."""


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work in the writer's transaction and the future that its caller waits for."""

    work: Callable[[sqlite3.Connection, Undo], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class Engine:
    """Runs work on a database file, or in memory for `:memory:`."""

    def __init__(self, path: str, catch_up: Callable[[sqlite3.Connection], None] = lambda _: None) -> None:
        """Take a path, and what brings the memory from what it knows to what is committed.

        It is called when it is not known whether a commit happened; what failed transactions changed in memory was
        undone before.
        """
        self.path = path
        self._catch_up = catch_up
        self._is_stale = False
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="sqlite-reader")
        self._writer = threading.Thread(target=self._write_for_ever, name="sqlite-writer", daemon=True)
        self._local = threading.local()
        self._reading: list[sqlite3.Connection] = []
        self._lock_file: int | None = None
        self._opened = threading.Event()
        self._connection: sqlite3.Connection

    async def __aenter__(self) -> Self:
        """Open, or create, the database; refuse one that another process has open."""
        await asyncio.to_thread(self._open)
        self._opened.set()
        self._writer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Finish what waits, then close."""
        await asyncio.to_thread(self._close)

    def _open(self) -> None:
        if self.path != MEMORY:
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            self._lock()
            self._create()
        with _translated(f"{self.path} cannot be opened"):
            self._connection = self._connect()
            migrate(self._connection)

    def _create(self) -> None:
        """Let a new database be nobody else's to read: it has receivers' secrets. SQLite's other files follow it."""
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))

    def _lock(self) -> None:
        self._lock_file = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.read(self._lock_file, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._lock_file)
            raise Unavailable(f"{self.path} is in use by another Quantum (process {owner}); stop it first") from None
        os.ftruncate(self._lock_file, 0)
        os.write(self._lock_file, str(os.getpid()).encode())

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, isolation_level=None, timeout=BUSY_TIMEOUT_S, check_same_thread=False, cached_statements=256
        )
        if self.path != MEMORY:
            # before anything is in the file, or it has no effect: then its empty pages can be given back
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            if connection.execute("PRAGMA synchronous").fetchone()[0] != FULL:
                raise Unavailable(f"{self.path} does not keep synchronous=FULL, so commits could be lost")
        return connection

    def _close(self) -> None:
        self._jobs.put(None)
        self._writer.join()
        self._readers.shutdown()
        # the last connection that is closed empties the write-ahead log and deletes it: otherwise it stays, megabytes
        for reader in self._reading:
            reader.close()
        self._connection.close()
        if self._lock_file is not None:
            os.close(self._lock_file)

    # ---- writing ----------------------------------------------------------------------------------------------

    async def write(self, work: Callable[[sqlite3.Connection, Undo], T]) -> T:
        """Run work inside a transaction of the writer; return its result once that is committed.

        Raises:
            Overloaded: `MAX_WAITING` requests wait already.
            Unavailable: the database did not take it; what the work changed in memory was undone.
        """
        if not self._opened.is_set():
            raise Unavailable(CLOSED)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if self._jobs.qsize() >= MAX_WAITING:
            raise Overloaded(f"{MAX_WAITING} writes wait for the store already")
        self._jobs.put(Job(work, future, loop))
        if not self._opened.is_set():  # it was closed in between, and nobody looks at the queue any more
            self._refuse_waiting()
        return await future

    def _refuse_waiting(self) -> None:
        with suppress(queue.Empty):
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    _answer(job, None, Unavailable(CLOSED))

    def _write_for_ever(self) -> None:
        while (job := self._jobs.get()) is not None:
            jobs = [job]
            with suppress(queue.Empty):
                while len(jobs) < MAX_SHARED:
                    following = self._jobs.get_nowait()
                    if following is None:
                        self._jobs.put(None)
                        break
                    jobs.append(following)
            self._commit(jobs)
        self._opened.clear()
        self._refuse_waiting()

    def _commit(self, jobs: list[Job]) -> None:
        undo, results = Undo(), list[tuple[Job, object, Exception | None]]()
        try:
            with _translated("the store did not take the write"):
                self._connection.execute(BEGIN)
                if self._is_stale:
                    self._catch_up(self._connection)
                    self._is_stale = False
                for job in jobs:
                    results.append(self._attempt(job, undo, ALONE if len(jobs) == 1 else TOGETHER))
                self._is_stale = True  # until it is known that the commit happened
                self._connection.execute("COMMIT")
                self._is_stale = False
            undo.conclude()
        except Unavailable as failure:
            undo.run()
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            results = [(job, None, failure) for job in jobs]
        for job, result, error in results:
            _answer(job, result, error)

    def _attempt(self, job: Job, undo: Undo, around: Around) -> tuple[Job, object, Exception | None]:
        """Run one job; a refusal is its own, an error of the database is everybody's."""
        before = len(undo)
        self._execute(around.before)
        try:
            result = job.work(self._connection, undo)
        except sqlite3.Error:
            raise
        except Exception as refusal:  # noqa: BLE001 - carried to the caller, whose work it was
            undo.run(before)
            self._execute(around.refused)
            return job, None, refusal
        self._execute(around.done)
        return job, result, None

    def _execute(self, statements: tuple[str, ...]) -> None:
        for statement in statements:
            self._connection.execute(statement)

    # ---- reading ----------------------------------------------------------------------------------------------

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run work on a reader's connection, which sees one moment, after everything that was committed before."""
        if self.path == MEMORY:
            return await self.write(lambda connection, _: work(connection))
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with _translated("the store did not answer"):
            connection = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = self._connect()
                self._reading.append(connection)
            connection.execute("BEGIN")
            try:
                return work(connection)
            finally:
                connection.execute("ROLLBACK")

    def run_now(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run work on the writer's connection from the opening thread, before anything else uses it."""
        with _translated(f"{self.path} cannot be read"):
            return work(self._connection)


class _translated:  # noqa: N801 - reads as a verb in a with statement
    """Turns the driver's errors into ours, with a sentence before them."""

    def __init__(self, sentence: str) -> None:
        self._sentence = sentence

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise StorageFull(f"{self._sentence}: its disk is full; make room, then all goes on by itself") from error
        if isinstance(error, sqlite3.Error | OSError) and not isinstance(error, QuantumError):
            raise Unavailable(f"{self._sentence}: {error}") from error


def _answer(job: Job, result: object, error: Exception | None) -> None:
    def settle() -> None:
        if job.future.cancelled():
            return
        if error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)

    with suppress(RuntimeError):  # the caller's loop is gone, and with it the caller
        job.loop.call_soon_threadsafe(settle)
