"""Identity by OpenID Connect access tokens, as Keycloak issues them.

The issuer decides nothing about how its tokens are judged: algorithm, audience, clients and lifetime are pinned here.
The signature comes first; then what kind of token it is, for whom, from which client, and when. Keys are fetched when
they are needed, at most once in ten seconds, and the last good ones are kept while the issuer is away. Where nothing
can be said about a key, the answer is "not now" and not "no", so that a rotation refuses nobody wrongly.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import aiohttp
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from quantum.application.ports import Principal
from quantum.application.sessions import Notice, There
from quantum.domain.errors import Rejected, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from quantum.application.ports import Clock

ALGORITHM: Final = "RS256"
MIN_KEY_BITS: Final = 2048
ROLES: Final = frozenset({"viewer", "operator", "admin", "ingest"})
LEEWAY_MS: Final = 30_000
MAX_LIFETIME_S: Final = 86_400
ENDLESS_S: Final = 2**53
"""From here on a time is none: numbers beyond are no doubles any more."""
MAX_TOKEN_CHARS: Final = 16_384
MAX_ANSWER_BYTES: Final = 1_000_000
FETCH_TIMEOUT_S: Final = 5.0
FETCH_INTERVAL_MS: Final = 10_000
KEYS_FRESH_MS: Final = 300_000
KEYS_USABLE_MS: Final = 86_400_000
"""How long keys are used while the issuer does not answer."""
MAX_JUDGED: Final = 10_000
MAX_MISSED: Final = 1000
HEADER_MEMBERS: Final = frozenset({"alg", "kid", "typ"})
TOKENS: Final = frozenset({"JWT"})
LOGOUT_TOKENS: Final = frozenset({"JWT", "logout+jwt"})
"""What headers call themselves; for logout tokens the second is recommended, and not needed."""
LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
MAX_ID_CHARS: Final = 255
SEGMENTS: Final = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII).fullmatch
TENANT: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}").fullmatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Which tokens are believed.

    Attributes:
        issuer: exactly as in their `iss`, for example `https://sso.example/realms/quantum`.
        audience: must be in their `aud`.
        clients: one of them must be their `azp`: who may have asked for them.
        tenant_claim: the claim that names whose data the bearer may see; empty means `tenant` for everybody.
        tenant: see `tenant_claim`.
    """

    issuer: str
    audience: str
    clients: frozenset[str]
    tenant_claim: str = "tenant"
    tenant: str = "default"


