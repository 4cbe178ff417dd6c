"""Requests by the thousand while the issuer of tokens rotates its keys, is asked for keys that never were, or is away.

They go through the whole application, as a server hands them in; only time is virtual.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest
from tests.issuer import AUDIENCE, CLIENT, ISSUER, Issuer, SigningKey, b64, claims
from tests.watching import START_MS, Watching

from quantum.adapters.keycloak import FETCH_INTERVAL_MS, KEYS_FRESH_MS, LEEWAY_MS, Keycloak, Trust
from quantum.adapters.memory import ManualClock
from quantum.settings import RequestRates, Settings, Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

KEYS: Final = [SigningKey(f"key {number}") for number in range(6)]
LIFE_MS: Final = 60_000
FLOOD: Final = 5000


class Scene:
    """The application behind an issuer that a test plays."""

    def __init__(self) -> None:
        self.clock = ManualClock(START_MS)
        self.issuer = Issuer([KEYS[0].jwk()])
        trust = Trust(issuer=ISSUER, audience=AUDIENCE, clients=frozenset({CLIENT}))
        # how much one user may ask is another matter
        unlimited = Settings(store=Store(kind="memory"), rates=RequestRates(key_per_s=0, user_per_s=0, tenant_per_s=0))
        self.system = Watching(unlimited, self.clock, identity=Keycloak(trust, self.clock, self.issuer.fetch))

    def token(self, key: SigningKey) -> str:
        return key.token(claims(self.clock.now_ms()))

    async def status(self, token: str) -> int:
        """Ask for the policies as uvicorn would; return the status of the answer."""
        found: list[int] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                found.append(message["status"])

        headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {token}".encode())]
        scope: Any = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "GET",
            "scheme": "http", "path": "/api/v1/policies", "raw_path": b"/api/v1/policies", "root_path": "",
            "query_string": b"", "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
            "state": {},
        }  # fmt: skip
        await self.system.app(scope, receive, send)
        return found[0]

    async def statuses(self, tokens: Iterable[str]) -> Counter[int]:
        return Counter(await asyncio.gather(*(self.status(token) for token in tokens)))


@pytest.fixture(name="scene")
async def new_scene() -> AsyncIterator[Scene]:
    scene = Scene()
    async with scene.system:
        yield scene


def made_up(numbers: Iterable[int]) -> list[str]:
    """Tokens that name keys that never were; nobody signed them, and nobody gets to look at the signature."""
    heads = ({"alg": "RS256", "typ": "JWT", "kid": f"made up {number}"} for number in numbers)
    return [f"{b64(json.dumps(head))}.{b64('{}')}.{b64(bytes(256))}" for head in heads]


async def test_a54_five_thousand_unknown_keys_in_a_second_are_one_question_in_ten(scene: Scene) -> None:
    found: Counter[int] = Counter()
    for begin in range(0, FLOOD, 500):
        found += await scene.statuses(made_up(range(begin, begin + 500)))
    assert set(found) <= {401, 503}
    assert found.total() == FLOOD
    assert scene.issuer.asked == 1
    assert await scene.status(scene.token(KEYS[0])) == 200
    scene.clock.advance(FETCH_INTERVAL_MS - 1)
    await scene.statuses(made_up(range(FLOOD, FLOOD + 500)))
    assert scene.issuer.asked == 1
    scene.clock.advance(1)
    await scene.statuses(made_up(range(2 * FLOOD, 2 * FLOOD + 500)))
    assert scene.issuer.asked == 2


async def test_a_rotation_under_load_calls_no_sound_token_bad(scene: Scene) -> None:
    """A51 to A54 and F24: a new key every twenty seconds, the old ones kept as long as their tokens live."""
    found: Counter[int] = Counter()
    waiting: list[str] = []
    last: list[str] = []
    for second in range(100):
        newest = second // 20
        scene.issuer.keys = [key.jwk() for key in KEYS[max(0, newest - LIFE_MS // 20_000) : newest + 1]]
        last = [*last[-200:], scene.token(KEYS[newest])]
        asked = [*last[-40:], *waiting]
        answers = await asyncio.gather(*(scene.status(token) for token in asked))
        found.update(answers)
        # who is told "not now" asks again, and is let in within the time between two questions
        waiting = [token for token, answer in zip(asked, answers, strict=True) if answer == 503]
        await scene.statuses(made_up(range(second * 10, second * 10 + 10)))
        scene.clock.advance(1000)
    assert set(found) <= {200, 503}
    assert found[200] > 3000
    scene.clock.advance(FETCH_INTERVAL_MS)
    fresh = [scene.token(KEYS[4])]
    assert await scene.statuses(fresh) == {200: 1}
    assert scene.issuer.asked <= 100_000 // FETCH_INTERVAL_MS + 2


async def test_an_hour_without_keycloak_calls_no_token_bad_that_has_not_expired(scene: Scene) -> None:
    """F23: what was signed with a known key is judged as before; what has expired is refused as before."""
    assert await scene.status(scene.token(KEYS[0])) == 200
    scene.issuer.answer = aiohttp.ClientConnectionError("stopped")
    found: Counter[int] = Counter()
    for _ in range(60):
        tokens = [scene.token(KEYS[0]) for _ in range(3)]
        found += await scene.statuses(tokens)
        scene.clock.advance(LIFE_MS - 1)
        found += await scene.statuses(tokens)
    assert found == {200: 360}
    late = scene.token(KEYS[0])
    scene.clock.advance(LIFE_MS + LEEWAY_MS)
    assert await scene.status(late) == 401
    assert await scene.status(scene.token(KEYS[1])) == 503
    scene.issuer.answer = None
    scene.issuer.keys.append(KEYS[1].jwk())
    scene.clock.advance(KEYS_FRESH_MS)
    assert await scene.status(scene.token(KEYS[1])) == 200
