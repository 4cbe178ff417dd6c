"""Remote-write 2.0: compared with the protobuf library on sound and mutated bytes, compiled and not, and over HTTP."""

from __future__ import annotations

import importlib.util
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serving import Served
from tests.writes import field, reference, reference_2, request_2, series, snappy, tag, varint

from quantum.adapters import remote_write, remote_write_walk
from quantum.application.ingest import Incoming, Limits
from quantum.domain import kernels
from quantum.domain.errors import Rejected
from quantum.domain.labels import LabelSet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

LIMITS: Final = Limits()
UP: Final = {"__name__": "up", "job": "node"}
GOLDEN: Final = bytes.fromhex(
    "2200"  # symbol 0, empty
    "22085f5f6e616d655f5f"  # symbol 1, __name__
    "22027570"  # symbol 2, up
    "22036a6f62"  # symbol 3, job
    "22046e6f6465"  # symbol 4, node
    "2a18"  # timeseries of 24 bytes
    "0a0401020304"  # references
    "1210"  # sample of 16 bytes
    "09000000000000f03f"  # value 1.0
    "1080a0f1c2b134"  # timestamp 1800000000000
)
WRITE: Final = "/prometheus/api/v1/write"
HEADERS: Final = {
    "content-type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
    "content-encoding": "snappy",
    "x-prometheus-remote-write-version": "2.0.0",
}


@pytest.fixture(name="interpreted", scope="module")
def without_numba() -> ModuleType:
    """The same walk as it runs where numba is not installed."""
    assert remote_write_walk.__spec__ is not None
    spec = importlib.util.spec_from_file_location("walk_2_without_numba", remote_write_walk.__spec__.origin)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as hidden:
        hidden.setattr(kernels, "njit", None)
        spec.loader.exec_module(module)
    return module


@pytest.fixture(name="decode", params=["compiled", "interpreted"])
def either_decoder(request: pytest.FixtureRequest, interpreted: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`decode_remote_write_2`, once on the compiled walk and once on the interpreted one."""
    if request.param == "interpreted":
        monkeypatch.setattr(remote_write, "walk", interpreted)
    return remote_write.decode_remote_write_2


def decoded(incoming: Incoming) -> list[object]:
    """Labels and rows (time, bits) of each series, without the domain's rules for labels."""
    found: list[object] = []
    for index, key in enumerate(incoming.keys):
        labels = reference().FromString(field(1, key)).timeseries[0].labels
        rows = incoming.row_series == index
        bits = incoming.values[rows].view(np.int64).tolist()
        pairs = [(one.name, one.value) for one in labels]
        found.append((pairs, list(zip(incoming.at_ms[rows].tolist(), bits, strict=True))))
    return found


def expected(message: bytes) -> list[object]:
    request = reference_2().FromString(message)
    return [
        (
            [(request.symbols[a], request.symbols[b]) for a, b in zip(*[iter(one.labels_refs)] * 2, strict=True)],
            [(each.timestamp, int(np.float64(each.value).view(np.int64))) for each in one.samples],
        )
        for one in request.timeseries
    ]


def reason_of(message: bytes, decode: Any = remote_write.decode_remote_write_2) -> str:
    with pytest.raises(Rejected) as refused:
        decode(message, LIMITS)
    return refused.value.reason


TEXTS = st.binary(max_size=140)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    message = reference_2()()
    message.symbols.extend([b"", *draw(st.lists(TEXTS, max_size=6))])
    one = st.integers(0, len(message.symbols) - 1)
    for _ in range(draw(st.integers(0, 4))):
        added = message.timeseries.add(histograms=draw(st.lists(st.just(b""), max_size=2)))
        added.labels_refs.extend(
            draw(st.lists(st.tuples(one, one), max_size=5).map(lambda p: [x for y in p for x in y]))
        )
        for at_ms, value, start in draw(
            st.lists(
                st.tuples(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.integers(0, 9)), max_size=3
            )
        ):
            added.samples.add(timestamp=at_ms, value=value, start_timestamp=start)
    return bytes(message.SerializeToString())


def test_golden_bytes(decode: Any) -> None:
    incoming = decode(GOLDEN, LIMITS)
    assert incoming.labels_of(0) == LabelSet.of(UP)
    assert (incoming.at_ms.tolist(), incoming.values.tolist()) == ([1_800_000_000_000], [1.0])
    assert request_2((UP, [(1_800_000_000_000, 1.0)])) == GOLDEN


def test_a_series_has_the_key_that_it_has_in_version_1(decode: Any) -> None:
    one = remote_write.decode_remote_write(series(UP, [(1, 1.0)]), LIMITS)
    assert decode(request_2((UP, [(1, 1.0)])), LIMITS).keys == one.keys


@settings(max_examples=150)
@given(message=requests())
def test_sound_requests_are_understood_as_protobuf_does(message: bytes, interpreted: ModuleType) -> None:
    assert decoded(remote_write.decode_remote_write_2(message, LIMITS)) == expected(message)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(remote_write, "walk", interpreted)
        assert decoded(remote_write.decode_remote_write_2(message, LIMITS)) == expected(message)


@settings(max_examples=300)
@given(message=requests(), place=st.integers(0, 400), byte=st.integers(0, 255), cut=st.integers(0, 400))
def test_mutated_requests_are_refused_or_understood_alike_compiled_and_not(
    message: bytes, place: int, byte: int, cut: int, interpreted: ModuleType
) -> None:
    mutated = bytearray(message)
    if place < len(mutated):
        mutated[place] = byte
    outcomes: list[Any] = []
    for walk in (remote_write_walk, interpreted):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(remote_write, "walk", walk)
            try:
                incoming = remote_write.decode_remote_write_2(bytes(mutated[: len(message) - cut or None]), LIMITS)
                outcomes.append((list(incoming.keys), incoming.at_ms.tolist(), incoming.row_series.tolist()))
            except Rejected as refused:
                outcomes.append(([refused.reason], [], []))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(field(4, b"a") + field(5, b""), "malformed_body", id="R18 the first symbol is not empty"),
        pytest.param(field(4, b"") + field(5, field(1, b"\x00\x07")), "malformed_body", id="R19 no such symbol"),
        pytest.param(field(4, b"") + field(5, field(1, b"\x00" + varint(-1))), "malformed_body", id="R19 negative"),
        pytest.param(field(4, b"") + field(5, field(1, b"\x00")), "malformed_body", id="R20 a name without a value"),
        (field(4, b"") + field(5, field(1, b"\x80")), "malformed_body"),  # ends in the middle
        (field(4, b"") + field(5, tag(1, 5) + bytes(4)), "malformed_body"),  # wrong wire type
        (tag(4, 0) + varint(1), "malformed_body"),
        (field(4, b"") + field(5, tag(2, 0) + varint(1)), "malformed_body"),
        (tag(5, 3), "malformed_body"),
    ],
)
def test_bytes_that_are_no_request_are_refused(decode: Any, body: bytes, reason: str) -> None:
    assert reason_of(body, decode) == reason


