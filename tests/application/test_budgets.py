"""What became of a page budget, over the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.watching import HOT, Watching

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WEEKLY: Final[dict[str, Any]] = HOT | {"condition": {"kind": "page_budget", "pages": 100}}


@pytest.fixture(name="system")
async def running_system() -> AsyncIterator[Watching]:
    async with Watching() as system:
        yield system


async def test_a_budget_says_what_was_spent_and_which_score_pages(system: Watching) -> None:
    policy = await system.json("POST", "/api/v1/policies", 201, json=WEEKLY)
    assert policy["condition"] == {"kind": "page_budget", "pages": 100, "per_ms": 604_800_000, "direction": "either"}
    await system.push("heat", [20.0 + number % 3 for number in range(3000)], room="hall")
    await system.pass_time(1000)
    before = await system.get(f"/api/v1/policies/{policy['id']}/budget")
    assert (before["policy_id"], before["pages"], before["per_ms"], before["spent"]) == (
        policy["id"],
        100,
        604_800_000,
        0,
    )
    await system.push("heat", [20.0, 5000.0, 9000.0, 9000.0], room="hall")
    await system.pass_time(1000)
    after = await system.get(f"/api/v1/policies/{policy['id']}/budget")
    assert after["spent"] == 1
    assert 0.3 < after["cut_score"] <= 0.95
    assert after["cut_score"] == pytest.approx(before["cut_score"], abs=0.01), "one page of a hundred is soon spent"


async def test_a_budget_that_is_switched_off_has_no_cut(system: Watching) -> None:
    policy = await system.json("POST", "/api/v1/policies", 201, json=WEEKLY | {"enabled": False})
    assert (await system.get(f"/api/v1/policies/{policy['id']}/budget"))["cut_score"] is None


async def test_another_policy_has_no_budget(system: Watching) -> None:
    policy = await system.json("POST", "/api/v1/policies", 201, json=HOT)
    for key in (policy["id"], "nobody"):
        problem = await system.get(f"/api/v1/policies/{key}/budget", 404)
        assert problem["detail"] == f"there is no policy {key} with a page budget"


async def test_a_budget_that_makes_no_sense_is_refused(system: Watching) -> None:
    wrong = WEEKLY | {"condition": {"kind": "page_budget", "pages": 0}}
    problem = await system.json("POST", "/api/v1/policies", 400, json=wrong)
    assert problem["reason"] == "malformed_body"
    assert "pages" in problem["detail"]
