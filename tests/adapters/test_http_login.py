"""Signing in, over HTTP, with an identity provider that a test plays (A53, A58 and F23 of the lists)."""

from __future__ import annotations

from typing import Any, Final

import httpx
import pytest
from tests.issuer import CLIENT, ISSUER, claims
from tests.provider import KEY, PLACE
from tests.signing_in import COOKIE, POLICY, SELF, Scene, begin, come_back, open_scene, who
from tests.watching import START_MS, Watching

from quantum.adapters.oidc import ASK_AGAIN_MS, KNOWN_FOR_MS, Attempt, Oidc
from quantum.domain.errors import Rejected, Unavailable
from quantum.settings import Auth, Settings, Store

UNAWAITED: Final = [
    {"state": ""},
    {"state": "x" * 43},
    {"code": ""},
    {"code": "unheard-of"},
    {"code": "x" * 5000},
    {"iss": ""},
    {"iss": "https://evil.example/realms/quantum"},
    {"iss": ISSUER + "/"},
    {"error": "access_denied"},
    {"error": "<script>"},
]
OF_ANOTHER_ATTEMPT: Final[list[dict[str, Any]]] = [
    {"nonce": "another"},
    {"aud": "somebody"},
    {"aud": [CLIENT, "x"]},
    {"typ": "Bearer"},
    {"iss": "https://x"},
    {"exp": 5},
]
ELSEWHERE: Final = [
    "//evil.example",
    "https://evil.example",
    "/\\evil.example",
    "/a\nb",
    "/api/v1/login",
    "x",
    "",
    "/é",
    "/" + "a" * 2000,
]


pytestmark = pytest.mark.asyncio(loop_scope="module")


# ---- signing in -----------------------------------------------------------------------------------------------------


async def test_who_signs_in_is_known_and_comes_back_to_where_they_were(scene: Scene) -> None:
    browser = await scene.signed_in("operator", to="/incidents/1?x=2")
    found = await who(browser)
    assert found == {
        "subject": "alice",
        "tenant": "default",
        "roles": ["operator"],
        "may": ["read", "act"],
        "means": "session",
        "banner": "",
        "sign_in": "/api/v1/login",
    }
    assert (await browser.get("/api/v1/overview")).status_code == 200
    assert (await browser.post("/api/v1/policies", json=POLICY, headers=SELF)).status_code == 201
    assert (await browser.get("/api/v1/api-keys")).status_code == 403


async def test_a_stranger_is_told_where_to_sign_in_and_gets_nothing_else(scene: Scene) -> None:
    stranger = scene.browser()
    assert (await who(stranger))["sign_in"] == "/api/v1/login"
    assert (await stranger.get("/api/v1/overview")).status_code == 401
    assert not stranger.cookies


async def test_no_script_reads_the_session_and_no_other_site_sends_it(scene: Scene) -> None:
    browser = scene.browser()
    answer = await come_back(browser, scene.provider.consent(await begin(browser)))
    session = next(one for one in answer.headers.get_list("set-cookie") if one.startswith(COOKIE + "="))
    told = {part.strip().lower() for part in session.split(";")[1:]}
    assert told == {"httponly", "path=/", "samesite=strict"}
    assert answer.headers["cache-control"] == "no-store"


async def test_over_tls_the_cookies_are_bound_to_this_host() -> None:
    async with open_scene() as scene:
        browser = scene.browser("https://127.0.0.1")
        answer = await come_back(browser, scene.provider.consent(await begin(browser)))
        for one in answer.headers.get_list("set-cookie"):
            assert one.startswith("__Host-quantum_")
            assert "; secure" in one.lower()
            assert "domain" not in one.lower()
        assert (await who(browser))["means"] == "session"
        # a cookie that anybody can set is none
        planted = scene.browser("https://127.0.0.1")
        planted.cookies.set(COOKIE, browser.cookies[f"__Host-{COOKIE}"])
        assert (await who(planted))["subject"] == ""


async def test_over_a_network_without_tls_nobody_signs_in(scene: Scene) -> None:
    answer = await scene.browser("http://192.0.2.7:8470").get("/api/v1/login")
    assert (answer.status_code, answer.json()["reason"]) == (400, "insecure")
    assert "https" in answer.json()["detail"]


async def test_a58_nobody_is_sent_to_another_place_afterwards(scene: Scene) -> None:
    browser = scene.browser()
    for to in ELSEWHERE:
        answer = await come_back(browser, scene.provider.consent(await begin(browser, to)))
        assert (answer.status_code, answer.headers["location"]) == (303, "/"), to


