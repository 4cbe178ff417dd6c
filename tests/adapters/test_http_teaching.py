"""Verdicts that teach, over HTTP: proposed, learnt, listed, taken back; bad input refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.watching import HOT, Watching

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOMS = {"kitchen": (92.0, "false"), "attic": (93.0, "expected"), "cellar": (99.0, "real")}
FAR_OFF = 9_000_000_000_000_000


@pytest.fixture(name="judged")
async def judged_system() -> AsyncIterator[tuple[Watching, str]]:
    """A system with three judged incidents of one policy; and the policy's path."""
    async with Watching() as system:
        created = await system.json("POST", "/api/v1/policies", 201, json=HOT)
        for room, (height, verdict) in ROOMS.items():
            await system.push("heat", [height], room=room)
            await system.pass_time(1000)
            await system.push("heat", [20.0], room=room)
            await system.pass_time(1000)
            (newest, *_) = (await system.get("/api/v1/incidents"))["items"]
            assert newest["place"] == {"policy": created["id"]}
            await system.json("POST", f"/api/v1/incidents/{newest['id']}/verdict", json={"verdict": verdict})
        yield system, f"/api/v1/policies/{created['id']}"


async def test_a_proposal_is_shown_learnt_listed_audited_and_taken_back(judged: tuple[Watching, str]) -> None:
    system, path = judged
    before = await system.get(path)
    proposal = await system.json("POST", f"{path}/propose", json={})
    assert (proposal["unwanted"], proposal["confirmed"], proposal["version"]) == (2, 1, 1)
    best = proposal["options"][0]
    assert (best["setting"], best["value"], best["matcher"], best["harmless"]) == ("raise_at", 93.0, None, True)
    assert best["text"] == "a limit of 93 instead of 90"
    assert best["evidence"]["unwanted_removed"] == 2
    assert best["evidence"]["lost"] == []
    assert [one["setting"] for one in proposal["options"]] == ["raise_at", "matcher", "for_ms"]
    assert [one["harmless"] for one in proposal["options"]] == [True, True, False]
    change = {"setting": best["setting"], "value": best["value"], "version": proposal["version"]}
    learnt = await system.json("POST", f"{path}/learn", json=change)
    assert (
        learnt["policy"]
        == await system.get(path)
        == before
        | {
            "version": 2,
            "condition": before["condition"] | {"raise_at": 93.0},
        }
    )
    (lesson,) = (await system.get(f"{path}/lessons"))["items"]
    assert (lesson["before"], lesson["after"]) == (before, learnt["policy"])
    assert lesson["evidence"] == learnt["evidence"]
    back = await system.json("POST", f"{path}/unlearn")
    assert back == await system.get(path) == before | {"version": 3}
    assert (await system.get(f"{path}/lessons"))["items"] == []
    told = [(one["action"], one["outcome"]) for one in (await system.get("/api/v1/audit"))["items"]]
    assert told[:2] == [("unteach_policy", "done"), ("teach_policy", "done")]


async def test_a_label_value_can_be_left_aside(judged: tuple[Watching, str]) -> None:
    system, path = judged
    matcher = {"label": "room", "op": "!=", "value": "attic"}
    learnt = await system.json("POST", f"{path}/learn", json={"setting": "matcher", "matcher": matcher})
    assert learnt["policy"]["matchers"] == [*HOT["matchers"], matcher]
    assert (learnt["matcher"], learnt["value"], learnt["evidence"]["removed"]) == (matcher, None, 1)


async def test_a_policy_learns_to_which_side_a_series_may_be_odd() -> None:
    odd = HOT | {"condition": {"kind": "anomaly_score", "raise_at": 0.35, "clear_at": 0.3}}
    async with Watching() as system:
        created = await system.json("POST", "/api/v1/policies", 201, json=odd)
        path = f"/api/v1/policies/{created['id']}"
        for room, height, verdict in (("kitchen", -70.0, "false"), ("cellar", 110.0, "real")):
            noise = np.random.default_rng(len(room)).normal(20.0, 1.0, 410)
            calm = noise.tolist()
            await system.push("heat", [*calm, *[height] * 5], room=room)
            await system.pass_time(1000)
            await system.push("heat", calm, room=room)
            await system.pass_time(1000)
            (newest, *_) = (await system.get("/api/v1/incidents"))["items"]
            await system.json("POST", f"/api/v1/incidents/{newest['id']}/verdict", json={"verdict": verdict})
        options = {one["setting"]: one for one in (await system.json("POST", f"{path}/propose", json={}))["options"]}
        found = options["direction"]
        assert (found["direction"], found["value"], found["matcher"], found["harmless"]) == ("above", None, None, True)
        evidence = found["evidence"]
        assert (evidence["unwanted_removed"], evidence["confirmed"], evidence["lost"]) == (1, 1, [])
        blind = {"setting": "direction", "direction": "below"}
        refused = await system.json("POST", f"{path}/learn", 409, json=blind)
        assert "of 1 incidents judged real it would lose 1" in refused["detail"]
        learnt = await system.json("POST", f"{path}/learn", json={"setting": "direction", "direction": "above"})
        assert learnt["policy"]["condition"] == created["condition"] | {"direction": "above"}
        assert (await system.json("POST", f"{path}/unlearn"))["condition"] == created["condition"]


