"""Sessions: how long they last, how they end, and what their cookie is not good for (A55 to A57, A61, F20, F23)."""

from __future__ import annotations

import asyncio
import json
from itertools import product
from typing import Any, Final

import pytest
from tests.issuer import claims
from tests.provider import KEY, LIFE_S, PLACE
from tests.signing_in import COOKIE, POLICY, SELF, Scene, begin, come_back, open_scene, trust, who
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from quantum.adapters.keycloak import LEEWAY_MS
from quantum.application.sessions import AWAY_MS, ELSEWHERE_MS, ELSEWHERE_TIMES, RENEW_AFTER_MS, Sessions
from quantum.domain.errors import Unavailable

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
FOREIGN: Final[list[dict[str, str]]] = [
    {},
    {"sec-fetch-site": "same-origin"},
    {"origin": "null"},
    {"origin": "http://evil.example"},
    {"origin": "http://localhost.evil.example"},
    {"origin": "http://localhost:8080"},
    {"origin": "https://portal.example"},
    {"origin": "http://localhost", "sec-fetch-site": "same-site"},
    {"origin": "http://localhost", "sec-fetch-site": "cross-site"},
    {"origin": "http://localhost", "sec-fetch-site": "none"},
]
"""What browsers say of requests that no page of ours makes."""
ACTS: Final = [
    ("/api/v1/policies", json.dumps(POLICY)),
    ("/api/v1/logout", ""),
    ("/api/v1/samples", "{}"),
    ("/write", "cpu v=1"),
]


pytestmark = pytest.mark.asyncio(loop_scope="module")


# ---- sessions -------------------------------------------------------------------------------------------------------


async def test_a_session_is_renewed_while_it_is_used_and_knows_new_roles_within_a_minute(scene: Scene) -> None:
    browser = await scene.signed_in("operator")
    scene.provider.roles = ["viewer"]
    scene.clock.advance(RENEW_AFTER_MS)
    assert (await who(browser))["roles"] == ["viewer"]
    for _ in range(20):
        scene.clock.advance(LIFE_S * 1000)
        assert (await browser.get("/api/v1/overview")).status_code == 200
    assert scene.provider.refreshed == 21


async def test_a55_a_session_that_the_provider_ended_is_over_within_a_minute(scene: Scene) -> None:
    """And A56: so is that of a user who is disabled there."""
    browser = await scene.signed_in()
    scene.provider.end_all()
    scene.clock.advance(RENEW_AFTER_MS)
    answer = await browser.get("/api/v1/overview")
    assert (answer.status_code, answer.json()["reason"]) == (401, "unauthenticated")
    assert "sign in again" in answer.json()["detail"]
    assert (await who(browser))["subject"] == ""


