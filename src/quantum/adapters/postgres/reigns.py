"""The writers that a tenant's log has had, by which is known whether a database has gone back.

A replica that takes over may lack what its primary had committed last. It is a sound database then, in which positions
that were given to facts already are given again. Each writer therefore notes, before it writes anything, at which
position it begins: its *reign*. Whoever has seen a log knows its newest reigns, and where it ended then. Up to the last
reign that the database has as well both are one log, and until either of them has another reign after that.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from quantum.adapters.postgres import pieces
from quantum.adapters.postgres.lease import describe
from quantum.adapters.postgres.statements import change, fetch
from quantum.domain.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from quantum.adapters.postgres.statements import Connection
    from quantum.application.scoring import Writer

REIGNS: Final = 16
"""So many are remembered of a log that was seen."""
NEWEST: Final = "SELECT position, at_ms FROM facts WHERE tenant = %s ORDER BY position DESC LIMIT 1"
SINCE: Final = (
    "SELECT epoch, holder, position, lost_after, lost_upto FROM reigns WHERE tenant = %s AND epoch >= %s ORDER BY epoch"
)
LOSSES: Final = (
    "SELECT lost_after, lost_upto FROM reigns WHERE tenant = %s AND lost_upto > 0 AND position >= %s ORDER BY epoch"
)
BEGIN: Final = (
    "INSERT INTO reigns (tenant, epoch, holder, position, lost_after, lost_upto) VALUES (%s, %s, %s, %s, %s, %s)"
    " ON CONFLICT (tenant, epoch) DO NOTHING"
)


class GoneBack(Unavailable):
    """The database lacks what was committed to it; who knows that does not go on with it."""


@dataclass(frozen=True, slots=True)
class Reign:
    """The time of one writer.

    Attributes:
        epoch: of its lease.
        holder: the writer, by a name that no other ever has.
        position: where it began: everything up to there is of its predecessors.
        lost_after: with `lost_upto`: facts that its predecessors had written, and that it was told to go on without.
        lost_upto: position of the last of them; 0 where there are none.
    """

    epoch: int
    holder: str
    position: int
    lost_after: int = 0
    lost_upto: int = 0

    @property
    def key(self) -> tuple[int, str]:
        """By what it is told from all others, in any copy of the database."""
        return self.epoch, self.holder


@dataclass(frozen=True, slots=True)
class Seen:
    """How far somebody has seen a log.

    Attributes:
        reigns: the newest `REIGNS` that there were, in order; at least one.
        position: of the newest fact.
        at_ms: time of that fact.
    """

    reigns: tuple[Reign, ...]
    position: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Facts that were seen and are not there: those after one position, up to another."""

    tenant: str
    after: int
    seen: Seen

    @property
    def accepted_as(self) -> str:
        """How an operator names it who goes on without: what is given up, so that it holds for nothing else."""
        return f"{self.tenant}:{self.after + 1}-{self.seen.position}"

    def __str__(self) -> str:
        """Return what is missing, and what can be done, in a sentence."""
        at = datetime.fromtimestamp(self.seen.at_ms / 1000, UTC).isoformat(timespec="milliseconds")
        return (
            f"the database has gone back: of tenant {self.tenant!r} the facts {self.after + 1:,} to"
            f" {self.seen.position:,} are missing, which {describe(self.seen.reigns[-1].holder)} had written by {at};"
            " bring back the database that has them, or go on without them:"
            f" quantum run --accept-loss {self.accepted_as}"
        )


def kept_of(seen: Seen, reigns: Sequence[Reign], end: int) -> int:
    """Return up to which position a database still has what was seen.

    It is exact if the database has one of the reigns that were seen, or these are all that there were; what is kept may
    be less otherwise.

    Args:
        seen: how far its log was seen.
        reigns: of the database, in order, from the epoch of the first one that was seen on.
        end: position of its newest fact.
    """
    there, known = {one.key for one in reigns}, {one.key for one in seen.reigns}
    others = [one.position for one in seen.reigns if one.key not in there]
    others += [one.position for one in reigns if one.key not in known]
    return min([seen.position, end, *others])


def gap_in(tenant: str, seen: Seen, reigns: Sequence[Reign], end: int) -> Gap | None:
    """Return what is missing of what was seen; None if nothing is, or a writer was told to go on without it."""
    after = kept_of(seen, reigns, end)
    is_known = any(one.lost_after <= after and seen.position <= one.lost_upto for one in reigns)
    return None if is_known or after == seen.position else Gap(tenant, after, seen)


