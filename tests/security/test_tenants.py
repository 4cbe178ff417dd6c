"""Several tenants in one process: each sees its own data and nothing that says that there are others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from tests.watching import Watching
from websockets.asyncio.client import connect

from quantum.adapters.http.access import ROLES
from quantum.adapters.sqlite import SqliteStore
from quantum.application.ports import Principal
from quantum.domain.errors import Rejected, Unavailable
from quantum.domain.facts import Heartbeat
from quantum.settings import Settings, Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

TENANTS: Final = ("default", "acme", "beta")


class Members:
    """Identity for these tests: a token `tenant:role` is what it says."""

    banner = ""

    async def identify(self, credential: str) -> Principal:
        if not credential:
            raise Rejected("unauthenticated", "this needs a token or a key")
        tenant, _, role = credential.partition(":")
        if role not in ROLES:
            raise Rejected("invalid_credential", "the token is no good")
        return Principal(f"{role} of {tenant}", frozenset({role}), tenant, means="token")


def of(tenant: str, role: str = "admin") -> dict[str, str]:
    return {"authorization": f"Bearer {tenant}:{role}"}


@pytest.fixture(name="system")
async def system_of_three() -> AsyncIterator[Watching]:
    settings = Settings(store=Store(kind="memory"), tenants=TENANTS)
    async with Watching(settings=settings, identity=Members()) as system:
        yield system


async def taken_in(system: Watching, tenant: str) -> None:
    """Return once the pipeline of a tenant has taken in every fact."""
    system.clock.advance(1000)
    monitor, store = system.workspaces[tenant].monitor(), system.workspaces[tenant].store()
    await monitor.append(Heartbeat())
    await monitor.expect((await store.last())[0])


async def push(system: Watching, tenant: str, name: str, value: float = 1.0, **labels: str) -> None:
    table = {"labels": {"__name__": name, **labels}, "timestamps_ms": [system.clock.now_ms()], "values": [value]}
    await system.json("POST", "/api/v1/samples", json={"series": [table]}, headers=of(tenant))
    await taken_in(system, tenant)


async def names(system: Watching, headers: Mapping[str, str]) -> list[str]:
    found = await system.json("GET", "/api/v1/series", headers=headers)
    return [one["labels"]["__name__"] for one in found["items"]]


async def new_key(system: Watching, tenant: str) -> tuple[str, str]:
    body = {"name": "agent", "scopes": ["ingest", "read"]}
    made = await system.json("POST", "/api/v1/api-keys", 201, json=body, headers=of(tenant))
    return made["item"]["id"], made["key"]


async def test_each_sees_what_it_sent_and_nothing_else(system: Watching) -> None:
    for tenant in TENANTS:
        await push(system, tenant, f"cpu_of_{tenant}")
        await push(system, tenant, "common", value=float(len(tenant)))
    for tenant in TENANTS:
        assert sorted(await names(system, of(tenant))) == ["common", f"cpu_of_{tenant}"]
        asked = {"query": "common", "time": system.clock.now_ms() / 1000}
        answer = await system.json("GET", "/prometheus/api/v1/query", params=asked, headers=of(tenant))
        [found] = answer["data"]["result"]
        assert found["value"][1] == str(len(tenant))
        assert (await system.json("GET", "/api/v1/overview", headers=of(tenant)))["samples_total"] == 2


async def test_a_key_leads_to_the_data_of_its_tenant(system: Watching) -> None:
    keys = {tenant: await new_key(system, tenant) for tenant in TENANTS}
    for tenant, (_, key) in keys.items():
        headers = {"authorization": f"Bearer {key}"}
        sent = await system.http.post("/write", content=f"of_{tenant} v=1".encode(), headers=headers)
        assert sent.status_code == 204
        await taken_in(system, tenant)
        assert await names(system, headers) == [f"of_{tenant}_v"]
        assert (await system.json("GET", "/api/v1/session", headers=headers))["tenant"] == tenant


async def test_a_key_is_found_again_by_the_next_process(tmp_path: Any) -> None:
    settings = Settings(store=Store(kind="sqlite"), data_dir=str(tmp_path), tenants=TENANTS)
    async with Watching(settings=settings, identity=Members()) as system:
        await push(system, "beta", "kept")
        _, key = await new_key(system, "beta")
    assert sorted(path.name for path in (tmp_path / "tenants").glob("*.db")) == ["acme.db", "beta.db"]
    async with Watching(settings=settings, identity=Members()) as system:
        assert await names(system, {"authorization": f"Bearer {key}"}) == ["kept"]


async def test_a_file_of_another_tenant_is_refused_instead_of_looking_empty(tmp_path: Any) -> None:
    path = str(tmp_path / "quantum.db")
    async with SqliteStore(path, "default") as store:
        await store.append(Heartbeat(), 1)
    with pytest.raises(Unavailable, match="data of tenant 'default' and nothing of 'acme'"):
        async with SqliteStore(path, "acme"):
            pytest.fail("it was opened")
    async with SqliteStore(path, "default") as store:
        assert await store.last() == (1, 1)


async def test_what_is_no_key_is_answered_alike_whoever_has_the_id(system: Watching) -> None:
    key_id, key = await new_key(system, "beta")
    own_id, own = await new_key(system, "default")
    wrong = [key[:-1] + "~", own[:-1] + "~", f"qk_{key_id}_{own.rpartition('_')[2]}", "qk_000000000000_0", "qk_"]
    answers = [await system.http.get("/api/v1/series", headers={"authorization": f"Bearer {one}"}) for one in wrong]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.json()["detail"] for answer in answers}) == 1
    for tenant in ("default", "acme"):
        await system.json("DELETE", f"/api/v1/api-keys/{key_id}", 404, headers=of(tenant))
    assert await names(system, {"authorization": f"Bearer {key}"}) == []
    assert (await system.http.delete(f"/api/v1/api-keys/{key_id}", headers=of("beta"))).status_code == 204
    assert (await system.http.get("/api/v1/series", headers={"authorization": f"Bearer {key}"})).status_code == 401
    assert own_id != key_id


async def test_a_member_of_another_tenant_is_refused_and_the_first_tenant_is_told(system: Watching) -> None:
    answer = await system.http.get("/api/v1/series", headers=of("elsewhere"))
    assert (answer.status_code, answer.json()["reason"]) == (403, "tenant_not_served")
    assert answer.headers["content-type"] == "application/problem+json"
    told = await audit(system, "default")
    assert [(one["outcome"], one["action"]) for one in told] == [("denied", "GET /api/v1/series")]
    assert "'elsewhere'" in told[0]["detail"]
    assert await audit(system, "acme") == []


async def test_the_tenant_is_not_taken_from_what_a_request_says(system: Watching) -> None:
    await push(system, "acme", "secret")
    said = {"X-Scope-OrgID": "acme", "X-Tenant": "acme", "THANOS-TENANT": "acme"}
    assert await names(system, of("default") | said) == []
    for path in ("/api/v1/series?tenant=acme", "/acme/api/v1/series", "/api/v1/acme/series"):
        assert "secret" not in (await system.http.get(path, headers=of("default"))).text


async def audit(system: Watching, tenant: str) -> list[Any]:
    await taken_in(system, tenant)
    found: list[Any] = (await system.json("GET", "/api/v1/audit", headers=of(tenant)))["items"]
    return found


async def test_who_is_denied_something_is_in_the_audit_log_of_their_tenant(system: Watching) -> None:
    await system.json("GET", "/api/v1/audit", 403, headers=of("acme", "viewer"))
    assert [(one["actor"], one["outcome"]) for one in await audit(system, "acme")] == [("viewer of acme", "denied")]
    assert await audit(system, "default") == []
    assert await audit(system, "beta") == []


async def test_a_socket_hears_its_own_tenant_only(system: Watching) -> None:
    for tenant in TENANTS:
        await push(system, tenant, "heat", value=1.0)
    [item] = (await system.json("GET", "/api/v1/series", headers=of("acme")))["items"]
    topic = f"series:{item['fingerprint']}"
    async with (
        system.served() as address,
        connect(f"ws://{address}/api/v1/live", additional_headers=of("acme", "viewer"), proxy=None) as socket,
    ):
        await socket.send(msgspec.json.encode({"op": "subscribe", "topic": topic}).decode())
        assert msgspec.json.decode(await socket.recv())["type"] == "subscribed"
        for number, tenant in enumerate(("default", "beta", "acme"), 1):
            await push(system, tenant, "heat", value=float(number))
        heard = msgspec.json.decode(await socket.recv())
        assert (heard["seq"], heard["data"]["value"]) == (1, [3.0])
        counts = {tenant: len(one.sockets().sockets) for tenant, one in system.workspaces.items()}
        assert counts == {"default": 0, "acme": 1, "beta": 0}


async def test_metrics_of_several_tenants_say_whose_they_are(system: Watching) -> None:
    await push(system, "acme", "cpu")
    text = (await system.http.get("/metrics")).text
    assert 'quantum_ingested_samples_total{tenant="acme"} 1.0' in text
    assert 'quantum_ingested_samples_total{tenant="default"} 0.0' in text
    assert 'quantum_limits{reason="series_limit",tenant="beta"}' in text


async def test_metrics_of_a_single_tenant_have_no_such_label() -> None:
    async with Watching() as system:
        text = (await system.http.get("/metrics")).text
    assert "quantum_ingested_samples_total 0.0" in text
    assert "tenant=" not in text


async def test_each_has_its_share_of_the_bytes_at_work(system: Watching) -> None:
    alone = Watching(settings=Settings(store=Store(kind="memory")))
    async with alone:
        whole = alone.container.bounds().max_in_flight_bytes
    shares = {one.bounds().max_in_flight_bytes for one in system.workspaces.values()}
    assert shares == {whole // 3}
