"""The identity provider says that a session is over: who is believed, and what ends (Back-Channel Logout 1.0)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.issuer import CLIENT, SigningKey, claims
from tests.provider import KEY, PERSON
from tests.signing_in import COOKIE, SELF, Scene, open_scene, who
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from quantum.adapters.http.live import UNAUTHENTICATED
from quantum.adapters.http.login import BACK_CHANNEL, MAX_FORM_BYTES
from quantum.adapters.keycloak import FETCH_INTERVAL_MS, LEEWAY_MS
from quantum.adapters.transient import MemoryTransients
from quantum.application.sessions import PREFIX
from quantum.domain.errors import Unavailable

if TYPE_CHECKING:
    import httpx

    from quantum.adapters.memory import ManualClock

EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
FORGED: Final[list[dict[str, Any]]] = [
    {"iss": "https://evil.example/realms/quantum"},
    {"aud": "another-client"},
    {"aud": None},
    {"iat": None},
    {"exp": None},
    {"exp": 5},
    {"iat": 4_000_000_000, "exp": 4_000_000_060},
    {"jti": None},
    {"jti": ""},
    {"jti": "x" * 300},
    {"sub": None, "sid": None},
    {"sub": 5, "sid": ["a"]},
    {"events": None},
    {"events": [EVENT]},
    {"events": {}},
    {"events": {EVENT: "yes"}},
    {"events": {"http://schemas.openid.net/event/other": {}}},
    {"nonce": "n"},
]
"""What a well-signed logout token may not say, by what it says instead."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def tell(scene: Scene, token: str, **headers: str) -> httpx.Response:
    """Return the answer to the provider's message."""
    return await scene.browser().post(BACK_CHANNEL, data={"logout_token": token}, headers=headers)


async def sign_outs(scene: Scene) -> int:
    """Return how many sign-outs the audit log of the first tenant has."""
    await scene.system.caught_up()
    reader = await scene.signed_in("admin")
    answer = await reader.get("/api/v1/audit", params={"q": "sign_out"})
    return len(answer.json()["items"])


async def test_a_session_that_ends_at_the_provider_is_over_at_once_and_no_other(scene: Scene) -> None:
    ended, other = await scene.signed_in(), await scene.signed_in()
    before = await sign_outs(scene)
    answer = await tell(scene, KEY.token(scene.provider.notice(sid=scene.provider.sessions()[0])))
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert (await who(ended))["subject"] == ""
    assert (await ended.get("/api/v1/overview")).status_code == 401
    assert (await who(other))["subject"] == "alice"
    assert scene.provider.refreshed == 0, "nothing had to be asked for that"
    assert await sign_outs(scene) == before + 1


async def test_its_sockets_are_closed_at_once_and_those_of_others_stay(scene: Scene) -> None:
    ended, other = await scene.signed_in(), await scene.signed_in()
    session = scene.provider.sessions()[0]
    async with scene.system.served() as address:
        told = {"origin": f"http://{address}"}
        asking = told | {"host": address, "sec-fetch-site": "same-origin"}
        tickets = [await one.post("/api/v1/live/tickets", headers=asking) for one in (ended, other)]
        places = [f"ws://{address}/api/v1/live?ticket={one.json()['ticket']}" for one in tickets]
        async with (
            connect(places[0], additional_headers=told) as gone,
            connect(places[1], additional_headers=told) as stays,
        ):
            assert (await tell(scene, KEY.token(scene.provider.notice(sid=session)))).status_code == 200
            with pytest.raises(ConnectionClosed) as closed:
                await gone.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == UNAUTHENTICATED
            await stays.send('{"op": "ping"}')
            assert "pong" in str(await stays.recv())


async def test_a_notice_about_a_person_ends_all_their_sessions_and_none_that_begins_later(scene: Scene) -> None:
    early = [await scene.signed_in(), await scene.signed_in()]
    for _ in range(2):
        assert (await tell(scene, KEY.token(scene.provider.notice(sid=None)))).status_code == 200
        scene.clock.advance(1)
        later = await scene.signed_in()
        assert [(await who(one))["subject"] for one in early] == [""] * len(early)
        assert (await who(later))["subject"] == "alice"
        early = [later]


@pytest.mark.parametrize("kind", [None, "JWT", "logout+jwt"])
async def test_the_type_in_the_header_is_that_of_any_token_or_of_logout_tokens(scene: Scene, kind: str | None) -> None:
    browser = await scene.signed_in()
    answer = await tell(scene, KEY.token(scene.provider.notice(sid=scene.provider.sessions()[0]), typ=kind))
    assert answer.status_code == (200 if kind else 400)
    assert (await who(browser))["subject"] == ("" if kind else "alice")