async def test_a58_what_is_asked_of_the_provider_has_all_that_protects_it(scene: Scene) -> None:
    browser = scene.browser()
    one, two = httpx.URL(await begin(browser)), httpx.URL(await begin(browser))
    assert str(one).startswith(f"{PLACE}/auth?")
    assert one.params["redirect_uri"] == "http://localhost/api/v1/login/callback"
    assert one.params["code_challenge_method"] == "S256"
    for name in ("state", "nonce", "code_challenge"):
        assert len(one.params[name]) == 43
        assert one.params[name] != two.params[name]
    secrets = "".join(browser.cookies.values())
    assert one.params["state"] not in secrets
    assert "verifier" not in one.params


async def test_a58_an_answer_that_is_not_the_awaited_one_signs_nobody_in(scene: Scene) -> None:
    browser = scene.browser()
    for change in UNAWAITED:
        answer = await come_back(browser, scene.provider.consent(await begin(browser)) | change)
        assert (answer.status_code, answer.json()["reason"]) == (400, "login_failed"), change
        assert "script" not in answer.text
    assert (await who(browser))["subject"] == ""


async def test_a58_an_answer_that_has_a_part_not_once_signs_nobody_in(scene: Scene) -> None:
    browser = scene.browser()
    for part in ("state", "code", "iss"):
        parameters = scene.provider.consent(await begin(browser))
        without = {name: value for name, value in parameters.items() if name != part}
        assert (await come_back(browser, without)).status_code == 400
        twice = f"{httpx.QueryParams(parameters)}&{part}=again"
        assert (await browser.get(f"/api/v1/login/callback?{twice}")).status_code == 400
    assert (await who(browser))["subject"] == ""


@pytest.mark.parametrize("end", [".a", "", ".", ".====", ".é"])
async def test_a58_a_cookie_that_was_changed_signs_nobody_in(scene: Scene, end: str) -> None:
    browser = scene.browser()
    parameters = scene.provider.consent(await begin(browser))
    (name, value), *_ = browser.cookies.items()
    changed = f"{name}={value.partition('.')[0]}{end}".encode()
    browser.cookies.clear()
    answer = await browser.get("/api/v1/login/callback", params=parameters, headers={b"cookie": changed})
    if end == ".":  # nowhere in particular
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
    else:
        assert (answer.status_code, answer.json()["reason"]) == (400, "login_failed")


async def test_a58_a_code_is_good_once(scene: Scene) -> None:
    browser = scene.browser()
    parameters = scene.provider.consent(await begin(browser))
    cookies = dict(browser.cookies)
    assert (await come_back(browser, parameters)).status_code == 303
    # its cookie is gone with the first use
    assert (await come_back(browser, parameters)).status_code == 400
    thief = scene.browser()
    thief.cookies.update(cookies)
    assert (await come_back(thief, parameters)).status_code == 400


async def test_a58_nobody_finishes_what_another_browser_began(scene: Scene) -> None:
    """Or a victim would be signed in as the attacker."""
    attacker, victim = scene.browser(), scene.browser()
    parameters = scene.provider.consent(await begin(attacker))
    await begin(victim)
    assert (await come_back(victim, parameters)).status_code == 400
    assert (await who(victim))["subject"] == ""


async def test_a_browser_may_sign_in_in_several_windows(scene: Scene) -> None:
    browser = scene.browser()
    one, two = await begin(browser, "/alerts"), await begin(browser, "/models")
    for address, place in ((one, "/alerts"), (two, "/models")):
        answer = await come_back(browser, scene.provider.consent(address))
        assert (answer.status_code, answer.headers["location"]) == (303, place)


async def test_a58_an_id_token_that_is_not_of_this_attempt_signs_nobody_in(scene: Scene) -> None:
    browser = scene.browser()
    for others in OF_ANOTHER_ATTEMPT:
        scene.provider.id_claims = others
        answer = await come_back(browser, scene.provider.consent(await begin(browser)))
        assert (answer.status_code, answer.json()["reason"]) == (400, "login_failed"), others
    assert (await who(browser))["subject"] == ""


async def test_a_provider_that_gives_no_id_token_signs_nobody_in() -> None:
    scene = Scene()
    for token in ("", "x" * 20_000, "a.b.c", KEY.token(claims(START_MS))):
        with pytest.raises(Rejected, match="the token is refused"):
            await scene.keycloak.check_id_token(token, CLIENT, "n")


async def test_each_sign_in_has_a_session_of_its_own_and_ends_the_one_before(scene: Scene) -> None:
    """Session fixation: what a browser had before is of no use afterwards."""
    browser = await scene.signed_in()
    before = browser.cookies[COOKIE]
    assert (await come_back(browser, scene.provider.consent(await begin(browser)))).status_code == 303
    assert browser.cookies[COOKIE] != before
    old = scene.browser()
    old.cookies.set(COOKIE, before)
    assert (await who(old))["subject"] == ""
    planted = scene.browser()
    planted.cookies.set(COOKIE, "qs_chosen-by-an-attacker")
    await come_back(planted, scene.provider.consent(await begin(planted)))
    headers = {"cookie": f"{COOKIE}=qs_chosen-by-an-attacker"}
    assert (await scene.browser().get("/api/v1/overview", headers=headers)).status_code == 401


