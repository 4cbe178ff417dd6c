"""Selectors in Prometheus notation: what is read, what is refused, and that written ones are read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum.domain.errors import Rejected
from quantum.domain.labels import NAME, Matcher, MatchOp
from quantum.domain.selectors import MAX_MATCHERS, MAX_SELECTOR, parse_selector

plain = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True)
values = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
matchers = st.builds(Matcher, plain, st.sampled_from(list(MatchOp)), values)


@given(plain, st.lists(matchers, max_size=5), st.sampled_from(["", ",", " , "]))
def test_what_is_written_is_read_back(name: str, wanted: list[Matcher], trailing: str) -> None:
    inner = ",".join(str(matcher) for matcher in wanted) + (trailing if wanted else "")
    assert parse_selector(f"{name}{{{inner}}}") == (Matcher(NAME, MatchOp.EQUAL, name), *wanted)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    try:
        outcome: object = parse_selector(text)
    except Rejected as refusal:
        outcome = refusal.reason == "selector" and str(refusal)
    assert outcome


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "{}",
        "{,}",
        "cpu{",
        "cpu}",
        'cpu{a="b"',
        'cpu{a="b"}x',
        'cpu{a="b"}{c="d"}',
        'cpu{a="b" c="d"}',
        "cpu{a=b}",
        'cpu{a=="b"}',
        'cpu{a="b}',
        'cpu{="b"}',
        'cpu{1a="b"}',
        "sum(cpu)",
        "cpu[5m]",
        "cpu offset 5m",
        "1e999",
        "a" * (MAX_SELECTOR + 1),
        "{" + ",".join(f'a{n}="b"' for n in range(MAX_MATCHERS + 1)) + "}",
        "(" * 4000,
    ],
)
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse_selector(text)
    assert refused.value.reason == "selector"


def test_escapes_are_those_of_prometheus() -> None:
    found = parse_selector(r'{a="x\"y\\z\n\t\d"}')
    assert found[0].value == 'x"y\\z\n\t\\d'


def test_a_metric_alone_and_labels_alone_are_selectors() -> None:
    assert parse_selector(" up ") == (Matcher(NAME, MatchOp.EQUAL, "up"),)
    assert parse_selector('{host!~"a|b"}') == (Matcher("host", MatchOp.NOT_REGEX, "a|b"),)
