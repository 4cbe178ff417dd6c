"""API keys: issued, judged and revoked.

Issuing and revoking are facts; a key itself is seen once, by who asked for it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, Final

from quantum.application.ports import Principal
from quantum.domain.errors import NotFound, Rejected
from quantum.domain.facts import IssueApiKey, RevokeApiKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantum.application.control import Control
    from quantum.application.monitoring import Monitor
    from quantum.application.ports import Clock, Identity
    from quantum.domain.api_keys import ApiKey, KeyRing

PREFIX: Final = "qk_"
"""By it a key is told from a token, and found by programs that look for leaked secrets."""
ID_BYTES: Final = 6
SECRET_BYTES: Final = 32
NOBODYS: Final = bytes(32)
"""Compared with where there is no such key, so that the answer takes as long."""
ROLE_OF_SCOPE: Final = {"ingest": "ingest", "read": "viewer"}
NO_GOOD: Final = "the key is unknown, expired or revoked"


class ApiKeys:
    """The keys of a tenant."""

    banner = ""

    def __init__(self, control: Control, monitor: Monitor, clock: Clock, tenant: str) -> None:
        self._control = control
        self._monitor = monitor
        self._clock = clock
        self._tenant = tenant
        self._used_ms: dict[str, int] = {}

    @property
    def _ring(self) -> KeyRing:
        return self._monitor.pipeline.keys

    def every(self) -> tuple[ApiKey, ...]:
        """Return all keys, expired ones included, oldest first."""
        return self._ring.keys

    def key(self, key_id: str) -> ApiKey:
        """Return one; raises NotFound."""
        found = self._ring.find(key_id)
        if found is None:
            raise NotFound(f"there is no key {key_id}")
        return found

    def used_at_ms(self, key_id: str) -> int | None:
        """Return when a key last let somebody in, or None if not since this process began."""
        return self._used_ms.get(key_id)

    async def issue(self, name: str, scopes: Sequence[str], expires_at_ms: int | None, actor: str) -> tuple[str, str]:
        """Make a key; return its id and the key, which nobody can be shown again.

        Raises:
            Rejected, Conflict, Unavailable: see `KeyRing.issue` and `Control.submit`.
        """
        key_id = secrets.token_hex(ID_BYTES)
        key = f"{PREFIX}{key_id}_{secrets.token_hex(SECRET_BYTES)}"
        command = IssueApiKey(key_id, name, _digest(key), tuple(scopes), expires_at_ms, actor)
        await self._control.submit(command)
        return key_id, key

    async def revoke(self, key_id: str, actor: str) -> None:
        """Refuse a key from now on; raises NotFound or Unavailable."""
        await self._control.submit(RevokeApiKey(key_id, actor))
        self._used_ms.pop(key_id, None)

    async def identify(self, credential: str) -> Principal:
        """See Identity."""
        key_id = credential.removeprefix(PREFIX).partition("_")[0]
        found = self._ring.find(key_id)
        # an id is no secret; what is compared in constant time is the digest of all of it
        equal = hmac.compare_digest(_digest(credential), found.digest if found else NOBODYS)
        now_ms = self._clock.now_ms()
        if found is None or not equal or found.is_expired(now_ms):
            raise Rejected("invalid_credential", NO_GOOD)
        self._used_ms[key_id] = now_ms
        return Principal(
            subject=f"key {found.name}",
            roles=frozenset(ROLE_OF_SCOPE[scope] for scope in found.scopes),
            tenant=self._tenant,
            scopes=frozenset(found.scopes),
            expires_at_ms=found.expires_at_ms,
            means="key",
        )


class Admission:
    """Identity by whatever is shown: API keys by their beginning, everything else by another identity.

    Only members of the tenant whose data is here are let in.
    """

    def __init__(self, keys: ApiKeys, others: Identity, tenant: str) -> None:
        self._keys = keys
        self._others = others
        self._tenant = tenant

    @property
    def banner(self) -> str:
        """See Identity."""
        return self._others.banner

    async def identify(self, credential: str) -> Principal:
        """See Identity."""
        if credential.startswith(PREFIX):
            return await self._keys.identify(credential)
        found = await self._others.identify(credential)
        if found.tenant != self._tenant:
            raise Rejected(
                "tenant_not_served",
                f"{found.subject} is of tenant {found.tenant!r}, whose data is not kept by this process",
            )
        return found


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
