"""Raw keys of series in columns, and a table from such keys to numbers, without an object per key.

A request names thousands of series by bytes that came before. Making an object of each and asking a dictionary took
longer than all else that was done with them; here the bytes stay where they came, and one compiled pass finds them.

>>> keys = Keys.of([b"a", b"bc"])
>>> table = KeyTable()
>>> table.add(keys[1:], np.array([7]))
>>> table.find(keys).tolist() == [ABSENT, 7]
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
SEGMENT: Final = 256
"""So many numbers are secret; longer keys are hashed in segments of almost as many bytes."""
_SECRET_BITS: Final = 46
_KEPT: Final = 2**_SECRET_BITS - 1
_HASH_BITS: Final = 31
_WORD: Final = 2**16 - 1
_HEAD: Final = 3
_FEWEST: Final = 16
_HASH, _AT, _SIZE, _NUMBER = 0, 1, 2, 3
"""Columns of an entry."""


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

    def take(self, indices: NDArray[np.intp]) -> Keys:
        """Return the keys with these indices."""
        return Keys(self.message, self.places[indices])

    def __eq__(self, other: object) -> bool:
        """Return whether another sequence has the same keys in the same order."""
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment] # they are many


@inlined
def _hash(key: Sequence[int], secret: NDArray[np.int64]) -> int:
    """Return 31 bits that nobody can foresee who does not know the secret.

    Multilinear hashing (Lemire and Kaser, "Strongly universal string hashing is fast", 2014): two keys of one segment
    have the same with a chance of one in 2^31, whatever they are. No sum reaches 2^63.
    """
    hashed, at, size = 0, 0, len(key)
    word = size & _WORD
    while at < size:
        part = key[at : at + len(secret) - _HEAD]
        hashed = (secret[0] + secret[1] * word + secret[2] * (hashed >> 16)) & _KEPT
        for place in range(len(part)):
            hashed += secret[_HEAD + place] * part[place]
        hashed = (hashed & _KEPT) >> (_SECRET_BITS - _HASH_BITS)
        word = hashed & _WORD
        at += len(part)
    return hashed


@inlined
def _is_same(one: Sequence[int], other: NDArray[np.uint8]) -> bool:
    differs = 0
    for place in range(len(one)):  # to the end, since that is eight times as fast as looking when to stop
        differs |= one[place] ^ other[place]
    return differs == 0


@inlined
def _has(entry: NDArray[np.int64], key: Sequence[int], held: NDArray[np.uint8]) -> bool:
    return entry[_SIZE] == len(key) and _is_same(key, held[entry[_AT] : entry[_AT] + len(key)])


@inlined
def _find(
    key: Sequence[int],
    hashed: int,
    table: NDArray[np.int64],
    entries: NDArray[np.int64],
    held: NDArray[np.uint8],
) -> int:
    """Return the place in the table where a key is, or would be."""
    place, mask = hashed & (len(table) - 1), len(table) - 1
    while table[place] >= 0:
        entry = entries[table[place]]
        if entry[_HASH] == hashed and _has(entry, key, held):
            break
        place = (place + 1) & mask
    return place


@compiled
def find_keys(
    data: Sequence[int],
    places: NDArray[np.int64],
    secret: NDArray[np.int64],
    table: NDArray[np.int64],
    entries: NDArray[np.int64],
    held: NDArray[np.uint8],
    count: int,
    found: NDArray[np.int64],
) -> None:
    """Write the number of each key, `ABSENT` where there is none.

    Senders repeat themselves: the entry after the one that was found last is looked at first, which spares the hash.

    Args:
        data: bytes of the message.
        places: int64 (n, 2): start and end of each key.
        secret: int64 (SEGMENT,), below 2^46.
        table: int64, a power of two: index of an entry, or -1. Some are -1.
        entries: int64 (m, 4): hash, start and size in `held`, and number.
        held: bytes of all keys.
        count: of the entries that are in use.
        found: int64 (n,), written.
    """
    entry = -1
    for index in range(len(places)):
        key = data[places[index, 0] : places[index, 1]]
        entry += 1
        if entry == count or not _has(entries[entry], key, held):
            entry = table[_find(key, _hash(key, secret), table, entries, held)]
        found[index] = entries[entry, _NUMBER] if entry >= 0 else ABSENT


@compiled
def add_keys(
    data: Sequence[int],
    places: NDArray[np.int64],
    numbers: NDArray[np.int64],
    secret: NDArray[np.int64],
    table: NDArray[np.int64],
    entries: NDArray[np.int64],
    held: NDArray[np.uint8],
    used: NDArray[np.int64],
) -> None:
    """Note the number of each key, see `find_keys`; there is room for all.

    Args:
        data: bytes of the message.
        places: int64 (n, 2).
        numbers: int64 (n,); a key that is there already gets another.
        secret: int64 (SEGMENT,).
        table: changed.
        entries: changed.
        held: changed.
        used: int64 (2,), changed: how many entries and how many bytes are in use.
    """
    for index in range(len(places)):
        key = data[places[index, 0] : places[index, 1]]
        hashed = _hash(key, secret)
        place = _find(key, hashed, table, entries, held)
        if table[place] >= 0:
            entries[table[place], _NUMBER] = numbers[index]
            continue
        entry = entries[used[0]]
        entry[_HASH], entry[_AT], entry[_SIZE], entry[_NUMBER] = hashed, used[1], len(key), numbers[index]
        for at in range(len(key)):
            held[used[1] + at] = key[at]
        table[place] = used[0]
        used[0] += 1
        used[1] += len(key)


@compiled
def spread(table: NDArray[np.int64], entries: NDArray[np.int64]) -> None:
    """Put all entries into an empty table, see `find_keys`."""
    mask = len(table) - 1
    for index in range(len(entries)):
        place = entries[index, _HASH] & mask
        while table[place] >= 0:
            place = (place + 1) & mask
        table[place] = index


def _bytes_of(data: bytes) -> Sequence[int]:
    """Return bytes as what the functions here read fastest: an array if compiled, else as they are."""
    return cast("Sequence[int]", np.frombuffer(data, np.uint8)) if hasattr(add_keys, "py_func") else data


def warm_up() -> None:
    """Compile the kernels, which takes seconds the first time on a machine, before anybody waits for it."""
    table = KeyTable()
    for count in range(_FEWEST + 1):
        table.add(Keys.of([b"%d" % count]), np.array([count]))
    table.find(Keys.of([b"0"]))


class KeyTable:
    """Numbers by key; `len` is how many keys there are. Nothing is ever removed."""

    def __init__(self) -> None:
        self._secret = np.array([secrets.randbits(_SECRET_BITS) for _ in range(SEGMENT)], np.int64)
        self._table = np.full(2 * _FEWEST, -1)
        self._entries = np.empty((_FEWEST, 4), np.int64)
        self._held = np.empty(_FEWEST, np.uint8)
        self._used = np.zeros(2, np.int64)

    def __len__(self) -> int:
        """Return how many keys there are."""
        return int(self._used[0])

    def find(self, keys: Keys) -> NDArray[np.int64]:
        """Return the number of each key, `ABSENT` where there is none."""
        found = np.empty(len(keys), np.int64)
        parts = _bytes_of(keys.message), keys.places, self._secret, self._table, self._entries, self._held
        find_keys(*parts, len(self), found)
        return found

    def add(self, keys: Keys, numbers: NDArray[np.int64]) -> None:
        """Note the number of each key; one that it has already is replaced."""
        places = keys.places
        self._make_room(len(places), int((places[:, 1] - places[:, 0]).sum()))
        message = _bytes_of(keys.message)
        add_keys(message, places, numbers, self._secret, self._table, self._entries, self._held, self._used)

    def _make_room(self, more: int, more_bytes: int) -> None:
        count, size = self._used.tolist()
        if size + more_bytes > len(self._held):
            held = np.empty(max(size + more_bytes, 2 * size), np.uint8)
            held[:size] = self._held[:size]
            self._held = held
        if count + more > len(self._entries):
            entries = np.empty((1 << (count + more).bit_length(), 4), np.int64)
            entries[:count] = self._entries[:count]
            self._entries, self._table = entries, np.full(2 * len(entries), -1)
            spread(self._table, entries[:count])
