"""OTLP metrics, protobuf and JSON, decoded into columns; named as Prometheus' translation of OpenTelemetry does.

Gauges and cumulative sums are a series each, explicit histograms `_bucket`, `_sum` and `_count`, summaries quantiles.
What has no such form (deltas, exponential histograms) is refused point by point, under a reason. Protobuf's C library
does the decoding.

Names: https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/.
"""

from __future__ import annotations

import base64
import json
import re
from array import array
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, DataPointFlags

from quantum.application.ingest import Incoming, Limits, Refusal, Refusals, check_key_bytes, check_request_size
from quantum.domain.errors import Rejected
from quantum.domain.labels import MAX_GIVEN, MAX_LABELS, MAX_VALUE_BYTES, NAME, LabelSet
from quantum.domain.presence import STALENESS_MARKER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from quantum.application.ingest import Receipt

    Reading = tuple[str, str, str, float]
    """Suffix of the name, name and value of a further label (both may be empty), value."""

PROTOCOL: Final = b"o"
"""First byte of every key, see `Incoming.keys`."""
SEPARATOR: Final = "\udcff"
"""Becomes the byte 0xff in keys, which no text has."""
NS_PER_MS: Final = 10**6
STALE: Final = float(np.uint64(STALENESS_MARKER).view(np.float64))
NO_RECORDED_VALUE: Final = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
CUMULATIVE: Final = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
MAX_DEPTH: Final = 100
UNITS: Final = {
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "TiBy": "tibibytes",
    "KBy": "kilobytes",
    "MBy": "megabytes",
    "GBy": "gigabytes",
    "TBy": "terabytes",
    "m": "meters",
    "V": "volts",
    "A": "amperes",
    "J": "joules",
    "W": "watts",
    "g": "grams",
    "Cel": "celsius",
    "Hz": "hertz",
    "%": "percent",
}
PER: Final = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}
_NO_NAME: Final = re.compile(r"[^a-zA-Z0-9:]+")
_NO_LABEL: Final = re.compile(r"[^a-zA-Z0-9_]")


def decode_protobuf(body: bytes, limits: Limits) -> Incoming:
    """Return the content of an `ExportMetricsServiceRequest`; unknown fields are skipped.

    Raises:
        Rejected: `malformed_body`, `request_series_limit` or `request_sample_limit`.
    """
    try:
        return _columns(ExportMetricsServiceRequest.FromString(body), limits)
    except DecodeError as error:
        raise Rejected("malformed_body", f"the body is no OTLP metrics request: {str(error)[:200]}") from error


def decode_json(body: bytes, limits: Limits) -> Incoming:
    """Return the content of an `ExportMetricsServiceRequest` in the JSON encoding; unknown members are skipped.

    Raises:
        Rejected: `malformed_body`, `request_series_limit` or `request_sample_limit`.
    """
    request = ExportMetricsServiceRequest()
    if body.lstrip()[:1] != b"{":
        # protobuf would take an empty list for a message
        raise Rejected("malformed_body", "the body is no JSON object")
    try:
        json_format.Parse(body, request, ignore_unknown_fields=True, max_recursion_depth=MAX_DEPTH)
    except (json_format.ParseError, ValueError, RecursionError) as error:
        raise Rejected("malformed_body", f"the body is no OTLP metrics request in JSON: {str(error)[:200]}") from error
    return _columns(request, limits)


def answer_protobuf(receipt: Receipt | None) -> bytes:
    """Return an `ExportMetricsServiceResponse`: empty if all is stored, else with what was refused and why."""
    return bytes(_answer(receipt).SerializeToString())


def answer_json(receipt: Receipt | None) -> bytes:
    """Return the same in the JSON encoding."""
    return str(json_format.MessageToJson(_answer(receipt), indent=None)).encode()


def _answer(receipt: Receipt | None) -> ExportMetricsServiceResponse:
    answer = ExportMetricsServiceResponse()
    if receipt is not None and receipt.rejected:
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(receipt.rejected.items()))
        examples = "; ".join(f"{one.message}{f' ({one.labels})' if one.labels else ''}" for one in receipt.examples)
        answer.partial_success.rejected_data_points = sum(receipt.rejected.values())
        answer.partial_success.error_message = f"{receipt.accepted} stored, refused: {counts}; {examples}"
    return answer