def test_references_may_come_one_by_one_and_after_the_samples(decode: Any) -> None:
    refs = b"".join(tag(1, 0) + varint(number) for number in (1, 2))
    message = field(5, field(2, b"") + refs) + field(4, b"") + field(4, b"__name__") + field(4, b"up")
    incoming = decode(message, LIMITS)
    assert incoming.labels_of(0) == LabelSet.of({"__name__": "up"})
    assert incoming.at_ms.tolist() == [0]


def test_other_parts_are_counted(decode: Any) -> None:
    parts = field(3, b"") + field(3, b"") + field(4, b"") + field(5, b"")
    incoming = decode(field(4, b"") + field(5, parts), LIMITS)
    assert incoming.refusals.counts == {"histogram_unsupported": 2}
    assert incoming.ignored == {"exemplars": 1, "metadata": 1}


def test_labels_that_no_series_may_have_are_refused_for_what_they_are(decode: Any) -> None:
    long = request_2(({"__name__": "up", "a": "x" * 5000}, [(1, 1.0)]))
    with pytest.raises(Rejected, match="over 2048 bytes"):
        decode(long, LIMITS).labels_of(0)
    many = request_2(({"__name__": "up", **{f"l{n}": "x" for n in range(200)}}, [(1, 1.0)]))
    with pytest.raises(Rejected, match="the limit is 30"):
        decode(many, LIMITS).labels_of(0)


def test_few_bytes_that_refer_to_a_long_text_again_and_again_are_refused() -> None:
    bomb = field(4, b"") + field(4, b"x" * 4096) + field(5, field(1, b"\x01" * 128)) * 200
    assert len(bomb) < 40_000
    assert reason_of(bomb) == "decoded_too_large"


def test_a_series_with_too_many_labels_is_refused_whole_and_its_neighbours_stay(decode: Any) -> None:
    """Of 65 labels, 63 of them empty, none may be forgotten: the last one tells two series apart."""
    texts = ["", "__name__", "up", *(f"e{number}" for number in range(63)), "job", "node"]
    refs = [1, 2, *(ref for number in range(63) for ref in (3 + number, 0)), 66, 67]
    body = field(1, b"".join(map(varint, refs))) + field(2, b"")
    good = field(5, field(1, b"\x01\x02") + field(2, b""))
    incoming = decode(b"".join(field(4, text.encode()) for text in texts) + field(5, body) + good, LIMITS)
    with pytest.raises(Rejected, match="more than 64 labels, the limit is 30") as refused:
        incoming.labels_of(0)
    assert refused.value.reason == "max_labels"
    assert incoming.labels_of(1) == LabelSet.of({"__name__": "up"})


