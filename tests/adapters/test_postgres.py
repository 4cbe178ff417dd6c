"""PostgreSQL as a store when things go wrong: nothing answered is lost, nothing is doubled, one process writes."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import subprocess
import sys
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from tests.contracts.test_fact_log import NOTHING, A, B, everything, propose
from tests.parts.postgres import new_cluster, sql

import quantum.adapters.postgres as package
from quantum.adapters.postgres import Patience, PostgresStore, migrate_database, survey
from quantum.adapters.postgres.engine import MAX_WAITING, with_defaults
from quantum.adapters.postgres.lease import LEASE_MS, Lease, describe, is_dead, this_process
from quantum.adapters.postgres.schema import STEPS
from quantum.application.ports import Page
from quantum.domain.alerts import Effects
from quantum.domain.errors import NotFound, Overloaded, Unavailable
from quantum.domain.facts import Heartbeat, NoteIncident, WebhookReceiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HASTY: Final = Patience(start_ms=0, answer_s=20.0, reader_s=5.0)
OTHER_PROCESS: Final = "elsewhere 1 2.00 3-pid:[4]"


@asynccontextmanager
async def opened(url: str, tenant: str = "t", patience: Patience = HASTY) -> AsyncIterator[PostgresStore]:
    async with PostgresStore(url, tenant, patience) as store:
        yield store


async def persist(store: PostgresStore, at_ms: int) -> None:
    """Send a sample of each of two series until it is acknowledged, as senders do."""
    while True:
        try:
            await propose(store, [-1, -2], [at_ms, at_ms], [float(at_ms), -1.0], A, B)
        except Unavailable:
            continue
        return


async def check_whole(store: PostgresStore, times: int) -> None:
    """Everything that was acknowledged is there, once, and the log has no gap."""
    positions = [fact.position for fact in await everything(store)]
    assert positions == list(range(1, len(positions) + 1))
    assert (await store.last())[0] == len(positions)
    found = await store.samples([0, 1], 0, 10**9)
    assert found.at_ms.tolist() == [*range(times), *range(times)]
    assert found.values.tolist() == [*map(float, range(times)), *[-1.0] * times]


# ---- losing connections -------------------------------------------------------------------------------------------


async def test_a_writer_whose_connection_is_ended_again_and_again_loses_and_doubles_nothing(database: str) -> None:
    async with opened(database) as store:
        writing = asyncio.create_task(asyncio.to_thread(end_connections, database, 25))
        times = 0
        while not writing.done() or times < 50:
            await asyncio.gather(*(persist(store, times + n) for n in range(5)))
            times += 5
            if times % 50 == 0:
                await persist_seal(store)
        assert writing.result() > 0
        await check_whole(store, times)
    async with opened(database) as store:
        await check_whole(store, times)


async def persist_seal(store: PostgresStore) -> None:
    while True:
        try:
            return await store.seal((await store.last())[0], NOTHING)
        except Unavailable:
            continue


def end_connections(url: str, times: int) -> int:
    """End every other connection to the database some times; return how many were ended."""
    ended = 0
    for _ in range(times):
        ended += len(
            sql(
                url,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
        )
    return ended


async def test_a_restart_of_the_server_is_outlived(tmp_path: Path) -> None:
    with new_cluster() as cluster:
        async with AsyncExitStack() as stack:
            with cluster.running() as server:
                store = await stack.enter_async_context(
                    opened(cluster.url(), patience=replace(HASTY, reader_s=0.5, away_s=0))
                )
                for at_ms in range(10):
                    await persist(store, at_ms)
                server.kill()
            with pytest.raises(Unavailable):
                await store.append(Heartbeat(), 0)
            with suppress(Unavailable):  # as soon as something had been sent it is not known to be right
                assert await store.last() == (10, 0)
            with pytest.raises(Unavailable):
                await store.recorded_upto()
            with cluster.running():
                await until(lambda: not store._database._away)  # everybody is refused until it was found
                assert await store.recorded_upto() == 0
                for at_ms in range(10, 20):
                    await persist(store, at_ms)
                await check_whole(store, 20)
                await stack.aclose()


async def test_a_commit_that_happened_though_nobody_heard_of_it_is_known_to_the_next_write(database: str) -> None:
    async with opened(database) as store:
        await propose(store, [-1], [10], [1.0], A)
        connection = store._database._connection
        assert connection is not None
        execute = connection.execute

        async def execute_and_vanish(text: bytes, *values: Any, **options: Any) -> Any:
            found = await execute(text, *values, **options)
            if text == b"COMMIT":
                assert connection._pipeline is not None
                await connection._pipeline.sync()
                raise psycopg.OperationalError("the line went dead")
            return found

        connection.execute = execute_and_vanish  # type: ignore[method-assign, assignment]
        with pytest.raises(Unavailable, match="the line went dead"):
            await propose(store, [-1, -2], [20, 20], [2.0, 3.0], A, B)
        del connection.execute
        assert (await store.last())[0] == 2
        again = await propose(store, [-1, -2], [20, 20], [2.0, 4.0], A, B)
        assert (again.fact, again.outcome.tolist(), again.slots.tolist()) == (None, [1, 2], [0, 1])
        assert [slot for slot, _ in await store.series()] == [0, 1]


async def test_a_seal_that_happened_though_nobody_heard_of_it_is_not_done_twice(database: str) -> None:
    async with opened(database) as store:
        for at_ms in range(6):
            await persist(store, at_ms)
        store._tail.sealed, rows = 0, dict(store._tail.rows)
        await store.seal(4, NOTHING)
        store._tail.sealed, store._tail.rows = 0, rows  # as if the answer had been lost and everything undone
        store._database._stale = True
        assert await store.sealed_upto() == 4
        await store.seal(4, NOTHING)
        await check_whole(store, 6)


async def test_an_unreachable_server_is_one_sentence(tmp_path: Path) -> None:
    store = PostgresStore(f"postgresql:///postgres?host={tmp_path}")
    with pytest.raises(Unavailable, match="the database cannot be reached: connection"):
        await store.__aenter__()
    with pytest.raises(Unavailable, match=r"^store.url is no address of a PostgreSQL database$"):
        await PostgresStore("postgresql://a:secret@b:port/x y").__aenter__()


# ---- waiting too long ---------------------------------------------------------------------------------------------


async def test_a_transaction_that_waits_too_long_is_given_up_and_the_next_one_goes_on(database: str) -> None:
    async with opened(database, patience=replace(HASTY, answer_s=0.3)) as store:
        with psycopg.connect(database) as other:
            other.execute("UPDATE leases SET holder = holder")
            with pytest.raises(Unavailable, match="it took too long"):
                await store.append(Heartbeat(), 0)
        fact = await store.append(Heartbeat(), 0)
        assert (fact.position, [one.position for one in await store.read(0, 9)]) == (1, [1])


async def test_readers_wait_for_each_other_only_so_long(database: str) -> None:
    async with opened(database, patience=replace(HASTY, reader_s=0.2)) as store, AsyncExitStack() as held:
        for _ in range(4):
            await held.enter_async_context(store._database._pool.connection())
        with pytest.raises(Unavailable, match="the store did not answer"):
            await store.policies()
        await held.aclose()
        assert await store.policies() == []


async def test_too_many_writes_at_once_are_refused_at_once(database: str) -> None:
    async with opened(database) as store:
        found = await asyncio.gather(
            *(store.append(Heartbeat(), n) for n in range(MAX_WAITING + 5)), return_exceptions=True
        )
        assert sum(isinstance(one, Overloaded) for one in found) == 5
        assert (await store.last())[0] == MAX_WAITING


async def test_a_closed_store_says_so(database: str) -> None:
    async with opened(database) as store:
        pass
    with pytest.raises(Unavailable, match="the store is closed"):
        await store.append(Heartbeat(), 0)


async def test_a_write_that_comes_while_the_store_closes_is_answered(database: str) -> None:
    store = await PostgresStore(database, "t", HASTY).__aenter__()
    before = asyncio.create_task(store.append(Heartbeat(), 1))
    await asyncio.sleep(0)
    closing = asyncio.create_task(store.__aexit__(None, None, None))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="the store is closed"):
        await store.append(Heartbeat(), 2)
    await closing
    assert (await before).position == 1


async def test_requests_that_share_a_transaction_share_one_journey_to_the_server(database: str) -> None:
    turns, handlers = list[str](), list[Any]()
    home = conninfo_to_dict(database)["host"]
    with tempfile.TemporaryDirectory() as near:
        handler = relay(f"{home}/.s.PGSQL.5432", turns, handlers)
        proxy = await asyncio.start_unix_server(handler, f"{near}/.s.PGSQL.5432")
        async with proxy, opened(make_conninfo(database, host=near)) as store:
            await propose(store, [-1], [0], [0.0], A)
            await store.policies()  # now the first reader has connected too
            turns.clear()
            await asyncio.gather(*(propose(store, [0, -1], [n, n], [1.0, 2.0], B) for n in range(1, 40)))
            assert turns == [">", "<"]
            turns.clear()
            await store.recorded_upto()
            assert turns == [">", "<", ">", "<"]
        await asyncio.gather(*handlers)


def relay(target: str, turns: list[str], handlers: list[Any]) -> Any:
    """Return a handler that passes bytes on to a socket and back, and notes when the direction changes.

    Its tasks are added to `handlers`; each ends with its connection.
    """

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, direction: str) -> None:
        while data := await source.read(65_536):
            if turns[-1:] != [direction]:
                turns.append(direction)
            sink.write(data)
        sink.close()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.append(asyncio.current_task())
        far_reader, far_writer = await asyncio.open_unix_connection(target)
        await asyncio.gather(pump(reader, far_writer, ">"), pump(far_reader, writer, "<"))
        for sink in (writer, far_writer):
            sink.close()
            await sink.wait_closed()

    return handle


# ---- one writer ---------------------------------------------------------------------------------------------------


async def test_a_second_writer_fails_at_start_with_one_sentence(database: str) -> None:
    async with opened(database):
        with pytest.raises(Unavailable, match=r"tenant 't' .* in use by another Quantum \(process \d+ on .*stop it"):
            await PostgresStore(database, "t", HASTY).__aenter__()
        async with opened(database, "another"):
            pass
    async with opened(database) as store:
        assert await store.last() == (0, 0)


async def test_a_second_writer_waits_until_the_first_lets_go(database: str) -> None:
    async with opened(database) as first:
        second = PostgresStore(database, "t", replace(HASTY, start_ms=20_000))
        entering = asyncio.create_task(second.__aenter__())
        await propose(first, [-1], [1], [1.0], A)
        assert not entering.done()
    assert (await (await entering).last())[0] == 1
    await second.__aexit__(None, None, None)


async def test_a_writer_that_was_paused_and_replaced_is_refused(database: str) -> None:
    async with opened(database) as paused:
        await propose(paused, [-1], [1], [1.0], A)
        await aside(database, "UPDATE leases SET expires_ms = 0 WHERE tenant = 't'")
        async with opened(database) as fresh:
            await propose(fresh, [-1, -2], [2, 2], [2.0, 2.0], A, B)
            for _ in range(2):
                with pytest.raises(Unavailable, match="another Quantum has taken over tenant 't'"):
                    await propose(paused, [-1, -2], [3, 3], [9.0, 9.0], B, A)
            with pytest.raises(Unavailable, match="another Quantum"):
                await paused.record(Effects(), 7)
            async with asyncio.timeout(60):
                await paused.replaced.wait()
            assert not fresh.replaced.is_set()
            assert (await fresh.last())[0] == 2
            assert (await fresh.samples([0, 1], 0, 9)).values.tolist() == [1.0, 2.0, 2.0]
            assert await fresh.recorded_upto() == 0


async def test_two_writers_that_take_the_lease_from_each_other_leave_one_whole_log(database: str) -> None:
    accepted = dict[int, int]()

    async def write(first_ms: int) -> None:
        for turn in range(8):
            async with AsyncExitStack() as stack:
                await aside(database, "UPDATE leases SET expires_ms = 0 WHERE tenant = 't'")
                store = await stack.enter_async_context(opened(database, patience=replace(HASTY, start_ms=20_000)))
                for at_ms in range(first_ms + turn * 20, first_ms + turn * 20 + 20, 2):
                    try:
                        found = await propose(store, [-1], [at_ms], [float(at_ms)], A)
                    except Unavailable:
                        break
                    assert found.fact is not None
                    accepted[at_ms] = found.fact.position

    await migrate_database(database)
    await asyncio.gather(write(0), write(1))
    async with opened(database, patience=replace(HASTY, start_ms=20_000)) as store:
        positions = [fact.position for fact in await everything(store)]
        assert positions == list(range(1, len(positions) + 1))
        stored = (await store.samples([0], 0, 10**6)).at_ms.tolist()
        assert set(accepted) <= set(stored)
        assert len(set(accepted.values())) == len(accepted)


async def test_an_idle_writer_keeps_its_lease(database: str) -> None:
    async with opened(database, patience=replace(HASTY, lease_ms=300)):
        with pytest.raises(Unavailable, match="in use by another"):
            await PostgresStore(database, "t", replace(HASTY, start_ms=1000)).__aenter__()


async def test_the_lease_of_a_dead_process_of_this_machine_is_taken_at_once(database: str) -> None:
    await migrate_database(database)
    host, _, start, machine = this_process().split(" ")
    later = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 600000"
    for number, tenant in enumerate((f"{host} 4194304 {start} {machine}", OTHER_PROCESS)):
        sql(database, f"INSERT INTO leases VALUES ('t{number}', '{tenant}', 4, {later})")
    async with opened(database, "t0"):
        assert sql(database, "SELECT epoch FROM leases WHERE tenant = 't0'") == [(5,)]
    with pytest.raises(Unavailable, match="process 1 on elsewhere"):
        await PostgresStore(database, "t1", HASTY).__aenter__()


def test_only_a_process_that_is_surely_gone_counts_as_dead() -> None:
    host, number, start, machine = this_process().split(" ")
    assert is_dead(f"{host} {number} 1.00 {machine}")
    assert is_dead(f"{host} 4194304 {start} {machine}")
    with subprocess.Popen(["true"], stdout=subprocess.PIPE) as ended:
        assert ended.stdout is not None
        ended.stdout.read()
        is_gone = f"{host} {ended.pid} {psutil.Process(ended.pid).create_time():.2f} {machine}"
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        assert is_dead(is_gone)
    for alive in (this_process(), OTHER_PROCESS, "", "x", f"{host} nonsense {start} {machine}"):
        assert not is_dead(alive)
    assert (describe(OTHER_PROCESS), describe("")) == ("process 1 on elsewhere", "nobody")


# ---- what the database asks for -----------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
async def test_a_transaction_that_the_database_asks_to_repeat_is_repeated(database: str, level: str) -> None:
    strict = make_conninfo(database, options=f"-c default_transaction_isolation={level.replace(' ', chr(92) + ' ')}")
    async with opened(strict) as store:
        with psycopg.connect(database) as other:
            await asyncio.to_thread(other.execute, b"UPDATE leases SET holder = holder WHERE tenant = 't'")
            writing = asyncio.create_task(propose(store, [-1], [1], [1.0], A))
            await until(lambda: waiters(database) == 1)
        assert (await writing).outcome.tolist() == [0]
        assert (await store.last())[0] == 1


@pytest.mark.parametrize("code", ["40001", "40P01"])
async def test_a_reading_that_the_database_asks_to_repeat_is_repeated(database: str, code: str) -> None:
    async with opened(database) as store:
        assert await store._database.read(Stubborn(code, 4)) == 5
        with pytest.raises(Unavailable, match=r"the store did not answer: no \(6 times\)"):
            await store._database.read(Stubborn(code, 6))
        assert await store.policies() == []


class Stubborn:
    """Work to which the database answers so many times that it be repeated; returns how often it ran."""

    def __init__(self, code: str, times: int) -> None:
        self._raise = f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END $$".encode()
        self._times, self._ran = times, 0

    async def __call__(self, connection: Any) -> int:
        self._ran += 1
        if self._ran <= self._times:
            await connection.execute(self._raise)
        return self._ran


def waiters(url: str) -> int:
    return int(sql(url, "SELECT count(*) FROM pg_locks WHERE NOT granted")[0][0])


async def aside(url: str, text: str) -> None:
    """Run a statement in a thread: it may wait for a lock that a store on this event loop holds."""
    await asyncio.to_thread(sql, url, text)


async def until(holds: Any) -> None:
    """Ask again and again, from a thread, until something holds."""
    while not await asyncio.to_thread(holds):
        pass


RAISE: Final = """
    CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF NEW.at_ms = 666 THEN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END IF; RETURN NEW; END $$
