"""Relabelling: each action as Prometheus' documentation describes it, and rules that make no sense are refused."""

from __future__ import annotations

import pytest

from quantum.adapters.relabel import Rule, relabel
from quantum.domain.errors import Rejected

CPU = {"__name__": "cpu", "host": "a.example", "mode": "idle"}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule("replace", ("host",), r"([^.]+)\..*", "short"), {**CPU, "short": "a"}),
        (Rule("replace", ("host", "mode"), "(.*);(.*)", "both", "${2}-$1"), {**CPU, "both": "idle-a.example"}),
        (Rule("replace", ("host", "mode"), "(.*)/(.*)", "both", "$2", "/"), {**CPU, "both": "idle"}),
        (Rule("replace", ("host",), "b.*", "short"), CPU),
        (Rule("replace", ("host",), "a", "short"), CPU),  # matched whole
        (Rule("replace", ("absent",), target_label="mode"), {"__name__": "cpu", "host": "a.example"}),
        (Rule("replace", (), target_label="fixed", replacement="x$$"), {**CPU, "fixed": "x$"}),
        (Rule("replace", ("mode",), "(?P<m>.*)", "copy_$m", "$m$9"), {**CPU, "copy_idle": "idle"}),
        (Rule("keep", ("mode",), "idle|user"), CPU),
        (Rule("keep", ("mode",), "user"), None),
        (Rule("drop", ("mode",), "user"), CPU),
        (Rule("drop", ("mode",), "idle"), None),
        (Rule("labelmap", regex="(h.*)", replacement="my_$1"), {**CPU, "my_host": "a.example"}),
        (Rule("labeldrop", regex="h.*|mode"), {"__name__": "cpu"}),
        (Rule("labelkeep", regex="__name__|mode"), {"__name__": "cpu", "mode": "idle"}),
    ],
)
def test_each_action_does_what_it_says(rule: Rule, expected: dict[str, str] | None) -> None:
    assert relabel([rule], CPU) == expected
    assert CPU["host"] == "a.example"


def test_rules_see_what_the_ones_before_made_and_a_drop_ends_it() -> None:
    first, second = Rule("replace", ("host",), target_label="x"), Rule("keep", ("x",), "a.*")
    assert relabel([first, second], CPU) == {**CPU, "x": "a.example"}
    assert relabel([second, first], CPU) is None


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"action": "hashmod"}, "none of replace"),
        ({"action": "replace"}, "target_label"),
        ({"action": "keep"}, "source_labels"),
        ({"action": "labeldrop", "regex": "("}, "refused"),
        ({"action": "labeldrop", "regex": "a" * 1001}, "1000 characters"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(rule: dict[str, str], words: str) -> None:
    with pytest.raises(Rejected, match=words):
        Rule(**rule)  # type: ignore[arg-type]
