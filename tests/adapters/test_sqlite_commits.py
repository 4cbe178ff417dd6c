"""What becomes of work that shares a transaction, and of work that has one for itself, when it is refused."""

from __future__ import annotations

import asyncio
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
