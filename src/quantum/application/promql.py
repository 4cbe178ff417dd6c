"""PromQL queries: find series by an index, fetch what a plan needs, evaluate it aside, within limits.

Everything that grows with the number of series or samples happens in threads. A query that times out, or whose asker
has gone, stops at the next part of its plan.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeGuard, TypeVar

import numpy as np

from quantum.application.older import Rewriting, read_source
from quantum.domain.errors import Rejected
from quantum.domain.promql import kernels
from quantum.domain.promql.evaluate import LOOKBACK_MS, Evaluator
from quantum.domain.promql.guard import Guard
from quantum.domain.promql.plan import Aggregate, Binary, Call, Negative, Selector, Subquery, Text
from quantum.domain.promql.postings import Postings
from quantum.domain.promql.tables import Ragged, Table
from quantum.domain.rollups import RESOLUTIONS_MS
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from quantum.application.older import Source
    from quantum.application.ports import RollupStore, SampleStore
    from quantum.domain.labels import LabelSet, Matcher, MatcherCompiler
    from quantum.domain.promql.evaluate import CompileGroups
    from quantum.domain.promql.plan import Plan

    Slots = NDArray[np.int64]
    Times = NDArray[np.int64]

MAX_SAMPLES: Final = 50_000_000
"""How many samples one query may read."""
MAX_ANSWER: Final = 5_000_000
"""How many values one answer may have: some 150 MB of text."""
MAX_SERIES: Final = 50_000
MAX_STEPS: Final = 11_000
MAX_TIMEOUT_MS: Final = 120_000
AT_ONCE: Final = 4
"""How many queries are worked on at the same time; others wait their turn."""
ROWS_AT_ONCE: Final = 10_000_000
"""How many rows a read of the store is to have at most, if its series have one a second."""
END_MS: Final = 2**53
UNHEARD_MS: Final = np.iinfo(np.int64).min
"""Stands for the newest time of a series of which none is known."""
LONGEST_MS: Final = 100 * 366 * 86_400_000
SHORT: Final = 40_000
"""An answer of fewer samples and values, without calculation, takes less than a millisecond."""
KEPT_PLANS: Final = 500
LONG_TEXT: Final = 2000
"""Plans of so many texts are kept, of none with so many characters: dashboards ask the same again and again."""
FEW_SERIES: Final = 1000
"""So many new series are put into the index at once."""

Finished = TypeVar("Finished")


@dataclass(frozen=True, slots=True)
class Answer:
    """The value of a query at its steps: a table, samples of windows, numbers of a scalar, or a text.

    Attributes:
        notes: what the asker is to be told about it.
    """

    times_ms: np.ndarray
    value: Table | Ragged | np.ndarray | str
    notes: tuple[str, ...] = ()


class PromQueries:
    """Answers PromQL over one tenant's samples."""

    def __init__(
        self,
        samples: SampleStore,
        rollups: RollupStore,
        labels: Callable[[], Mapping[int, LabelSet]],
        newest_ms: Callable[[], NDArray[np.int64]],
        compile_matchers: MatcherCompiler,
        parse: Callable[[str], Plan],
        compile_groups: CompileGroups,
        with_data: Callable[[Slots], Slots] = lambda slots: slots,
    ) -> None:
        """Take what is needed.

        Args:
            samples: the store.
            rollups: what it keeps longer.
            labels: returns the label sets of all series, by dense slots.
            newest_ms: returns the time of the newest sample of each series by slot, UNHEARD_MS where it is not known;
                the last few may lack.
            compile_matchers: see there.
            parse: returns the plan of a text; raises Rejected `bad_data`.
            compile_groups: see there; raises Rejected `bad_data`.
            with_data: returns those of some series that have anything stored.
        """
        self._with_data = with_data
        self._samples = samples
        self._rollups = rollups
        self._labels = labels
        self._compile = compile_matchers
        self._parse = parse
        self._parse_again = lru_cache(KEPT_PLANS)(parse)
        self._compile_groups = compile_groups
        self._newest_ms = newest_ms
        self._postings = Postings()
        self._indexing = threading.Lock()
        self._turns = asyncio.Semaphore(AT_ONCE)

    def warm_up(self) -> None:
        """Compile what evaluation needs, so that the first query does not wait for it."""
        kernels.warm_up()

    async def at(
        self, text: str, at_ms: int, finish: Callable[[Answer], Finished], timeout_ms: int | None = None
    ) -> Finished:
        """Return what is made of the value of a query at one time.

        Args:
            text: the query.
            at_ms: the time.
            finish: is given the answer in a thread, where it may take its time; a short one at once.
            timeout_ms: how long all of it may take.

        Raises:
            Rejected: `bad_data`, `execution` or `timeout`.
        """
        return await self._answer(self._plan(text), np.array([at_ms]), finish, timeout_ms)

    async def between(
        self,
        text: str,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        finish: Callable[[Answer], Finished],
        timeout_ms: int | None = None,
    ) -> Finished:
        """Return what is made of the value of a query every `step_ms` from `start_ms` to at most `end_ms`; see `at`.

        Raises:
            Rejected: `bad_data`, `execution` or `timeout`.
        """
        if end_ms < start_ms:
            raise Rejected("bad_data", "the end of a query must not be before its start")
        if (end_ms - start_ms) // step_ms >= MAX_STEPS:
            raise Rejected("bad_data", f"a query has at most {MAX_STEPS} steps: take larger ones")
        plan = self._plan(text)
        if _is_range(plan) or isinstance(plan, Text):
            raise Rejected("bad_data", "the expression of a range query must be a scalar or an instant vector")
        times_ms = np.arange(start_ms, end_ms + 1, step_ms, dtype=np.int64)
        return await self._answer(plan, times_ms, finish, timeout_ms, end_ms)

    async def series(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int | None, end_ms: int | None
    ) -> list[LabelSet]:
        """Return the label sets that match any selector (none: all) and have a sample in `[start_ms, end_ms]`.

        Without both times every series counts, whenever it had its samples.

        Raises:
            Rejected: `regex`.
        """
        slots = await asyncio.to_thread(self._any_of, selectors or [()])
        if start_ms is not None or end_ms is not None:
            slots = await self._alive(slots, start_ms or 0, END_MS if end_ms is None else end_ms)
        labels = self._labels()
        return [labels[slot] for slot in slots.tolist()]

    def _plan(self, text: str) -> Plan:
        return self._parse(text) if len(text) > LONG_TEXT else self._parse_again(text)

    # ---- which series -----------------------------------------------------------------------------------------

    def _any_of(self, selectors: Sequence[Sequence[Matcher]]) -> Slots:
        found = [self._find(matchers) for matchers in selectors]
        return found[0] if len(found) == 1 else np.unique(np.concatenate(found))

    def _find(self, matchers: Sequence[Matcher]) -> Slots:
        with self._indexing:
            self._index(self._labels())
            return self._with_data(self._postings.find(matchers, self._compile))

    def _index(self, labels: Mapping[int, LabelSet]) -> None:
        self._postings.extend([labels[slot] for slot in range(len(self._postings), len(labels))])

    async def _slots(self, matchers: Sequence[Matcher]) -> Slots:
        """Return what `_find` does, at once where that takes less time than another thread would."""
        found = self._find_quickly(matchers)
        return await asyncio.to_thread(self._find, matchers) if found is None else found

    def _find_quickly(self, matchers: Sequence[Matcher]) -> Slots | None:
        if not self._indexing.acquire(blocking=False):
            return None
        try:
            labels = self._labels()
            if len(labels) - len(self._postings) > FEW_SERIES:
                return None
            self._index(labels)
            if not self._postings.is_quick(matchers):
                return None
            return self._with_data(self._postings.find(matchers, self._compile))
        finally:
            self._indexing.release()

    async def _alive(self, slots: Slots, start_ms: int, end_ms: int) -> Slots:
        """Return the slots that have a sample in a time; only those are read whose newest sample is after it."""
        newest_ms = self._newest_ms()
        at_ms = np.full(len(slots), UNHEARD_MS)
        listed = slots < len(newest_ms)
        at_ms[listed] = newest_ms[slots[listed]]
        sure = slots[(at_ms >= start_ms) & (at_ms <= end_ms)]
        beyond = slots[(at_ms > end_ms) | (at_ms == UNHEARD_MS)]
        found = [sure]
        for some in _portions(beyond, start_ms, end_ms):
            rows = await self._samples.samples(some, start_ms, end_ms + 1)
            found.append(np.unique(rows.slots))
        if start_ms < await self._rollups.whole_since():
            found.append(await self._alive_before(beyond, start_ms, end_ms))
        return np.unique(np.concatenate(found))

    async def _alive_before(self, slots: Slots, start_ms: int, end_ms: int) -> Slots:
        """Return the slots that have rollups in a time, to the hour."""
        hour_ms, since_ms = RESOLUTIONS_MS[-1], await self._rollups.whole_since()
        last_ms = -(-min(end_ms, since_ms) // hour_ms) * hour_ms
        found = await self._rollups.rollups(slots.tolist(), start_ms // hour_ms * hour_ms, last_ms, hour_ms)
        return np.unique(found.slots)

    # ---- evaluation -------------------------------------------------------------------------------------------

    async def _answer(
        self,
        plan: Plan,
        times_ms: Times,
        finish: Callable[[Answer], Finished],
        timeout_ms: int | None,
        end_ms: int | None = None,
    ) -> Finished:
        longest_ms = min(timeout_ms or MAX_TIMEOUT_MS, MAX_TIMEOUT_MS)
        over = threading.Event()
        samples: dict[int, Ragged] = {}
        start_ms, guard = int(times_ms[0]), Guard(is_over=over.is_set)
        end_ms = start_ms if end_ms is None else end_ms
        evaluator = Evaluator(samples, times_ms, start_ms, end_ms, self._compile_groups, guard)
        try:
            async with asyncio.timeout(longest_ms / 1000), self._turns:
                older = Rewriting(await self._rollups.whole_since())
                rewritten = older.apply(plan, evaluator)
                fetched = await self._fetch_all(rewritten, evaluator, older.sources)

                def work() -> Finished:
                    labels = self._labels()
                    samples.update((key, _ragged(batches, labels)) for key, batches in fetched.items())
                    answer = Answer(times_ms, _evaluated(evaluator, rewritten), older.notes)
                    guard.go_on()
                    return finish(answer)

                if _is_short(rewritten, fetched, len(times_ms)):
                    return work()
                return await asyncio.to_thread(work)
        except TimeoutError:
            raise Rejected("timeout", f"the query took longer than {longest_ms} ms") from None
        finally:
            over.set()

    async def _fetch_all(
        self, plan: Plan, evaluator: Evaluator, sources: Mapping[int, Source]
    ) -> dict[int, list[SampleBatch]]:
        fetched: dict[int, list[SampleBatch]] = {}
        left = MAX_SAMPLES
        for selector, from_ms, to_ms in list(_needs(plan, evaluator)):
            fetched[selector.key] = await self._fetch(selector, sources.get(selector.key), from_ms, to_ms, left)
            left -= sum(map(len, fetched[selector.key]))
        return fetched

    async def _fetch(
        self, selector: Selector, source: Source | None, start_ms: int, end_ms: int, most: int
    ) -> list[SampleBatch]:
        slots = await self._slots(selector.matchers)
        if len(slots) > MAX_SERIES:
            raise Rejected("execution", f"a selector matches at most {MAX_SERIES} series; this one {len(slots)}")
        batches: list[SampleBatch] = []
        for some in _portions(slots, start_ms, end_ms):
            batches.append(await self._read(source, some, start_ms, end_ms + 1))
            most -= len(batches[-1])
            if most < 0:
                raise Rejected("execution", f"a query reads at most {MAX_SAMPLES} samples")
        return batches

    async def _read(self, source: Source | None, slots: Sequence[int], start_ms: int, end_ms: int) -> SampleBatch:
        if source is None:
            return await self._samples.samples(slots, start_ms, end_ms)
        return await read_source(self._samples, self._rollups, source, slots, start_ms, end_ms)


def _evaluated(evaluator: Evaluator, plan: Plan) -> Table | Ragged | np.ndarray | str:
    """Return the value of a query; that of a range vector is the samples in its windows."""
    if not _is_range(plan):
        value = evaluator.value(plan)
        _refuse_size(value.there.sum() if isinstance(value, Table) else 0)
        return value
    windows = evaluator.windows(plan)
    _refuse_size(float((windows.last - windows.first).sum()))
    inside = np.zeros(len(windows.samples.values), np.bool_)
    for low, high in zip(windows.first[:, 0].tolist(), windows.last[:, 0].tolist(), strict=True):
        inside[low:high] = True
    return windows.samples.keep(inside)


def _refuse_size(values: float) -> None:
    if values > MAX_ANSWER:
        raise Rejected("execution", f"an answer has at most {MAX_ANSWER} values, this one {values:.0f}")


def _portions(slots: Slots, start_ms: int, end_ms: int) -> Iterator[list[int]]:
    """Yield slots in portions that fit into memory at once."""
    size = max(1, ROWS_AT_ONCE // max(1, (end_ms - start_ms) // 1000))
    for at in range(0, len(slots), size):
        yield slots[at : at + size].tolist()


def _ragged(batches: Sequence[SampleBatch], labels: Mapping[int, LabelSet]) -> Ragged:
    """Return rows that are sorted by slot and time."""
    rows = batches[0] if len(batches) == 1 else SampleBatch.concat(batches)
    bounds = kernels.find_bounds(rows.slots)
    return Ragged(tuple(labels[slot] for slot in rows.slots[bounds[:-1]].tolist()), rows.at_ms, rows.values, bounds)


def _is_short(plan: Plan, fetched: Mapping[int, Sequence[SampleBatch]], steps: int) -> bool:
    """Return whether an answer is a few lines as they are stored: written before another thread were awake."""
    if not isinstance(plan, Selector) or plan.range_ms is not None:
        return False
    batches = fetched[plan.key]
    rows = sum(map(len, batches))
    return rows < SHORT and rows + steps * sum(len(kernels.find_bounds(one.slots)) for one in batches) < SHORT


def _is_range(plan: Plan) -> TypeGuard[Selector | Subquery]:
    return isinstance(plan, Subquery) or (isinstance(plan, Selector) and plan.range_ms is not None)


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
