"""Every decoder of our own, on sound input that was harmed: it understands what is left or refuses it.

What a decoder accepts must also have labels that can be read or are refused by name. Memory does not grow with it.
"""

from __future__ import annotations

import gzip
import io
import json
from typing import TYPE_CHECKING, Any, Final

import cramjam
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from tests.writes import request_2, series, snappy

from quantum.adapters import exposition, influx_line, otlp, remote_write
from quantum.adapters.columnar_json import decode_columnar_json
from quantum.adapters.http.bodies import MAX_MEMBERS, Bounds, gunzip, unsnappy, unzstd
from quantum.adapters.sample_files import read_csv, read_text
from quantum.adapters.statsd import Gathered
from quantum.application.ingest import Incoming, Limits
from quantum.domain.errors import QuantumError, Rejected
from quantum.domain.labels import MAX_GIVEN, MAX_WRITTEN_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

NOW_MS: Final = 1_800_000_000_000
MEGA: Final = 1 << 20
EXAMPLES: Final = 150
LIMITS: Final = Limits()
MAY_GROW: Final = 60 * MEGA


def named(incoming: Incoming) -> None:
    """Read the labels of every series, as ingest does for those it has not met."""
    assert len(incoming.row_series) == len(incoming.at_ms) == len(incoming.values)
    assert all(0 <= row < len(incoming.keys) for row in incoming.row_series.tolist())
    for number in range(len(incoming.keys)):
        try:
            incoming.labels_of(number)
        except Rejected:
            continue


def columnar(body: bytes) -> None:
    named(decode_columnar_json(body, LIMITS))


def write_1(body: bytes) -> None:
    named(remote_write.decode_remote_write(body, LIMITS))


def write_2(body: bytes) -> None:
    named(remote_write.decode_remote_write_2(body, LIMITS))


def lines(body: bytes) -> None:
    named(influx_line.decode_lines(body, LIMITS, influx_line.check_precision("ms"), NOW_MS))


def otlp_protobuf(body: bytes) -> None:
    named(otlp.decode_protobuf(body, LIMITS))


def otlp_json(body: bytes) -> None:
    named(otlp.decode_json(body, LIMITS))


def statsd(packet: bytes) -> None:
    gathered = Gathered(NOW_MS)
    gathered.take(packet)
    gathered.flush(NOW_MS + 10_000)


def scraped(body: bytes) -> None:
    for is_open in (False, True):
        try:
            found = exposition.split(body, is_open=is_open)
        except Rejected:
            continue
        for one in found.series:
            try:
                exposition.labels_of(one)
            except Rejected:
                continue


def imported_csv(body: bytes) -> None:
    for incoming in read_csv("x.csv", io.StringIO(body.decode("utf-8", "replace")), "cpu"):
        named(incoming)


def imported_text(body: bytes) -> None:
    for incoming in read_text("x.prom", io.StringIO(body.decode("utf-8", "replace")), NOW_MS):
        named(incoming)


def unpacked(unpack: Callable[..., bytes]) -> Callable[[bytes], None]:
    bounds = Bounds(MEGA, MEGA)

    def decode(body: bytes) -> None:
        with bounds.hold() as hold:
            assert len(unpack(body, bounds, hold)) <= MEGA
        assert bounds.in_flight == 0

    return decode


def otlp_message() -> ExportMetricsServiceRequest:
    request = ExportMetricsServiceRequest()
    scope = request.resource_metrics.add().scope_metrics.add()
    gauge = scope.metrics.add(name="room.temperature", unit="Cel")
    point = gauge.gauge.data_points.add(time_unix_nano=NOW_MS * 1_000_000, as_double=21.5)
    point.attributes.add(key="room").value.string_value = "kitchen"
    total = scope.metrics.add(name="requests")
    total.sum.aggregation_temporality = 2
    total.sum.is_monotonic = True
    total.sum.data_points.add(time_unix_nano=NOW_MS * 1_000_000, as_int=7)
    histogram = scope.metrics.add(name="latency").histogram
    histogram.aggregation_temporality = 2
    histogram.data_points.add(
        time_unix_nano=NOW_MS * 1_000_000, count=3, sum=0.5, bucket_counts=[1, 2], explicit_bounds=[0.1]
    )
    return request


