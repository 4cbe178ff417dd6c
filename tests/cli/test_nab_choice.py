"""How evidence is chosen on a labelled corpus: what is counted, and that what is left out has no say."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum.cli import CommandFailed
from quantum.cli.bench_detect import bench_nab, measure_leaving_out
from quantum.cli.nab import NO_WINDOW, PROFILES, score_corpus
from quantum.cli.nab_choice import (
    LADDER,
    LEVELS,
    Rows,
    candidates,
    choose_weights,
    gather,
    measure_choice,
    points_elsewhere,
    points_of,
    smoothed,
    sums_of,
)
from quantum.domain.detectors.onset import Onsets, evidence_of, weigh_rarities
from quantum.domain.detectors.robust_ensemble import EVIDENCE

if TYPE_CHECKING:
    from pathlib import Path

FILE_ROWS: Final = 1200
EVENTS: Final = (500, 900)
MINUTE_MS: Final = 60_000
FOLDERS: Final = ("a", "b", "c")


def make_files(seed: int, hearing: dict[str, int]) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return two files a folder with three signs, one of which hears the events of its folder; all have noise."""
    rng, files = np.random.default_rng(seed), {}
    for folder, sign in hearing.items():
        for number in range(2):
            rarities = rng.exponential(0.3, (FILE_ROWS, 3))
            for event in EVENTS:
                rarities[event : event + 5, sign] += rng.uniform(3.0, 6.0)
            at_ms = np.arange(FILE_ROWS) * MINUTE_MS
            files[f"{folder}/{number}.csv"] = at_ms, rarities, np.arange(FILE_ROWS, dtype=np.float64)
    return files


WINDOWS: Final = {
    f"{folder}/{number}.csv": [((event - 20) * MINUTE_MS, (event + 30) * MINUTE_MS) for event in EVENTS]
    for folder in FOLDERS
    for number in range(2)
}
EQUAL: Final = np.ones(3)


def rows_of(seed: int, hearing: dict[str, int] | None = None) -> Rows:
    return gather(make_files(seed, hearing or {"a": 0, "b": 0, "c": 0}), WINDOWS)


def sums_of_equal(rows: Rows) -> np.ndarray:
    sums: np.ndarray = sums_of(rows, EQUAL[None])[0].astype(np.float64)
    return sums


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32))
def test_the_points_at_each_threshold_are_those_of_the_benchmark(seed: int) -> None:
    rows = rows_of(seed)
    points = points_of(sums_of_equal(rows).sum(axis=0), int(rows.windows.sum()))
    evidence = weigh_rarities(rows.rarities, rows.rows, evidence_of(EQUAL, EVIDENCE.power, EVIDENCE.cap))
    told = Onsets().decide(rows.slots, evidence)
    files = make_files(seed, {"a": 0, "b": 0, "c": 0})
    for level in (0, 40, 80, 120):
        # of scores that are 0 or 1 the benchmark takes the better of nothing detected, for 0 points, and this threshold
        detected = {name: (told[rows.slots == number] >= LEVELS[level]) * 1.0 for number, name in enumerate(WINDOWS)}
        exact = score_corpus({name: file[0] for name, file in files.items()}, detected, WINDOWS)
        assert [max(0.0, one) for one in points[level]] == pytest.approx([exact[one] for one in PROFILES], abs=0.006)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32))
def test_what_categories_earn_apart_adds_up_to_what_they_earn_together(seed: int) -> None:
    rows = rows_of(seed)
    sums = sums_of_equal(rows)
    whole = points_of(sums.sum(axis=0), int(rows.windows.sum()))
    assert points_of(sums, int(rows.windows.sum())).sum(axis=0) == pytest.approx(whole)
    level = int(smoothed(whole).argmax(axis=0)[0])
    assert smoothed(whole)[level, 0] == pytest.approx(whole[level : level + 11, 0].mean())


def test_the_sign_that_hears_has_the_greatest_weight() -> None:
    (weights,) = choose_weights(rows_of(1), [np.ones(3, np.bool_)])
    assert weights[0] > 3.0 * weights[1:].max()


