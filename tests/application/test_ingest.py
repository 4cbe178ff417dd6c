"""Ingest on the embedded store in memory: every sample is accounted for, and one bad sample sinks nobody else."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum.adapters.memory import ManualClock, MemoryStream
from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.application.directory import Directory
from quantum.application.headroom import Headroom
from quantum.application.ingest import (
    MAX_EXAMPLES,
    NAMES_PER_TURN,
    Incoming,
    Ingest,
    Limits,
    Receipt,
    Refusal,
    Refusals,
    incoming_readings,
)
from quantum.application.keys import ABSENT, Keys
from quantum.domain.errors import OutOfRoom, Rejected, Throttled
from quantum.domain.facts import Samples
from quantum.domain.labels import LabelSet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

NOW_MS: Final = 1_800_000_000_000
DAY_MS: Final = 86_400_000
STALE: Final = float(np.array([0x7FF0000000000002], np.uint64).view(np.float64)[0])
OTHER_NAN: Final = 0x7FF8000000000001

Row = tuple[str, int, float]


@asynccontextmanager
async def opened(limits: Limits | None = None) -> AsyncIterator[tuple[Ingest, SqliteStore, MemoryStream]]:
    async with SqliteStore(MEMORY) as store:
        stream = MemoryStream()
        ingest = Ingest(store, stream, ManualClock(NOW_MS), limits)
        await ingest.open(store)
        yield ingest, store, stream


def incoming(rows: Sequence[Row], refusals: Refusals | None = None) -> Incoming:
    """A request whose raw keys are the metric names; a name with `!` cannot be decoded, `=` separates spellings."""
    keys = list(dict.fromkeys(name for name, _, _ in rows))

    def labels_of(index: int) -> LabelSet:
        if "!" in keys[index]:
            raise Rejected("label_name", "an exclamation mark")
        return LabelSet.of({"__name__": keys[index].split("=")[0]})

    values = np.array([value for _, _, value in rows], np.float64)
    return Incoming(
        keys=[key.encode() for key in keys],
        labels_of=labels_of,
        row_series=np.array([keys.index(name) for name, _, _ in rows], np.int64),
        at_ms=np.array([at_ms for _, at_ms, _ in rows], np.int64),
        values=values,
        refusals=refusals or Refusals(),
    )


async def stored(store: SqliteStore) -> set[tuple[str, int, int]]:
    """What the store holds, values as bits."""
    names = {slot: labels.name for slot, labels in await store.series()}
    batch = await store.samples(list(names), 0, 2**62)
    bits = batch.values.view(np.int64).tolist()
    return {
        (names[slot], at_ms, bit)
        for slot, at_ms, bit in zip(batch.slots.tolist(), batch.at_ms.tolist(), bits, strict=True)
    }


def bits_of(value: float) -> int:
    return int(np.array([value], np.float64).view(np.int64)[0])


async def test_good_samples_are_stored_and_handed_to_the_stream() -> None:
    async with opened() as (ingest, store, stream):
        receipt = await ingest.accept(incoming([("cpu", NOW_MS, 0.5), ("mem", NOW_MS - 1, 2.0)]))
        assert receipt == Receipt(2, 0, {}, ())
        assert await stored(store) == {("cpu", NOW_MS, bits_of(0.5)), ("mem", NOW_MS - 1, bits_of(2.0))}
        (fact,) = await stream.take(0, 10)
        assert isinstance(fact.body, Samples)
        assert fact.body.batch.values.tolist() == [0.5, 2.0]
        assert not fact.body.backfill


async def test_a_request_without_samples_stores_no_fact() -> None:
    async with opened() as (ingest, store, _):
        assert await ingest.accept(incoming([])) == Receipt(0, 0, {}, ())
        assert await store.last() == (0, 0)


async def test_d1_d2_nan_is_stored_bit_by_bit_like_the_staleness_marker() -> None:
    payload = float(np.array([OTHER_NAN], np.uint64).view(np.float64)[0])
    rows = [("a", 1 + NOW_MS, STALE), ("a", NOW_MS, np.nan), ("b", NOW_MS, payload)]
    async with opened() as (ingest, store, _):
        first, again = await ingest.accept(incoming(rows)), await ingest.accept(incoming(rows))
        assert (first.accepted, again.duplicates, first.rejected) == (3, 3, {})
        assert await stored(store) == {
            ("a", NOW_MS + 1, 0x7FF0000000000002),
            ("a", NOW_MS, bits_of(np.nan)),
            ("b", NOW_MS, OTHER_NAN),
        }


@pytest.mark.parametrize(
    "value", [np.inf, -np.inf, -0.0, 5e-324, 1.7976931348623157e308], ids=["D3", "D4", "D5", "D6", "D7 largest"]
)
async def test_extreme_values_are_kept_bit_by_bit(value: float) -> None:
    async with opened() as (ingest, store, _):
        assert (await ingest.accept(incoming([("a", NOW_MS, value)]))).accepted == 1
        assert await stored(store) == {("a", NOW_MS, bits_of(value))}


@pytest.mark.parametrize(
    ("at_ms", "reason"),
    [
        pytest.param(0, "too_old", id="D8 zero"),
        pytest.param(-1, "negative_time", id="D9 negative"),
        pytest.param(-(2**63), "negative_time", id="D9 most negative"),
        pytest.param(NOW_MS // 1000, "too_old", id="D10 seconds"),
        pytest.param(NOW_MS * 1000, "too_far_in_future", id="D10 microseconds"),
        pytest.param(NOW_MS * 1_000_000, "too_far_in_future", id="D10 nanoseconds"),
        pytest.param(2**63 - 1, "too_far_in_future", id="D11 largest"),
        pytest.param(NOW_MS + DAY_MS, "too_far_in_future", id="D14 a day ahead"),
        pytest.param(NOW_MS + 660_000, "too_far_in_future", id="D14 eleven minutes ahead"),
        pytest.param(NOW_MS - 30 * DAY_MS - 1, "too_old", id="D15 beyond the oldest age"),
    ],
)
async def test_a_time_out_of_bounds_is_refused_and_its_neighbour_stored(at_ms: int, reason: str) -> None:
    """F34 of the faults in docs/reliability.md: a sender's clock is wrong, or counts in another unit."""
    async with opened() as (ingest, store, _):
        receipt = await ingest.accept(incoming([("a", at_ms, 1.0), ("a", NOW_MS, 2.0)]))
        assert (receipt.accepted, receipt.rejected) == (1, {reason: 1})
        assert receipt.examples[0].reason == reason
        assert receipt.examples[0].at_ms == at_ms
        assert receipt.examples[0].labels == LabelSet.of({"__name__": "a"})
        assert {row[:2] for row in await stored(store)} == {("a", NOW_MS)}


