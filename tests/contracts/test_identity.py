"""Identity: who is asking."""

from __future__ import annotations

import pytest

from quantum.adapters.stub_auth import StubIdentity


@pytest.mark.parametrize("credential", ["", "anything"])
async def test_without_sign_in_everybody_is_the_local_admin(credential: str) -> None:
    principal = await StubIdentity("acme").identify(credential)
    assert (principal.subject, principal.tenant, principal.means) == ("local-admin", "acme", "stub")
    assert principal.expires_at_ms is None
    assert principal.roles == {"viewer", "operator", "admin", "ingest"}


def test_without_sign_in_the_dashboard_has_something_to_say_about_it() -> None:
    assert "administrator" in StubIdentity().banner
