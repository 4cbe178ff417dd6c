"""Coverage: who gets which detector is decided by rules, then by order of appearance, and never forgotten."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.facts import full_match, labels

from quantum.domain.coverage import MAX_RULES, Allotment, Coverage, CoverageRule, Tier
from quantum.domain.errors import Rejected
from quantum.domain.labels import LabelSet, MatcherCompiler
from quantum.domain.selectors import parse_selector

COMPILER = MatcherCompiler(full_match)


def rule(selector: str, tier: Tier) -> CoverageRule:
    return CoverageRule(parse_selector(selector), tier)


def met(allotment: Allotment, *series: LabelSet) -> Coverage:
    coverage = Coverage(allotment, COMPILER)
    coverage.meet_all(dict(enumerate(series)))
    return coverage


def test_the_first_series_get_the_full_detector_and_the_rest_the_cheap_one() -> None:
    coverage = met(Allotment(full_series=2), *(labels("cpu", host=host) for host in "abc"))
    assert [coverage.tier(slot) for slot in range(3)] == [Tier.FULL, Tier.FULL, Tier.CHEAP]
    assert coverage.reason(0) == "within full_series"
    assert coverage.reason(2) == "full_series limit 2 reached"


def test_the_first_rule_that_matches_decides_whatever_the_limit_says() -> None:
    rules = (rule('cpu{host="a"}', Tier.FULL), rule("cpu", Tier.NONE), rule('{host=~".*"}', Tier.CHEAP))
    coverage = met(Allotment(0, rules), labels("cpu", host="a"), labels("cpu", host="b"), labels("disk"))
    assert coverage.counts() == {"full": 1, "cheap": 1, "none": 1}
    assert coverage.reason(0) == 'rule 1: {__name__="cpu", host="a"}'
    assert coverage.reason(1) == 'rule 2: {__name__="cpu"}'


def test_a_series_that_a_rule_gave_the_full_detector_counts_toward_the_limit() -> None:
    coverage = met(Allotment(1, (rule("cpu", Tier.FULL),)), labels("cpu"), labels("disk"))
    assert coverage.tier(1) is Tier.CHEAP


def test_a_series_that_a_rule_took_away_leaves_its_place_to_the_next() -> None:
    coverage = met(Allotment(1, (rule("cpu", Tier.NONE),)), labels("cpu"), labels("disk"))
    assert coverage.tier(1) is Tier.FULL


def test_what_makes_no_sense_is_refused_with_the_limit() -> None:
    with pytest.raises(Rejected, match="full_series is 0 or more, not -1"):
        Coverage(Allotment(-1), COMPILER)
    with pytest.raises(Rejected, match=f"rule limit {MAX_RULES} reached: {MAX_RULES + 1} rules"):
        Coverage(Allotment(1, (rule("cpu", Tier.NONE),) * (MAX_RULES + 1)), COMPILER)
    with pytest.raises(Rejected):
        Coverage(Allotment(1, (rule('cpu{host=~"("}', Tier.NONE),)), COMPILER)


names = st.sampled_from(["cpu", "disk", "net"])
rules_of = st.lists(st.tuples(names, st.sampled_from(Tier)), max_size=4)


@settings(deadline=None)
@given(st.lists(names, max_size=20), rules_of, st.integers(0, 20))
def test_the_same_series_in_the_same_order_get_the_same_tiers_and_the_limit_holds(
    seen: list[str], wanted: list[tuple[str, Tier]], full_series: int
) -> None:
    allotment = Allotment(full_series, tuple(rule(name, tier) for name, tier in wanted))
    series = [labels(name, number=str(number)) for number, name in enumerate(seen)]
    coverage, again = met(allotment, *series), Coverage(allotment, COMPILER)
    tiers = [again.meet(slot, one) for slot, one in enumerate(series)]
    assert coverage.tiers.tolist() == tiers
    ruled = {name for name, _ in wanted}
    assert sum(coverage.tier(slot) is Tier.FULL for slot, name in enumerate(seen) if name not in ruled) <= full_series