@pytest.mark.parametrize("count", [2, 3])
def test_a_request_may_have_as_many_series_and_samples_as_the_limits_say(decode: Any, count: int) -> None:
    limits = Limits(max_series_per_request=2, max_samples_per_request=2)
    many = field(4, b"") + field(5, b"") * count
    long = field(4, b"") + field(5, field(2, b"") * count)
    if count == 2:
        assert (len(decode(many, limits).keys), len(decode(long, limits).at_ms)) == (2, 2)
        return
    with pytest.raises(Rejected, match="3 series in one request, the limit is 2"):
        decode(many + field(5, b"") * 1000, limits)
    with pytest.raises(Rejected, match="3 samples in one request, the limit is 2"):
        decode(long + field(5, field(2, b"")) * 1000, limits)


@pytest.mark.parametrize(
    "message",
    [field(4, b"") * 2_000_001, field(4, b"") + field(5, field(1, bytes(8_000_001)))],
    ids=["symbols", "references"],
)
def test_more_symbols_or_references_than_a_request_can_use_are_refused(message: bytes) -> None:
    assert reason_of(message) == "decoded_too_large"


# ---- over HTTP ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with Served() as served:
        yield served


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def test_what_was_written_is_said_in_headers(server: Served) -> None:
    at_ms = now_ms()
    message = request_2(({"__name__": "two"}, [(at_ms - 1, 1.0), (at_ms, 2.0)]))
    with server.client() as client:
        for _ in range(2):  # sent again it is written just as well
            answer = client.post(WRITE, content=snappy(message), headers=HEADERS)
            assert answer.status_code == 204
            assert answer.headers["x-prometheus-remote-write-samples-written"] == "2"
            assert answer.headers["x-prometheus-remote-write-histograms-written"] == "0"
            assert answer.headers["x-prometheus-remote-write-exemplars-written"] == "0"
    assert [value for (name, _), value in server.stored().items() if name == "two"] == [1.0, 2.0]


def test_of_a_request_that_is_partly_refused_the_good_part_is_written_and_counted(server: Served) -> None:
    at_ms = now_ms()
    message = request_2(({"__name__": "good"}, [(at_ms, 1.0)]), ({"__name__": "late"}, [(1, 1.0)]))
    with server.client() as client:
        answer = client.post(WRITE, content=snappy(message), headers=HEADERS)
    assert answer.status_code == 400
    assert answer.json()["reason"] == "samples_rejected"
    assert answer.headers["x-prometheus-remote-write-samples-written"] == "1"


def test_nothing_is_written_of_what_is_no_request(server: Served) -> None:
    with server.client() as client:
        answer = client.post(WRITE, content=snappy(tag(5, 3)), headers=HEADERS)
    assert (answer.status_code, answer.json()["reason"]) == (400, "malformed_body")
    assert answer.headers["x-prometheus-remote-write-samples-written"] == "0"


def test_a_message_of_neither_version_is_answered_415_with_those_that_are_spoken(server: Served) -> None:
    headers = {**HEADERS, "content-type": "application/x-protobuf;proto=io.prometheus.write.v3.Request"}
    with server.client() as client:
        answer = client.post(WRITE, content=snappy(GOLDEN), headers=headers)
    assert answer.status_code == 415
    assert "io.prometheus.write.v2.Request" in answer.json()["detail"]


@pytest.mark.parametrize(
    "headers", [{**HEADERS, "content-encoding": "gzip"}, {**HEADERS, "content-type": HEADERS["content-type"] + ";x=y"}]
)
def test_what_is_refused_before_it_is_read_has_the_headers_too(server: Served, headers: dict[str, str]) -> None:
    with server.client() as client:
        answer = client.post(WRITE, content=snappy(GOLDEN), headers=headers)
    assert answer.status_code == 415
    assert answer.headers["x-prometheus-remote-write-samples-written"] == "0"


def test_a_series_is_the_same_in_both_versions(server: Served) -> None:
    at_ms = now_ms()
    labels = {"__name__": "both", "job": "node"}
    with server.client() as client:
        first = client.post(
            WRITE, content=snappy(series(labels, [(at_ms, 1.0)])), headers={"content-type": "application/x-protobuf"}
        )
        second = client.post(WRITE, content=snappy(request_2((labels, [(at_ms, 1.0)]))), headers=HEADERS)
    assert (first.status_code, second.status_code) == (204, 204)
    assert [value for (name, _), value in server.stored().items() if name.startswith("both")] == [1.0]
