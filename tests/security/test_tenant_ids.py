"""Ids of another tenant (BOLA): each is answered exactly like one that never existed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from tests.contracts.test_model_store import LINEAGE, METRICS
from tests.models import trained
from tests.security.test_tenants import Members, new_key, of, push, taken_in
from tests.watching import HOT, Watching

from quantum.adapters.http.access import ANYBODY, RIGHTS
from quantum.domain.models import ModelKind
from quantum.settings import Settings, Store

if TYPE_CHECKING:
    from collections.abc import Mapping

HOUR: Final = {"start_ms": 0, "end_ms": 3_600_000}
HISTORY: Final = {"version": 1, "start_ms": 1_800_000_000_000, "end_ms": 1_800_000_060_000}
BODIES: Final[dict[str, Any]] = {
    "POST /api/v1/incidents/{incident_id}/verdict": {"verdict": "real"},
    "POST /api/v1/incidents/{incident_id}/note": {"text": "seen"},
    "PUT /api/v1/policies/{key}": HOT,
    "PUT /api/v1/receivers/{name}": {"name": "x", "url": "https://pager.example/"},
    "PUT /api/v1/routes/{name}": {"name": "x"},
    "POST /api/v1/policies/{key}/propose": {},
    "POST /api/v1/policies/{key}/learn": {"setting": "raise_at", "value": 99.0},
    "POST /api/v1/models/{name}/score": {"series": [{"timestamps_ms": [0], "values": [1.0]}]},
    "POST /api/v1/models/{name}/try": HISTORY,
    "POST /api/v1/models/{name}/promote": HISTORY,
}
PARAMETERS: Final[dict[str, Any]] = {
    "GET /api/v1/series/{fingerprint}/window": HOUR,
    "GET /api/v1/series/{fingerprint}/why": {"at_ms": 0},
    "GET /api/v1/series/{fingerprint}/forecast": {"horizon_ms": 3_600_000},
}
NO_IDS: Final = {"GET /prometheus/api/v1/label/{name}/values"}
"""Takes a name that anybody may ask about, and answers with an empty list where there is no such label."""


def routes_with_ids() -> list[str]:
    return [route for route, allowed in RIGHTS.items() if "{" in route and allowed is not ANYBODY]


async def everything_that_has_an_id(system: Watching, tenant: str) -> dict[str, str]:
    """Make one of everything for a tenant; return the ids by the beginnings of their routes."""
    headers = of(tenant)
    policy = await system.json("POST", "/api/v1/policies", 201, json=HOT | {"name": tenant}, headers=headers)
    await push(system, tenant, "heat", 95.0, room=tenant)
    await taken_in(system, tenant)
    receiver = {"name": tenant, "url": "https://pager.example/"}
    await system.json("POST", "/api/v1/receivers", 201, json=receiver, headers=headers)
    await system.json("POST", "/api/v1/routes", 201, json={"name": f"of {tenant}"}, headers=headers)
    model = replace(trained(ModelKind.WINDOWS).model, name=tenant)
    await system.workspaces[tenant].store().add_model(model, LINEAGE, METRICS, system.clock.now_ms())
    order = {"name": "day", "kind": "window-forest", "selector": "heat", "start_ms": 0, "end_ms": 1}
    run = await system.json("POST", "/api/v1/training-runs", 202, json=order, headers=headers)
    key_id, _ = await new_key(system, tenant)
    hour_ms = system.clock.now_ms() + 3_600_000
    quiet = {"matchers": [{"label": "room", "op": "=", "value": "attic"}], "ends_at_ms": hour_ms}
    silence = await system.json("POST", "/api/v1/silences", 201, json=quiet, headers=headers)
    [series] = (await system.json("GET", "/api/v1/series", headers=headers))["items"]
    [alert] = (await system.json("GET", "/api/v1/alerts", headers=headers))["items"]
    [incident] = (await system.json("GET", "/api/v1/incidents", headers=headers))["items"]
    return {
        "/api/v1/series/": series["fingerprint"],
        "/api/v1/alerts/": alert["id"],
        "/api/v1/incidents/": incident["id"],
        "/api/v1/policies/": policy["id"],
        "/api/v1/silences/": silence["id"],
        "/api/v1/receivers/": tenant,
        "/api/v1/routes/": f"of {tenant}",
        "/api/v1/models/": tenant,
        "/api/v1/training-runs/": run["id"],
        "/api/v1/api-keys/": key_id,
    }


async def ask(system: Watching, route: str, id_: str, headers: Mapping[str, str]) -> tuple[int, str, str]:
    """Return status, body and type of an answer; the id, if it is in it, and the id of the request are left out."""
    method, template = route.split(" ")
    path = template[: template.index("{")] + id_ + template[template.index("}") + 1 :]
    body = {"json": BODIES[route]} if route in BODIES else {}
    answer = await system.http.request(method, path, params=PARAMETERS.get(route), headers=headers, **body)
    text = answer.text.replace(id_, "THE ID").replace(answer.headers["x-request-id"], "")
    return answer.status_code, text, answer.headers["content-type"]


async def test_an_id_of_another_tenant_is_answered_like_one_that_never_existed() -> None:
    settings = Settings(store=Store(kind="memory"), tenants=("default", "acme"))
    async with Watching(settings=settings, identity=Members()) as system:
        for owner, stranger in (("default", "acme"), ("acme", "default")):
            ids = await everything_that_has_an_id(system, owner)
            for route in routes_with_ids():
                if route in NO_IDS:
                    continue
                id_ = ids[route.partition(" ")[2].partition("{")[0]]
                never = "".join("0" if char == "1" else "1" for char in id_)
                found = await ask(system, route, id_, of(stranger))
                assert found == await ask(system, route, never, of(stranger)), route
                assert found[0] == 404, (route, found)
            for start, id_ in ids.items():
                assert (await system.http.get(start + id_, headers=of(owner))).status_code == 200, start


async def test_a_label_of_another_tenant_is_answered_like_one_that_never_existed() -> None:
    settings = Settings(store=Store(kind="memory"), tenants=("default", "acme"))
    async with Watching(settings=settings, identity=Members()) as system:
        await push(system, "acme", "heat", room="kitchen")
        for headers, values in ((of("acme"), ["kitchen"]), (of("default"), [])):
            answer = await system.json("GET", "/prometheus/api/v1/label/room/values", headers=headers)
            assert answer["data"] == values
        known, never = [
            (await system.http.get(f"/prometheus/api/v1/label/{name}/values", headers=of("default"))).content
            for name in ("room", "moor")
        ]
        assert known == never
