"""Tickets: how a page opens a socket, where a browser lets it show neither a header nor, safely, a cookie.

A ticket is good once, for half a minute, for the page that asked for it, and stands for whoever asked. It may be in a
URL, because it is used up by the time that a log has it.
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Final

from quantum.domain.errors import Rejected

if TYPE_CHECKING:
    from quantum.application.ports import Clock, Identity, Principal, TransientStore

PREFIX: Final = "qt_"
SECRET_BYTES: Final = 32
GOOD_FOR_MS: Final = 30_000


class Tickets:
    """Issues and takes tickets."""

    def __init__(self, kept: TransientStore, identity: Identity, clock: Clock) -> None:
        self._kept = kept
        self._identity = identity
        self._clock = clock

    async def issue(self, principal: Principal, credential: str, origin: str) -> tuple[str, int]:
        """Return a ticket and when it expires.

        Args:
            principal: whom it stands for.
            credential: what they showed.
            origin: of the page that asked; empty if it was none.

        Raises:
            Unavailable: it cannot be kept.
        """
        ticket = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        expires_at_ms = self._clock.now_ms() + GOOD_FOR_MS
        kept = [credential, principal.subject, principal.tenant, origin]
        await self._kept.add(ticket, json.dumps(kept).encode(), GOOD_FOR_MS)
        return ticket, expires_at_ms

    async def redeem(self, ticket: str, origin: str) -> tuple[str, Principal]:
        """Use a ticket up; return what its holder showed for it, and who that is now.

        Raises:
            Rejected: `invalid_credential`: it is unknown, used, expired, from another page or somebody else's by now;
                or what Identity refuses.
            Unavailable: nothing can be said now.
        """
        found = await self._kept.take(ticket)
        if found is None:
            raise _no_good()
        credential, subject, tenant, of_origin = json.loads(found)
        if origin != of_origin:
            raise _no_good()
        principal = await self._identity.identify(credential)
        if (principal.subject, principal.tenant) != (subject, tenant):
            raise _no_good()
        return credential, principal


def _no_good() -> Rejected:
    return Rejected("invalid_credential", "the ticket is unknown, used, expired or another page's: ask for a new one")
