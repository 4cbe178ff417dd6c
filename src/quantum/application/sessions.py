"""Sessions: who is signed in to the dashboard, known by a secret that the browser has and no script can read.

A session holds the tokens that the identity provider gave for it. They are renewed while it is used, every half a
minute or before they expire if that is sooner: so roles that were changed, and sessions that were ended there, are
noticed within a minute. A renewal uses the refresh token up, and showing one twice ends everything, so only one
renewal of a session is under way at any time, in all processes together.

The provider may also say that a session there is over, and is heeded at once. What is kept has no list of sessions,
so that a copy of it lets nobody in; the end is kept beside them instead, and every session is held against it.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

from quantum.domain.errors import QuantumError, Rejected, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from quantum.application.ports import Clock, Identity, Principal, TransientStore

PREFIX: Final = "qs_"
"""By it what a cookie has is told from tokens and keys."""
SECRET_BYTES: Final = 32
RENEW_AFTER_MS: Final = 30_000
"""With a look at each live socket every 20 seconds, what changed at the provider is noticed within a minute."""
MARGIN_MS: Final = 15_000
"""How long before it expires a token is renewed at the latest."""
RENEWAL_MS: Final = 15_000
"""So long nobody else tries; a renewal takes less."""
ELSEWHERE_MS: Final = 250
ELSEWHERE_TIMES: Final = 20
AWAY_MS: Final = 5_000
"""So long an identity provider that did not answer is not asked again."""
MEANS: Final = "session"


@dataclass(frozen=True, slots=True)
class There:
    """What an identity provider calls somebody, and their session there; empty where it does not say."""

    person: str = ""
    session: str = ""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What an identity provider grants.

    Attributes:
        expires_in_s: how long the access token is good.
        there: whose they are, when they are granted to somebody who signs in.
    """

    access_token: str
    refresh_token: str
    expires_in_s: int
    there: There = There()


