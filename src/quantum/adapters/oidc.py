"""OpenID Connect's code flow with PKCE (RFC 7636, S256): how the dashboard's tokens are got, renewed and given back.

Tokens go from the identity provider to this process and stay here; a browser never has one. What an attempt to sign in
has to be recognised by (state, nonce, verifier) is derived from one secret that the browser keeps in a cookie of its
own, so nothing is kept here for strangers, and nobody can finish what another browser began.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

import aiohttp
import msgspec
import structlog

from quantum.application.sessions import Tokens
from quantum.domain.errors import Rejected, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from quantum.application.ports import Clock
    from quantum.application.sessions import There

TIMEOUT_S: Final = 5.0
MAX_ANSWER_BYTES: Final = 200_000
OK: Final = 200
DONE: Final = (200, 204)
NO: Final = 400
KNOWN_FOR_MS: Final = 300_000
ASK_AGAIN_MS: Final = 2_000
"""So long an identity provider that did not answer is not asked again for its addresses."""

log = structlog.get_logger("quantum.sign_in")


class Grant(msgspec.Struct, frozen=True):
    """An answer of the token endpoint (RFC 6749, 5.1)."""

    access_token: str
    refresh_token: str
    expires_in: int
    token_type: str
    id_token: str = ""


class Refusal(msgspec.Struct, frozen=True):
    """A refusal of the token endpoint (RFC 6749, 5.2)."""

    error: str = ""


class Places(msgspec.Struct, frozen=True):
    """Where an identity provider is asked for what."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    end_session_endpoint: str
    code_challenge_methods_supported: tuple[str, ...] = ()


class Attempt:
    """One attempt to sign in, from its secret."""

    def __init__(self, secret: str) -> None:
        self.state = _derived("state", secret)
        self.nonce = _derived("nonce", secret)
        self.verifier = _derived("verifier", secret)

    @property
    def challenge(self) -> str:
        """What the verifier is recognised by, and not found out from."""
        return _base64url(hashlib.sha256(self.verifier.encode()).digest())


