"""Access tokens under attack: the numbers are those of the project's list of attacks on authentication."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.issuer import AUDIENCE, CLIENT, ISSUER, Issuer, SigningKey, b64, claims

from quantum.adapters.keycloak import (
    FETCH_INTERVAL_MS,
    KEYS_FRESH_MS,
    KEYS_USABLE_MS,
    LEEWAY_MS,
    Keycloak,
    Trust,
    download,
)
from quantum.adapters.memory import ManualClock
from quantum.domain.errors import Rejected, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

NOW_MS: Final = 1_800_000_000_000
TRUST: Final = Trust(issuer=ISSUER, audience=AUDIENCE, clients=frozenset({CLIENT, "quantum-agent"}))
KEY: Final = SigningKey("first")
OTHER: Final = SigningKey("second")
WEAK: Final = SigningKey("weak", bits=1024)


class World:
    """An issuer, a clock, and who judges its tokens."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.issuer = Issuer(list(keys) or [KEY.jwk(), OTHER.jwk()])
        self.clock = ManualClock(NOW_MS)
        self.keycloak = Keycloak(TRUST, self.clock, self.issuer.fetch)

    def claims(self, **others: Any) -> dict[str, Any]:
        return claims(self.clock.now_ms(), **others)

    async def refusal(self, token: str) -> str:
        """The reason for which a token is refused; the empty string if it is not."""
        try:
            await self.keycloak.identify(token)
        except Rejected as refused:
            return "told the token" if token and token in str(refused) else refused.reason
        return ""


@pytest.fixture(name="world")
def new_world() -> World:
    return World()


async def test_a_sound_token_says_who_it_is(world: World) -> None:
    found = await world.keycloak.identify(KEY.token(world.claims()))
    assert (found.subject, found.tenant, found.means) == ("alice", "default", "token")
    assert found.roles == {"viewer"}
    assert found.expires_at_ms == NOW_MS + 60_000


async def test_nothing_is_not_a_bad_token(world: World) -> None:
    assert await world.refusal("") == "unauthenticated"


# ---- forgery ------------------------------------------------------------------------------------------------------


def swapped(token: str, **header: Any) -> str:
    """A token with another header and the signature of the one before."""
    _, body, signature = token.split(".")
    members = {"alg": "RS256", "typ": "JWT", "kid": "first"} | header
    return (
        f"{b64(json.dumps({name: value for name, value in members.items() if value is not None}))}.{body}.{signature}"
    )


def by_hmac(secret: bytes, sound: dict[str, Any]) -> str:
    text = f"{b64(json.dumps({'alg': 'HS256', 'typ': 'JWT', 'kid': 'first'}))}.{b64(json.dumps(sound))}"
    return f"{text}.{b64(hmac.digest(secret, text.encode(), hashlib.sha256))}"


def public_forms() -> dict[str, bytes]:
    public = KEY.private.public_key()
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    return {
        "A4 PEM": public.public_bytes(serialization.Encoding.PEM, info),
        "A5 DER": public.public_bytes(serialization.Encoding.DER, info),
        "A6 JWK": json.dumps(KEY.jwk()).encode(),
        "A7 modulus": public.public_numbers().n.to_bytes(256, "big"),
        "empty key": b"",
    }


@pytest.mark.parametrize("form", sorted(public_forms()))
async def test_a_public_key_is_no_shared_secret(world: World, form: str) -> None:
    """A4 to A7: HS256 with what everybody knows; also with the empty key (CVE-2026-49852)."""
    assert await world.refusal(by_hmac(public_forms()[form], world.claims())) == "invalid_credential"


def ps256(sound: dict[str, Any]) -> str:
    text = f"{b64(json.dumps({'alg': 'PS256', 'typ': 'JWT', 'kid': 'first'}))}.{b64(json.dumps(sound))}"
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    return f"{text}.{b64(KEY.private.sign(text.encode(), pss, hashes.SHA256()))}"


def rs512(sound: dict[str, Any]) -> str:
    text = f"{b64(json.dumps({'alg': 'RS512', 'typ': 'JWT', 'kid': 'first'}))}.{b64(json.dumps(sound))}"
    return f"{text}.{b64(KEY.private.sign(text.encode(), padding.PKCS1v15(), hashes.SHA512()))}"


