"""The connections to one PostgreSQL database: one writer with group commit under a lease, and a pool of readers.

Requests that wait while a transaction commits share the next one; each caller is answered after *its* commit. When a
transaction fails, what its requests changed in memory is undone, and because a lost connection does not tell whether
the commit happened, the memory catches up with the database inside the next transaction. That one begins by updating
the lease, and so waits for whatever the lost one still does.

However many requests share a transaction, it takes two journeys to the server: one for the lease, one for everything
else with the commit.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg
from psycopg import AsyncConnection, errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from quantum.adapters.fact_tail import Undo
from quantum.adapters.postgres.lease import FORGETFUL, LEASE_MS, Lease, refuse_if_forgetful, this_process
from quantum.adapters.postgres.reigns import GoneBack, Sight
from quantum.adapters.postgres.schema import STEPS, make_guards, take_steps, taken_steps
from quantum.adapters.postgres.statements import Connection, fetch
from quantum.adapters.postgres.walls import look_at_walls, put_up_walls
from quantum.application.scoring import Writer
from quantum.domain.errors import Overloaded, QuantumError, StorageFull, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

MAX_WAITING: Final = 1024
MAX_SHARED: Final = 64
"""How many requests may share one commit."""
READERS: Final = 4
ATTEMPTS: Final = 6
"""How often a transaction is tried that the database asks to repeat."""
FIRST_PAUSE_S: Final = 0.01
GOODBYE_S: Final = 5.0
RECONNECT_FOR_S: Final = 2.0
"""How long the readers' pool tries by itself: its pauses double, so it finds a database late that was long away."""
ONE_MOMENT: Final = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
"""All statements of a reader see the same moment."""
LESSER: Final = (
    "the database has gone back: no fact is missing, but what was concluded from the last ones; this Quantum ends, and"
    " concludes it again when it is started"
)
ENCODING: Final = "UTF8"
SCHEMA: Final = ""
"""The tenant whose lease guards the schema."""
NETWORK: Final = {
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "application_name": "quantum",
}
"""A server that is gone is noticed within seconds; the address may say otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long is waited.

    Attributes:
        lease_ms: how long a writer that does not answer keeps others out.
        start_ms: at a start, for another process to let go of the tenant.
        answer_s: for one transaction.
        reader_s: for a connection to read with.
        away_s: between two attempts to reach a database that is away; meanwhile everybody is refused at once.
    """

    lease_ms: int = LEASE_MS
    start_ms: int = 20_000
    answer_s: float = 30.0
    reader_s: float = 5.0
    away_s: float = 0.25


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work in the writer's transaction and the future that its caller waits for.

    Attributes:
        asks: the work only looks at the memory.
        writes: the work may change what is stored, and not only renew the lease.
    """

    work: Callable[[Connection, Undo], Awaitable[Any]]
    future: asyncio.Future[Any]
    asks: bool = False
    writes: bool = True


class _RefusedError(Exception):
    """One job's own error: the others are to be done without it."""

    def __init__(self, job: Job, error: Exception) -> None:
        super().__init__()
        self.job = job
        self.error = error


class _AgainError(Unavailable):
    """The database asks to repeat the transaction."""


class _ReplacedError(Unavailable):
    """Another process has taken the lease over."""


class _BadValueError(Unavailable):
    """The database refuses what one of the jobs writes."""


