"""The right to be the only writer of a tenant: a row with a holder, an epoch and a time of expiry.

The clock is the database's. Who takes a lease over raises its epoch; every write transaction of a holder updates the
row under the epoch it knows, so a holder that was paused and replaced cannot write any more, and one that takes over
waits for a transaction that still runs. That is fencing; expiry only decides when somebody else may try.

The row counts write transactions, too. A holder knows how many of its own were committed, and a database that has
counted fewer is not the one that committed them: a replica that took over before it had everything.
"""

from __future__ import annotations

import asyncio
import os
import platform
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeVar

import psutil
from psycopg import errors

from quantum.adapters.postgres.schema import NOW_MS
from quantum.adapters.postgres.statements import change, fetch
from quantum.domain.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from quantum.adapters.postgres.statements import Connection

T = TypeVar("T")

LEASE_MS: Final = 10_000
FENCE: Final = (
    f"WITH renewed AS (UPDATE leases SET expires_ms = {NOW_MS} + %s, written = greatest(written, %s)"
    " WHERE tenant = %s AND epoch = %s AND holder = %s AND written >= %s RETURNING 1)"
    " SELECT CAST(CASE current_setting('synchronous_commit') WHEN 'off' THEN 'off' ELSE '1' END AS BIGINT) / count(*)"
    " FROM renewed"
)
"""The only statement that divides, and the only one that reads a number from a text; see `Lease.fence`."""
FORGETFUL: Final = "PostgreSQL runs with synchronous_commit=off, so answered writes could be lost; turn it on"
LOOK_AGAIN_S: Final = 0.1
LOOK_S: Final = 1.0
"""How often who waits for a lease looks what its holder has written."""


def this_process() -> str:
    """Return a name of this process that no other ever has: host, number, start and machine, separated by spaces."""
    process = psutil.Process()
    return f"{platform.node()} {process.pid} {process.create_time():.2f} {_machine()}"


def _machine() -> str:
    namespace = ""
    with suppress(OSError):
        namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - it leads nowhere
    return f"{psutil.boot_time():.0f}-{namespace}"


def is_dead(holder: str) -> bool:
    """Return whether a holder was a process of this machine that is no more; False if that cannot be known."""
    try:
        host, number, start, machine = holder.split(" ")
        if (host, machine) != (platform.node(), _machine()):
            return False
        process = psutil.Process(int(number))
        return f"{process.create_time():.2f}" != start or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except (ValueError, psutil.Error):
        return False


def describe(holder: str) -> str:
    """Return a holder in words."""
    host, _, rest = holder.partition(" ")
    return f"process {rest.partition(' ')[0]} on {host}" if rest else "nobody"


