"""OTLP over real HTTP: by the SDK of OpenTelemetry as it is, and with bad input, in protobuf and in JSON."""

from __future__ import annotations

import gzip
import json
import math
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from tests.serving import MEGA, Served

from quantum.adapters import otlp
from quantum.adapters.http import otlp as http_otlp
from quantum.adapters.http.bodies import Bounds
from quantum.adapters.memory import SystemClock
from quantum.application.ingest import Incoming, Limits
from quantum.domain.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATH: Final = "/otlp/v1/metrics"
PROTOBUF: Final = {"content-type": "application/x-protobuf"}
JSON: Final = {"content-type": "application/json"}
AT_MS: Final = 1_800_000_000_000
AT: Final = str(AT_MS * 10**6)
LIMITS: Final = Limits()


@pytest.fixture(name="server", scope="module")
def running_server() -> Iterator[Served]:
    with Served() as server:
        yield server


def request_of(*metrics: dict[str, Any], resource: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"resourceMetrics": [{"resource": resource or {}, "scopeMetrics": [{"metrics": list(metrics)}]}]}


def protobuf(content: dict[str, Any]) -> bytes:
    return bytes(json_format.ParseDict(content, ExportMetricsServiceRequest()).SerializeToString())


def decoded(*metrics: dict[str, Any], resource: dict[str, Any] | None = None) -> Incoming:
    """What both encodings are understood as."""
    content = request_of(*metrics, resource=resource)
    ours, other = (
        otlp.decode_protobuf(protobuf(content), LIMITS),
        otlp.decode_json(json.dumps(content).encode(), LIMITS),
    )
    assert ours.keys == other.keys
    assert ours.values.tobytes() == other.values.tobytes()
    return ours


def rows(incoming: Incoming) -> list[tuple[str, int, float]]:
    names = [str(incoming.labels_of(index)) for index in incoming.row_series.tolist()]
    return list(zip(names, incoming.at_ms.tolist(), incoming.values.tolist(), strict=True))


def attribute(key: str, **value: Any) -> dict[str, Any]:
    return {"key": key, "value": value}


def gauge(name: str, *points: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "gauge": {"dataPoints": [{"timeUnixNano": AT, **point} for point in points]}, **more}


