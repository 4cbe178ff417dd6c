"""Retention: the first rule that matches decides, and the log is kept for the shortest term."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.facts import full_match, labels

from quantum.domain.errors import Rejected
from quantum.domain.labels import Matcher, MatcherCompiler, MatchOp
from quantum.domain.retention import MAX_RULES, WITH_THE_LOG, Retention, RetentionRule, Term

terms = st.builds(Term, st.integers(1, 1000), st.integers(1, 1000))
names = st.sampled_from("abcd")
rules = st.lists(st.tuples(names, terms), max_size=4)


def rule(name: str, term: Term) -> RetentionRule:
    return RetentionRule((Matcher("__name__", MatchOp.EQUAL, name),), term)


@given(usual=terms, chosen=rules, series=st.lists(names, max_size=8), split=st.integers(0, 8))
def test_the_first_rule_decides_whenever_a_series_is_met(
    usual: Term, chosen: list[tuple[str, Term]], series: list[str], split: int
) -> None:
    retention = Retention(usual, tuple(rule(*one) for one in chosen), MatcherCompiler(full_match))
    met = {slot: labels(name, host=str(slot)) for slot, name in enumerate(series)}
    retention.meet({slot: one for slot, one in met.items() if slot < split})
    retention.meet(met)
    expected = [next((term for name, term in chosen if name == one), usual) for one in series]
    shortest_ms = min(term.samples_ms for term in [usual, *(term for _, term in chosen)])
    assert retention.log_ms == shortest_ms
    assert retention.rollups_from_ms(5000).tolist() == [
        5000 - max(term.samples_ms, term.rollups_ms) for term in expected
    ]
    assert retention.samples_from_ms(5000).tolist() == [
        5000 - term.samples_ms if term.samples_ms > shortest_ms else WITH_THE_LOG for term in expected
    ]
    assert retention.is_longer_for_some == any(term.samples_ms > shortest_ms for term in expected)
    assert retention.is_the_same_for_all == (not chosen)


def test_there_are_not_too_many_rules() -> None:
    one = rule("a", Term(1, 1))
    with pytest.raises(Rejected, match="rule limit 100 reached: 101 rules"):
        Retention(Term(1, 1), (one,) * (MAX_RULES + 1), MatcherCompiler(full_match))
