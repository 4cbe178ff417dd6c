"""Bad input over real HTTP: never a 5xx, never a silent 2xx, good neighbours stored, nothing left behind.

The ids (T transport, D data model, J JSON, R remote-write) are those of the project's list of bad input.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import socket
import time
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import cramjam
import numpy as np
import psutil
import pytest
from litestar import Litestar
from tests.serving import ENOUGH_S, MEGA, Served, status_of
from tests.writes import field, label, sample, series, snappy, tag, varint

from quantum.adapters.http.bodies import Bounds
from quantum.adapters.http.ingest import ingest_routes
from quantum.adapters.http.protocol import BoundedHttp
from quantum.adapters.memory import SystemClock
from quantum.application.ingest import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

JSON: Final = "/api/v1/samples"
WRITE: Final = "/prometheus/api/v1/write"
JSON_TYPE: Final = {"content-type": "application/json"}
WRITE_TYPE: Final = {"content-type": "application/x-protobuf", "content-encoding": "snappy"}
NAMES: Final = iter(range(10**9))


@pytest.fixture(name="server", scope="module")
def running_server() -> Iterator[Served]:
    with Served() as server:
        yield server


def now_ms() -> int:
    return SystemClock().now_ms()


def fresh() -> str:
    """A metric name that no other test uses."""
    return f"metric_{next(NAMES)}"


def columnar(name: str, *rows: tuple[int, float], **labels: str) -> dict[str, Any]:
    times, values = [at_ms for at_ms, _ in rows], [value for _, value in rows]
    return {"labels": {"__name__": name, **labels}, "timestamps_ms": times, "values": values}


def body(*found: dict[str, Any]) -> bytes:
    return json.dumps({"series": list(found)}).encode()


def head(path: str, *headers: str, method: str = "POST") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode("latin-1")


def good(server: Served, name: str) -> list[float]:
    return [value for (labels, _), value in server.stored().items() if labels.split("{")[0] == name]


def problem(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["reason"]


# ---- what should work -------------------------------------------------------------------------------------------


def test_columnar_json_is_stored_and_answered_with_a_receipt(server: Served) -> None:
    name, at_ms = fresh(), now_ms()
    with server.client() as client:
        answer = client.post(JSON, content=body(columnar(name, (at_ms, 1.5))), headers=JSON_TYPE)
        assert answer.status_code == 200
        assert answer.json() == {"accepted": 1, "duplicates": 0, "rejected": {}, "examples": []}
        again = client.post(JSON, content=body(columnar(name, (at_ms, 1.5))), headers=JSON_TYPE)
        assert (again.status_code, again.json()["duplicates"]) == (200, 1)
    assert server.stored()[name, at_ms] == 1.5


def test_remote_write_is_stored_and_answered_with_nothing(server: Served) -> None:
    name, at_ms = fresh(), now_ms()
    message = snappy(series({"__name__": name, "job": "x"}, [(at_ms, 1.5), (at_ms - 1, math.inf)]))
    with server.client() as client:
        for _ in range(2):
            answer = client.post(WRITE, content=message, headers=WRITE_TYPE)
            assert (answer.status_code, answer.content) == (204, b"")
    assert server.stored()[f'{name}{{job="x"}}', at_ms - 1] == math.inf


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"']
)
def test_json_in_utf8_is_taken(server: Served, content_type: str) -> None:
    with server.client() as client:
        answer = client.post(JSON, content=b'{"series":[]}', headers={"content-type": content_type})
        assert answer.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "application/x-protobuf"},
        {"content-type": "application/x-protobuf;proto=prometheus.WriteRequest", "content-encoding": "snappy"},
    ],
)
def test_remote_write_1_may_name_itself(server: Served, headers: dict[str, str]) -> None:
    with server.client() as client:
        assert client.post(WRITE, content=snappy(series({"__name__": fresh()}, [])), headers=headers).status_code == 204


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("gzip", gzip.compress),
        ("gzip", lambda content: gzip.compress(content[:7]) + gzip.compress(content[7:])),
        ("zstd", lambda content: bytes(cramjam.zstd.compress(content))),
        ("snappy", lambda content: bytes(cramjam.snappy.compress_raw(content))),
        ("identity", lambda content: content),
    ],
    ids=["gzip", "T26 gzip members", "zstd", "snappy", "identity"],
)
@pytest.mark.parametrize("pad", [0, 3 * MEGA], ids=["small", "large"])
def test_compressed_json_is_taken(server: Served, encoding: str, encode: Any, pad: int) -> None:
    if encoding == "identity" and pad:
        pad = MEGA
    name, at_ms = fresh(), now_ms()
    content = encode(body(columnar(name, (at_ms, 2.5))) + b" " * pad)
    with server.client() as client:
        answer = client.post(JSON, content=content, headers={**JSON_TYPE, "content-encoding": encoding})
        assert answer.status_code == 200
    assert good(server, name) == [2.5]


def test_zstd_whose_content_is_much_larger_is_decoded_in_growing_steps(server: Served) -> None:
    content = body(columnar(fresh(), (now_ms(), 1.0))) + b" " * (4 * MEGA - 1000)
    with server.client() as client:
        encoded = bytes(cramjam.zstd.compress(content))
        answer = client.post(JSON, content=encoded, headers={**JSON_TYPE, "content-encoding": "zstd"})
        assert answer.status_code == 200


def test_the_documentation_has_the_bodies_that_the_handlers_read_by_themselves(server: Served) -> None:
    paths = Litestar(ingest_routes(server.ingest, server.bounds)).openapi_schema.to_schema()["paths"]
    bodies = {path: list(methods["post"]["requestBody"]["content"]) for path, methods in paths.items()}
    assert bodies == {JSON: ["application/json"], WRITE: ["application/x-protobuf"]}


# ---- T: transport -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "headers"), [(JSON, JSON_TYPE), (WRITE, WRITE_TYPE)])
def test_t1_an_empty_body_is_refused(server: Served, path: str, headers: dict[str, str]) -> None:
    with server.client() as client:
        assert problem(client.post(path, content=b"", headers=headers)) == (400, "malformed_body")


def test_t2_a_body_over_the_limit_is_refused_before_it_is_read(server: Served) -> None:
    answer = server.raw(head(JSON, "Content-Type: application/json", f"Content-Length: {2 * MEGA + 1}"))
    assert status_of(answer) == 413
    assert b"connection: close" in answer.lower()


def test_t3_a_chunked_body_over_the_limit_is_refused_while_it_is_read(server: Served) -> None:
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    answer = server.raw(head(JSON, "Content-Type: application/json", "Transfer-Encoding: chunked"), *[chunk] * 33)
    assert status_of(answer) == 413


def test_t4_a_body_that_does_not_arrive_times_out(server: Served) -> None:
    answer = server.raw(head(JSON, "Content-Type: application/json", "Content-Length: 100") + b"{")
    assert status_of(answer) == 408
    assert b"connection: close" in answer.lower()


def test_t5_bytes_beyond_the_content_length_are_no_part_of_the_body(server: Served) -> None:
    answer = server.raw(head(JSON, "Content-Type: application/json", "Content-Length: 13") + b'{"series":[]}garbage')
    assert status_of(answer) in {200, 400}
    assert b'"accepted":0' in answer or status_of(answer) == 400


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "0x10", "99999999999999999999999"])
def test_t6_a_content_length_that_is_no_number_is_refused(server: Served, length: str) -> None:
    answer = server.raw(head(JSON, "Content-Type: application/json", f"Content-Length: {length}") + b"{}")
    assert status_of(answer) in {0, 400, 413}


def test_t6_two_different_content_lengths_are_refused(server: Served) -> None:
    lines = ("Content-Type: application/json", "Content-Length: 13", "Content-Length: 14")
    assert status_of(server.raw(head(JSON, *lines) + b'{"series":[]}')) in {0, 400}


def test_t7_a_length_and_chunks_are_not_both_believed(server: Served) -> None:
    lines = ("Content-Type: application/json", "Content-Length: 13", "Transfer-Encoding: chunked")
    hidden = head("/metrics", method="GET")
    answer = server.raw(head(JSON, *lines) + b"0\r\n\r\n" + hidden)
    assert status_of(answer) in {0, 400}
    assert answer.count(b"HTTP/1.1 ") <= 1


def test_t28_a_body_at_a_byte_a_time_has_no_longer_than_another(server: Served) -> None:
    lines = ("Content-Type: application/json", "Content-Length: 1000")
    begin = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=ENOUGH_S) as connection:
        connection.sendall(head(JSON, *lines))
        connection.settimeout(0.05)
        answer = b""
        while not answer and time.monotonic() - begin < ENOUGH_S:
            connection.sendall(b" ")
            with suppress(TimeoutError):
                answer = connection.recv(65_536)
    assert status_of(answer) == 408


def test_t8_an_unknown_transfer_encoding_is_refused(server: Served) -> None:
    answer = server.raw(head(JSON, "Content-Type: application/json", "Transfer-Encoding: xchunked") + b"{}")
    assert status_of(answer) in {0, 400, 408}


def test_t9_a_gigantic_chunk_size_is_refused(server: Served) -> None:
    lines = ("Content-Type: application/json", "Transfer-Encoding: chunked")
    assert status_of(server.raw(head(JSON, *lines) + b"FFFFFFFFFFFFFFFFF\r\nx")) in {0, 400}


def test_t10_a_gigantic_chunk_extension_is_no_body(server: Served) -> None:
    lines = ("Content-Type: application/json", "Transfer-Encoding: chunked")
    extended = b"d;" + b"x" * MEGA + b'\r\n{"series":[]}\r\n0\r\n\r\n'
    assert status_of(server.raw(head(JSON, *lines), extended)) in {0, 200, 400, 408, 413}


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(head(JSON, "X: " + "x" * MEGA), id="T11 one of a megabyte"),
        pytest.param(head(JSON)[:-2] + b"X: " + b"x" * MEGA, id="T11 one without end"),
        pytest.param(head(JSON, *[f"X-{n}: x" for n in range(500)]), id="T12 five hundred"),
        pytest.param(head(JSON, *[f"X-{n}: {'x' * 2000}" for n in range(50)]), id="T11 many large ones"),
    ],
)
def test_t11_t12_headers_that_are_too_large_or_too_many_are_refused(server: Served, request_bytes: bytes) -> None:
    assert status_of(server.raw(request_bytes)) in {0, 431}


@pytest.mark.parametrize("path", ["/%2e%2e" + JSON, JSON + ";x", "/..;" + JSON, "/api/v1/../v1/x"])
def test_t15_paths_that_are_spelt_oddly_lead_nowhere(server: Served, path: str) -> None:
    answer = server.raw(head(path, "Content-Type: application/json", "Content-Length: 13") + b'{"series":[]}')
    assert status_of(answer) in {400, 404, 405}


@pytest.mark.parametrize("path", ["/%00", "/%zz", "/%", JSON + "%00", JSON + "?x=%ff", "/\u00e9", "*"])
def test_t16_bad_escapes_are_never_a_5xx(server: Served, path: str) -> None:
    answer = server.raw(head(path, "Content-Type: application/json", "Content-Length: 13") + b'{"series":[]}')
    assert status_of(answer) in {0, 200, 400, 404, 405}


def test_t17_a_url_of_64_kilobytes_is_refused(server: Served) -> None:
    assert status_of(server.raw(head(JSON + "?" + "x" * 65_536))) in {0, 414}


@pytest.mark.parametrize(("sent", "status"), [(b"", 0), (b"POST /api/v1/sam", 408), (head(JSON)[:-2] + b"X: y", 408)])
def test_a_head_that_does_not_arrive_ends_the_connection(
    server: Served, monkeypatch: pytest.MonkeyPatch, sent: bytes, status: int
) -> None:
    monkeypatch.setattr(BoundedHttp, "head_timeout_s", 0.2)
    assert status_of(server.raw(sent)) == status


def test_a_second_head_on_a_connection_has_its_own_time(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedHttp, "head_timeout_s", 0.2)
    whole = head(JSON, "Content-Type: application/json", "Content-Length: 13") + b'{"series":[]}'
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(whole)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(whole[:20])
        assert connection.recv(65536).startswith(b"HTTP/1.1 408")
        assert connection.recv(65536) == b""


def test_t13_a_header_with_nul_is_refused(server: Served) -> None:
    answer = server.raw(head(JSON, "Content-Type: application/json\0", "Content-Length: 2") + b"{}")
    assert status_of(answer) in {0, 400, 415}


def test_t14_a_foreign_or_missing_host_is_refused(server: Served) -> None:
    foreign = head(JSON, "Content-Type: application/json", "Content-Length: 2").replace(b"localhost", b"evil.example")
    missing = head(JSON, "Content-Length: 2").replace(b"Host: localhost\r\n", b"")
    assert [status_of(server.raw(request + b"{}")) for request in (foreign, missing)] == [400, 400]


@pytest.mark.parametrize("method", ["TRACE", "BREW", "GET", "PUT", "DELETE"])
def test_t18_other_methods_are_not_allowed(server: Served, method: str) -> None:
    assert status_of(server.raw(head(JSON, method=method))) in {0, 400, 404, 405, 501}


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        pytest.param(JSON, "text/plain", id="T19 text"),
        pytest.param(JSON, None, id="T20 JSON"),
        pytest.param(JSON, "application/json; charset=latin-1", id="T21 charset"),
        pytest.param(JSON, "application/json; boundary=x", id="T21 parameter"),
        pytest.param(JSON, "application/json, application/json", id="T21 list"),
        pytest.param(JSON, "application/jsonp", id="T19 jsonp"),
        pytest.param(WRITE, "application/json", id="T19 write"),
        pytest.param(WRITE, None, id="T20 write"),
        pytest.param(WRITE, "application/x-protobuf;proto=io.prometheus.write.v3.Request", id="R16 version 3"),
        pytest.param(WRITE, "application/x-protobuf;proto=foo.Bar", id="R17 unknown"),
    ],
)
def test_a_wrong_or_missing_content_type_is_refused(server: Served, path: str, content_type: str | None) -> None:
    headers = {"content-type": content_type} if content_type else {}
    with server.client() as client:
        answer = client.post(path, content=b'{"series":[]}', headers=headers)
        assert problem(answer) == (415, "content_type")
        assert path == JSON or "remote-write" in answer.json()["detail"]


def test_t21_two_content_types_are_refused(server: Served) -> None:
    lines = ("Content-Type: application/json", "Content-Type: application/json", "Content-Length: 13")
    assert status_of(server.raw(head(JSON, *lines) + b'{"series":[]}')) == 415


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip, gzip", "gzip,identity", "deflate", "x" * 300])
def test_t22_t23_an_unknown_or_stacked_encoding_is_refused(server: Served, encoding: str) -> None:
    with server.client() as client:
        answer = client.post(JSON, content=b"{}", headers={**JSON_TYPE, "content-encoding": encoding})
        assert problem(answer) == (415, "content_encoding")


@pytest.mark.parametrize("encoding", ["zstd", "identity", "gzip", "snappy, snappy"])
def test_r8_remote_write_in_another_encoding_is_refused(server: Served, encoding: str) -> None:
    with server.client() as client:
        answer = client.post(WRITE, content=b"x", headers={**WRITE_TYPE, "content-encoding": encoding})
        assert problem(answer) == (415, "content_encoding")


def test_t24_bombs_are_refused_without_taking_memory(server: Served) -> None:
    zeros = b"0" * (40 * MEGA)
    bombs = {
        "gzip": gzip.compress(zeros),
        "zstd": bytes(cramjam.zstd.compress(zeros)),
        "snappy": bytes(cramjam.snappy.compress_raw(zeros[: 6 * MEGA])),
    }
    with server.client() as client:
        for encoding, bomb in bombs.items():
            assert len(bomb) < 2 * MEGA
            answer = client.post(JSON, content=bomb, headers={**JSON_TYPE, "content-encoding": encoding})
            assert problem(answer) == (413, "decoded_too_large")
    assert server.bounds.in_flight == 0


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        pytest.param("gzip", gzip.compress(b'{"series":[]}')[:-9], id="T25 truncated"),
        pytest.param("gzip", gzip.compress(b'{"series":[]}')[:12], id="T25 cut short"),
        pytest.param("gzip", gzip.compress(b'{"series":[]}')[:-8] + bytes(8), id="T25 wrong CRC"),
        pytest.param("gzip", gzip.compress(b'{"series":[]}') + b"garbage", id="T25 garbage"),
        pytest.param("gzip", zlib.compress(b'{"series":[]}'), id="T25 zlib"),
        pytest.param("gzip", b'{"series":[]}', id="T25 plain"),
        pytest.param("zstd", b'{"series":[]}', id="zstd plain"),
        pytest.param("zstd", bytes(cramjam.zstd.compress(b'{"series":[]}'))[:-3], id="zstd truncated"),
        pytest.param("snappy", b'{"series":[]}', id="R1 snappy plain"),
    ],
)
def test_t25_damaged_encodings_are_refused(server: Served, encoding: str, content: bytes) -> None:
    with server.client() as client:
        answer = client.post(JSON, content=content, headers={**JSON_TYPE, "content-encoding": encoding})
        assert problem(answer) == (400, "malformed_body")


def test_t27_a_client_that_waits_for_100_is_told_413_at_once(server: Served) -> None:
    lines = ("Content-Type: application/json", "Expect: 100-continue", f"Content-Length: {100 * MEGA}")
    answer = server.raw(head(JSON, *lines))
    assert status_of(answer) == 413
    assert b"100 Continue" not in answer


def test_t30_clients_that_vanish_leave_nothing_behind(server: Served) -> None:
    before = server.tasks()
    request = head(JSON, "Content-Type: application/json", "Content-Length: 13") + b'{"series":[]}'
    for _ in range(20):
        server.raw(request * 50, close_early=True)
        server.raw(head(JSON, "Content-Type: application/json", "Content-Length: 100") + b"{", close_early=True)
    with server.client() as client:
        assert client.post(JSON, content=b'{"series":[]}', headers=JSON_TYPE).status_code == 200
    deadline = time.monotonic() + 10
    while server.tasks() > before + 1 and time.monotonic() < deadline:
        server.raw(request)
    assert server.tasks() <= before + 1
    assert server.bounds.in_flight == 0


# ---- D: data model ----------------------------------------------------------------------------------------------

BAD_LABELS: Final = [
    pytest.param({"a": ""}, "metric_name", id="D20 no name"),
    pytest.param({"__name__": "x" * 1025}, "label_value", id="D22"),
    pytest.param({"__name__": "a", **{f"l{n}": "x" for n in range(31)}}, "max_labels", id="D23"),
    pytest.param({"__name__": "a", "b": "x" * 2049}, "label_value", id="D24"),
    pytest.param({"__name__": "a", "": "b"}, "label_name", id="D25"),
    pytest.param({"__name__": "a", "b": "\0"}, "label_value", id="D28 value"),
    pytest.param({"__name__": "a", "b\0": "x"}, "label_name", id="D28 name"),
    pytest.param({"__name__": "a", "__tenant__": "x"}, "reserved_label", id="D31"),
]


@pytest.mark.parametrize(("labels", "reason"), BAD_LABELS)
def test_bad_labels_are_refused_by_name_and_the_neighbour_is_stored(
    server: Served, labels: dict[str, str], reason: str
) -> None:
    as_json, as_write, at_ms = fresh(), fresh(), now_ms()
    bad = {"labels": labels, "timestamps_ms": [at_ms], "values": [1]}
    message = series(labels, [(at_ms, 1.0)]) + series({"__name__": as_write}, [(at_ms, 1.0)])
    with server.client() as client:
        answer = client.post(JSON, content=body(bad, columnar(as_json, (at_ms, 1.0))), headers=JSON_TYPE)
        assert (answer.status_code, answer.json()["rejected"]) == (400, {reason: 1})
        assert answer.json()["accepted"] == 1
        answer = client.post(WRITE, content=snappy(message), headers=WRITE_TYPE)
        assert problem(answer) == (400, "samples_rejected")
        assert f"1 stored, refused: 1 {reason}" in answer.json()["detail"]
    assert (good(server, as_json), good(server, as_write)) == ([1.0], [1.0])


@pytest.mark.parametrize(
    ("shift_ms", "reason"),
    [
        (660_000, "too_far_in_future"),
        (-31 * 86_400_000, "too_old"),
        (-(10**14), "negative_time"),
        (2**62, "too_far_in_future"),
    ],
    ids=["D14", "D15", "D9", "D11"],
)
def test_times_out_of_bounds_are_refused_and_the_neighbour_is_stored(
    server: Served, shift_ms: int, reason: str
) -> None:
    as_json, as_write, at_ms = fresh(), fresh(), now_ms()
    rows = [(at_ms + shift_ms, 1.0), (at_ms, 2.0)]
    with server.client() as client:
        answer = client.post(JSON, content=body(columnar(as_json, *rows)), headers=JSON_TYPE)
        assert (answer.status_code, answer.json()["rejected"]) == (400, {reason: 1})
        answer = client.post(WRITE, content=snappy(series({"__name__": as_write}, rows)), headers=WRITE_TYPE)
        assert (answer.status_code, reason in answer.json()["detail"]) == (400, True)
    assert (good(server, as_json), good(server, as_write)) == ([2.0], [2.0])


def nan_message(name: str, at_ms: int) -> bytes:
    stale = field(2, b"\x09" + (0x7FF0000000000002).to_bytes(8, "little") + tag(2, 0) + varint(at_ms))
    signalling = field(2, b"\x09" + (0x7FF0000000000001).to_bytes(8, "little") + tag(2, 0) + varint(at_ms + 1))
    return field(1, label("__name__", name) + stale + signalling + sample(at_ms + 2, math.nan))


def test_d1_d2_every_nan_is_stored_as_it_came(server: Served) -> None:
    name = fresh()
    with server.client() as client:
        assert client.post(WRITE, content=snappy(nan_message(name, now_ms())), headers=WRITE_TYPE).status_code == 204
    found = np.array(good(server, name)).view(np.uint64).tolist()
    assert found == [0x7FF0000000000002, 0x7FF0000000000001, int(np.array([math.nan]).view(np.uint64)[0])]


def test_what_was_refused_is_told_by_reason_with_an_example(server: Served) -> None:
    name, at_ms = fresh(), now_ms()
    message = nan_message(name, at_ms) + series({"__name__": name}, [(0, 1.0)])
    with server.client() as client:
        answer = client.post(WRITE, content=snappy(message), headers=WRITE_TYPE)
        assert problem(answer) == (400, "samples_rejected")
        assert "3 stored, refused: 1 too_old; for example: the time is" in answer.json()["detail"]


def test_d18_another_value_is_refused_and_the_first_one_stays(server: Served) -> None:
    name, at_ms = fresh(), now_ms()
    with server.client() as client:
        for value, status in ((1.0, 200), (2.0, 400)):
            answer = client.post(JSON, content=body(columnar(name, (at_ms, value))), headers=JSON_TYPE)
            assert answer.status_code == status
        assert answer.json()["rejected"] == {"duplicate_value": 1}
        assert answer.json()["examples"][0]["labels"] == {"__name__": name}
    assert good(server, name) == [1.0]


@pytest.mark.parametrize("text", ["a b", "\U0001f600", 'quo"te', "'; drop table series; --", "\u202e", "a\nb"])
def test_d21_d30_any_text_is_stored_as_it_is(server: Served, text: str) -> None:
    name, at_ms = fresh(), now_ms()
    with server.client() as client:
        content = body(columnar(name, (at_ms, 1.0), **{text: text}))
        assert client.post(JSON, content=content, headers=JSON_TYPE).status_code == 200
    assert any(labels.get(text) == text for _, labels in server.inside(server.store.series))


# ---- J and R over HTTP ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b'{"series":[{"labels":{},"timestamps_ms":[1],"values":[NaN]}]}', id="J1"),
        pytest.param(b'{"series":[{"labels":{},"timestamps_ms":[1],"values":[1e999]}]}', id="J2"),
        pytest.param(b'{"series":[],"series":[]}', id="J13"),
        pytest.param(b'{"series":[],"x":1}', id="J14"),
        pytest.param(b"[" * 1_000_000, id="J15"),
        pytest.param(b'{"series":[{"labels":' + b"[" * 1_000_000, id="J15 labels"),
        pytest.param(b'{"x":' + b"[" * 1_000_000, id="J16"),
        pytest.param(b"null", id="J17"),
        pytest.param(b"[" + b"{}," * 600_000 + b"{}]", id="J18"),
        pytest.param('{"series":[]}'.encode("utf-16"), id="J21"),
        pytest.param(b'{"series":[{"labels":{"a":"\xff"},"timestamps_ms":[],"values":[]}]}', id="D29"),
        pytest.param(b'{"series":[{"labels":{},"timestamps_ms":[18446744073709551615],"values":[1]}]}', id="D13"),
        pytest.param(b'{"series":[]}\n{"series":[]}', id="J22"),
    ],
)
def test_bad_json_is_a_400_with_a_sentence(server: Served, content: bytes) -> None:
    with server.client() as client:
        answer = client.post(JSON, content=content, headers=JSON_TYPE)
        assert problem(answer) == (400, "malformed_body")
        assert len(answer.json()["detail"]) > 10


@pytest.mark.parametrize(
    ("content", "status"),
    [
        pytest.param(b"not snappy", 400, id="R1"),
        pytest.param(b"\xff\x06\x00\x00sNaPpY" + bytes(30), 400, id="R2"),
        pytest.param(b"\xff\xff\xff\xff\x0f" + bytes(10), 413, id="R3"),
        pytest.param(b"\xff" * 6, 400, id="R6"),
        pytest.param(snappy(b"random bytes"), 400, id="R9"),
        pytest.param(snappy(series({"__name__": "a"}, [(1, 1.0)])[:-1]), 400, id="R10"),
        pytest.param(snappy(field(1, field(4, b"histogram"))), 400, id="R23"),
        pytest.param(snappy(field(3, b"metadata")), 204, id="R25"),
        pytest.param(snappy(b""), 204, id="R22"),
    ],
)
def test_bad_remote_write_is_never_a_5xx(server: Served, content: bytes, status: int) -> None:
    with server.client() as client:
        assert client.post(WRITE, content=content, headers=WRITE_TYPE).status_code == status


def test_r23_a_histogram_is_refused_by_name_and_the_sample_beside_it_stored(server: Served) -> None:
    name = fresh()
    message = field(1, label("__name__", name) + sample(now_ms(), 1.0) + field(4, b"") + field(3, b"exemplar"))
    with server.client() as client:
        answer = client.post(WRITE, content=snappy(message), headers=WRITE_TYPE)
        assert "1 stored, refused: 1 histogram_unsupported" in answer.json()["detail"]
    assert good(server, name) == [1.0]


def test_r26_a_million_series_are_refused_quickly_and_others_are_served_meanwhile(server: Served) -> None:
    message = snappy(field(1, b"") * 1_000_000)
    with server.client() as client:
        answer = client.post(WRITE, content=message, headers=WRITE_TYPE)
        assert problem(answer) == (400, "request_series_limit")


def test_control_characters_of_the_sender_do_not_come_back(server: Served) -> None:
    with server.client() as client:
        answer = client.post(
            JSON, content=b"{}", headers={**JSON_TYPE, "content-encoding": "a\x7f\x1b[31m" + "x" * 900}
        )
        assert "\x1b" not in answer.text
        assert len(answer.text) < 600


# ---- overload ---------------------------------------------------------------------------------------------------


def test_more_bytes_in_flight_than_allowed_are_answered_503_and_retry_after() -> None:
    with Served(bounds=Bounds(2 * MEGA, 4 * MEGA, max_in_flight_bytes=1000)) as server, server.client() as client:
        answer = client.post(JSON, content=b" " * 2000, headers=JSON_TYPE)
        assert problem(answer) == (503, "overloaded")
        assert int(answer.headers["retry-after"]) >= 1
        assert client.post(JSON, content=b'{"series":[]}', headers=JSON_TYPE).status_code == 200
        assert server.bounds.in_flight == 0


def test_the_series_limit_is_told_and_known_series_go_on(server: Served) -> None:
    with Served(limits=Limits(max_series=1)) as small, small.client() as client:
        at_ms = now_ms()
        found = [columnar("first", (at_ms, 1.0)), columnar("second", (at_ms, 1.0))]
        answer = client.post(JSON, content=body(*found), headers=JSON_TYPE)
        assert (answer.status_code, answer.json()["rejected"]) == (400, {"series_limit": 1})
        later = client.post(JSON, content=body(columnar("first", (at_ms + 1, 1.0))), headers=JSON_TYPE)
        assert later.status_code == 200


def test_memory_and_tasks_are_flat_after_hundreds_of_bad_requests(server: Served) -> None:
    bad = [
        (JSON, JSON_TYPE, b'{"series":[{"labels":' + b"[" * 10_000),
        (JSON, {**JSON_TYPE, "content-encoding": "gzip"}, gzip.compress(b"0" * (5 * MEGA))),
        (WRITE, WRITE_TYPE, snappy(os.urandom(2000))),
        (WRITE, WRITE_TYPE, snappy(series({"__name__": "a", "b": "\0"}, [(now_ms(), 1.0)]))),
    ]

    def burst(rounds: int) -> set[int]:
        with server.client() as client:
            return {
                client.post(path, content=content, headers=headers).status_code
                for path, headers, content in bad * rounds
            }

    assert burst(25) <= {400, 413}
    tasks, resident = server.tasks(), psutil.Process().memory_info().rss
    assert burst(100) <= {400, 413}
    assert server.tasks() <= tasks + 1
    assert psutil.Process().memory_info().rss - resident < 20 * MEGA
    assert server.bounds.in_flight == 0


def test_more_samples_a_second_than_allowed_are_answered_429_and_retry_after() -> None:
    with Served(limits=Limits(max_samples_per_s=1)) as served, served.client() as client:
        now_ms = time.time_ns() // 1_000_000
        series = {"labels": {"__name__": "a"}, "timestamps_ms": list(range(now_ms - 40, now_ms)), "values": [1.0] * 40}
        assert client.post("/api/v1/samples", json={"series": [series]}).status_code == 200
        refused = client.post("/api/v1/samples", json={"series": [series]})
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) in {29, 30}
        assert refused.json()["reason"] == "samples_per_second"
        head = b"POST /api/v1/samples HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        unsent = served.raw(head + b"Content-Length: 1000\r\n\r\n")
        assert status_of(unsent) == 429, "a body that would be refused is not waited for"