def total(name: str, *points: dict[str, Any], **more: Any) -> dict[str, Any]:
    found = [{"timeUnixNano": AT, **point} for point in points]
    return {"name": name, "sum": {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": found, **more}}


def histogram(temporality: Any = 2, **point: Any) -> dict[str, Any]:
    found = [{"timeUnixNano": AT, **point}]
    return {"name": "h", "histogram": {"aggregationTemporality": temporality, "dataPoints": found}}


# ---- the real sender --------------------------------------------------------------------------------------------


def test_the_sdk_of_opentelemetry_sends_every_instrument(server: Served) -> None:
    exporter = OTLPMetricExporter(endpoint=server.url + "/v1/metrics")
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf)
    resource = Resource({"service.name": "shop", "service.instance.id": "a1"})
    provider = MeterProvider([reader], resource)
    meter = provider.get_meter("tests")
    meter.create_counter("sdk.requests", unit="1").add(3, {"http.route": "/"})
    meter.create_up_down_counter("sdk.queue").add(-2)
    meter.create_gauge("sdk.heap", unit="By").set(7.5)
    meter.create_histogram("sdk.wait", unit="ms", explicit_bucket_boundaries_advisory=[1, 2.5]).record(2)
    assert provider.force_flush()
    provider.shutdown()
    stored = {series: value for (series, _), value in server.stored().items() if series.startswith("sdk_")}
    shop = 'instance="a1",job="shop"'
    assert stored == {
        f'sdk_requests_total{{http_route="/",{shop}}}': 3.0,
        f"sdk_queue{{{shop}}}": -2.0,
        f"sdk_heap_bytes{{{shop}}}": 7.5,
        f'sdk_wait_milliseconds_bucket{{{shop},le="1"}}': 0.0,
        f'sdk_wait_milliseconds_bucket{{{shop},le="2.5"}}': 1.0,
        f'sdk_wait_milliseconds_bucket{{{shop},le="+Inf"}}': 1.0,
        f"sdk_wait_milliseconds_count{{{shop}}}": 1.0,
        f"sdk_wait_milliseconds_sum{{{shop}}}": 2.0,
    }


# ---- what is understood -----------------------------------------------------------------------------------------


def test_o6_points_are_integers_or_floats_and_times_are_cut_to_milliseconds() -> None:
    late = str(AT_MS * 10**6 + 999_999)
    incoming = decoded(gauge("g", {"asDouble": 1.5}, {"asInt": "-3", "timeUnixNano": late}))
    assert rows(incoming) == [("g", AT_MS, 1.5), ("g", AT_MS, -3.0)]


def test_o1_o2_o8_ids_words_for_enumerations_and_odd_starts_change_nothing() -> None:
    odd: dict[str, Any] = {"asInt": "1", "startTimeUnixNano": str(2**63)}
    named = total("t", odd, aggregationTemporality="AGGREGATION_TEMPORALITY_CUMULATIVE")
    plain = total("t", {"asInt": "1"})
    for trace_id in ("00" * 16, "AAE=", "no id"):
        # protobuf's own JSON has bytes in base64, OTLP's has ids in hexadecimal digits: neither is looked at
        odd["exemplars"] = [{"asInt": "1", "traceId": trace_id}]
        assert rows(otlp.decode_json(json.dumps(request_of(named)).encode(), LIMITS)) == rows(decoded(plain))


def test_o4_a_resource_without_attributes_names_nothing() -> None:
    assert rows(decoded(gauge("g", {"asInt": "1"}), resource={}))[0][0] == "g"


def test_o10_a_sum_that_goes_down_is_kept_as_it_is() -> None:
    assert [value for _, _, value in rows(decoded(total("t", {"asInt": "5"}, {"asInt": "1"})))] == [5.0, 1.0]


def test_resources_name_job_and_instance_and_beat_attributes_of_points() -> None:
    resource = {
        "attributes": [attribute("service.name", stringValue="s"), attribute("service.namespace", stringValue="n")]
    }
    point = {"asInt": "1", "attributes": [attribute("job", stringValue="mine"), attribute("2nd", boolValue=True)]}
    assert rows(decoded(gauge("g", point), resource=resource))[0][0] == 'g{job="n/s",key_2nd="true"}'


def test_attributes_of_every_type_are_texts_and_o18_those_of_one_name_are_joined() -> None:
    found = [
        attribute("a.b", intValue="2"),
        attribute("a_b", stringValue="x"),
        attribute("list", arrayValue={"values": [{"doubleValue": 1.5}, {"boolValue": False}]}),
        attribute("map", kvlistValue={"values": [attribute("k", stringValue="v")]}),
        attribute("raw", bytesValue="AAE="),
        attribute("none"),
    ]
    labels = decoded(gauge("g", {"asInt": "1", "attributes": found})).labels_of(0)
    assert dict(labels.pairs) == {
        "__name__": "g", "a_b": "2;x", "list": "[1.5,false]", "map": '{"k":"v"}', "raw": "AAE="
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "unit", "kind", "monotonic", "expected"),
    [
        ("http.server.duration", "s", "histogram", False, "http_server_duration_seconds"),
        ("a", "1", "gauge", False, "a_ratio"),
        ("a", "1", "sum", True, "a_total"),
        ("a_total", "By", "sum", True, "a_bytes_total"),
        ("a.bytes", "By", "gauge", False, "a_bytes"),
        ("a", "{request}", "gauge", False, "a"),
        ("a", "m/s", "gauge", False, "a_meters_per_second"),
        ("a", "By/{op}", "gauge", False, "a_bytes"),
        ("a", "foo", "gauge", False, "a_foo"),
        ("9 lives!", "", "gauge", False, "_9_lives"),
        ("a::b", "", "gauge", False, "a::b"),
    ],
)
def test_names_are_those_of_prometheus(name: str, unit: str, kind: str, monotonic: bool, expected: str) -> None:
    assert otlp.metric_name(name, unit, kind, monotonic=monotonic) == expected


