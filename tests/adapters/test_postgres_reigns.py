"""A database that has gone back is known by whoever saw more of it: who writes, who waits to, and who only reads."""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import hypothesis.strategies as st
import pytest
from hypothesis import given
from tests.adapters.test_postgres import HASTY, aside, until
from tests.application.test_scoring import new_work
from tests.contracts.test_lane_source import send
from tests.parts.postgres import sql

from quantum.adapters.postgres import GoneBack, Patience, PostgresFollower, PostgresReader, PostgresStore, survey
from quantum.adapters.postgres.reigns import REIGNS, Gap, Reign, Seen, Sight, gap_in, kept_of
from quantum.application.scoring import Task, Writer
from quantum.domain.errors import Unavailable
from quantum.domain.facts import Heartbeat

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WAITING: Final = replace(HASTY, start_ms=60_000)
ENOUGH_S: Final = 60.0


@pytest.fixture(name="file")
def file_of_sight(tmp_path: Path) -> Path:
    return tmp_path / "seen" / "t.json"


@asynccontextmanager
async def opened(
    url: str, file: Path | None = None, *accepted: str, patience: Patience = HASTY
) -> AsyncIterator[PostgresStore]:
    """Yield a store that keeps how far it came at its end, as the roles let it."""
    async with PostgresStore(url, "t", patience, file, accepted) as store:
        yield store
    await store.keep_sight()


def kept_in(file: Path) -> int:
    """Return the position that a file has; 0 if it is not there."""
    return int(json.loads(file.read_text())["position"]) if file.exists() else 0


async def beat(store: PostgresStore, times: int) -> None:
    for _ in range(times):
        await store.append(Heartbeat(), 1000)