@pytest.mark.parametrize(
    ("act", "body", "status", "words"),
    [
        ("learn", {"setting": "raise_at", "value": 99.0}, 409, "of 1 incidents judged real it would lose 1"),
        ("learn", {"setting": "raise_at", "value": 90.5}, 409, "spare no alert that was unwanted"),
        ("learn", {"setting": "raise_at", "value": 93.0, "version": 9}, 409, "at version 1, not 9"),
        ("learn", {"setting": "raise_at", "value": 89.0}, 400, "cannot be made stricter by this raise_at"),
        ("learn", {"setting": "after_ms", "value": 99_000}, 400, "cannot be made stricter by this after_ms"),
        ("learn", {"setting": "for_ms", "value": -1}, 400, "cannot be made stricter by this for_ms"),
        ("learn", {"setting": "raise_at"}, 400, "needs value and no other"),
        ("learn", {"setting": "matcher", "value": 1.0}, 400, "needs matcher and no other"),
        (
            "learn",
            {"setting": "matcher", "matcher": {"label": "room", "op": "=", "value": "x"}},
            400,
            "by this matcher",
        ),
        (
            "learn",
            {"setting": "matcher", "matcher": {"label": "room", "op": "!=", "value": ""}},
            400,
            "by this matcher",
        ),
        ("learn", {"setting": "direction"}, 400, "needs direction and no other"),
        ("learn", {"setting": "direction", "direction": "above", "value": 1.0}, 400, "needs direction and no other"),
        ("learn", {"setting": "raise_at", "direction": "above"}, 400, "needs value and no other"),
        ("learn", {"setting": "direction", "direction": "above"}, 400, "cannot be made stricter by this direction"),
        ("learn", {"setting": "direction", "direction": "either"}, 400, "Invalid enum value 'either'"),
        ("learn", {"setting": "pages", "value": 1.0}, 400, "Invalid enum value 'pages'"),
        ("learn", {"setting": "raise_at", "value": "high"}, 400, "Expected `float | null`"),
        ("learn", {"setting": "raise_at", "value": 93.0, "worse": 1}, 400, "unknown field `worse`"),
        ("learn", {"setting": "raise_at", "value": 93.0, "version": 0}, 400, "`int` >= 1"),
        ("learn", {"setting": "raise_at", "value": 93.0, "start_ms": 5, "end_ms": 5}, 400, "after its start"),
        ("propose", {"start_ms": 5, "end_ms": 4}, 400, "after its start"),
        ("propose", {"start_ms": -1}, 400, "`int` >= 0"),
        ("propose", {"start_ms": FAR_OFF}, 400, "int"),
        ("propose", [], 400, "Expected `object`"),
        ("unlearn", None, 404, "has learnt nothing"),
    ],
)
async def test_what_cannot_be_done_is_refused_by_name_and_changes_nothing(
    judged: tuple[Watching, str], act: str, body: Any, status: int, words: str
) -> None:
    system, path = judged
    problem = await system.json("POST", f"{path}/{act}", status, **({} if body is None else {"json": body}))
    assert words in problem["detail"]
    assert (await system.get(path))["version"] == 1


async def test_a_policy_that_is_not_there_learns_nothing(judged: tuple[Watching, str]) -> None:
    system, _ = judged
    change = {"setting": "raise_at", "value": 93.0}
    for act, body in (("propose", {}), ("learn", change), ("unlearn", None)):
        arguments = {} if body is None else {"json": body}
        await system.json("POST", f"/api/v1/policies/nobody/{act}", 404, **arguments)
    await system.get("/api/v1/policies/nobody/lessons", 404)
