"""What a store holds in memory of a transaction, and what others see of it meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from tests.contracts.test_fact_log import NOTHING, A, propose

from quantum.adapters.fact_tail import Undo
from quantum.adapters.sqlite import SqliteStore

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from numpy.typing import NDArray


def test_what_is_due_at_the_commit_is_done_in_order_unless_it_is_undone() -> None:
    undo, done = Undo(), list[str]()
    undo(lambda: done.append("undone first"))
    undo.once_committed(lambda: done.append("first"))
    kept = len(undo)
    undo(lambda: done.append("undone second"))
    undo.once_committed(lambda: done.append("second"))
    undo.run(kept)
    undo.once_committed(lambda: done.append("third"))
    undo.conclude()
    assert done == ["undone second", "first", "third"]


async def test_a_reader_between_a_seal_and_its_commit_misses_nothing(tmp_path: Path) -> None:
    async with SqliteStore(str(tmp_path / "quantum.db"), "default") as store:
        await propose(store, [-1], [1000], [4.5], A)
        readers, beside = list[int](), store._engine._connect()

        def seal_and_look(connection: sqlite3.Connection, undo: Undo) -> None:
            store._seal(connection, undo, 1, NOTHING)
            beside.execute("BEGIN")
            readers.append(len(store._find(beside, _slots(), 0, 2000)))
            beside.close()

        await store._engine.write(seal_and_look)
        assert readers == [1]
        assert not store._tail.rows
        assert len(await store.samples([0], 0, 2000)) == 1


def _slots() -> NDArray[np.int64]:
    return np.zeros(1, np.int64)