FORGERIES: Final[dict[str, Callable[[dict[str, Any]], str]]] = {
    "A1 alg none": lambda c: swapped(KEY.token(c), alg="none"),
    "A1 alg none, no signature": lambda c: swapped(KEY.token(c), alg="none").rpartition(".")[0] + ".",
    "A2 alg nOnE": lambda c: swapped(KEY.token(c), alg="nOnE"),
    "A2 alg None": lambda c: swapped(KEY.token(c), alg="None"),
    "A3 empty signature": lambda c: KEY.token(c).rpartition(".")[0] + ".",
    "A8 r = s = 0": lambda c: swapped(KEY.token(c), alg="ES256").rpartition(".")[0] + "." + b64(bytes(64)),
    "A9 PS256": ps256,
    "A10 RS512": rs512,
    "A11 kid of another key": lambda c: KEY.token(c, kid="second"),
    "A12 no kid": lambda c: KEY.token(c, kid=None),
    "A14 unknown kid": lambda c: KEY.token(c, kid="third"),
    "A15 kid is a path": lambda c: KEY.token(c, kid="../../dev/null"),
    "A16 kid is SQL": lambda c: KEY.token(c, kid="x' UNION SELECT 'key"),
    "A16 kid has NUL and newline": lambda c: KEY.token(c, kid="first\x00\n"),
    "A17 kid is a number": lambda c: KEY.token(c, kid=1),
    "A17 kid is a list": lambda c: KEY.token(c, kid=["first"]),
    "A18 jku": lambda c: KEY.token(c, jku="https://evil.example/keys"),
    "A19 x5u": lambda c: KEY.token(c, x5u="https://evil.example/cert"),
    "A20 jwk": lambda c: SigningKey("first").token(c, jwk=KEY.jwk()),
    "A21 x5c": lambda c: KEY.token(c, x5c=["MII="]),
    "A22 crit": lambda c: KEY.token(c, crit=["exp"], exp=1),
    "A23 b64 false": lambda c: KEY.token(c, b64=False, crit=["b64"]),
    "A27 zip": lambda c: KEY.token(c, zip="DEF"),
    "signed by somebody else": lambda c: SigningKey("first").token(c),
}


@pytest.mark.parametrize("name", FORGERIES)
async def test_a_forged_token_is_refused(world: World, name: str) -> None:
    """A1 to A3, A8 to A23, A27."""
    assert await world.refusal(FORGERIES[name](world.claims())) == "invalid_credential"


async def test_a_token_without_kid_is_refused_even_if_there_is_one_key_only() -> None:
    """A13: joserfc alone takes it."""
    world = World(KEY.jwk())
    assert await world.refusal(KEY.token(world.claims(), kid=None)) == "invalid_credential"


SOUND: Final = KEY.token(claims(NOW_MS))


@settings(max_examples=200)
@given(place=st.integers(0, len(SOUND) - 1), bit=st.integers(0, 6))
def test_no_bit_of_a_token_may_be_another(place: int, bit: int) -> None:
    """A24: header, payload and signature, the unused bits of the last characters included."""
    changed = SOUND[:place] + chr(ord(SOUND[place]) ^ 1 << bit) + SOUND[place + 1 :]
    assert asyncio.run(World().refusal(changed)) == "invalid_credential"


# ---- encoding -----------------------------------------------------------------------------------------------------

ENCODINGS: Final[dict[str, Callable[[dict[str, Any]], str]]] = {
    "A25 two parts": lambda c: KEY.token(c).rpartition(".")[0],
    "A25 four parts": lambda c: KEY.token(c) + ".x",
    "A25 no parts": lambda _: "x",
    "A26 five parts, encrypted": lambda _: ".".join(["eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkExMjhHQ00ifQ"] * 5),
    "A28 padding": lambda c: KEY.token(c) + "==",
    "A28 blank": lambda c: KEY.token(c) + " ",
    "A28 newline": lambda c: KEY.token(c).replace(".", ".\n", 1),
    "A29 five megabytes": lambda c: KEY.token(c | {"x": "x" * 5_000_000}),
    "A30 a claim twice": lambda c: KEY.token(json.dumps(c)[:-1] + ', "sub": "root"}'),
    "A31 a list": lambda c: KEY.token(json.dumps([c])),
    "A31 NaN": lambda c: KEY.token(json.dumps(c | {"exp": float("nan")})),
    "A31 nested": lambda c: KEY.token(json.dumps(c)[:-1] + ', "x": ' + "[" * 5000 + "]" * 5000 + "}"),
    "A31 nothing": lambda _: KEY.token("null"),
    "A32 no UTF-8": lambda _: KEY.token(b'{"sub": "\xff"}'),
    "A32 no UTF-8 in the header": lambda c: f"{b64(bytes([123, 255, 125]))}.{b64(json.dumps(c))}.{b64(bytes(256))}",
}


