"""Evaluates a plan at every step of a query at once, over arrays.

The semantics are those of Prometheus 2 (its documentation, "Querying"): an instant selector sees the newest sample of
the last five minutes unless the series ended, windows include both their ends, rates are extrapolated.

>>> evaluator = Evaluator({}, np.array([0, 1000]), 0, 1000)
>>> evaluator.scalar(Binary("+", Number(1.0), Number(2.0))).tolist()
[3.0, 3.0]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn, cast

import numpy as np

from quantum.domain.errors import Rejected
from quantum.domain.presence import STALENESS_MARKER
from quantum.domain.promql import aggregations, functions, kernels, operators
from quantum.domain.promql.guard import USUAL, Guard
from quantum.domain.promql.plan import Aggregate, Binary, Call, Negative, Number, Selector, Subquery, Text
from quantum.domain.promql.tables import Ragged, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy import float64, int64
    from numpy.typing import NDArray

    from quantum.domain.promql.plan import Moment, Plan

LOOKBACK_MS: Final = 300_000
MAX_INNER_STEPS: Final = 200_000
"""How often a subquery may evaluate its expression."""


CompileGroups = Callable[[str], Callable[[str], Callable[[str], str] | None]]
"""Compiles a pattern to a function of a text: None if the whole text does not match, else what gives a group's text
by its number or name (empty if it took no part, or is not there)."""


def refuse_patterns(pattern: str) -> NoReturn:
    """Refuse a pattern: the domain has no engine of its own.

    Raises:
        Rejected: `bad_data`.
    """
    raise Rejected("bad_data", f"there is no engine for the regular expression {pattern[:80]!r}")


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of some series at each step.

    Attributes:
        first: int64 (series, steps), the first sample inside; `last` is one beyond the last.
        ends_ms: int64 (steps,), where the windows end.
        times_ms: int64 (steps,), the times of evaluation.
    """

    samples: Ragged
    first: NDArray[int64]
    last: NDArray[int64]
    ends_ms: NDArray[int64]
    times_ms: NDArray[int64]
    range_ms: int

    @property
    def there(self) -> NDArray[np.bool_]:
        """Which windows have a sample."""
        return self.last > self.first


