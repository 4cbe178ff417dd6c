"""The second wall between tenants, in the database itself: a question that forgets the tenant finds its own rows."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

import psycopg
import pytest
from psycopg import errors
from psycopg.conninfo import make_conninfo
from tests.contracts.test_fact_log import A, B, everything, propose
from tests.parts.postgres import sql

from quantum.adapters.postgres import Patience, PostgresStore, migrate_database, survey
from quantum.adapters.postgres.inspection import _words_of
from quantum.adapters.postgres.statements import change, fetch
from quantum.adapters.postgres.walls import AS_TENANT, ROLE, TABLES, Walls, look_at_walls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

HASTY: Final = Patience(start_ms=0)
OPEN_TABLES: Final = """
    SELECT c.relname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant'
    WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace AND NOT (
        c.relrowsecurity AND c.relforcerowsecurity
        AND EXISTS (SELECT 1 FROM pg_policies AS p WHERE p.tablename = c.relname AND p.schemaname = current_schema()
            AND p.qual LIKE '%%quantum.tenant%%' AND p.with_check LIKE '%%quantum.tenant%%')
    )
"""
"""Names the tables with a tenant column that the database does not keep apart."""


@pytest.fixture(name="database")
def empty_database(postgres_url: str) -> Iterator[str]:
    name = f"walls_{os.getpid()}"
    sql(postgres_url, f"CREATE DATABASE {name}")
    yield make_conninfo(postgres_url, dbname=name)
    sql(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(name="owner")
def ordinary_owner(database: str) -> Iterator[str]:
    """The address of the database for a user who owns it and may do nothing else."""
    name = f"owner_{os.getpid()}"
    sql(database, f"CREATE ROLE {name} LOGIN")
    sql(database, f"GRANT ALL ON SCHEMA public TO {name}")
    yield make_conninfo(database, user=name)
    sql(database, f"DROP OWNED BY {name}")
    sql(database, f"DROP ROLE {name}")


@asynccontextmanager
async def two_tenants(url: str) -> AsyncIterator[tuple[PostgresStore, PostgresStore]]:
    """The stores of two tenants who each sent a sample of a series of their own."""
    async with PostgresStore(url, "a", HASTY) as a, PostgresStore(url, "b", HASTY) as b:
        await propose(a, [-1], [1000], [1.0], A)
        await propose(b, [-1], [1000], [2.0], B)
        yield a, b


async def without_the_condition(store: PostgresStore, table: str = "series") -> list[tuple[Any, ...]]:
    """Return whose rows a question finds that names no tenant, asked as the store asks."""
    return await store._database.read(lambda connection: fetch(connection, f"SELECT DISTINCT tenant FROM {table}"))


async def test_every_table_that_has_a_tenant_has_a_wall(database: str) -> None:
    await migrate_database(database)
    assert sql(database, OPEN_TABLES) == []
    assert len(TABLES) >= 16
    sql(database, "CREATE TABLE added_later (tenant TEXT NOT NULL PRIMARY KEY, body BYTEA)")
    assert sql(database, OPEN_TABLES) == [("added_later",)]


@pytest.mark.parametrize("whose", ["database", "owner"])
async def test_a_question_without_the_tenant_finds_no_rows_of_others(
    whose: str, request: pytest.FixtureRequest
) -> None:
    """As a superuser, whom no policy binds, and as the owner of the tables, whom none binds unless it is forced."""
    url = request.getfixturevalue(whose)
    async with two_tenants(url) as (a, b):
        for table in ("series", "facts", "leases"):
            assert await without_the_condition(a, table) == [("a",)]
            assert await without_the_condition(b, table) == [("b",)]
        assert await a._database.write(
            lambda connection, _: change(connection, "UPDATE facts SET at_ms = 77 WHERE tenant = 'b'")
        ) in (0, -1)
        with pytest.raises(Exception, match="row-level security"):
            await a._database.write(
                lambda connection, _: change(connection, "INSERT INTO marks VALUES ('b', 'forgotten', 7)")
            )
        assert (await survey(url, "a")).facts[-1] == "the database keeps tenants apart as well (row-level security)"
    untouched = sql(request.getfixturevalue("database"), "SELECT tenant FROM facts WHERE at_ms <> 77 ORDER BY 1")
    assert untouched == [("a",), ("b",)]


async def test_who_does_not_say_whose_the_transaction_is_gets_nothing(owner: str) -> None:
    async with two_tenants(owner):
        for table in TABLES:
            assert sql(owner, f"SELECT tenant FROM {table}") == []
        with pytest.raises(errors.InsufficientPrivilege, match="row-level security"):
            sql(owner, "INSERT INTO marks VALUES ('a', 'forgotten', 7)")


async def test_what_one_transaction_said_is_forgotten_by_the_next_on_the_same_connection(database: str) -> None:
    await migrate_database(database)
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        walls = await look_at_walls(connection)
        assert walls.opening is not None
        async with connection.transaction():
            await change(connection, walls.opening, "a")
            assert (await fetch(connection, "SELECT current_user, current_setting('quantum.tenant')"))[0] == (ROLE, "a")
        [(user, tenant)] = await fetch(connection, "SELECT current_user, current_setting('quantum.tenant', true)")
        assert (user != ROLE, tenant) == (True, "")


async def test_a_user_who_owns_nothing_is_bound_by_the_walls_that_the_owner_put_up(database: str) -> None:
    await migrate_database(database)
    name = f"runs_{os.getpid()}"
    sql(database, f"CREATE ROLE {name} LOGIN")
    try:
        sql(database, f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}")
        url = make_conninfo(database, user=name)
        async with two_tenants(url) as (a, _):
            assert await without_the_condition(a) == [("a",)]
        assert sql(url, "SELECT * FROM series") == []
    finally:
        sql(database, f"DROP OWNED BY {name}")
        sql(database, f"DROP ROLE {name}")


async def test_walls_are_put_up_while_a_process_runs_that_had_none(owner: str, database: str) -> None:
    await migrate_database(owner)
    for table in TABLES:
        sql(database, f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        sql(database, f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
        sql(database, f"ALTER TABLE {table} OWNER TO CURRENT_USER")
        sql(database, f"GRANT ALL ON {table} TO PUBLIC")
    sql(database, "GRANT ALL ON migrations TO PUBLIC")
    async with two_tenants(owner) as (a, b):
        assert sorted(await without_the_condition(a)) == [("a",), ("b",)]
        assert "run `quantum migrate` as the owner" in (await survey(owner, "a")).facts[-1]
        assert await migrate_database(database) == 0
        assert await without_the_condition(a) == [("a",)]
        await propose(b, [-1], [2000], [3.0], B)
        assert len(await everything(b)) == 2
        assert "keeps tenants apart" in (await survey(owner, "a")).facts[-1]


async def test_a_server_that_is_cockroachdb_is_asked_for_no_walls() -> None:
    info = SimpleNamespace(parameter_status=lambda name: "v25" if name == "crdb_version" else None)
    walls = await look_at_walls(cast("Any", SimpleNamespace(info=info)))
    assert (walls.opening, walls.missing, walls.are_up) == (None, (), False)
    assert "only the questions keep tenants apart" in _words_of(walls)
    assert "there is no row-level security" in _words_of(Walls(AS_TENANT, frozenset(), ()))
