"""Too many requests: 429 with the id of the limit and when to try again, over the whole application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from tests.watching import Watching

from quantum.application.ports import Principal
from quantum.domain.errors import Rejected
from quantum.settings import RequestRates, Settings, Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

EVERYTHING: Final = frozenset({"viewer", "operator", "admin", "ingest"})


class AtTheirWord:
    """Identity for these tests: `key NAME` and `token NAME` are taken for what they say."""

    banner = ""

    async def identify(self, credential: str) -> Principal:
        means, _, name = credential.partition("-")
        if means not in ("key", "token"):
            raise Rejected("unauthenticated", "this needs a token or a key")
        return Principal(name, EVERYTHING, "default", means=means)


@pytest.fixture(name="system")
async def limited_system() -> AsyncIterator[Watching]:
    rates = RequestRates(key_per_s=1, user_per_s=1, tenant_per_s=0)
    settings = Settings(store=Store(kind="memory"), rates=rates)
    async with Watching(settings, identity=AtTheirWord()) as system:
        yield system


async def knock(system: Watching, who: str, times: int) -> list[httpx.Response]:
    headers = {"authorization": f"Bearer {who}"}
    return [await system.http.get("/api/v1/policies", headers=headers) for _ in range(times)]


@pytest.mark.parametrize(("who", "reason"), [("key-a", "key_rate"), ("token-a", "user_rate")])
async def test_whoever_asks_too_often_is_told_429_and_when_to_try_again(
    system: Watching, who: str, reason: str
) -> None:
    answers = await knock(system, who, 40)
    refused = [answer for answer in answers if answer.status_code != 200]
    assert 0 < len(refused) < 40
    for answer in refused:
        assert (answer.status_code, answer.json()["reason"]) == (429, reason)
        assert 1 <= int(answer.headers["retry-after"]) <= 10
        assert answer.headers["content-type"] == "application/problem+json"
    assert (await knock(system, f"{who}-other", 1))[0].status_code == 200
    metrics = (await system.http.get("/metrics")).text
    assert f'quantum_refused_requests_total{{reason="{reason}"}} {len(refused)}.0' in metrics
    assert f'quantum_limits{{reason="{reason}"}} 1.0' in metrics


async def test_health_is_asked_as_often_as_one_likes(system: Watching) -> None:
    assert {(await system.http.get("/livez")).status_code for _ in range(60)} == {200}
    assert {(await system.http.get("/metrics")).status_code for _ in range(30)} == {200}


async def test_a61_a_header_that_names_another_asker_changes_nothing(system: Watching) -> None:
    spoofed = {"authorization": "Bearer key-a", "x-user-id": "b", "x-scope-orgid": "other"}
    found = [
        (
            await system.http.get("/api/v1/policies", headers={**spoofed, "x-forwarded-for": f"203.0.113.{n}"})
        ).status_code
        for n in range(40)
    ]
    assert 429 in found


async def test_without_sign_in_nothing_is_counted() -> None:
    rates = RequestRates(key_per_s=1, user_per_s=1, tenant_per_s=1)
    async with Watching(Settings(store=Store(kind="memory"), rates=rates)) as system:
        found = {(await system.http.get("/api/v1/policies")).status_code for _ in range(60)}
        assert found == {200}


async def test_a_noisy_key_takes_no_sample_from_a_calm_one(system: Watching) -> None:
    """P10: one key at many times its limit; every sample of the other is stored."""
    series = [{"labels": {"__name__": "a"}, "timestamps_ms": [system.clock.now_ms()], "values": [1.0]}]
    noisy, calm = ({"authorization": f"Bearer key-{name}"} for name in ("noisy", "calm"))
    refused, stored = 0, 0
    for _ in range(8):
        for _ in range(10):
            answer = await system.http.post("/api/v1/samples", json={"series": series}, headers=noisy)
            refused += answer.status_code == 429
        system.clock.advance(1000)
        series[0]["timestamps_ms"] = [system.clock.now_ms()]
        answer = await system.http.post("/api/v1/samples", json={"series": series}, headers=calm)
        assert answer.status_code == 200
        stored += answer.json()["accepted"]
    assert refused > 40
    assert stored == 8
