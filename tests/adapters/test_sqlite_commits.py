"""What becomes of work that shares a transaction, and of work that has one for itself, when it is refused."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import TYPE_CHECKING

import pytest
from tests.contracts.test_fact_log import A, propose

from quantum.adapters.sqlite import SqliteStore
from quantum.domain.errors import Rejected

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from quantum.adapters.fact_tail import Undo

MARK = "INSERT INTO marks (tenant, name, position) VALUES ('default', ?, 1)"


@pytest.mark.parametrize("together", [1, 2, 5])
async def test_work_that_is_refused_leaves_nothing_and_takes_nobody_along(together: int, tmp_path: Path) -> None:
    def refuse(connection: sqlite3.Connection, undo: Undo) -> None:
        connection.execute(MARK, ("refused",))
        undo(lambda: undone.append("refused"))
        raise Rejected("no", "no")

    def work(name: str, connection: sqlite3.Connection, _: Undo) -> None:
        connection.execute(MARK, (name,))

    undone: list[str] = []
    async with SqliteStore(str(tmp_path / "quantum.db"), "default") as store:
        engine = store._engine
        names = [str(number) for number in range(together - 1)]
        jobs = [engine.write(refuse), *(engine.write(partial(work, name)) for name in names)]
        answers = await asyncio.gather(*jobs, return_exceptions=True)
        assert [type(one) for one in answers] == [Rejected] + [type(None)] * (together - 1)
        assert undone == ["refused"]
        marks = await engine.read(lambda connection: connection.execute("SELECT name FROM marks ORDER BY 1").fetchall())
        assert [name for (name,) in marks] == names
        await propose(store, [-1], [1000], [4.5], A)
        assert len(await store.samples([0], 0, 2000)) == 1


async def test_a_new_database_is_nobody_elses_to_read_and_one_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    """Secrets of receivers are in it."""

    def modes(folder: Path) -> dict[str, str]:
        return {file.name: f"{file.stat().st_mode & 0o777:o}" for file in folder.iterdir() if file.suffix != ".lock"}

    before = os.umask(0o022)
    try:
        for folder, mode in ((tmp_path / "new", "600"), (tmp_path / "old", "644")):
            if mode == "644":
                folder.mkdir()
                (folder / "quantum.db").touch()
            async with SqliteStore(str(folder / "quantum.db"), "default") as store:
                await propose(store, [-1], [1000], [4.5], A)
                assert modes(folder) == dict.fromkeys(("quantum.db", "quantum.db-wal", "quantum.db-shm"), mode)
            async with SqliteStore(str(folder / "quantum.db"), "default") as store:
                assert len(await store.samples([0], 0, 2000)) == 1
    finally:
        os.umask(before)