def metric_name(name: str, unit: str, kind: str, *, monotonic: bool) -> str:
    """Return the name of a metric in Prometheus: underscores for what it does not allow, then unit, then `_total`.

    Args:
        name: of the instrument.
        unit: in UCUM; annotations in braces say nothing.
        kind: `gauge`, `sum`, `histogram` or `summary`.
        monotonic: whether it is a sum that only grows.
    """
    words = [word for word in _NO_NAME.split(name) if word]
    main, _, per = (part.strip() for part in unit.partition("/"))
    suffixes = [] if "{" in main else [UNITS.get(main, main)]
    if main == "1":
        suffixes = ["ratio"] if kind == "gauge" else []
    if per and "{" not in per:
        suffixes.append(f"per_{PER.get(per, per)}")
    wanted = [word for suffix in suffixes for word in _NO_NAME.split(suffix) if word]
    if wanted and "_".join(wanted) not in "_".join(words):
        words += wanted
    if monotonic:
        words = [word for word in words if word != "total"] + ["total"]
    plain = "_".join(words)
    return f"_{plain}" if plain[:1].isdigit() else plain


@lru_cache(maxsize=4096)
def label_name(key: str) -> str:
    """Return the name of an attribute as a label of Prometheus."""
    plain = _NO_LABEL.sub("_", key)
    return f"key_{plain}" if plain[:1].isdigit() else plain


def _columns(request: Any, limits: Limits) -> Incoming:
    builder = _Builder(limits)
    for resource in request.resource_metrics:
        identity = _identity(resource.resource.attributes)
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                builder.add_metric(metric, identity)
    return builder.finish()


def _identity(attributes: Iterable[Any]) -> list[tuple[str, str]]:
    """Return the labels `job` and `instance` of a resource; the others describe it and are no labels."""
    texts = {one.key: _text(one.value) for one in attributes if one.key.startswith("service.")}
    name = texts.get("service.name", "")
    namespace = texts.get("service.namespace", "")
    return [
        ("job", f"{namespace}/{name}" if namespace and name else name),
        ("instance", texts.get("service.instance.id", "")),
    ]


class _Builder:
    """Columns in the making.

    Attributes:
        keys: of the series, in the order in which they came, with their indices.
        at_ms: of the rows.
    """

    def __init__(self, limits: Limits) -> None:
        self.keys: dict[bytes, int] = {}
        self._limits, self._key_bytes = limits, 0
        self.at_ms = array("q")
        self._rows = array("q")
        self._values = array("d")
        self._refusals = Refusals()

    def add_metric(self, metric: Any, identity: Sequence[tuple[str, str]]) -> None:
        """Add all points of a metric, or refuse them.

        Raises:
            Rejected: `request_series_limit`, `request_sample_limit` or `decoded_too_large`, for the whole request.
        """
        kind = metric.WhichOneof("data")
        if kind is None or not metric.name:
            self._refusals.add(
                Refusal("otlp_metric", f"metric {metric.name[:80]!r} has no name, or no data known here")
            )
            return
        data = getattr(metric, kind)
        wrong = _unfit(kind, data)
        if wrong:
            reason, sentence = wrong
            self._refusals.add(Refusal(reason, f"{metric.name[:80]!r}: {sentence}"), len(data.data_points))
            return
        name = metric_name(metric.name, metric.unit, kind, monotonic=kind == "sum" and data.is_monotonic)
        for point in data.data_points:
            try:
                pairs, readings = _pairs(point.attributes, identity), list(READERS[kind](point))
            except Rejected as error:
                self._refusals.add(Refusal(error.reason, f"{metric.name[:80]!r}: {error}"))
            else:
                self._add_point(name, pairs, point, readings)

    def _add_point(self, name: str, pairs: Sequence[str], point: Any, readings: Iterable[Reading]) -> None:
        at_ms = point.time_unix_nano // NS_PER_MS
        stale = point.flags & NO_RECORDED_VALUE
        for suffix, label, value_of_label, value in readings:
            further = (label, value_of_label) if label else ()
            text = SEPARATOR.join((NAME, name + suffix, *pairs, *further))
            key = PROTOCOL + text.encode(errors="surrogateescape")
            known = len(self.keys)
            self._rows.append(self.keys.setdefault(key, known))
            if len(self.keys) > known:
                self._key_bytes += len(key)
                check_key_bytes(self._key_bytes)
            self.at_ms.append(at_ms)
            self._values.append(STALE if stale else value)
        check_request_size(self._limits, len(self.keys), len(self.at_ms))

    def finish(self) -> Incoming:
        """Return the columns."""
        keys = list(self.keys)
        return Incoming(
            keys=keys,
            labels_of=lambda index: labels_of_key(keys[index]),
            row_series=np.array(self._rows, np.int64),
            at_ms=np.array(self.at_ms, np.int64),
            values=np.frombuffer(self._values, np.float64) if self._values else np.empty(0),
            refusals=self._refusals,
        )


def labels_of_key(key: bytes) -> LabelSet:
    """Return the label set of a series' key.

    Raises:
        Rejected: what `LabelSet.of` refuses.
    """
    parts = [part.decode() for part in key[len(PROTOCOL) :].split(b"\xff")]
    return LabelSet.of(zip(parts[::2], parts[1::2], strict=True))


