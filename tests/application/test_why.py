"""Why cards over the running system: what an alert's page and an anomaly's page say, and what moved in a window."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from tests.watching import HOT, START_MS, Watching

from quantum.application import why as application
from quantum.domain.alerts import Anomaly, Verdict
from quantum.domain.detectors.robust_ensemble import RobustEnsemble
from quantum.domain.facts import JudgeIncident
from quantum.domain.labels import LabelSet
from quantum.domain.series import SampleBatch
from quantum.domain.wording import rarity_words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROWS: Final = 800
STEP_MS: Final = 10_000


@pytest.fixture(name="system")
async def running_system() -> AsyncIterator[Watching]:
    async with Watching() as system:
        yield system


async def push(system: Watching, **columns: np.ndarray[Any, Any]) -> None:
    """Store rows of several rooms and of one other metric, `STEP_MS` apart, the last of them now."""
    count = len(next(iter(columns.values())))
    times = [system.clock.now_ms() + STEP_MS * (1 + row) for row in range(count)]
    system.clock.advance(STEP_MS * count)
    tables = [
        {"labels": {"__name__": "heat", "room": room}, "timestamps_ms": times, "values": values.tolist()}
        for room, values in columns.items()
    ]
    answer = await system.http.post("/api/v1/samples", json={"series": tables})
    assert answer.status_code == 200, answer.text
    await system.caught_up()


def noise(seed: int, rows: int = ROWS) -> np.ndarray[Any, Any]:
    return 20.0 + np.random.default_rng(seed).normal(size=rows)


async def heat_up(system: Watching) -> Any:
    """Return the alert of the kitchen, beside which the hall warmed up too and the attic did not."""
    up = np.array([60.0, 80.0, 95.0, 95.0])
    calm = noise(9, 4)
    await push(system, kitchen=up, hall=up / 2, attic=calm)
    await system.pass_time(1000)
    alerts = await system.get("/api/v1/alerts", state="firing")
    return alerts["items"][0]


async def prepared(system: Watching) -> None:
    await system.json("POST", "/api/v1/policies", 201, json=HOT)
    await push(system, kitchen=noise(1), hall=noise(2), attic=noise(3))


async def test_an_alert_says_why_in_numbers(system: Watching) -> None:
    await prepared(system)
    alert = await heat_up(system)
    card = (await system.get(f"/api/v1/alerts/{alert['id']}"))["why"]
    assert card["detector"] == f"{RobustEnsemble.name}/{RobustEnsemble.version}", "and not both of the installation"
    assert card["event"]["value"] == 95.0
    assert card["event"]["rarity"] == rarity_words(card["event"]["score"], STEP_MS), "rows came hundreds at once"
    parts = card["parts"]
    total = sum(parts[name] for name in ("level", "trend", "hour", "weekday", "rest"))
    assert total == pytest.approx(card["event"]["expected"])
    assert parts["level"] == pytest.approx(20.0, abs=0.5)
    assert [one["anomaly"]["labels"]["room"] for one in card["along"]] == ["hall"]
    assert card["along"][0]["correlation"] > 0.9
    along = card["along"][0]["anomaly"]
    assert along["rarity"] == rarity_words(along["score"], STEP_MS)
    assert [(one["setting"], one["spares_at"]) for one in card["spared"]] == [("raise_at", 95.0)]
    assert (card["recurrence"], card["resembles"]) == (None, None)


def test_a_series_that_was_not_there_most_of_the_time_did_not_move_along() -> None:
    """It was held against a flat line before its begin, and agreed with whatever was flat before as well."""
    at_ms, high = np.arange(100, dtype=np.int64) * 1000, np.where(np.arange(100) > 80, 9.0, 0.0)
    events = [an_anomaly(slot) for slot in range(3)]
    for begin, along in ((0, [1, 2]), (45, [1, 2]), (60, [1])):
        there = at_ms[begin:], high[begin:]
        columns = zip((at_ms, high), (at_ms, high), there, strict=True)
        batch = SampleBatch(np.repeat([0, 1, 2], [100, 100, 100 - begin]), *(np.concatenate(one) for one in columns))
        ranked = application._ranked(events[0], events[1:], [1000.0] * 2, batch, 0, 100_000)
        assert [one.anomaly.slot for one in ranked] == along
    assert application._ranked(events[0], events[1:], [1000.0] * 2, batch.take(batch.slots == 1), 0, 100_000) == ()
    assert application._ranked(events[0], events[1:], [1000.0] * 2, batch.take(batch.slots == 0), 0, 100_000) == ()


def an_anomaly(slot: int) -> Anomaly:
    series = LabelSet.of({"__name__": f"s{slot}"})
    return Anomaly(
        id=str(slot),
        slot=slot,
        series=series,
        start_ms=81_000,
        end_ms=None,
        peak_at_ms=81_000,
        score=0.5,
        value=9.0,
        expected=0.0,
        lower=-1.0,
        upper=1.0,
    )


async def test_an_alert_remembers_what_it_resembles_and_what_that_was(system: Watching) -> None:
    await prepared(system)
    first = await heat_up(system)
    await system.submit(JudgeIncident(first["incident_id"], Verdict.EXPECTED, "me"))
    await push(system, kitchen=noise(4), hall=noise(5), attic=noise(6))
    await system.pass_time(1000)
    second = await heat_up(system)
    assert second["id"] != first["id"]
    resembles = (await system.get(f"/api/v1/alerts/{second['id']}"))["why"]["resembles"]
    assert (resembles["incident_id"], resembles["verdict"]) == (first["incident_id"], "expected")


async def test_an_anomaly_without_an_alert_has_a_card_too(system: Watching) -> None:
    # an alert of another room fires meanwhile: it says nothing about the kitchen
    await system.json("POST", "/api/v1/policies", 201, json=HOT)
    await push(system, kitchen=noise(1), hall=noise(2))
    for height in (60.0, -90.0):
        await push(system, kitchen=np.full(2, height), hall=np.full(2, 95.0))
        await system.pass_time(1000)
        await push(system, kitchen=noise(5, 60), hall=noise(7, 60))
        await system.pass_time(1000)
    kitchen = (await system.get("/api/v1/series", q="kitchen"))["items"][0]["fingerprint"]
    anomalies = (await system.get("/api/v1/anomalies", fingerprint=kitchen, min_score=0.4))["items"]
    newest = anomalies[0]
    card = await system.get(f"/api/v1/series/{kitchen}/why", at_ms=newest["peak_at_ms"])
    assert card["event"]["id"] == newest["id"]
    assert card["spared"] == []
    assert card["resembles"]["anomaly"]["id"] in {one["id"] for one in anomalies[1:]}
    assert (card["resembles"]["incident_id"], card["resembles"]["verdict"]) == (None, None)


async def test_a_series_that_comes_again_says_after_what_time_and_what_it_had_there(system: Watching) -> None:
    await system.json("POST", "/api/v1/policies", 201, json=HOT)
    jobs = noise(1) + np.where(np.arange(ROWS) % 30 // 2 == 10, 30.0, 0.0)
    await push(system, kitchen=jobs, hall=noise(2), attic=noise(3))
    alert = await heat_up(system)
    found = (await system.get(f"/api/v1/alerts/{alert['id']}"))["why"]["recurrence"]
    assert (found["period_ms"], found["times"]) == (300_000, 3)
    assert found["highest"] == 95.0
    assert 45.0 < found["upper"] < 60.0
    assert found["words"].startswith("It comes again about every 5 min. ")


async def test_an_alert_that_names_no_series_has_no_card(system: Watching) -> None:
    alert, _ = await system.container.store().alert((await system.fire())["id"])
    assert await system.container.why().of_alert(replace(alert, contributors=())) is None


async def test_a_moment_without_an_anomaly_has_no_card(system: Watching) -> None:
    await push(system, kitchen=noise(1))
    series = (await system.get("/api/v1/series"))["items"][0]
    problem = await system.get(f"/api/v1/series/{series['fingerprint']}/why", 404, at_ms=START_MS + 1)
    assert problem["detail"] == f"this series had no anomaly at {START_MS + 1}"


async def test_a_series_that_is_only_learnt_has_no_parts(system: Watching) -> None:
    alert = await system.fire()
    card = (await system.get(f"/api/v1/alerts/{alert['id']}"))["why"]
    assert (card["parts"], card["along"], card["event"]["expected"]) == (None, [], None)


async def test_what_moved_ranks_series_against_their_own_past(system: Watching) -> None:
    await prepared(system)
    begin_ms = system.clock.now_ms()
    await heat_up(system)
    window = {"start_ms": begin_ms, "end_ms": system.clock.now_ms() + 1}
    items = (await system.get("/api/v1/what-moved", **window))["items"]
    assert {one["series"]["labels"]["room"] for one in items[:2]} == {"kitchen", "hall"}
    assert items[2]["series"]["labels"]["room"] == "attic"
    assert items[1]["surprise"] > 2.0 > items[2]["surprise"]
    assert begin_ms < items[0]["peak_at_ms"] < window["end_ms"]
    assert len((await system.get("/api/v1/what-moved", limit=1, **window))["items"]) == 1
    before = await system.get("/api/v1/what-moved", start_ms=1, end_ms=2)
    assert before["items"] == []


async def test_what_moved_is_the_same_from_sealed_facts(system: Watching) -> None:
    await prepared(system)
    begin_ms = system.clock.now_ms()
    await heat_up(system)
    window = {"start_ms": begin_ms, "end_ms": system.clock.now_ms() + 1}
    before = await system.get("/api/v1/what-moved", **window)
    await system.pass_time(310_000)
    after = await system.get("/api/v1/what-moved", **window)
    assert [one["peak_at_ms"] for one in after["items"][:2]] == [one["peak_at_ms"] for one in before["items"][:2]]


async def test_windows_that_make_no_sense_are_refused(system: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    await push(system, kitchen=noise(1))
    problem = await system.get("/api/v1/what-moved", 400, start_ms=5, end_ms=5)
    assert problem["detail"] == "a window needs start_ms < end_ms"
    monkeypatch.setattr(application, "MOVED_ROWS", 10)
    problem = await system.get("/api/v1/what-moved", 400, start_ms=0, end_ms=660_000)
    assert problem["detail"] == "1 series for so long are 12 minutes; at most 10 are read"
