"""Directions of conditions as they are stored and asked for: what was stored before there were any means either."""

from __future__ import annotations

import msgspec
import pytest
from tests.facts import policy

from quantum.adapters import wire
from quantum.adapters.http import views
from quantum.adapters.http.messages import PolicyRequest
from quantum.domain.default_policies import DEFAULT_POLICIES
from quantum.domain.facts import PutPolicy
from quantum.domain.policies import AnomalyScore, Condition, Direction, PageBudget

CONDITIONS = [
    make(direction)
    for direction in Direction
    for make in (
        lambda direction: AnomalyScore(raise_at=0.5, clear_at=0.25, direction=direction),
        lambda direction: PageBudget(pages=2, per_ms=604_800_000, direction=direction),
    )
]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_direction_is_read_back_as_it_was(condition: Condition) -> None:
    command = PutPolicy(policy(condition=condition), 0, "me")
    assert wire.decode(wire.encode(command), PutPolicy) == command


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_direction_that_was_shown_is_one_that_can_be_asked_for(condition: Condition) -> None:
    one = policy(condition=condition)
    shown = msgspec.json.decode(msgspec.json.encode(views.policy(one)))
    asked = msgspec.convert({name: shown[name] for name in PolicyRequest.__struct_fields__}, PolicyRequest)
    assert views.asked_policy(asked, one.id) == one


@pytest.mark.parametrize("condition", CONDITIONS[-2:])
def test_a_condition_that_was_stored_without_a_direction_means_either(condition: Condition) -> None:
    stored = msgspec.msgpack.decode(wire.encode(policy(condition=condition)))
    del stored["condition"]["direction"]
    assert wire.decode(msgspec.msgpack.encode(stored), type(policy())).condition == condition


def test_the_default_policy_for_processors_asks_for_more_work_and_not_for_less() -> None:
    (cpu,) = (one for one in DEFAULT_POLICIES if one.id == "default-cpu")
    assert isinstance(cpu.condition, AnomalyScore)
    assert cpu.condition.direction is Direction.ABOVE