class Lease:
    """One process's lease of one tenant.

    Attributes:
        epoch: under which it was taken; 0 before.
        written: how many write transactions of the tenant are known to be committed.
        opening: what a transaction begins with, see `Walls`.
    """

    def __init__(self, tenant: str, holder: str, length_ms: int = LEASE_MS) -> None:
        self.tenant = tenant
        self.holder = holder
        self.length_ms = length_ms
        self.epoch = self.written = self._tried = 0
        self.opening: str | None = None

    async def acquire(
        self, connection: Connection, wait_ms: int, look: Callable[[Connection], Awaitable[object]] | None = None
    ) -> None:
        """Take the lease; wait while another process has it. The connection commits by itself.

        Args:
            connection: to the database.
            wait_ms: how long.
            look: what is done in a transaction of its own every second meanwhile; what it raises ends the waiting.

        Raises:
            Unavailable: somebody still has it after `wait_ms`.
        """
        loop = asyncio.get_running_loop()
        deadline_s, look_at_s = loop.time() + wait_ms / 1000, loop.time()
        while not await self._taken(connection):
            if look is not None and loop.time() >= look_at_s:
                await self.aside(connection, look)
                look_at_s = loop.time() + LOOK_S
            if loop.time() >= deadline_s:
                holder, _ = await self._seen(connection)
                raise Unavailable(
                    f"tenant {self.tenant!r} of this database is in use by another Quantum ({describe(holder)}); "
                    "stop it first"
                )
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _taken(self, connection: Connection) -> bool:
        """Take the lease if nobody has it, or who had it is gone; return whether that was done."""
        try:
            return await self._try(connection)
        except errors.SerializationFailure:
            return False

    async def _try(self, connection: Connection) -> bool:
        await self._change(
            connection,
            "INSERT INTO leases (tenant, holder, epoch, expires_ms) VALUES (%s, '', 0, 0)"
            " ON CONFLICT (tenant) DO NOTHING",
            self.tenant,
        )
        holder, epoch = await self._seen(connection)
        free = "expires_ms >= 0" if is_dead(holder) else f"expires_ms <= {NOW_MS}"
        taken = await self._change(
            connection,
            f"UPDATE leases SET holder = %s, epoch = epoch + 1, expires_ms = {NOW_MS} + %s"
            f" WHERE tenant = %s AND epoch = %s AND {free}",
            *(self.holder, self.length_ms, self.tenant, epoch),
        )
        if taken:
            self.epoch = epoch + 1
        return bool(taken)

    async def count(self, connection: Connection) -> None:
        """Learn how many write transactions the tenant has had, once the lease is taken and the schema is complete."""
        async with self._transaction(connection):
            found = await fetch(connection, "SELECT written FROM leases WHERE tenant = %s", self.tenant)
        self.written = self._tried = int(found[0][0])

    async def is_anothers(self, connection: Connection) -> bool:
        """Return whether another process has the lease by now, and not an earlier one of this database's past."""
        async with self._transaction(connection):
            found = await fetch(connection, "SELECT holder, epoch FROM leases WHERE tenant = %s", self.tenant)
        return any(epoch > self.epoch or (epoch == self.epoch and holder != self.holder) for holder, epoch in found)

    async def aside(self, connection: Connection, look: Callable[[Connection], Awaitable[T]]) -> T:
        """Return what is seen in a transaction of its own. The connection commits by itself."""
        async with self._transaction(connection):
            return await look(connection)

    async def _seen(self, connection: Connection) -> tuple[str, int]:
        async with self._transaction(connection):
            found = await fetch(connection, "SELECT holder, epoch FROM leases WHERE tenant = %s", self.tenant)
        return str(found[0][0]), int(found[0][1])

    async def _change(self, connection: Connection, text: str, *values: object) -> int:
        async with self._transaction(connection):
            return await change(connection, text, *values)

    @asynccontextmanager
    async def _transaction(self, connection: Connection) -> AsyncIterator[None]:
        """Run one statement in a transaction that says whose it is, where that has to be said."""
        if self.opening is None:
            yield
            return
        async with connection.transaction():
            await change(connection, self.opening, self.tenant)
            yield

    async def fence(self, connection: Connection, *, writes: bool) -> int:
        """Renew the lease as the first statement of a transaction, which nobody else's can then overtake.

        Nobody waits for the answer, so that a whole write is sent at once. What is not to happen is an error of the
        database, with which all that follows in the transaction fails: if another process has taken over, or the
        database lacks a transaction that it had committed, a division by zero (`errors.DivisionByZero`); if commits
        would not be durable, a number that is none (`errors.InvalidTextRepresentation`).

        Args:
            connection: in a transaction.
            writes: whether more follows in it than the lease; only such transactions are counted.

        Returns:
            What `written` is once the transaction is committed.
        """
        if writes:
            self._tried += 1  # above every attempt of which nobody knows what became
        number = self._tried if writes else self.written
        await change(connection, FENCE, self.length_ms, number, self.tenant, self.epoch, self.holder, self.written)
        return number

    async def release(self, connection: Connection) -> None:
        """Let the next process have it at once. The connection commits by itself."""
        await self._change(
            connection,
            "UPDATE leases SET holder = '', expires_ms = 0 WHERE tenant = %s AND epoch = %s",
            *(self.tenant, self.epoch),
        )


def refuse_if_forgetful(synchronous_commit: str) -> None:
    """Raise Unavailable if the server would answer a commit before it is on disk."""
    if synchronous_commit == "off":
        raise Unavailable(FORGETFUL)
