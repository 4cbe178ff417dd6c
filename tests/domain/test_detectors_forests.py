"""Isolation forests as arrays: scikit-learn's scores, missing channels, what is refused, and what models hear."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import IsolationForest
from tests.facts import labels
from tests.models import COMPILER, HOSTS, STEP_MS, history, job, members, trained

from quantum.adapters.forest_training import flattened, train
from quantum.domain.detectors import forests
from quantum.domain.detectors import trained as at_work
from quantum.domain.detectors.forests import Forest, calibrate, forest_of, problem_of_forest, rarity, score_samples
from quantum.domain.detectors.trained import detector_of
from quantum.domain.errors import Rejected
from quantum.domain.labels import NAME, Matcher, MatchOp
from quantum.domain.models import Column, ModelKind, TrainedModel, check_model, check_name, check_shape

if TYPE_CHECKING:
    from quantum.domain.scoring import Scores
    from quantum.domain.series import SampleBatch


def grown(seed: int, rows: int, channels: int, trees: int = 20) -> tuple[IsolationForest, Forest, np.ndarray]:
    rng = np.random.default_rng(seed)
    data = (rng.standard_t(3, (rows, channels)) * rng.uniform(1e-3, 1e3, channels)).astype(np.float32)
    theirs = IsolationForest(n_estimators=trees, max_samples=min(256, rows), random_state=seed % 2**31).fit(data)
    return theirs, forest_of(**flattened(theirs)), data


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 600), st.integers(1, 9))
def test_scores_equal_those_of_scikit_learn(seed: int, rows: int, channels: int) -> None:
    theirs, ours, data = grown(seed, rows, channels)
    others = np.concatenate([data, data[:5] * 100.0, np.round(data[:20], 1)])
    assert np.abs(theirs.score_samples(others) - score_samples(ours, others)).max() < 1e-8


def slow_length(forest: Forest, node: int, row: np.ndarray) -> float:
    """Return the expected path length, by the definition."""
    feature, threshold, left, right = forest.nodes[node].tolist()
    if left == node:
        return float(forest.length[node])
    reading = row[feature]
    if not np.isnan(reading):
        return slow_length(forest, left if reading <= threshold else right, row)
    share = float(forest.weight[left] / forest.weight[node])
    return share * slow_length(forest, left, row) + (1.0 - share) * slow_length(forest, right, row)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_a_missing_channel_means_the_path_that_is_expected_over_both_branches(seed: int, channels: int) -> None:
    _, forest, data = grown(seed, 200, channels, trees=5)
    rows = data[:8].copy()
    for number, hidden in zip(range(8), product((False, True), repeat=channels), strict=False):
        rows[number, list(hidden)] = np.nan
    lengths = [np.mean([slow_length(forest, int(root), row) for root in forest.roots]) for row in rows]
    wanted = -(2.0 ** (-np.array(lengths) / forest.unit))
    assert np.allclose(score_samples(forest, rows), wanted, rtol=0.0, atol=1e-12)


def test_with_every_channel_missing_all_rows_are_equally_odd() -> None:
    _, forest, _ = grown(3, 300, 4)
    assert np.ptp(score_samples(forest, np.full((3, 4), np.nan, np.float32))) == 0.0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["normal", "equal", "exponential"]))
def test_rarity_never_falls_with_the_reading_and_tells_how_many_rows_are_beyond(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    readings = {
        "normal": abs(rng.normal(size=500)),
        "equal": np.full(500, 0.5),
        "exponential": rng.exponential(size=500),
    }
    knots = calibrate(readings[kind])
    grid = np.sort(np.concatenate([readings[kind], np.linspace(0.0, 50.0, 100)]))
    found = rarity(knots, grid)
    assert np.all(np.diff(found) >= 0.0)
    assert np.all(found >= 0.0)
    if kind != "equal":
        assert abs((rarity(knots, readings[kind]) >= 1.0).mean() - 0.1) < 0.01


FOREST: dict[str, Any] = {
    "feature": np.array([0, -1, 1, -1, -1], np.int16),
    "threshold": np.array([0.5, 0, 1.5, 0, 0], np.float32),
    "left": np.array([1, 0, 3, 0, 0], np.int32),
    "right": np.array([2, 0, 4, 0, 0], np.int32),
    "weight": np.array([9, 5, 4, 3, 1], np.int32),
    "roots": np.array([0], np.int32),
}


def problem(features: int = 2, *, empty: bool = False, **changed: Any) -> str:
    return problem_of_forest(**{**FOREST, **changed}, features=features, empty=empty)


def test_arrays_of_a_forest_are_found_good() -> None:
    assert problem() == ""


def chain(depth: int) -> dict[str, Any]:
    """Return a tree in which each left branch splits again."""
    count = 2 * depth + 1
    nodes = np.arange(depth)
    feature = np.full(count, -1, np.int16)
    left, right = np.zeros((2, count), np.int32)
    feature[:depth] = 0
    left[:depth], right[:depth] = nodes + 1, depth + 1 + nodes
    return {
        "feature": feature,
        "threshold": np.zeros(count, np.float32),
        "left": left,
        "right": right,
        "weight": np.full(count, 9, np.int32),
    }


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"left": FOREST["left"][:-1]}, "do not fit"),
        ({"empty": True}, "trees where it should not"),
        ({"roots": FOREST["roots"][:0]}, "or none"),
        ({"features": 1}, "asks for what is not there"),
        ({"weight": np.array([9, 5, 4, 3, 0], np.int32)}, "asks for what is not there"),
        ({"threshold": np.full(5, np.nan, np.float32)}, "asks for what is not there"),
        ({"left": np.array([0, 0, 3, 0, 0], np.int32)}, "leads back or nowhere"),
        ({"right": np.array([2, 0, 5, 0, 0], np.int32)}, "leads back or nowhere"),
        ({"roots": np.array([5], np.int32)}, "roots"),
        ({"roots": np.array([0, 2], np.int32)}, "roots"),
        ({"roots": np.array([4], np.int32)}, "roots"),
        (chain(forests.DEEPEST + 1), "too deep"),
    ],
)
def test_arrays_that_are_no_forest_are_told_apart(changed: dict[str, Any], complaint: str) -> None:
    assert complaint in problem(**changed)


def test_a_tree_as_deep_as_allowed_is_walked_even_with_nothing_known() -> None:
    tree = chain(forests.DEEPEST)
    assert problem(**tree) == ""
    forest = forest_of(**{**FOREST, **tree})
    assert np.isfinite(score_samples(forest, np.full((1, 1), np.nan, np.float32))).all()


# ---- models --------------------------------------------------------------------------------------------------------


def with_column(model: TrainedModel, name: str, array: np.ndarray) -> TrainedModel:
    columns = tuple(Column.of(name, array) if one.name == name else one for one in model.columns)
    return replace(model, columns=columns)


@pytest.mark.parametrize("kind", ModelKind)
def test_a_trained_model_is_found_good_and_a_changed_one_is_refused(kind: ModelKind) -> None:
    model = trained(kind).model
    assert check_model(model) is model
    first = model.columns[0]
    spoilt = "head" if kind is ModelKind.DEEP else "roots"
    for bad in (
        replace(model, columns=model.columns[1:]),
        replace(model, columns=(replace(first, data=first.data + b"x"), *model.columns[1:])),
        replace(model, columns=(replace(first, shape=(*first.shape, 1)), *model.columns[1:])),
        with_column(model, "raw", np.zeros(1)),
        with_column(model, "slope", np.array([np.nan])),
        with_column(model, "raw", model.knots.raw[::-1]),
        with_column(model, spoilt, np.array([10**6], np.int32)),
    ):
        with pytest.raises(Rejected, match="damaged"):
            check_model(bad)


def test_models_have_limits() -> None:
    model = trained(ModelKind.GROUPS).model
    for bad, reason in (
        (with_column(model, "raw", np.zeros(600_000)), "model_size"),
        (replace(model, channels=model.channels * 65), "model_size"),
        (replace(model, name="a b"), "model_name"),
        (replace(model, step_ms=10), "model_step"),
    ):
        with pytest.raises(Rejected) as caught:
            check_model(bad)
        assert caught.value.reason == reason


def test_names_and_shapes_are_checked() -> None:
    assert check_name("disk.v-2_x") == "disk.v-2_x"
    for name in ("", "x" * 101, "ä", "a/b"):
        with pytest.raises(Rejected):
            check_name(name)
    check_shape(ModelKind.PEERS, ("host",), 1000)
    for kind, by in (
        (ModelKind.WINDOWS, ("host",)),
        (ModelKind.PEERS, ()),
        (ModelKind.GROUPS, tuple("abcdefghi")),
        (ModelKind.GROUPS, ("a", "a")),
        (ModelKind.GROUPS, (NAME,)),
    ):
        with pytest.raises(Rejected):
            check_shape(kind, by, 60_000)


def test_equal_jobs_give_equal_models() -> None:
    assert train(job(ModelKind.WINDOWS), lambda *_: None) == trained(ModelKind.WINDOWS)


# ---- what models hear ----------------------------------------------------------------------------------------------


def heard(kind: ModelKind, batch: SampleBatch, model: TrainedModel | None = None) -> Scores:
    detector = detector_of(model or trained(kind).model, 1, COMPILER)
    for slot, one in enumerate(members()):
        detector.meet(slot, one)
    return detector.score_and_learn(batch.slots, batch.at_ms, batch.values)


def test_one_host_unlike_its_siblings_is_heard_in_the_next_frame_and_nobody_else_is() -> None:
    odd = {(step, 2): 25.0 for step in range(150, 160)}
    scores = heard(ModelKind.PEERS, history(200, seed=5, odd=odd)).score.reshape(200, -1)
    assert scores[151:156, 2].min() > 0.45
    others = np.delete(scores[151:156], 2, axis=1)
    assert others.max() < 0.45


def test_a_rhythm_that_all_siblings_share_is_no_news() -> None:
    batch = history(200, seed=6)
    together = batch.values.reshape(200, -1).copy()
    together[150:155] += 40.0
    batch = replace(batch, values=together.ravel())
    assert heard(ModelKind.PEERS, batch).score.reshape(200, -1)[150:156].max() < 0.45


def test_a_channel_that_parts_from_the_others_of_its_host_makes_that_host_the_oddest() -> None:
    batch = history(200, seed=7, odd={(150, 5): -2.0})  # load falls while cpu does not
    scores = heard(ModelKind.GROUPS, batch).score.reshape(200, -1)
    assert set(np.flatnonzero(scores[151] == scores[151].max())) == {4, 5}
    assert scores[151, 4] > 2 * np.median(scores[20:150])


def test_a_host_is_judged_by_the_channels_that_are_there() -> None:
    batch = history(200, seed=8)
    there = ~((batch.slots == 3) & (batch.at_ms >= batch.at_ms[0] + 100 * STEP_MS))
    scores = heard(ModelKind.GROUPS, batch.take(there))
    rows = batch.slots[there] == 2
    assert not np.isnan(scores.expected[rows][20:]).any()


def test_a_frame_of_long_ago_judges_nothing() -> None:
    batch = history(200, seed=9)
    later = batch.at_ms >= batch.at_ms[0] + 100 * STEP_MS
    for kind in (ModelKind.GROUPS, ModelKind.PEERS):
        moved = replace(batch, at_ms=batch.at_ms + later * 50 * STEP_MS)
        expected = heard(kind, moved).expected.reshape(200, -1)
        assert np.isnan(expected[100]).all()
        assert not np.isnan(expected[[99, 101]]).any()


def test_a_value_far_off_is_odder_than_any_before_to_the_forest_of_windows() -> None:
    scores = heard(ModelKind.WINDOWS, history(200, seed=10, odd={(150, 0): 60.0})).score.reshape(200, -1)
    assert scores[150, 0] > scores[64:150, 0].max()


def test_what_is_not_modelled_is_counted_by_reason() -> None:
    other = labels("disk", host="a")
    windows = detector_of(trained(ModelKind.WINDOWS).model, 1, COMPILER)
    assert windows.left_out() == {}
    windows.meet(0, members()[0])
    windows.meet(3, other)
    assert windows.left_out() == {at_work.ELSEWHERE: 3}
    groups = detector_of(trained(ModelKind.GROUPS).model, 1, COMPILER)
    for slot, one in enumerate((members()[0], other, labels("cpu"), labels("cpu", host="a", core="9"))):
        groups.meet(slot, one)
    assert groups.left_out() == {at_work.ELSEWHERE: 1, at_work.UNLABELLED: 1, at_work.UNKNOWN: 1}


def test_groups_and_their_number_have_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_work, "MAX_GROUPS", 1)
    peers = detector_of(trained(ModelKind.PEERS).model, 1, COMPILER)
    for slot in range(130):
        peers.meet(slot, labels("cpu", host=str(slot)))
    peers.meet(130, labels("load", host="a"))
    assert peers.left_out() == {at_work.FULL: 2, at_work.TOO_MANY: 1}
    assert peers.series_count == 131


def test_rows_of_series_that_were_never_met_have_no_opinion() -> None:
    batch = history(100)
    for kind in ModelKind:
        detector = detector_of(trained(kind).model, 1, COMPILER)
        scores = detector.score_and_learn(batch.slots, batch.at_ms, batch.values)
        assert not scores.score.any()
        assert np.isnan(scores.expected).all()
        assert len(detector.score_and_learn(batch.slots[:0], batch.at_ms[:0], batch.values[:0]).score) == 0


def test_a_state_of_other_parts_is_refused() -> None:
    detector = detector_of(trained(ModelKind.PEERS).model, 1, COMPILER)
    state = detector.dump()
    for bad in ({**state, "other.x": np.zeros(1)}, {k: v for k, v in state.items() if k.startswith("member")}):
        with pytest.raises(ValueError, match="not a state"):
            detector.restore(bad)


def test_a_model_may_be_for_few_series_only() -> None:
    model = replace(trained(ModelKind.WINDOWS).model, matchers=(Matcher("host", MatchOp.EQUAL, "a"),))
    expected = heard(ModelKind.WINDOWS, history(100), model).expected.reshape(100, -1)
    assert not np.isnan(expected[20:, :2]).any()
    assert np.isnan(expected[:, 2:]).all()
    assert len(HOSTS) > 1
