"""Detectors beside those of others: scored causally, compared at equal false alarms, and asked for when missing."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum.cli import CommandFailed, bench_peers, peers
from quantum.cli.scenarios import Scenario

MINUTE_MS = 60_000


def running_mean() -> peers.Streamed:
    seen: list[float] = []

    def step(value: float) -> float:
        seen.append(value)
        return abs(value - sum(seen) / len(seen))

    def fresh() -> object:
        seen.clear()
        return step

    return peers.Streamed(fresh)  # type: ignore[arg-type] # what is fresh is a step


def distance() -> peers.Refitted:
    return peers.Refitted(lambda points: lambda rows: np.abs(rows[:, -1] - points[:, -1].mean()))


@pytest.mark.parametrize("peer", [running_mean(), distance()], ids=["streamed", "refitted"])
@given(st.integers(1, 1300), st.integers(0, 2**32))
def test_scores_of_a_prefix_are_the_prefix_of_the_scores(peer: peers.Peer, cut: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=1300)
    assert np.array_equal(peer.scores(values[:cut]), peer.scores(values)[:cut])


def test_a_live_round_takes_in_as_many_rows_as_it_says() -> None:
    values = np.random.default_rng(1).normal(size=1300)
    for peer in (running_mean(), distance()):
        told = peer.live(values)()
        assert isinstance(told, list)
        assert len(told) == peers.LIVE_ROWS


def test_a_constant_series_has_a_scale() -> None:
    assert np.isfinite(distance().scores(np.full(300, 5.0))).all()


def test_what_is_not_installed_is_named_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyod" else object())
    with pytest.raises(CommandFailed, match=r"^PyOD must be installed to be compared with: `uv sync .*pip install"):
        peers.find_peers()


def story(events: tuple[tuple[int, int], ...], rows: int = 1440) -> Scenario:
    return Scenario("story", np.arange(rows) * MINUTE_MS, np.zeros(rows), events)


def test_false_alarms_are_counted_by_stretches_and_events_by_their_first_row() -> None:
    scores = np.zeros(1440)
    scores[100:102], scores[130:190], scores[503], scores[700] = 3.0, 3.0, 2.0, 1.0
    points = bench_peers.trade_off([story(((500, 510), (900, 905)))], [scores])
    strict, milder = points[0], points[1]
    assert (round(strict.price), strict.heard, strict.rows) == (4, 0.0, math.inf)
    assert (round(milder.price), milder.heard, milder.rows) == (4, 0.5, 4.0)
    assert round(points[2].price) == 5


def test_nobody_is_blamed_for_the_rows_after_an_event() -> None:
    scores = np.zeros(1440)
    scores[500:560] = 1.0
    (point, *_) = bench_peers.trade_off([story(((500, 510),))], [scores])
    assert (point.price, point.heard, point.rows) == (0.0, 1.0, 1.0)


def test_at_a_price_the_most_is_heard_and_of_equals_the_soonest() -> None:
    points = [bench_peers.Point(0.0, 0.2, 1.0), bench_peers.Point(0.1, 0.5, 9.0), bench_peers.Point(0.1, 0.5, 3.0)]
    assert bench_peers.at_price([*points, bench_peers.Point(0.2, 0.9, 1.0)], 0.1) == points[2]
    assert bench_peers.at_price([bench_peers.Point(5.0, 1.0, 1.0)], 0.1).heard == 0.0


def test_a_row_leaves_out_who_has_no_figure() -> None:
    row = bench_peers.make_row("m", "u", {"quantum": 2.0, "a": 4.0, "b": 0.0, "c": math.inf, "d": math.nan})
    assert row == {
        "measure": "m",
        "unit": "u",
        "quantum": 2.0,
        "rivals": {"a": 4.0, "b": 0.0},
        "ratios": {"a": 0.5},
        "targets": {},
    }