class Past:
    """A state of the log that the database can be brought back to, as a replica that was behind has it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._end = sql(url, "SELECT coalesce(max(position), 0) FROM facts WHERE tenant = 't'")[0][0]
        self._lease = sql(url, "SELECT holder, epoch, expires_ms, written FROM leases WHERE tenant = 't'")[0]

    async def again(self) -> None:
        """Bring it back, while writers may be there."""
        await aside(self._url, f"DELETE FROM facts WHERE tenant = 't' AND position > {self._end}")
        holder, epoch, expires_ms, written = self._lease
        await aside(self._url, f"DELETE FROM reigns WHERE tenant = 't' AND epoch > {epoch}")
        await aside(
            self._url,
            f"UPDATE leases SET holder = '{holder}', epoch = {epoch}, expires_ms = {expires_ms}, written = {written}"
            " WHERE tenant = 't'",
        )


# ---- what follows from reigns ---------------------------------------------------------------------------------------


@given(st.data())
def test_what_is_kept_of_what_was_seen_is_what_both_histories_have_in_common(data: st.DataObject) -> None:
    """Databases go back to any of their pasts, any number of times; each fact is known by who wrote it and when."""
    facts, reigns, written = list[int](), list[Reign](), 0
    pasts: list[tuple[list[int], list[Reign]]] = []
    sights: list[tuple[Seen, list[int]]] = []
    for life in range(data.draw(st.integers(1, 6))):
        if (past := data.draw(st.integers(-1, len(pasts) - 1))) >= 0:
            facts, reigns = list(pasts[past][0]), list(pasts[past][1])
        epoch = 1 + max((one.epoch for one in reigns), default=0)
        reigns.append(Reign(epoch, f"writer {life}", len(facts)))
        for _ in range(data.draw(st.integers(0, 5))):
            written += 1
            facts.append(written)
            pasts.append((list(facts), list(reigns)))
            sights.append((Seen(tuple(reigns[-REIGNS:]), len(facts), 0), list(facts)))
        pasts.append((list(facts), list(reigns)))
    for seen, known in sights:
        since = [one for one in reigns if one.epoch >= seen.reigns[0].epoch]
        common = 0
        while common < min(len(known), len(facts)) and known[common] == facts[common]:
            common += 1
        assert kept_of(seen, since, len(facts)) == common
        gap = gap_in("t", seen, since, len(facts))
        assert (gap is None) == (common == seen.position)
        assert gap is None or gap == Gap("t", common, seen)


def test_a_loss_that_a_writer_was_told_to_go_on_without_is_none_for_anybody_any_more() -> None:
    seen, more = (Seen((Reign(4, "a", 500),), position, 0) for position in (1000, 1001))
    reigns = [Reign(4, "a", 500), Reign(5, "b", 900), Reign(6, "c", 1200, 900, 1000)]
    assert gap_in("t", seen, reigns, 1300) is None
    assert gap_in("t", more, reigns, 1300) == Gap("t", 900, more)


def test_a_gap_says_what_is_missing_since_when_and_what_can_be_done() -> None:
    words = str(Gap("default", 900, Seen((Reign(4, "host 12 1.00 m", 0),), 1000, 1_700_000_000_123)))
    assert "of tenant 'default' the facts 901 to 1,000 are missing" in words
    assert "which process 12 on host had written by 2023-11-14T22:13:20.123+00:00" in words
    assert words.endswith("--accept-loss default:901-1000")


# ---- the file -------------------------------------------------------------------------------------------------------


def test_what_was_seen_is_read_again_and_a_file_that_does_not_read_or_cannot_be_written_is_named(file: Path) -> None:
    sight = Sight("t", file)
    sight.recall()
    asyncio.run(sight.keep())
    assert not file.exists()
    sight.seen = Seen((Reign(1, "you", 0), Reign(2, "me", 4, 4, 6)), 7, 1000)
    asyncio.run(sight.keep())
    later = Sight("t", file)
    later.recall()
    assert later.seen == sight.seen
    for nonsense in ("", "[]", '{"epoch": 1}', "null", '{"reigns": [1]}', '{"reigns": []}'):
        file.write_text(nonsense)
        with pytest.raises(Unavailable, match=r"t\.json, which says how far the log was seen, cannot be read"):
            later.recall()
    file.unlink()
    file.with_suffix(".new").mkdir()
    sight.reach(8, 1000)
    with pytest.raises(Unavailable, match=r"t\.json, .* cannot be written"):
        asyncio.run(sight.keep())


async def test_a_writer_keeps_how_far_it_came_when_it_is_told_to_and_after_its_end(database: str, file: Path) -> None:
    async with opened(database, file) as store:
        await beat(store, 2)
        await store.keep_sight()
        assert kept_in(file) == 2
        await beat(store, 1)
    assert kept_in(file) == 3


# ---- who writes -----------------------------------------------------------------------------------------------------


async def test_a_writer_whose_database_goes_back_under_it_writes_nothing_more_and_says_what_is_missing(
    database: str, file: Path
) -> None:
    async with opened(database, file) as store:
        await beat(store, 5)
        past = Past(database)
        await beat(store, 3)
        # the connection stays: so it is where a pooler stands between
        await past.again()
        for _ in range(2):
            with pytest.raises(GoneBack, match="the facts 6 to 8 are missing"):
                await beat(store, 1)
        assert store.replaced.is_set()
        assert "--accept-loss t:6-8" in store.ending
        assert sql(database, "SELECT max(position) FROM facts") == [(5,)]
    assert kept_in(file) == 8


async def test_an_idle_writer_notices_too(database: str) -> None:
    async with opened(database, patience=replace(HASTY, lease_ms=300)) as store:
        await beat(store, 1)
        past = Past(database)
        await beat(store, 1)
        await past.again()
        async with asyncio.timeout(ENOUGH_S):
            await store.replaced.wait()
        assert "the facts 2 to 2 are missing" in store.ending


async def test_a_writer_that_lost_conclusions_alone_ends_too_and_starts_again_as_ever(
    database: str, file: Path
) -> None:
    async with opened(database, file) as store:
        await beat(store, 5)
        past = Past(database)
        await store.save(5, b"a state")
        await past.again()
        with pytest.raises(GoneBack, match="no fact is missing"):
            await beat(store, 1)
        assert store.replaced.is_set()
    async with opened(database, file) as store:
        assert (await store.append(Heartbeat(), 1000)).position == 6


async def test_a_lease_that_was_only_renewed_is_no_loss(database: str) -> None:
    async with opened(database, patience=replace(HASTY, lease_ms=300)) as store:
        await beat(store, 1)
        past = Past(database)
        await asyncio.sleep(0.3)
        await past.again()
        await beat(store, 1)
        assert not store.replaced.is_set()


async def test_a_start_that_misses_facts_is_refused_until_they_are_accepted_and_then_for_good(
    database: str, file: Path, tmp_path: Path
) -> None:
    async with opened(database, file) as store:
        await beat(store, 5)
        past = Past(database)
        await beat(store, 3)
    other = Path(shutil.copy(file, tmp_path / "other.json"))
    await past.again()
    await aside(database, "UPDATE leases SET expires_ms = 0")
    for accepted in ((), ("t:6-7", "t:5-8", "u:6-8")):
        with pytest.raises(GoneBack, match=r"the facts 6 to 8 are missing.*--accept-loss t:6-8"):
            await PostgresStore(database, "t", HASTY, file, accepted).__aenter__()
    assert "the facts 6 to 8 are missing" in (await survey(database, "t", file)).risks[0]
    async with opened(database, file, "t:6-8") as store:
        assert await store.losses() == [(6, 8)]
        assert (await store.append(Heartbeat(), 1000)).position == 6
    assert (await survey(database, "t", file)).risks == ()
    for known in (file, other):  # another machine that saw them has nothing to refuse either
        async with opened(database, known) as store:
            assert await store.losses() == [(6, 8)]


async def test_a_loss_is_noticed_though_another_has_written_more_since(database: str, file: Path) -> None:
    async with opened(database, file) as store:
        await beat(store, 5)
        past = Past(database)
        await beat(store, 3)
    await past.again()
    await aside(database, "UPDATE leases SET expires_ms = 0")
    async with opened(database) as unaware:
        await beat(unaware, 10)
    with pytest.raises(GoneBack, match="the facts 6 to 8 are missing"):
        await PostgresStore(database, "t", HASTY, file).__aenter__()
    async with opened(database, file, "t:6-8") as store:
        assert await store.losses() == [(6, 8)]
        assert (await store.append(Heartbeat(), 1000)).position == 16


# ---- who waits, and who reads ---------------------------------------------------------------------------------------


async def test_a_writer_that_waits_keeps_what_it_sees_and_does_not_take_over_what_has_gone_back(
    database: str, file: Path
) -> None:
    async with opened(database, patience=replace(HASTY, lease_ms=60_000)) as store:
        await beat(store, 5)
        past = Past(database)
        waiting = asyncio.create_task(PostgresStore(database, "t", WAITING, file).__aenter__())
        await beat(store, 3)
        async with asyncio.timeout(ENOUGH_S):
            await until(lambda: kept_in(file) >= 8)
        await past.again()
        async with asyncio.timeout(ENOUGH_S):
            with pytest.raises(GoneBack, match="the facts 6 to 8 are missing"):
                await waiting


async def test_who_follows_a_log_that_goes_back_stops_even_if_the_loss_is_accepted(database: str, file: Path) -> None:
    async with opened(database, file) as store:
        await beat(store, 5)
        past = Past(database)
        await beat(store, 3)
    async with PostgresFollower(database, "t", HASTY) as follower:
        assert await follower.last() == (8, 1000)
        await past.again()
        await aside(database, "UPDATE leases SET expires_ms = 0")
        async with opened(database, file, "t:6-8") as store:
            await beat(store, 10)
            with pytest.raises(GoneBack, match="the facts 6 to 8 are missing"):
                await follower.follow()
        assert follower.replaced.is_set()
        assert "the facts 6 to 8" in follower.ending
    async with PostgresFollower(database, "t", HASTY) as follower:
        assert await follower.last() == (15, 1000)


async def test_a_worker_learns_whether_a_log_has_what_it_had_under_another_writer(database: str) -> None:
    async with opened(database) as store:
        await beat(store, 5)
        past, writer = Past(database), store.as_writer()
        await beat(store, 3)
    async with PostgresReader(database, "t", HASTY) as reader:
        assert await reader.has(writer, 8)
        await past.again()
        await aside(database, "UPDATE leases SET expires_ms = 0")
        async with opened(database) as store:
            await beat(store, 10)
            assert store.as_writer() == Writer(writer.epoch + 1, writer.holder)
            assert [await reader.has(writer, position) for position in (4, 5, 6, 8)] == [True, True, False, False]
            assert await reader.has(store.as_writer(), 15)


async def test_what_a_lane_has_learnt_of_facts_that_are_lost_is_unlearnt(database: str) -> None:
    """Though the log is as long again as it was when the lane learnt it."""
    async with opened(database) as store, PostgresReader(database, "t", HASTY) as reader:
        work = new_work(reader, 1)
        await send(store, 0)
        past, before = Past(database), store.as_writer()
        for number in range(1, 5):
            await send(store, number)
        await work.do(Task(0, 5, 5, writer=before))
    await past.again()
    await aside(database, "UPDATE leases SET expires_ms = 0")
    await aside(database, "DELETE FROM series WHERE position > 1")
    async with opened(database) as store, PostgresReader(database, "t", HASTY) as reader:
        work._source = reader
        for number in range(11, 15):
            await send(store, number)
        task = Task(0, 5, 5, wants_state=True, writer=store.as_writer())
        found, anew = await work.do(task), await new_work(reader, 1).do(task)
        assert found.state is not None
        assert anew.state is not None
        assert all(found.state[name].tobytes() == one.tobytes() for name, one in anew.state.items())
        assert work.rewinds == 2