class Keys:
    """The issuer's signing keys by id: fetched, checked, kept."""

    def __init__(self, issuer: str, clock: Clock, fetch: Callable[[str], Awaitable[bytes]]) -> None:
        self.fetches = 0
        self.generation = 0
        self._issuer = issuer
        self._clock = clock
        self._fetch = fetch
        self._keys: dict[str, RSAKey] = {}
        self._asked_ms = -FETCH_INTERVAL_MS
        self._got_ms = -KEYS_USABLE_MS
        self._fetching: asyncio.Task[None] | None = None
        self._missed: OrderedDict[str, None] = OrderedDict()

    async def find(self, kid: str) -> RSAKey:
        """Return a key.

        Raises:
            Rejected: `invalid_credential`: the issuer has been asked, and has no such key.
            Unavailable: the issuer cannot be asked (again) now.
        """
        self.stay_fresh()
        if kid in self._keys and self._clock.now_ms() - self._got_ms < KEYS_USABLE_MS:
            return self._keys[kid]
        if kid not in self._missed:
            asking = self._ask()
            if asking is None:
                raise Unavailable("the key of this token is not known, and the identity provider was asked just now")
            await asyncio.shield(asking)
        if self._got_ms < self._asked_ms:
            raise Unavailable("the identity provider does not answer, so this token cannot be judged")
        if kid in self._keys:
            return self._keys[kid]
        self._missed[kid] = None
        if len(self._missed) > MAX_MISSED:
            self._missed.popitem(last=False)
        raise Rejected("invalid_credential", "the token is signed with a key that the identity provider does not have")

    def stay_fresh(self) -> None:
        """Ask for the keys again if they are old; what is known is used meanwhile."""
        if self._keys and self._clock.now_ms() - self._got_ms >= KEYS_FRESH_MS:
            self._ask()

    def _ask(self) -> asyncio.Task[None] | None:
        """Return the fetch that is going on, or begin one unless there was one just now."""
        now_ms = self._clock.now_ms()
        if self._fetching is None or self._fetching.done():
            if now_ms - self._asked_ms < FETCH_INTERVAL_MS:
                return None
            self._asked_ms = now_ms
            self._fetching = asyncio.create_task(self._refresh())
        return self._fetching

    async def _refresh(self) -> None:
        self.fetches += 1
        begun_ms = self._asked_ms
        # whatever the answer is, what is known is better than what makes no sense
        with suppress(aiohttp.ClientError, TimeoutError, OSError, ValueError, TypeError, KeyError, RecursionError):
            found = await self._download()
            if set(found) != set(self._keys):
                self.generation += 1
            self._keys = found
            self._got_ms = begun_ms
            self._missed.clear()

    async def _download(self) -> dict[str, RSAKey]:
        known = json.loads(await self._fetch(f"{self._issuer}/.well-known/openid-configuration"))
        place, issuer = urlsplit(known["jwks_uri"]), urlsplit(self._issuer)
        if known["issuer"] != self._issuer or (place.scheme, place.netloc) != (issuer.scheme, issuer.netloc):
            raise ValueError("the configuration is another issuer's")
        found: dict[str, RSAKey] = {}
        for one in json.loads(await self._fetch(known["jwks_uri"]))["keys"]:
            with suppress(ValueError, JoseError, TypeError, AttributeError, KeyError):
                found[one["kid"]] = public_key(one)
        if not found:
            raise ValueError("there is no usable key")
        return found


def public_key(found: dict[str, Any]) -> RSAKey:
    """Return a key of a key set; raises ValueError or JoseError if it may not sign here."""
    usable = (
        found.get("kty") == "RSA"
        and found.get("use", "sig") == "sig"
        and found.get("alg", ALGORITHM) == ALGORITHM
        and isinstance(found.get("kid"), str)
        and "d" not in found
    )
    if not usable:
        raise ValueError("this key is for something else")
    modulus = int.from_bytes(base64.urlsafe_b64decode(found["n"] + "=="), "big")
    if modulus.bit_length() < MIN_KEY_BITS:
        raise ValueError(f"a key has at least {MIN_KEY_BITS} bits")
    return RSAKey.import_key({name: found[name] for name in ("kty", "n", "e", "kid")})


