"""What verdicts teach: which changes are stricter, which are worth a trial, and how they are written."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.facts import START_MS, labels, policy

from quantum.domain.alerts import Alert, AlertState, Contributor
from quantum.domain.catalog import MAX_LESSONS, Catalog
from quantum.domain.errors import Conflict, NotFound, QuantumError, Rejected
from quantum.domain.facts import DeletePolicy, PutPolicy, TeachPolicy, UnteachPolicy
from quantum.domain.labels import LabelSet, Matcher, MatchOp
from quantum.domain.policies import (
    Absence,
    AlertPolicy,
    AnomalyScore,
    Comparison,
    Direction,
    PageBudget,
    RateOfChange,
    Severity,
    Threshold,
)
from quantum.domain.teaching import Evidence, Setting, Tightening, candidates, rounded, size_of, tightened, words_of

RARE = policy(condition=AnomalyScore(raise_at=0.5, clear_at=0.3))
ONLY_ABOVE = policy(condition=AnomalyScore(raise_at=0.5, clear_at=0.3, direction=Direction.ABOVE))
BUDGETED = policy(condition=PageBudget(pages=2, per_ms=604_800_000))
GONE = policy(condition=Absence(after_ms=60_000))
FAST = policy(condition=RateOfChange(op=Comparison.BELOW, window_ms=60_000, raise_at=-5.0, clear_at=-4.0))
LOW = policy(condition=Threshold(op=Comparison.BELOW, raise_at=5.0, clear_at=6.0))
PROOF = Evidence(
    start_ms=0,
    end_ms=1,
    alerts=1,
    alerts_after=0,
    removed=1,
    unwanted=1,
    unwanted_removed=1,
    confirmed=0,
    lost=(),
    unproven=0,
    delay_ms=0,
    pages=(),
)


def limit(value: float) -> Tightening:
    return Tightening(setting=Setting.RAISE_AT, value=value)


def side(one: Direction) -> Tightening:
    return Tightening(setting=Setting.DIRECTION, direction=one)


def aside(label: str, value: str, op: MatchOp = MatchOp.NOT_EQUAL) -> Tightening:
    return Tightening(setting=Setting.MATCHER, matcher=Matcher(label, op, value))


def alert(
    of: AlertPolicy = policy(),  # noqa: B008 - it is never changed
    *series: LabelSet,
    tipping_at: float | None = None,
    peak_at: float | None = None,
    held_ms: int | None = None,
    value: float = 1.0,
) -> Alert:
    shown = tuple(
        Contributor(slot=slot, series=one, at_ms=START_MS, value=value, expected=0.0, lower=0.0, upper=0.0, score=0.5)
        for slot, one in enumerate(series)
    )
    return Alert(
        id="1",
        policy_id=of.id,
        policy_name=of.name,
        policy_version=1,
        group=LabelSet(()),
        state=AlertState.RESOLVED,
        seq=3,
        severity=Severity.WARNING,
        summary="",
        reason="",
        pending_at_ms=START_MS,
        firing_at_ms=START_MS,
        resolved_at_ms=START_MS + 1000,
        changed_at_ms=START_MS + 1000,
        incident_id="i",
        breaching=1,
        peak_score=0.5,
        contributors=shown,
        condition=of.condition,
        tipping_at=tipping_at,
        peak_at=peak_at,
        held_ms=held_ms,
    )


@pytest.mark.parametrize(
    ("before", "change"),
    [
        (policy(), limit(90.0)),
        (policy(), limit(math.nan)),
        (policy(), limit(math.inf)),
        (policy(), limit(80.0)),
        (LOW, limit(5.5)),
        (RARE, limit(1.1)),
        (GONE, limit(99.0)),
        (policy(), Tightening(setting=Setting.AFTER_MS, value=99_000)),
        (GONE, Tightening(setting=Setting.AFTER_MS, value=60_000)),
        (GONE, Tightening(setting=Setting.AFTER_MS, value=1e18)),
        (policy(for_ms=2000), Tightening(setting=Setting.FOR_MS, value=2000)),
        (policy(), Tightening(setting=Setting.FOR_MS, value=1e18)),
        (policy(), Tightening(setting=Setting.FOR_MS, value=math.nan)),
        (policy(), side(Direction.ABOVE)),
        (RARE, side(Direction.EITHER)),
        (RARE, Tightening(setting=Setting.DIRECTION)),
        (ONLY_ABOVE, side(Direction.ABOVE)),
        (ONLY_ABOVE, side(Direction.BELOW)),
        (policy(), Tightening(setting=Setting.MATCHER)),
        (policy(), aside("host", "")),
        (policy(), aside("host", "a", MatchOp.EQUAL)),
        (replace(policy(), matchers=(*policy().matchers, Matcher("host", MatchOp.NOT_EQUAL, "a"))), aside("host", "a")),
    ],
)
def test_what_is_no_stricter_or_makes_no_sense_is_refused(before: AlertPolicy, change: Tightening) -> None:
    with pytest.raises(Rejected):
        tightened(before, change)


@pytest.mark.parametrize(
    ("before", "change", "words"),
    [
        (policy(), limit(91.5), "a limit of 91.5 instead of 90"),
        (LOW, limit(4.0), "a limit of 4 instead of 5"),
        (FAST, limit(-6.0), "a limit of -6 instead of -5"),
        (RARE, limit(0.75), "a limit of 0.75 instead of 0.5"),
        (
            GONE,
            Tightening(setting=Setting.AFTER_MS, value=90_000),
            "after a silence of 1 min 30 s instead of 1 min",
        ),
        (policy(), Tightening(setting=Setting.FOR_MS, value=5000), "only what holds for 5 s instead of at once"),
        (policy(for_ms=2000), Tightening(setting=Setting.FOR_MS, value=5000), "only what holds for 5 s instead of 2 s"),
        (RARE, side(Direction.ABOVE), "only what is above the expected, instead of either side"),
        (BUDGETED, side(Direction.BELOW), "only what is below the expected, instead of either side"),
        (policy(), aside("host", "a"), 'without the series with host!="a"'),
    ],
)
def test_a_change_is_said_in_words_and_nothing_else_of_the_policy_differs(
    before: AlertPolicy, change: Tightening, words: str
) -> None:
    after = tightened(before, change)
    assert words_of(before, change) == words
    assert after != before
    assert replace(after, condition=before.condition, for_ms=before.for_ms, matchers=before.matchers) == before
    with pytest.raises(Rejected):
        tightened(after, change)


@given(
    st.floats(-1e12, 1e12, allow_nan=False, allow_subnormal=False),
    st.floats(-1e12, 1e12, allow_nan=False, allow_subnormal=False),
)
def test_a_rounded_limit_is_never_milder_and_little_stricter(value: float, before: float) -> None:
    found, gap = rounded(value, before), value - before
    assert (found - value) * gap >= 0
    assert abs(found - value) <= 0.1 * abs(gap) * 1.001 + 1e-12 * abs(value)


def test_a_limit_that_is_infinitely_far_is_left_as_it_is() -> None:
    assert rounded(math.inf, 1.0) == math.inf
    assert rounded(3.0, 3.0) == 3.0
    assert rounded(1e308, -1e308) == 1e308


def test_limits_are_rounded_unless_that_would_lose_what_was_real() -> None:
    unwanted = [alert(tipping_at=93.21, peak_at=94.19)]
    free = [one.value for one in candidates(policy(), unwanted, [], [])]
    assert free == [93.3, 94.2]
    real = [alert(tipping_at=94.1911, peak_at=99.0)]
    assert [one.value for one in candidates(policy(), unwanted, real, [])] == [93.3, 94.19]


def test_the_strictest_that_keeps_what_was_real_is_tried_beside_the_strictest_of_all() -> None:
    unwanted = [alert(held_ms=4000), alert(held_ms=9000), alert(held_ms=30_000)]
    found = candidates(policy(), unwanted, [alert(held_ms=12_000)], [])
    assert found == tuple(Tightening(setting=Setting.FOR_MS, value=value) for value in (10_000, 31_000))


def test_scores_and_silences_have_candidates_and_no_score_is_above_one() -> None:
    assert [one.value for one in candidates(RARE, [alert(RARE, tipping_at=0.71, peak_at=0.71)], [], [])] == [0.72]
    assert [one.value for one in candidates(RARE, [alert(RARE, tipping_at=0.999, peak_at=1.0)], [], [])] == [1.0]
    gone = candidates(GONE, [alert(GONE, tipping_at=60_500.0, peak_at=70_000.0)], [], [])
    assert [(one.setting, one.value) for one in gone] == [(Setting.AFTER_MS, 61_000), (Setting.AFTER_MS, 71_000)]
    assert size_of(GONE, gone[1]) == 11_000


def test_alerts_of_another_kind_of_condition_say_nothing_of_a_limit() -> None:
    assert candidates(policy(), [alert(RARE, tipping_at=0.71, peak_at=0.71)], [], []) == ()
    # and what fired under a milder limit than there is now asks for nothing
    assert candidates(policy(), [alert(tipping_at=85.0, peak_at=86.0)], [], []) == ()
    assert candidates(BUDGETED, [alert(BUDGETED)], [], []) == ()


def test_what_was_unwanted_on_one_side_proposes_to_look_to_the_other_alone() -> None:
    low, high, even = (alert(BUDGETED, labels("cpu"), value=value) for value in (-1.0, 1.0, 0.0))
    assert candidates(BUDGETED, [low, low], [], []) == (side(Direction.ABOVE),)
    assert candidates(BUDGETED, [high], [], []) == (side(Direction.BELOW),)
    # a trial says which of the two spares more, and what each would lose
    assert candidates(BUDGETED, [low, high], [low], []) == (side(Direction.ABOVE), side(Direction.BELOW))
    assert candidates(BUDGETED, [even, alert(BUDGETED)], [], []) == ()
    assert size_of(BUDGETED, side(Direction.ABOVE)) == 0.0
    # a limit has no sides, and who looks to one side already has nothing more to learn of them
    for one in (policy(), ONLY_ABOVE):
        assert candidates(one, [alert(one, labels("cpu"), value=-1.0)], [], []) == ()


def test_of_labels_the_one_is_tried_that_all_unwanted_have_and_few_others() -> None:
    series = [labels("cpu", host=host, zone=zone) for host, zone in (("a", "x"), ("b", "x"), ("c", "y"), ("d", "y"))]
    unwanted = [alert(policy(), series[0]), alert(policy(), series[0])]
    assert candidates(policy(), unwanted, [], series) == (aside("host", "a"), aside("zone", "x"))
    # a confirmed alert has the zone too
    assert candidates(policy(), unwanted, [alert(policy(), series[1])], series) == (aside("host", "a"),)
    # leaving aside all that is watched is no proposal
    assert candidates(policy(), unwanted, [], series[:1]) == ()
    assert candidates(policy(), [alert(policy(), series[0], series[2])], [], series) == ()


# ---- lessons of the catalog ------------------------------------------------------------------------------------------


def taught(*limits: float) -> Catalog:
    catalog = Catalog()
    known = catalog.put_policy(PutPolicy(policy(), 0, "me"))
    for number, value in enumerate(limits):
        known = catalog.teach_policy(TeachPolicy(tightened(known, limit(value)), known.version, PROOF, "me"), number)
    return catalog


@given(st.lists(st.floats(90.5, 1e6), min_size=1, max_size=6, unique=True).map(sorted))
def test_lessons_are_taken_back_one_after_the_other_until_the_policy_is_as_it_was(limits: list[float]) -> None:
    catalog = taught(*limits)
    for left in reversed(range(len(limits))):
        assert len(catalog.lessons) == left + 1
        back = catalog.unteach_policy(UnteachPolicy("hot", None, "me"))
        assert len(catalog.lessons_of("hot")) == left
    assert replace(back, version=1) == policy()
    assert back.version == 1 + 2 * len(limits)


def test_no_more_lessons_are_remembered_than_can_be_kept() -> None:
    catalog = taught(*(91.0 + number for number in range(MAX_LESSONS + 2)))
    assert [one.at_ms for one in catalog.lessons] == list(range(2, MAX_LESSONS + 2))


def test_a_lesson_that_was_edited_over_is_not_taken_back_until_the_edit_is() -> None:
    catalog = taught(95.0)
    learnt = catalog.policies[0]
    catalog.put_policy(PutPolicy(replace(learnt, summary="edited"), None, "me"))
    with pytest.raises(Conflict, match="was edited after it learnt"):
        catalog.unteach_policy(UnteachPolicy("hot", None, "me"))
    catalog.put_policy(PutPolicy(learnt, None, "me"))
    assert replace(catalog.unteach_policy(UnteachPolicy("hot", None, "me")), version=1) == policy()


@pytest.mark.parametrize(
    ("act", "refusal"),
    [
        (lambda known: known.unteach_policy(UnteachPolicy("cold", None, "me")), NotFound),
        (lambda known: known.unteach_policy(UnteachPolicy("hot", 7, "me")), Conflict),
        (lambda known: known.teach_policy(TeachPolicy(policy("cold"), 1, PROOF, "me"), 0), NotFound),
        (lambda known: known.teach_policy(TeachPolicy(policy(for_ms=1000), 7, PROOF, "me"), 0), Conflict),
        (lambda known: known.teach_policy(TeachPolicy(known.policies[0], 2, PROOF, "me"), 0), Rejected),
    ],
)
def test_what_cannot_be_learnt_or_taken_back_is_refused_and_changes_nothing(
    act: object, refusal: type[QuantumError]
) -> None:
    catalog = taught(95.0)
    before = catalog.policies, catalog.lessons
    with pytest.raises(refusal):
        act(catalog)  # type: ignore[operator] # one of those above
    assert (catalog.policies, catalog.lessons) == before


def test_a_deleted_policy_takes_its_lessons_with_it() -> None:
    catalog = taught(95.0)
    catalog.delete_policy(DeletePolicy("hot", None, "me"))
    assert catalog.lessons == ()
