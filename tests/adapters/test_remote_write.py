"""Remote-write decoding: compared with the protobuf library on sound, mutated and random bytes, compiled and not."""

from __future__ import annotations

import importlib.util
import struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.writes import field, label, reference, sample, series, snappy, tag, varint

from quantum.adapters import remote_write, remote_write_walk
from quantum.application.ingest import Incoming, Limits
from quantum.domain import kernels
from quantum.domain.errors import Rejected
from quantum.domain.labels import LabelSet

if TYPE_CHECKING:
    from types import ModuleType

LIMITS: Final = Limits()
GOLDEN: Final = bytes.fromhex(
    "0a2f"  # timeseries of 47 bytes
    "0a0e0a085f5f6e616d655f5f12027570"  # label __name__="up"
    "0a0b0a036a6f6212046e6f6465"  # label job="node"
    "1210"  # sample of 16 bytes
    "09000000000000f03f"  # value 1.0
    "1080a0f1c2b134"  # timestamp 1800000000000
)
UP: Final = {"__name__": "up", "job": "node"}


@pytest.fixture(name="interpreted", scope="module")
def without_numba() -> ModuleType:
    """The same walk as it runs where numba is not installed."""
    assert remote_write_walk.__spec__ is not None
    spec = importlib.util.spec_from_file_location("walk_without_numba", remote_write_walk.__spec__.origin)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as hidden:
        hidden.setattr(kernels, "njit", None)
        spec.loader.exec_module(module)
    assert module.message_bytes(b"x") == b"x"
    return module