class Keycloak:
    """Identity by access tokens; what was found out about a token is kept until it expires."""

    banner = ""

    def __init__(self, trust: Trust, clock: Clock, fetch: Callable[[str], Awaitable[bytes]] | None = None) -> None:
        self.keys = Keys(trust.issuer, clock, fetch or download)
        self._trust = trust
        self._clock = clock
        self._judged: OrderedDict[bytes, Principal] = OrderedDict()
        self._generation = 0

    async def identify(self, credential: str) -> Principal:
        """See Identity."""
        if not credential:
            raise Rejected("unauthenticated", "this needs an access token or an API key")
        if len(credential) > MAX_TOKEN_CHARS:
            raise _refusal("it is too long")
        if self._generation != self.keys.generation:
            # a key that is gone must not live on in what was found out with it
            self._judged.clear()
            self._generation = self.keys.generation
        digest = hashlib.sha256(credential.encode()).digest()
        known = self._judged.get(digest)
        if known is not None:
            self.keys.stay_fresh()
            _check_expiry(known.expires_at_ms or 0, self._clock.now_ms())
            return known
        principal = await self._judge(credential)
        self._judged[digest] = principal
        if len(self._judged) > MAX_JUDGED:
            self._judged.popitem(last=False)
        return principal

    async def check_id_token(self, token: str, client: str, nonce: str) -> There:
        """Return whose an ID token is, given to a client for one attempt to sign in (OpenID Connect Core, 3.1.3.7).

        Raises:
            Rejected: `invalid_credential`.
            Unavailable: it cannot be judged now.
        """
        if len(token) > MAX_TOKEN_CHARS:
            raise _refusal("it is too long")
        claims = await self._claims(token)
        if claims.get("typ") != "ID" or claims.get("iss") != self._trust.issuer or claims.get("aud") != client:
            raise _refusal("it is no ID token for this client")
        if claims.get("nonce") != nonce:
            raise _refusal("it is of another attempt to sign in")
        _check_times(claims, self._clock.now_ms())
        return _there(claims)

    async def check_logout_token(self, token: str, client: str) -> Notice:
        """Return what a logout token says to a client (OpenID Connect Back-Channel Logout 1.0, 2.6).

        Whether it was shown before is not looked at.

        Raises:
            Rejected: `invalid_credential`.
            Unavailable: it cannot be judged now.
        """
        if len(token) > MAX_TOKEN_CHARS:
            raise _refusal("it is too long")
        claims = await self._claims(token, LOGOUT_TOKENS)
        audience, events, there = claims.get("aud"), claims.get("events"), _there(claims)
        is_ours = client in (audience if isinstance(audience, list) else [audience])
        if claims.get("iss") != self._trust.issuer or not is_ours:
            raise _refusal("it is no logout token for this client")
        if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict) or "nonce" in claims:
            raise _refusal("it is no logout token")
        if there == There() or not (notice_id := _id(claims, "jti")):
            raise _refusal("it does not say whose session is over, or has no id of its own")
        return Notice(notice_id, there, _check_times(claims, self._clock.now_ms()) + LEEWAY_MS)

    async def _judge(self, token: str) -> Principal:
        return principal_of(await self._claims(token), self._trust, self._clock.now_ms())

    async def _claims(self, token: str, types: frozenset[str] = TOKENS) -> dict[str, Any]:
        """Return what a token says whose signature is that of the issuer."""
        header, payload, _ = segments(token)
        kid = _key_id(_members(header), types)
        key = await self.keys.find(kid)
        try:
            jws.deserialize_compact(token, key, algorithms=[ALGORITHM])
        except (JoseError, ValueError):
            raise _refusal("its signature is not that of its key") from None
        return _members(payload)


def segments(token: str) -> tuple[bytes, bytes, bytes]:
    """Return the three decoded parts of a token; each has exactly one way to be written."""
    if not SEGMENTS(token):
        raise _refusal("it is no signed token")
    parts = []
    for text in token.split("."):
        try:
            part = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except ValueError:
            raise _refusal("it is no signed token") from None
        if base64.urlsafe_b64encode(part).rstrip(b"=").decode() != text:
            raise _refusal("it is not written as tokens are")
        parts.append(part)
    return parts[0], parts[1], parts[2]


