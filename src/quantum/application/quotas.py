"""Quotas: how many requests a second a key, a person and a tenant may make, so that none is in the others' way.

A request is counted against whoever makes it before it is counted against the tenant: what one key is refused takes
nothing from the others of its tenant. Refused requests are not counted at all, so a sender that keeps on knocking gets
its share and no less. Without sign-in nobody can be told from anybody, and nothing is counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from quantum.domain.errors import Throttled

if TYPE_CHECKING:
    from quantum.application.ports import Counters, Principal

NOBODY: Final = "stub"
"""How everybody is identified where there is no sign-in."""
KEY: Final = "key"
"""How a program is identified by its API key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Requests a second, with ten seconds' worth in a burst; 0 means any. Each limit's id is the reason of refusals.

    Attributes:
        key_per_s: `key_rate`: of one API key.
        user_per_s: `user_rate`: of one person.
        tenant_per_s: `tenant_rate`: of all keys and people of a tenant.
    """

    key_per_s: int = 0
    user_per_s: int = 0
    tenant_per_s: int = 0

    def by_id(self) -> dict[str, float]:
        """Return the limits by the reasons of their refusals."""
        rates = {"key_rate": self.key_per_s, "user_rate": self.user_per_s, "tenant_rate": self.tenant_per_s}
        return {reason: per_s or float("inf") for reason, per_s in rates.items()}


class Quotas:
    """Keeps to the rates."""

    def __init__(self, counters: Counters, rates: Rates) -> None:
        self.rates = rates
        self._counters = counters

    async def admit(self, principal: Principal) -> None:
        """Count a request.

        Raises:
            Throttled: `key_rate`, `user_rate` or `tenant_rate`: there were too many.
        """
        if principal.means == NOBODY:
            return
        tenant = principal.tenant
        if principal.means == KEY:
            await self._count("key_rate", f"{tenant}/key/{principal.subject}", self.rates.key_per_s, "this key")
        else:
            await self._count("user_rate", f"{tenant}/user/{principal.subject}", self.rates.user_per_s, "this user")
        await self._count("tenant_rate", f"{tenant}/all", self.rates.tenant_per_s, f"tenant {tenant}")

    async def _count(self, reason: str, name: str, per_s: int, whose: str) -> None:
        if not per_s:
            return
        wait_s = await self._counters.hit(name, per_s)
        if wait_s:
            setting = f"rates.{reason.removesuffix('_rate')}_per_s"
            sentence = f"{whose} makes more than {per_s} requests a second ({setting}); try again in {wait_s} s"
            raise Throttled(reason, sentence, wait_s)