async def test_people_are_told_in_a_page_and_programs_in_a_problem(scene: Scene) -> None:
    page = await scene.browser().get("/api/v1/login/callback", headers={"accept": "text/html,*/*;q=0.8"})
    assert (page.status_code, page.headers["content-type"]) == (400, "text/html; charset=utf-8")
    assert "Back to the dashboard" in page.text
    assert "frame-ancestors" in page.headers["content-security-policy"]


async def test_without_an_identity_provider_there_is_nothing_to_sign_in_to() -> None:
    async with Watching() as system:
        for method, path in (
            ("GET", "login"),
            ("GET", "login/callback"),
            ("POST", "logout"),
            ("POST", "session/backchannel-logout"),
        ):
            assert (await system.http.request(method, f"/api/v1/{path}")).status_code == 404
        assert (await system.get("/api/v1/session"))["sign_in"] == ""
        assert (await system.get("/api/v1/session"))["may"] == ["read", "act", "administer", "send"]


async def test_signing_in_can_be_left_to_others() -> None:
    auth = Auth(mode="keycloak", issuer=ISSUER, dashboard_client="")
    async with Watching(settings=Settings(store=Store(kind="memory"), auth=auth)) as system:
        assert (await system.http.get("/api/v1/login")).status_code == 404
        assert (await system.get("/api/v1/session"))["sign_in"] == ""


# ---- the provider is away -------------------------------------------------------------------------------------------


async def test_f23_without_the_provider_who_signs_in_is_told_to_try_again(scene: Scene) -> None:
    scene.provider.away = True
    answer = await scene.browser().get("/api/v1/login")
    assert (answer.status_code, answer.json()["reason"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"
    scene.provider.away = False
    assert (await scene.browser().get("/api/v1/login")).status_code == 503, "it is not asked twice in two seconds"
    scene.clock.advance(ASK_AGAIN_MS)
    assert (await scene.browser().get("/api/v1/login")).status_code == 303


async def test_f23_what_is_known_of_the_provider_is_used_while_it_is_away(scene: Scene) -> None:
    await begin(scene.browser())
    scene.provider.away = True
    scene.clock.advance(KNOWN_FOR_MS)
    await begin(scene.browser())


@pytest.mark.parametrize(
    "members",
    [
        {"issuer": ISSUER + "/"},
        {"token_endpoint": "https://evil.example/token"},
        {"authorization_endpoint": "http://sso.example/auth"},
        {"end_session_endpoint": "https://sso.example:444/"},
        {"code_challenge_methods_supported": ["plain"]},
        {"token_endpoint": 5},
    ],
)
async def test_a53_a_configuration_that_leads_elsewhere_is_not_followed(members: dict[str, Any]) -> None:
    """And A58: a provider without S256 is none."""
    scene = Scene()
    scene.provider.configuration = members
    with pytest.raises(Unavailable):
        await scene.oidc.address(Attempt("x"), "http://localhost/")


@pytest.mark.parametrize(
    ("status", "error"), [(401, "invalid_client"), (400, "unauthorized_client"), (429, ""), (500, ""), (302, "")]
)
async def test_a_provider_that_refuses_this_client_refuses_nobody_who_asks(status: int, error: str) -> None:
    scene = Scene()
    scene.provider.refusal = (status, error)
    with pytest.raises(Unavailable):
        await scene.oidc.exchange("code", Attempt("x"), "http://localhost/")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"\xff",
        b'{"access_token":"a","refresh_token":"b","expires_in":0,"token_type":"Bearer"}',
        b'{"access_token":"a","refresh_token":"b","expires_in":9,"token_type":"mac"}',
    ],
)
async def test_an_answer_that_is_no_grant_signs_nobody_in(body: bytes) -> None:
    scene = Scene()

    async def ask(url: str, form: Any) -> tuple[int, bytes]:
        return (await scene.provider.ask(url, form)) if form is None else (200, body)

    oidc = Oidc(ISSUER, CLIENT, scene.keycloak.check_id_token, scene.clock, ask)
    with pytest.raises(Unavailable):
        await oidc.refresh("x")


async def test_a_refusal_that_does_not_read_is_none_of_the_askers_doing() -> None:
    scene = Scene()

    async def ask(url: str, form: Any) -> tuple[int, bytes]:
        return (await scene.provider.ask(url, form)) if form is None else (400, b"<html>")

    oidc = Oidc(ISSUER, CLIENT, scene.keycloak.check_id_token, scene.clock, ask)
    with pytest.raises(Unavailable):
        await oidc.end("x")


async def test_what_an_attempt_is_recognised_by_follows_from_its_secret_and_differs() -> None:
    one = Attempt("a")
    parts = {one.state, one.nonce, one.verifier, one.challenge}
    assert len(parts) == 4
    assert Attempt("a").state == one.state != Attempt("b").state
