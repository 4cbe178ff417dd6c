"""Identity: who is asking. By nobody's leave (stub), by API keys, and by the access tokens of a real Keycloak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.watching import Watching

from quantum.adapters.keycloak import Keycloak, Trust
from quantum.adapters.memory import SystemClock
from quantum.adapters.stub_auth import StubIdentity
from quantum.domain.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.parts.keycloak import KeycloakServer

    from quantum.application.ports import Identity

STRICT = ["keys", "keycloak"]


@pytest.fixture(params=STRICT, name="strict")
async def strict_identity(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Identity, str]]:
    """An identity that lets in whom it knows, and a credential that is good."""
    if request.param == "keys":
        async with Watching() as system:
            keys: Any = system.container.keys()
            _, key = await keys.issue("agent", ["read"], None, "me")
            yield keys, key
        return
    server: KeycloakServer = request.getfixturevalue("keycloak")
    name = "contract-reader"
    server.add_user(name, "viewer")
    trust = Trust(issuer=server.issuer, audience="quantum", clients=frozenset({"quantum-dashboard"}))
    yield Keycloak(trust, SystemClock()), server.tokens(name)["access_token"]
    # the server lives on for other tests
    user_id = server.admin("GET", f"/quantum/users?username={name}&exact=true").json()[0]["id"]
    server.admin("DELETE", f"/quantum/users/{user_id}")


async def test_a_good_credential_says_who_it_is(strict: tuple[Identity, str]) -> None:
    identity, credential = strict
    found = await identity.identify(credential)
    assert found.subject
    assert found.roles == {"viewer"}
    assert found.tenant == "default"
    assert found.means in ("key", "token")
    assert await identity.identify(credential) == found
    assert identity.banner == ""


@pytest.mark.parametrize("change", ["x{}", "{}x", "anything"])
async def test_what_is_not_a_credential_is_refused_without_repeating_it(
    strict: tuple[Identity, str], change: str
) -> None:
    identity, credential = strict
    with pytest.raises(Rejected) as refused:
        await identity.identify(change.format(credential))
    assert refused.value.reason == "invalid_credential"
    assert credential not in str(refused.value)


@pytest.mark.parametrize("credential", ["", "anything"])
async def test_without_sign_in_everybody_is_the_local_admin(credential: str) -> None:
    principal = await StubIdentity("acme").identify(credential)
    assert (principal.subject, principal.tenant, principal.means) == ("local-admin", "acme", "stub")
    assert principal.expires_at_ms is None
    assert principal.roles == {"viewer", "operator", "admin", "ingest"}


def test_without_sign_in_the_dashboard_has_something_to_say_about_it() -> None:
    assert "administrator" in StubIdentity().banner