@pytest.mark.parametrize("name", ENCODINGS)
async def test_a_token_that_is_written_otherwise_is_refused(world: World, name: str) -> None:
    """A25 to A32."""
    begin_s = time.perf_counter()
    assert await world.refusal(ENCODINGS[name](world.claims())) == "invalid_credential"
    assert time.perf_counter() - begin_s < 10


# ---- claims -------------------------------------------------------------------------------------------------------

NOW_S: Final = NOW_MS // 1000
SKEW_S: Final = LEEWAY_MS // 1000
CLAIMS: Final[dict[str, dict[str, Any]]] = {
    "A33 no exp": {"exp": None},
    "A33 no iat": {"iat": None},
    "A34 expired": {"exp": NOW_S - SKEW_S, "iat": NOW_S - 300},
    "A35 exp is a text": {"exp": str(NOW_S + 60)},
    "A35 exp is true": {"exp": True},
    "A35 exp is endless": {"exp": 1e308},
    "A35 exp has 400 digits": {"exp": 10**400, "iat": 10**400},
    "A35 exp is minus endless": {"exp": -(10**400)},
    "A35 lives for a year": {"exp": NOW_S + 366 * 86_400},
    "A36 not yet": {"nbf": NOW_S + SKEW_S + 1},
    "A36 nbf is a text": {"nbf": "0"},
    "A37 from the future": {"iat": NOW_S + SKEW_S + 1},
    "A38 issuer with a slash": {"iss": ISSUER + "/"},
    "A38 issuer in capitals": {"iss": ISSUER.upper()},
    "A38 issuer of another realm": {"iss": ISSUER.replace("quantum", "master")},
    "A38 issuer over http": {"iss": ISSUER.replace("https", "http")},
    "A39 issuers": {"iss": [ISSUER]},
    "A40 no audience": {"aud": None},
    "A40 audience is a part": {"aud": "quantum-other"},
    "A41 audience account": {"aud": "account"},
    "A42 client not allowed": {"azp": "some-other-app"},
    "A42 no client": {"azp": None},
    "A42 clients": {"azp": [CLIENT]},
    "A43 ID token": {"typ": "ID"},
    "A44 refresh token": {"typ": "Refresh"},
    "A45 logout token": {"typ": "Logout", "events": {"http://schemas.openid.net/event/backchannel-logout": {}}},
    "no typ": {"typ": None},
    "no subject": {"sub": None},
    "subject is a number": {"sub": 1},
}


@pytest.mark.parametrize("name", CLAIMS)
async def test_a_well_signed_token_that_was_not_meant_for_this_is_refused(world: World, name: str) -> None:
    """A33 to A45: signed by the right key, and still not an access token for Quantum now."""
    assert await world.refusal(KEY.token(world.claims(**CLAIMS[name]))) == "invalid_credential"


@pytest.mark.parametrize("typ", ["logout+jwt", "at+jwt", "JWE", None])
async def test_the_header_says_that_it_is_a_token_of_this_kind(world: World, typ: str | None) -> None:
    """A45: joserfc does not look at it."""
    assert await world.refusal(KEY.token(world.claims(), typ=typ)) == "invalid_credential"


async def test_a_token_of_another_realm_is_refused(world: World) -> None:
    """A46: signed with a good key, but not one of this issuer."""
    foreign = SigningKey("foreign")
    assert await world.refusal(foreign.token(world.claims(iss=ISSUER))) == "invalid_credential"


@pytest.mark.parametrize(
    "found",
    [
        {"realm_access": None, "resource_access": {"other": {"roles": ["admin"]}}},
        {"realm_access": {"roles": "admin"}},
        {"realm_access": ["admin"]},
        {"realm_access": {"roles": [["admin"], {"admin": 1}, "Admin", "administrator"]}},
        {"realm_access": None, "roles": ["admin"]},
        {"realm_access": {"roles": []}},
    ],
)
async def test_roles_elsewhere_or_otherwise_written_give_none(world: World, found: dict[str, Any]) -> None:
    """A48 and A49; the route then answers 403."""
    assert (await world.keycloak.identify(KEY.token(world.claims(**found)))).roles == frozenset()


