"""Quantum behind a real Keycloak: who is let in, with the realm that is shipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.watching import Watching

from quantum.adapters.keycloak import FETCH_INTERVAL_MS
from quantum.adapters.memory import ManualClock, SystemClock
from quantum.domain.facts import PutPolicy, command_in
from quantum.settings import Auth, Settings, Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.parts.keycloak import KeycloakServer

POLICY = {
    "name": "p",
    "matchers": [{"label": "__name__", "op": "=", "value": "cpu"}],
    "condition": {"kind": "anomaly_score", "raise_at": 0.9, "clear_at": 0.8},
}
PEOPLE = {"vera": ("viewer",), "otto": ("operator",), "anna": ("admin",), "nora": ()}


@pytest.fixture(name="people", scope="module")
def people_of_the_realm(keycloak: KeycloakServer) -> KeycloakServer:
    for name, roles in PEOPLE.items():
        keycloak.add_user(name, *roles)
    keycloak.add_user("eve-of-other", "admin", tenant="other")
    return keycloak


@pytest.fixture(name="system")
async def system_behind_keycloak(keycloak: KeycloakServer) -> AsyncIterator[Watching]:
    settings = Settings(store=Store(kind="memory"), auth=Auth(mode="keycloak", issuer=keycloak.issuer))
    async with Watching(settings=settings, clock=ManualClock(SystemClock().now_ms())) as system:
        yield system


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def keep_time(system: Watching) -> None:
    """Let the system's clock be no earlier than the one by which tokens are made."""
    system.clock.advance(max(0, SystemClock().now_ms() - system.clock.now_ms()))


async def status(system: Watching, token: str, method: str = "GET", path: str = "/api/v1/overview") -> int:
    keep_time(system)
    body = POLICY if method == "POST" else None
    answer = await system.http.request(method, path, json=body, headers=bearer(token) if token else {})
    return answer.status_code


async def test_people_may_do_what_their_roles_in_the_realm_say(system: Watching, people: KeycloakServer) -> None:
    expected = {
        "vera": (200, 403, 403),
        "otto": (200, 201, 403),
        "anna": (200, 409, 200),
        "nora": (403, 403, 403),
    }
    for name, statuses in expected.items():
        token = people.tokens(name)["access_token"]
        found = [
            await status(system, token),
            await status(system, token, "POST", "/api/v1/policies"),
            await status(system, token, "GET", "/api/v1/api-keys"),
        ]
        assert tuple(found) == statuses, name
    assert await status(system, "") == 401
    commands = [command_in(fact.body) for fact in await system.container.store().read(0, 100)]
    assert [one.actor for one in commands if isinstance(one, PutPolicy)] == ["otto", "anna"]


async def test_a_program_sends_and_does_not_read(system: Watching, people: KeycloakServer) -> None:
    """A47: a token of client credentials on a route for people."""
    token = people.agent_token()
    keep_time(system)
    answer = await system.http.post("/write", content=b"cpu v=1", headers=bearer(token))
    assert answer.status_code == 204
    assert await status(system, token) == 403
    assert await status(system, token, "POST", "/api/v1/policies") == 403


@pytest.mark.parametrize("kind", ["id_token", "refresh_token"])
async def test_no_other_kind_of_token_is_an_access_token(system: Watching, people: KeycloakServer, kind: str) -> None:
    """A43 and A44, as Keycloak issues them."""
    assert await status(system, people.tokens("anna")[kind]) == 401


async def test_a_token_of_another_client_is_refused(system: Watching, people: KeycloakServer) -> None:
    """A42: the same realm and user, through a client that is not allowed here."""
    client = {"clientId": "stranger", "publicClient": True, "directAccessGrantsEnabled": True}
    people.admin("POST", "/quantum/clients", client | {"defaultClientScopes": ["quantum"]})
    form = {"grant_type": "password", "client_id": "stranger", "username": "anna"}
    assert await status(system, people._grant(**form, password="correct horse battery staple")["access_token"]) == 401


async def test_a_member_of_another_tenant_is_told_that_its_data_is_not_here(
    system: Watching, people: KeycloakServer
) -> None:
    token = people.tokens("eve-of-other")["access_token"]
    keep_time(system)
    answer = await system.http.get("/api/v1/overview", headers=bearer(token))
    assert (answer.status_code, answer.json()["reason"]) == (403, "tenant_not_served")
    assert "'other'" in answer.json()["detail"]


async def test_a_rotation_of_keys_refuses_nobody(system: Watching, people: KeycloakServer) -> None:
    """F24, with Keycloak's own rotation: tokens signed before and after it are both good."""
    before = people.tokens("vera")["access_token"]
    assert await status(system, before) == 200
    people.rotate()
    after = people.tokens("vera")["access_token"]
    assert after.split(".")[0] != before.split(".")[0]
    assert await status(system, after) in (200, 503)
    system.clock.advance(FETCH_INTERVAL_MS)
    assert await status(system, after) == 200
    assert await status(system, before) == 200


async def test_keys_and_tokens_are_both_let_in(system: Watching, people: KeycloakServer) -> None:
    headers = bearer(people.tokens("anna")["access_token"])
    keep_time(system)
    body = {"name": "grafana", "scopes": ["read"]}
    made = (await system.http.post("/api/v1/api-keys", json=body, headers=headers)).json()
    assert made["item"]["created_by"] == "anna"
    assert await status(system, made["key"]) == 200
    assert await status(system, made["key"], "POST", "/api/v1/policies") == 403
