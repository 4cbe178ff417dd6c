"""PromQL: what generated queries do not reach, and that compiled and plain code agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.facts import labels

from quantum.adapters.linear_patterns import groups_of
from quantum.adapters.promql_parser import parse_promql
from quantum.domain.errors import Rejected
from quantum.domain.promql import kernels
from quantum.domain.promql.evaluate import Evaluator
from quantum.domain.promql.guard import USUAL, Guard
from quantum.domain.promql.plan import Number, Selector, Subquery
from quantum.domain.promql.tables import Ragged, Table
from quantum.domain.promql.texts import number_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantum.domain.labels import LabelSet

ROWS = st.lists(
    st.lists(st.tuples(st.integers(0, 900), st.sampled_from([0.0, 1.0, 2.5, -3.0, np.nan, np.inf])), max_size=12),
    min_size=1,
    max_size=4,
)


def ragged(series: Mapping[LabelSet, list[tuple[int, float]]]) -> Ragged:
    rows = [row for one in series.values() for row in one]
    sizes = [0, *(len(one) for one in series.values())]
    at_ms, values = (np.array(column) for column in zip(*rows, strict=True)) if rows else (np.zeros(0), np.zeros(0))
    return Ragged(tuple(series), at_ms.astype(np.int64), values.astype(np.float64), np.cumsum(sizes))


def evaluate(
    text: str, series: Mapping[LabelSet, list[tuple[int, float]]], *times_ms: int, guard: Guard = USUAL
) -> Any:
    """Return the value of a query all of whose selectors have the same samples."""
    samples = {key: ragged(series) for key in range(5)}
    evaluator = Evaluator(samples, np.array(times_ms), times_ms[0], times_ms[-1], groups_of, guard)
    return evaluator.value(parse_promql(text))


def found(table: Table, step: int = 0) -> dict[str, float]:
    return {
        str(one): value
        for one, value, there in zip(
            table.labels, table.values[:, step].tolist(), table.there[:, step].tolist(), strict=True
        )
        if there
    }


def test_atan2_drops_the_metric_name_as_all_arithmetic() -> None:
    assert list(found(evaluate("up atan2 1", {labels("up", job="a"): [(0, 1.0)]}, 0))) == ['{job="a"}']


def test_series_that_would_be_one_in_the_result_are_refused() -> None:
    series = {labels("up", job="a", zone="x"): [(0, 1.0)], labels("up", job="a", zone="y"): [(0, 1.0)]}
    for text in ('label_replace(up, "zone", "", "", "")', 'sum(up) * on () group_right label_join(up, "zone", "")'):
        with pytest.raises(Rejected, match="same labelset"):
            evaluate(text, series, 0)
    with pytest.raises(Rejected, match="grouping labels must ensure unique matches"):
        evaluate("up * on (job) group_left (zone) max by (job) (up)", series, 0)
    with pytest.raises(Rejected, match="many-to-one matching must be explicit"):
        evaluate("up * on (job) max by (job) (up)", series, 0)


def test_series_that_take_turns_may_become_one() -> None:
    series = {labels("up", job="a", zone="x"): [(0, 1.0)], labels("up", job="a", zone="y"): [(400_000, 2.0)]}
    table = evaluate('label_replace(up, "zone", "", "", "")', series, 0, 400_000)
    assert (found(table, 0), found(table, 1)) == ({'up{job="a"}': 1.0}, {'up{job="a"}': 2.0})


def test_a_subquery_that_never_evaluates_its_expression_is_empty() -> None:
    series = {labels("up"): [(0, 1.0)]}
    text = "max_over_time(max_over_time(up[1m:1m])[1ms:1h])"
    assert found(evaluate(text, series, 5000)) == {}


def test_labels_are_replaced_in_linear_time_and_by_the_engine_alone() -> None:
    series = {labels("up", job="a" * 2000): [(0, 1.0)]}
    assert found(evaluate('label_replace(up, "job", "$1", "job", "(a+)+$")', series, 0)) == {
        str(labels("up", job="a" * 2000)): 1.0
    }
    with pytest.raises(Rejected, match="no engine"):
        Evaluator({0: ragged(series)}, np.array([0]), 0, 0).value(parse_promql('label_replace(up, "a", "", "b", "c")'))


def test_a_range_vector_is_no_value() -> None:
    evaluator = Evaluator({}, np.array([0]), 0, 0)
    with pytest.raises(Rejected, match="range vector"):
        evaluator.value(Subquery(Number(1.0), 1000, 1000))
    with pytest.raises(Rejected, match="range vector"):
        evaluator.value(Selector(0, (), range_ms=1000))


def test_counting_the_values_of_nothing_gives_nothing() -> None:
    assert found(evaluate('count_values("v", up)', {}, 0)) == {}


@pytest.mark.parametrize(
    ("text", "guard"),
    [
        ("up", Guard(max_cells=3)),
        ("max_over_time(up[1m])", Guard(max_cells=3)),
        ("max_over_time(up[1m])", Guard(max_looks=3)),
        ("max_over_time((1 + up)[1m:1s])", Guard(max_cells=50)),
        ("up + on () group_left () (up @ 0 and on () up)", Guard(max_cells=3)),
        ('count_values("v", up)', Guard(max_series=1)),
    ],
)
def test_what_is_too_large_is_refused_before_it_is_made(text: str, guard: Guard) -> None:
    series = {labels("up", job="a"): [(0, 1.0)], labels("up", job="b"): [(0, 2.0)]}
    with pytest.raises(Rejected, match="the limit is") as refused:
        evaluate(text, series, 0, 1000, guard=guard)
    assert refused.value.reason == "execution"


def test_an_evaluation_ends_between_parts_once_nobody_waits() -> None:
    answers = iter([False, True])
    with pytest.raises(Rejected) as refused:
        evaluate("1 + up", {labels("up"): [(0, 1.0)]}, 0, guard=Guard(is_over=lambda: next(answers)))
    assert refused.value.reason == "timeout"


def test_many_partners_of_one_match_are_counted_before_they_are_paired() -> None:
    series = {labels("up", job=str(number)): [(400_000 * number, 1.0)] for number in range(4)}
    steps = [400_000 * number for number in range(4)]
    assert len(evaluate("up * on () up", series, *steps).labels) == 1
    with pytest.raises(Rejected, match="16 series at 4 steps"):
        evaluate("up * on () up", series, *steps, guard=Guard(max_cells=16))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("clamp_min(up, NaN)", np.inf),
        ("clamp_max(-up, NaN)", -np.inf),
        ("clamp_max(up, NaN)", np.nan),
        ("clamp_min(up * 0, 3)", np.nan),
        ("clamp_max(up * 0, -Inf)", -np.inf),
        ("clamp(up, NaN, 5)", np.nan),
        ("clamp(up, 1, 5)", 5.0),
    ],
)
def test_an_infinity_is_beyond_what_is_no_number(text: str, value: float) -> None:
    np.testing.assert_equal(found(evaluate(text, {labels("up"): [(0, np.inf)]}, 0)), {"{}": value})


def test_an_average_does_not_overflow_and_infinities_stay() -> None:
    largest = float(np.finfo(np.float64).max)
    for numbers, average in (
        ([largest, largest], largest),
        ([np.inf, 1.0, np.inf], np.inf),
        ([1.0, -np.inf], -np.inf),
        ([np.inf, -np.inf], np.nan),
        ([np.inf, np.nan], np.nan),
    ):
        series = {labels("up", job=str(number)): [(0, value)] for number, value in enumerate(numbers)}
        np.testing.assert_equal(found(evaluate("avg(up)", series, 0)), {"{}": average})
        over_time = {labels("up"): [(number, value) for number, value in enumerate(numbers)]}
        np.testing.assert_equal(found(evaluate("avg_over_time(up[1m])", over_time, 10)), {"{}": average})


@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 2), st.lists(st.sampled_from([np.nan, np.inf, -1.0, 2.0, None]), min_size=3, max_size=3)
        ),
        max_size=8,
    )
)
def test_compiled_and_plain_folds_of_groups_agree_with_their_definitions(rows: list[Any]) -> None:
    ids = np.array([group for group, _ in rows], np.intp)
    there = np.array([[value is not None for value in row] for _, row in rows], np.bool_).reshape(-1, 3)
    values = np.array([[value or 0.0 for value in row] for _, row in rows], np.float64).reshape(-1, 3)
    order = np.argsort(ids, kind="stable")
    bounds = np.searchsorted(ids[order], np.arange(4))
    folds: dict[int, Any] = {
        kernels.SUM: np.sum,
        kernels.AVG: np.mean,
        kernels.MIN: np.fmin.reduce,
        kernels.MAX: np.fmax.reduce,
    }
    with np.errstate(all="ignore"):
        for kind in (*folds, kernels.STDVAR):
            arguments = (kind, ids, 3, values, there)
            out, count = kernels.fold_groups(*arguments)
            plain = kernels.fold_groups.py_func(*arguments)  # type: ignore[attr-defined]
            np.testing.assert_allclose((out, count), plain)
            for group, step in np.ndindex(3, 3):
                members = values[(ids == group) & there[:, step], step]
                assert count[group, step] == len(members)
                if len(members) and kind in folds:
                    np.testing.assert_allclose(out[group, step], folds[kind](members), atol=1e-12)
        share = np.array([0.0, 0.3, 1.0])
        arguments_of_quantiles = (share, order, bounds, values, there)
        out, known = kernels.group_quantiles(*arguments_of_quantiles)
        plain_out, plain_known = kernels.group_quantiles.py_func(*arguments_of_quantiles)  # type: ignore[attr-defined]
        np.testing.assert_allclose(out, plain_out)
        np.testing.assert_array_equal(known, plain_known)
        np.testing.assert_array_equal(known, count > 0)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (1e-5, "0.00001"),
        (1e-6, "0.000001"),
        (9.5e-7, "9.5e-07"),
        (1e20, "100000000000000000000"),
        (-1.5e21, "-1.5e+21"),
        (1e300, "1e+300"),
        (0.1 + 0.2, "0.30000000000000004"),
        (float("-inf"), "-Inf"),
    ],
)
def test_numbers_are_written_as_prometheus_writes_them(number: float, text: str) -> None:
    assert number_text(number) == text


@given(st.floats())
def test_a_written_number_is_read_back_as_it_was(number: float) -> None:
    read = float(number_text(number))
    assert read == number or (np.isnan(read) and np.isnan(number))


@given(rows=ROWS, range_ms=st.integers(0, 400), ends=st.lists(st.integers(-50, 1200), min_size=1, max_size=5))
def test_compiled_and_plain_kernels_agree(rows: list[list[tuple[int, float]]], range_ms: int, ends: list[int]) -> None:
    series = {labels(f"s{n}"): [*dict(sorted(one)).items()] for n, one in enumerate(rows)}
    samples, ends_ms = ragged(series), np.array(sorted(ends))
    windows = kernels.find_windows(samples.at_ms, samples.bounds, ends_ms, range_ms)
    first, last = windows
    for number, one in enumerate(series.values()):
        for step, end_ms in enumerate(ends_ms.tolist()):
            inside = [value for at_ms, value in one if end_ms - range_ms <= at_ms <= end_ms]
            low, high = first[number, step], last[number, step]
            np.testing.assert_array_equal(samples.values[low:high], inside)
    share = np.linspace(-0.1, 1.1, len(ends_ms))
    data = (samples.at_ms, samples.values, first, last)
    calls: list[tuple[Any, ...]] = [
        (kernels.find_bounds, np.repeat(np.arange(len(rows)), np.diff(samples.bounds))),
        (kernels.find_windows, samples.at_ms, samples.bounds, ends_ms, range_ms),
        *((kernels.extrapolate, *data, ends_ms, range_ms, is_counter) for is_counter in (0, 1)),
        *((kernels.last_change, *data, is_rate) for is_rate in (0, 1)),
        *((kernels.over_time, kind, *data, ends_ms, share) for kind in range(kernels.PREDICT + 1)),
        (kernels.quantile_over_time, share, samples.values, first, last),
        (kernels.smooth, np.full(len(ends), 0.3), np.full(len(ends), 0.6), samples.values, first, last),
    ]
    for kernel, *arguments in calls:
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(kernel(*arguments), kernel.py_func(*arguments), rtol=1e-9, atol=1e-9)


@given(st.lists(st.integers(0, 5), max_size=20))
def test_bounds_are_where_another_series_begins(slots: list[int]) -> None:
    distinct, first = np.unique(sorted(slots), return_index=True)
    bounds = kernels.find_bounds(np.array(sorted(slots), np.int64))
    assert bounds.tolist() == [*first.tolist(), len(slots)]
    assert len(bounds) == len(distinct) + 1


@given(
    counts=st.lists(st.integers(0, 20), min_size=2, max_size=6),
    share=st.floats(-0.2, 1.2),
)
def test_a_quantile_of_a_histogram_lies_in_the_bucket_of_its_rank(counts: list[int], share: float) -> None:
    edges = np.array([*range(1, len(counts)), np.inf])
    cumulative = np.cumsum(counts).astype(np.float64)[:, None]
    there = np.ones(cumulative.shape, np.bool_)
    arguments = (np.array([share]), edges, cumulative, there)
    value = float(kernels.bucket_quantiles(*arguments)[0])
    np.testing.assert_equal(kernels.bucket_quantiles.py_func(*arguments)[0], value)  # type: ignore[attr-defined]
    if not 0 <= share <= 1:
        assert value == (-np.inf if share < 0 else np.inf)
    elif not sum(counts) or (share == 0 and not counts[0]):
        assert np.isnan(value)
    else:
        bucket = int(np.searchsorted(cumulative[:-1, 0], share * sum(counts)))
        low = float(edges[bucket - 1]) if bucket else 0.0
        assert low <= value <= min(float(edges[bucket]), float(edges[-2]))


@given(ROWS, st.data())
def test_what_is_kept_of_some_samples_stays_with_its_series(
    rows: list[list[tuple[int, float]]], data: st.DataObject
) -> None:
    series = {labels("a", n=str(number)): one for number, one in enumerate(rows)}
    samples = ragged(series)
    kept = data.draw(st.lists(st.booleans(), min_size=len(samples.values), max_size=len(samples.values)))
    chosen = samples.keep(np.array(kept, np.bool_))
    choices = iter(kept)
    expected = ragged({name: [row for row in one if next(choices)] for name, one in series.items()})
    assert chosen.labels == expected.labels
    assert chosen.at_ms.tolist() == expected.at_ms.tolist()
    assert np.array_equal(chosen.values, expected.values, equal_nan=True)
    assert chosen.bounds.tolist() == expected.bounds.tolist()