@pytest.mark.parametrize("tenant", [None, ["default"], "", "a/b", 7, "x" * 101])
async def test_a_token_that_names_no_tenant_is_let_in_nowhere(world: World, tenant: object) -> None:
    """A50: missing, a list, or no name at all."""
    assert await world.refusal(KEY.token(world.claims(tenant=tenant))) == "forbidden"


async def test_without_a_claim_for_tenants_everybody_is_of_the_one_there_is() -> None:
    world = World()
    trust = Trust(issuer=ISSUER, audience=AUDIENCE, clients=frozenset({CLIENT}), tenant_claim="", tenant="acme")
    keycloak = Keycloak(trust, world.clock, world.issuer.fetch)
    assert (await keycloak.identify(KEY.token(world.claims(tenant="other")))).tenant == "acme"


async def test_a_token_is_good_to_the_last_moment_and_then_not(world: World) -> None:
    """A34, for a token that was judged before: what was found out is forgotten with it."""
    token = KEY.token(world.claims())
    for advance_ms, refusal in ((0, ""), (60_000 + LEEWAY_MS - 1, ""), (1, "invalid_credential")):
        world.clock.advance(advance_ms)
        assert await world.refusal(token) == refusal


async def test_judging_a_known_token_again_is_cheap(world: World, tell: Callable[[str], None]) -> None:
    token = KEY.token(world.claims())
    await world.keycloak.identify(token)
    took = []
    for _ in range(2000):
        begin_s = time.perf_counter()
        await world.keycloak.identify(token)
        took.append(time.perf_counter() - begin_s)
    median_us = sorted(took)[1000] * 1e6
    tell(f"a known access token is judged in {median_us:.1f} us at the median")
    assert median_us < 100


# ---- keys ---------------------------------------------------------------------------------------------------------


async def test_keys_are_fetched_once(world: World) -> None:
    assert await asyncio.gather(*(world.refusal(KEY.token(world.claims(jti=str(n)))) for n in range(50))) == [""] * 50
    assert world.issuer.asked == 1


async def test_a_rotation_refuses_nobody(world: World) -> None:
    """F24: a new key is taken at once, the old one meanwhile too."""
    assert await world.refusal(KEY.token(world.claims())) == ""
    new = SigningKey("new")
    world.issuer.keys = [new.jwk(), KEY.jwk()]
    world.clock.advance(FETCH_INTERVAL_MS)
    assert await world.refusal(new.token(world.claims())) == ""
    assert await world.refusal(KEY.token(world.claims())) == ""
    assert world.issuer.asked == 2


async def test_a_rotation_just_after_a_fetch_is_answered_with_not_now(world: World) -> None:
    """F24: whatever made the last fetch, a good token is never called a bad one."""
    assert await world.refusal(KEY.token(world.claims(), kid="made-up")) == "invalid_credential"
    new = SigningKey("new")
    world.issuer.keys.append(new.jwk())
    with pytest.raises(Unavailable):
        await world.keycloak.identify(new.token(world.claims()))
    world.clock.advance(FETCH_INTERVAL_MS)
    assert await world.refusal(new.token(world.claims())) == ""


async def settle(world: World) -> None:
    """Let a fetch that was begun aside end."""
    fetching = world.keycloak.keys._fetching
    assert fetching is not None
    await fetching


async def test_a_removed_key_is_of_no_use_once_the_keys_are_old(world: World) -> None:
    """A51: also for tokens that were judged before."""
    old = KEY.token(world.claims(exp=NOW_S + 3600))
    assert await world.refusal(old) == ""
    world.issuer.keys = [OTHER.jwk()]
    world.clock.advance(KEYS_FRESH_MS)
    await world.refusal(old)
    await settle(world)
    world.clock.advance(FETCH_INTERVAL_MS)
    assert await world.refusal(old) == "invalid_credential"


@pytest.mark.parametrize(
    "bad",
    [
        WEAK.jwk(),
        KEY.jwk(use="enc"),
        KEY.jwk(alg="RS512"),
        KEY.jwk(d="AQAB"),
        KEY.jwk(kid=None),
        {"kty": "oct", "kid": "first", "k": b64(b"secret" * 8)},
        {"kty": "RSA", "kid": "first", "n": "!", "e": "AQAB"},
        "first",
    ],
)
async def test_a_key_that_may_not_sign_is_left_out(bad: Any) -> None:
    """A52: shared secrets, keys for encryption, short ones, private ones, and what is no key."""
    world = World()
    world.issuer.keys = [bad, OTHER.jwk()]
    signer = WEAK if bad == WEAK.jwk() else KEY
    assert await world.refusal(signer.token(world.claims())) == "invalid_credential"
    assert await world.refusal(OTHER.token(world.claims())) == ""


