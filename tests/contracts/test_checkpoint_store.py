"""CheckpointStore: the newest state at or before a position."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.stores import Store


async def test_the_newest_state_is_found(store: Store) -> None:
    assert await store.newest() is None
    await store.save(5, b"five")
    await store.save(9, b"nine")
    assert await store.newest() == (9, b"nine")
    assert await store.newest(upto=8) == (5, b"five")
    assert await store.newest(upto=4) is None


async def test_a_state_may_be_saved_again(store: Store) -> None:
    await store.save(5, b"one")
    await store.save(5, b"two")
    assert await store.newest() == (5, b"two")
