"""Postings: they find what trying every series would find."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from quantum.domain.labels import LabelSet, Matcher, MatcherCompiler, MatchOp
from quantum.domain.promql.postings import QUICK, Postings

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = st.sampled_from(["__name__", "job", "zone"])
VALUES = st.sampled_from(["", "a", "b", "ab"])
LABELS = st.lists(st.dictionaries(NAMES, VALUES).map(LabelSet.of), max_size=12, unique=True)
MATCHERS = st.lists(
    st.builds(Matcher, NAMES, st.sampled_from(MatchOp), st.sampled_from(["", "a", "b", "x", "a|b", ".*", "a.*", "a?"])),
    max_size=4,
)


def full_match(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda value: compiled.fullmatch(value) is not None


@given(series=LABELS, matchers=MATCHERS, cut=st.integers(0, 12))
def test_they_find_what_trying_every_series_would_find(
    series: list[LabelSet], matchers: list[Matcher], cut: int
) -> None:
    postings, compiler = Postings(), MatcherCompiler(full_match)
    for some in (series[:cut], series[cut:]):
        postings.extend(some)
    test = compiler(matchers)
    assert len(postings) == len(series)
    assert postings.find(matchers, compiler).tolist() == [slot for slot, one in enumerate(series) if test(one)]


def test_a_pattern_is_tried_once_for_each_value_however_many_series_have_it() -> None:
    postings = Postings()
    tried: list[str] = []
    postings.extend([LabelSet.of({"job": "a", "number": str(number)}) for number in range(1000)])

    def counted(pattern: str) -> Callable[[str], bool]:
        def test(value: str) -> bool:
            tried.append(value)
            return value == pattern

        return test

    found = postings.find([Matcher("job", MatchOp.REGEX, "a")], MatcherCompiler(counted))
    assert (len(found), sorted(tried)) == (1000, ["", "a"])


def test_short_lists_of_plain_values_are_quick_to_find() -> None:
    postings = Postings()
    postings.extend([LabelSet.of({"job": "a", "number": str(number)}) for number in range(QUICK)])
    one = Matcher("number", MatchOp.EQUAL, "5")
    assert postings.is_quick([one])
    assert postings.is_quick([one, Matcher("zone", MatchOp.EQUAL, "nowhere")])
    assert not postings.is_quick([one, Matcher("job", MatchOp.EQUAL, "a")])
    assert not postings.is_quick([])
    assert not postings.is_quick([one, Matcher("job", MatchOp.EQUAL, "")])
    assert not postings.is_quick([one, Matcher("job", MatchOp.REGEX, "a")])
