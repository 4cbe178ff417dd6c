"""Raw keys of series in columns, and a table from such keys to numbers, without an object per key.

A request names thousands of series by bytes that came before. Making an object of each and asking a dictionary took
longer than all else that was done with them; here the bytes stay where they came, and one compiled pass finds them.

>>> keys = Keys.of([b"a", b"bc"])
>>> table = KeyTable()
>>> table.add(b"bc", 7)
>>> [int(found) for found in table.find(keys)] == [ABSENT, 7]
True
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, cast, overload

import numpy as np

from quantum.domain.kernels import compiled, inlined

if TYPE_CHECKING:
    from numpy.typing import NDArray

ABSENT: Final = int(np.iinfo(np.int64).min)
"""What the table says of a key that it does not have."""
SEGMENT: Final = 512
"""So many numbers are secret; longer keys are hashed in segments of twice as many bytes."""
_KEY_BITS: Final = 46
_WORD_BITS: Final = 16
_KEPT: Final = 2**_KEY_BITS - 1
"""A product of 46 and 16 bits has 62: no sum of it and another overflows."""
_WORD: Final = 2**_WORD_BITS - 1
_FEWEST: Final = 16


class Keys(Sequence[bytes]):
    """Keys that lie in the bytes of one message; shape (n,)."""

    def __init__(self, message: bytes, places: NDArray[np.int64]) -> None:
        """Take over where they are.

        Args:
            message: has all of them.
            places: int64 (n, 2), start and end of each.
        """
        self.message = message
        self.places = places

    @classmethod
    def of(cls, keys: Sequence[bytes]) -> Keys:
        """Return keys as columns; those that are so already as they are."""
        if isinstance(keys, Keys):
            return keys
        ends = np.cumsum(np.fromiter(map(len, keys), np.int64, len(keys)))
        return cls.side_by_side(b"".join(keys), ends)

    @classmethod
    def side_by_side(cls, message: bytes, ends: NDArray[np.int64]) -> Keys:
        """Return keys of which each begins where the one before ends."""
        places = np.zeros((len(ends), 2), np.int64)
        places[:, 1] = ends
        places[1:, 0] = ends[:-1]
        return cls(message, places)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.places)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Keys: ...
    def __getitem__(self, index: int | slice) -> bytes | Keys:
        """Return one, or some of them."""
        if isinstance(index, slice):
            return Keys(self.message, self.places[index])
        start, end = self.places[index].tolist()
        return self.message[start:end]

    def __eq__(self, other: object) -> bool:
        """Return whether another sequence has the same keys in the same order."""
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment] # they are many


@inlined
def _hash(data: Sequence[int], start: int, end: int, secret: NDArray[np.int64]) -> int:
    """Return 31 bits that nobody can foresee who does not know the secret.

    Multilinear hashing of 16-bit words (Lemire and Kaser, "Strongly universal string hashing is fast", 2014): two keys
    of a segment have the same with a chance of one in 2^31, whatever they are.
    """
    hashed, at, seen = 0, start, (end - start) & _WORD
    while at < end:
        words = min((end - at) >> 1, SEGMENT - 4)
        hashed = secret[0] + secret[1] * seen + secret[2] * (hashed >> 16)
        for word in range(words):
            two = (data[at] & 255) | (data[at + 1] & 255) << 8
            hashed = (hashed + secret[3 + word] * two) & _KEPT
            at += 2
        if end - at == 1:
            hashed = (hashed + secret[3 + words] * (data[at] & 255)) & _KEPT
            at += 1
        hashed >>= _WORD_BITS - 1
        seen = hashed & _WORD
    return hashed


@inlined
def _is_same(data: Sequence[int], start: int, other: Sequence[int], other_start: int, size: int) -> bool:
    place = 0
    while place < size and data[start + place] == other[other_start + place]:
        place += 1
    return place == size


@compiled
def find_keys(
    data: Sequence[int],
    places: NDArray[np.int64],
    secret: NDArray[np.int64],
    table: NDArray[np.int64],
    entries: NDArray[np.int64],
    held: Sequence[int],
    found: NDArray[np.int64],
) -> int:
    """Write the number of each key, `ABSENT` where there is none; return the place in the table where the last ended.

    Args:
        data: bytes of the message.
        places: int64 (n, 2): start and end of each key.
        secret: int64 (SEGMENT,), below 2^46.
        table: int64, a power of two: index of an entry, or -1. Some are -1.
        entries: int64 (m, 4): hash, start and size in `held`, and number.
        held: bytes of all keys.
        found: int64 (n,), written.
    """
    mask, place = len(table) - 1, 0
    for index in range(len(places)):
        start, end = places[index, 0], places[index, 1]
        hashed = _hash(data, start, end, secret)
        place = hashed & mask
        found[index] = ABSENT
        while table[place] >= 0:
            entry = entries[table[place]]
            if entry[0] == hashed and entry[2] == end - start and _is_same(data, start, held, entry[1], end - start):
                found[index] = entry[3]
                break
            place = (place + 1) & mask
    return place


@compiled
def spread(table: NDArray[np.int64], entries: NDArray[np.int64]) -> None:
    """Put all entries into an empty table, see `find_keys`."""
    mask = len(table) - 1
    for index in range(len(entries)):
        place = entries[index, 0] & mask
        while table[place] >= 0:
            place = (place + 1) & mask
        table[place] = index


@compiled
def hash_of(data: Sequence[int], secret: NDArray[np.int64]) -> int:
    """Return the hash of one key."""
    return _hash(data, 0, len(data), secret)


def _bytes_of(data: bytes | bytearray) -> Sequence[int]:
    """Return bytes as what the functions here read fastest: an array if compiled, else as they are."""
    return cast("Sequence[int]", np.frombuffer(data, np.uint8)) if hasattr(find_keys, "py_func") else data


class KeyTable:
    """Numbers by key; `len` is how many keys there are. Nothing is ever removed."""

    def __init__(self) -> None:
        self._secret = np.array([secrets.randbits(_KEY_BITS) for _ in range(SEGMENT)], np.int64)
        self._table = np.full(2 * _FEWEST, -1)
        self._entries = np.empty((_FEWEST, 4), np.int64)
        self._held = bytearray()
        self._count = 0

    def __len__(self) -> int:
        """Return how many keys there are."""
        return self._count

    def find(self, keys: Keys) -> NDArray[np.int64]:
        """Return the number of each key, `ABSENT` where there is none."""
        found = np.empty(len(keys), np.int64)
        self._look_up(keys.message, keys.places, found)
        return found

    def _look_up(self, message: bytes, places: NDArray[np.int64], found: NDArray[np.int64]) -> int:
        parts = _bytes_of(message), places, self._secret, self._table
        return find_keys(*parts, self._entries, _bytes_of(self._held), found)

    def add(self, key: bytes, number: int) -> None:
        """Note the number of a key; one that it has already is replaced."""
        found = np.empty(1, np.int64)
        place = self._look_up(key, np.array([[0, len(key)]], np.int64), found)
        if found[0] != ABSENT:
            self._entries[self._table[place], 3] = number
            return
        if self._count == len(self._entries):
            self._grow()
            place = self._look_up(key, np.array([[0, len(key)]], np.int64), found)
        hashed = hash_of(_bytes_of(key), self._secret)
        self._entries[self._count] = hashed, len(self._held), len(key), number
        self._table[place] = self._count
        self._held += key
        self._count += 1

    def _grow(self) -> None:
        entries = np.empty((2 * self._count, 4), np.int64)
        entries[: self._count] = self._entries
        self._entries, self._table = entries, np.full(4 * self._count, -1)
        spread(self._table, entries[: self._count])