class Engine:
    """Runs work on one tenant of a database.

    Attributes:
        replaced: set soon after another process has taken the lease over, or the database has gone back; nothing can
            be written from then on.
        ending: why, in a sentence; empty until then.
        sight: what this process has seen of the log.
    """

    def __init__(self, url: str, tenant: str, patience: Patience | None = None, sight: Sight | None = None) -> None:
        self.replaced = asyncio.Event()
        self.ending = ""
        self.sight = sight or Sight(tenant)
        self._reached: Callable[[], tuple[int, int]]
        self._committed: tuple[int, int] | None = None
        self._url = url
        self._patience = patience or Patience()
        self._lease = Lease(tenant, this_process(), self._patience.lease_ms)
        self._jobs: asyncio.Queue[Job | None]
        self._connection: Connection | None = None
        self._stale = True
        self._away = ""
        self._search: asyncio.Task[None] | None = None
        self._catch_up: Callable[[Connection], Awaitable[None]]
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._pool: AsyncConnectionPool[Connection]

    @property
    def writer(self) -> Writer:
        """This process, as the writer of the tenant that it is since `open`."""
        return Writer(self._lease.epoch, self._lease.holder)

    async def open(
        self, catch_up: Callable[[Connection], Awaitable[None]], reached: Callable[[], tuple[int, int]]
    ) -> None:
        """Connect, bring the schema up to date, become the only writer of the tenant, and fill the memory.

        Args:
            catch_up: brings the memory from what it knows to what is committed. What failed transactions changed in
                memory was undone before; it may be interrupted and called again.
            reached: position and time of the newest fact that the memory has.

        Raises:
            GoneBack: the database lacks what this process or the one before it has seen.
            Unavailable: that did not succeed; the message says why.
        """
        await asyncio.to_thread(self.sight.recall)
        self._catch_up, self._reached = catch_up, reached
        self._jobs = asyncio.Queue(MAX_WAITING)
        self._connection = await connect(self._url)
        try:
            await _repeated(partial(self._take_over, self._connection))
            self._pool = _new_pool(self._url, self._patience.reader_s)
            await self._pool.open()
        except BaseException:
            await self._drop()
            raise
        self._tasks = tuple(asyncio.create_task(run()) for run in (self._write_for_ever, self._renew_for_ever))
        try:
            await self.write(self._begin)
        except BaseException:
            await self.close()
            raise

    async def _take_over(self, connection: Connection) -> None:
        with translated("the database cannot be opened"):
            await migrate(connection, self._patience)
            self._lease.opening = (await look_at_walls(connection)).opening
            await self._look(connection)
            await self._lease.acquire(connection, self._patience.start_ms, self._look_and_keep)
            await self._lease.count(connection)

    async def _look(self, connection: Connection) -> None:
        await self._lease.aside(connection, self.sight.look)

    async def _look_and_keep(self, connection: Connection) -> None:
        await self.sight.look(connection)
        with suppress(Unavailable):  # to wait is possible without the file; once it writes, the process complains
            await self.sight.keep()

    async def _begin(self, connection: Connection, _: Undo) -> None:
        await self.sight.begin(connection, self._lease.epoch, self._lease.holder)

    async def open_for_reading(self) -> None:
        """Connect without a lease: only `read` can be used then. Waits for the database, as `open` does for a lease.

        Raises:
            Unavailable: it does not answer, or another release made its schema.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._patience.start_ms / 1000
        while True:
            try:
                self._lease.opening = await _opening_of(self._url)
                break
            except Unavailable:
                if loop.time() >= deadline_s:
                    raise
                await asyncio.sleep(self._patience.away_s)
        self._pool = _new_pool(self._url, self._patience.reader_s)
        await self._pool.open()

    async def close_for_reading(self) -> None:
        """Close what `open_for_reading` opened."""
        if self._search is not None:
            self._search.cancel()
            await asyncio.gather(self._search, return_exceptions=True)
        await self._drop()
        await self._pool.close()

    async def close(self) -> None:
        """Finish what waits, let go of the lease, close."""
        writer, renewer = self._tasks
        renewer.cancel()
        if self._search is not None:
            self._search.cancel()
            await asyncio.gather(self._search, return_exceptions=True)
        await self._jobs.put(None)
        await asyncio.gather(writer, renewer, return_exceptions=True)
        if self._connection is not None:
            with suppress(psycopg.Error, TimeoutError):
                async with asyncio.timeout(GOODBYE_S):
                    await self._lease.release(self._connection)
        await self._drop()
        await self._pool.close()

    # ---- writing ----------------------------------------------------------------------------------------------

    async def write(self, work: Callable[[Connection, Undo], Awaitable[T]]) -> T:
        """Run work inside a transaction of the writer; return its result once that is committed.

        The work may run more than once: what it changed in memory is undone before it runs again.

        Raises:
            Overloaded: `MAX_WAITING` requests wait already.
            Unavailable: the database did not take it, or did not say so.
        """
        return await self._enqueue(work)

    async def ask(self, look: Callable[[], T]) -> T:
        """Return what the memory says after everything that was asked to be written before.

        Raises:
            Overloaded: `MAX_WAITING` requests wait already.
            Unavailable: the memory has to catch up with the database, which does not answer.
        """

        async def work(_: Connection, __: Undo) -> T:
            return look()

        return await self._enqueue(work, asks=True)

    async def _enqueue(
        self, work: Callable[[Connection, Undo], Awaitable[T]], *, asks: bool = False, writes: bool = True
    ) -> T:
        if not self._tasks:
            raise Unavailable("this process only reads; what is to be written is for the one that writes")
        if self._tasks[0].done():
            raise Unavailable("the store is closed")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        try:
            self._jobs.put_nowait(Job(work, future, asks, writes))
        except asyncio.QueueFull:
            raise Overloaded(f"{MAX_WAITING} writes wait for the store already") from None
        return await future

    async def _write_for_ever(self) -> None:
        while (job := await self._jobs.get()) is not None:
            jobs = [job]
            while len(jobs) < MAX_SHARED and not self._jobs.empty():
                following = self._jobs.get_nowait()
                if following is None:
                    self._jobs.put_nowait(None)
                    break
                jobs.append(following)
            await self._serve(jobs)
        while not self._jobs.empty():
            if (late := self._jobs.get_nowait()) is not None:
                _fail([late], Unavailable("the store is closed"))

    async def _renew_for_ever(self) -> None:
        while not self.replaced.is_set():
            await asyncio.sleep(self._patience.lease_ms / 3000)
            try:
                await self._enqueue(_nothing, writes=False)
            except Unavailable:
                continue  # the next write says it to somebody

    async def _serve(self, jobs: list[Job]) -> None:
        """Do some jobs in one transaction and answer them; if one of them spoils it, the others in another."""
        try:
            results = await self._commit(jobs)
        except _RefusedError as refused:
            _fail([refused.job], refused.error)
            if others := [job for job in jobs if job is not refused.job]:
                await self._serve(others)
        except _BadValueError as bad:
            if len(jobs) == 1:
                _fail(jobs, bad)
                return
            for job in jobs:
                await self._serve([job])
        except Exception as failure:  # noqa: BLE001 - carried to the callers
            _fail(jobs, failure)
        else:
            for job, result in zip(jobs, results, strict=True):
                if not job.future.done():
                    job.future.set_result(result)

    async def _commit(self, jobs: list[Job]) -> list[Any]:
        return await _repeated(lambda: self._attempt(jobs))

    async def _attempt(self, jobs: list[Job]) -> list[Any]:
        undo = Undo()
        try:
            if not self._stale and all(job.asks for job in jobs):
                return [await job.work(self._connection, undo) for job in jobs]  # type: ignore[arg-type] # not used
            with translated("the store did not take the write", self._lease.tenant):
                async with asyncio.timeout(self._patience.answer_s) as limit:
                    results = await self._transact(jobs, undo, limit)
        except _ReplacedError as refusal:
            undo.run()
            await self._roll_back()
            raise await self._end(refusal) from refusal
        except BaseException:
            undo.run()
            await self._roll_back()
            raise
        undo.conclude()
        self._stale = False
        self._committed = self._reached()
        return results

    async def _transact(self, jobs: list[Job], undo: Undo, limit: asyncio.Timeout) -> list[Any]:
        connection = await self._connected()
        async with connection.pipeline():
            await connection.execute(b"BEGIN")  # the driver's own would wait for its answer
            await self._say_whose(connection)
            # what is caught up with may be told to somebody without another write: so it has to be counted here
            writes = self._stale or any(job.writes and not job.asks for job in jobs)
            number = await self._lease.fence(connection, writes=writes)
            await self._be_up_to_date(connection, limit)
            results = [await _run(job, connection, undo) for job in jobs]
            commit = await connection.execute(b"COMMIT")
        if commit.statusmessage != "COMMIT":
            raise Unavailable("the database rolled the transaction back")
        self._lease.written = number
        return results

    async def _end(self, refusal: _ReplacedError) -> Unavailable:
        """Find out why the lease is not ours any more, and let the process end of it; return what to tell callers.

        A replica that took over before it had everything is told from another writer by the lease it has: our own, or
        that of one before us.
        """
        ending: Unavailable = refusal
        try:
            with translated("it is not known yet why the database refuses writes"):
                self._see()
                connection = await self._connected()
                if not await self._lease.is_anothers(connection):
                    gap = await self._lease.aside(connection, self.sight.compare)
                    ending = GoneBack(str(gap) if gap else LESSER)
        except Unavailable as failure:
            return failure
        self.ending = str(ending)
        self.replaced.set()
        return ending

    def _see(self) -> None:
        if self._committed is not None:
            self.sight.reach(*self._committed)

    async def keep_sight(self) -> None:
        """Keep how far the log is known to be committed; the database is not asked, so it may be away.

        Raises:
            Unavailable: the file cannot be written.
        """
        self._see()
        await self.sight.keep()

    async def _say_whose(self, connection: Connection) -> None:
        """Say whose the transaction is that begins, so that the database shows it no others' rows."""
        if self._lease.opening is not None:
            await connection.execute(self._lease.opening.encode(), (self._lease.tenant,))

    async def _connected(self) -> Connection:
        self._refuse_while_away()
        if self._connection is None:
            try:
                self._connection = await connect(self._url)
            except Unavailable as failure:
                self._note_away(failure)
                raise
        return self._connection

    async def _be_up_to_date(self, connection: Connection, limit: asyncio.Timeout) -> None:
        """Bring the memory up to what is committed, in a transaction that nobody can overtake."""
        if self._stale:
            limit.reschedule(None)  # a million series take their time, at a start
            await self._catch_up(connection)
            limit.reschedule(asyncio.get_running_loop().time() + self._patience.answer_s)
        self._stale = True  # until the commit is known

    async def _roll_back(self) -> None:
        if self._connection is None:
            return
        with suppress(psycopg.Error, TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await self._connection.rollback()
        if self._connection.closed or self._connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            await self._drop()

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    # ---- reading ----------------------------------------------------------------------------------------------

    async def read(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run work on a reader's connection, which sees one moment, after everything that was committed before.

        Raises:
            Unavailable: the database does not answer, or all readers are busy.
        """
        return await _repeated(lambda: self._read_patiently(work))

    async def _read_patiently(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        self._refuse_while_away()
        try:
            return await self._read(work)
        except _AgainError:
            raise
        except Unavailable as failure:
            if isinstance(failure.__cause__, TimeoutError):
                raise
            await self._try_to_connect()
            if isinstance(failure.__cause__, PoolTimeout):
                raise
        await self._pool.check()  # after a restart of the server every connection is dead
        return await self._read(work)

    async def alone(self, work: Callable[[Connection], Awaitable[None]]) -> None:
        """Run work that belongs into no transaction, on a connection of its own, however long it takes.

        Raises:
            Unavailable: the database did not do it.
        """
        self._refuse_while_away()
        connection = await connect(self._url)
        try:
            with translated("the store did not do its upkeep"):
                await work(connection)
        finally:
            await connection.close()

    async def _try_to_connect(self) -> None:
        """Find out whether the database is away or only busy."""
        try:
            await (await connect(self._url)).close()
        except Unavailable as failure:
            self._note_away(failure)
            raise

    # ---- while the database is away -----------------------------------------------------------------------------

    def _refuse_while_away(self) -> None:
        if self._away:
            raise Unavailable(self._away)

    def _note_away(self, failure: Unavailable) -> None:
        """Refuse everybody at once from now on, until a search has found the database again."""
        self._away = str(failure)
        if self._search is None or self._search.done():
            self._search = asyncio.create_task(self._search_for_it())

    async def _search_for_it(self) -> None:
        while True:
            await asyncio.sleep(self._patience.away_s)
            with suppress(Unavailable):
                found = await connect(self._url)
                break
        if self._connection is None:
            self._connection = found
        else:
            await found.close()
        self._away = ""

    async def _read(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        with translated("the store did not answer"):
            async with asyncio.timeout(self._patience.answer_s), self._pool.connection() as connection:
                async with connection.pipeline():
                    await connection.execute(ONE_MOMENT)
                    await self._say_whose(connection)
                    result = await work(connection)
                    await connection.execute(b"COMMIT")
                return result


async def connect(url: str) -> Connection:
    """Return a connection that commits by itself, to a database that keeps any text, and what it has committed.

    Raises:
        Unavailable: there is none to be had.
    """
    with translated("the database cannot be reached"):
        connection = await AsyncConnection.connect(with_defaults(url), autocommit=True, prepare_threshold=None)
        try:
            _refuse_encodings(connection.info.parameter_status("server_encoding"))
            refuse_if_forgetful((await fetch(connection, "SHOW synchronous_commit"))[0][0])
        except BaseException:
            await connection.close()
            raise
        return connection


def _refuse_encodings(encoding: str | None) -> None:
    """Raise Unavailable if the database keeps text in another encoding than labels need, which are of any language."""
    if encoding != ENCODING:
        raise Unavailable(
            f"the database's encoding is {encoding}, but {ENCODING} is needed: name one in store.url that was made by"
            f" CREATE DATABASE quantum TEMPLATE template0 ENCODING '{ENCODING}'"
        )


async def migrate(connection: Connection, patience: Patience) -> int:
    """Bring the schema up to date; return how many steps were taken. Safe to run twice and by two at once."""
    is_complete = await taken_steps(connection) == len(STEPS)
    if is_complete and not (await look_at_walls(connection)).missing:
        return 0
    if not is_complete:
        await make_guards(connection)
    lease = Lease(SCHEMA, this_process(), patience.lease_ms)
    lease.opening = (await look_at_walls(connection)).opening
    await lease.acquire(connection, patience.start_ms)
    try:
        taken = await take_steps(connection)
        await put_up_walls(connection)
        return taken
    finally:
        await lease.release(connection)


async def _opening_of(url: str) -> str | None:
    """Return what a transaction begins with on a database whose schema is complete."""
    connection = await connect(url)
    try:
        with translated("the database cannot be read"):
            steps = await taken_steps(connection)
            opening = (await look_at_walls(connection)).opening
    finally:
        await connection.close()
    if steps < len(STEPS):
        raise Unavailable(
            f"the database lacks {len(STEPS) - steps} steps of its schema; start the role that writes, or run"
            " quantum migrate"
        )
    return opening


def with_defaults(url: str) -> str:
    """Return an address with what it leaves out about the network.

    Raises:
        Unavailable: it is none; it is not repeated, because it may hold a password.
    """
    try:
        parts: dict[str, Any] = {**NETWORK, **conninfo_to_dict(url)}
        return make_conninfo(**parts)
    except psycopg.ProgrammingError:
        raise Unavailable("store.url is no address of a PostgreSQL database") from None


def _new_pool(url: str, timeout_s: float) -> AsyncConnectionPool[Connection]:
    return AsyncConnectionPool(
        with_defaults(url),
        connection_class=AsyncConnection,
        kwargs={"prepare_threshold": None, "autocommit": True},
        min_size=1,
        reconnect_timeout=RECONNECT_FOR_S,
        max_size=READERS,
        timeout=timeout_s,
        open=False,
        name="quantum-readers",
    )


class translated:  # noqa: N801 - reads as a verb in a with statement
    """Turns the driver's errors into ours, with a sentence before them."""

    def __init__(self, sentence: str, tenant: str = "") -> None:
        self._sentence = sentence
        self._tenant = tenant

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        """Raise Unavailable in the place of an error of the driver or the network."""
        if isinstance(error, errors.PipelineAborted) and isinstance(error.__context__, psycopg.Error):
            error = error.__context__  # what came before is what went wrong
        if isinstance(error, QuantumError) or not isinstance(error, psycopg.Error | OSError | TimeoutError):
            return
        words = str(error).strip().partition("\n")[0] or "it took too long"
        sentence = f"{self._sentence}: {words}"
        if isinstance(error, errors.SerializationFailure | errors.DeadlockDetected):
            raise _AgainError(sentence) from error
        if isinstance(error, errors.DivisionByZero):
            taken = f"another Quantum has taken over tenant {self._tenant!r} of this database; this one ends"
            raise _ReplacedError(taken) from error
        if isinstance(error, errors.InvalidTextRepresentation):
            raise Unavailable(FORGETFUL) from error
        if isinstance(error, psycopg.DataError | psycopg.IntegrityError):
            raise _BadValueError(sentence) from error
        if isinstance(error, errors.DiskFull):
            raise StorageFull(f"{self._sentence}: the disk of the database is full; make room there") from error
        raise Unavailable(sentence) from error


async def _repeated(attempt: Callable[[], Awaitable[T]]) -> T:
    """Return what an attempt returns; it is made again, after longer and longer pauses, if the database asks for that.

    Raises:
        Unavailable: the database asks too often, or the attempt failed otherwise.
    """
    pause_s = FIRST_PAUSE_S
    for _ in range(ATTEMPTS):
        try:
            return await attempt()
        except _AgainError as conflict:
            sentence = str(conflict)
            await asyncio.sleep(pause_s)
            pause_s *= 2
    raise Unavailable(f"{sentence} ({ATTEMPTS} times)")


async def _run(job: Job, connection: Connection, undo: Undo) -> Any:
    try:
        return await job.work(connection, undo)
    except (psycopg.Error, TimeoutError):
        raise
    except Exception as refusal:
        raise _RefusedError(job, refusal) from refusal


async def _nothing(_: Connection, __: Undo) -> None:
    """Change nothing: the transaction itself renews the lease."""


def _fail(jobs: list[Job], error: Exception) -> None:
    for job in jobs:
        if not job.future.done():
            job.future.set_exception(error)
