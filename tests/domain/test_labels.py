"""Label sets, their fingerprints, and matchers."""

from __future__ import annotations

import re
from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum.domain.errors import Rejected
from quantum.domain.labels import (
    MAX_GIVEN,
    MAX_LABELS,
    MAX_NAME_BYTES,
    MAX_VALUE_BYTES,
    NAME,
    RESERVED_PREFIXES,
    LabelSet,
    Matcher,
    MatcherCompiler,
    MatchOp,
)

if TYPE_CHECKING:
    from collections.abc import Callable

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=8)
names = texts.filter(lambda name: not name.startswith(RESERVED_PREFIXES))
label_maps = st.dictionaries(names, texts, max_size=6)


def full_match(pattern: str) -> Callable[[str], bool]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise Rejected("regex", str(error)) from None
    return lambda value: compiled.fullmatch(value) is not None


compile_matchers = MatcherCompiler(full_match)


def reason_of(labels: dict[str, str] | list[tuple[str, str]]) -> str:
    with pytest.raises(Rejected) as raised:
        LabelSet.of(labels)
    return raised.value.reason


@given(label_maps, st.randoms())
def test_the_order_of_labels_does_not_matter(labels: dict[str, str], randoms: object) -> None:
    pairs = list(labels.items())
    randoms.shuffle(pairs)  # type: ignore[attr-defined]
    assert LabelSet.of(pairs) == LabelSet.of(labels)


@given(label_maps, label_maps)
def test_canonical_bytes_are_equal_exactly_for_equal_label_sets(one: dict[str, str], other: dict[str, str]) -> None:
    first, second = LabelSet.of(one), LabelSet.of(other)
    assert (first.canonical() == second.canonical()) == (first == second)
    assert (first.fingerprint == second.fingerprint) == (first == second)


def test_fingerprints_never_change_from_release_to_release() -> None:
    assert LabelSet.of({NAME: "cpu", "host": "a"}).fingerprint == 0xF69A_43C8_2B5B_E4A0


def test_a_label_with_an_empty_value_is_absent() -> None:
    assert LabelSet.of({"a": "", "b": "1"}) == LabelSet.of({"b": "1"})
    assert LabelSet.of({"b": "1"}).get("a") == ""


def test_unusual_unicode_is_kept_byte_exact_and_distinct() -> None:
    composed, decomposed = LabelSet.of({"a": "\u00e9"}), LabelSet.of({"a": "e\u0301"})
    assert composed.fingerprint != decomposed.fingerprint


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([("a", "1"), ("a", "1")], "duplicate_label"),
        ({"": "1"}, "label_name"),
        ({"a\x00": "1"}, "label_name"),
        ({"a" * (MAX_NAME_BYTES + 1): "1"}, "label_name"),
        ({"a\ud800": "1"}, "label_name"),
        ({"a": "\x00"}, "label_value"),
        ({"a": "\ud800"}, "label_value"),
        ({"a": "x" * (MAX_VALUE_BYTES + 1)}, "label_value"),
        ({NAME: "x" * (MAX_NAME_BYTES + 1)}, "label_value"),
        ({"__tenant__": "x"}, "reserved_label"),
        ({f"l{n}": "x" for n in range(MAX_LABELS + 2)}, "max_labels"),
    ],
)
def test_a_label_set_that_breaks_a_limit_is_refused_by_name(
    labels: dict[str, str] | list[tuple[str, str]], reason: str
) -> None:
    assert reason_of(labels) == reason


def test_limits_are_inclusive() -> None:
    LabelSet.of({NAME: "x" * MAX_NAME_BYTES, "y" * MAX_NAME_BYTES: "x" * MAX_VALUE_BYTES})
    LabelSet.of({f"l{n}": "x" for n in range(MAX_LABELS + 1)})


def test_a_label_set_reads_as_in_prometheus() -> None:
    assert str(LabelSet.of({NAME: "cpu", "path": 'C:\\"x"\n'})) == 'cpu{path="C:\\\\\\"x\\"\\n"}'
    assert str(LabelSet.of({NAME: "up"})) == "up"
    assert str(LabelSet.of({})) == "{}"


def test_only_keeps_the_named_labels() -> None:
    assert LabelSet.of({"a": "1", "b": "2"}).only(["b", "c"]) == LabelSet.of({"b": "2"})


@pytest.mark.parametrize(
    ("op", "value", "holds"),
    [
        (MatchOp.EQUAL, "web-1", True),
        (MatchOp.EQUAL, "web", False),
        (MatchOp.NOT_EQUAL, "web", True),
        (MatchOp.REGEX, "web-.*", True),
        (MatchOp.REGEX, "web", False),
        (MatchOp.NOT_REGEX, "web", True),
        (MatchOp.NOT_REGEX, "web-.", False),
    ],
)
def test_matchers_compare_whole_values(op: MatchOp, value: str, holds: bool) -> None:
    assert compile_matchers([Matcher("host", op, value)])(LabelSet.of({"host": "web-1"})) is holds


def test_all_matchers_must_hold_and_an_absent_label_is_empty() -> None:
    wanted = compile_matchers([Matcher("host", MatchOp.EQUAL, "a"), Matcher("gone", MatchOp.EQUAL, "")])
    assert wanted(LabelSet.of({"host": "a"}))
    assert not wanted(LabelSet.of({"host": "a", "gone": "no"}))


def test_a_pattern_that_the_engine_refuses_is_rejected() -> None:
    with pytest.raises(Rejected, match="unterminated"):
        compile_matchers([Matcher("a", MatchOp.REGEX, "(")])


def test_a_matcher_reads_as_in_prometheus() -> None:
    assert str(Matcher("a", MatchOp.NOT_REGEX, 'x"')) == 'a!~"x\\""'


def test_who_gives_labels_without_end_is_not_heard_to_the_end() -> None:
    with pytest.raises(Rejected, match="over 300 labels given") as refused:
        LabelSet.of((f"l{number}", "") for number in count())
    assert refused.value.reason == "max_labels"
    assert LabelSet.of((f"l{number}", "") for number in range(MAX_GIVEN)).pairs == ()
