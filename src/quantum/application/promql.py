"""PromQL queries: fetch what a plan needs, evaluate it aside, within limits."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.domain.errors import Rejected
from quantum.domain.promql import kernels
from quantum.domain.promql.evaluate import LOOKBACK_MS, Evaluator
from quantum.domain.promql.plan import Aggregate, Binary, Call, Negative, Selector, Subquery
from quantum.domain.promql.tables import Ragged, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from quantum.application.ports import SampleStore
    from quantum.domain.labels import LabelSet, Matcher, MatcherCompiler
    from quantum.domain.promql.evaluate import CompileGroups
    from quantum.domain.promql.plan import Plan

MAX_SAMPLES: Final = 50_000_000
"""How many samples one query may read, and how many results it may have."""
MAX_SERIES: Final = 50_000
MAX_STEPS: Final = 11_000
SLOTS_AT_ONCE: Final = 2000
END_MS: Final = 2**53
LONGEST_MS: Final = 100 * 366 * 86_400_000


@dataclass(frozen=True, slots=True)
class Answer:
    """The value of a query at its steps: a table, samples of windows, numbers of a scalar, or a text."""

    times_ms: np.ndarray
    value: Table | Ragged | np.ndarray | str


class PromQueries:
    """Answers PromQL over one tenant's samples."""

    def __init__(
        self,
        samples: SampleStore,
        labels: Callable[[], Mapping[int, LabelSet]],
        compile_matchers: MatcherCompiler,
        parse: Callable[[str], Plan],
        compile_groups: CompileGroups,
    ) -> None:
        """Take what is needed.

        Args:
            samples: the store.
            labels: returns the label sets of all series, by dense slots.
            compile_matchers: see there.
            parse: returns the plan of a text; raises Rejected `bad_data`.
            compile_groups: see there; raises Rejected `bad_data`.
        """
        self._samples = samples
        self._labels = labels
        self._compile = compile_matchers
        self._parse = parse
        self._compile_groups = compile_groups

    def warm_up(self) -> None:
        """Compile what evaluation needs, so that the first query does not wait for it."""
        kernels.warm_up()

    async def at(self, text: str, at_ms: int) -> Answer:
        """Return the value of a query at one time.

        Raises:
            Rejected: `bad_data` or `execution`.
        """
        plan = self._parse(text)
        times_ms = np.array([at_ms])
        if isinstance(plan, Selector | Subquery) and _is_range(plan):
            evaluator = await self._evaluator(plan, times_ms, at_ms)
            windows = await asyncio.to_thread(evaluator.windows, plan)
            samples, first, last = windows.samples, windows.first[:, 0], windows.last[:, 0]
            inside = np.zeros(len(samples.values), np.bool_)
            for low, high in zip(first.tolist(), last.tolist(), strict=True):
                inside[low:high] = True
            return Answer(times_ms, samples.keep(inside))
        return await self._answer(plan, times_ms, at_ms)

    async def between(self, text: str, start_ms: int, end_ms: int, step_ms: int) -> Answer:
        """Return the value of a query every `step_ms` from `start_ms` to at most `end_ms`.

        Raises:
            Rejected: `bad_data` or `execution`.
        """
        if end_ms < start_ms:
            raise Rejected("bad_data", "the end of a query must not be before its start")
        if (end_ms - start_ms) // step_ms >= MAX_STEPS:
            raise Rejected("bad_data", f"a query has at most {MAX_STEPS} steps: take larger ones")
        plan = self._parse(text)
        if isinstance(plan, Selector | Subquery) and _is_range(plan):
            raise Rejected("bad_data", "the expression of a range query must be a scalar or an instant vector")
        return await self._answer(plan, np.arange(start_ms, end_ms + 1, step_ms, dtype=np.int64), end_ms)

    async def series(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int | None, end_ms: int | None
    ) -> list[LabelSet]:
        """Return the label sets that match any selector (none: all) and have a sample in `[start_ms, end_ms]`.

        Without both times every series counts, whenever it had its samples.
        """
        labels = self._labels()
        tests = [self._compile(matchers) for matchers in selectors]
        slots = [slot for slot in range(len(labels)) if not tests or any(test(labels[slot]) for test in tests)]
        if start_ms is None and end_ms is None:
            return [labels[slot] for slot in slots]
        start_ms, end_ms = start_ms or 0, END_MS if end_ms is None else end_ms
        found: list[LabelSet] = []
        for at in range(0, len(slots), SLOTS_AT_ONCE):
            rows = await self._samples.samples(slots[at : at + SLOTS_AT_ONCE], start_ms, end_ms + 1)
            found += [labels[slot] for slot in np.unique(rows.slots).tolist()]
        return found

    # ---- evaluation -------------------------------------------------------------------------------------------

    async def _answer(self, plan: Plan, times_ms: np.ndarray, end_ms: int) -> Answer:
        evaluator = await self._evaluator(plan, times_ms, end_ms)
        return Answer(times_ms, await asyncio.to_thread(evaluator.value, plan))

    async def _evaluator(self, plan: Plan, times_ms: np.ndarray, end_ms: int) -> Evaluator:
        samples: dict[int, Ragged] = {}
        evaluator = Evaluator(samples, times_ms, int(times_ms[0]), end_ms, self._compile_groups)
        read = 0
        for selector, from_ms, to_ms in list(_needs(plan, evaluator)):
            samples[selector.key] = await self._fetch(selector, from_ms, to_ms)
            read += len(samples[selector.key].values)
            cells = len(samples[selector.key].labels) * len(times_ms)
            if max(read, cells) > MAX_SAMPLES:
                raise Rejected("execution", f"a query reads or returns at most {MAX_SAMPLES} samples")
        return evaluator

    async def _fetch(self, selector: Selector, start_ms: int, end_ms: int) -> Ragged:
        labels, test = self._labels(), self._compile(selector.matchers)
        slots = [slot for slot in range(len(labels)) if test(labels[slot])]
        if len(slots) > MAX_SERIES:
            raise Rejected("execution", f"a selector matches at most {MAX_SERIES} series; this one {len(slots)}")
        rows = await self._samples.samples(slots, start_ms, end_ms + 1)
        known, starts = np.unique(rows.slots, return_index=True)
        bounds = np.append(starts, len(rows)).astype(np.int64)
        return Ragged(tuple(labels[slot] for slot in known.tolist()), rows.at_ms, rows.values, bounds)