@pytest.fixture(name="decode", params=["compiled", "interpreted"])
def either_decoder(request: pytest.FixtureRequest, interpreted: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`decode_remote_write`, once on the compiled walk and once on the interpreted one."""
    if request.param == "interpreted":
        monkeypatch.setattr(remote_write, "walk", interpreted)
    return remote_write.decode_remote_write


def decoded(incoming: Incoming) -> list[tuple[list[tuple[bytes, bytes]], list[tuple[int, int]]]]:
    """Labels and rows (time, bits) of each series, without the domain's rules for labels."""
    found = []
    for index, key in enumerate(incoming.keys):
        parsed = reference().FromString(field(1, key)).timeseries[0].labels
        rows = incoming.row_series == index
        bits = incoming.values[rows].view(np.int64).tolist()
        found.append(
            ([(one.name, one.value) for one in parsed], list(zip(incoming.at_ms[rows].tolist(), bits, strict=True)))
        )
    return found


def expected(message: bytes) -> list[tuple[list[tuple[bytes, bytes]], list[tuple[int, int]]]]:
    return [
        (
            [(one.name, one.value) for one in each.labels],
            [(one.timestamp, struct.unpack("<q", struct.pack("<d", one.value))[0]) for one in each.samples],
        )
        for each in reference().FromString(message).timeseries
    ]


def outcome(walk: ModuleType, message: bytes, room: int) -> object:
    """What a walk makes of a message, given some room: its counts and columns, or the error."""
    counts = np.zeros(walk.COUNTS, np.int64)
    labels, columns = np.zeros((room, 3), np.int64), [np.zeros(room, np.int64) for _ in range(3)]
    error = walk.fill_columns(walk.message_bytes(message), labels, *columns, counts)
    return error or (counts.tolist(), labels.tolist(), [column.tolist() for column in columns])


def reason_of(message: bytes, decode: Any = remote_write.decode_remote_write) -> str:
    with pytest.raises(Rejected) as refused:
        decode(message, LIMITS)
    return refused.value.reason


def test_golden_bytes(decode: Any) -> None:
    incoming = decode(GOLDEN, LIMITS)
    assert incoming.labels_of(0) == LabelSet.of(UP)
    assert incoming.at_ms.tolist() == [1_800_000_000_000]
    assert incoming.values.tolist() == [1.0]
    assert series(UP, [(1_800_000_000_000, 1.0)]) == GOLDEN


def test_labels_samples_and_order_are_kept(decode: Any) -> None:
    message = series(UP, [(5, 1.0), (4, -2.5)]) + series({"__name__": "a"}, []) + series({"__name__": "b"}, [(9, 0.0)])
    incoming = decode(message, LIMITS)
    assert [incoming.labels_of(index).name for index in range(3)] == ["up", "a", "b"]
    assert incoming.row_series.tolist() == [0, 0, 2]
    assert incoming.at_ms.tolist() == [5, 4, 9]
    assert incoming.values.tolist() == [1.0, -2.5, 0.0]


def test_fields_may_come_in_any_order_and_unknown_ones_are_skipped(decode: Any) -> None:
    unknown = tag(99, 0) + varint(7) + tag(98, 1) + bytes(8) + tag(97, 5) + bytes(4) + field(96, b"x")
    odd_sample = field(2, unknown + tag(2, 0) + varint(1) + b"\x09" + struct.pack("<d", 2.0))
    tangled = odd_sample + label("job", "node") + unknown + sample(3, 4.0) + label("__name__", "up")
    incoming = decode(unknown + field(1, tangled), LIMITS)
    assert incoming.labels_of(0) == LabelSet.of(UP)
    assert incoming.at_ms.tolist() == [1, 3]
    assert incoming.keys == [label("job", "node") + label("__name__", "up")]


def test_fields_that_are_absent_are_zero_and_of_repeated_ones_the_last_counts(decode: Any) -> None:
    value = b"\x09" + struct.pack("<d", 2.0)
    body = (
        label("__name__", "up") + field(2, b"") + field(2, value * 2 + tag(2, 0) + varint(1) + tag(2, 0) + varint(-2))
    )
    incoming = decode(field(1, body), LIMITS)
    assert incoming.at_ms.tolist() == [0, -2]
    assert incoming.values.tolist() == [0.0, 2.0]


@pytest.mark.parametrize("bits", [0x7FF0000000000002, 0x7FF8000000000001, 0xFFF0000000000000, 1, 2**63])
def test_every_bit_of_a_value_is_kept(decode: Any, bits: int) -> None:
    (value,) = struct.unpack("<d", struct.pack("<Q", bits))
    raw = field(2, b"\x09" + struct.pack("<Q", bits))
    assert decode(field(1, raw), LIMITS).values.view(np.uint64).tolist() == [bits]
    assert np.array([value]).dtype == np.float64


@pytest.mark.parametrize("at_ms", [2**63 - 1, -(2**63), -1, 0, 127, 128])
def test_d11_every_time_of_64_bits_is_kept(decode: Any, at_ms: int) -> None:
    assert decode(series(UP, [(at_ms, 1.0)]), LIMITS).at_ms.tolist() == [at_ms]


def test_histograms_are_refused_and_exemplars_and_metadata_ignored_but_all_are_counted(decode: Any) -> None:
    """R21: samples beside histograms are taken; R24: whatever an exemplar says, it is left out."""
    body = label("__name__", "up") + sample(1, 1.0) + field(3, b"e") + field(4, b"h") + field(4, b"")
    incoming = decode(field(3, b"m") + field(1, body) + field(3, b""), LIMITS)
    assert dict(incoming.refusals.counts) == {"histogram_unsupported": 2}
    assert incoming.ignored == {"exemplars": 1, "metadata": 2}
    assert incoming.at_ms.tolist() == [1]


def test_r25_metadata_alone_has_no_samples(decode: Any) -> None:
    incoming = decode(field(3, b"x") * 3, LIMITS)
    assert (len(incoming.keys), len(incoming.at_ms), dict(incoming.refusals.counts)) == (0, 0, {})


def test_an_empty_message_is_a_request_without_samples(decode: Any) -> None:
    assert len(decode(b"", LIMITS).keys) == 0


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(GOLDEN[:-1], id="R10 truncated in the outermost field"),
        pytest.param(field(1, label("a", "b")[:-1]), id="R10 truncated in a label field"),
        pytest.param(field(1, field(2, b"\x09" + bytes(7))), id="R10 truncated in a value"),
        pytest.param(field(1, field(2, b"\x10\x80")), id="R10 truncated in a varint"),
        pytest.param(field(1, field(2, b"\x10" + b"\x80" * 9)), id="R10 truncated in a long varint"),
        pytest.param(tag(1, 0) + varint(1), id="R11 series as varint"),
        pytest.param(field(1, tag(2, 0) + varint(1)), id="R11 sample as varint"),
        pytest.param(field(1, field(2, tag(1, 0) + varint(1))), id="R11 value as varint"),
        pytest.param(field(1, field(2, tag(2, 1) + bytes(8))), id="R11 time as fixed"),
        pytest.param(tag(1, 6) + bytes(8), id="R11 wire type 6"),
        pytest.param(tag(5, 3) + tag(5, 4), id="R12 group"),
        pytest.param(field(1, tag(5, 4)), id="R12 end of a group"),
        pytest.param(tag(0, 0) + varint(1), id="R12 field 0"),
        pytest.param(varint(2**32 | 8) + varint(1), id="field number of more than 29 bits"),
        pytest.param(varint(2**64 - 1), id="field number of 61 bits"),
        pytest.param(tag(1, 2) + varint(100) + b"short", id="R14 length beyond the message"),
        pytest.param(tag(1, 2) + varint(2**63), id="R14 negative length"),
        pytest.param(field(1, tag(1, 2) + varint(2**40)), id="R14 length beyond the series"),
        pytest.param(field(1, field(2, b"\x10" + b"\xff" * 9 + b"\x02")), id="R6 varint of 65 bits"),
        pytest.param(field(1, field(2, b"\x10" + b"\xff" * 10 + b"\x01")), id="R6 varint of 11 bytes"),
    ],
)
def test_bytes_that_break_the_wire_format_are_refused(decode: Any, message: bytes) -> None:
    assert reason_of(message, decode) == "malformed_body"