def test_histograms_become_cumulative_buckets_count_and_sum() -> None:
    incoming = decoded(histogram(count="6", sum=9.5, bucketCounts=["1", "2", "3"], explicitBounds=[0.5, 10]))
    assert [(name, value) for name, _, value in rows(incoming)] == [
        ('h_bucket{le="0.5"}', 1.0),
        ('h_bucket{le="10"}', 3.0),
        ('h_bucket{le="+Inf"}', 6.0),
        ("h_count", 6.0),
        ("h_sum", 9.5),
    ]


def test_a_histogram_without_buckets_has_count_alone_if_it_has_no_sum() -> None:
    found = rows(decoded(histogram("AGGREGATION_TEMPORALITY_CUMULATIVE", count="6")))
    assert [name for name, _, _ in found] == ['h_bucket{le="+Inf"}', "h_count"]


def test_summaries_become_quantiles() -> None:
    point = {"timeUnixNano": AT, "count": "4", "sum": 8, "quantileValues": [{"quantile": 0.99, "value": 3}]}
    found = rows(decoded({"name": "s", "summary": {"dataPoints": [point]}}))
    assert [(name, value) for name, _, value in found] == [
        ('s{quantile="0.99"}', 3.0),
        ("s_count", 4.0),
        ("s_sum", 8.0),
    ]


def test_o19_a_point_without_recorded_value_is_the_staleness_marker() -> None:
    stale = {"flags": 1}
    incoming = decoded(gauge("g", stale), total("t", stale), histogram(flags=1, explicitBounds=[1]))
    assert [hex(bits) for bits in incoming.values.view("u8").tolist()] == ["0x7ff0000000000002"] * 6


# ---- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        pytest.param({"name": "m"}, "otlp_metric", id="O3 no data known"),
        pytest.param(gauge("", {"asInt": "1"}), "otlp_metric", id="no name"),
        pytest.param(gauge("g", {}), "otlp_value", id="O5"),
        pytest.param(total("t", {"asInt": "1"}, aggregationTemporality=1), "temporality", id="O11 delta"),
        pytest.param(total("t", {"asInt": "1"}, aggregationTemporality=0), "temporality", id="O11 unspecified"),
        pytest.param(histogram(1, count="1"), "temporality", id="O11 histogram"),
        pytest.param(histogram(count="1", bucketCounts=["1"], explicitBounds=[1]), "otlp_buckets", id="O12 too few"),
        pytest.param(
            histogram(count="0", bucketCounts=["0"] * 3, explicitBounds=[2, 1]), "otlp_buckets", id="O12 unsorted"
        ),
        pytest.param(
            histogram(count="0", bucketCounts=["0"] * 2, explicitBounds=["NaN"]), "otlp_buckets", id="O12 NaN"
        ),
        pytest.param(histogram(count="9", bucketCounts=["1"]), "otlp_buckets", id="O14 count"),
        pytest.param(
            {
                "name": "e",
                "exponentialHistogram": {
                    "aggregationTemporality": 2, "dataPoints": [{"scale": 200, "positive": {"offset": -(2**31)}}]
                },
            },
            "exponential_histogram",
            id="O13",
        ),
        pytest.param(
            {"name": "s", "summary": {"dataPoints": [{"quantileValues": [{"quantile": 1.5}]}]}},
            "otlp_quantile",
            id="O15",
        ),
    ],
)  # fmt: skip
def test_what_has_no_form_here_is_refused_and_its_neighbours_are_kept(metric: dict[str, Any], reason: str) -> None:
    incoming = decoded(metric, gauge("good", {"asInt": "1"}))
    assert dict(incoming.refusals.counts) == {reason: 1}
    assert [name for name, _, _ in rows(incoming)] == ["good"]