class Sight:
    """What a process has seen of a tenant's log, kept in a file so that its successor knows it too.

    Attributes:
        tenant: whose log.
        seen: the newest; None if nothing was seen, or the log is of a release that knew no reigns.
    """

    def __init__(self, tenant: str, file: Path | None = None, accepted: Collection[str] = ()) -> None:
        """Take the file, if there is to be one, and the gaps that the operator accepts, as `Gap.accepted_as`."""
        self.seen: Seen | None = None
        self.tenant = tenant
        self._file, self._accepted = file, accepted
        self._kept: Seen | None = None

    def recall(self) -> None:
        """Read the file, if there is one.

        Raises:
            Unavailable: it cannot be read; the sentence names it.
        """
        if self._file is None or not self._file.exists():
            return
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
            newest, *before = (Reign(**one) for one in reversed(found.pop("reigns")))
            self.seen = self._kept = Seen((*reversed(before), newest), **found)
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise Unavailable(f"{self._file}, which says how far the log was seen, cannot be read: {error}") from None

    async def keep(self) -> None:
        """Write what was seen to the file, if it is new; what is there afterwards is whole, whatever happens.

        Raises:
            Unavailable: it cannot be written.
        """
        if self._file is not None and self.seen not in (None, self._kept):
            await asyncio.to_thread(self._write, self._file, self.seen)

    def _write(self, file: Path, seen: Seen | None) -> None:
        fresh = file.with_suffix(".new")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with fresh.open("w", encoding="utf-8") as out:
                json.dump(None if seen is None else asdict(seen), out)
                out.flush()
                os.fsync(out.fileno())
            fresh.replace(file)
        except OSError as error:
            raise Unavailable(f"{file}, which says how far the log was seen, cannot be written: {error}") from None
        self._kept = seen

    async def compare(self, connection: Connection) -> Gap | None:
        """Return what of the log that was seen the database does not have; None if it has all, or it is given up."""
        return (await self._compared(connection))[0]

    async def look(self, connection: Connection) -> Gap | None:
        """See how far the log is now; return what is missing and the operator accepts, of which nothing is forgotten.

        Raises:
            GoneBack: it is not as far as it was, and nobody accepts that.
        """
        gap, newest, _ = await self._compared(connection)
        if gap is None:
            self.seen = newest
        elif gap.accepted_as not in self._accepted:
            raise GoneBack(str(gap))
        return gap

    async def follow(self, connection: Connection) -> None:
        """See how far the log is now, as somebody who has in memory what was seen: that cannot be accepted there.

        Raises:
            GoneBack: it is not as far as it was.
        """
        _, newest, after = await self._compared(connection)
        if self.seen is not None and after < self.seen.position:
            raise GoneBack(str(Gap(self.tenant, after, self.seen)))
        self.seen = newest

    async def _compared(self, connection: Connection) -> tuple[Gap | None, Seen | None, int]:
        """Return what is missing, how far the log is, and up to where it is what was seen."""
        # the end first: what is appended after it belongs to a reign that may begin after it
        end, at_ms = await end_of(connection, self.tenant)
        first = 0 if self.seen is None else self.seen.reigns[0].epoch
        reigns = await reigns_since(connection, self.tenant, first)
        newest = Seen(tuple(reigns[-REIGNS:]), end, at_ms) if reigns else self.seen
        if self.seen is None:
            return None, newest, end
        return gap_in(self.tenant, self.seen, reigns, end), newest, kept_of(self.seen, reigns, end)

    async def begin(self, connection: Connection, epoch: int, holder: str) -> None:
        """Note in the database that a reign begins, before anything is written in it.

        Raises:
            GoneBack: as `look`.
        """
        gap = await self.look(connection)
        end, _ = await end_of(connection, self.tenant)
        lost = (0, 0) if gap is None else (gap.after, gap.seen.position)
        await change(connection, BEGIN, self.tenant, epoch, holder, end, *lost)
        self.seen = None  # what was seen before is there, or given up
        await self.look(connection)

    def reach(self, position: int, at_ms: int) -> None:
        """Note up to where the log is committed, in the reign that was the newest when it was looked at last."""
        if self.seen is not None:
            self.seen = replace(self.seen, position=position, at_ms=at_ms)


async def reigns_since(connection: Connection, tenant: str, epoch: int) -> list[Reign]:
    """Return the reigns from an epoch on, in order."""
    return [Reign(*row) for row in await fetch(connection, SINCE, tenant, epoch)]


async def end_of(connection: Connection, tenant: str) -> tuple[int, int]:
    """Return position and time of the newest fact; zeros if there is none."""
    found = await fetch(connection, NEWEST, tenant)
    if found:
        return int(found[0][0]), int(found[0][1])
    return await pieces.end(connection, tenant)


async def losses_of(connection: Connection, tenant: str) -> list[tuple[int, int]]:
    """Return the first and the last position of every loss that was accepted since the log begins, oldest first."""
    begins_after = await pieces.begins_after(connection, tenant)
    return [(int(after) + 1, int(upto)) for after, upto in await fetch(connection, LOSSES, tenant, begins_after)]


async def is_there(connection: Connection, tenant: str, writer: Writer, position: int) -> bool:
    """Return whether a database has what it had up to a position when somebody was its writer."""
    end, _ = await end_of(connection, tenant)
    reigns = await reigns_since(connection, tenant, writer.epoch)
    is_known = any(one.key == writer for one in reigns[:1])
    return is_known and min([end, *(one.position for one in reigns[1:])]) >= position