def test_r13_deep_nesting_in_an_unknown_field_costs_nothing(decode: Any) -> None:
    nested = b""
    for _ in range(2000):
        nested = field(9, nested)
    assert decode(nested + GOLDEN, LIMITS).values.tolist() == [1.0]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(label("a", b"\xff\xfe"), "label_utf8", id="R15 D29 invalid value"),
        pytest.param(label(b"\xc0\xaf", "b"), "label_utf8", id="D29 overlong name"),
        pytest.param(label("a", b"\xed\xa0\x80"), "label_utf8", id="D29 lone surrogate"),
        pytest.param(label("a", "b") + label("a", "b"), "duplicate_label", id="D25 twice"),
        pytest.param(label("", "b"), "label_name", id="D25 empty name"),
        pytest.param(label("a", "\0"), "label_value", id="D28 NUL"),
        pytest.param(field(1, field(1, b"a")[:-1]), "malformed_body", id="a label that is no message"),
        pytest.param(field(1, tag(1, 0) + varint(3)), "malformed_body", id="a label name as varint"),
    ],
)
def test_labels_that_cannot_be_are_refused_when_they_are_decoded(decode: Any, body: bytes, reason: str) -> None:
    incoming = decode(field(1, body + sample(1, 1.0)) + GOLDEN, LIMITS)
    with pytest.raises(Rejected) as refused:
        incoming.labels_of(0)
    assert refused.value.reason == reason
    assert incoming.labels_of(1) == LabelSet.of(UP)


def test_d25_unsorted_labels_are_sorted_and_d26_empty_values_absent(decode: Any) -> None:
    body = label("z", "1") + label("__name__", "up") + label("a", "") + label("b", "2")
    labels = decode(field(1, body), LIMITS).labels_of(0)
    assert labels.pairs == (("__name__", "up"), ("b", "2"), ("z", "1"))


def test_d30_labels_are_kept_byte_by_byte(decode: Any) -> None:
    texts = ["\u00e9", "e\u0301", "\u202eabc", "a\u200bb", "\U0001f600"]
    message = b"".join(series({"__name__": "up", "t": text}, [(1, 1.0)]) for text in texts)
    incoming = decode(message, LIMITS)
    assert [incoming.labels_of(index).get("t") for index in range(5)] == texts


@pytest.mark.parametrize("count", [1, 100, 5000])
def test_requests_of_the_smallest_series_and_samples_are_decoded(decode: Any, count: int) -> None:
    assert len(decode(field(1, b"") * count, LIMITS).keys) == count
    assert decode(field(1, field(2, b"") * count), LIMITS).at_ms.tolist() == [0] * count