OTLP_JSON: Final = {
    "resourceMetrics": [
        {
            "scopeMetrics": [
                {
                    "metrics": [
                        {
                            "name": "a",
                            "gauge": {"dataPoints": [{"timeUnixNano": str(NOW_MS * 10**6), "asDouble": 1.5}]},
                        },
                        {
                            "name": "b",
                            "sum": {
                                "aggregationTemporality": 2,
                                "isMonotonic": True,
                                "dataPoints": [{"timeUnixNano": str(NOW_MS * 10**6), "asInt": "3"}],
                            },
                        },
                    ]
                }
            ]
        }
    ]
}
COLUMNAR: Final = {"series": [{"labels": {"__name__": "cpu", "host": "a"}, "timestamps_ms": [NOW_MS], "values": [0.5]}]}
WRITE: Final = series({"__name__": "cpu", "host": "a"}, [(NOW_MS, 0.5), (NOW_MS + 1, 1.5)]) * 2
WRITE_2: Final = request_2(({"__name__": "cpu", "host": "a"}, [(NOW_MS, 0.5), (NOW_MS + 1, 1.5)]))
TEXT: Final = b'# TYPE a gauge\na{x="1",y="b\\nc"} 2.5 1800000000000\nb 3\nc_bucket{le="+Inf"} 4 # {t="x"} 1\n# EOF\n'
PLAIN: Final = json.dumps(COLUMNAR).encode() * 20

DECODERS: Final[dict[str, tuple[Callable[[bytes], None], bytes]]] = {
    "columnar JSON": (columnar, json.dumps(COLUMNAR).encode()),
    "remote-write 1.0": (write_1, WRITE),
    "remote-write 2.0": (write_2, WRITE_2),
    "line protocol": (lines, b'cpu,host=a\\ b,x=y value=1.5,n=3i,u=4u,up=t,s="q\\"" 1800000000000\n# c\ncpu v=1\n'),
    "OTLP protobuf": (otlp_protobuf, otlp_message().SerializeToString()),
    "OTLP JSON": (otlp_json, json.dumps(OTLP_JSON).encode()),
    "StatsD": (statsd, b"a.b:1|c|@0.5|#x:y,z\nc:-2|g\nd:3:4|ms\ne:u1|s\n_sc|x|0|#a:b\n_e{1,2}:a|bc\n"),
    "exposition": (scraped, TEXT),
    "CSV import": (imported_csv, b"timestamp,value\n2026-01-01T00:00:00Z,1.5\n1800000000,2\n1800000001000,\n"),
    "text import": (imported_text, TEXT),
    "gzip": (unpacked(gunzip), gzip.compress(PLAIN)),
    "zstd": (unpacked(unzstd), bytes(cramjam.zstd.compress(PLAIN))),
    "snappy": (unpacked(unsnappy), snappy(PLAIN)),
}
SPLINTERS: Final = (
    b"",
    b"\0",
    b"\xff" * 10,
    b"\x80" * 10 + b"\x01",
    b"1e999",
    b"9" * 40,
    b"NaN",
    b'"',
    b"\\",
    b"\n",
    b"[" * 3000,
    b'{"a":' * 1500,
    "\u202e\U0001f600".encode(),
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
)
harms = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True), st.integers(0, 40), st.sampled_from(SPLINTERS) | st.binary(max_size=12)
    ),
    min_size=1,
    max_size=6,
)


def harmed(sound: bytes, harm: list[tuple[float, int, bytes]]) -> bytes:
    """Replace stretches of sound input by splinters."""
    for place, length, splinter in harm:
        begin = int(place * (len(sound) + 1))
        sound = sound[:begin] + splinter + sound[begin + length :]
    return sound


@pytest.mark.parametrize("name", DECODERS)
def test_sound_input_is_understood(name: str) -> None:
    decode, sound = DECODERS[name]
    decode(sound)


