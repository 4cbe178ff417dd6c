"""Denials and attendances: what somebody may not have, and who signed in and out, goes into the log within bounds.

Of each kind one a second on average and ten at once are written; more than that is somebody trying keys, or signing in
again and again, and is counted instead. The kinds are bounded apart, so nobody hides a sign-in behind a thousand
denials. A store that does not answer makes nothing fail: who may not is told so at once, whatever else is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from quantum.application.control import ORIGIN
from quantum.application.rates import Rate
from quantum.domain.errors import Unavailable
from quantum.domain.facts import Attendance, Denied

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantum.application.ports import Clock, EventStream, FactLog, Principal

PER_S: Final = 1
MAX_TEXT: Final = 200
SIGN_IN: Final = "sign_in"
SIGN_OUT: Final = "sign_out"


class Bounded:
    """Writes facts of one kind into the log, as far as that is bearable.

    Attributes:
        unwritten: how many were only counted.
    """

    def __init__(self, log: FactLog, stream: EventStream, clock: Clock) -> None:
        self.unwritten = 0
        self._log, self._stream, self._clock = log, stream, clock
        self._rate = Rate(PER_S, clock.now_ms())

    async def _write(self, body: Denied | Attendance) -> None:
        now_ms = self._clock.now_ms()
        if self._rate.take(1, now_ms):
            self.unwritten += 1
            return
        try:
            await self._stream.publish([await self._log.append(body, now_ms)])
        except Unavailable:
            self.unwritten += 1


class Denials(Bounded):
    """Writes denials into the log of a tenant."""

    async def note(self, actor: str, action: str, target: str, reason: str) -> None:
        """Write that somebody (or nobody known: "") was denied something."""
        cut = [text[:MAX_TEXT] for text in (action, target, reason)]
        await self._write(Denied(actor[:MAX_TEXT], ORIGIN.get(), *cut))


class Attendances(Bounded):
    """Writes who signs in and out into the log of a tenant."""

    async def note(self, actor: str, action: str) -> None:
        """Write that somebody signed in or out."""
        await self._write(Attendance(actor[:MAX_TEXT], ORIGIN.get(), action))


class Doorkeeper:
    """Notes who signs in and out and who is turned away, each in the log of their own tenant.

    Who is not known, or of a tenant that is not served, is in the log of the first tenant, as with other denials.
    """

    def __init__(self, denials: Mapping[str, Denials], attendances: Mapping[str, Attendances]) -> None:
        """Take both by tenant, of which there is at least one."""
        self._denials = denials
        self._attendances = attendances
        self._of_strangers = next(iter(denials.values()))

    async def came(self, principal: Principal) -> None:
        """Note that somebody signed in; if they may do nothing here, that they were denied it."""
        who = principal.subject
        if principal.tenant not in self._denials:
            reason = f"{who} is of tenant {principal.tenant!r}, whose data is not kept by this process"
            await self._of_strangers.note(who, SIGN_IN, "", reason)
        elif not principal.roles:
            await self._denials[principal.tenant].note(who, SIGN_IN, "", f"{who} has no role here, so may do nothing")
        else:
            await self._attendances[principal.tenant].note(who, SIGN_IN)

    async def turned_away(self, reason: str) -> None:
        """Note that somebody unknown could not sign in. Nothing of what they sent may be in the reason."""
        await self._of_strangers.note("", SIGN_IN, "", reason)

    async def left(self, subject: str, tenant: str) -> None:
        """Note that somebody signed out, in the log of their tenant; members of tenants not served have none."""
        if subject and tenant in self._attendances:
            await self._attendances[tenant].note(subject, SIGN_OUT)
