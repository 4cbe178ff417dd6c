"""What a store holds in memory of a transaction, and what others see of it meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from tests.contracts.test_fact_log import NOTHING, A, propose

from quantum.adapters.fact_tail import SAMPLES, Undo
from quantum.adapters.pieces import pack_piece
from quantum.adapters.sqlite import SqliteStore

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    import pytest
    from numpy.typing import NDArray

    from quantum.adapters.fact_tail import Unsealed
    from quantum.adapters.pieces import Piece


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


async def test_a_reader_between_a_seal_and_its_commit_misses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with SqliteStore(str(tmp_path / "quantum.db"), "default") as store:
        await propose(store, [-1], [1000], [4.5], A)
        readers, beside, seal = list[int](), store._engine._connect(), store._seal

        def seal_and_look(connection: sqlite3.Connection, undo: Undo, unsealed: Unsealed, piece: Piece) -> None:
            seal(connection, undo, unsealed, piece)
            beside.execute("BEGIN")
            readers.append(len(store._find(beside, _slots(), 0, 2000)))
            beside.close()

        monkeypatch.setattr(store, "_seal", seal_and_look)
        await store.seal(1, NOTHING)
        assert readers == [1]
        assert not store._tail.rows
        assert len(await store.samples([0], 0, 2000)) == 1


async def test_what_a_doubtful_commit_has_sealed_is_not_sealed_again(tmp_path: Path) -> None:
    async with SqliteStore(str(tmp_path / "quantum.db"), "default") as store:
        await propose(store, [-1], [1000], [4.5], A)
        unsealed = store._tail.unsealed(1)
        await store.seal(1, NOTHING)
        assert unsealed is not None
        piece = pack_piece(1, 1, [(0, SAMPLES, 0, 1, b"")], unsealed.rows, NOTHING)
        await store._engine.write(lambda connection, undo: store._seal(connection, undo, unsealed, piece))
        assert len(await store.samples([0], 0, 2000)) == 1
        assert len(await store.read(0, 10)) == 1


def _slots() -> NDArray[np.int64]:
    return np.zeros(1, np.int64)
