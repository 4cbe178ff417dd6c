"""API keys: issued, judged and revoked.

Issuing and revoking are facts; a key itself is seen once, by who asked for it. Both take effect as soon as they are in
the log, however far detection is behind: a key that leaked is not good until somebody scores.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from quantum.application.ports import Principal
from quantum.domain.errors import NotFound, QuantumError, Rejected
from quantum.domain.facts import IssueApiKey, RevokeApiKey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from quantum.application.control import Control
    from quantum.application.monitoring import Monitor
    from quantum.application.ports import Clock, Identity
    from quantum.domain.api_keys import ApiKey, KeyRing
    from quantum.domain.facts import Command

PREFIX: Final = "qk_"
"""By it a key is told from a token, and found by programs that look for leaked secrets."""
ID_BYTES: Final = 6
SECRET_BYTES: Final = 32
NOBODYS: Final = bytes(32)
"""Compared with where there is no such key, so that the answer takes as long."""
ROLE_OF_SCOPE: Final = {"ingest": "ingest", "read": "viewer"}
AUDIT_S: Final = 1.0
"""So long is waited for the pipeline, so that who looks into the audit log next finds what they did."""
NO_GOOD: Final = "the key is unknown, expired or revoked"


class KeyOwners:
    """Which tenant's key ring has a key, by the key's id: one look, however many tenants there are.

    Ids are drawn at random by this process and never by who asks, so that no tenant can take another's.
    """

    def __init__(self) -> None:
        self._tenants: dict[str, str] = {}

    def note(self, key_id: str, tenant: str) -> None:
        """Note who has a key; whoever had its id first keeps it."""
        self._tenants.setdefault(key_id, tenant)

    def forget(self, key_id: str) -> None:
        """Note that nobody has a key any more."""
        self._tenants.pop(key_id, None)

    def of(self, key_id: str) -> str | None:
        """Return the tenant that has a key, or None."""
        return self._tenants.get(key_id)


class ApiKeys:
    """The keys of a tenant."""

    banner = ""

    def __init__(
        self,
        control: Control,
        monitor: Monitor,
        clock: Clock,
        tenant: str,
        owners: KeyOwners,
        draw: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        """Take what is needed; `draw` returns so many random bytes in hexadecimal, which nobody can foresee."""
        self._control = control
        self._monitor = monitor
        self._clock = clock
        self._tenant = tenant
        self._owners = owners
        self._draw = draw
        self._used_ms: dict[str, int] = {}

    def open(self) -> None:
        """Let the keys be found that were issued before; the log is known."""
        for key in self.every():
            self._owners.note(key.id, self._tenant)

    @property
    def _ring(self) -> KeyRing:
        return self._monitor.keys.ring

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
            Rejected, Conflict: see `KeyRing.issue`.
            Unavailable: the log does not answer; whether there is a key now, the list of keys says.
        """
        key_id = self._draw(ID_BYTES)
        key = f"{PREFIX}{key_id}_{self._draw(SECRET_BYTES)}"
        command = IssueApiKey(key_id, name, _digest(key), tuple(scopes), expires_at_ms, actor)
        await self._order(command)
        self._owners.note(key_id, self._tenant)
        return key_id, key

    async def revoke(self, key_id: str, actor: str) -> None:
        """Refuse a key from now on; raises NotFound or Unavailable."""
        await self._order(RevokeApiKey(key_id, actor))
        self._used_ms.pop(key_id, None)
        self._owners.forget(key_id)

    async def _order(self, command: Command) -> None:
        position = await self._control.append(command)
        await self._monitor.keys.follow()
        with suppress(TimeoutError, QuantumError):
            await asyncio.wait_for(self._monitor.expect(position), AUDIT_S)
        if refusal := self._monitor.keys.refusal(position):
            raise refusal

    async def identify(self, credential: str) -> Principal:
        """See Identity."""
        key_id = id_in(credential)
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

    Only members of tenants whose data is here are let in. A key that nobody has is judged like one with a wrong secret,
    by the first tenant's ring, so that the answer and the time for it say nothing about whose keys there are.
    """

    def __init__(self, keys: Mapping[str, ApiKeys], owners: KeyOwners, others: Identity) -> None:
        """Take the keys of every tenant, of which there is at least one."""
        self._keys = keys
        self._owners = owners
        self._others = others
        self._first = next(iter(keys.values()))

    @property
    def banner(self) -> str:
        """See Identity."""
        return self._others.banner

    async def identify(self, credential: str) -> Principal:
        """See Identity."""
        if credential.startswith(PREFIX):
            return await self._keys.get(self._owners.of(id_in(credential)) or "", self._first).identify(credential)
        found = await self._others.identify(credential)
        if found.tenant not in self._keys:
            raise Rejected(
                "tenant_not_served",
                f"{found.subject} is of tenant {found.tenant!r}, whose data is not kept by this process",
            )
        return found


def id_in(credential: str) -> str:
    """Return the id in a key, which is no secret; of what is no key, something that is nobody's id."""
    return credential.removeprefix(PREFIX).partition("_")[0]


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