@pytest.mark.parametrize("at_ms", [NOW_MS + 600_000, NOW_MS - 30 * DAY_MS])
async def test_the_bounds_themselves_are_accepted(at_ms: int) -> None:
    async with opened() as (ingest, _, _):
        assert (await ingest.accept(incoming([("a", at_ms, 1.0)]))).accepted == 1


async def test_backfill_may_be_as_old_as_1970_and_is_marked_as_such() -> None:
    async with opened() as (ingest, _, stream):
        receipt = await ingest.accept(incoming([("a", 0, 1.0), ("a", -1, 1.0)]), backfill=True)
        assert (receipt.accepted, receipt.rejected) == (1, {"negative_time": 1})
        (fact,) = await stream.take(0, 1)
        assert isinstance(fact.body, Samples)
        assert fact.body.backfill


async def test_limits_that_are_no_whole_days_are_told_in_minutes() -> None:
    async with opened(Limits(max_age_ms=90_000)) as (ingest, _, _):
        receipt = await ingest.accept(incoming([("a", 0, 1.0)]))
        assert receipt.examples[0].message == "the time is more than 1.5 minutes ago"


async def test_d16_samples_out_of_order_are_accepted() -> None:
    async with opened() as (ingest, _, _):
        receipt = await ingest.accept(incoming([("a", NOW_MS, 1.0), ("a", NOW_MS - 5, 2.0)]))
        late = await ingest.accept(incoming([("a", NOW_MS - 9, 1.0)]))
        assert (receipt.accepted, late.accepted) == (2, 1)


