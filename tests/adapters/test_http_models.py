"""Models over HTTP: trained by the real program's parts, tried out, promoted, scored with, and bad input refused."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
from tests.facts import START_MS
from tests.models import STEP_MS, history, members, trained

from quantum.adapters.http.model_files import file_of
from quantum.application.ports import SampleProposal
from quantum.composition import build
from quantum.domain.models import ModelKind
from quantum.domain.series import SampleBatch
from quantum.loading import load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

END_MS = START_MS + 300 * STEP_MS
ORDER = {
    "name": "siblings",
    "kind": "peers",
    "selector": '{__name__=~"cpu|load"}',
    "by": ["host"],
    "start_ms": START_MS,
    "end_ms": END_MS,
    "step_ms": STEP_MS,
}
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:litestar", "ignore::DeprecationWarning:quantum")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """A client of the whole application on a store in memory that has a history; its pumps run."""
    process = build(load_settings(environment={}, overrides={"store": "memory"}))
    container = process.workspaces()["default"]
    async with container.store() as store:
        await container.ingest().open(store)
        await container.monitor().open()
        batch = history(300)
        proposal = SampleProposal(SampleBatch.of(-1 - batch.slots, batch.at_ms, batch.values), members())
        appended = await store.append_samples(proposal, END_MS)
        await container.stream().publish([appended.fact])

        async def repeat(step: Any) -> None:
            while True:
                await step()

        steps = (container.monitor().run_once, container.training().run_once, container.shadows().run_once)
        pumps = [asyncio.create_task(repeat(step)) for step in steps]
        transport = httpx.ASGITransport(process.app())
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60.0) as found:
            yield found
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def ask(client: httpx.AsyncClient, path: str, body: Any = None, status: int = 200) -> Any:
    answer = await (client.get(path) if body is None else client.post(path, json=body))
    assert answer.status_code == status, answer.text
    return answer.json()


async def ended(client: httpx.AsyncClient, run_id: str) -> Any:
    async with asyncio.timeout(60.0):
        while True:
            run = await ask(client, f"/api/v1/training-runs/{run_id}")
            if run["ended_at_ms"] is not None:
                return run
            await asyncio.sleep(0.05)


async def test_a_model_is_trained_tried_out_promoted_scored_with_and_rolled_back(client: httpx.AsyncClient) -> None:
    assert (await ask(client, "/api/v1/models"))["items"] == []
    run = await ask(client, "/api/v1/training-runs", ORDER, 202)
    done = await ended(client, run["id"])
    assert (done["state"], done["version"], done["progress"]) == ("done", 1, 1.0)
    assert [one["id"] for one in (await ask(client, "/api/v1/training-runs"))["items"]] == [run["id"]]
    model = await ask(client, "/api/v1/models/siblings")
    assert model["versions"][0]["state"] == "shadow"
    assert model["versions"][0]["lineage"]["samples"] == 3000
    assert model["shadow"]["version"] == 1
    stretch = {"version": 1, "start_ms": START_MS, "end_ms": START_MS * 2}
    trial = await ask(client, "/api/v1/models/siblings/try", stretch)
    assert trial["alerts_then"] >= trial["alerts_now"] == 0
    await ask(client, "/api/v1/models/siblings/promote", {**stretch, "max_more_alerts": 100})
    listed = await ask(client, "/api/v1/models")
    assert listed["items"][0]["promoted"]["version"] == 1
    assert listed["detector"]["name"]
    problem = await ask(client, "/api/v1/models/siblings/promote", stretch, 409)
    assert "promoted already" in problem["detail"]
    answer = await client.post("/api/v1/models/siblings/roll-back")
    assert answer.json()["promoted"] is None


async def test_the_default_detector_scores_on_demand_and_says_nothing_where_it_knows_nothing(
    client: httpx.AsyncClient,
) -> None:
    values: list[float | None] = [10.0 + step % 3 for step in range(99)]
    values[50] = None
    series = [{"timestamps_ms": [START_MS + step * 1000 for step in range(99)], "values": values}]
    answer = await ask(client, "/api/v1/models/robust-ensemble/score", {"series": series})
    [found] = answer["series"]
    assert (found["score"][0], found["expected"][0], found["upper"][50]) == (0.0, None, None)
    assert found["lower"][98] <= found["expected"][98] <= found["upper"][98]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("training-runs", {**ORDER, "kind": "oracle"}, 400),
        ("training-runs", {**ORDER, "selector": "cpu{"}, 400),
        ("training-runs", {**ORDER, "selector": '{host=~"("}'}, 400),
        ("training-runs", {**ORDER, "by": []}, 400),
        ("training-runs", {**ORDER, "kind": "deep-forecaster", "by": ["host"]}, 400),
        ("training-runs", {**ORDER, "end_ms": START_MS}, 400),
        ("training-runs", {**ORDER, "name": "a/b"}, 400),
        ("training-runs", {**ORDER, "name": "coverage"}, 400),
        ("training-runs", {**ORDER, "trees": 5000}, 400),
        ("training-runs", {**ORDER, "else": 1}, 400),
        ("training-runs/0123/cancel", {}, 404),
        ("models/nobody/try", {"version": 1}, 404),
        ("models/nobody/promote", {"version": 0}, 400),
        ("models/nobody/promote", {"version": 1}, 404),
        ("models/nobody/roll-back", {}, 404),
        ("models/nobody/score", {"series": [{"timestamps_ms": [], "values": []}]}, 404),
        ("models/robust-ensemble/score", {"series": []}, 400),
        ("models/robust-ensemble/score", {"series": [{"timestamps_ms": [1], "values": []}]}, 400),
        ("models/robust-ensemble/score", {"series": [{"timestamps_ms": [2, 2], "values": [1, 1]}]}, 400),
        ("models/robust-ensemble/score", {"series": [{"timestamps_ms": [2], "values": ["x"]}]}, 400),
        ("models/robust-ensemble/score", {"series": [{"timestamps_ms": [], "values": [], "labels": {"": "x"}}]}, 400),
        ("models/robust-ensemble/score", {"series": [{"timestamps_ms": [], "values": []}], "version": 99}, 404),
    ],
)
async def test_bad_input_is_refused_with_a_sentence(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], status: int
) -> None:
    answer = await client.post(f"/api/v1/{path}", json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]


async def test_what_is_not_there_is_not_found(client: httpx.AsyncClient) -> None:
    await ask(client, "/api/v1/models/nobody", status=404)
    await ask(client, "/api/v1/training-runs/0123", status=404)


async def test_a_run_that_waits_is_cancelled(client: httpx.AsyncClient) -> None:
    first, second = [await ask(client, "/api/v1/training-runs", ORDER, 202) for _ in range(2)]
    run = await ask(client, f"/api/v1/training-runs/{second['id']}/cancel", {})
    assert run["state"] == "cancelled"
    await client.post(f"/api/v1/training-runs/{first['id']}/cancel")
    assert (await ended(client, first["id"]))["state"] == "cancelled"


async def test_a_model_is_imported_exported_imported_under_another_name_and_watches(client: httpx.AsyncClient) -> None:
    sent = json.loads(msgspec.json.encode(file_of(trained(ModelKind.PEERS).model, "a test")))
    made = await ask(client, "/api/v1/models", sent, 201)
    assert (made["version"], made["state"], made["lineage"]["code"]) == (1, "shadow", "imported: a test")
    file = await ask(client, f"/api/v1/models/{sent['name']}/file?version=1")
    assert file == sent | {"origin": "quantum imported: a test"}
    made = await ask(client, "/api/v1/models", file | {"name": "theirs"}, 201)
    assert made["lineage"]["code"] == "imported: quantum imported: a test"
    theirs = await ask(client, "/api/v1/models/theirs/file")
    assert theirs["columns"] == file["columns"]
    assert (await ask(client, "/api/v1/models/theirs"))["shadow"]["version"] == 1
    trial = {"version": 1, "start_ms": START_MS, "end_ms": START_MS * 2}
    assert (await ask(client, "/api/v1/models/theirs/try", trial))["name"] == "theirs"


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"sha256": "0" * 64}, 400, "sha256 of the columns"),
        ({"name": "robust-ensemble"}, 400, "name of a detector"),
        ({"name": "../x"}, 400, "letters, digits"),
        ({"selector": '{cpu=~"("}'}, 400, "regular expression"),
        ({"format": 2}, 400, "Invalid enum value 2"),
        ({"columns": {}}, 400, "has the columns feature, threshold"),
        ({"origin": "x" * 101}, 400, "length <= 100"),
        ({"origin": "x" * (8 << 20)}, 413, ""),
    ],
)
async def test_a_file_that_is_no_model_is_refused_and_nothing_is_kept(
    client: httpx.AsyncClient, change: dict[str, Any], status: int, words: str
) -> None:
    file = json.loads(msgspec.json.encode(file_of(trained(ModelKind.PEERS).model, "a test")))
    problem = await ask(client, "/api/v1/models", file | change, status)
    assert words in problem["detail"]
    assert (await ask(client, "/api/v1/models"))["items"] == []
