"""Lists of targets: what is no list is refused with its place, and whatever makes a target can be asked."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum.adapters.relabel import Rule
from quantum.adapters.scrape_targets import Discovery, Job, build_target, read_targets
from quantum.domain.errors import Rejected
from quantum.domain.labels import LabelSet

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Expecting value"),
        ("\xff", "utf"),
        ("{}", "no list of groups"),
        ("[" * 100_000, "recursion"),
        ("[1]", "group 0 is no object"),
        ('[{"targets": []}, {"targets": "host:9100"}]', "group 1 has no list of texts"),
        ('[{"targets": [1]}]', "group 0 has no list of texts"),
        ('[{"labels": {}}]', "group 0 has no list of texts"),
        ('[{"targets": [], "labels": []}, {"targets": [], "labels": [1]}]', "group 1 has labels"),
        ('[{"targets": [], "labels": {"a": 1}}]', "group 0 has labels"),
    ],
)
def test_a_file_that_is_no_list_of_targets_is_refused_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "targets.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(Rejected, match=f"(?i)targets.json.*{words}") as refused:
        read_targets(str(file))
    assert refused.value.reason == "targets_file"


def test_a_file_that_is_too_large_or_missing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"[" + b" " * 10_000_000)
    for name, words in (("large", "at most 10000000 bytes"), ("missing", "No such file")):
        with pytest.raises(Rejected, match=words):
            read_targets(str(tmp_path / name))


def test_a_list_is_looked_at_again_only_when_it_changes_and_survives_what_cannot_be_read(tmp_path: Path) -> None:
    file, told = tmp_path / "targets.json", list[str]()
    discovery = Discovery([Job(job="j", targets_file=str(file))], lambda problem: told.append(problem.reason))
    assert (discovery.look(), discovery.look(), told) == ([], None, ["targets_file"])
    file.write_text('[{"targets": ["a:1", "a:1", "b:1"], "labels": null}]')
    found = discovery.look()
    assert found is not None
    assert [target.url for target in found] == ["http://a:1/metrics", "http://b:1/metrics"]
    assert discovery.look() is None
    file.write_text("[{")
    kept = discovery.look()
    assert kept is not None
    assert [target.url for target in kept] == ["http://a:1/metrics", "http://b:1/metrics"]
    assert (discovery.look(), told) == (None, ["targets_file"] * 2)


def test_names_that_begin_with_two_underscores_are_for_rules_only() -> None:
    rule = Rule("replace", ("__rack",), target_label="rack")
    target = build_target(Job(job="j", relabel=(rule,)), "a:1", {"__rack": "7", "__name__": "x"})
    assert target is not None
    assert target.labels == {"rack": "7", "job": "j", "instance": "a:1"}


@pytest.mark.parametrize("label", ["__scheme__", "__address__"])
def test_rules_cannot_make_what_may_not_be_asked(label: str) -> None:
    rule = Rule("replace", (), target_label=label, replacement="ftp" if label == "__scheme__" else "u:p@a")
    with pytest.raises(Rejected, match=r"neither http nor https|no user and password"):
        build_target(Job(job="j", relabel=(rule,)), "a:1", {})


ADDRESSES = st.text(max_size=30) | st.builds("http://{}".format, st.text(max_size=20))


@given(ADDRESSES, st.dictionaries(st.text(), st.text()))
def test_whatever_makes_a_target_has_an_address_and_labels_that_series_can_have(
    address: str, labels: dict[str, str]
) -> None:
    target = None
    with suppress(Rejected):
        target = build_target(Job(job="j"), address, labels)
    if target is not None:
        parts = urlsplit(target.url)
        assert parts.scheme in {"http", "https"}
        assert parts.hostname
        assert parts.username is None
        assert LabelSet.of({**target.labels, "__name__": "up"}).name == "up"


@given(st.recursive(st.none() | st.integers() | st.text(), lambda one: st.lists(one) | st.dictionaries(st.text(), one)))
def test_any_json_is_a_list_of_targets_or_refused(tmp_path_factory: pytest.TempPathFactory, tree: object) -> None:
    file = tmp_path_factory.getbasetemp() / "any.json"
    file.write_text(json.dumps(tree))
    found: list[tuple[object, object]] = []
    with suppress(Rejected):
        found += read_targets(str(file))
    assert all(isinstance(address, str) and isinstance(labels, dict) for address, labels in found)
