"""Identity: who is asking."""

from __future__ import annotations

import pytest

from quantum.adapters.stub_auth import StubIdentity


@pytest.mark.parametrize("authorization", [None, "", "Bearer anything", "Basic Zm9v"])
async def test_without_sign_in_everybody_is_the_local_admin(authorization: str | None) -> None:
    principal = await StubIdentity().identify(authorization)
    assert principal.subject == "local-admin"
    assert principal.roles == {"viewer", "operator", "admin", "ingest"}


def test_without_sign_in_the_dashboard_has_something_to_say_about_it() -> None:
    assert "administrator" in StubIdentity().banner
