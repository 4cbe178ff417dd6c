"""Remote-write messages for tests: the slow reference decoder and ways to build sound and unsound bytes."""

from __future__ import annotations

import struct
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PACKAGE: Final = "quantum.promremote.v1"
REPEATED: Final = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
OPTIONAL: Final = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
TYPES: Final = {
    "bytes": descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
    "double": descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE,
    "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    "uint32": descriptor_pb2.FieldDescriptorProto.TYPE_UINT32,
}
SCHEMA: Final = {
    "Label": [(1, "name", "bytes", OPTIONAL), (2, "value", "bytes", OPTIONAL)],
    "Sample": [(1, "value", "double", OPTIONAL), (2, "timestamp", "int64", OPTIONAL)],
    "TimeSeries": [
        (1, "labels", "Label", REPEATED),
        (2, "samples", "Sample", REPEATED),
        (3, "exemplars", "bytes", REPEATED),
        (4, "histograms", "bytes", REPEATED),
    ],
    "WriteRequest": [(1, "timeseries", "TimeSeries", REPEATED), (3, "metadata", "bytes", REPEATED)],
}
"""The messages of remote-write 1.0; text is bytes here, because checking UTF-8 is not the wire format's business."""


SCHEMA_2: Final = {
    "Sample": [*SCHEMA["Sample"], (3, "start_timestamp", "int64", OPTIONAL)],
    "TimeSeries": [
        (1, "labels_refs", "uint32", REPEATED),
        (2, "samples", "Sample", REPEATED),
        (3, "histograms", "bytes", REPEATED),
        (4, "exemplars", "bytes", REPEATED),
        (5, "metadata", "bytes", OPTIONAL),
    ],
    "Request": [(4, "symbols", "bytes", REPEATED), (5, "timeseries", "TimeSeries", REPEATED)],
}
"""The messages of remote-write 2.0."""


@cache
def reference() -> Any:
    """The protobuf library's class for `WriteRequest`."""
    return _message_class(PACKAGE, SCHEMA, "WriteRequest")


@cache
def reference_2() -> Any:
    """The protobuf library's class for the `Request` of 2.0."""
    return _message_class("quantum.promremote.v2", SCHEMA_2, "Request")


def _message_class(package: str, schema: Mapping[str, list[tuple[int, str, str, Any]]], wanted: str) -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="promremote.proto", package=package, syntax="proto3")
    for name, fields in schema.items():
        message = file.message_type.add(name=name)
        for number, field, kind, label in fields:
            added = message.field.add(name=field, number=number, label=label)
            if kind in TYPES:
                added.type = TYPES[kind]
            else:
                added.type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
                added.type_name = f".{package}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{wanted}"))


def varint(value: int) -> bytes:
    """Encode an unsigned integer, or a negative one as 64 bits."""
    value %= 2**64
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def tag(number: int, wire: int) -> bytes:
    return varint(number << 3 | wire)


def field(number: int, payload: bytes) -> bytes:
    """Encode a length-delimited field."""
    return tag(number, 2) + varint(len(payload)) + payload


def label(name: str | bytes, value: str | bytes) -> bytes:
    parts = [part.encode() if isinstance(part, str) else part for part in (name, value)]
    return field(1, field(1, parts[0]) + field(2, parts[1]))


def sample(at_ms: int, value: float) -> bytes:
    return field(2, b"\x09" + struct.pack("<d", value) + tag(2, 0) + varint(at_ms))


def series(labels: Mapping[str, str], samples: Iterable[tuple[int, float]]) -> bytes:
    """Encode one TimeSeries field as Prometheus does: labels, then samples."""
    return field(1, b"".join(label(*pair) for pair in labels.items()) + b"".join(sample(*one) for one in samples))


def request_2(*found: tuple[Mapping[str, str], Iterable[tuple[int, float]]]) -> bytes:
    """Encode a Request of 2.0 of some series (labels, samples) as the specification describes it."""
    symbols = [""]
    message = reference_2()()
    for labels, samples in found:
        one = message.timeseries.add()
        for text in (text for pair in labels.items() for text in pair):
            if text not in symbols:
                symbols.append(text)
            one.labels_refs.append(symbols.index(text))
        for at_ms, value in samples:
            one.samples.add(timestamp=at_ms, value=value)
    message.symbols.extend(text.encode() for text in symbols)
    return bytes(message.SerializeToString())


def snappy(message: bytes) -> bytes:
    """Return a message as a remote-write body."""
    return bytes(cramjam.snappy.compress_raw(message))
