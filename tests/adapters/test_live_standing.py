"""A live socket stays open no longer than its holder may have it: W42 to W46 and A62 of the lists."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest
from tests.issuer import AUDIENCE, CLIENT, ISSUER, Issuer, SigningKey, claims
from tests.watching import START_MS, Watching
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from quantum.adapters.http.live import FORBIDDEN, LOOK_AGAIN_MS, UNAUTHENTICATED
from quantum.adapters.keycloak import LEEWAY_MS, Keycloak, Trust
from quantum.adapters.memory import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.client import ClientConnection

KEY: Final = SigningKey("first")
LIFE_MS: Final = 60_000
MINUTE_MS: Final = 60_000


class Scene:
    """A served system behind an issuer of tokens."""

    def __init__(self) -> None:
        self.clock = ManualClock(START_MS)
        self.issuer = Issuer([KEY.jwk()])
        trust = Trust(issuer=ISSUER, audience=AUDIENCE, clients=frozenset({CLIENT}))
        self.system = Watching(clock=self.clock, identity=Keycloak(trust, self.clock, self.issuer.fetch))
        self.address = ""

    def token(self, **others: Any) -> str:
        return KEY.token(claims(self.clock.now_ms(), **others))

    def open(self, credential: str) -> connect:
        headers = {"authorization": f"Bearer {credential}"}
        return connect(f"ws://{self.address}/api/v1/live", additional_headers=headers)


@pytest.fixture(name="scene")
async def new_scene() -> AsyncIterator[Scene]:
    scene = Scene()
    async with scene.system, scene.system.served() as scene.address:
        yield scene


async def say(socket: ClientConnection, **message: Any) -> dict[str, Any]:
    await socket.send(json.dumps(message))
    answer: dict[str, Any] = json.loads(await socket.recv())
    return answer


async def stays(socket: ClientConnection) -> bool:
    return bool((await say(socket, op="ping"))["type"] == "pong")


async def pass_time(scene: Scene, socket: ClientConnection, duration_ms: int) -> int:
    """Let time pass as long as the socket stays; return the code with which it was closed, or 0."""
    for _ in range(0, duration_ms, LOOK_AGAIN_MS):
        try:
            await stays(socket)
            scene.clock.advance(LOOK_AGAIN_MS)
            await stays(socket)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd is not None else -1
    return 0


async def test_a_socket_ends_within_a_minute_of_its_token(scene: Scene) -> None:
    """W43 and A62: the token expires during the session."""
    async with scene.open(scene.token()) as socket:
        assert await pass_time(scene, socket, LIFE_MS) == 0
        assert await pass_time(scene, socket, MINUTE_MS) == UNAUTHENTICATED
        assert scene.clock.now_ms() <= START_MS + LIFE_MS + MINUTE_MS
        assert LEEWAY_MS + LOOK_AGAIN_MS <= MINUTE_MS


async def test_a_socket_lives_on_with_a_newer_token(scene: Scene) -> None:
    async with scene.open(scene.token()) as socket:
        for _ in range(5):
            assert await pass_time(scene, socket, 2 * LOOK_AGAIN_MS) == 0
            assert (await say(socket, op="authenticate", token=scene.token()))["type"] == "authenticated"
        assert scene.clock.now_ms() > START_MS + 2 * MINUTE_MS


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        ({"preferred_username": "mallory"}, "forbidden"),
        ({"tenant": "other"}, "tenant_not_served"),
        ({"realm_access": {"roles": ["ingest"]}}, "forbidden"),
        ({"exp": START_MS // 1000 - 60, "iat": START_MS // 1000 - 120}, "invalid_credential"),
        ({"aud": "account"}, "invalid_credential"),
    ],
)
async def test_a_socket_is_not_renewed_by_just_any_token(scene: Scene, others: dict[str, Any], reason: str) -> None:
    """W45 and W46: somebody else's, expired, of another tenant, without the role; the socket is as it was before."""
    async with scene.open(scene.token()) as socket:
        answer = await say(socket, op="authenticate", token=scene.token(**others))
        assert (answer["type"], answer["reason"]) == ("error", reason)
        assert await stays(socket)
        assert await pass_time(scene, socket, 2 * MINUTE_MS) == UNAUTHENTICATED


@pytest.mark.parametrize("token", ["", "x", "qk_x_y"])
async def test_what_is_no_token_renews_nothing(scene: Scene, token: str) -> None:
    async with scene.open(scene.token()) as socket:
        assert (await say(socket, op="authenticate", token=token))["type"] == "error"
        assert await stays(socket)


async def test_a_socket_ends_when_its_holder_loses_the_role(scene: Scene) -> None:
    """W42: what is shown next says that the role is gone."""
    async with scene.open(scene.token(realm_access={"roles": ["viewer"]})) as socket:
        standing = next(iter(scene.system.container.sockets().sockets)).scope["state"]["standing"]
        # what its credential is worth now, as after a change of roles behind a session
        standing._credential = scene.token(realm_access={"roles": []})
        assert await pass_time(scene, socket, MINUTE_MS) == FORBIDDEN


async def test_a_socket_ends_when_its_key_is_revoked(scene: Scene) -> None:
    admin = {"authorization": f"Bearer {scene.token(realm_access={'roles': ['admin']})}"}
    body = {"name": "wall screen", "scopes": ["read"]}
    made = (await scene.system.http.post("/api/v1/api-keys", json=body, headers=admin)).json()
    async with scene.open(made["key"]) as socket:
        assert await pass_time(scene, socket, LOOK_AGAIN_MS) == 0
        gone = await scene.system.http.delete(f"/api/v1/api-keys/{made['item']['id']}", headers=admin)
        assert gone.status_code == 204
        assert await pass_time(scene, socket, MINUTE_MS) == UNAUTHENTICATED


async def test_an_issuer_that_is_away_ends_no_socket_before_its_time(scene: Scene) -> None:
    """F23, for sockets; and what was found out about the token may be forgotten meanwhile."""
    async with scene.open(scene.token()) as socket:
        await stays(socket)
        scene.issuer.answer = aiohttp.ClientConnectionError("down")
        identity: Any = scene.system.identity
        identity._judged.clear()
        identity.keys._keys.clear()
        assert await pass_time(scene, socket, 2 * LOOK_AGAIN_MS) == 0
        assert await pass_time(scene, socket, MINUTE_MS) == UNAUTHENTICATED
