"""The directory: which slot the series of a raw key has, at the price of one dictionary lookup per series.

Two tables stand behind it. The registered label sets grow with the number of series, which is limited. Raw keys are a
cache of the bytes that senders use for a label set; senders are many and each has its own spelling, so the cache is
bounded and forgets what is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantum.domain.labels import LabelSet

DEFAULT_MAX_KEYS: Final = 2_000_000


class Directory:
    """Slots by label set and by raw key.

    The cache of raw keys has two generations: a full young one becomes the old one, the old one is dropped. Keys in
    use move back into the young one, so at most `max_keys` are held and the recently used half always is.

    Attributes:
        promised: how many series are about to be registered by requests under way.
    """

    def __init__(self, max_keys: int = DEFAULT_MAX_KEYS) -> None:
        self.promised = 0
        self._slots: dict[LabelSet, int] = {}
        self._young: dict[bytes, int] = {}
        self._old: dict[bytes, int] = {}
        self._generation_size = max(1, max_keys // 2)

    def __len__(self) -> int:
        """Return the number of registered series."""
        return len(self._slots)

    @property
    def cached_keys(self) -> int:
        """How many raw keys are held now; never more than `max_keys` (2 if that is less)."""
        return len(self._young) + len(self._old)

    def register(self, labels: LabelSet, slot: int) -> None:
        """Note the slot of a series; noting it again changes nothing."""
        self._slots[labels] = slot

    def slot_of(self, labels: LabelSet) -> int | None:
        """Return the slot of a label set, or None if it is not registered."""
        return self._slots.get(labels)

    def find(self, keys: Sequence[bytes]) -> list[int | None]:
        """Return the cached slot of each raw key, None where it is not cached."""
        found = list(map(self._young.get, keys))
        if self._old and None in found:
            for index, slot in enumerate(found):
                if slot is None and (old := self._old.get(keys[index])) is not None:
                    found[index] = old
                    self.remember(keys[index], old)
        return found

    def remember(self, key: bytes, slot: int) -> None:
        """Cache the slot of a raw key."""
        if len(self._young) >= self._generation_size:
            self._old, self._young = self._young, {}
        self._young[key] = slot