def test_a_category_that_is_left_out_has_no_say() -> None:
    training = np.array([True, True, False])
    rows = rows_of(2, {"a": 0, "b": 0, "c": 2})
    other = rows.rarities.copy()
    other[rows.groups == 2] = 2.0 * other[rows.groups == 2][:, ::-1]
    chosen = [choose_weights(one, [training, ~training]) for one in (rows, replace(rows, rarities=other))]
    assert chosen[0][0].tolist() == chosen[1][0].tolist()
    assert chosen[0][1].tolist() != chosen[1][1].tolist()


def test_a_choice_of_others_is_worth_less_where_another_sign_hears() -> None:
    found = measure_choice(rows_of(4, {"a": 0, "b": 0, "c": 2}), EQUAL)
    worth = {
        name: float(str(found[f"{name}_standard"])) for name in ("chosen_on_all", "weights_and_threshold_of_others")
    }
    assert worth["weights_and_threshold_of_others"] < worth["chosen_on_all"] - 5.0
    alike = measure_choice(rows_of(4), EQUAL)
    assert float(str(alike["weights_and_threshold_of_others_standard"])) >= 90.0


def test_thresholds_of_others_are_applied_as_they_are() -> None:
    rows = rows_of(5)
    sums, training = sums_of_equal(rows), np.array([True, True, False])
    known = smoothed(points_of(sums[training].sum(axis=0), int(rows.windows[training].sum())))
    levels = known.argmax(axis=0) + 5
    whole = points_of(sums[2], int(rows.windows.sum()))
    assert points_elsewhere(rows, sums, training).tolist() == [whole[level, n] for n, level in enumerate(levels)]


def test_rows_of_the_probation_are_in_no_window_and_windows_in_it_are_not_counted() -> None:
    windows = {name: [(0, 10 * MINUTE_MS), *pairs] for name, pairs in WINDOWS.items()}
    rows = gather(make_files(6, {"a": 0, "b": 0, "c": 0}), windows)
    assert rows.windows.tolist() == [4, 4, 4]
    assert set(rows.window.tolist()) == {-2, NO_WINDOW, *range(12)}
    assert (rows.window == -2).sum() == 6 * 180


def test_candidates_are_always_the_same_and_give_every_sign_every_weight_and_none_no_weight_at_all() -> None:
    tried = candidates(2)
    assert np.array_equal(tried, candidates(2))
    assert {tuple(one) for one in tried.tolist()} == set(itertools.product(LADDER, LADDER)) - {(0.0, 0.0)}


def test_files_without_labels_and_a_choice_without_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"the labels do not know a/0\.csv"):
        gather(make_files(7, {"a": 0}), {})
    with pytest.raises(CommandFailed, match="--leave-out needs --labels"):
        bench_nab(corpus=tmp_path, leave_out=True)


def test_the_command_tells_what_is_chosen_without_each_category(tmp_path: Path) -> None:
    begin, rng = datetime(2026, 1, 5, tzinfo=UTC), np.random.default_rng(8)
    for folder in FOLDERS:
        (tmp_path / "data" / folder).mkdir(parents=True)
        values = rng.normal(10.0, 1.0, FILE_ROWS)
        values[900:920] += 30.0
        lines = [f"{begin + timedelta(minutes=row):%Y-%m-%d %H:%M:%S},{one:.3f}" for row, one in enumerate(values)]
        (tmp_path / "data" / folder / "0.csv").write_text("\n".join(["timestamp,value", *lines]), encoding="utf-8")
    times = [f"{begin + timedelta(minutes=row):%Y-%m-%d %H:%M:%S}" for row in (890, 950)]
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps({f"{folder}/0.csv": [times] for folder in FOLDERS}), encoding="utf-8")
    found = measure_leaving_out(tmp_path / "data", labels)
    assert [name for name in found if name.startswith("weights_without_")] == [
        f"weights_without_{one}" for one in FOLDERS
    ]
    assert float(str(found["weights_and_threshold_of_others_standard"])) > 80.0