def test_more_series_or_samples_than_a_request_may_have_are_refused() -> None:
    content = protobuf(request_of(gauge("g", {"asInt": "1"}, {"asInt": "2"}), gauge("f", {"asInt": "1"})))
    with pytest.raises(Rejected, match="3 samples in one request"):
        otlp.decode_protobuf(content, Limits(max_samples_per_request=2))
    with pytest.raises(Rejected, match="2 series in one request"):
        otlp.decode_protobuf(content, Limits(max_series_per_request=1))


@given(st.binary(max_size=200))
def test_any_bytes_are_understood_or_rejected(body: bytes) -> None:
    for decode in (otlp.decode_protobuf, otlp.decode_json):
        with suppress(Rejected):
            incoming = decode(body, LIMITS)
            assert len(incoming.values) == len(incoming.at_ms) == len(incoming.row_series)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)


@given(st.lists(st.tuples(texts, texts), max_size=4, unique_by=lambda pair: pair[0]))
def test_different_attributes_never_share_a_key(pairs: list[tuple[str, str]]) -> None:
    attributes = [attribute(f"k{name}", stringValue=value) for name, value in pairs]
    points = [{"asInt": "1", "attributes": attributes}, {"asInt": "1", "attributes": attributes[:-1]}]
    incoming = otlp.decode_protobuf(protobuf(request_of(gauge("g", *points))), LIMITS)
    assert len(incoming.keys) == (2 if attributes else 1)


# ---- over HTTP --------------------------------------------------------------------------------------------------


def fresh_gauge(name: str) -> dict[str, Any]:
    return gauge(name, {"asDouble": 1.5, "timeUnixNano": str(SystemClock().now_ms() * 10**6)})


@pytest.mark.parametrize("path", [PATH, "/v1/metrics"])
@pytest.mark.parametrize("zipped", [True, False], ids=["gzip", "plain"])
def test_both_encodings_are_answered_in_kind(server: Served, path: str, zipped: bool) -> None:
    content = request_of(fresh_gauge("http_gauge"))
    packed = {"content-encoding": "gzip"} if zipped else {}
    pack = gzip.compress if zipped else bytes
    with server.client() as client:
        answer = client.post(path, content=pack(protobuf(content)), headers={**PROTOBUF, **packed})
        assert (answer.status_code, answer.content, answer.headers["content-type"]) == (
            200,
            b"",
            PROTOBUF["content-type"],
        )
        answer = client.post(path, content=pack(json.dumps(content).encode()), headers={**JSON, **packed})
        assert (answer.status_code, answer.json()) == (200, {})
    assert any(series == "http_gauge" for series, _ in server.stored())


