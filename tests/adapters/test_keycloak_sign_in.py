"""Signing in at a real Keycloak, with the realm and the redirect URI that are shipped."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
from tests.parts.keycloak_pages import KeycloakPages
from tests.signing_in import COOKIE, POLICY, begin, come_back, who
from tests.watching import Watching

from quantum.adapters.http.login import BACK_CHANNEL
from quantum.adapters.memory import ManualClock, SystemClock
from quantum.application.sessions import RENEW_AFTER_MS
from quantum.domain.facts import Attendance
from quantum.settings import Auth, Settings, Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.parts.keycloak import KeycloakServer

BASE: Final = "http://localhost:8470"
"""As the realm that is shipped knows it."""
SELF: Final = {"origin": BASE, "sec-fetch-site": "same-origin"}


@pytest.fixture(name="people", scope="module")
def people_of_the_realm(keycloak: KeycloakServer) -> Iterator[dict[str, str]]:
    people = {
        "sign-in-viewer": keycloak.add_user("sign-in-viewer", "viewer"),
        "sign-in-operator": keycloak.add_user("sign-in-operator", "operator"),
    }
    yield people
    for user_id in people.values():
        keycloak.admin("DELETE", f"/quantum/users/{user_id}")


@pytest.fixture(name="system")
async def system_behind_keycloak(keycloak: KeycloakServer) -> AsyncIterator[Watching]:
    settings = Settings(store=Store(kind="memory"), auth=Auth(mode="keycloak", issuer=keycloak.issuer))
    async with Watching(settings=settings, clock=ManualClock(SystemClock().now_ms())) as system:
        yield system


@pytest.fixture(name="pages")
def pages_of_keycloak() -> Iterator[KeycloakPages]:
    pages = KeycloakPages()
    yield pages
    pages.close()


@pytest.fixture(name="browser")
async def browser_of_somebody(system: Watching) -> AsyncIterator[httpx.AsyncClient]:
    app: Any = system.app
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE, timeout=60) as browser:
        yield browser


async def sign_in(system: Watching, browser: httpx.AsyncClient, pages: KeycloakPages, name: str) -> None:
    answer = await come_back(browser, pages.sign_in(await begin(browser), name))
    # tokens are made by the other clock
    system.clock.advance(max(0, SystemClock().now_ms() - system.clock.now_ms()))
    assert answer.status_code == 303, answer.text


@contextmanager
def told_at(keycloak: KeycloakServer, address: str) -> Iterator[None]:
    """Let Keycloak say at an address what the shipped realm has it say at another."""
    attributes = keycloak.admin("GET", "/quantum/clients?clientId=quantum-dashboard").json()[0]["attributes"]
    assert attributes["backchannel.logout.url"] == BASE + BACK_CHANNEL
    other = attributes | {"backchannel.logout.url": f"http://{address}{BACK_CHANNEL}"}
    keycloak.change_client("quantum-dashboard", attributes=other)
    yield
    keycloak.change_client("quantum-dashboard", attributes=attributes)


async def refresh_token(system: Watching, browser: httpx.AsyncClient) -> str:
    kept = await system.process.transients().find(browser.cookies[COOKIE])
    return str(json.loads(kept)["refresh_token"])


async def test_people_sign_in_and_may_do_what_their_roles_say(
    system: Watching, browser: httpx.AsyncClient, pages: KeycloakPages, people: dict[str, str]
) -> None:
    assert people
    await sign_in(system, browser, pages, "sign-in-viewer")
    found = await who(browser)
    assert (found["subject"], found["may"], found["means"]) == ("sign-in-viewer", ["read"], "session")
    assert (await browser.post("/api/v1/policies", json=POLICY, headers=SELF)).status_code == 403
    await browser.post("/api/v1/logout", headers=SELF)
    await sign_in(system, browser, pages, "sign-in-operator")
    assert (await who(browser))["may"] == ["read", "act"]
    assert (await browser.post("/api/v1/policies", json=POLICY, headers=SELF)).status_code == 201


async def test_a57_tokens_are_renewed_and_one_that_is_shown_twice_ends_the_session(
    system: Watching, browser: httpx.AsyncClient, pages: KeycloakPages, people: dict[str, str], keycloak: KeycloakServer
) -> None:
    assert people
    await sign_in(system, browser, pages, "sign-in-viewer")
    stolen = await refresh_token(system, browser)
    system.clock.advance(RENEW_AFTER_MS)
    assert (await who(browser))["subject"] == "sign-in-viewer"
    assert await refresh_token(system, browser) != stolen
    form = {"grant_type": "refresh_token", "client_id": "quantum-dashboard", "refresh_token": stolen}
    shown_again = pages.http.post(f"{keycloak.issuer}/protocol/openid-connect/token", data=form)
    assert (shown_again.status_code, shown_again.json()["error"]) == (400, "invalid_grant")
    system.clock.advance(RENEW_AFTER_MS)
    assert (await browser.get("/api/v1/overview")).status_code == 401


async def test_who_signs_out_is_asked_again_by_keycloak(
    system: Watching, browser: httpx.AsyncClient, pages: KeycloakPages, people: dict[str, str], keycloak: KeycloakServer
) -> None:
    # whoever else was signed in as them
    keycloak.admin("POST", f"/quantum/users/{people['sign-in-viewer']}/logout")
    await sign_in(system, browser, pages, "sign-in-viewer")
    # remembered: no password is asked for
    await sign_in(system, browser, pages, "nobody at all")
    assert (await who(browser))["subject"] == "sign-in-viewer"
    answer = await browser.post("/api/v1/logout", headers=SELF)
    assert answer.json() == {"end_session": ""}
    assert keycloak.admin("GET", f"/quantum/users/{people['sign-in-viewer']}/sessions").json() == []
    assert "kc-form-login" in pages.http.get(await begin(browser)).text


async def test_a56_a_user_who_is_disabled_is_out_within_a_minute(
    system: Watching, browser: httpx.AsyncClient, pages: KeycloakPages, people: dict[str, str], keycloak: KeycloakServer
) -> None:
    await sign_in(system, browser, pages, "sign-in-operator")
    place = f"/quantum/users/{people['sign-in-operator']}"
    keycloak.admin("PUT", place, {"enabled": False})
    try:
        system.clock.advance(RENEW_AFTER_MS)
        assert (await browser.get("/api/v1/overview")).status_code == 401
    finally:
        keycloak.admin("PUT", place, {"enabled": True})


async def test_a_session_that_is_ended_in_keycloak_is_over_before_keycloak_says_that_it_is_done(
    system: Watching, browser: httpx.AsyncClient, pages: KeycloakPages, people: dict[str, str], keycloak: KeycloakServer
) -> None:
    async with system.served() as address:
        with told_at(keycloak, address):
            await sign_in(system, browser, pages, "sign-in-viewer")
            assert (await who(browser))["subject"] == "sign-in-viewer"
            place = f"/quantum/users/{people['sign-in-viewer']}/logout"
            await asyncio.to_thread(keycloak.admin, "POST", place)
            assert (await who(browser))["subject"] == ""


async def test_who_signs_out_here_is_noted_once_though_keycloak_says_so_too(
    system: Watching, browser: httpx.AsyncClient, pages: KeycloakPages, people: dict[str, str], keycloak: KeycloakServer
) -> None:
    assert people
    async with system.served() as address:
        with told_at(keycloak, address):
            await sign_in(system, browser, pages, "sign-in-viewer")
            assert (await browser.post("/api/v1/logout", headers=SELF)).json() == {"end_session": ""}
            facts = await system.container.store().read(0, 1000)
            acts = [fact.body.action for fact in facts if isinstance(fact.body, Attendance)]
            assert acts == ["sign_in", "sign_out"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"redirect_uri": f"{BASE}/api/v1/login/callback/../x"}, 400),
        ({"redirect_uri": "https://evil.example/"}, 400),
        ({"code_challenge_method": "plain"}, 302),
        ({"code_challenge": ""}, 302),
    ],
)
async def test_a58_keycloak_goes_back_to_us_alone_and_wants_pkce(
    browser: httpx.AsyncClient, pages: KeycloakPages, change: dict[str, str], status: int
) -> None:
    """What is asked for is refused if it is less than what the realm demands."""
    address = httpx.URL(await begin(browser))
    asked = {name: value for name, value in (dict(address.params) | change).items() if value}
    answer = pages.http.get(address.copy_with(params=asked))
    assert answer.status_code == status
    if status == 302:
        assert httpx.URL(answer.headers["location"]).params["error"] == "invalid_request"


async def test_a58_a_code_is_exchanged_by_who_has_the_verifier(
    browser: httpx.AsyncClient, pages: KeycloakPages, people: dict[str, str], keycloak: KeycloakServer
) -> None:
    assert people
    found = pages.sign_in(await begin(browser), "sign-in-viewer")
    form = {"grant_type": "authorization_code", "client_id": "quantum-dashboard", "code": found["code"]}
    form |= {"redirect_uri": f"{BASE}/api/v1/login/callback", "code_verifier": "x" * 43}
    stolen = pages.http.post(f"{keycloak.issuer}/protocol/openid-connect/token", data=form)
    assert (stolen.status_code, stolen.json()["error"]) == (400, "invalid_grant")
    assert (await come_back(browser, found)).status_code == 400, "a code that was tried is used up"
