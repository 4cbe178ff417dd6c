"""Policies, receivers and routes as tables of a file: read, and refused with the place that is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from tests.facts import policy

from quantum.adapters import wire
from quantum.adapters.http.tables import read_draft, read_routes
from quantum.domain.errors import Rejected
from quantum.domain.pipeline import PipelineMemory
from quantum.domain.routes import DEFAULT, Route, Routed, RouteOutcome, RouteStep

if TYPE_CHECKING:
    from pathlib import Path

POLICY = """
[[policies]]
name = "hot"
matchers = [{label = "__name__", op = "=", value = "heat"}]
condition = {kind = "threshold", op = "above", raise_at = 90.0, clear_at = 80.0}
"""
ROUTES = """
[[routes]]
name = "loud"
parent = "team"
matchers = [{label = "severity", op = "=", value = "critical"}]
receivers = ["ops"]

[[routes]]
name = "team"
matchers = [{label = "team", op = "=~", value = "a|b"}]
continue = true
"""


def test_routes_are_read_a_parent_before_its_children_and_tried_as_they_are_listed() -> None:
    tables: list[dict[str, Any]] = [{"name": "b"}, {"name": "c", "parent": "a"}, {"name": "a", "order": 5}]
    found = read_routes(tables)
    assert [(one.name, one.parent, one.order) for one in found] == [
        ("a", DEFAULT, 5),
        ("c", "a", 20),
        ("b", DEFAULT, 10),
    ]
    [root] = read_routes([{"name": DEFAULT, "receivers": ["ops"]}])
    assert (root.name, root.parent, root.receivers) == (DEFAULT, "", ("ops",))
    assert read_routes([]) == ()


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"name": "a", "group_by": []}, r"routes\[2\]: Object contains unknown field `group_by`"),
        ({"receivers": []}, r"routes\[2\]: Object missing required field `name`"),
        ({"name": "test"}, r"routes\[2\]: no route can be named 'test'"),
        ({"name": "a", "parent": "nothing"}, "route 'a': there is no route named 'nothing'"),
        ({"name": "there"}, "route 'there' is there twice"),
        ({"name": "a", "matchers": [{"label": "b", "op": "=~", "value": "("}]}, "regular expression"),
    ],
)
def test_of_a_route_that_makes_no_sense_it_is_told_which_and_why(table: dict[str, Any], told: str) -> None:
    with pytest.raises(Rejected, match=told):
        read_routes([{"name": "there"}, table])


def test_a_file_with_routes_and_no_policies_is_a_draft_of_routes_alone(tmp_path: Path) -> None:
    file = tmp_path / "draft.toml"
    file.write_text(ROUTES)
    draft = read_draft(str(file))
    assert draft.policies is None
    assert [(one.name, one.goes_on) for one in draft.routes] == [("team", True), ("loud", False)]
    file.write_text(ROUTES + POLICY)
    assert [one.name for one in read_draft(str(file)).policies or ()] == ["hot"]
    file.write_text("")
    assert read_draft(str(file)).policies == ()


def test_a_state_from_before_there_were_routes_reads_on_with_none() -> None:
    written = msgspec.msgpack.decode(wire.encode(PipelineMemory(policies=(policy(),))))
    del written["routes"]
    assert wire.decode(msgspec.msgpack.encode(written), PipelineMemory) == PipelineMemory(policies=(policy(),))


def test_routes_and_where_an_alert_was_led_are_written_and_read() -> None:
    led = Routed(receivers=("ops",), routes=("a",), steps=(RouteStep("a", RouteOutcome.TOLD, "it tells ops"),))
    for one in (led, Route(name="a", receivers=()), Route(name="a", receivers=None, goes_on=True)):
        assert wire.decode(wire.encode(one), type(one)) == one
