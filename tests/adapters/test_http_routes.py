"""Routes over HTTP: made, tried out, followed by alerts, tried on the past, and refused where they make no sense."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.watching import HOT, START_MS, Watching

from quantum.application.routing import GAP
from quantum.domain.routing import MAX_DEPTH, MAX_ORDER, MAX_ROUTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KITCHEN = [{"label": "room", "op": "=", "value": "kitchen"}]
COOKS = {"name": "cooks", "matchers": KITCHEN, "receivers": ["cook"]}
EVERYBODY = {"name": "default", "receivers": ["ops"]}
HOUR_MS = 3_600_000


@pytest.fixture(name="system")
async def running_system() -> AsyncIterator[Watching]:
    async with Watching() as system:
        for name in ("ops", "cook"):
            await system.json("POST", "/api/v1/receivers", 201, json={"name": name, "url": "https://pager.example/"})
        await system.json("POST", "/api/v1/policies", 201, json=HOT)
        yield system


async def burn(system: Watching, room: str) -> dict[str, Any]:
    """Let a room be hot; return the alert with its deliveries."""
    await system.push("heat", [95.0], room=room)
    await system.pass_time(1000)
    items = (await system.get("/api/v1/alerts"))["items"]
    alert = next(one for one in items if one["group"] == {"room": room})
    found: dict[str, Any] = await system.get(f"/api/v1/alerts/{alert['id']}")
    return found


def receivers(detail: dict[str, Any]) -> list[str]:
    return [one["receiver"] for one in detail["deliveries"]]


async def test_a_route_is_made_followed_edited_and_deleted(system: Watching) -> None:
    [default] = (await system.get("/api/v1/routes"))["items"]
    assert default == {
        "name": "default",
        "version": 1,
        "parent": "",
        "order": 0,
        "matchers": [],
        "receivers": [],
        "continue": False,
    }
    made = await system.http.post("/api/v1/routes", json=COOKS)
    assert (made.status_code, made.headers["location"], made.headers["etag"]) == (201, "/api/v1/routes/cooks", '"1"')
    assert made.json() == COOKS | {"version": 1, "parent": "default", "order": GAP, "continue": False}
    assert await system.get("/api/v1/routes/cooks") == made.json()

    kitchen, attic = await burn(system, "kitchen"), await burn(system, "attic")
    assert (receivers(kitchen), receivers(attic)) == (["cook"], [])
    assert (kitchen["routed"]["receivers"], kitchen["routed"]["routes"]) == (["cook"], ["cooks"])
    assert attic["routed"] == {
        "receivers": [],
        "routes": ["default"],
        "steps": [
            {"route": "default", "outcome": "told", "why": "it tells nobody"},
            {
                "route": "cooks",
                "outcome": "no_match",
                "why": "it asks for room=\"kitchen\", and room is 'attic'",
            },
        ],
        "left_out": 0,
    }

    default_now = await system.json("PUT", "/api/v1/routes/default", json=EVERYBODY)
    assert (default_now["version"], default_now["receivers"]) == (2, ["ops"])
    assert receivers(await burn(system, "cellar")) == ["ops"]
    stale = await system.http.put("/api/v1/routes/default", json=EVERYBODY, headers={"if-match": '"1"'})
    assert (stale.status_code, stale.json()["reason"]) == (412, "precondition_failed")
    assert (await system.http.delete("/api/v1/routes/cooks", headers={"if-match": '"9"'})).status_code == 412
    assert (await system.http.delete("/api/v1/routes/cooks", headers={"if-match": '"1"'})).status_code == 204
    assert (await system.http.get("/api/v1/routes/cooks")).status_code == 404
    assert (await system.http.delete("/api/v1/routes/default")).status_code == 409


async def test_a_policy_that_names_its_receivers_is_not_routed(system: Watching) -> None:
    await system.json("PUT", "/api/v1/routes/default", json=EVERYBODY)
    await system.json("POST", "/api/v1/policies", 201, json=HOT | {"name": "own", "receivers": ["cook"]})
    await system.push("heat", [95.0], room="attic")
    await system.pass_time(1000)
    told = {}
    for alert in (await system.get("/api/v1/alerts"))["items"]:
        detail = await system.get(f"/api/v1/alerts/{alert['id']}")
        told[alert["policy_name"]] = (receivers(detail), detail["routed"] and detail["routed"]["routes"])
    assert told == {"too hot": (["ops"], ["default"]), "own": (["cook"], None)}


async def test_a_new_route_comes_after_its_siblings_and_an_edited_one_stays(system: Watching) -> None:
    for name in ("b", "a"):
        await system.json("POST", "/api/v1/routes", 201, json={"name": name, "continue": True})
    await system.json("POST", "/api/v1/routes", 201, json={"name": "c", "order": MAX_ORDER})
    await system.json("POST", "/api/v1/routes", 201, json={"name": "d"})
    await system.json("PUT", "/api/v1/routes/b", json={"name": "b", "receivers": ["ops"]})
    listed = (await system.get("/api/v1/routes"))["items"]
    assert [(one["name"], one["order"]) for one in listed] == [
        ("default", 0),
        ("b", GAP),
        ("a", 2 * GAP),
        ("c", MAX_ORDER),
        ("d", MAX_ORDER),
    ]


async def test_routes_in_force_and_drafts_are_asked_whom_they_would_tell(system: Watching) -> None:
    await system.json("POST", "/api/v1/routes", 201, json=COOKS)
    labels = {"room": "kitchen", "alertname": "too hot", "severity": "warning"}
    asked = await system.json("POST", "/api/v1/routes/test", json={"labels": labels})
    assert (asked["receivers"], asked["routes"]) == (["cook"], ["cooks"])
    hot = {"name": "hot", "matchers": [{"label": "alertname", "op": "=~", "value": "too.*"}], "receivers": ["ops"]}
    loud = {"name": "cooks", "parent": "hot", "matchers": KITCHEN}
    draft = {"labels": labels, "routes": [EVERYBODY, loud, hot]}
    asked = await system.json("POST", "/api/v1/routes/test", json=draft)
    assert (asked["receivers"], asked["routes"]) == (["ops"], ["cooks"])
    assert [(one["route"], one["outcome"]) for one in asked["steps"]] == [
        ("default", "led_on"),
        ("hot", "led_on"),
        ("cooks", "told"),
    ]
    assert [one["name"] for one in (await system.get("/api/v1/routes"))["items"]] == ["default", "cooks"]
    for odd, reason in (
        ({"labels": {"": "x"}}, "label_name"),
        ({"labels": labels, "routes": [COOKS | {"receivers": ["nobody"]}]}, "route_receiver"),
    ):
        answer = await system.http.post("/api/v1/routes/test", json=odd)
        assert (answer.status_code, answer.json()["reason"]) == (400, reason)


async def test_other_routes_are_tried_on_the_past(system: Watching) -> None:
    await system.json("POST", "/api/v1/routes", 201, json=COOKS)
    assert receivers(await burn(system, "kitchen")) == ["cook"]
    past = {"start_ms": START_MS - HOUR_MS, "end_ms": START_MS + HOUR_MS}

    async def woken(path: str = "/api/v1/replay", **body: Any) -> list[str]:
        report = await system.json("POST", path, json=past | body)
        return [one["receiver"] for one in report["pages"]]

    assert await woken() == ["cook"]
    assert await woken(routes=[EVERYBODY]) == ["ops"]
    assert await woken(routes=[]) == []
    assert await woken(routes=[EVERYBODY, COOKS | {"receivers": ["ops", "cook"]}]) == ["ops", "cook"]
    assert await woken(policies=[HOT]) == ["cook"]
    assert await woken(policies=[HOT], routes=[EVERYBODY]) == ["ops"]
    assert await woken("/api/v1/policies/preview", policy=HOT) == ["cook"]
    assert await woken("/api/v1/policies/preview", policy=HOT, routes=[EVERYBODY]) == ["ops"]
    odd = past | {"routes": [COOKS | {"parent": "nothing"}]}
    answer = await system.http.post("/api/v1/replay", json=odd)
    assert (answer.status_code, answer.json()["reason"]) == (400, "route_parent")


def chain(length: int) -> list[dict[str, Any]]:
    return [{"name": f"r{n}", "parent": f"r{n - 1}" if n else "default"} for n in range(length)]


def pattern(value: str) -> list[dict[str, str]]:
    return [{"label": "room", "op": "=~", "value": value}]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (COOKS | {"name": "a/b"}, "route_name"),
        (COOKS | {"name": "test"}, "route_name"),
        (COOKS | {"name": ""}, "malformed_body"),
        (COOKS | {"parent": "nothing"}, "route_parent"),
        (COOKS | {"parent": "cooks"}, "route_parent"),
        (COOKS | {"receivers": ["nobody"]}, "route_receiver"),
        (COOKS | {"receivers": ["ops"] * 21}, "malformed_body"),
        (COOKS | {"matchers": KITCHEN * 21}, "malformed_body"),
        (COOKS | {"matchers": [{"label": "", "op": "=", "value": "x"}]}, "route_matchers"),
        (COOKS | {"matchers": pattern("(")}, "regex"),
        (COOKS | {"matchers": pattern(r"(a)\1")}, "regex"),
        (COOKS | {"matchers": pattern("a" * 1001)}, "regex"),
        (COOKS | {"matchers": pattern("((((a{1,999}){1,999}){1,999}){1,999})")}, "regex"),
        (COOKS | {"order": -1}, "malformed_body"),
        (COOKS | {"group_by": ["room"]}, "malformed_body"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_name(system: Watching, body: dict[str, Any], reason: str) -> None:
    answer = await system.http.post("/api/v1/routes", json=body)
    assert (answer.status_code, answer.json()["reason"]) == (400, reason)
    assert len((await system.get("/api/v1/routes"))["items"]) == 1


async def test_what_is_in_the_way_of_an_edit_is_named(system: Watching) -> None:
    for one in chain(MAX_DEPTH):
        await system.json("POST", "/api/v1/routes", 201, json=one)
    deep = await system.http.post("/api/v1/routes", json={"name": "deep", "parent": f"r{MAX_DEPTH - 1}"})
    assert (deep.status_code, deep.json()["reason"]) == (400, "route_parent")
    ring = await system.http.put("/api/v1/routes/r0", json={"name": "r0", "parent": "r3"})
    assert (ring.status_code, ring.json()["detail"]) == (400, "route 'r0' would be below itself")
    assert (await system.http.delete("/api/v1/routes/r0")).status_code == 409
    renamed = await system.http.put("/api/v1/routes/r1", json={"name": "other"})
    assert (renamed.status_code, renamed.json()["reason"]) == (400, "route_name")
    assert (await system.http.post("/api/v1/routes", json={"name": "r1"})).status_code == 409
    told = await system.http.put("/api/v1/routes/r2", json={"name": "r2", "parent": "r1", "receivers": ["cook"]})
    assert told.status_code == 200
    gone = await system.http.delete("/api/v1/receivers/cook")
    assert (gone.status_code, gone.json()["detail"]) == (409, "route 'r2' still tells receiver 'cook'")
    odd = await system.http.put("/api/v1/routes/default", json=EVERYBODY | {"matchers": KITCHEN})
    assert (odd.status_code, odd.json()["reason"]) == (400, "route_default")


async def test_what_is_not_there_is_not_found(system: Watching) -> None:
    assert (await system.http.get("/api/v1/routes/nothing")).status_code == 404
    assert (await system.http.put("/api/v1/routes/nothing", json={"name": "nothing"})).status_code == 404
    assert (await system.http.delete("/api/v1/routes/nothing")).status_code == 404


async def test_a_draft_has_as_many_routes_as_there_may_be(system: Watching) -> None:
    many = [{"name": f"r{number}"} for number in range(MAX_ROUTES)]
    asked = await system.json("POST", "/api/v1/routes/test", json={"labels": {}, "routes": [EVERYBODY, *many]})
    assert asked["routes"] == ["r0"]
    answer = await system.http.post("/api/v1/routes/test", json={"labels": {}, "routes": [*many, {"name": "more"}]})
    assert (answer.status_code, answer.json()["reason"]) == (400, "route_limit")