async def test_d17_an_exact_duplicate_is_counted_and_fine() -> None:
    async with opened() as (ingest, store, _):
        rows = [("a", NOW_MS, 1.0), ("b", NOW_MS, STALE)]
        await ingest.accept(incoming(rows))
        assert await ingest.accept(incoming(rows)) == Receipt(0, 2, {}, ())
        assert (await store.last())[0] == 1


async def test_d18_another_value_at_the_same_time_is_refused_and_the_first_one_stays() -> None:
    async with opened() as (ingest, store, _):
        await ingest.accept(incoming([("a", NOW_MS, 1.0)]))
        receipt = await ingest.accept(incoming([("b", NOW_MS, 9.0), ("a", NOW_MS, 2.0)]))
        assert (receipt.accepted, receipt.rejected) == (1, {"duplicate_value": 1})
        assert receipt.examples[0].labels == LabelSet.of({"__name__": "a"})
        assert ("a", NOW_MS, bits_of(1.0)) in await stored(store)


async def test_d18_zero_and_minus_zero_are_different_values() -> None:
    async with opened() as (ingest, _, _):
        await ingest.accept(incoming([("a", NOW_MS, 0.0)]))
        assert (await ingest.accept(incoming([("a", NOW_MS, -0.0)]))).rejected == {"duplicate_value": 1}


async def test_duplicates_within_a_request_follow_the_same_rules() -> None:
    async with opened() as (ingest, _, _):
        receipt = await ingest.accept(incoming([("a", NOW_MS, 1.0), ("a", NOW_MS, 1.0), ("a", NOW_MS, 3.0)]))
        assert (receipt.accepted, receipt.duplicates, receipt.rejected) == (1, 1, {"duplicate_value": 1})


async def test_d19_two_spellings_of_one_label_set_are_one_series() -> None:
    async with opened() as (ingest, store, _):
        receipt = await ingest.accept(incoming([("a=1", NOW_MS, 1.0), ("a=2", NOW_MS - 1, 2.0)]))
        again = await ingest.accept(incoming([("a=3", NOW_MS - 2, 3.0), ("a=2", NOW_MS - 3, 3.0)]))
        assert (receipt.accepted, again.accepted, ingest.series) == (2, 2, 1)
        assert [labels.name for _, labels in await store.series()] == ["a"]


async def test_d20_a_series_without_a_metric_name_is_refused() -> None:
    async with opened() as (ingest, _, _):
        receipt = await ingest.accept(incoming([("", NOW_MS, 1.0), ("", NOW_MS - 1, 1.0), ("b", NOW_MS, 1.0)]))
        assert (receipt.accepted, receipt.rejected) == (1, {"metric_name": 2})


async def test_a_series_whose_labels_cannot_be_decoded_takes_only_its_own_samples_along() -> None:
    async with opened() as (ingest, store, _):
        rows = [("x!", NOW_MS, 1.0), ("a", NOW_MS, 1.0), ("x!", -1, 1.0)]
        receipt = await ingest.accept(incoming(rows))
        assert (receipt.accepted, receipt.rejected) == (1, {"label_name": 1, "negative_time": 1})
        assert all(example.labels is None for example in receipt.examples)
        assert {name for name, _, _ in await stored(store)} == {"a"}


async def test_a_series_none_of_whose_samples_is_fit_is_not_registered() -> None:
    async with opened() as (ingest, store, _):
        await ingest.accept(incoming([("a", 0, 1.0), ("x!", 0, 1.0)]))
        assert await store.series() == []
        assert ingest.series == 0


