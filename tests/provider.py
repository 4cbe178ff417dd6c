"""An identity provider of a test: it answers as Keycloak does, with well-signed tokens, and as a test decides."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

from tests.issuer import CLIENT, ISSUER, Issuer, SigningKey, claims

from quantum.domain.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from quantum.application.ports import Clock

KEY: Final = SigningKey("of the provider")
PLACE: Final = f"{ISSUER}/protocol/openid-connect"
LIFE_S: Final = 60
PERSON: Final = str(claims(0)["sub"])
"""Whose all sessions are."""


@dataclass
class Provider:
    """Grants tokens to whoever has a code, or a refresh token that was not used yet.

    Attributes:
        clock: by which tokens expire.
        roles: of everybody, now.
        tenant: of everybody, now.
        away: whether it does not answer.
        configuration: members of its description that a test wants otherwise.
        id_claims: claims of ID tokens that a test wants otherwise.
        refusal: status and error with which every request for tokens is refused, if set.
        hold: is waited for before renewed tokens are handed over, if set.
        refreshed: how many times tokens were renewed.
        ended: sessions that were ended.
    """

    clock: Clock
    roles: list[str] = field(default_factory=lambda: ["viewer"])
    tenant: str = "default"
    away: bool = False
    configuration: dict[str, Any] = field(default_factory=dict)
    id_claims: dict[str, Any] = field(default_factory=dict)
    refusal: tuple[int, str] | None = None
    hold: Callable[[], Awaitable[object]] | None = None
    refreshed: int = 0
    ended: list[str] = field(default_factory=list)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)
    _live: dict[str, str] = field(default_factory=dict)
    """Refresh tokens that may be used, and the session of each."""
    _used: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Have a key set."""
        self.issuer = Issuer([KEY.jwk()])

    def begin_anew(self) -> None:
        """Know nobody, and answer as Keycloak does."""
        self.tenant = "default"
        self.roles, self.away, self.configuration, self.id_claims = ["viewer"], False, {}, {}
        self.refusal, self.hold, self.refreshed, self.ended = None, None, 0, []
        for memory in (self._codes, self._live, self._used):
            memory.clear()

    def consent(self, address: str, **others: str) -> dict[str, str]:
        """Return what a browser comes back with after somebody signed in at an address."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert (asked["response_type"], asked["client_id"]) == ("code", CLIENT)
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_hex(8)
        self._codes[code] = asked
        return {"state": asked["state"], "code": code, "iss": ISSUER} | others

    async def ask(self, url: str, form: Mapping[str, str] | None) -> tuple[int, bytes]:
        """Answer as the adapter asks; see `Oidc`."""
        if self.away:
            raise Unavailable("the identity provider does not answer")
        if form is None:
            return 200, json.dumps(self._description()).encode()
        if self.refusal is not None:
            return self.refusal[0], json.dumps({"error": self.refusal[1]}).encode()
        if url.endswith("/logout"):
            return self._logout(form["refresh_token"])
        if form["grant_type"] == "authorization_code":
            return self._exchange(form)
        return await self._refresh(form["refresh_token"])

    def _description(self) -> dict[str, Any]:
        return {
            "issuer": ISSUER,
            "authorization_endpoint": f"{PLACE}/auth",
            "token_endpoint": f"{PLACE}/token",
            "end_session_endpoint": f"{PLACE}/logout",
            "code_challenge_methods_supported": ["plain", "S256"],
        } | self.configuration

    def _exchange(self, form: Mapping[str, str]) -> tuple[int, bytes]:
        asked = self._codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or asked["code_challenge"] != challenge or asked["redirect_uri"] != form["redirect_uri"]:
            return 400, b'{"error":"invalid_grant"}'
        session = secrets.token_hex(4)
        said = claims(self.clock.now_ms(), typ="ID", aud=CLIENT, nonce=asked["nonce"], sid=session) | self.id_claims
        return self._granted(session, KEY.token(said))

    async def _refresh(self, token: str) -> tuple[int, bytes]:
        session = self._live.pop(token, None)
        if session is None:
            # shown twice: somebody else may have it, so nobody keeps it (RFC 9700, 4.14)
            self._end(self._used.get(token, ""))
            return 400, b'{"error":"invalid_grant"}'
        self._used[token] = session
        self.refreshed += 1
        granted = self._granted(session, "")
        if self.hold is not None:
            await self.hold()
        return granted

    def _logout(self, token: str) -> tuple[int, bytes]:
        session = self._live.get(token)
        if session is None:
            return 400, b'{"error":"invalid_grant"}'
        self._end(session)
        return 204, b""

    def _end(self, session: str) -> None:
        self.ended.append(session)
        self._live = {token: of for token, of in self._live.items() if of != session}

    def end_all(self) -> None:
        """Let nobody be signed in any more, as an administrator does."""
        for session in set(self._live.values()):
            self._end(session)

    def sessions(self) -> list[str]:
        """Return the sessions of who is signed in, oldest first."""
        return list(dict.fromkeys(self._live.values()))

    def notice(self, **others: Any) -> dict[str, Any]:
        """Return the claims of a logout token, as Keycloak has them; those that are None are left out."""
        now_s = self.clock.now_ms() // 1000
        found = {
            "iss": ISSUER,
            "aud": CLIENT,
            "iat": now_s,
            "exp": now_s + 120,
            "jti": secrets.token_hex(8),
            "sub": PERSON,
            "typ": "Logout",
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
        } | others
        return {name: value for name, value in found.items() if value is not None}

    def _granted(self, session: str, id_token: str) -> tuple[int, bytes]:
        refresh_token = secrets.token_hex(8)
        self._live[refresh_token] = session
        access = KEY.token(
            claims(self.clock.now_ms(), sid=session, realm_access={"roles": self.roles}, tenant=self.tenant)
        )
        grant = {"access_token": access, "refresh_token": refresh_token, "expires_in": LIFE_S, "token_type": "Bearer"}
        return 200, json.dumps(grant | ({"id_token": id_token} if id_token else {})).encode()
