"""Silences over HTTP: tried out, made, listed, ended; what they keep quiet is told when they are over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.watching import HOT, START_MS, Watching

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KITCHEN = [{"label": "room", "op": "=", "value": "kitchen"}]
OPS = {"name": "ops", "url": "https://pager.example/"}
HOUR_MS = 3_600_000


@pytest.fixture(name="system")
async def running_system() -> AsyncIterator[Watching]:
    async with Watching() as system:
        await system.json("POST", "/api/v1/receivers", 201, json=OPS)
        await system.json("POST", "/api/v1/policies", 201, json=HOT | {"receivers": ["ops"]})
        yield system


def asked(**more: Any) -> dict[str, Any]:
    return {"matchers": KITCHEN, "ends_at_ms": START_MS + HOUR_MS, "comment": "new stove"} | more


def patterns(value: str) -> list[dict[str, str]]:
    return [{"label": "room", "op": "=~", "value": value}]


async def told(system: Watching) -> list[str]:
    [alert] = (await system.get("/api/v1/alerts"))["items"]
    return [one["alert_state"] for one in (await system.get(f"/api/v1/alerts/{alert['id']}"))["deliveries"]]


async def test_a_silence_is_tried_out_made_seen_at_its_alert_and_ended(system: Watching) -> None:
    await system.push("heat", [95.0], room="kitchen")
    await system.pass_time(1000)
    looked = await system.json("POST", "/api/v1/silences/preview", json={"matchers": KITCHEN})
    assert (looked["firing"], looked["fired"]) == (1, 1)
    assert [one["group"] for one in looked["examples"]] == [{"room": "kitchen"}]
    await system.push("heat", [20.0], room="kitchen")
    await system.pass_time(1000)

    made = await system.json("POST", "/api/v1/silences", 201, json=asked())
    assert (made["state"], made["comment"], made["matchers"]) == ("active", "new stove", KITCHEN)
    await system.push("heat", [95.0], room="kitchen")
    await system.pass_time(1000)
    alert = (await system.get("/api/v1/alerts"))["items"][0]
    assert alert["silenced_by"] == made["id"]
    assert (await system.get(f"/api/v1/alerts/{alert['id']}"))["deliveries"] == []
    assert (await system.get(f"/api/v1/silences/{made['id']}")) == made
    assert (await system.get("/api/v1/silences", state="active"))["items"] == [made]

    assert (await system.http.delete(f"/api/v1/silences/{made['id']}")).status_code == 204
    await system.pass_time(1000)
    alert = (await system.get("/api/v1/alerts"))["items"][0]
    deliveries = (await system.get(f"/api/v1/alerts/{alert['id']}"))["deliveries"]
    assert (alert["silenced_by"], [one["alert_state"] for one in deliveries]) == (None, ["firing"])
    [over] = (await system.get("/api/v1/silences", state="over"))["items"]
    assert (over["state"], over["ended_by"]) == ("over", "local-admin")
    assert (await system.http.delete(f"/api/v1/silences/{made['id']}")).status_code == 409


async def test_a_silence_that_starts_later_keeps_nothing_quiet_before(system: Watching) -> None:
    made = await system.json("POST", "/api/v1/silences", 201, json=asked(starts_at_ms=START_MS + HOUR_MS // 2))
    assert made["state"] == "pending"
    await system.push("heat", [95.0], room="kitchen")
    await system.pass_time(1000)
    assert await told(system) == ["firing"]


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (asked(matchers=[]), 400, "malformed_body"),
        pytest.param(asked(matchers=patterns(".*")), 400, "silence_matchers", id="P35 everything"),
        pytest.param(asked(ends_at_ms=START_MS), 400, "silence_time", id="P35 over before it begins"),
        pytest.param(asked(ends_at_ms=START_MS - HOUR_MS), 400, "silence_time", id="P35 in the past"),
        pytest.param(asked(ends_at_ms=START_MS + 400 * 24 * HOUR_MS), 400, "silence_time", id="P35 for years"),
        pytest.param(asked(matchers=patterns("(")), 400, "regex", id="P36 no pattern"),
        pytest.param(asked(matchers=patterns(r"(a)\1")), 400, "regex", id="P36 what refers back"),
        pytest.param(asked(matchers=patterns("a" * 1001)), 400, "regex", id="P36 a long pattern"),
        pytest.param(asked(matchers=patterns("((((a{1,999}){1,999}){1,999}){1,999})")), 400, "regex", id="P36 a bomb"),
        (asked(comment="a\x00b"), 400, "silence_text"),
        (asked(comment="x" * 1001), 400, "malformed_body"),
        (asked(author="somebody else"), 400, "malformed_body"),
        ({"matchers": KITCHEN}, 400, "malformed_body"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_name(
    system: Watching, body: dict[str, Any], status: int, reason: str
) -> None:
    answer = await system.http.post("/api/v1/silences", json=body)
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (status, reason)
    assert (await system.get("/api/v1/silences"))["items"] == []


async def test_p36_a_pattern_that_would_look_for_ever_elsewhere_takes_linear_time_here(system: Watching) -> None:
    await system.push("heat", [95.0], room="a" * 2000)
    await system.pass_time(1000)
    matchers = patterns("(a+)+b")
    looked = await system.json("POST", "/api/v1/silences/preview", json={"matchers": matchers})
    assert (looked["firing"], looked["fired"]) == (0, 0)
    assert (await system.http.post("/api/v1/silences", json=asked(matchers=matchers))).status_code == 201


async def test_what_is_not_there_is_not_found(system: Watching) -> None:
    assert (await system.http.get("/api/v1/silences/nothing")).status_code == 404
    assert (await system.http.delete("/api/v1/silences/nothing")).status_code == 404
