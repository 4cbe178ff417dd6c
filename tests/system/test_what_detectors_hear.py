"""What detectors hear and cost on generated series, so that no change loses it; `test_nab.py` does so on real ones."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from quantum.cli import bench_peers
from quantum.cli.scenarios import Scenario, build_scenarios
from quantum.domain.detectors.robust_ensemble import RobustEnsemble
from quantum.domain.detectors.robust_seasonal import RobustSeasonal

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def own_scores(make: type[RobustEnsemble | RobustSeasonal], one: Scenario) -> NDArray[np.float64]:
    return make().score_and_learn(np.zeros(len(one.values), np.int64), one.at_ms, one.values).score


def least_cpu_s(action: Callable[[], object]) -> float:
    """Return the processor time of this thread for an action, the least of five: what others do adds nothing."""
    found = []
    for _ in range(5):
        begun_s = time.thread_time()
        action()
        found.append(time.thread_time() - begun_s)
    return min(found)


def test_at_equal_false_alarms_as_much_is_heard_as_soon_as_it_was() -> None:
    scenarios = [one for seed in bench_peers.SEEDS for one in build_scenarios(seed)]
    for make, least in ((RobustEnsemble, 0.8), (RobustSeasonal, 0.71)):
        curve = bench_peers.trade_off(scenarios, [own_scores(make, one) for one in scenarios])
        found = bench_peers.at_price(curve, 0.1)
        assert (found.heard >= least, found.rows) == (True, 1.0), make.name


def test_a_row_costs_no_more_beside_sorting_numbers_than_twice_what_it_did() -> None:
    """100,000 rows of one series took 1.9 times as long as sorting a million numbers; with the cheap one 0.46 times."""
    rng = np.random.default_rng(2)
    values, numbers = rng.normal(10.0, 1.0, 100_000), rng.normal(size=1_000_000)
    series = Scenario("noise", 1000 * np.arange(len(values)), values, ())
    sorting_s = least_cpu_s(lambda: np.sort(numbers, kind="stable"))
    for make, most in ((RobustEnsemble, 3.8), (RobustSeasonal, 0.92)):
        own_scores(make, series)
        assert least_cpu_s(partial(own_scores, make, series)) <= most * sorting_s, make.name
