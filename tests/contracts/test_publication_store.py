"""PublicationStore: what was noted last is found, and the checkpoint before it stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantum.application.ports import Published
from quantum.domain.alerts import Effects

if TYPE_CHECKING:
    from tests.stores import Store


async def test_at_first_nothing_was_published(store: Store) -> None:
    assert await store.published() is None


async def test_what_was_noted_last_is_found_even_if_it_is_earlier(store: Store) -> None:
    await store.note_published(Published(9, 9000))
    assert await store.published() == Published(9, 9000)
    await store.note_published(Published(4, 4000))
    assert await store.published() == Published(4, 4000)


async def test_it_has_nothing_to_do_with_what_was_recorded(store: Store) -> None:
    await store.note_published(Published(9, 9000))
    await store.record(Effects(), 3)
    assert await store.recorded_upto() == 3
    assert await store.published() == Published(9, 9000)


async def test_the_newest_state_that_is_not_after_it_stays(store: Store) -> None:
    await store.save(2, b"two")
    await store.save(5, b"five")
    await store.note_published(Published(7, 7000))
    for position in (9, 12, 15, 18):
        await store.save(position, b"state")
    assert await store.newest(upto=8) == (5, b"five")
    assert await store.newest(upto=4) is None
    await store.note_published(Published(15, 15_000))
    await store.save(20, b"twenty")
    await store.save(22, b"twenty-two")
    assert await store.newest(upto=8) is None
    assert await store.newest(upto=19) == (15, b"state")