async def test_what_is_no_logout_token_ends_nothing_and_is_told_so(scene: Scene) -> None:
    browser = await scene.signed_in()
    session, now_ms = scene.provider.sessions()[0], scene.clock.now_ms()
    sound = scene.provider.notice(sid=session)
    forged = [KEY.token(scene.provider.notice(**({"sid": session} | others))) for others in FORGED]
    forged += [
        KEY.token(sound, typ="at+jwt"),
        KEY.token(sound, alg="none"),
        SigningKey(KEY.kid).token(sound),
        KEY.token(claims(now_ms, sid=session)),
        KEY.token(claims(now_ms, sid=session, typ="ID", aud=CLIENT)),
        "",
        "a.b.c",
        "x" * 17_000,
    ]
    for token in forged:
        answer = await tell(scene, token)
        assert (answer.status_code, answer.json()["reason"]) == (400, "logout_token"), token
    assert (await who(browser))["subject"] == "alice"
    assert (await tell(scene, KEY.token(sound))).status_code == 200


async def test_a_logout_token_opens_nothing(scene: Scene) -> None:
    """A45: its bearer is nobody."""
    for kind in ("JWT", "logout+jwt"):
        token = KEY.token(scene.provider.notice(sid="a"), typ=kind)
        answer = await scene.browser().get("/api/v1/overview", headers={"authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.json()["reason"]) == (401, "invalid_credential")


async def test_a_notice_counts_once_as_long_as_it_would_be_believed(scene: Scene) -> None:
    token = KEY.token(scene.provider.notice(sid=None))
    assert (await tell(scene, token)).status_code == 200
    scene.clock.advance(1)
    browser = await scene.signed_in()
    # times in tokens are whole seconds
    scene.clock.advance(120_000 + LEEWAY_MS - 1001)
    again = await tell(scene, token)
    assert (again.status_code, again.json()["reason"]) == (400, "logout_token")
    assert "before" in again.json()["detail"]
    scene.clock.advance(1001)
    assert "expired" in (await tell(scene, token)).json()["detail"]
    assert (await who(browser))["subject"] == "alice"


async def test_the_form_has_one_token_and_is_a_form(scene: Scene) -> None:
    token, asker = KEY.token(scene.provider.notice()), scene.browser()
    form = {"content-type": "application/x-www-form-urlencoded"}
    for content, status in (
        (f"logout_token={token}&logout_token={token}", 400),
        (f"token={token}", 400),
        ("", 400),
        (b"\xff\x00", 400),
        ("x" * (MAX_FORM_BYTES + 1), 413),
    ):
        answer = await asker.post(BACK_CHANNEL, content=content, headers=form)
        assert answer.status_code == status, content[:40]
    assert (await asker.post(BACK_CHANNEL, json={"logout_token": token})).status_code == 415
    assert (await asker.get(BACK_CHANNEL)).status_code == 405


async def test_who_signed_out_here_is_not_noted_again(scene: Scene) -> None:
    browser = await scene.signed_in()
    session = scene.provider.sessions()[0]
    assert (await browser.post("/api/v1/logout", headers=SELF)).status_code == 200
    before = await sign_outs(scene)
    assert (await tell(scene, KEY.token(scene.provider.notice(sid=session)))).status_code == 200
    assert await sign_outs(scene) == before


async def test_where_the_signature_cannot_be_judged_now_the_provider_is_told_to_try_again(scene: Scene) -> None:
    scene.clock.advance(FETCH_INTERVAL_MS)
    stranger = SigningKey("unheard of")
    assert (await tell(scene, stranger.token(scene.provider.notice()))).status_code == 400, "it was asked for"
    answer = await tell(scene, SigningKey("another").token(scene.provider.notice()))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


class Failing(MemoryTransients):
    """Kept in memory; as if Redis went away between two questions, where a name begins with something."""

    def __init__(self, clock: ManualClock, beginning: str) -> None:
        super().__init__(clock)
        self.beginning = beginning

    async def add(self, secret: str, value: bytes, for_ms: int) -> bool:
        """See TransientStore."""
        if self.beginning and secret.startswith(self.beginning):
            raise Unavailable("Redis does not answer; try again")
        return await super().add(secret, value, for_ms)


async def test_an_end_that_could_not_be_kept_may_be_told_again() -> None:
    async with open_scene() as scene:
        failing = Failing(scene.clock, "end of ")
        scene.sessions._kept = failing
        browser = await scene.signed_in()
        token = KEY.token(scene.provider.notice(sid=scene.provider.sessions()[0]))
        assert (await tell(scene, token)).status_code == 503
        assert (await who(browser))["subject"] == "alice"
        failing.beginning = ""
        assert (await tell(scene, token)).status_code == 200
        assert (await who(browser))["subject"] == ""


async def test_a_session_of_an_older_version_is_ended_by_no_notice_and_goes_on(scene: Scene) -> None:
    scene.provider.id_claims = {"sid": None, "sub": None}
    browser = await scene.signed_in()
    assert browser.cookies[COOKIE].startswith(PREFIX)
    for notice in ({"sid": ""}, {"sub": PERSON, "sid": None}):
        assert (await tell(scene, KEY.token(scene.provider.notice(**notice)))).status_code == 200
    assert (await who(browser))["subject"] == "alice"
