"""One session used in two processes that share a Redis: it is renewed once, and nobody is signed out."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest
from tests.parts.redis import run_redis

from quantum.adapters.memory import SystemClock
from quantum.adapters.redis.transients import RedisTransients
from quantum.application.ports import Principal
from quantum.application.sessions import RENEW_AFTER_MS, Lifetimes, Sessions, Tokens
from quantum.domain.errors import Rejected

if TYPE_CHECKING:
    from pathlib import Path

LIFE_S: Final = 60
ENOUGH_S: Final = 20.0
"""So patient is nobody outside tests."""
AT_ONCE: Final = 20


class LaterClock(SystemClock):
    """The clock of this machine, put forward."""

    ahead_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms


class Provider:
    """Grants tokens, each refresh token for one use: showing it twice ends everything, as it does at Keycloak."""

    banner = ""

    def __init__(self, clock: LaterClock) -> None:
        self.shown = Counter[str]()
        self.ended: list[str] = []
        self._clock = clock
        self._expires_at_ms: dict[str, int] = {}

    def grant(self) -> Tokens:
        number = len(self._expires_at_ms)
        self._expires_at_ms[f"access {number}"] = self._clock.now_ms() + 1000 * LIFE_S
        return Tokens(f"access {number}", f"refresh {number}", LIFE_S)

    async def refresh(self, token: str) -> Tokens:
        self.shown[token] += 1
        if self.shown[token] > 1:
            raise Rejected("unauthenticated", f"{token} was shown before")
        await asyncio.sleep(0.05)  # what the way to a provider takes: others look for the session meanwhile
        return self.grant()

    async def end(self, token: str) -> None:
        self.ended.append(token)

    async def identify(self, credential: str) -> Principal:
        if self._expires_at_ms[credential] <= self._clock.now_ms():
            raise Rejected("invalid_credential", "the token has expired")
        return Principal("ann", frozenset({"viewer"}), "default", means="token")


@pytest.mark.parametrize("unused_ms", [RENEW_AFTER_MS, 1000 * LIFE_S], ids=["due", "expired"])
async def test_a57_two_processes_renew_a_session_once_and_nobody_is_signed_out(tmp_path: Path, unused_ms: int) -> None:
    clock = LaterClock()
    provider = Provider(clock)
    with run_redis(tmp_path) as server:
        async with RedisTransients(server.url, ENOUGH_S) as here, RedisTransients(server.url, ENOUGH_S) as there:
            both = [
                Sessions(kept, provider, clock, provider.refresh, provider.end, Lifetimes()) for kept in (here, there)
            ]
            credential, _ = await both[0].begin(provider.grant())
            for _ in range(4):
                clock.ahead_ms += unused_ms
                found = await asyncio.gather(*(one.identify(credential) for one in both for _ in range(AT_ONCE)))
                assert {principal.subject for principal in found} == {"ann"}
    assert provider.shown == {f"refresh {number}": 1 for number in range(4)}
    assert provider.ended == []
