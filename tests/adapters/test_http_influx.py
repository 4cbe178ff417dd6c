"""Line protocol over real HTTP: by the client library of InfluxDB as it is, and with bad input."""

from __future__ import annotations

import gzip
import subprocess
from typing import TYPE_CHECKING, Any, Final

import pytest
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write.point import Point as UntypedPoint
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.domain.write_precision import WritePrecision
from influxdb_client.rest import ApiException
from tests.parts import need
from tests.serving import Served

from quantum.adapters.memory import SystemClock
from quantum.application.ingest import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

Point: Any = UntypedPoint
WRITE: Final = "/write"
PATHS: Final = ("/write", "/influx/write", "/api/v2/write", "/influx/api/v2/write")
NAMES: Final = iter(range(10**9))


@pytest.fixture(name="server", scope="module")
def running_server() -> Iterator[Served]:
    with Served() as server:
        yield server


def now_ms() -> int:
    return SystemClock().now_ms()


def fresh() -> str:
    """A measurement that no other test uses."""
    return f"measured_{next(NAMES)}"


@pytest.mark.parametrize("prefix", ["", "/influx"])
@pytest.mark.parametrize("zipped", [True, False], ids=["gzip", "plain"])
def test_the_client_library_of_influxdb_writes(server: Served, prefix: str, zipped: bool) -> None:
    name, at_ms = fresh(), now_ms()
    point = Point(name).tag("host", "a b").field("value", 1.5).field("count", 3).field("up", True).field("says", "hi")
    with InfluxDBClient(server.url + prefix, token="any", org="any", enable_gzip=zipped) as client:
        assert client.ping()
        writing = client.write_api(write_options=SYNCHRONOUS)
        writing.write("bucket", record=point.time(at_ms, WritePrecision.MS), write_precision=WritePrecision.MS)
        writing.write("bucket", record=Point(name).field("value", 2.0).time(at_ms * 10**6 + 999_999))
    stored = {series: value for series, value in server.stored().items() if series[0].startswith(name)}
    assert stored == {
        (f'{name}{{host="a b"}}', at_ms): 1.5,
        (f'{name}_count{{host="a b"}}', at_ms): 3.0,
        (f'{name}_up{{host="a b"}}', at_ms): 1.0,
        (name, at_ms): 2.0,
    }


def test_the_command_line_of_influxdb_writes(server: Served) -> None:
    name, port = fresh(), server.url.rpartition(":")[2]
    command: list[Any] = [need("influx"), "-host", "127.0.0.1", "-port", port, "-database", "quantum", "-execute"]
    subprocess.run([*command, f"INSERT {name},site=north temperature=7.5,rain=0i"], check=True, timeout=30)
    told = subprocess.run([*command, f"INSERT {name} bad"], check=False, timeout=30, capture_output=True, text=True)
    assert "line 1: a field is not name=value" in told.stdout + told.stderr
    stored = {series: value for (series, _), value in server.stored().items() if series.startswith(name)}
    assert stored == {f'{name}_temperature{{site="north"}}': 7.5, f'{name}_rain{{site="north"}}': 0.0}


def test_the_client_library_shows_which_line_was_refused(server: Served) -> None:
    name = fresh()
    with InfluxDBClient(server.url, token="any", org="any") as client:
        writing = client.write_api(write_options=SYNCHRONOUS)
        with pytest.raises(ApiException, match=r"line 2: a field is not name=value") as refused:
            writing.write("bucket", record=f"{name} v=1\nbad\n{name} w=2\n")
    assert refused.value.status == 400
    assert {series for series, _ in server.stored() if series.startswith(name)} == {f"{name}_v", f"{name}_w"}


@pytest.mark.parametrize("path", PATHS)
def test_every_path_takes_lines(server: Served, path: str) -> None:
    name, at_s = fresh(), now_ms() // 1000
    with server.client() as client:
        line = f'{name} value=1,text="x" {at_s}'
        answer = client.post(f"{path}?db=x&precision=s", content=line)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["x-quantum-ignored"] == "strings=1"
        typed = client.post(path, content=f"{name}_now value=1", headers={"content-type": "text/plain; charset=utf-8"})
        assert (typed.status_code, "x-quantum-ignored" in typed.headers) == (204, False)
    assert server.stored()[name, at_s * 1000] == 1.0
    assert any(series == f"{name}_now" for series, _ in server.stored())


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("text/plain; charset=utf-8", id="Telegraf"),
        pytest.param("text/plain", id="libraries of version 2"),
        pytest.param("application/octet-stream", id="library of version 1 for Python"),
        pytest.param("application/x-www-form-urlencoded", id="curl"),
        pytest.param("", id="library of version 1 for Go"),
        pytest.param(None, id="none"),
    ],
)
def test_t20_lines_come_as_their_senders_send_them(server: Served, kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}
    with server.client() as client:
        assert client.post(WRITE, content=f"{fresh()} value=1", headers=headers).status_code == 204


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "multipart/form-data; boundary=x",
        "application/x-protobuf",
        "text/plain; charset=utf-16",
        "x",
    ],
)
def test_t19_t21_what_says_that_it_is_no_lines_is_refused(server: Served, kind: str) -> None:
    with server.client() as client:
        answer = client.post(WRITE, content=f"{fresh()} value=1", headers={"content-type": kind})
        assert (answer.status_code, answer.json()["reason"]) == (415, "content_type")
        assert "text/plain" in answer.json()["detail"]