async def test_d32_beyond_the_series_limit_known_series_go_on_being_stored() -> None:
    async with opened(Limits(max_series=2)) as (ingest, store, _):
        rows = [(f"s{index}", NOW_MS, 1.0) for index in range(10)]
        receipt = await ingest.accept(incoming(rows))
        assert (receipt.accepted, receipt.rejected) == (2, {"series_limit": 8})
        assert len(receipt.examples) == MAX_EXAMPLES
        assert receipt.examples[0].message == "series limit 2 reached: s2 would be a new series"
        later = await ingest.accept(incoming([("s0", NOW_MS + 1, 1.0), ("s5", NOW_MS + 1, 1.0)]))
        assert (later.accepted, later.rejected) == (1, {"series_limit": 1})
        assert len(await store.series()) == 2


async def test_without_memory_new_series_are_refused_and_known_ones_go_on_being_stored() -> None:
    used = [0]
    headroom = Headroom(max_bytes=1_000_000_000, used_bytes=lambda: used[0])
    async with SqliteStore(MEMORY) as store:
        ingest = Ingest(store, MemoryStream(), ManualClock(NOW_MS), headroom=headroom)
        headroom.admit(lambda: ingest.series, lambda: 0)
        await ingest.open(store)
        assert (await ingest.accept(incoming([("known", NOW_MS, 1.0)]))).accepted == 1
        used[0] = 1_000_000_000
        with pytest.raises(OutOfRoom, match=r"nothing was stored: .*1000 MB \(limits.max_memory_bytes\): new would be"):
            await ingest.accept(incoming([("new", NOW_MS, 1.0), ("newer", NOW_MS, 1.0)]))
        mixed = await ingest.accept(incoming([("known", NOW_MS + 1, 2.0), ("new", NOW_MS, 1.0)]))
        assert (mixed.accepted, mixed.rejected) == (1, {"memory_limit": 1})
        bad = await ingest.accept(incoming([("new", NOW_MS, 1.0), ("old", 1, 1.0)]))
        assert bad.rejected == {"memory_limit": 1, "too_old": 1}
        again = await ingest.accept(incoming([("known", NOW_MS + 1, 2.0)]))
        assert (again.duplicates, ingest.series) == (1, 1)
        used[0] = 0
        assert (await ingest.accept(incoming([("new", NOW_MS, 1.0)]))).accepted == 1


async def test_memory_is_looked_at_again_while_a_request_brings_very_many_new_series() -> None:
    looks = [0]

    def used() -> int:
        looks[0] += 1
        return looks[0] - 1

    async with SqliteStore(MEMORY) as store:
        headroom = Headroom(max_bytes=1, used_bytes=used)
        ingest = Ingest(store, MemoryStream(), ManualClock(NOW_MS), headroom=headroom)
        receipt = await ingest.accept(incoming([(f"s{index}", NOW_MS, 1.0) for index in range(NAMES_PER_TURN + 7)]))
        assert (receipt.accepted, receipt.rejected) == (NAMES_PER_TURN, {"memory_limit": 7})


async def test_of_a_request_with_more_new_series_than_the_process_may_have_the_first_are_stored() -> None:
    headroom = Headroom(max_series=3)
    async with SqliteStore(MEMORY) as store:
        ingest = Ingest(store, MemoryStream(), ManualClock(NOW_MS), headroom=headroom)
        headroom.admit(lambda: ingest.series, int)
        receipt = await ingest.accept(incoming([(name, NOW_MS, 1.0) for name in "abcde"]))
        assert (receipt.accepted, receipt.rejected) == (3, {"process_series_limit": 2})


async def test_the_tenants_of_a_process_share_its_series() -> None:
    headroom = Headroom(max_series=3)
    async with SqliteStore(MEMORY) as one, SqliteStore(MEMORY) as other:
        both = [Ingest(store, MemoryStream(), ManualClock(NOW_MS), headroom=headroom) for store in (one, other)]
        for ingest in both:
            headroom.admit(lambda ingest=ingest: ingest.series, int)  # type: ignore[misc] # a default binds it now
        assert (await both[0].accept(incoming([("a", NOW_MS, 1.0), ("b", NOW_MS, 1.0)]))).accepted == 2
        assert (await both[1].accept(incoming([("a", NOW_MS, 1.0)]))).accepted == 1
        receipt = await both[1].accept(incoming([("a", NOW_MS + 1, 1.0), ("c", NOW_MS, 1.0)]))
        assert (receipt.accepted, receipt.rejected) == (1, {"process_series_limit": 1})