class Oidc:
    """A public client of an identity provider."""

    def __init__(
        self,
        issuer: str,
        client: str,
        check_id_token: Callable[[str, str, str], Awaitable[There]],
        clock: Clock,
        ask: Callable[[str, Mapping[str, str] | None], Awaitable[tuple[int, bytes]]] | None = None,
    ) -> None:
        """Take what is needed.

        Args:
            issuer: the only one that is believed.
            client: our name there.
            check_id_token: returns whose an ID token is. Raises Rejected unless it is the issuer's, for a client, with
                a nonce.
            clock: what time it is.
            ask: returns status and body of a GET, or of a POST if there is a form. Raises Unavailable.
        """
        self.issuer = issuer
        self.client = client
        self._check_id_token = check_id_token
        self._clock = clock
        self._ask = ask or request
        self._places: Places | None = None
        self._asked_ms = -KNOWN_FOR_MS
        self._looking = asyncio.Lock()

    async def address(self, attempt: Attempt, redirect_uri: str) -> str:
        """Return where a browser is sent to sign in; raises Unavailable if the provider does not answer."""
        places = await self._find_places()
        asked = {
            "response_type": "code",
            "client_id": self.client,
            "scope": "openid",
            "state": attempt.state,
            "nonce": attempt.nonce,
            "redirect_uri": redirect_uri,
            "code_challenge": attempt.challenge,
            "code_challenge_method": "S256",
        }
        return f"{places.authorization_endpoint}?{urlencode(asked)}"

    async def exchange(self, code: str, attempt: Attempt, redirect_uri: str) -> Tokens:
        """Return the tokens of a code.

        Raises:
            Rejected: the provider refuses it, or gave an ID token that is not of this attempt.
            Unavailable: it does not answer.
        """
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        grant = await self._grant(form | {"code_verifier": attempt.verifier})
        there = await self._check_id_token(grant.id_token, self.client, attempt.nonce)
        return replace(_tokens(grant), there=there)

    async def refresh(self, refresh_token: str) -> Tokens:
        """Return newer tokens; the refresh token is used up. Raises Rejected if it is no good, or Unavailable."""
        return _tokens(await self._grant({"grant_type": "refresh_token", "refresh_token": refresh_token}))

    async def end(self, refresh_token: str) -> None:
        """End the session of a refresh token there; raises Rejected if it does not know it, or Unavailable."""
        places = await self._find_places()
        form = {"client_id": self.client, "refresh_token": refresh_token}
        status, body = await self._ask(places.end_session_endpoint, form)
        if status not in DONE:
            raise _refused(status, body)

    async def farewell(self, back: str) -> str:
        """Return where a browser can end its session at the provider (RP-initiated logout), to come back afterwards."""
        places = await self._find_places()
        asked = {"client_id": self.client, "post_logout_redirect_uri": back}
        return f"{places.end_session_endpoint}?{urlencode(asked)}"

    async def _grant(self, form: Mapping[str, str]) -> Grant:
        places = await self._find_places()
        status, body = await self._ask(places.token_endpoint, {"client_id": self.client, **form})
        if status != OK:
            raise _refused(status, body)
        try:
            grant = msgspec.json.decode(body, type=Grant)
        except (msgspec.MsgspecError, UnicodeError):
            raise Unavailable("the identity provider answers something that is no grant of tokens") from None
        if grant.token_type.lower() != "bearer" or grant.expires_in <= 0:
            raise Unavailable("the identity provider grants tokens of another kind than bearer tokens")
        return grant

    async def _find_places(self) -> Places:
        """Return the provider's addresses, which are known for five minutes, and longer while it does not answer."""
        async with self._looking:
            waited_ms = self._clock.now_ms() - self._asked_ms
            if waited_ms < (KNOWN_FOR_MS if self._places else ASK_AGAIN_MS):
                return self._known()
            self._asked_ms = self._clock.now_ms()
            try:
                status, body = await self._ask(f"{self.issuer}/.well-known/openid-configuration", None)
                self._places = self._checked(status, body)
            except Unavailable as failure:
                log.warning("the identity provider cannot be asked for its addresses", error=str(failure))
            return self._known()

    def _known(self) -> Places:
        if self._places is None:
            raise Unavailable("the identity provider does not answer; try again")
        return self._places

    def _checked(self, status: int, body: bytes) -> Places:
        try:
            found = msgspec.json.decode(body, type=Places)
        except (msgspec.MsgspecError, UnicodeError):
            raise Unavailable(f"the configuration of the identity provider does not read (status {status})") from None
        ours = urlsplit(self.issuer)
        for address in (found.authorization_endpoint, found.token_endpoint, found.end_session_endpoint):
            place = urlsplit(address)
            if (place.scheme, place.netloc) != (ours.scheme, ours.netloc):
                raise Unavailable("the configuration of the identity provider leads to another place")
        if found.issuer != self.issuer or "S256" not in found.code_challenge_methods_supported:
            raise Unavailable("the configuration is another issuer's, or of one without PKCE")
        return found


def _tokens(grant: Grant) -> Tokens:
    return Tokens(grant.access_token, grant.refresh_token, grant.expires_in)


def _refused(status: int, body: bytes) -> Rejected | Unavailable:
    """Return what a refusal amounts to: only what RFC 6749 calls an invalid grant is a no to whoever asked."""
    try:
        error = msgspec.json.decode(body, type=Refusal).error
    except (msgspec.MsgspecError, UnicodeError):
        error = ""
    if status == NO and error == "invalid_grant":
        return Rejected("invalid_credential", "the identity provider says no: sign in again")
    log.warning("the identity provider refuses this client", status=status, error=error)
    return Unavailable(f"the identity provider answers {status}, so nobody can sign in or stay")


def _derived(use: str, secret: str) -> str:
    return _base64url(hashlib.sha256(f"{use} {secret}".encode()).digest())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


async def request(url: str, form: Mapping[str, str] | None) -> tuple[int, bytes]:
    """Return status and body of a GET, or of a POST if there is a form: no redirects, bounded in time and size.

    Raises:
        Unavailable: there is no answer, or too long a one.
    """
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    method = "GET" if form is None else "POST"
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(method, url, data=form, allow_redirects=False) as answer,
        ):
            body = bytearray()
            async for piece in answer.content.iter_chunked(1 << 16):
                body += piece
                if len(body) > MAX_ANSWER_BYTES:
                    raise Unavailable("the identity provider's answer is too long")
            return answer.status, bytes(body)
    except (aiohttp.ClientError, TimeoutError, OSError):
        raise Unavailable("the identity provider does not answer; try again") from None