@pytest.mark.parametrize("name", DECODERS)
def test_harmed_input_is_understood_or_refused_and_leaves_nothing_behind(name: str) -> None:
    decode, sound = DECODERS[name]
    outcomes: set[str] = set()

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(harm=harms)
    def check(harm: list[tuple[float, int, bytes]]) -> None:
        try:
            decode(harmed(sound, harm))
        except QuantumError as refusal:
            outcomes.add(str(refusal))
        else:
            outcomes.add("understood")

    check()
    before = psutil.Process().memory_info().rss
    check()
    assert psutil.Process().memory_info().rss - before < MAY_GROW
    assert "" not in outcomes
    assert outcomes


def test_splinters_reach_the_refusals_of_strict_forms() -> None:
    for name in ("columnar JSON", "gzip", "snappy"):
        decode, sound = DECODERS[name]
        with pytest.raises(QuantumError):
            decode(harmed(sound, [(0.0, 3, b"\xff" * 10)]))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 200_000), max_size=5), st.binary(min_size=1, max_size=40))
def test_t26_a_gzip_in_members_is_what_its_members_are_together(sizes: list[int], words: bytes) -> None:
    """Wherever members end in the slices that are looked at; one that is cut short is refused wherever it is cut."""
    parts = [(words * (size // len(words) + 1))[:size] for size in sizes]
    body = b"".join(gzip.compress(part, 1 if size % 2 else 0) for part, size in zip(parts, sizes, strict=True))
    bounds = Bounds(max_body_bytes=MEGA, max_decoded_bytes=MEGA)
    with bounds.hold() as hold:
        assert gunzip(body, bounds, hold) == b"".join(parts)
        if body:
            with pytest.raises(Rejected, match="cut short"):
                gunzip(body[:-1], bounds, hold)


def test_t26_a_sea_of_empty_members_is_not_swum_through() -> None:
    """Each would cost as much as a full one: ten megabytes of them took minutes."""
    bounds = Bounds(max_body_bytes=MEGA, max_decoded_bytes=MEGA)
    with bounds.hold() as hold, pytest.raises(Rejected, match=f"at most {MAX_MEMBERS} members"):
        gunzip(gzip.compress(b"") * (MAX_MEMBERS + 1), bounds, hold)


# ---- little that stands for much ----------------------------------------------------------------------------------

TAGS: Final = MAX_GIVEN + 1
LONG: Final = "x" * MAX_WRITTEN_BYTES
MANY_LABELS: Final[dict[str, Incoming]] = {
    "columnar JSON": decode_columnar_json(
        json.dumps(
            {"series": [{"labels": {f"l{n}": "v" for n in range(TAGS)}, "timestamps_ms": [NOW_MS], "values": [1.0]}]}
        ).encode(),
        LIMITS,
    ),
    "remote-write 1.0": remote_write.decode_remote_write(
        series({f"l{n}": "v" for n in range(TAGS)}, [(NOW_MS, 1.0)]), LIMITS
    ),
    "remote-write 1.0, written otherwise": remote_write.decode_remote_write(
        series({f"l{n}": "v" * 200 for n in range(TAGS)}, [(NOW_MS, 1.0)]), LIMITS
    ),
    "line protocol": influx_line.decode_lines(b"cpu" + b",l=v" * TAGS + b" v=1\n", LIMITS, 1, NOW_MS),
    "line protocol, without end": influx_line.decode_lines(b"cpu" + b",l=v" * MEGA + b" v=1\n", LIMITS, 1, NOW_MS),
    "remote-write 1.0, without end": remote_write.decode_remote_write(series({"l": LONG}, [(NOW_MS, 1.0)]), LIMITS),
}


@pytest.mark.parametrize("name", MANY_LABELS)
def test_d23_labels_beyond_any_limit_are_refused_and_not_read_to_their_end(name: str) -> None:
    """A series of 28 megabytes of tags, 27 kilobytes when compressed, kept everybody waiting for 42 seconds."""
    with pytest.raises(Rejected, match=r"over 300 labels given|take \d+ bytes") as refused:
        MANY_LABELS[name].labels(0)
    assert refused.value.reason == "max_labels"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.text("ab\\,= ", min_size=1, max_size=4), st.text("cd\\,= ", max_size=4)), max_size=5))