async def test_a57_fifty_requests_at_once_renew_once_and_show_no_token_twice(scene: Scene) -> None:
    browser = await scene.signed_in()
    scene.clock.advance(LIFE_S * 1000 + LEEWAY_MS)
    answers = await asyncio.gather(*(browser.get("/api/v1/overview") for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert (scene.provider.refreshed, scene.provider.ended) == (1, [])


async def test_a57_a_refresh_token_that_was_shown_twice_ends_the_session(scene: Scene) -> None:
    browser = await scene.signed_in()
    stolen = next(iter(scene.provider._live))
    scene.clock.advance(RENEW_AFTER_MS)
    assert (await browser.get("/api/v1/overview")).status_code == 200
    await scene.provider._refresh(stolen)
    scene.clock.advance(RENEW_AFTER_MS)
    assert (await browser.get("/api/v1/overview")).status_code == 401


async def test_who_goes_away_during_a_renewal_does_not_lose_it(scene: Scene) -> None:
    browser = await scene.signed_in()
    scene.clock.advance(RENEW_AFTER_MS)
    waiting, go_on = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        waiting.set()
        await go_on.wait()

    scene.provider.hold = hold
    gone = asyncio.create_task(scene.sessions.identify(browser.cookies[COOKIE]))
    await waiting.wait()
    gone.cancel()
    go_on.set()
    assert (await browser.get("/api/v1/overview")).status_code == 200
    assert scene.provider.refreshed == 1


async def test_an_unused_session_ends_and_a_used_one_ends_too(scene: Scene) -> None:
    begun_ms = scene.clock.now_ms()
    unused, used = await scene.signed_in(), await scene.signed_in()
    scene.clock.advance(20 * MINUTE_MS)
    assert (await used.get("/api/v1/overview")).status_code == 200
    scene.clock.advance(10 * MINUTE_MS)
    assert (await who(unused))["subject"] == ""
    for _ in range(28):
        assert (await used.get("/api/v1/overview")).status_code == 200
        scene.clock.advance(20 * MINUTE_MS)
    assert scene.clock.now_ms() < begun_ms + 10 * HOUR_MS
    assert (await used.get("/api/v1/overview")).status_code == 200
    scene.clock.advance(10 * MINUTE_MS)
    assert (await used.get("/api/v1/overview")).status_code == 401


async def test_f23_without_the_provider_a_session_goes_on_as_long_as_its_token(scene: Scene) -> None:
    browser = await scene.signed_in()
    scene.provider.away = True
    scene.clock.advance(RENEW_AFTER_MS)
    for _ in range(3):
        assert (await browser.get("/api/v1/overview")).status_code == 200
    scene.clock.advance(LIFE_S * 1000)
    answer = await browser.get("/api/v1/overview")
    assert (answer.status_code, answer.json()["reason"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"
    assert (await browser.get("/api/v1/session")).status_code == 503
    scene.provider.away = False
    scene.clock.advance(AWAY_MS)
    assert (await browser.get("/api/v1/overview")).status_code == 200


async def test_a_session_whose_token_is_refused_is_over(scene: Scene) -> None:
    browser = await scene.signed_in()
    scene.keycloak._judged.clear()
    scene.keycloak._trust = trust(audience="another")
    answer = await browser.get("/api/v1/overview")
    assert (answer.status_code, answer.json()["reason"]) == (401, "unauthenticated")


async def test_a_member_of_another_tenant_is_signed_in_and_sees_nothing(scene: Scene) -> None:
    browser = await scene.signed_in()
    scene.keycloak._judged.clear()
    scene.keycloak._trust = trust(tenant_claim="missing")
    answer = await browser.get("/api/v1/overview")
    assert (answer.status_code, answer.json()["reason"]) == (403, "forbidden")


async def test_a_session_without_a_tenant_is_not_begun(scene: Scene) -> None:
    scene.keycloak._trust = trust(tenant_claim="missing")
    browser = scene.browser()
    answer = await come_back(browser, scene.provider.consent(await begin(browser)))
    assert (answer.status_code, answer.json()["reason"]) == (403, "forbidden")


async def sleeping(scene: Scene) -> None:
    """Return once somebody waits for time to pass."""
    for _ in range(10_000):
        if any(not wake.done() for _, wake in scene.clock._sleepers):
            return
        await asyncio.sleep(0)
    pytest.fail("nobody waits")


class Other:
    """Another process on the same store, at the same provider."""

    def __init__(self, scene: Scene) -> None:
        ours, oidc = scene.sessions, scene.oidc
        self.sessions = Sessions(ours._kept, scene.keycloak, scene.clock, oidc.refresh, oidc.end, ours._lifetimes)


async def test_processes_share_sessions_and_renew_once(scene: Scene) -> None:
    browser = await scene.signed_in()
    credential, other = browser.cookies[COOKIE], Other(scene).sessions
    scene.clock.advance(LIFE_S * 1000 - 1)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        begun.set()
        await go_on.wait()

    scene.provider.hold = hold
    ours = asyncio.create_task(scene.sessions.identify(credential))
    await begun.wait()
    assert (await other.identify(credential)).subject == "alice", "its token is still good"
    scene.clock.advance(1)
    theirs = asyncio.create_task(other.identify(credential))
    await sleeping(scene)
    go_on.set()
    await ours
    scene.clock.advance(ELSEWHERE_MS)
    assert (await theirs).subject == "alice"
    assert scene.provider.refreshed == 1


async def test_a_process_that_died_while_renewing_is_waited_for_and_then_not(scene: Scene) -> None:
    browser = await scene.signed_in()
    credential, kept = browser.cookies[COOKIE], scene.system.process.transients()
    scene.clock.advance(LIFE_S * 1000 + LEEWAY_MS)
    assert await kept.add(f"renewal of {credential}", b"", 15_000)
    asking = asyncio.create_task(browser.get("/api/v1/overview"))
    for _ in range(ELSEWHERE_TIMES):
        await sleeping(scene)
        scene.clock.advance(ELSEWHERE_MS)
    answer = await asking
    assert answer.status_code == 503
    scene.clock.advance(15_000)
    assert (await browser.get("/api/v1/overview")).status_code == 200


async def test_a_renewal_that_was_done_between_look_and_claim_is_not_done_again(scene: Scene) -> None:
    browser = await scene.signed_in()
    credential = browser.cookies[COOKIE]
    assert not scene.sessions._is_due(await scene.sessions._renew(credential))
    assert scene.provider.refreshed == 0


async def test_who_signs_out_during_a_renewal_is_signed_out(scene: Scene) -> None:
    browser = await scene.signed_in()
    scene.clock.advance(RENEW_AFTER_MS)

    async def sign_out() -> None:
        scene.provider.hold = None
        await browser.post("/api/v1/logout", headers=SELF)

    scene.provider.hold = sign_out
    thief = scene.browser()
    thief.cookies.set(COOKIE, browser.cookies[COOKIE])
    assert (await thief.get("/api/v1/overview")).status_code == 401
    assert not scene.provider._live
    assert (await thief.get("/api/v1/overview")).status_code == 401


class NoStore:
    """A store that cannot be asked, as without Redis."""

    async def _refuse(self, *_: object) -> Any:
        raise Unavailable("Redis, which keeps who is signed in, does not answer; try again")

    add = find = replace = take = _refuse


async def test_f20_without_the_store_nobody_is_let_in_and_nobody_is_called_a_stranger(scene: Scene) -> None:
    browser = await scene.signed_in()
    kept: Any = scene.sessions._kept
    scene.sessions._kept = NoStore()
    scene.system.process.tickets()._kept = NoStore()
    for path in ("overview", "session"):
        answer = await browser.get(f"/api/v1/{path}")
        assert (answer.status_code, answer.json()["reason"], answer.headers["retry-after"]) == (503, "unavailable", "1")
        assert "try again" in answer.json()["detail"]
    assert (await browser.post("/api/v1/logout", headers=SELF)).status_code == 503
    assert (await scene.browser().get("/api/v1/overview")).status_code == 401
    parameters = scene.provider.consent(await begin(scene.browser()))
    assert (await come_back(browser, parameters)).status_code == 400
    async with scene.system.served() as address:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://{address}/api/v1/live?ticket=qt_x")
        assert refused.value.response.status_code == 503
    scene.sessions._kept = kept
    assert (await browser.get("/api/v1/overview")).status_code == 200


# ---- signing out ----------------------------------------------------------------------------------------------------


async def test_who_signs_out_is_a_stranger_here_and_at_the_provider(scene: Scene) -> None:
    browser = await scene.signed_in()
    copy = scene.browser()
    copy.cookies.update(browser.cookies)
    answer = await browser.post("/api/v1/logout", headers=SELF)
    assert (answer.status_code, answer.json()) == (200, {"end_session": ""})
    assert COOKIE not in browser.cookies
    assert len(scene.provider.ended) == 1
    assert (await who(copy))["subject"] == ""
    assert (await browser.post("/api/v1/logout", headers=SELF)).json() == {"end_session": ""}


async def test_a_provider_that_names_no_session_of_its_own_is_no_hindrance(scene: Scene) -> None:
    scene.provider.id_claims = {"sid": None}
    browser = await scene.signed_in()
    assert (await browser.post("/api/v1/logout", headers=SELF)).json() == {"end_session": ""}
    assert (await who(browser))["subject"] == ""


@pytest.mark.parametrize("trouble", ["away", "refuses", "never known"])
async def test_where_the_provider_does_not_end_it_the_browser_is_sent_to(scene: Scene, trouble: str) -> None:
    browser = await scene.signed_in()
    if trouble == "refuses":
        scene.provider.refusal = (400, "invalid_grant")
    else:
        scene.provider.away = True
    if trouble == "never known":
        scene.oidc._places = None
    leads_to = (await browser.post("/api/v1/logout", headers=SELF)).json()["end_session"]
    back = "client_id=quantum-dashboard&post_logout_redirect_uri=http%3A%2F%2Flocalhost%2F"
    assert leads_to == ("" if trouble == "never known" else f"{PLACE}/logout?{back}")
    assert (await who(browser))["subject"] == ""


# ---- what cookies are not for ---------------------------------------------------------------------------------------


async def test_a61_nothing_is_done_by_cookie_for_another_page() -> None:
    """A page whose origin may act with a token may not act with the cookie of whoever visits it."""
    async with open_scene("https://portal.example") as scene:
        browser = await scene.signed_in("admin")
        for headers, (path, body), kind in product(FOREIGN, ACTS, ("application/json", "text/plain")):
            answer = await browser.post(path, content=body, headers=headers | {"content-type": kind})
            assert (answer.status_code, answer.json()["reason"]) == (403, "origin"), (path, headers)
        assert (await who(browser))["subject"] == "alice"
        assert (await browser.get("/api/v1/policies")).json()["items"] == []


async def test_a61_a_form_of_another_type_is_refused_from_our_own_page_too(scene: Scene) -> None:
    browser = await scene.signed_in("admin")
    answer = await browser.post(
        "/api/v1/policies", content=json.dumps(POLICY), headers=SELF | {"content-type": "text/plain"}
    )
    assert answer.status_code == 415


async def test_a_cookie_counts_only_where_nothing_else_is_shown(scene: Scene) -> None:
    browser = await scene.signed_in("admin")
    other = KEY.token(claims(scene.clock.now_ms(), preferred_username="bob", realm_access={"roles": ["viewer"]}))
    assert (await browser.get("/api/v1/session", headers={"authorization": f"Bearer {other}"})).json()[
        "subject"
    ] == "bob"
    assert (await browser.get("/api/v1/overview", headers={"authorization": "Bearer nonsense"})).status_code == 401
    # a page of another origin may act with a token of its own, whatever cookie comes along
    headers = {"authorization": f"Bearer {other}"}
    assert (await browser.post("/api/v1/policies", json=POLICY, headers=headers)).json()["reason"] == "forbidden"


async def test_a_session_is_no_token(scene: Scene) -> None:
    browser = await scene.signed_in("admin")
    credential = browser.cookies[COOKIE]
    thief = scene.browser()
    for header in (f"Bearer {credential}", f"Token {credential}"):
        answer = await thief.get("/api/v1/overview", headers={"authorization": header})
        assert (answer.status_code, answer.json()["reason"]) == (401, "invalid_credential")
    assert (await thief.post(f"/write?p={credential}", content=b"cpu v=1")).status_code == 401
    for cookie in (f"{COOKIE}={credential}; {COOKIE}={credential}", f"other={credential}", f"{COOKIE}=x{credential}"):
        assert (await thief.get("/api/v1/overview", headers={"cookie": cookie})).status_code == 401
