"""What is kept for a while under a secret, in this process; `redis/` has what several processes share.

Of a secret only a digest is kept, and its value only encrypted with another digest of it (A256GCM), so a copy of what
is kept lets nobody in.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Self

from joserfc import jwe
from joserfc.jwk import OctKey

if TYPE_CHECKING:
    from quantum.application.ports import Clock

HEADER: Final = {"alg": "dir", "enc": "A256GCM"}
MAX_KEPT: Final = 100_000
"""In this process; beyond it the oldest goes."""


def seal(secret: str, value: bytes) -> str:
    """Return a value such that only who has the secret can read it."""
    return jwe.encrypt_compact(dict(HEADER), value, _key_of(secret))


def unseal(secret: str, sealed: str) -> bytes:
    """Return what was sealed with a secret."""
    found = jwe.decrypt_compact(sealed, _key_of(secret), algorithms=list(HEADER.values())).plaintext
    return found or b""


def name_of(secret: str) -> str:
    """Return the name under which the value of a secret is kept."""
    return hashlib.sha256(b"name " + secret.encode()).hexdigest()


def _key_of(secret: str) -> OctKey:
    return OctKey.import_key(hashlib.sha256(b"key " + secret.encode()).digest())


class MemoryTransients:
    """Kept by this process, and gone with it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[int, str]] = {}

    async def __aenter__(self) -> Self:
        """There is nothing to open."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """There is nothing to close."""

    async def add(self, secret: str, value: bytes, for_ms: int) -> bool:
        """See TransientStore."""
        if self._find(secret) is not None:
            return False
        self._make_room()
        self._put(secret, value, for_ms)
        return True

    async def find(self, secret: str) -> bytes | None:
        """See TransientStore."""
        return self._find(secret)

    async def replace(self, secret: str, value: bytes, for_ms: int) -> bool:
        """See TransientStore."""
        if self._find(secret) is None:
            return False
        self._put(secret, value, for_ms)
        return True

    async def take(self, secret: str) -> bytes | None:
        """See TransientStore."""
        found = self._find(secret)
        self._kept.pop(name_of(secret), None)
        return found

    def _find(self, secret: str) -> bytes | None:
        until_ms, sealed = self._kept.get(name_of(secret), (0, ""))
        return unseal(secret, sealed) if self._clock.now_ms() < until_ms else None

    def _put(self, secret: str, value: bytes, for_ms: int) -> None:
        self._kept[name_of(secret)] = (self._clock.now_ms() + for_ms, seal(secret, value))

    def _make_room(self) -> None:
        if len(self._kept) < MAX_KEPT:
            return
        now_ms = self._clock.now_ms()
        self._kept = {name: kept for name, kept in self._kept.items() if kept[0] > now_ms}
        while len(self._kept) >= MAX_KEPT:
            del self._kept[next(iter(self._kept))]
