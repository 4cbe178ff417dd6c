"""Tickets for the live socket, and how long the socket of a session lives (A62, W5, W6, W42)."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

import pytest
import pytest_asyncio
from tests.issuer import claims
from tests.provider import KEY
from tests.signing_in import COOKIE, POLICY, SELF, Scene, open_scene
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from quantum.adapters.http.live import FORBIDDEN, LOOK_AGAIN_MS, UNAUTHENTICATED
from quantum.application.tickets import GOOD_FOR_MS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS


pytestmark = pytest.mark.asyncio(loop_scope="module")


# ---- tickets and sockets --------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(name="served", loop_scope="module")
async def served_scene(scene: Scene) -> AsyncIterator[Scene]:
    async with scene.system.served() as scene.address:
        yield scene


async def ticket(scene: Scene, browser: httpx.AsyncClient) -> str:
    """Return a ticket for a page at the address that is served."""
    headers = {"origin": f"http://{scene.address}", "host": scene.address}
    answer = await browser.post("/api/v1/live/tickets", headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.json()["expires_at_ms"] == scene.clock.now_ms() + GOOD_FOR_MS
    return str(answer.json()["ticket"])


def opening(scene: Scene, query: str, origin: str | None = None, **headers: str) -> connect:
    own = f"http://{scene.address}" if origin is None else origin
    told = {"origin": own} if own else {}
    return connect(f"ws://{scene.address}/api/v1/live{query}", additional_headers=told | headers)


async def refused(scene: Scene, query: str, origin: str | None = None, **headers: str) -> int:
    with pytest.raises(InvalidStatus) as refusal:
        await opening(scene, query, origin, **headers)
    return refusal.value.response.status_code


async def say(socket: Any, **message: Any) -> dict[str, Any]:
    await socket.send(json.dumps(message))
    answer: dict[str, Any] = json.loads(await socket.recv())
    return answer


async def closed_with(scene: Scene, socket: Any, within_ms: int) -> int:
    """Let time pass as long as a socket stays; return the code with which it was closed, or 0."""
    for _ in range(0, within_ms, LOOK_AGAIN_MS):
        try:
            await say(socket, op="ping")
            scene.clock.advance(LOOK_AGAIN_MS)
            await say(socket, op="ping")
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd is not None else -1
    return 0


async def test_a_ticket_opens_the_socket_once(served: Scene) -> None:
    """W5: a used ticket opens nothing."""
    browser = await served.signed_in()
    one = await ticket(served, browser)
    async with opening(served, f"?ticket={one}") as socket:
        assert (await say(socket, op="subscribe", topic="alerts"))["type"] == "subscribed"
        assert await refused(served, f"?ticket={one}") == 401


async def test_w5_what_is_no_ticket_opens_nothing(served: Scene) -> None:
    browser = await served.signed_in()
    one, two = await ticket(served, browser), await ticket(served, browser)
    for query in ("", "?ticket=", "?ticket=qt_x", f"?ticket={one}&ticket={two}", f"?x={one}"):
        assert await refused(served, query) == 401
    assert await refused(served, "", cookie=f"{COOKIE}={browser.cookies[COOKIE]}") == 401
    late = await ticket(served, browser)
    served.clock.advance(GOOD_FOR_MS)
    assert await refused(served, f"?ticket={late}") == 401


async def test_a62_a_ticket_is_of_no_use_to_another_page(served: Scene) -> None:
    browser = await served.signed_in()
    for origin, status in (("", 401), ("http://evil.example", 403), (f"https://{served.address}", 401), ("null", 403)):
        one = await ticket(served, browser)
        assert await refused(served, f"?ticket={one}", origin) == status, origin


async def test_w6_of_fifty_who_show_a_ticket_one_gets_in(served: Scene) -> None:
    one = await ticket(served, await served.signed_in())

    async def attempt() -> int:
        try:
            async with opening(served, f"?ticket={one}") as socket:
                await say(socket, op="ping")
                return 101
        except InvalidStatus as refusal:
            return refusal.response.status_code

    found = await asyncio.gather(*(attempt() for _ in range(50)))
    assert (found.count(101), found.count(401)) == (1, 49)


async def test_a_ticket_is_of_no_use_to_somebody_else_who_has_the_session_by_now(served: Scene) -> None:
    browser = await served.signed_in()
    one = await ticket(served, browser)
    found = await served.sessions.forget(browser.cookies[COOKIE])
    assert found is not None
    token = KEY.token(claims(served.clock.now_ms(), preferred_username="mallory"))
    kept = served.system.process.transients()
    changed = {**json.loads(found.dump()), "access_token": token}
    await kept.add(browser.cookies[COOKIE], json.dumps(changed).encode(), HOUR_MS)
    assert await refused(served, f"?ticket={one}") == 401


async def test_a_program_gets_a_ticket_for_its_token_and_nobody_for_nothing(served: Scene) -> None:
    token = KEY.token(claims(served.clock.now_ms()))
    answer = await served.browser().post("/api/v1/live/tickets", headers={"authorization": f"Bearer {token}"})
    async with opening(served, f"?ticket={answer.json()['ticket']}", "") as socket:
        assert (await say(socket, op="ping"))["type"] == "pong"
    assert (await served.browser().post("/api/v1/live/tickets")).status_code == 401


async def test_a_socket_of_a_session_lives_as_long_as_the_session(served: Scene) -> None:
    browser = await served.signed_in()
    async with opening(served, f"?ticket={await ticket(served, browser)}") as socket:
        assert await closed_with(served, socket, 10 * MINUTE_MS) == 0
        assert served.provider.refreshed >= 10
        served.provider.end_all()
        assert await closed_with(served, socket, MINUTE_MS) == UNAUTHENTICATED


async def test_w42_a_socket_ends_within_a_minute_of_its_holders_role(served: Scene) -> None:
    browser = await served.signed_in()
    async with opening(served, f"?ticket={await ticket(served, browser)}") as socket:
        assert await closed_with(served, socket, 2 * LOOK_AGAIN_MS) == 0
        served.provider.roles = ["ingest"]
        assert await closed_with(served, socket, MINUTE_MS) == FORBIDDEN


async def test_a_socket_ends_when_its_holder_signs_out_and_no_other_does(served: Scene) -> None:
    """W44."""
    one, two = await served.signed_in(), await served.signed_in()
    async with (
        opening(served, f"?ticket={await ticket(served, one)}") as mine,
        opening(served, f"?ticket={await ticket(served, two)}") as theirs,
    ):
        await say(mine, op="ping")
        await say(theirs, op="ping")
        assert (await one.post("/api/v1/logout", headers=SELF)).status_code == 200
        with pytest.raises(ConnectionClosed) as closed:
            await mine.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == UNAUTHENTICATED
        assert (await say(theirs, op="ping"))["type"] == "pong"


async def test_a_ticket_leads_to_the_data_of_its_holders_tenant_and_signing_out_ends_that_socket_too() -> None:
    async with open_scene(tenants=("default", "acme")) as scene, scene.system.served() as scene.address:
        scene.provider.tenant = "acme"
        browser = await scene.signed_in("operator")
        assert (await browser.post("/api/v1/policies", json=POLICY, headers=SELF)).status_code == 201
        rooms = scene.system.workspaces
        assert [len(room.monitor().pipeline.catalog.policies) for room in rooms.values()] == [0, 1]
        async with opening(scene, f"?ticket={await ticket(scene, browser)}") as socket:
            await say(socket, op="ping")
            assert [len(room.sockets().sockets) for room in rooms.values()] == [0, 1]
            assert (await browser.post("/api/v1/logout", headers=SELF)).status_code == 200
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == UNAUTHENTICATED


async def test_a_session_renews_no_socket_in_the_place_of_a_token(served: Scene) -> None:
    browser = await served.signed_in()
    async with opening(served, f"?ticket={await ticket(served, browser)}") as socket:
        answer = await say(socket, op="authenticate", token=browser.cookies[COOKIE])
        assert (answer["type"], answer["reason"]) == ("error", "invalid_credential")