def test_a_large_request_is_read_beside_the_loop_so_that_others_are_answered(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A megabyte of points takes a sixth of a second."""
    threads: list[str] = []

    def noting(decode: Callable[[bytes, Limits], Incoming]) -> Callable[[bytes, Limits], Incoming]:
        def noted(body: bytes, limits: Limits) -> Incoming:
            threads.append(threading.current_thread().name)
            return decode(body, limits)

        return noted

    monkeypatch.setattr(http_otlp, "decode_json", noting(otlp.decode_json))
    monkeypatch.setattr(http_otlp, "decode_protobuf", noting(otlp.decode_protobuf))
    point = {"asDouble": 1.5, "timeUnixNano": str(SystemClock().now_ms() * 10**6)}
    for count in (1, 1000):
        points = [point | {"attributes": [attribute("n", stringValue=f"{number:060}")]} for number in range(count)]
        content = request_of(gauge("http_wide", *points))
        with server.client() as client:
            assert client.post(PATH, content=protobuf(content), headers=PROTOBUF).content == b""
            assert client.post(PATH, content=json.dumps(content), headers=JSON).json() == {}
    first, second, *others = threads
    assert first == second
    assert len(others) == 2
    assert first not in others


def test_what_is_refused_is_told_in_partial_success_and_the_rest_is_stored(server: Served) -> None:
    content = request_of(fresh_gauge("http_good"), total("http_delta", {"asInt": "1"}, aggregationTemporality=1))
    with server.client() as client:
        answer = client.post(PATH, content=protobuf(content), headers=PROTOBUF)
        told = ExportMetricsServiceResponse.FromString(answer.content).partial_success
        assert (answer.status_code, told.rejected_data_points) == (200, 1)
        assert "1 stored, refused: 1 temporality; 'http_delta': only cumulative" in told.error_message
        told_in_json = client.post(PATH, content=json.dumps(content), headers=JSON).json()["partialSuccess"]
        assert told_in_json["rejectedDataPoints"] == "1"
    assert any(series == "http_good" for series, _ in server.stored())


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {"stringValue": "x"}
    for _ in range(depth):
        value = {"kvlistValue": {"values": [{"key": "k", "value": value}]}}
    return value


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        pytest.param(b"", PROTOBUF, 200, id="O21"),
        pytest.param(gzip.compress(b""), {**PROTOBUF, "content-encoding": "gzip"}, 200, id="O21 gzip"),
        pytest.param(b"{}", JSON, 200, id="O21 JSON"),
        pytest.param(b"", JSON, 400, id="no JSON"),
        pytest.param(b"[]", JSON, 400, id="a list"),
        pytest.param(b'{"resourceMetrics":1}', JSON, 400, id="another type"),
        pytest.param(b'{"unknown":{"a":[1]}}', JSON, 200, id="O3"),
        pytest.param(b'{"resourceSpans":[]}', JSON, 200, id="O22 traces have no metrics in them"),
        pytest.param(b"[" * 100_000, JSON, 400, id="deep JSON"),
        pytest.param(b"\xff\xfe", JSON, 400, id="no UTF-8"),
        pytest.param(json.dumps(request_of(gauge("g", {"attributes": [{"key": "a", "value": nested(60)}]}))).encode(),
                     JSON, 400, id="O16"),
        pytest.param(b"\x0a\xff", PROTOBUF, 400, id="cut short"),
        pytest.param(b"x", {"content-type": "text/plain"}, 415, id="media type"),
        pytest.param(b"x", {**PROTOBUF, "content-encoding": "gzip"}, 400, id="no gzip"),
        pytest.param(protobuf(request_of(gauge("g", {"asInt": "1", "timeUnixNano": "0"}))), PROTOBUF, 200, id="O7"),
        pytest.param(protobuf(request_of(gauge("g", {"asInt": "1", "timeUnixNano": str(2**64 - 1)}))), PROTOBUF, 200,
                     id="O9"),
        pytest.param(protobuf(request_of(gauge("g", {
            "asInt": "1", "attributes": [attribute("a", arrayValue={"values": [{"stringValue": "x" * 10**6}]})]
        }))), PROTOBUF, 200, id="O17"),
    ],
)  # fmt: skip
def test_bad_requests_are_never_a_5xx(server: Served, content: bytes, headers: dict[str, str], status: int) -> None:
    with server.client() as client:
        answer = client.post(PATH, content=content, headers=headers)
        assert answer.status_code == status
        if status == 200 and len(content) > 30:
            assert ExportMetricsServiceResponse.FromString(answer.content).partial_success.rejected_data_points == (
                0 if b"unknown" in content or content[:2] == b"\x1f\x8b" else 1
            )


def test_trouble_of_ours_is_answered_503_so_that_senders_try_again() -> None:
    with Served(bounds=Bounds(MEGA, MEGA, max_in_flight_bytes=10)) as server, server.client() as client:
        answer = client.post(PATH, content=protobuf(request_of(fresh_gauge("g_503"))), headers=PROTOBUF)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
