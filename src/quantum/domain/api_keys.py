"""API keys: what programs show to come in. Only a digest of each is ever kept, so the log and backups give none away.

A key is 256 random bits, which nobody can guess however fast, so a plain SHA-256 is as good as a slow password hash
and costs a microsecond on each request.

>>> KeyRing().keys
()
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from quantum.domain.errors import Conflict, NotFound, Rejected
from quantum.domain.facts import IssueApiKey

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quantum.domain.facts import RevokeApiKey

SCOPES: Final = ("ingest", "read")
MAX_KEYS: Final = 1000
MAX_NAME: Final = 200
DIGEST_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key that is in force, or has expired.

    Attributes:
        id: part of the key, and no secret: how it is spoken of.
        name: unique.
        digest: SHA-256 of the whole key.
        scopes: of `SCOPES`, in that order: what it may be used for.
        expires_at_ms: from when on it is refused; None means never.
        created_by: who issued it.
    """

    id: str
    name: str
    digest: bytes
    scopes: tuple[str, ...]
    created_at_ms: int
    expires_at_ms: int | None
    created_by: str

    def is_expired(self, now_ms: int) -> bool:
        """Return whether it is refused at a time."""
        return self.expires_at_ms is not None and self.expires_at_ms <= now_ms


class KeyRing:
    """The keys of a tenant, by id."""

    def __init__(self, keys: Iterable[ApiKey] = ()) -> None:
        self._keys = {key.id: key for key in keys}

    @property
    def keys(self) -> tuple[ApiKey, ...]:
        """All keys, oldest first."""
        return tuple(sorted(self._keys.values(), key=lambda key: (key.created_at_ms, key.id)))

    def find(self, key_id: str) -> ApiKey | None:
        """Return the key of an id, or None."""
        return self._keys.get(key_id)

    def obey(self, command: IssueApiKey | RevokeApiKey, now_ms: int) -> ApiKey:
        """Issue or revoke a key and return it; raises Rejected, Conflict or NotFound."""
        return self.issue(command, now_ms) if isinstance(command, IssueApiKey) else self.revoke(command)

    def issue(self, command: IssueApiKey, now_ms: int) -> ApiKey:
        """Put a key in force and return it.

        Raises:
            Rejected: it makes no sense, or there are `MAX_KEYS` already.
            Conflict: its name or id is taken.
        """
        name = command.name
        if not name.strip() or len(name) > MAX_NAME or not name.isprintable():
            raise Rejected("api_key_name", f"the name of a key has 1 to {MAX_NAME} printable characters")
        scopes = tuple(scope for scope in SCOPES if scope in command.scopes)
        if not scopes or len(scopes) != len(command.scopes):
            raise Rejected("api_key_scopes", f"a key has scopes, each once, of {', '.join(SCOPES)}")
        if command.expires_at_ms is not None and command.expires_at_ms <= now_ms:
            raise Rejected("api_key_expiry", "a key expires in the future, or never")
        if len(command.digest) != DIGEST_BYTES:
            raise Rejected("api_key_digest", f"the digest of a key has {DIGEST_BYTES} bytes")
        if command.key_id in self._keys or any(name == key.name for key in self._keys.values()):
            raise Conflict(f"there is a key named {name!r} already")
        if len(self._keys) >= MAX_KEYS:
            raise Rejected("api_key_limit", f"key limit {MAX_KEYS} reached")
        key = ApiKey(
            id=command.key_id,
            name=name,
            digest=command.digest,
            scopes=scopes,
            created_at_ms=now_ms,
            expires_at_ms=command.expires_at_ms,
            created_by=command.actor,
        )
        self._keys[key.id] = key
        return key

    def revoke(self, command: RevokeApiKey) -> ApiKey:
        """Take a key out of force, for good, and return what it was; raises NotFound."""
        key = self._keys.pop(command.key_id, None)
        if key is None:
            raise NotFound(f"there is no key {command.key_id}")
        return key
