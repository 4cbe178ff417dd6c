"""Selectors in Prometheus notation."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum.domain.errors import Rejected
from quantum.domain.labels import NAME, Matcher, MatchOp
from quantum.domain.selectors import MAX_SELECTOR, parse_selector

names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True)
values = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\t"), max_size=12)


@given(names, st.lists(st.builds(Matcher, names, st.sampled_from(MatchOp), values), max_size=5))
def test_what_is_written_is_read_back(metric: str, matchers: list[Matcher]) -> None:
    text = f"{metric}{{{', '.join(map(str, matchers))}}}"
    assert parse_selector(text) == (Matcher(NAME, MatchOp.EQUAL, metric), *matchers)


def test_the_metric_name_may_be_left_out_and_so_may_the_braces() -> None:
    assert parse_selector(' {host="a",} ') == (Matcher("host", MatchOp.EQUAL, "a"),)
    assert parse_selector("node:cpu") == (Matcher(NAME, MatchOp.EQUAL, "node:cpu"),)


def test_escapes_are_those_of_prometheus() -> None:
    assert parse_selector(r'{a="\\\n\t\"\d"}')[0].value == '\\\n\t"\\d'


@pytest.mark.parametrize(
    "text",
    ["", "{}", "cpu{", "cpu}", "cpu host", "cpu{host}", 'cpu{host="a}', 'cpu{host="a"b="c"}', "1cpu", 'a{b=="c"}'],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(Rejected, match="selector"):
        parse_selector(text)


def test_selectors_are_bounded() -> None:
    with pytest.raises(Rejected, match="4096"):
        parse_selector("a" * (MAX_SELECTOR + 1))
    with pytest.raises(Rejected, match="cannot be read"):
        parse_selector("{" + ",".join(['a="b"'] * 21) + "}")


@given(st.text(max_size=200))
def test_any_text_is_either_read_or_refused(text: str) -> None:
    with suppress(Rejected):
        assert parse_selector(text)