def test_what_is_within_the_limits_is_read_as_it_always_was(tags: list[tuple[str, str]]) -> None:
    def escaped(text: str) -> str:
        return "".join(f"\\{char}" if char in ",= " else char for char in text.replace("\\", "/"))

    plain = {name.replace("\\", "/"): value.replace("\\", "/") for name, value in tags}
    body = "cpu" + "".join(f",{escaped(name)}={escaped(value)}" for name, value in plain.items() if value) + " v=1\n"
    found = influx_line.decode_lines(body.encode(), LIMITS, 1, NOW_MS)
    kept = {name: value for name, value in plain.items() if value}
    assert dict(found.labels(0).pairs) == {"__name__": "cpu_v", **kept}


def test_l25_long_tags_before_many_fields_are_not_written_out_for_each() -> None:
    """A line is a series for each field, so 200 kilobytes would have been gigabytes."""
    fields = b",".join(b"f%d=1" % number for number in range(900))
    with pytest.raises(Rejected, match="the labels of a request have at most") as refused:
        influx_line.decode_lines(b"cpu,t=" + b"x" * 100_000 + b" " + fields + b"\n", LIMITS, 1, NOW_MS)
    assert refused.value.reason == "decoded_too_large"


def otlp_of(*points: dict[str, Any], kind: str = "gauge", instance: str = "i") -> Incoming:
    identity = [{"key": "service.instance.id", "value": {"stringValue": instance}}]
    data = {"dataPoints": list(points), **({"aggregationTemporality": 2} if kind == "histogram" else {})}
    scopes = [{"metrics": [{"name": "a", kind: data}]}]
    body = {"resourceMetrics": [{"resource": {"attributes": identity}, "scopeMetrics": scopes}]}
    return otlp.decode_json(json.dumps(body).encode(), LIMITS)


def attribute(name: str, value: str) -> dict[str, Any]:
    return {"key": name, "value": {"stringValue": value}}


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        pytest.param([attribute(f"k{n}", "v") for n in range(TAGS)], "max_labels", id="O17 attributes without end"),
        pytest.param([attribute("k", "")] * TAGS, "max_labels", id="O18 one again and again"),
        pytest.param([attribute("k", "x" * MEGA)], "label_value", id="O17 a megabyte"),
    ],
)
def test_a_point_with_attributes_beyond_any_limit_is_refused_and_its_neighbour_is_taken(
    attributes: list[Any], reason: str
) -> None:
    point = {"timeUnixNano": str(NOW_MS * 10**6), "asDouble": 1.0}
    found = otlp_of(point | {"attributes": attributes}, point)
    assert (dict(found.refusals.counts), len(found.values)) == ({reason: 1}, 1)


def test_o17_a_long_name_of_a_resource_is_not_written_out_for_each_of_its_points() -> None:
    point = {"timeUnixNano": str(NOW_MS * 10**6), "asDouble": 1.0}
    found = otlp_of(*[point] * 1000, instance="x" * MEGA)
    assert (dict(found.refusals.counts), len(found.values)) == ({"label_value": 1000}, 0)


def test_o12_long_attributes_are_not_written_out_for_buckets_without_end() -> None:
    """A request of a megabyte would have taken all memory there is."""
    buckets = 2000
    histogram = {
        "timeUnixNano": str(NOW_MS * 10**6),
        "count": str(buckets),
        "bucketCounts": ["1"] * buckets,
        "explicitBounds": list(range(buckets - 1)),
        "attributes": [attribute(f"k{number}", "x" * 2000) for number in range(25)],
    }
    with pytest.raises(Rejected, match="the labels of a request have at most") as refused:
        otlp_of(histogram, kind="histogram")
    assert refused.value.reason == "decoded_too_large"


@pytest.mark.parametrize("written", [b'l%d="v",', b'l%d= "v", '])
def test_d23_a_target_with_labels_without_end_is_refused(written: bytes) -> None:
    """The parser of Prometheus' client takes quadratic time: two megabytes kept a processor busy for nine seconds."""
    for count in (MAX_GIVEN, TAGS, 50_000):
        line = b"a{" + b"".join(written % number for number in range(count)) + b"}"
        if count == MAX_GIVEN:
            assert len(exposition.labels_of(line)) == MAX_GIVEN + 1
            continue
        with pytest.raises(Rejected, match="over 300 labels"):
            exposition.labels_of(line)