@dataclass(frozen=True, slots=True)
class Notice:
    """An identity provider's word that a session there is over; without a session, all of a person's are.

    Attributes:
        id: of the notice, which counts once.
        until_ms: from then on it is believed no more.
    """

    id: str
    there: There
    until_ms: int


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in.

    Attributes:
        renew_at_ms: from then on the tokens should be renewed.
        until_ms: when it ends, however much it is used.
        subject: who began it; empty in sessions that older versions began.
        tenant: theirs.
        person_there: what the identity provider calls them, and `session_there` their session there.
    """

    access_token: str
    refresh_token: str
    renew_at_ms: int
    expires_at_ms: int
    until_ms: int
    subject: str = ""
    tenant: str = ""
    person_there: str = ""
    session_there: str = ""

    def dump(self) -> bytes:
        """Return it as bytes, from which `Session(**json.loads(...))` makes it again."""
        return json.dumps(asdict(self)).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """How long sessions last: unused, and at all."""

    idle_ms: int = 1_800_000
    longest_ms: int = 36_000_000


class Sessions:
    """Identity by session, and by whatever else another identity knows."""

    def __init__(
        self,
        kept: TransientStore,
        others: Identity,
        clock: Clock,
        refresh: Callable[[str], Awaitable[Tokens]],
        end: Callable[[str], Awaitable[None]],
        lifetimes: Lifetimes,
    ) -> None:
        """Take what is needed.

        Args:
            kept: has the sessions.
            others: judges access tokens, and everything that is no session.
            clock: what time it is.
            refresh: returns new tokens for a refresh token. Raises Rejected if there are none any more, or Unavailable.
            end: ends the session of a refresh token at the identity provider. Raises Rejected or Unavailable.
            lifetimes: of sessions.
        """
        self._kept = kept
        self._others = others
        self._clock = clock
        self._refresh = refresh
        self._end = end
        self._lifetimes = lifetimes
        self._renewals: dict[str, asyncio.Task[Session]] = {}
        self._away_until_ms = 0

    @property
    def banner(self) -> str:
        """See Identity."""
        return self._others.banner

    async def begin(self, tokens: Tokens) -> tuple[str, Principal]:
        """Sign somebody in; return the session's secret, which is new each time, and who it is.

        Raises:
            Rejected: the access token is no good.
            Unavailable: it cannot be judged, or the session cannot be kept.
        """
        principal = await self._others.identify(tokens.access_token)
        credential = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        begun = self._session(tokens, self._clock.now_ms() + self._lifetimes.longest_ms)
        who, there = (principal.subject, principal.tenant), tokens.there
        session = replace(begun, subject=who[0], tenant=who[1], person_there=there.person, session_there=there.session)
        await self._kept.add(credential, session.dump(), self._rest_ms(session))
        if there.session:
            await self._kept.add(_whose(there.session), json.dumps(who).encode(), self._lifetimes.longest_ms)
        return credential, principal

    async def identify(self, credential: str) -> Principal:
        """See Identity; a session that is over is like none: `unauthenticated`."""
        if not credential.startswith(PREFIX):
            return await self._others.identify(credential)
        session = await self._find(credential)
        if await self._is_ended(session):
            await self.forget(credential)
            raise _over()
        if self._is_due(session):
            session = await self._renewed(credential)
        try:
            found = await self._others.identify(session.access_token)
        except Rejected as refusal:
            if refusal.reason != "invalid_credential":
                raise
            if self._is_due(session):
                raise Unavailable("the identity provider does not answer, so the session cannot be renewed") from None
            raise _over() from None
        return replace(found, means=MEANS)

    async def forget(self, credential: str) -> Session | None:
        """Let a session be over, here; return what it was. Raises Unavailable."""
        found = await self._kept.take(credential)
        if found is None:
            return None
        session = Session(**json.loads(found))
        if session.session_there:
            await self._kept.take(_whose(session.session_there))
        return session

    async def end(self, session: Session) -> bool:
        """Let a session that was forgotten here be over at the identity provider, too; return whether it is."""
        return await self._ended_there(session.refresh_token)

    async def heed(self, notice: Notice) -> tuple[str, str]:
        """Let the sessions be over that a notice is about, in every process; return subject and tenant of who had one.

        Both are empty where that is not known: nobody has it any more, or the notice is about a person.

        Raises:
            Rejected: `logout_token`: it was heeded already.
            Unavailable: it cannot be kept; the same notice may be shown again.
        """
        heeded, now_ms = f"notice {notice.id}", self._clock.now_ms()
        if not await self._kept.add(heeded, b"", notice.until_ms - now_ms):
            raise Rejected("logout_token", "this logout token was shown before")
        there, longest_ms = notice.there, self._lifetimes.longest_ms
        end, value = _end_of(there), str(now_ms).encode()
        try:
            if not await self._kept.add(end, value, longest_ms):
                await self._kept.replace(end, value, longest_ms)
            whose = await self._kept.take(_whose(there.session)) if there.session else None
        except Unavailable:
            with suppress(Unavailable):
                await self._kept.take(heeded)
            raise
        subject, tenant = json.loads(whose) if whose else ("", "")
        return subject, tenant

    async def _is_ended(self, session: Session) -> bool:
        """Return whether the identity provider said so since the session began."""
        begun_ms = session.until_ms - self._lifetimes.longest_ms
        for there in (There(session=session.session_there), There(person=session.person_there)):
            ended_ms = await self._kept.find(_end_of(there)) if there != There() else None
            if ended_ms is not None and begun_ms <= int(ended_ms):
                return True
        return False

    async def _find(self, credential: str) -> Session:
        found = await self._kept.find(credential)
        if found is None:
            raise _over()
        return Session(**json.loads(found))

    async def _renewed(self, credential: str) -> Session:
        """Return a session after its renewal; who waits for it may go away, the renewal goes on."""
        renewal = self._renewals.get(credential)
        if renewal is None:
            renewal = self._renewals[credential] = asyncio.create_task(self._renew(credential))
            renewal.add_done_callback(lambda _: self._renewals.pop(credential))
        return await asyncio.shield(renewal)

    async def _renew(self, credential: str) -> Session:
        claim = f"renewal of {credential}"
        if not await self._kept.add(claim, b"", RENEWAL_MS):
            return await self._renewed_elsewhere(credential)
        try:
            # somebody else may have been quicker between the look and the claim
            session = await self._find(credential)
            return await self._exchange(credential, session) if self._is_due(session) else session
        finally:
            with suppress(Unavailable):
                await self._kept.take(claim)

    async def _renewed_elsewhere(self, credential: str) -> Session:
        """Return a session that another process renews; as it was, as long as that is good enough."""
        for _ in range(ELSEWHERE_TIMES):
            session = await self._find(credential)
            if not self._is_due(session) or self._clock.now_ms() < session.expires_at_ms:
                break
            await self._clock.sleep(ELSEWHERE_MS)
        return session

    async def _exchange(self, credential: str, session: Session) -> Session:
        """Return a session with new tokens; as it was if the identity provider does not answer."""
        if self._clock.now_ms() < self._away_until_ms:
            return session
        try:
            tokens = await self._refresh(session.refresh_token)
        except Rejected:
            await self.forget(credential)
            raise _over() from None
        except Unavailable:
            self._away_until_ms = self._clock.now_ms() + AWAY_MS
            return session
        newer = self._session(tokens, session.until_ms)
        renewed = replace(
            session,
            access_token=newer.access_token,
            refresh_token=newer.refresh_token,
            renew_at_ms=newer.renew_at_ms,
            expires_at_ms=newer.expires_at_ms,
        )
        if not await self._kept.replace(credential, renewed.dump(), self._rest_ms(renewed)):
            # signed out meanwhile, with a refresh token that was used up already
            await self._ended_there(tokens.refresh_token)
            raise _over()
        return renewed

    async def _ended_there(self, refresh_token: str) -> bool:
        try:
            await self._end(refresh_token)
        except QuantumError:
            return False
        return True

    def _session(self, tokens: Tokens, until_ms: int) -> Session:
        now_ms, life_ms = self._clock.now_ms(), 1000 * tokens.expires_in_s
        renew_at_ms = now_ms + min(RENEW_AFTER_MS, max(life_ms // 2, life_ms - MARGIN_MS))
        return Session(tokens.access_token, tokens.refresh_token, renew_at_ms, now_ms + life_ms, until_ms)

    def _is_due(self, session: Session) -> bool:
        return session.renew_at_ms <= self._clock.now_ms()

    def _rest_ms(self, session: Session) -> int:
        return min(self._lifetimes.idle_ms, session.until_ms - self._clock.now_ms())


def _end_of(there: There) -> str:
    """Return under what the end of a session there is kept, or that of all of a person's."""
    return f"end of session {there.session}" if there.session else f"end of person {there.person}"


def _whose(session_there: str) -> str:
    """Return under what is kept who has a session there."""
    return f"whose is session {session_there}"


def _over() -> Rejected:
    return Rejected("unauthenticated", "the session is over: sign in again")