@pytest.mark.parametrize(
    ("issuer", "jwks_uri"),
    [
        ("https://evil.example/realms/quantum", f"{ISSUER}/certs"),
        (ISSUER, "https://evil.example/certs"),
        (ISSUER, f"{ISSUER}/certs".replace("https", "http")),
        (ISSUER, "https://sso.example.evil.example/certs"),
    ],
)
async def test_keys_come_from_the_issuer_alone(issuer: str, jwks_uri: str) -> None:
    """A53: a configuration of another issuer, or keys from another place."""
    world = World()
    world.issuer.issuer, world.issuer.jwks_uri = issuer, jwks_uri
    with pytest.raises(Unavailable):
        await world.keycloak.identify(KEY.token(world.claims()))
    assert world.issuer.asked == 0


async def test_a_flood_of_made_up_key_ids_costs_one_fetch_in_ten_seconds(world: World) -> None:
    """A54 and F26: and what is remembered of it is bounded."""
    for second in range(30):
        for number in range(300):
            try:
                await world.keycloak.identify(KEY.token(world.claims(), kid=f"{second}-{number}"))
            except (Rejected, Unavailable):
                continue
            pytest.fail("a made-up key was taken")
        world.clock.advance(1000)
    assert world.issuer.asked == 3
    assert len(world.keycloak.keys._missed) <= 3
    assert await world.refusal(KEY.token(world.claims())) == ""


WRONG_ANSWERS: Final[list[bytes | Exception]] = [
    aiohttp.ClientConnectionError("down"),
    TimeoutError(),
    ValueError("500"),
    b"<html>",
    b'{"keys": []}',
    b'{"keys": null}',
    b"[]",
    b"\xff",
    b"[" * 100_000,
]


@pytest.mark.parametrize("answer", WRONG_ANSWERS, ids=lambda one: repr(one)[:20])
async def test_the_last_good_keys_are_kept_while_the_issuer_makes_no_sense(
    world: World, answer: bytes | Exception
) -> None:
    """F23 and F25: an hour without Keycloak refuses no token that is sound; a new key is "not now"."""
    assert await world.refusal(KEY.token(world.claims())) == ""
    world.issuer.answer = answer
    for _ in range(60):
        world.clock.advance(60_000)
        assert await world.refusal(KEY.token(world.claims())) == ""
        await settle(world)
    with pytest.raises(Unavailable):
        await world.keycloak.identify(SigningKey("new").token(world.claims()))
    world.clock.advance(KEYS_USABLE_MS)
    with pytest.raises(Unavailable):
        await world.keycloak.identify(KEY.token(world.claims()))
    world.issuer.answer = None
    world.clock.advance(FETCH_INTERVAL_MS)
    assert await world.refusal(KEY.token(world.claims())) == ""


async def test_a_start_before_the_issuer_heals_by_itself(world: World) -> None:
    world.issuer.answer = aiohttp.ClientConnectionError("not there yet")
    with pytest.raises(Unavailable):
        await world.keycloak.identify(KEY.token(world.claims()))
    world.issuer.answer = None
    world.clock.advance(FETCH_INTERVAL_MS)
    assert await world.refusal(KEY.token(world.claims())) == ""


async def test_a_cancelled_asker_does_not_end_the_fetch_that_others_wait_for(world: World) -> None:
    first = asyncio.create_task(world.refusal(KEY.token(world.claims())))
    second = asyncio.create_task(world.refusal(KEY.token(world.claims(jti="2"))))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == ""


async def test_what_is_downloaded_is_bounded_and_not_redirected() -> None:
    """A53 and F25: redirects, errors, and answers without end."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readline()).split()[1]
        body = b"x" * (2_000_000 if path == b"/large" else 3)
        head = {b"/good": b"200 OK", b"/large": b"200 OK", b"/moved": b"302 Found\r\nLocation: /good"}
        writer.write(b"HTTP/1.1 " + head.get(path, b"500 No") + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        place = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert await download(f"{place}/good") == b"xxx"
        for path in ("/moved", "/large", "/broken"):
            with pytest.raises(ValueError, match="answers"):
                await download(place + path)