def test_r26_too_many_series_or_samples_are_refused(decode: Any) -> None:
    with pytest.raises(Rejected, match="3 series in one request, the limit is 2"):
        decode(GOLDEN * 3, Limits(max_series_per_request=2))
    with pytest.raises(Rejected, match="3 samples in one request, the limit is 2"):
        decode(series(UP, [(1, 1.0)] * 3), Limits(max_samples_per_request=2))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"not snappy at all", id="R1"),
        pytest.param(b"\xff\x06\x00\x00sNaPpY" + b"\x00" * 20, id="R2 framed"),
        pytest.param(varint(50) + snappy(GOLDEN)[1:], id="R4 header longer than data"),
        pytest.param(varint(3) + snappy(GOLDEN)[1:], id="R4 header shorter than data"),
        pytest.param(b"", id="R5 empty"),
        pytest.param(b"\x80\x80\x80\x80\x80\x01", id="R6 length of six bytes"),
        pytest.param(b"\x04\x05\xff\x01", id="R7 copy from before the start"),
    ],
)
def test_a_body_that_is_no_snappy_block_is_refused(body: bytes) -> None:
    with pytest.raises(Rejected) as refused:
        remote_write.decompress(body)
    assert refused.value.reason == "malformed_body"


def test_r3_a_block_that_claims_four_gigabytes_says_so_before_anything_is_allocated() -> None:
    assert remote_write.decompressed_size(b"\xff\xff\xff\xff\x0f") == 2**32 - 1
    with pytest.raises(Rejected):
        remote_write.decompressed_size(b"\xff" * 6)


def test_snappy_blocks_are_decompressed() -> None:
    block = snappy(GOLDEN * 100)
    assert remote_write.decompressed_size(block) == 100 * len(GOLDEN)
    assert remote_write.decompress(block) == GOLDEN * 100


def test_warming_up_compiles_without_a_trace() -> None:
    remote_write.warm_up()
    assert remote_write.decode_remote_write(GOLDEN, LIMITS).values.tolist() == [1.0]


texts = st.text(max_size=6).map(str.encode) | st.binary(max_size=6)
labels = st.builds(label, texts, texts)
samples = st.builds(sample, st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=True))
others = st.builds(field, st.sampled_from([3, 4, 9, 2**29 - 1]), st.binary(max_size=5))
bodies = st.lists(labels | samples | others, max_size=8).map(b"".join)
messages = st.lists(st.builds(field, st.just(1), bodies) | others, max_size=5).map(b"".join)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A sound message with a bit flipped, a stretch cut out or bytes put in."""
    message = bytearray(draw(messages))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(message)))
        cut = draw(st.integers(0, 4))
        message[at : at + cut] = draw(st.binary(max_size=4))
    return bytes(message)


@settings(max_examples=300)
@given(messages)
def test_every_sound_message_is_decoded_as_the_protobuf_library_does(message: bytes) -> None:
    assert decoded(remote_write.decode_remote_write(message, LIMITS)) == expected(message)


@settings(max_examples=600)
@given(mutated() | st.binary(max_size=60))
@example(b"\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01")
def test_no_bytes_are_understood_otherwise_than_by_the_protobuf_library(message: bytes) -> None:
    """Either it is refused, or a label is, or both decoders find the same."""
    try:
        incoming = remote_write.decode_remote_write(message, LIMITS)
        for key in incoming.keys:
            remote_write.label_pairs(key)
    except Rejected:
        return
    assert decoded(incoming) == expected(message)


@settings(max_examples=600)
@given(st.lists(labels, max_size=4).map(b"".join) | mutated())
@example(label("a", "b" * 130) + label("c", "d"))
@example(label("a", "b")[:-1])
def test_labels_are_those_that_the_protobuf_library_finds(key: bytes) -> None:
    try:
        pairs = remote_write.label_pairs(key)
    except Rejected:
        return
    only_labels = all(number == 1 for number, *_ in remote_write._fields(key))
    found = reference().FromString(field(1, key)).timeseries[0].labels
    assert not only_labels or pairs == [(one.name.decode(), one.value.decode()) for one in found]


@settings(max_examples=400)
@given(mutated() | messages | st.binary(max_size=60), st.sampled_from([0, 1, 2, 50]))
def test_compiled_and_interpreted_walks_agree_on_any_bytes(interpreted: ModuleType, message: bytes, room: int) -> None:
    assert outcome(remote_write_walk, message, room) == outcome(interpreted, message, room)


@settings(max_examples=200)
@given(st.binary(max_size=80))
def test_any_body_is_decompressed_or_refused(body: bytes) -> None:
    try:
        content = remote_write.decompress(body)
    except Rejected:
        return
    assert len(content) == remote_write.decompressed_size(body)