class Evaluator:
    """Evaluates plans over samples that were fetched for them."""

    def __init__(
        self,
        samples: Mapping[int, Ragged],
        times_ms: NDArray[int64],
        start_ms: int,
        end_ms: int,
        compile_groups: CompileGroups = refuse_patterns,
        guard: Guard = USUAL,
    ) -> None:
        """Take what is needed.

        Args:
            samples: of each selector, by its key; more than needed does no harm.
            times_ms: ascending times of evaluation.
            start_ms: of the query, for `@ start()`.
            end_ms: of the query, for `@ end()`.
            compile_groups: for `label_replace`, of linear time.
            guard: of what this may cost.
        """
        self.times_ms: NDArray[int64] = times_ms
        self.compile_groups = compile_groups
        self.guard = guard
        self._samples = samples
        self._start_ms, self._end_ms = start_ms, end_ms

    # ---- kinds of values --------------------------------------------------------------------------------------

    def scalar(self, plan: Plan) -> NDArray[float64]:
        """Return the value of a scalar expression, shape (steps,)."""
        return cast("NDArray[float64]", self.value(plan))

    def table(self, plan: Plan) -> Table:
        """Return the value of a vector expression."""
        return cast("Table", self.value(plan))

    def value(self, plan: Plan) -> NDArray[float64] | Table | str:  # noqa: PLR0911 - one per kind of plan
        """Return the value of any expression but a range vector.

        Raises:
            Rejected: `execution` for what has no result or is too large, `bad_data` for what is not supported, or
                `timeout`.
        """
        self.guard.go_on()
        match plan:
            case Number():
                return np.full(len(self.times_ms), plan.value)
            case Text():
                return plan.value
            case Selector(range_ms=None):
                return self.newest(plan)[0]
            case Call():
                return functions.call(self, plan)
            case Aggregate():
                return self._aggregate(plan)
            case Binary():
                return self._binary(plan)
            case Negative():
                value = self.value(plan.expression)
                return value.mapped(-value.values) if isinstance(value, Table) else -cast("NDArray[float64]", value)
            case _:
                raise Rejected("bad_data", "a range vector is not allowed here")

    # ---- selectors --------------------------------------------------------------------------------------------

    def ends_ms(self, offset_ms: int, moment: Moment | None) -> NDArray[int64]:
        """Return the times that a selector looks back from."""
        if moment is None:
            return self.times_ms - offset_ms
        fixed = {"start": self._start_ms, "end": self._end_ms}.get(moment.at, moment.at)  # type: ignore[arg-type]
        return np.full(len(self.times_ms), int(fixed) - offset_ms)

    def newest(self, plan: Selector) -> tuple[Table, NDArray[int64]]:
        """Return the newest sample of each series at each step, and the times of these samples."""
        samples, ends_ms = self._samples[plan.key], self.ends_ms(plan.offset_ms, plan.moment)
        self.guard.room(len(samples.labels), len(ends_ms))
        first, last = kernels.find_windows(samples.at_ms, samples.bounds, ends_ms, LOOKBACK_MS)
        if not len(samples.values):
            return Table(samples.labels, np.zeros(first.shape), np.zeros(first.shape, np.bool_)), first
        rows = np.maximum(last - 1, 0)
        values = samples.values[rows]
        there = (last > first) & (values.view(np.uint64) != STALENESS_MARKER)
        return Table(samples.labels, values, there), samples.at_ms[rows]

    def windows(self, plan: Plan) -> Windows:
        """Return the windows of a range vector.

        Raises:
            Rejected: `execution`, because they are too many or have too many samples.
        """
        if isinstance(plan, Subquery):
            samples, range_ms = self._inner(plan), plan.range_ms
        else:
            plan = cast("Selector", plan)
            fetched, range_ms = self._samples[plan.key], cast("int", plan.range_ms)
            samples = fetched.keep(fetched.values.view(np.uint64) != STALENESS_MARKER)
        ends_ms = self.ends_ms(plan.offset_ms, plan.moment)
        self.guard.room(len(samples.labels), len(ends_ms))
        first, last = kernels.find_windows(samples.at_ms, samples.bounds, ends_ms, range_ms)
        self.guard.looks(float((last - first).sum()))
        return Windows(samples, first, last, ends_ms, self.times_ms, range_ms)

    def inner_times_ms(self, plan: Subquery) -> NDArray[int64]:
        """Return when a subquery evaluates its expression: at multiples of its step.

        Raises:
            Rejected: `execution`, because that is too often.
        """
        ends_ms = self.ends_ms(plan.offset_ms, plan.moment)
        if not len(ends_ms):
            return ends_ms
        first = -(-(int(ends_ms.min()) - plan.range_ms) // plan.step_ms)
        last = int(ends_ms.max()) // plan.step_ms
        if last - first >= MAX_INNER_STEPS:
            raise Rejected("execution", f"a subquery would have more than {MAX_INNER_STEPS} steps")
        return np.arange(first, last + 1, dtype=np.int64) * plan.step_ms

    def within(self, plan: Subquery) -> Evaluator:
        """Return the evaluator of a subquery's expression."""
        times_ms = self.inner_times_ms(plan)
        return Evaluator(self._samples, times_ms, self._start_ms, self._end_ms, self.compile_groups, self.guard)

    def _inner(self, plan: Subquery) -> Ragged:
        inner = self.within(plan)
        value = inner.table(plan.expression)
        rows, steps = np.nonzero(value.there)
        bounds = np.searchsorted(rows, np.arange(len(value.labels) + 1))
        return Ragged(value.labels, inner.times_ms[steps], value.values[rows, steps], bounds)

    # ---- operators and aggregations ---------------------------------------------------------------------------

    def _binary(self, plan: Binary) -> NDArray[float64] | Table:
        left, right = self.value(plan.left), self.value(plan.right)
        match left, right:
            case Table(), Table():
                if plan.op in operators.SETS:
                    return operators.combine_sets(plan.op, left, right, plan.matching)
                return operators.combine(plan, left, right, self.guard)
            case Table(), _:
                return operators.with_scalar(plan, left, cast("NDArray[float64]", right), scalar_is_left=False)
            case _, Table():
                return operators.with_scalar(plan, right, cast("NDArray[float64]", left), scalar_is_left=True)
        return operators.calculate(plan.op, cast("NDArray[float64]", left), cast("NDArray[float64]", right))

    def _aggregate(self, plan: Aggregate) -> Table:
        table = self.table(plan.expression)
        groups = aggregations.grouped(table, plan.labels, by=plan.by)
        if plan.op in aggregations.SIMPLE:
            return aggregations.simple(plan.op, table, groups)
        parameter = cast("Plan", plan.parameter)
        if plan.op == "count_values":
            name = cast("str", self.value(parameter))
            return aggregations.count_values(name, table, groups, self.guard)
        if plan.op == "quantile":
            return aggregations.quantiles(self.scalar(parameter), table, groups)
        if plan.op in ("topk", "bottomk"):
            found = aggregations.choose(self.scalar(parameter), table, groups, largest=plan.op == "topk")
            return functions.by_value(found, falling=plan.op == "topk")
        raise Rejected("bad_data", f"the aggregation {plan.op} is not supported")
