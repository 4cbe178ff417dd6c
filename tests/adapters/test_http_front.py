"""The short way answers to the letter as the long way does, which a path with a slash at its end still takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
from litestar import Request, get, post
from litestar import Response as LitestarResponse
from tests.watching import START_MS, Watching
from tests.writes import request_2, series, snappy

from quantum.adapters.http.front import Front
from quantum.adapters.http.prometheus_api import QUERIES
from quantum.application.ports import Principal
from quantum.domain.errors import Rejected, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from httpx import Response
    from litestar.types import Receive, Scope, Send

PATHS: Final = ("/prometheus/api/v1/write", "/influx/write", "/api/v2/write", "/otlp/v1/metrics", "/v1/metrics")
PROTOBUF: Final = {"content-type": "application/x-protobuf"}
SECOND: Final = {"content-type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}
TEXT: Final = {"content-type": "text/plain"}
ONE: Final = snappy(series({"__name__": "heat", "room": "a"}, [(START_MS, 1.0)]))
TWICE: Final = snappy(series({"__name__": "heat"}, [(START_MS, 1.0), (START_MS, 2.0)]))
BODIES: Final = (
    (PROTOBUF, ONE),
    (PROTOBUF, TWICE),
    (PROTOBUF, b""),
    (PROTOBUF, b"no snappy"),
    (SECOND, snappy(request_2(({"__name__": "heat", "room": "b"}, [(START_MS, 3.0)])))),
    (SECOND, snappy(b"\xff")),
    (TEXT, b"heat,room=c value=1 1800000000000000000\n"),
    (TEXT, b'heat,room=c value=1,text="x" 1800000000000000000\nno line\n'),
    (TEXT, b"\xff\xfe"),
    ({"content-type": "application/json"}, b'{"resourceMetrics": []}'),
    ({"content-type": "application/json"}, b"[" * 100_000),
    ({"content-type": "image/png"}, ONE),
    ({**PROTOBUF, "content-encoding": "br"}, ONE),
    ({**PROTOBUF, "content-length": "x"}, ONE),
    ({**TEXT, "host": "elsewhere.example"}, b"heat value=1"),
    ({**TEXT, "origin": "https://elsewhere.example"}, b"heat value=1"),
)
HANDED_OUT: Final = ("x-request-id",)
"""Headers that are another in every answer."""


class Door:
    """Identity for these tests: lets in who shows the name of a role, and can be out of order."""

    banner = ""

    async def identify(self, credential: str) -> Principal:
        if credential == "out-of-order":
            raise Unavailable("nobody knows who is who now")
        if not credential:
            raise Rejected("unauthenticated", "this needs a token or a key")
        return Principal(f"a {credential}", frozenset({credential}), means="token")


@pytest.fixture(name="system")
async def guarded_system() -> AsyncIterator[Watching]:
    async with Watching(identity=Door()) as system:
        yield system


def essence(answer: Response) -> tuple[int, dict[str, str], str]:
    headers = {name: value for name, value in answer.headers.items() if name not in HANDED_OUT}
    request_id = answer.headers["x-request-id"]
    return answer.status_code, headers, answer.text.replace(request_id, "the id")


@pytest.mark.parametrize("path", PATHS)
async def test_both_ways_give_the_same_answers(system: Watching, path: str) -> None:
    wrong = []
    for credential in ("ingest", "viewer", "out-of-order", ""):
        for given, body in BODIES:
            headers = {"authorization": f"Bearer {credential}", **given} if credential else dict(given)
            await system.http.post(path, content=body, headers=headers)  # from now on all of it is a duplicate
            short, long = [
                essence(await system.http.post(f"{path}{end}", content=body, headers=headers)) for end in ("", "/")
            ]
            if short != long:
                wrong.append((credential, given, short, long))
    assert wrong == []


QUESTIONS: Final = (
    "query=heat",
    "query=heat&time=1",
    "query=vector(1)",
    "query=",
    "query=sum(",
    "query=heat&query=cold&limit=1",
    "query=%ff",
    f"query=vector(1)&start={START_MS // 1000}&end={START_MS // 1000 + 600}&step=1",
    f"query=heat&start={START_MS // 1000}&end={START_MS // 1000 - 1}&step=1",
)


@pytest.mark.parametrize("path", QUERIES)
async def test_both_ways_answer_questions_alike(system: Watching, path: str) -> None:
    wrong = []
    await system.http.post(PATHS[0], content=ONE, headers={"authorization": "Bearer ingest", **PROTOBUF})
    for credential in ("viewer", "ingest", "out-of-order", ""):
        for given in ({"accept-encoding": "gzip"}, {"accept-encoding": "identity"}, {"accept-encoding": "br"}):
            headers = {"authorization": f"Bearer {credential}", **given} if credential else dict(given)
            for question in QUESTIONS:
                answers = [await system.http.get(f"{path}{end}?{question}", headers=headers) for end in ("", "/")]
                short, long = map(essence, answers)
                if answers[0].headers.get("content-encoding") == "gzip":
                    lengths = [headers.pop("content-length", "") for _, headers, _ in (short, long)]
                    assert all(lengths)
                if short != long:
                    wrong.append((credential, given, question, short, long))
    assert wrong == []


async def test_a_long_answer_is_compressed_for_who_takes_it_so(system: Watching) -> None:
    asked = {"query": "vector(1)", "start": "0", "end": "600", "step": "1"}
    headers = {"authorization": "Bearer viewer"}
    plain, packed = [
        await system.http.get(QUERIES[1], params=asked, headers={**headers, "accept-encoding": encoding})
        for encoding in ("identity", "gzip")
    ]
    assert plain.content == packed.content
    assert (packed.headers["content-encoding"], packed.headers["vary"]) == ("gzip", "Accept-Encoding")
    assert int(packed.headers["content-length"]) < len(plain.content) / 3
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
async def test_other_methods_take_the_long_way(system: Watching, method: str) -> None:
    headers = {"authorization": "Bearer ingest"}
    short, long = [essence(await system.http.request(method, f"{PATHS[0]}{end}", headers=headers)) for end in ("", "/")]
    assert short == long


@pytest.mark.parametrize(
    ("method", "path", "is_short"),
    [
        ("POST", "/here", True),
        ("GET", "/here", False),
        ("POST", "/here/", False),
        ("POST", "/there", False),
        ("GET", "/asked", True),
        ("POST", "/asked", False),
        ("GET", "/asked/", False),
    ],
)
async def test_only_what_is_sent_to_a_path_to_the_letter_takes_the_short_way(
    method: str, path: str, *, is_short: bool
) -> None:
    @post("/here", status_code=204)
    async def here(request: Request[Any, Any, Any]) -> LitestarResponse[None]:
        return LitestarResponse(None, status_code=204, headers={"way": "short"})

    @get("/asked")
    async def asked(request: Request[Any, Any, Any]) -> LitestarResponse[bytes]:
        return LitestarResponse(b"", headers={"way": "short"})

    async def long_way(_: Scope, __: Receive, send: Send) -> None:
        start: Any = {"type": "http.response.start", "status": 204, "headers": [(b"way", b"long")]}
        await send(start)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    app: Any = Front([here], [], [asked])(long_way)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        answer = await client.request(method, path)
    assert answer.headers["way"] == ("short" if is_short else "long")


async def test_a_bug_is_answered_without_its_traceback(system: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("of no interest to strangers")

    monkeypatch.setattr(system.container.ingest(), "accept", fail)
    headers = {"authorization": "Bearer ingest", **PROTOBUF}
    answer = await system.http.post(PATHS[0], content=ONE, headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (500, "internal")
    assert "ZeroDivisionError" not in answer.text


async def test_requests_are_measured_under_their_path(system: Watching) -> None:
    headers = {"authorization": "Bearer ingest", **PROTOBUF}
    await system.http.post(PATHS[0], content=ONE, headers=headers)
    metrics = (await system.http.get("/metrics")).text
    assert f'quantum_http_request_seconds_count{{method="POST",route="{PATHS[0]}",status="204"}} 1.0' in metrics