def _is_range(plan: Selector | Subquery) -> bool:
    return isinstance(plan, Subquery) or plan.range_ms is not None


def _needs(plan: Plan, evaluator: Evaluator) -> Iterator[tuple[Selector, int, int]]:
    """Yield every selector of a plan, and from when to when its samples are needed."""
    if isinstance(plan, Selector | Subquery):
        if max(plan.range_ms or 0, abs(plan.offset_ms)) > LONGEST_MS:
            raise Rejected("bad_data", "a range or an offset has at most 100 years")
        if isinstance(plan, Subquery):
            yield from _needs(plan.expression, evaluator.within(plan))
        else:
            yield plan, *_span(plan, evaluator)
    for one in _parts(plan):
        yield from _needs(one, evaluator)


def _span(plan: Selector, evaluator: Evaluator) -> tuple[int, int]:
    ends_ms = evaluator.ends_ms(plan.offset_ms, plan.moment)
    if not len(ends_ms):
        return 0, -1
    back_ms = LOOKBACK_MS if plan.range_ms is None else plan.range_ms
    return int(ends_ms.min()) - back_ms, int(ends_ms.max())


def _parts(plan: Plan) -> tuple[Plan, ...]:
    match plan:
        case Call():
            return plan.arguments
        case Aggregate():
            return (plan.expression,) if plan.parameter is None else (plan.expression, plan.parameter)
        case Binary():
            return plan.left, plan.right
        case Negative():
            return (plan.expression,)
    return ()
