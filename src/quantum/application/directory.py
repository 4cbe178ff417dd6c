"""The directory: which slot the series of a raw key has, found for all series of a request in one compiled pass.

Two tables stand behind it. The registered label sets grow with the number of series, which is limited. Raw keys are a
cache of the bytes that senders use for a label set; senders are many and each has its own spelling, so the cache is
bounded and forgets what is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.application.keys import ABSENT, Keys, KeyTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
        self._young = KeyTable()
        self._old = KeyTable()
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

    def find(self, keys: Keys) -> NDArray[np.int64]:
        """Return the cached slot of each raw key, `ABSENT` where it is not cached."""
        found = self._young.find(keys)
        missing = np.flatnonzero(found == ABSENT)
        if len(missing) and len(self._old):
            found[missing] = self._old.find(keys.take(missing))
            again = missing[found[missing] != ABSENT]
            self.remember(keys.take(again), found[again])
        return found

    def remember(self, keys: Keys, slots: NDArray[np.int64]) -> None:
        """Cache the slots of raw keys."""
        first = 0
        while first < len(keys):
            if len(self._young) >= self._generation_size:
                self._old, self._young = self._young, KeyTable()
            some = slice(first, first + self._generation_size - len(self._young))
            self._young.add(keys[some], slots[some])
            first = some.stop
