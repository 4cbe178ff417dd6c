"""PolicyStore over conclusions of a real pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.facts import Log, new_pipeline, policy

from quantum.domain.facts import DeletePolicy, DeleteReceiver, PutPolicy, PutReceiver, WebhookReceiver

if TYPE_CHECKING:
    from tests.stores import Store


async def test_policies_and_receivers_are_listed_by_name_until_deleted(told: Store) -> None:
    assert [one.name for one in await told.policies()] == ["hot", "other"]
    assert [one.name for one in await told.receivers()] == ["ops"]
    pipeline = new_pipeline()
    log = Log()
    log.add(PutReceiver(WebhookReceiver(name="ops", url="http://x/"), 0, "me"))
    log.add(PutPolicy(policy(), 0, "me"))
    log.add(DeletePolicy("hot", None, "me"))
    log.add(DeleteReceiver("ops", None, "me"))
    for fact in log.facts:
        await told.record(pipeline.step(fact).effects, 100 + fact.position)
    assert [one.name for one in await told.policies()] == ["other"]
    assert await told.receivers() == []