async def test_concurrent_requests_do_not_exceed_the_series_limit_together() -> None:
    async with opened(Limits(max_series=3)) as (ingest, store, _):
        requests = [incoming([(f"r{n}s{k}", NOW_MS, 1.0) for k in range(2)]) for n in range(4)]
        receipts = await asyncio.gather(*(ingest.accept(request) for request in requests))
        assert sum(receipt.accepted for receipt in receipts) == len(await store.series()) == 3


async def test_concurrent_requests_may_introduce_the_same_series() -> None:
    async with opened() as (ingest, store, _):
        requests = [incoming([("a", NOW_MS + n, float(n))]) for n in range(5)]
        receipts = await asyncio.gather(*(ingest.accept(request) for request in requests))
        assert [receipt.accepted for receipt in receipts] == [1] * 5
        assert len(await store.series()) == ingest.series == 1


async def test_r26_a_request_with_very_many_new_series_lets_others_have_their_turn() -> None:
    turns: list[str] = []

    async def other() -> None:
        turns.append("other")

    async with opened() as (ingest, _, _):
        many = incoming([(f"s{index}", NOW_MS, 1.0) for index in range(2 * NAMES_PER_TURN)])
        labels_of = many.labels_of

        def noting(index: int) -> LabelSet:
            turns.append("name")
            return labels_of(index)

        request = Incoming(
            keys=many.keys, labels_of=noting, row_series=many.row_series, at_ms=many.at_ms, values=many.values
        )
        task = asyncio.create_task(ingest.accept(request))
        await asyncio.gather(asyncio.create_task(other()), task)
        assert turns.index("other") == NAMES_PER_TURN


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(max_series_per_request=2), "request_series_limit"),
        (Limits(max_samples_per_request=2), "request_sample_limit"),
    ],
)
async def test_a_request_that_is_too_large_is_refused_as_a_whole(limits: Limits, reason: str) -> None:
    async with opened(limits) as (ingest, store, _):
        with pytest.raises(Rejected, match="the limit is 2") as refused:
            await ingest.accept(incoming([(f"s{index}", NOW_MS, 1.0) for index in range(3)]))
        assert refused.value.reason == reason
        assert await store.last() == (0, 0)


async def test_what_the_decoder_refused_is_part_of_the_receipt() -> None:
    refusals = Refusals()
    refusals.add(Refusal("histogram_unsupported", "no histograms"), 3)
    async with opened() as (ingest, _, _):
        receipt = await ingest.accept(incoming([("a", NOW_MS, 1.0)], refusals))
        assert (receipt.accepted, receipt.rejected) == (1, {"histogram_unsupported": 3})
        assert receipt.examples == (Refusal("histogram_unsupported", "no histograms"),)


async def test_counts_since_the_start_add_up_over_requests() -> None:
    async with opened() as (ingest, _, _):
        for _ in range(3):
            await ingest.accept(incoming([("a", NOW_MS, 1.0), ("a", 0, 1.0)]))
        assert (ingest.accepted, ingest.duplicates, ingest.refused) == (1, 2, Counter(too_old=3))


async def test_known_series_are_found_after_a_restart() -> None:
    async with opened() as (ingest, store, stream):
        await ingest.accept(incoming([("a", NOW_MS, 1.0)]))
        restarted = Ingest(store, stream, ManualClock(NOW_MS), Limits(max_series=1))
        await restarted.open(store)
        assert (await restarted.accept(incoming([("a", NOW_MS + 1, 1.0)]))).accepted == 1
        assert restarted.series == 1


