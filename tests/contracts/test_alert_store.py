"""AlertStore over conclusions of a real pipeline."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.facts import START_MS

from quantum.application.ports import AlertFilter, AnomalyFilter, Page
from quantum.domain.alerts import AlertState, Effects, IncidentState
from quantum.domain.errors import NotFound
from quantum.domain.policies import Severity

if TYPE_CHECKING:
    from tests.stores import Store


def hosts(found: list[object]) -> list[str]:
    return [one.group.get("host") for one in found]  # type: ignore[attr-defined]


async def test_alerts_are_newest_first_and_withdrawn_ones_only_when_asked_for(told: Store) -> None:
    assert hosts(await told.alerts(AlertFilter(), Page())) == ["b", "a"]  # type: ignore[arg-type]
    assert hosts(await told.alerts(AlertFilter(states=(AlertState.WITHDRAWN,)), Page())) == ["c"]  # type: ignore[arg-type]


async def test_alerts_are_filtered(told: Store) -> None:
    first = (await told.alerts(AlertFilter(), Page()))[-1]
    for wanted, expected in (
        (AlertFilter(states=(AlertState.FIRING,)), ["b"]),
        (AlertFilter(severities=(Severity.INFO,)), []),
        (AlertFilter(severities=(Severity.CRITICAL,), policy_id="hot"), ["b", "a"]),
        (AlertFilter(policy_id="other"), []),
        (AlertFilter(start_ms=first.pending_at_ms + 1), ["b"]),
        (AlertFilter(end_ms=first.pending_at_ms + 1), ["a"]),
    ):
        assert hosts(await told.alerts(wanted, Page())) == expected  # type: ignore[arg-type]


async def test_pages_lead_through_all_alerts(told: Store) -> None:
    (first,) = await told.alerts(AlertFilter(), Page(limit=1))
    rest = await told.alerts(AlertFilter(), Page(limit=5, before=(first.pending_at_ms, first.id)))
    assert hosts([first, *rest]) == ["b", "a"]


async def test_an_alert_comes_with_its_history_oldest_first(told: Store) -> None:
    found = (await told.alerts(AlertFilter(), Page()))[-1]
    alert, transitions = await told.alert(found.id)
    assert repr(alert) == repr(found)
    assert [one.after for one in transitions] == [AlertState.PENDING, AlertState.FIRING, AlertState.RESOLVED]
    with pytest.raises(NotFound, match="no alert nothing"):
        await told.alert("nothing")


async def test_incidents_are_found_by_state_and_by_id(told: Store) -> None:
    assert len(await told.incidents((), Page())) == 2
    (still_open,) = await told.incidents((IncidentState.OPEN,), Page())
    assert await told.incident(still_open.id) == still_open
    with pytest.raises(NotFound, match="no incident nothing"):
        await told.incident("nothing")


async def test_anomalies_are_found_by_overlap_series_score_and_whether_they_last(told: Store) -> None:
    found = await told.anomalies(AnomalyFilter(), Page())
    assert len(found) >= 3
    assert await told.anomalies(AnomalyFilter(min_score=1.1), Page()) == []
    assert {one.slot for one in await told.anomalies(AnomalyFilter(slots=(0, 1)), Page())} == {0, 1}
    assert all(one.end_ms is None for one in await told.anomalies(AnomalyFilter(ongoing=True), Page()))
    assert await told.anomalies(AnomalyFilter(end_ms=START_MS), Page()) == []
    assert await told.anomalies(AnomalyFilter(start_ms=START_MS + 10**9), Page()) == []


async def test_recording_again_changes_nothing_and_sends_nothing_twice(
    told: Store, told_effects: list[Effects]
) -> None:
    (first,) = await told.due(START_MS + 10**6, 1)
    await told.settle(replace(first, due_at_ms=None, outcome="sent", attempts=1))
    before = repr(
        [
            await told.alerts(AlertFilter(), Page()),
            await told.incidents((), Page()),
            await told.deliveries(None, Page()),
        ]
    )
    for position, effects in enumerate(told_effects, 1):
        await told.record(effects, position)
    after = repr(
        [
            await told.alerts(AlertFilter(), Page()),
            await told.incidents((), Page()),
            await told.deliveries(None, Page()),
        ]
    )
    assert after == before


async def test_the_recorded_position_only_grows(store: Store) -> None:
    assert await store.recorded_upto() == 0
    await store.record(Effects(), 7)
    await store.record(Effects(), 5)
    assert await store.recorded_upto() == 7
