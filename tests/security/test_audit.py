"""The audit log over the whole application: who did what, from where, and what was denied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.security.test_rates import AtTheirWord
from tests.watching import HOT, Watching

from quantum.application.ports import Principal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

RECEIVER: Final = {"name": "ops", "url": "https://hooks.example/a", "secret": "s3cret-of-ops"}


class RolesAtTheirWord(AtTheirWord):
    """`token-NAME` is an administrator, `token-viewer` is not."""

    async def identify(self, credential: str) -> Principal:
        found = await super().identify(credential)
        roles = frozenset({"viewer"}) if found.subject == "viewer" else found.roles
        return Principal(found.subject, roles, found.tenant, means=found.means)


@pytest.fixture(name="system")
async def signed_in_system() -> AsyncIterator[Watching]:
    async with Watching(identity=RolesAtTheirWord()) as system:
        yield system


async def ask(system: Watching, method: str, path: str, who: str = "token-ada", **arguments: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {who}", **arguments.pop("headers", {})}
    return await system.http.request(method, path, headers=headers, **arguments)


async def audit(system: Watching, **parameters: Any) -> list[Any]:
    await system.pass_time(1000)
    answer = await ask(system, "GET", "/api/v1/audit", params=parameters)
    assert answer.status_code == 200, answer.text
    found: list[Any] = answer.json()["items"]
    return found


async def test_each_change_is_entered_with_who_and_from_where(system: Watching) -> None:
    created = (await ask(system, "POST", "/api/v1/policies", json=HOT)).json()
    edited = {**HOT, "for_ms": 5000}
    assert (await ask(system, "PUT", f"/api/v1/policies/{created['id']}", json=edited)).status_code == 200
    assert (await ask(system, "DELETE", f"/api/v1/policies/{created['id']}")).status_code == 204
    gone, change, new = await audit(system)
    assert [one["action"] for one in (new, change, gone)] == ["put_policy", "put_policy", "delete_policy"]
    assert {one["actor"] for one in (new, change, gone)} == {"ada"}
    assert {one["origin"] for one in (new, change, gone)} == {"127.0.0.1"}
    assert {"name": "for_ms", "before": "0", "after": "5000"} in change["changes"]


async def test_a_denied_attempt_is_entered_and_a_missing_credential_is_not(system: Watching) -> None:
    assert (await ask(system, "POST", "/api/v1/policies", "token-viewer", json=HOT)).status_code == 403
    assert (await system.http.post("/api/v1/policies", json=HOT)).status_code == 401
    (denied,) = await audit(system, outcome="denied")
    assert (denied["actor"], denied["action"], denied["origin"]) == ("viewer", "POST /api/v1/policies", "127.0.0.1")
    assert "operator" in denied["detail"]


async def test_a_credential_that_is_no_good_is_entered_wherever_it_is_shown(system: Watching) -> None:
    """A63: the route that tells who is asking is open to anybody, and no place to try keys unseen."""
    for path in ("/api/v1/session", "/api/v1/overview"):
        assert (await ask(system, "GET", path, "qk_0123456789ab_" + "f" * 64)).status_code == 401
        assert (await system.http.get(path)).status_code == (200 if path.endswith("session") else 401)
    found = await audit(system, outcome="denied")
    assert [one["action"] for one in found] == ["GET /api/v1/overview", "GET /api/v1/session"]
    assert {(one["actor"], one["origin"]) for one in found} == {("", "127.0.0.1")}
    assert "ffff" not in str(found)


async def test_what_the_pipeline_refuses_is_entered(system: Watching) -> None:
    for status in (201, 409):
        assert (await ask(system, "POST", "/api/v1/policies", json=HOT)).status_code == status
    (refused,) = await audit(system, outcome="refused")
    assert "there is a policy" in refused["detail"]


async def test_no_secret_is_in_any_entry(system: Watching) -> None:
    await ask(system, "POST", "/api/v1/receivers", json=RECEIVER)
    await ask(system, "PUT", "/api/v1/receivers/ops", json={**RECEIVER, "secret": "another-s3cret"})
    found = await audit(system, q="receiver")
    assert len(found) == 2
    assert "s3cret" not in str(found)


async def test_pages_follow_each_other_and_a_forged_cursor_is_refused(system: Watching) -> None:
    for number in range(5):
        await ask(system, "POST", "/api/v1/receivers", json={**RECEIVER, "name": f"ops-{number}"})
    await audit(system)
    seen: list[str] = []
    cursor: str | None = None
    while True:
        parameters = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await ask(system, "GET", "/api/v1/audit", params=parameters)).json()
        seen += [one["target"] for one in page["items"]]
        cursor = page["next_cursor"]
        if not cursor:
            break
    assert seen == [f"ops-{number}" for number in (4, 3, 2, 1, 0)]
    forged = await ask(system, "GET", "/api/v1/audit", params={"cursor": "x' OR 1=1"})
    assert (forged.status_code, forged.json()["reason"]) == (400, "cursor")


async def test_only_administrators_read_it(system: Watching) -> None:
    assert (await ask(system, "GET", "/api/v1/audit", "token-viewer")).status_code == 403
