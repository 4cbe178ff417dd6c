"""Silences over HTTP: tried out, made, listed, ended; what they keep quiet is told when they are over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.watching import HOT, START_MS, Watching

from quantum.domain.facts import PutSilence
from quantum.domain.labels import Matcher, MatchOp
from quantum.domain.schedules import WEEKDAYS, Schedule
from quantum.domain.silences import Silence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KITCHEN = [{"label": "room", "op": "=", "value": "kitchen"}]
OPS = {"name": "ops", "url": "https://pager.example/"}
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MORNINGS = {
    "time_zone": "Europe/Berlin",
    "start_time": "09:00",
    "end_time": "09:30",
    "by_day": ["MO", "TU", "WE", "TH", "FR"],
}
"""Time begins on Friday, 15 January 2027, at nine in Berlin."""


@pytest.fixture(name="system")
async def running_system() -> AsyncIterator[Watching]:
    async with Watching() as system:
        await system.json("POST", "/api/v1/receivers", 201, json=OPS)
        await system.json("POST", "/api/v1/policies", 201, json=HOT | {"receivers": ["ops"]})
        yield system


def asked(**more: Any) -> dict[str, Any]:
    return {"matchers": KITCHEN, "ends_at_ms": START_MS + HOUR_MS, "comment": "new stove"} | more


def comes_again(**more: Any) -> dict[str, Any]:
    return {"matchers": KITCHEN, "comment": "cleaning", "schedule": MORNINGS | more}


def times(found: list[dict[str, Any]]) -> list[tuple[float, float]]:
    """Return occurrences as hours since the beginning."""
    return [((one["starts_at_ms"] - START_MS) / HOUR_MS, (one["ends_at_ms"] - START_MS) / HOUR_MS) for one in found]


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
        pytest.param({"matchers": KITCHEN}, 400, "silence_time", id="P35 neither an end nor a schedule"),
        (comes_again() | {"ends_at_ms": START_MS + HOUR_MS}, 400, "silence_time"),
        (comes_again() | {"starts_at_ms": START_MS}, 400, "silence_time"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_name(
    system: Watching, body: dict[str, Any], status: int, reason: str
) -> None:
    answer = await system.http.post("/api/v1/silences", json=body)
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (status, reason)
    assert (await system.get("/api/v1/silences"))["items"] == []


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"start_time": "24:00"}, "malformed_body"),
        ({"end_time": "9:30"}, "malformed_body"),
        ({"by_day": []}, "malformed_body"),
        ({"by_day": ["5MO"]}, "malformed_body"),
        ({"by_day": ["MO"] * 43}, "malformed_body"),
        ({"last_day": "soon"}, "malformed_body"),
        ({"end_time": "09:00"}, "silence_schedule"),
        ({"first_day": "2027-02-30"}, "silence_schedule"),
        ({"first_day": "2027-02-02", "last_day": "2027-02-01"}, "silence_schedule"),
        ({"first_day": "2027-01-14", "last_day": "2027-01-14"}, "silence_time"),
        pytest.param({"first_day": "0001-01-01"}, "silence_schedule", id="P35 over for ages"),
        pytest.param({"first_day": "9999-12-31"}, "silence_schedule", id="P35 in ages"),
        pytest.param({"last_day": "2038-01-01"}, "silence_schedule", id="P35 for more than ten years"),
        pytest.param({"last_day": "2027-01-15", "by_day": ["MO"]}, "silence_schedule", id="P35 never"),
        pytest.param({"time_zone": ""}, "malformed_body", id="P37 none"),
        pytest.param({"time_zone": "x" * 65}, "malformed_body", id="P37 endless"),
        pytest.param({"time_zone": "Mars/Olympus"}, "time_zone", id="P37 elsewhere"),
        pytest.param({"time_zone": "../../etc/passwd"}, "time_zone", id="P37 path"),
        pytest.param({"time_zone": "/etc/localtime"}, "time_zone", id="P37 file"),
        pytest.param({"time_zone": "Europe"}, "time_zone", id="P37 folder"),
        pytest.param({"time_zone": "a\0b"}, "time_zone", id="P37 NUL"),
        pytest.param({"time_zone": "GMT+99"}, "time_zone", id="P37 offset"),
    ],
)
async def test_a_schedule_that_makes_no_sense_is_refused_by_name_when_made_and_when_tried_out(
    system: Watching, changed: dict[str, Any], reason: str
) -> None:
    body = comes_again(**changed)
    made = await system.json("POST", "/api/v1/silences", 400, json=body)
    del body["comment"]
    tried = await system.json("POST", "/api/v1/silences/preview", 400, json=body)
    assert (made["reason"], tried["reason"]) == (reason, reason)
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


async def test_a_silence_comes_again_by_the_clocks_of_its_zone_and_its_alerts_name_the_occurrence(
    system: Watching,
) -> None:
    made = await system.json("POST", "/api/v1/silences", 201, json=comes_again())
    assert made["state"] == "active"
    assert made["schedule"] == MORNINGS | {
        "first_day": "2027-01-15",
        "last_day": "2037-01-22",
        "clocks_differ": False,
    }
    assert times(made["to_come"]) == [(0, 0.5), (72, 72.5), (96, 96.5)]
    assert made["starts_at_ms"] == START_MS

    await system.push("heat", [95.0], room="kitchen")
    await system.pass_time(1000)
    [alert] = (await system.get("/api/v1/alerts"))["items"]
    quiet = await system.get(f"/api/v1/alerts/{alert['id']}")
    assert quiet["deliveries"] == []
    assert quiet["silence"] == {
        "id": made["id"],
        "author": "local-admin",
        "comment": "cleaning",
        "starts_at_ms": START_MS,
        "ends_at_ms": START_MS + HOUR_MS // 2,
    }
    await system.push("heat", [20.0], room="kitchen")
    await system.pass_time(1000)
    system.clock.advance(72 * HOUR_MS)
    assert (await system.get(f"/api/v1/alerts/{alert['id']}"))["silence"] == quiet["silence"]
    [waiting] = (await system.get("/api/v1/silences", state="active"))["items"]
    assert times(waiting["to_come"])[0] == (72, 72.5)

    assert (await system.http.delete(f"/api/v1/silences/{made['id']}")).status_code == 204
    assert (await system.get(f"/api/v1/silences/{made['id']}"))["to_come"] == []
    [entry, *_] = (await system.get("/api/v1/audit"))["items"]
    assert (entry["action"], entry["outcome"]) == ("end_silence", "done")


async def test_a_preview_tells_what_the_last_occurrences_would_have_withheld(system: Watching) -> None:
    await system.push("heat", [95.0], room="kitchen")
    await system.pass_time(2000)
    await system.push("heat", [20.0], room="kitchen")
    await system.pass_time(2000)
    system.clock.advance(3 * DAY_MS)
    await system.push("heat", [95.0], room="kitchen")
    await system.pass_time(1000)
    asked = {"matchers": KITCHEN, "schedule": MORNINGS}
    looked = await system.json("POST", "/api/v1/silences/preview", json=asked)
    assert times(looked["past"]) == [(72, 72.5), (0, 0.5), (-24, -23.5)]
    assert [one["withheld"] for one in looked["past"]] == [1, 1, 0]
    assert (looked["firing"], looked["fired"], len(looked["examples"])) == (1, 2, 2)
    assert times(looked["to_come"]) == [(72, 72.5), (96, 96.5), (120, 120.5)]

    system.clock.advance(HOUR_MS)
    looked = await system.json("POST", "/api/v1/silences/preview", json=asked)
    assert (looked["firing"], looked["fired"]) == (0, 2)
    asked["schedule"] = MORNINGS | {"start_time": "12:00", "end_time": "13:00", "by_day": ["-1SU"]}
    looked = await system.json("POST", "/api/v1/silences/preview", json=asked)
    assert [one["withheld"] for one in looked["past"]] == [0, 0, 0]
    assert (looked["firing"], looked["fired"], looked["examples"]) == (0, 0, [])


async def test_a_silence_whose_clocks_were_known_otherwise_goes_on_as_it_was_known_and_says_so(
    system: Watching,
) -> None:
    schedule = Schedule("Europe/Berlin", WEEKDAYS, "09:00", "09:30", "2027-01-15", "2027-12-31", ((0, 2 * HOUR_MS),))
    made = Silence(
        id="ab" * 8,
        matchers=(Matcher("room", MatchOp.EQUAL, "kitchen"),),
        starts_at_ms=START_MS - HOUR_MS,
        ends_at_ms=START_MS + 300 * DAY_MS,
        comment="",
        author="ann",
        created_at_ms=START_MS,
        schedule=schedule,
    )
    await system.submit(PutSilence(made, "ann"))
    found = await system.get(f"/api/v1/silences/{made.id}")
    assert (found["schedule"]["clocks_differ"], times(found["to_come"])[0]) == (True, (23, 23.5))