def _members(part: bytes) -> dict[str, Any]:
    """Return a part as an object, each of whose members is there once."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a member is there twice")
        return found

    def no_number(text: str) -> float:
        raise ValueError(f"{text} is no number")

    try:
        found = json.loads(part.decode(), object_pairs_hook=once, parse_constant=no_number)
    except (ValueError, RecursionError):
        raise _refusal("it does not read") from None
    if not isinstance(found, dict):
        raise _refusal("it does not read")
    return found


def _there(claims: dict[str, Any]) -> There:
    return There(person=_id(claims, "sub"), session=_id(claims, "sid"))


def _id(claims: dict[str, Any], name: str) -> str:
    """Return an id that a token has; the empty string if it has none, or none that could be one."""
    found = claims.get(name)
    return found if isinstance(found, str) and len(found) <= MAX_ID_CHARS else ""


def _key_id(header: dict[str, Any], types: frozenset[str]) -> str:
    if header.get("alg") != ALGORITHM or header.get("typ") not in types or not HEADER_MEMBERS.issuperset(header):
        raise _refusal(f"its header is not that of a token of this kind signed with {ALGORITHM}")
    kid = header.get("kid")
    if not isinstance(kid, str) or not kid:
        raise _refusal("it does not say with which key it is signed")
    return kid


def principal_of(claims: dict[str, Any], trust: Trust, now_ms: int) -> Principal:
    """Return whom the claims of a well-signed token stand for.

    Raises:
        Rejected: `invalid_credential`, or `forbidden` if it names no tenant.
    """
    audience = claims.get("aud")
    if claims.get("typ") != "Bearer":
        raise _refusal("it is no access token")
    if claims.get("iss") != trust.issuer:
        raise _refusal("it is from another issuer")
    if trust.audience not in (audience if isinstance(audience, list) else [audience]):
        raise _refusal("it is for somebody else")
    azp = claims.get("azp")
    if not isinstance(azp, str) or azp not in trust.clients:
        raise _refusal("it was given to a client that is not allowed here")
    expires_at_ms = _check_times(claims, now_ms)
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise _refusal("it is nobody's")
    name = claims.get("preferred_username")
    return Principal(
        subject=name if isinstance(name, str) and name.isprintable() and name else subject,
        roles=_roles(claims),
        tenant=_tenant(claims, trust),
        expires_at_ms=expires_at_ms,
        means="token",
    )


def _check_times(claims: dict[str, Any], now_ms: int) -> int:
    """Return when a token expires, after checking that it is its time."""
    times = [claims.get("exp"), claims.get("iat"), claims.get("nbf", 0)]
    if not all(isinstance(one, int | float) and not isinstance(one, bool) and abs(one) < ENDLESS_S for one in times):
        raise _refusal("its times are no numbers")
    expires_s, issued_s, not_before_s = times
    if expires_s - issued_s > MAX_LIFETIME_S:
        raise _refusal(f"it would live longer than {MAX_LIFETIME_S} s")
    if max(issued_s, not_before_s) * 1000 > now_ms + LEEWAY_MS:
        raise _refusal("its time has not come")
    _check_expiry(int(expires_s * 1000), now_ms)
    return int(expires_s * 1000)


def _check_expiry(expires_at_ms: int, now_ms: int) -> None:
    if now_ms >= expires_at_ms + LEEWAY_MS:
        raise _refusal("it has expired")


def _roles(claims: dict[str, Any]) -> frozenset[str]:
    """Return the roles in the realm; what stands elsewhere, or is no list, gives none."""
    access = claims.get("realm_access")
    roles = access.get("roles") if isinstance(access, dict) else None
    return ROLES & frozenset(one for one in roles if isinstance(one, str)) if isinstance(roles, list) else frozenset()


def _tenant(claims: dict[str, Any], trust: Trust) -> str:
    if not trust.tenant_claim:
        return trust.tenant
    tenant = claims.get(trust.tenant_claim)
    if not isinstance(tenant, str) or not TENANT(tenant):
        raise Rejected("forbidden", f"the token names no tenant: its claim {trust.tenant_claim!r} is missing or odd")
    return tenant


def _refusal(reason: str) -> Rejected:
    return Rejected("invalid_credential", f"the token is refused: {reason}")


async def download(url: str) -> bytes:
    """Return what is at an address: no redirects, bounded in time and size.

    Raises:
        aiohttp.ClientError, TimeoutError, ValueError: it cannot be had.
    """
    timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url, allow_redirects=False) as answer:
        if answer.status != 200:  # noqa: PLR2004 - OK
            raise ValueError(f"{url} answers {answer.status}")
        body = await answer.content.read(MAX_ANSWER_BYTES + 1)
        while len(body) <= MAX_ANSWER_BYTES and (more := await answer.content.read(MAX_ANSWER_BYTES + 1)):
            body += more
        if len(body) > MAX_ANSWER_BYTES:
            raise ValueError(f"{url} answers more than {MAX_ANSWER_BYTES} bytes")
        return body