async def test_own_readings_are_a_request_like_any_other() -> None:
    async with opened() as (ingest, store, _):
        readings = [(LabelSet.of({"__name__": "load", "host": "h"}), 0.5), (LabelSet.of({"__name__": "up"}), 1.0)]
        assert (await ingest.accept(incoming_readings(readings, NOW_MS))).accepted == 2
        assert await stored(store) == {("load", NOW_MS, bits_of(0.5)), ("up", NOW_MS, bits_of(1.0))}


names = st.sampled_from(["a", "a=2", "b", "x!", "", "c"])
times = st.sampled_from([NOW_MS, NOW_MS - 1, NOW_MS + 10**7, 0, -5, NOW_MS - 40 * DAY_MS])
values = st.sampled_from([0.0, -0.0, 1.0, np.inf, np.nan, STALE])
requests = st.lists(st.lists(st.tuples(names, times, values), max_size=12), min_size=1, max_size=4)


def expected(sent: list[list[Row]]) -> set[tuple[str, int, int]]:
    """The slow model: first fit value of each (series, time)."""
    first: dict[tuple[str, int], int] = {}
    for name, at_ms, value in (row for rows in sent for row in rows):
        fit = at_ms in (NOW_MS, NOW_MS - 1)
        if fit and "!" not in name and name:
            first.setdefault((name.split("=")[0], at_ms), bits_of(value))
    return {(name, at_ms, bits) for (name, at_ms), bits in first.items()}


@settings(max_examples=150, deadline=None)
@given(requests)
def test_every_sample_is_accounted_for_and_the_first_fit_value_is_stored(sent: list[list[Row]]) -> None:
    async def scenario() -> None:
        async with opened() as (ingest, store, _):
            for rows in sent:
                receipt = await ingest.accept(incoming(rows))
                assert receipt.accepted + receipt.duplicates + sum(receipt.rejected.values()) == len(rows)
                assert len(receipt.examples) <= MAX_EXAMPLES
            assert await stored(store) == expected(sent)
            assert ingest.accepted == len(expected(sent))

    asyncio.run(scenario())


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 30), max_size=200), st.integers(0, 12))
def test_the_directory_holds_no_more_keys_than_it_may_and_never_a_wrong_slot(lookups: list[int], most: int) -> None:
    directory = Directory(most)
    for number in lookups:
        key = b"k%d" % number
        (slot,) = directory.find(Keys.of([key]))
        assert slot in {ABSENT, number}
        if slot == ABSENT:
            directory.remember(Keys.of([key]), np.array([number]))
        assert directory.find(Keys.of([key])).tolist() == [number]
        assert directory.cached_keys <= max(2, most)


def test_keys_in_use_survive_a_flood_of_keys_that_are_seen_once() -> None:
    directory = Directory(100)
    directory.remember(Keys.of([b"used"]), np.array([7]))
    for number in range(1000):
        directory.remember(Keys.of([b"%d" % number]), np.array([number]))
        if number % 20 == 0:
            assert directory.find(Keys.of([b"used"])).tolist() == [7]


# ---- the rate -----------------------------------------------------------------------------------------------------


async def test_more_samples_a_second_than_allowed_are_refused_until_time_has_passed() -> None:
    async with SqliteStore(MEMORY) as store:
        clock = ManualClock(NOW_MS)
        ingest = Ingest(store, MemoryStream(), clock, Limits(max_samples_per_s=10))
        await ingest.open(store)
        rows = [("a", NOW_MS - age, 1.0) for age in range(130)]
        assert (await ingest.accept(incoming(rows))).accepted == 130
        with pytest.raises(Throttled, match="10 samples a second"):
            ingest.check_rate()
        with pytest.raises(Throttled, match="10 samples a second") as refused:
            await ingest.accept(incoming([("a", NOW_MS + 1, 1.0)]))
        assert (refused.value.reason, refused.value.retry_after_s) == ("samples_per_second", 3)
        assert (await ingest.accept(incoming([("a", NOW_MS + 2, 1.0)]), backfill=True)).accepted == 1
        clock.advance(3001)
        ingest.check_rate()
        assert (await ingest.accept(incoming([("a", NOW_MS + 1, 1.0)]))).accepted == 1
