"""An issuer of access tokens with keys of its own, whose answers a test decides; and hand-made tokens of every kind."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

ISSUER: Final = "https://sso.example/realms/quantum"
AUDIENCE: Final = "quantum"
CLIENT: Final = "quantum-dashboard"


def b64(data: bytes | str) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else data.encode()).rstrip(b"=").decode()


@dataclass
class SigningKey:
    """An RSA key pair with an id."""

    kid: str
    bits: int = 2048
    private: rsa.RSAPrivateKey = field(init=False)

    def __post_init__(self) -> None:
        """Make the pair."""
        self.private = rsa.generate_private_key(65537, self.bits)

    def jwk(self, **others: Any) -> dict[str, Any]:
        """The public half as a member of a key set."""
        numbers = self.private.public_key().public_numbers()
        n, e = (b64(one.to_bytes((one.bit_length() + 7) // 8, "big")) for one in (numbers.n, numbers.e))
        return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid, "n": n, "e": e} | others

    def sign(self, text: str) -> str:
        """The signature of a text, RS256."""
        return b64(self.private.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))

    def token(self, claims: dict[str, Any] | str | bytes, **header: Any) -> str:
        """A well-signed token; header members that are None are left out."""
        members = {"alg": "RS256", "typ": "JWT", "kid": self.kid} | header
        kept = json.dumps({name: value for name, value in members.items() if value is not None})
        body = claims if isinstance(claims, str | bytes) else json.dumps(claims)
        text = f"{b64(kept)}.{b64(body)}"
        return f"{text}.{self.sign(text)}"


@dataclass
class Issuer:
    """What an issuer answers; `fetch` is how the adapter asks it.

    Attributes:
        keys: members of its key set.
        answer: instead of the key set, if set: bytes, or an error to raise.
        asked: how often the key set was asked for.
    """

    keys: list[dict[str, Any]]
    issuer: str = ISSUER
    jwks_uri: str = f"{ISSUER}/protocol/openid-connect/certs"
    answer: bytes | Exception | None = None
    asked: int = 0

    async def fetch(self, url: str) -> bytes:
        """Answer as Keycloak does."""
        if url.endswith("/.well-known/openid-configuration"):
            return json.dumps({"issuer": self.issuer, "jwks_uri": self.jwks_uri}).encode()
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer if self.answer is not None else json.dumps({"keys": self.keys}).encode()


def claims(now_ms: int, **others: Any) -> dict[str, Any]:
    """The claims of a sound access token; those that are None are left out."""
    now_s = now_ms // 1000
    found = {
        "exp": now_s + 60,
        "iat": now_s,
        "iss": ISSUER,
        "aud": [AUDIENCE, "account"],
        "sub": "6a1ab7f0-0000-4000-8000-000000000001",
        "typ": "Bearer",
        "azp": CLIENT,
        "sid": "a-session",
        "realm_access": {"roles": ["viewer", "offline_access"]},
        "preferred_username": "alice",
        "tenant": "default",
    } | others
    return {name: value for name, value in found.items() if value is not None}
