"""NotificationQueue over conclusions of a real pipeline."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.facts import START_MS

from quantum.application.ports import Delivery, Page

if TYPE_CHECKING:
    from tests.stores import Store


async def test_deliveries_are_due_in_order_and_the_next_waits_for_the_one_before(told: Store) -> None:
    late = START_MS + 10**6
    assert await told.due(START_MS, 10) == []
    assert await told.next_due_ms() is not None
    due = await told.due(late, 10)
    assert [(one.intent.alert.group.get("host"), one.intent.alert.seq) for one in due] == [("a", 2), ("b", 2)]
    assert len(await told.due(late, 1)) == 1
    first = due[0]
    await told.settle(replace(first, attempts=1, due_at_ms=late + 1, detail="no"))
    assert [one.intent.alert.group.get("host") for one in await told.due(late, 10)] == ["b"]
    await told.settle(replace(first, attempts=2, due_at_ms=None, outcome="sent", detail="ok"))
    assert [(one.intent.alert.group.get("host"), one.intent.alert.seq) for one in await told.due(late, 10)] == [
        ("b", 2),
        ("a", 3),
    ]
    for one in await told.deliveries(None, Page()):
        await told.settle(replace(one, due_at_ms=None))
    assert await told.next_due_ms() is None


async def test_deliveries_are_listed_newest_first_for_all_or_one_alert(told: Store) -> None:
    found: list[Delivery] = await told.deliveries(None, Page())
    assert [one.intent.at_ms for one in found] == sorted((one.intent.at_ms for one in found), reverse=True)
    alert_id = found[0].intent.alert.id
    assert {one.intent.alert.id for one in await told.deliveries(alert_id, Page())} == {alert_id}
    first = found[0]
    rest = await told.deliveries(None, Page(before=(first.intent.at_ms, first.intent.id)))
    assert len(rest) == len(found) - 1
