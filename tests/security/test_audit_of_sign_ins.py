"""The audit log tells who signed in and out, and who tried in vain: each in the log of their own tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
import pytest_asyncio
from tests.facts import new_pipeline
from tests.signing_in import SELF, Scene, begin, come_back, open_scene, trust

from quantum.domain.facts import Heartbeat

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from quantum.domain.audit import AuditEntry

FLOOD_MS: Final = 10_000
"""After so long as many attempts as at first are written again."""
OTHERS_WORDS: Final = "acme_will_be_sold"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(name="running", scope="module", loop_scope="module")
async def running_scene() -> AsyncIterator[Scene]:
    async with open_scene(tenants=("default", "acme")) as scene:
        yield scene


@pytest.fixture(name="scene")
def scene_begun_anew(running: Scene) -> Scene:
    running.begin_anew()
    running.clock.advance(FLOOD_MS)
    return running


async def entered(scene: Scene, tenant: str, **parameters: Any) -> list[Any]:
    """Return what an administrator of a tenant finds in its log since the last ten seconds, oldest first."""
    since_ms = scene.clock.now_ms()
    workspace = scene.system.workspaces[tenant]
    scene.clock.advance(1000)
    await workspace.monitor().append(Heartbeat())
    await workspace.monitor().expect((await workspace.store().last())[0])
    scene.clock.advance(FLOOD_MS)
    scene.provider.tenant = tenant
    reader = await scene.signed_in("admin")
    answer = await reader.get("/api/v1/audit", params={"start_ms": since_ms, "end_ms": since_ms + 1, **parameters})
    assert answer.status_code == 200, answer.text
    found: list[Any] = answer.json()["items"]
    return found[::-1]


def shortly(entries: list[Any]) -> list[tuple[str, str, str]]:
    return [(one["actor"], one["action"], one["outcome"]) for one in entries]


async def sign_in(scene: Scene, **changes: str) -> httpx.Response:
    browser = scene.browser()
    return await come_back(browser, scene.provider.consent(await begin(browser)) | changes)


async def test_who_signs_in_and_out_is_entered_with_from_where(scene: Scene) -> None:
    browser = await scene.signed_in("viewer")
    assert (await browser.post("/api/v1/logout", headers=SELF)).status_code == 200
    assert (await browser.post("/api/v1/logout", headers=SELF)).status_code == 200
    found = await entered(scene, "default")
    assert shortly(found) == [("alice", "sign_in", "done"), ("alice", "sign_out", "done")]
    assert {one["origin"] for one in found} == {"127.0.0.1"}


async def test_who_signed_in_is_told_when_they_sign_out_however_often_the_session_was_renewed(scene: Scene) -> None:
    browser = await scene.signed_in("viewer")
    for _ in range(3):
        scene.clock.advance(60_000)
        assert (await browser.get("/api/v1/overview")).status_code == 200
    assert (await browser.post("/api/v1/logout", headers=SELF)).status_code == 200
    assert shortly(await entered(scene, "default")) == [("alice", "sign_out", "done")]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": "x" * 43}, "was not begun in this browser"),
        ({"state": ""}, "does not have 'state' once"),
        ({"iss": "https://evil.example/"}, "another identity provider"),
        ({"error": "access_denied"}, "did not sign you in: access_denied"),
        ({"code": "unheard-of"}, "the identity provider says no"),
    ],
)
async def test_an_answer_that_is_not_the_awaited_one_is_entered_as_denied(
    scene: Scene, changes: dict[str, str], words: str
) -> None:
    assert (await sign_in(scene, **changes)).status_code == 400
    (one,) = await entered(scene, "default", outcome="denied", q="sign_in")
    assert shortly([one]) == [("", "sign_in", "denied")]
    assert one["origin"] == "127.0.0.1"
    assert words in one["detail"]


async def test_an_id_token_of_another_attempt_is_entered_as_denied(scene: Scene) -> None:
    scene.provider.id_claims = {"nonce": "another"}
    assert (await sign_in(scene)).status_code == 400
    scene.provider.id_claims = {}
    (one,) = await entered(scene, "default")
    assert "another attempt" in one["detail"]


async def test_a_token_without_a_tenant_is_entered_as_denied(scene: Scene) -> None:
    scene.keycloak._trust = trust(tenant_claim="missing")
    assert (await sign_in(scene)).status_code == 403
    scene.keycloak._trust = trust()
    (one,) = await entered(scene, "default")
    assert "names no tenant" in one["detail"]


async def test_who_has_no_role_is_entered_as_denied_in_the_log_of_their_tenant(scene: Scene) -> None:
    scene.provider.roles, scene.provider.tenant = [], "acme"
    assert (await sign_in(scene)).status_code == 303
    (one,) = await entered(scene, "acme")
    assert shortly([one]) == [("alice", "sign_in", "denied")]
    assert "no role" in one["detail"]


async def test_a_member_of_a_tenant_that_is_not_served_is_entered_as_denied(scene: Scene) -> None:
    scene.provider.tenant = "globex"
    assert (await sign_in(scene)).status_code == 303
    (one,) = await entered(scene, "default")
    assert shortly([one]) == [("alice", "sign_in", "denied")]
    assert "is not kept by this process" in one["detail"]


async def test_nothing_of_one_tenants_members_is_in_the_log_of_another(scene: Scene) -> None:
    scene.provider.tenant = "acme"
    browser = await scene.signed_in("viewer")
    await browser.post("/api/v1/logout", headers=SELF)
    assert await entered(scene, "default") == []


async def test_words_that_a_stranger_sends_are_not_repeated_in_anybodys_log(scene: Scene) -> None:
    for changes in ({"error": OTHERS_WORDS}, {"state": OTHERS_WORDS}, {"iss": OTHERS_WORDS}, {"code": OTHERS_WORDS}):
        assert (await sign_in(scene, **changes)).status_code == 400
    found = await entered(scene, "default")
    assert len(found) == 4
    assert OTHERS_WORDS not in str(found)


async def test_a_flood_of_vain_attempts_is_ten_lines_and_hides_nobody_who_signs_in(scene: Scene) -> None:
    stranger = scene.browser()
    for _ in range(50):
        assert (await come_back(stranger, {"state": "x"})).status_code == 400
    await scene.signed_in("viewer")
    found = await entered(scene, "default", limit=100)
    assert shortly(found) == [("", "sign_in", "denied")] * 10 + [("alice", "sign_in", "done")]


async def test_an_identity_provider_that_is_away_denies_nobody_anything(scene: Scene) -> None:
    await begin(scene.browser())
    browser = scene.browser()
    parameters = scene.provider.consent(await begin(browser))
    scene.provider.away = True
    assert (await come_back(browser, parameters)).status_code == 503
    scene.provider.away = False
    assert await entered(scene, "default") == []


async def test_a_replay_of_the_log_enters_the_same(scene: Scene) -> None:
    browser = await scene.signed_in("viewer")
    await browser.post("/api/v1/logout", headers=SELF)
    await sign_in(scene, code="unheard-of")
    found = await entered(scene, "default")
    assert len(found) == 3
    pipeline = new_pipeline()
    log = scene.system.workspaces["default"].store()
    again: dict[str, AuditEntry] = {}
    while facts := await log.read(pipeline.position, 10_000):
        again |= {one.id: one for fact in facts for one in pipeline.step(fact).effects.audit}
    for one in found:
        same = again[one["id"]]
        assert (same.at_ms, same.actor, same.origin, same.action, same.outcome, same.detail) == tuple(
            one[name] for name in ("at_ms", "actor", "origin", "action", "outcome", "detail")
        )
