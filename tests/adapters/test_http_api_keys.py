"""API keys: made once, shown once, good for what they are for, on every way in, as unmodified clients send them."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.watching import START_MS, Watching
from tests.writes import series, snappy

from quantum.application.api_keys import PREFIX
from quantum.settings import Settings, Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HOUR_MS: Final = 3_600_000
LINE: Final = b"cpu,host=a v=1"
POLICY: Final = {"name": "p", "matchers": [], "condition": {"kind": "anomaly_score", "raise_at": 0.9, "clear_at": 0.8}}


@pytest.fixture(name="system")
async def running_system() -> AsyncIterator[Watching]:
    async with Watching() as system:
        yield system


async def make(system: Watching, name: str, *scopes: str, expires_at_ms: int | None = None) -> tuple[str, str]:
    """Return id and key of a new key."""
    body = {"name": name, "scopes": list(scopes), "expires_at_ms": expires_at_ms}
    answer = await system.json("POST", "/api/v1/api-keys", 201, json=body)
    return answer["item"]["id"], answer["key"]


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def basic(key: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"agent:{key}".encode()).decode()}


async def test_a_key_is_shown_once_and_no_list_log_or_state_has_it(system: Watching) -> None:
    key_id, key = await make(system, "telegraf", "ingest")
    assert key.startswith(PREFIX)
    assert len(key) > 64
    listed = await system.get("/api/v1/api-keys")
    one = await system.get(f"/api/v1/api-keys/{key_id}")
    assert listed["items"] == [one]
    assert (one["name"], one["scopes"], one["created_by"]) == ("telegraf", ["ingest"], "local-admin")
    secret = key.rpartition("_")[2]
    facts = await system.container.store().read(0, 1000)
    assert secret not in json.dumps(listed) + repr(facts) + repr(system.monitor.pipeline.dump().memory)


async def test_a_key_may_do_what_its_scopes_say_and_nothing_else(system: Watching) -> None:
    """A63: a key for sending cannot read, one for reading cannot send, neither can act."""
    _, sending = await make(system, "sends", "ingest")
    _, reading = await make(system, "reads", "read")
    _, both = await make(system, "both", "ingest", "read")
    expected = {sending: (204, 403, 403, 403), reading: (403, 200, 403, 403), both: (204, 200, 403, 403)}
    for key, statuses in expected.items():
        answers = [
            await system.http.post("/write", content=LINE, headers=bearer(key)),
            await system.http.get("/api/v1/overview", headers=bearer(key)),
            await system.http.post("/api/v1/policies", json=POLICY, headers=bearer(key)),
            await system.http.post("/api/v1/api-keys", json={"name": "x", "scopes": ["read"]}, headers=bearer(key)),
        ]
        assert tuple(answer.status_code for answer in answers) == statuses


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/write", {"authorization": "Token {}"}),
        ("/api/v2/write?org=o&bucket=b", {"authorization": "Token {}"}),
        ("/influx/api/v2/write", {"authorization": "Bearer {}"}),
        ("/write?u=agent&p={}&db=telegraf", {}),
        ("/influx/write?db=telegraf&u=agent&p={}", {}),
        ("/write?db=telegraf", {"authorization": "Basic {}"}),
        ("/prometheus/api/v1/write", {"authorization": "Basic {}"}),
        ("/prometheus/api/v1/write", {"authorization": "Bearer {}"}),
        ("/otlp/v1/metrics", {"authorization": "Basic {}"}),
        ("/v1/metrics", {"authorization": "Bearer {}"}),
        ("/api/v1/samples", {"authorization": "Bearer {}"}),
    ],
)
async def test_every_way_in_takes_a_key_as_its_clients_send_it(
    system: Watching, path: str, headers: dict[str, str]
) -> None:
    _, key = await make(system, "agent", "ingest")
    bodies: dict[str, tuple[bytes, dict[str, str]]] = {
        "prometheus": (
            snappy(series({"__name__": "cpu"}, [(system.clock.now_ms(), 1.0)])),
            {"content-type": "application/x-protobuf", "content-encoding": "snappy"},
        ),
        "metrics": (b'{"resourceMetrics": []}', {"content-type": "application/json"}),
        "samples": (b'{"series": []}', {"content-type": "application/json"}),
    }
    body, types = next((found for name, found in bodies.items() if name in path), (LINE, {}))

    async def send(shown: str) -> int:
        encoded = basic(shown)["authorization"].removeprefix("Basic ")
        credentials = {
            name: value.format(encoded if value.startswith("Basic") else shown) for name, value in headers.items()
        }
        answer = await system.http.post(path.format(shown), content=body, headers=types | credentials)
        return answer.status_code

    assert await send(key) in (200, 204)
    assert await send(key[:-1] + ("0" if key[-1] != "0" else "1")) == 401


async def test_grafana_reads_with_a_key_as_password(system: Watching) -> None:
    _, key = await make(system, "grafana", "read")
    answer = await system.http.get("/prometheus/api/v1/query?query=up", headers=basic(key))
    assert answer.status_code == 200


async def test_a_key_is_refused_from_its_expiry_on(system: Watching) -> None:
    """A63: expired."""
    _, key = await make(system, "short", "read", expires_at_ms=START_MS + HOUR_MS)
    system.clock.advance(HOUR_MS - 1)
    assert (await system.http.get("/api/v1/overview", headers=bearer(key))).status_code == 200
    system.clock.advance(1)
    answer = await system.http.get("/api/v1/overview", headers=bearer(key))
    assert (answer.status_code, answer.json()["reason"]) == (401, "invalid_credential")
    assert key not in answer.text


async def test_a_revoked_key_is_refused_at_once(system: Watching) -> None:
    """A63: revoked."""
    key_id, key = await make(system, "leaked", "read")
    assert (await system.http.get("/api/v1/overview", headers=bearer(key))).status_code == 200
    used = (await system.get(f"/api/v1/api-keys/{key_id}"))["last_used_at_ms"]
    assert used == system.clock.now_ms()
    assert (await system.http.delete(f"/api/v1/api-keys/{key_id}")).status_code == 204
    assert (await system.http.get("/api/v1/overview", headers=bearer(key))).status_code == 401
    assert await system.get("/api/v1/api-keys") == {"items": []}
    for method in ("GET", "DELETE"):
        await system.json(method, f"/api/v1/api-keys/{key_id}", 404)


async def test_nothing_but_the_whole_key_is_a_key(system: Watching) -> None:
    """A63: keys cut short, lengthened, with the id of another, or guessed."""
    id_1, key_1 = await make(system, "one", "read")
    id_2, _ = await make(system, "two", "read")
    secret = key_1.rpartition("_")[2]
    wrong = [
        PREFIX,
        f"{PREFIX}{id_1}",
        f"{PREFIX}{id_1}_",
        key_1[:-1],
        key_1 + "0",
        f"{PREFIX}{id_2}_{secret}",
        f"{PREFIX}_{secret}",
        key_1.upper().replace("QK_", "qk_"),
        *(f"{PREFIX}{id_1}_{number:064x}" for number in range(200)),
    ]
    for key in wrong:
        answer = await system.http.get("/api/v1/overview", headers=bearer(key))
        assert answer.status_code == 401, key
        assert answer.json()["detail"] == "the key is unknown, expired or revoked"


async def test_a_key_of_one_tenant_is_nothing_to_another(system: Watching) -> None:
    """A63: key of tenant A on tenant B."""
    _, key = await make(system, "agent", "read")
    async with Watching(settings=Settings(store=Store(kind="memory", tenant="other"))) as other:
        assert (await other.http.get("/api/v1/overview", headers=bearer(key))).status_code == 401


async def test_keys_outlive_the_process(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path), store=Store(kind="sqlite"))
    async with Watching(settings=settings) as system:
        _, kept = await make(system, "kept", "read")
        gone_id, gone = await make(system, "gone", "read")
        assert (await system.http.delete(f"/api/v1/api-keys/{gone_id}")).status_code == 204
    async with Watching(settings=settings) as system:
        assert (await system.http.get("/api/v1/overview", headers=bearer(kept))).status_code == 200
        assert (await system.http.get("/api/v1/overview", headers=bearer(gone))).status_code == 401


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"name": "", "scopes": ["read"]}, 400),
        ({"name": "a\u0000b", "scopes": ["read"]}, 400),
        ({"name": "x", "scopes": []}, 400),
        ({"name": "x", "scopes": ["admin"]}, 400),
        ({"name": "x", "scopes": "read"}, 400),
        ({"name": "x", "scopes": ["read", "read"]}, 400),
        ({"name": "x", "scopes": ["read"], "expires_at_ms": 1}, 400),
        ({"name": "x", "scopes": ["read"], "tenant": "other"}, 400),
        ({"name": "taken", "scopes": ["read"]}, 409),
    ],
)
async def test_a_key_that_makes_no_sense_is_refused(system: Watching, wrong: dict[str, Any], status: int) -> None:
    await make(system, "taken", "read")
    answer = await system.http.post("/api/v1/api-keys", json=wrong)
    assert answer.status_code == status, answer.text
    assert len((await system.get("/api/v1/api-keys"))["items"]) == 1
