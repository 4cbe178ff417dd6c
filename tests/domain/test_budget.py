"""Page budgets: as many pages as were allowed, never in the way of something large, and the same after a restart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.facts import START_MS, Log, labels, new_pipeline, policy

from quantum.cli.stationary import KINDS, draw
from quantum.domain.alerts import AlertState
from quantum.domain.budget import MOST_CUT, Budget
from quantum.domain.detectors.robust_seasonal import RobustSeasonal
from quantum.domain.facts import Heartbeat, PutPolicy, Samples
from quantum.domain.policies import PageBudget
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quantum.domain.alerts import Effects
    from quantum.domain.facts import Fact
    from quantum.domain.pipeline import Pipeline

DAY_MS: Final = 86_400_000
WEEKLY: Final = PageBudget(pages=2, per_ms=7 * DAY_MS)
STEP_MS: Final = 300_000
HALF_HOUR_MS: Final = 1_800_000
SERIES: Final = 1000
GROUPS: Final = np.arange(SERIES) // 10
NEWS: Final = np.ones(SERIES, np.bool_)


@dataclass
class Office:
    """A thousand series of a hundred hosts, every five minutes, and who was paged.

    Attributes:
        certainty: what the detector makes of a decade; more than one is too sure of itself.
    """

    chance: np.random.Generator
    certainty: float = 1.0
    budget: Budget | None = None
    pages: int = 0

    def step(self, extra: NDArray[np.float64] | None = None) -> set[int]:
        """Let five minutes pass; return the groups that are paged."""
        self.budget = self.budget or Budget()
        before = set(GROUPS[self.budget.active].tolist()) if len(self.budget.active) else set()
        score = np.minimum(1.0, -np.log10(self.chance.random(SERIES)) * self.certainty / 10)
        score = score if extra is None else np.maximum(score, extra)
        active = self.budget.update(WEEKLY, score, NEWS, GROUPS, SERIES / STEP_MS, STEP_MS)
        paged = set(GROUPS[active].tolist()) - before
        self.pages += len(paged)
        return paged

    def live(self, days: int) -> None:
        for _ in range(days * DAY_MS // STEP_MS):
            self.step()


def poisson_band(mean: float) -> tuple[int, int]:
    """Return the counts between which 95 of 100 Poisson draws lie."""
    below = np.cumsum([math.exp(-mean) * mean**count / math.factorial(count) for count in range(60)])
    return int(np.searchsorted(below, 0.025)), int(np.searchsorted(below, 0.975))


@pytest.mark.parametrize("certainty", [1.0, 1.3])
def test_thirty_ordinary_days_of_a_thousand_series_bring_as_many_pages_as_fair_draws(certainty: float) -> None:
    office = Office(np.random.default_rng(2026), certainty)
    office.live(30)
    low, high = poisson_band(WEEKLY.pages * 30 * DAY_MS / WEEKLY.per_ms)
    assert (low, high) == (3, 15)
    assert low <= office.pages <= high


def test_thirty_days_on_which_nothing_happens_to_a_thousand_series_bring_as_many_pages_through_the_detector() -> None:
    """Ten kinds of noise, two of which the detector takes for rarer than they are (docs/detection.md)."""
    chance, kinds, rows = np.random.default_rng(2026), list(KINDS), 30 * DAY_MS // HALF_HOUR_MS
    drawn = [draw(kinds[series % len(kinds)], chance, rows, DAY_MS // HALF_HOUR_MS) for series in range(SERIES)]
    detector, budget, slots, pages, before = RobustSeasonal(), Budget(), np.arange(SERIES), 0, set[int]()
    for row, values in enumerate(np.stack(drawn, axis=1)):
        score = detector.score_and_learn(slots, np.full(SERIES, START_MS + row * HALF_HOUR_MS), values).score
        active = budget.update(WEEKLY, score, NEWS, GROUPS, SERIES / HALF_HOUR_MS, HALF_HOUR_MS)
        after = set(GROUPS[active].tolist())
        pages, before = pages + len(after - before), after
    low, high = poisson_band(WEEKLY.pages * 30 * DAY_MS / WEEKLY.per_ms)
    assert low <= pages <= high


def spent_office() -> Office:
    """Return an office after two days in which the budget was spent several times over."""
    office = Office(np.random.default_rng(5))
    office.live(1)
    for host in range(6):
        extra = np.zeros(SERIES)
        extra[host * 10] = 1.0
        office.step(extra)
        office.step()
    office.live(1)
    assert office.budget is not None
    assert office.budget.spent > 2 * WEEKLY.pages
    return office


@pytest.mark.parametrize("how", ["one series very odd", "many series of a host odd", "every host odd"])
def test_something_large_pages_although_the_budget_is_spent(how: str) -> None:
    office, extra = spent_office(), np.zeros(SERIES)
    if how == "one series very odd":
        extra[505] = 0.96
    elif how == "many series of a host odd":
        extra[500:510] = 0.5
    else:
        extra[:] = 0.6
    paged = office.step(extra)
    assert (len(paged) == 100) if how == "every host odd" else (paged == {50})


def test_what_pages_while_nothing_was_spent_does_not_once_the_budget_is() -> None:
    extra = np.zeros(SERIES)
    extra[505] = 0.62
    fresh = Office(np.random.default_rng(5))
    fresh.live(1)
    assert 50 in fresh.step(extra)
    assert 50 not in spent_office().step(extra)


def test_a_budget_that_all_stretches_fit_in_lets_everything_beyond_one_in_a_thousand_page() -> None:
    budget, generous = Budget(), PageBudget(pages=1000, per_ms=3_600_000)
    score = np.array([0.31, 0.2])
    active = budget.update(generous, score, np.ones(2, np.bool_), np.arange(2), 2 / 60_000)
    assert active.tolist() == [True, False]


def test_series_that_say_nothing_keep_their_state() -> None:
    budget, one = Budget(), np.zeros(1, np.int64)
    say, nothing = np.ones(1, np.bool_), np.zeros(1, np.bool_)
    assert budget.update(WEEKLY, np.array([1.0]), say, one, 1e-3).all()
    assert budget.update(WEEKLY, np.array([0.0]), nothing, one, 1e-3).all()
    assert not budget.update(WEEKLY, np.array([0.0]), say, one, 1e-3).any()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_a_budget_goes_on_bit_for_bit_from_its_dump_and_the_cut_keeps_its_bounds(seed: int, split: int) -> None:
    chance = np.random.default_rng(seed)
    scores = chance.random((80, 6)) ** 3
    groups, news = np.array([0, 0, 1, 1, 2, 2]), np.ones(6, np.bool_)
    whole, parted = Budget(), Budget()
    for row, score in enumerate(scores):
        if row == split:
            dumped, active = parted.dump("b."), parted.active
            parted = Budget()
            parted.restore("b.", dumped, active)
        one = whole.update(WEEKLY, score, news, groups, 1e-4)
        other = parted.update(WEEKLY, score, news, groups, 1e-4)
        assert one.tolist() == other.tolist()
        assert (whole.cut, whole.spent) == (parted.cut, parted.spent)
        assert 0.0 < whole.cut <= MOST_CUT


# ---- in the pipeline ------------------------------------------------------------------------------------------------


def jumps() -> list[Fact]:
    """Return facts of two hosts under a budget: one jumps by eleven (a score of one) now and then."""
    log = Log()
    log.add(PutPolicy(policy(condition=WEEKLY), 0, "me"))
    for second in range(40):
        log.send({labels("cpu", host="a"): 11.0 * (second % 13 > 9), labels("cpu", host="b"): second % 3})
    log.add(Heartbeat(), 1000)
    return log.facts


def taken(pipeline: Pipeline, facts: list[Fact]) -> list[Effects]:
    return [pipeline.step(fact).effects for fact in facts]


def test_a_budget_pages_through_the_pipeline_and_a_restart_changes_nothing() -> None:
    facts = jumps()
    whole = new_pipeline()
    effects = taken(whole, facts)
    fired = [one for each in effects for one in each.transitions if one.after is AlertState.FIRING]
    assert len(fired) >= 2
    assert "once in about" in fired[0].reason
    assert 0.3 < whole.cut_score("hot") <= 0.95
    for split in (0, 1, 15, 30):
        first, second = new_pipeline(), new_pipeline()
        before = taken(first, facts[:split])
        state: Any = first.dump()
        second.restore(state, first.labels)
        assert before + taken(second, facts[split:]) == effects


def arrived(at_once: int) -> Pipeline:
    """Return a pipeline with a budget, after ten minutes of a sample a second that come so many at once."""
    log = Log()
    log.add(PutPolicy(policy(condition=WEEKLY), 0, "me"))
    for first in range(0, 600, at_once):
        log.at_ms += 1000 * at_once
        at_ms = [START_MS + 1000 * (first + row) for row in range(at_once)]
        log.add(
            Samples(SampleBatch.of([0] * at_once, at_ms, [5.0] * at_once), ((0, labels("cpu")),) if not first else ())
        )
    log.add(Heartbeat(), 1000)
    pipeline = new_pipeline()
    taken(pipeline, log.facts)
    return pipeline


def test_a_cut_follows_from_how_many_samples_there_are_and_not_from_how_they_arrive() -> None:
    """A minute's or ten minutes' samples at once were taken for one, and a new policy paged what comes all the time."""
    assert arrived(at_once=1).cut_score("hot") > 0.5
    assert arrived(at_once=60).cut_score("hot") == pytest.approx(arrived(at_once=1).cut_score("hot"), abs=0.02)
    assert arrived(at_once=600).cut_score("hot") == pytest.approx(arrived(at_once=1).cut_score("hot"), abs=0.02)


def test_a_policy_that_is_not_in_force_has_no_cut() -> None:
    assert np.isnan(new_pipeline().cut_score("hot"))