def _pairs(attributes: Sequence[Any], identity: Sequence[tuple[str, str]]) -> list[str]:
    """Return names and values in turn; attributes that become the same label are joined, as the translation says.

    Raises:
        Rejected: `max_labels` or `label_value`: `LabelSet.of` would refuse them, but only once they are written out for
            each reading.
    """
    if len(attributes) > MAX_GIVEN:
        raise Rejected("max_labels", f"{len(attributes)} attributes given, the limit is {MAX_LABELS} labels")
    labels: dict[str, str] = {}
    for one in sorted(attributes, key=_key_of) if len(attributes) > 1 else attributes:
        name, value = label_name(one.key), _text(one.value)
        labels[name] = f"{labels[name]};{value}" if name in labels else value
    labels.update((name, value) for name, value in identity if value)
    if any(len(value) > MAX_VALUE_BYTES for value in labels.values()):
        raise Rejected("label_value", f"the value of an attribute is over {MAX_VALUE_BYTES} bytes")
    return [text for pair in labels.items() for text in pair]


def _key_of(attribute: Any) -> str:
    return str(attribute.key)


def _text(value: Any) -> str:
    """Return an attribute's value as the text of a label."""
    if value.WhichOneof("value") == "string_value":
        return str(value.string_value)
    plain = _plain(value)
    return plain if isinstance(plain, str) else json.dumps(plain, separators=(",", ":"))


def _plain(value: Any) -> Any:
    match value.WhichOneof("value"):
        case None:
            return ""
        case "array_value":
            return [_plain(one) for one in value.array_value.values]
        case "kvlist_value":
            return {one.key: _plain(one.value) for one in value.kvlist_value.values}
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case kind:
            return getattr(value, kind)


def _unfit(kind: str, data: Any) -> tuple[str, str] | None:
    """Return reason and sentence where all points of a metric are refused."""
    if kind == "exponential_histogram":
        return "exponential_histogram", "exponential histograms are not supported; send explicit buckets"
    if kind in {"sum", "histogram"} and data.aggregation_temporality != CUMULATIVE:
        return "temporality", "only cumulative temporality is taken; deltas say nothing once one is lost"
    return None


def _read_number(point: Any) -> Iterator[Reading]:
    kind = point.WhichOneof("value")
    if kind is None and not point.flags & NO_RECORDED_VALUE:
        raise Rejected("otlp_value", "a point has no value")
    yield "", "", "", float(getattr(point, kind)) if kind else 0.0


def _read_histogram(point: Any) -> Iterator[Reading]:
    bounds, counts = list(point.explicit_bounds), list(point.bucket_counts)
    stale = point.flags & NO_RECORDED_VALUE
    if not stale:
        _check_buckets(bounds, counts, point.count)
    sums = list(accumulate(counts)) if counts and not stale else [0] * len(bounds)
    for bound, count in zip(bounds, sums, strict=False):
        yield "_bucket", "le", _bound(bound), float(count)
    yield "_bucket", "le", "+Inf", float(point.count)
    yield "_count", "", "", float(point.count)
    if stale or point.HasField("sum"):
        yield "_sum", "", "", point.sum


def _check_buckets(bounds: Sequence[float], counts: Sequence[int], count: int) -> None:
    if (bounds or counts) and len(counts) != len(bounds) + 1:
        raise Rejected("otlp_buckets", f"{len(counts)} bucket counts for {len(bounds)} bounds, one more is needed")
    if any(not low < high for low, high in pairwise([-np.inf, *bounds, np.inf])):
        raise Rejected("otlp_buckets", "the bounds of the buckets are not finite and rising")
    if counts and sum(counts) != count:
        raise Rejected("otlp_buckets", f"the buckets hold {sum(counts)}, the count is {count}")


def _read_summary(point: Any) -> Iterator[Reading]:
    for one in point.quantile_values:
        if not 0 <= one.quantile <= 1:
            raise Rejected("otlp_quantile", f"the quantile {one.quantile} is not between 0 and 1")
        yield "", "quantile", _bound(one.quantile), one.value
    yield "_count", "", "", float(point.count)
    yield "_sum", "", "", point.sum


@lru_cache(maxsize=4096)
def _bound(bound: float) -> str:
    """Return a number as Prometheus writes it in `le` and `quantile`."""
    return np.format_float_positional(bound, trim="-")


READERS: Final[dict[str, Callable[[Any], Iterator[Reading]]]] = {
    "gauge": _read_number,
    "sum": _read_number,
    "histogram": _read_histogram,
    "summary": _read_summary,
}
