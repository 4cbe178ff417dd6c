"""Signing in with Compose's files as they are: Keycloak beside Quantum, with the realm that is shipped.

The realm knows the dashboard at http://localhost:8470 and Keycloak is at 8471, so these two ports have to be free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import httpx
import psutil
import pytest
from tests.images.stack import Stack, wait_until
from tests.parts.keycloak import AGENT_SECRET, PASSWORD, KeycloakServer
from tests.parts.keycloak_pages import KeycloakPages

from quantum.adapters.memory import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYCLOAK: Final = "http://localhost:8471"


@pytest.fixture(name="stack", scope="module")
def running_stack() -> Iterator[Stack]:
    secrets = {"QUANTUM_KEYCLOAK_PASSWORD": PASSWORD, "QUANTUM_AGENT_SECRET": AGENT_SECRET}
    stack = Stack("compose.yaml", "compose.keycloak.yaml", QUANTUM_PORT="8470", **secrets)
    try:
        stack.up()
        yield stack
    finally:
        stack.compose("down", "--volumes", "--timeout", "5")


@pytest.fixture(name="keycloak", scope="module")
def keycloak_of(stack: Stack) -> Iterator[KeycloakServer]:
    del stack
    server = KeycloakServer(KEYCLOAK)
    try:
        yield server
    finally:
        server.close()


def push(stack: Stack, token: str | None) -> httpx.Response:
    table = {"labels": {"__name__": "heat"}, "timestamps_ms": [SystemClock().now_ms()], "values": [1.0]}
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    address = f"{stack.quantum}/api/v1/samples"
    return httpx.post(address, json={"series": [table]}, headers=headers, timeout=30, trust_env=False)


def test_it_comes_up_healthy_with_the_realm_and_says_who_it_is(stack: Stack) -> None:
    (found,) = stack.containers("keycloak")
    assert found["State"]["Health"]["Status"] == "healthy"
    about = httpx.get(f"{KEYCLOAK}/realms/quantum/.well-known/openid-configuration", trust_env=False).json()
    assert about["issuer"] == f"{KEYCLOAK}/realms/quantum"


def test_a_token_of_the_agent_is_accepted_and_nothing_without_one(stack: Stack, keycloak: KeycloakServer) -> None:
    accepted = push(stack, keycloak.agent_token())
    assert (accepted.status_code, accepted.json()["accepted"]) == (200, 1)
    assert push(stack, None).status_code == 401
    assert push(stack, keycloak.agent_token()[:-4] + "AAAA").status_code == 401


def test_the_sign_in_of_the_dashboard_leads_to_keycloak_and_back_to_a_session(
    stack: Stack, keycloak: KeycloakServer
) -> None:
    keycloak.add_user("ada", "viewer")
    pages = KeycloakPages()
    with httpx.Client(base_url=stack.quantum, timeout=30, trust_env=False) as browser:
        assert browser.get("/api/v1/overview").status_code == 401
        begun = browser.get("/api/v1/login")
        assert begun.status_code in {302, 303}, begun.text
        assert begun.headers["location"].startswith(f"{KEYCLOAK}/realms/quantum/")
        back = pages.sign_in(begun.headers["location"], "ada")
        done = browser.get("/api/v1/login/callback", params=back)
        assert done.status_code in {200, 302, 303}, done.text
        seen = browser.get("/api/v1/overview")
        assert seen.status_code == 200, seen.text
    pages.close()


def test_both_are_published_to_this_machine_alone_and_keycloaks_own_ports_to_nobody(stack: Stack) -> None:
    (quantum,), (keycloak,) = stack.containers("quantum"), stack.containers("keycloak")
    published = {port: bindings for port, bindings in quantum["NetworkSettings"]["Ports"].items() if bindings}
    assert published == {f"{port}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}] for port in (8470, 8471)}
    assert keycloak["HostConfig"]["NetworkMode"] == f"container:{quantum['Id']}"
    assert not keycloak["NetworkSettings"]["Ports"]
    for address in addresses_of_this_machine():
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://{address}:8471/", timeout=2, trust_env=False)
    (host,) = [keycloak["HostConfig"]]
    assert (host["CapDrop"], host["SecurityOpt"]) == (["ALL"], ["no-new-privileges:true"])
    assert host["Memory"] == 1 << 30


def addresses_of_this_machine() -> list[str]:
    """Return its addresses that others could use, Docker's own among them."""
    found = [one for many in psutil.net_if_addrs().values() for one in many]
    return [one.address for one in found if one.family.name == "AF_INET" and not one.address.startswith("127.")]


def test_when_quantum_is_started_again_people_can_sign_in_again(stack: Stack, keycloak: KeycloakServer) -> None:
    stack.compose("restart", "quantum")
    stack.up()
    token = wait_until(lambda: token_of(keycloak), "a token")
    wait_until(lambda: push(stack, token).status_code == 200 or None, "a receipt")


def token_of(keycloak: KeycloakServer) -> Any:
    """Return a token of the agent, if there is one to be had."""
    try:
        return keycloak.agent_token()
    except (httpx.TransportError, AssertionError):
        return None