def test_what_is_refused_later_is_told_by_its_labels(server: Served) -> None:
    name = fresh()
    with server.client() as client:
        answer = client.post(WRITE, content=f"{name},a=b value=1 5\n{name},a=c value=1\n")
        assert answer.status_code == 400
        told = answer.json()
        assert (told["accepted"], told["rejected"], told["code"]) == (1, {"too_old": 1}, "invalid")
        assert f'{name}{{a="b"}}' in told["error"]


def test_ping_answers_with_a_version_and_no_body(server: Served) -> None:
    with server.client() as client:
        for answer in (client.get("/ping"), client.get("/influx/ping")):
            assert (answer.status_code, answer.content) == (204, b"")
            assert answer.headers["x-influxdb-version"].startswith("quantum-")
        assert client.get("/health").json()["status"] == "pass"


@pytest.mark.parametrize(
    ("path", "content", "headers", "status"),
    [
        pytest.param("/write?precision=h", b"m v=1", {}, 400, id="L13"),
        pytest.param(WRITE, b"", {}, 400, id="empty"),
        pytest.param(WRITE, b"   \n# only a comment\n", {}, 204, id="L18 L19"),
        pytest.param(WRITE, b"_m v=1\n\\#m v=1", {}, 204, id="L21"),
        pytest.param(WRITE, b"#m v=1", {}, 204, id="L21 L18 a comment"),
        pytest.param(WRITE, b"not gzip", {"content-encoding": "gzip"}, 400, id="T no gzip"),
        pytest.param(WRITE, gzip.compress(b"m v=1\n" * (1 << 20)), {"content-encoding": "gzip"}, 413, id="T bomb"),
        pytest.param(WRITE, b"m v=1", {"content-encoding": "br"}, 415, id="T encoding"),
        pytest.param(WRITE, b"m v=1", {"origin": "https://evil.example"}, 403, id="another site's page"),
        pytest.param(WRITE, b"m,a=\0 v=1", {}, 400, id="L24"),
        pytest.param(WRITE, b"m,a=b,a=c v=1", {}, 400, id="L22 tag"),
        pytest.param(WRITE, b"\xff\xfe v=1", {}, 400, id="no UTF-8"),
        pytest.param(WRITE, b"m,__tenant=x v=1", {}, 400, id="reserved"),
        pytest.param(WRITE, b"x" * (1 << 20), {}, 400, id="L20"),
        pytest.param(WRITE, b"m v=1 -5", {}, 400, id="L15"),
    ],
)
def test_bad_lines_are_never_a_5xx(
    server: Served, path: str, content: bytes, headers: dict[str, str], status: int
) -> None:
    with server.client() as client:
        assert client.post(path, content=content, headers=headers).status_code == status


def test_l12_whatever_type_a_field_has_it_is_a_number_of_the_same_series(server: Served) -> None:
    name, at_ms = fresh(), now_ms()
    lines = "\n".join(f"{name} v={value} {at_ms + n}" for n, value in enumerate(("1", "2i", "3u", "t")))
    with server.client() as client:
        assert client.post(f"{WRITE}?precision=ms", content=lines).status_code == 204
    assert [server.stored()[f"{name}_v", at_ms + n] for n in range(4)] == [1.0, 2.0, 3.0, 1.0]


def test_l22_of_a_field_given_twice_the_first_value_stays(server: Served) -> None:
    name, at_ms = fresh(), now_ms()
    with server.client() as client:
        answer = client.post(f"{WRITE}?precision=ms", content=f"{name} v=1,v=2 {at_ms}")
        assert (answer.status_code, answer.json()["rejected"]) == (400, {"duplicate_value": 1})
    assert server.stored()[f"{name}_v", at_ms] == 1.0


def test_the_series_limit_is_told_and_known_series_go_on() -> None:
    with Served(limits=Limits(max_series=1)) as small, small.client() as client:
        answer = client.post(WRITE, content="a value=1\nb value=1\n")
        assert (answer.status_code, answer.json()["rejected"]) == (400, {"series_limit": 1})
        assert client.post(WRITE, content=f"a value=2 {now_ms() * 10**6 + 10**9}").status_code == 204