"""


@pytest.mark.parametrize("code", ["53100", "40001", "40P01", "22000", "23505", "57014", "XX000"])
async def test_a_write_that_the_database_refuses_fails_alone_and_leaves_the_memory_right(
    database: str, code: str
) -> None:
    async with opened(database) as store:
        await aside(database, RAISE.format(code=code))
        await aside(database, "CREATE TRIGGER fail BEFORE INSERT ON facts FOR EACH ROW EXECUTE FUNCTION fail()")
        why = "the disk of the database is full" if code == "53100" else "no"
        with pytest.raises(Unavailable, match=f"the store did not take the write: {why}"):
            await propose(store, [-1], [1], [1.0], A, now_ms=666)
        assert await store.last() == (0, 0)
        assert await store.series() == []
        await propose(store, [-1], [1], [2.0], B, now_ms=667)
        assert await store.series() == [(0, B)]


async def test_neighbours_of_a_value_that_the_database_refuses_are_stored(database: str) -> None:
    async with opened(database) as store:
        await aside(database, RAISE.format(code="22000"))
        await aside(database, "CREATE TRIGGER fail BEFORE INSERT ON facts FOR EACH ROW EXECUTE FUNCTION fail()")
        found = await asyncio.gather(
            *(store.append(Heartbeat(), now_ms) for now_ms in (1, 666, 3)), return_exceptions=True
        )
        assert [type(one) for one in found][1].__mro__[1] is Unavailable
        assert [one.position for one in await store.read(0, 9)] == [1, 2]


async def test_neighbours_of_a_refused_request_are_done(database: str) -> None:
    async with opened(database) as store:
        found = await asyncio.gather(
            store.append(Heartbeat(), 1), store.forget(99), store.append(Heartbeat(), 2), return_exceptions=True
        )
        assert isinstance(found[1], NotFound)
        assert (await store.last())[0] == 2


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
async def test_a_database_that_cannot_keep_any_text_is_refused_by_the_name_of_its_encoding(
    database: str, encoding: str
) -> None:
    name = f"encoded_{os.getpid()}"
    sql(database, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'")
    address = make_conninfo(database, dbname=name)
    try:
        for ask in (PostgresStore(address, "t", HASTY).__aenter__, lambda: survey(address, "t")):
            with pytest.raises(Unavailable, match=f"the database's encoding is {encoding}, but UTF8 is needed"):
                await ask()
    finally:
        sql(database, f"DROP DATABASE {name}")


# ---- durability ---------------------------------------------------------------------------------------------------


async def test_a_database_that_would_forget_commits_is_refused(database: str) -> None:
    forgetful = make_conninfo(database, options="-c synchronous_commit=off")
    with pytest.raises(Unavailable, match="synchronous_commit=off"):
        await PostgresStore(forgetful, "t", HASTY).__aenter__()
    with pytest.raises(Unavailable, match="synchronous_commit=off"):
        await survey(forgetful, "t")


async def test_a_database_that_is_told_to_forget_commits_is_refused_from_then_on(database: str) -> None:
    async with opened(database) as store:
        await store.append(Heartbeat(), 1)
        connection = store._database._connection
        assert connection is not None
        await connection.execute("SET synchronous_commit TO off")
        with pytest.raises(Unavailable, match="synchronous_commit=off"):
            await store.append(Heartbeat(), 2)
        await connection.execute("SET synchronous_commit TO on")
        assert (await store.append(Heartbeat(), 2)).position == 2


async def test_a_server_that_power_could_damage_is_pointed_out() -> None:
    with new_cluster() as cluster, cluster.running():
        await migrate_database(cluster.url())
        assert (await survey(cluster.url(), "t")).risks == ()
        sql(cluster.url(), "ALTER SYSTEM SET full_page_writes TO off")
        sql(cluster.url(), "SELECT pg_reload_conf()")
        await until(lambda: sql(cluster.url(), "SHOW full_page_writes") == [("off",)])
        assert "full_page_writes is off" in (await survey(cluster.url(), "t")).risks[0]


async def test_a_survey_disturbs_nobody_and_says_who_writes(database: str) -> None:
    assert "lacks" in (await survey(database, "t")).facts[0]
    assert sql(database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    async with opened(database) as store:
        await store.append(Heartbeat(), 1)
        found = await survey(database, "t")
        assert found.facts[0] == "tenant t has 1 facts"
        assert re.match(r"process \d+ on .* writes now", found.facts[1])
        assert found.risks == ()
    assert (await survey(database, "t")).facts[1] == "nobody writes now"


# ---- schema -------------------------------------------------------------------------------------------------------


async def test_migrating_twice_or_by_many_at_once_is_the_same_as_once(database: str) -> None:
    steps = await asyncio.gather(*(migrate_database(database) for _ in range(4)))
    assert sorted(steps) == [0, 0, 0, len(STEPS)]
    assert await migrate_database(database) == 0
    assert sql(database, "SELECT step FROM migrations ORDER BY step") == [(n,) for n in range(1, len(STEPS) + 1)]


def test_two_processes_may_migrate_at_the_same_time(database: str, tmp_path: Path) -> None:
    environment = {**os.environ, "QUANTUM_STORE__KIND": "postgres", "QUANTUM_STORE__URL": database_url(database)}
    command = [sys.executable, "-m", "quantum", "migrate"]
    running = [
        subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    taken = [int(re.findall(r"\((\d+) steps were missing\)", text)[0]) for text in said]
    assert sum(taken) == len(STEPS)
    assert sql(database, "SELECT step FROM migrations ORDER BY step") == [(n,) for n in range(1, len(STEPS) + 1)]


def database_url(database: str) -> str:
    """Return the address of a database on a socket as a URL."""
    parts = conninfo_to_dict(database)
    return f"postgresql://{parts['user']}@/{parts['dbname']}?host={parts['host']}"


async def test_a_migration_that_was_interrupted_goes_on(database: str) -> None:
    await migrate_database(database)
    sql(database, "DELETE FROM migrations WHERE step > 5")
    assert await migrate_database(database) == len(STEPS) - 5
    async with opened(database) as store:
        await store.append(Heartbeat(), 1)


async def test_a_database_of_a_newer_quantum_is_left_alone(database: str) -> None:
    await migrate_database(database)
    sql(database, "INSERT INTO migrations VALUES (%s, 0)", len(STEPS) + 1)
    for attempt in (migrate_database(database), survey(database, "t"), PostgresStore(database).__aenter__()):
        with pytest.raises(Unavailable, match="newer Quantum"):
            await attempt


async def test_texts_with_nul_characters_are_kept_as_they_are(database: str) -> None:
    nul = "a\0b"
    async with opened(database) as store:
        fact = await store.append(NoteIncident(nul, nul, nul), 1)
        assert await store.read(0, 1) == [fact]
        receiver = WebhookReceiver(name=nul, url="http://x/")
        await store.record(Effects(receivers=(receiver,)), 1)
        assert await store.receivers() == [receiver]
        await store.record(Effects(deleted_receivers=(nul,)), 2)
        assert await store.receivers() == []
        assert await store.deliveries(nul, Page()) == []
        with pytest.raises(NotFound):
            await store.alert(nul)


async def test_names_sort_by_their_bytes_whatever_the_collation(database: str) -> None:
    names = ["b", "A", "ä", "_", "a"]
    async with opened(database) as store:
        await store.record(Effects(receivers=tuple(WebhookReceiver(name=one, url="http://x/") for one in names)), 1)
        assert [one.name for one in await store.receivers()] == ["A", "_", "a", "b", "ä"]


def test_what_an_address_says_of_the_network_is_not_overruled() -> None:
    url = with_defaults("postgresql://db/q?connect_timeout=60")
    assert "connect_timeout=60" in url
    assert "keepalives_idle=5" in url


def test_a_lease_outlives_several_renewals() -> None:
    assert Lease("t", "me").length_ms == LEASE_MS


# ---- the dialect --------------------------------------------------------------------------------------------------

REFUSED_BY_COCKROACH: Final = re.compile(
    r"\b(LISTEN|NOTIFY|pg_advisory\w*|pg_try_advisory\w*|SERIAL|BIGSERIAL|SEQUENCE|nextval|UNLOGGED|CLUSTER|INHERITS"
    r"|EXCLUDE|BRIN|GIN|GIST|EXTENSION|PARTITION|DEFERRABLE|TRIGGER|VACUUM|COPY|TABLESPACE|FROM ONLY|xmin|ctid|LATERAL"
    r"|SET STORAGE|MERGE INTO|TEMP|TEMPORARY|money|macaddr|\w+range)\b",
    re.IGNORECASE,
)


def statements() -> list[str]:
    """Return every SQL text in the package: literals, with the parts of an f-string joined."""
    found = []
    for path in sorted(Path(str(package.__file__)).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            text = ""
            if isinstance(node, ast.JoinedStr):
                text = "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
            elif isinstance(node, ast.Constant) and isinstance(node.value, bytes):
                text = node.value.decode()
            if re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|SHOW|SET|ALTER|DROP|WITH|BEGIN)\b[^.]", text):
                found.append(text)
    return found


def test_there_are_statements_to_be_checked() -> None:
    assert len(statements()) > 60


@pytest.mark.parametrize("text", statements(), ids=lambda text: " ".join(text.split())[:50])
def test_every_statement_stays_inside_what_cockroachdb_accepts(text: str) -> None:
    assert not REFUSED_BY_COCKROACH.search(text)
    assert "::" not in text
    assert not re.search(r"ON CONFLICT \([^)]*\(", text)


def test_each_step_of_the_schema_is_one_definition_that_may_be_repeated() -> None:
    for step in STEPS:
        assert len(re.findall(r"\b(?:CREATE|ALTER)\b", step)) == 1
        assert "IF NOT EXISTS" in step
        assert ";" not in step
