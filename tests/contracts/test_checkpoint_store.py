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


async def test_only_the_newest_states_and_the_landmarks_stay(store: Store) -> None:
    await store.save(1, b"one", 1000)
    for position in (5, 9, 12):
        await store.save(position, b"state")
    assert await store.newest(upto=8) == (1, b"one")
    assert await store.newest(upto=11) == (9, b"state")
    assert await store.landmarks() == [(1, 1000)]
