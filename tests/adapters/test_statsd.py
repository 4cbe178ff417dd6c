"""StatsD: by the client libraries as they are, over real UDP, and line by line."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import pytest
import statsd as client_of_statsd
from datadog.dogstatsd.base import DogStatsd
from hypothesis import given
from hypothesis import strategies as st

from quantum.adapters import statsd
from quantum.adapters.memory import ManualClock, MemoryStream, SystemClock
from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.adapters.statsd import FORGET_MS, Gathered, listen
from quantum.application.ingest import Ingest
from quantum.domain.errors import Unavailable
from quantum.roles import StatsdCollection

BEGIN_MS: Final = 1_800_000_000_000
END_MS: Final = BEGIN_MS + 10_000


def gathered(*packets: bytes) -> Gathered:
    found = Gathered(BEGIN_MS)
    for packet in packets:
        found.take(packet)
    return found


def flushed(*packets: bytes) -> dict[str, float]:
    return {str(labels): value for labels, value in gathered(*packets).flush(END_MS)}


async def received(send: Any, packets: int) -> dict[str, float]:
    """What real packets were gathered to; `send` is given the port."""
    found = Gathered(BEGIN_MS)
    transport = await listen("127.0.0.1:0", found)
    try:
        send(transport.get_extra_info("sockname")[1])
        async with asyncio.timeout(20):
            while found.packets < packets:  # noqa: ASYNC110 - the packets are there, the loop only has to turn
                await asyncio.sleep(0)
    finally:
        transport.close()
    assert found.refused == {}
    return {str(labels): value for labels, value in found.flush(END_MS)}


async def test_the_client_library_of_statsd_is_understood() -> None:
    def send(port: int) -> None:
        client = client_of_statsd.StatsClient("127.0.0.1", port, prefix="shop")
        client.incr("orders", 3)
        client.gauge("stock", 7)
        client.gauge("stock", -2, delta=True)
        client.timing("checkout", 120)
        client.set("users", "a")
        with client.pipeline() as pipe:
            pipe.incr("orders", 2)
            pipe.set("users", "b")
        client.close()

    stored = await received(send, 6)
    assert stored["shop_orders_per_s"] == 0.5
    assert stored["shop_stock"] == 5
    assert (stored["shop_checkout_count"], stored["shop_checkout_p99"]) == (1, 120)
    assert stored["shop_users_unique"] == 2


async def test_the_client_library_of_datadog_is_understood() -> None:
    def send(port: int) -> None:
        client = DogStatsd(
            "127.0.0.1", port, disable_telemetry=True, disable_buffering=True, constant_tags=["env:test"]
        )
        client.increment("page.views", 4, tags=["route:/"])
        client.gauge("heap", 1.5)
        client.histogram("size", 10)
        client.distribution("size", 30)
        client.set("users", "a")
        client.timing("wait", 5)
        client.close_socket()

    stored = await received(send, 6)
    assert stored['page_views_per_s{env="test",route="/"}'] == 0.4
    assert stored['heap{env="test"}'] == 1.5
    assert (stored['size_sum{env="test"}'], stored['size_p50{env="test"}']) == (40, 20)
    assert stored['users_unique{env="test"}'] == 1
    assert stored['wait_max{env="test"}'] == 5


async def test_an_address_that_is_taken_is_a_sentence() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable, match=r"cannot listen on .* for StatsD"):
            await listen(f"127.0.0.1:{taken.getsockname()[1]}", Gathered(SystemClock().now_ms()))


def test_sample_rates_are_made_up_for() -> None:
    stored = flushed(b"c:2|c|@0.1\nt:4|ms|@0.5\nt:6|ms|@0.5")
    assert stored["c_per_s"] == 2
    assert (stored["t_count"], stored["t_sum"], stored["t_min"], stored["t_max"]) == (4, 20, 4, 6)


def test_packed_values_unknown_parts_and_bare_tags_of_dogstatsd_are_taken() -> None:
    stored = flushed(b"d:1:2:3|d|#a.b:x:y,urgent|c:id|T1656581400")
    assert stored['d_sum{a_b="x:y",urgent="true"}'] == 6


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"nonsense", "syntax"),
        (b":1|c", "syntax"),
        (b"a:|c", "syntax"),
        (b"a:1", "syntax"),
        (b"a:1|x", "type"),
        (b"a:one|c", "value"),
        (b"a:nan|g", "value"),
        (b"a:1e999|g", "value"),
        (b"a:1_0|g", "value"),
        (b"a:1|c|@0", "sample_rate"),
        (b"a:1|c|@2", "sample_rate"),
        (b"a:1|c|@x", "value"),
        (b"a:1|c|#b:\xff", "label_utf8"),
        (b"a:1|c|#b:x,b:y", "duplicate_label"),
        (b"a:1|c|#b:\0", "label_value"),
        (b"_e{5,4}:title|text", "no_metric"),
        (b"_sc|check|0", "no_metric"),
    ],
)
def test_a_bad_line_is_counted_by_its_reason_and_its_neighbours_are_kept(line: bytes, reason: str) -> None:
    found = gathered(b"good:1|g\n" + line + b"\r\n\nbetter:2|g\n")
    assert dict(found.refused) == {reason: 1}
    assert [value for _, value in found.flush(END_MS)] == [1.0, 2.0]


def test_counters_go_on_as_zero_and_gauges_as_they_were_for_an_hour() -> None:
    found = gathered(b"c:1|c\ng:5|g\nt:1|ms")
    first, second = found.flush(END_MS), {str(labels): value for labels, value in found.flush(END_MS + 10_000)}
    assert len(first) == 9
    assert second == {"c_per_s": 0, "g": 5}
    assert len(found.flush(BEGIN_MS + FORGET_MS)) == 2
    assert found.flush(BEGIN_MS + FORGET_MS + 10_000) == []


def test_series_and_members_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statsd, "MAX_SERIES", 2)
    monkeypatch.setattr(statsd, "MAX_MEMBERS", 1)
    found = gathered(b"a:1|c\nb:x|s\nb:x|s\nb:y|s\nc:1|c\na:1|c")
    assert dict(found.refused) == {"set_limit": 1, "series_limit": 1}
    assert [value for _, value in found.flush(END_MS)] == [0.2, 1.0]


def test_sums_beyond_all_numbers_are_left_out() -> None:
    assert flushed(b"g:1e308|g\ng:+1e308|g\nh:1|g") == {"h": 1}


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50))
def test_timers_say_of_their_values_what_numpy_says(values: list[float]) -> None:
    stored = flushed(*(b"t:%b|ms" % repr(value).encode() for value in values))
    assert (stored["t_count"], stored["t_min"], stored["t_max"]) == (len(values), min(values), max(values))
    assert [stored[f"t_p{q}"] for q in (50, 90, 99)] == np.percentile(values, [50, 90, 99]).tolist()


def test_of_very_many_values_percentiles_are_close_and_the_rest_exact() -> None:
    stored = flushed(b"\n".join(b"t:%d|ms" % (value * 7919 % 50_000) for value in range(50_000)))
    assert (stored["t_count"], stored["t_min"], stored["t_max"]) == (50_000, 0, 49_999)
    assert abs(stored["t_p90"] - 45_000) < 1000


@given(st.binary(max_size=100))
def test_no_packet_is_an_error_of_ours(packet: bytes) -> None:
    found = gathered(packet)
    assert all(np.isfinite(value) for _, value in found.flush(END_MS))


async def test_readings_are_stored_at_whole_intervals_and_an_outage_of_the_store_loses_none() -> None:
    clock, found = ManualClock(BEGIN_MS + 1), gathered(b"g:1|g")
    store = SqliteStore(MEMORY)
    ingest = Ingest(store, MemoryStream(), clock)
    container = SimpleNamespace(gathered=lambda: found, ingest=lambda: ingest, clock=lambda: clock)
    collection = StatsdCollection(container)
    waiting = asyncio.ensure_future(collection.run_once())
    await asyncio.sleep(0)
    clock.advance(9_999)
    with pytest.raises(Unavailable):
        await waiting
    async with store:
        await ingest.open(store)
        await collection.run_once()
        batch = await store.samples([0], 0, END_MS + 1)
    assert (batch.at_ms.tolist(), batch.values.tolist()) == ([END_MS], [1.0])
