"""What a gateway answers itself and what it hands on: one system in front of another, and of nothing at all."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
from tests.asking import AtTheirWord
from tests.parts.listening import Quiet, listening
from tests.watching import HOT, Watching

from quantum.adapters.http.access import RIGHTS
from quantum.adapters.http.ways import CONNECTIONS, WAYS, Forwarder, Way
from quantum.settings import Server, Settings, Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TRUSTING: Final = Settings(store=Store(kind="memory"), server=Server(trusted_proxies=("127.0.0.0/8",)))
ADMIN: Final = {"authorization": "Bearer admin"}
ENOUGH_S: Final = 20


def nobody_there() -> str:
    """Return an address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


@dataclass
class Pair:
    """A gateway, whose own store is another than the writer's, so that one sees who answered."""

    near: Watching
    far: Watching


@asynccontextmanager
async def in_front(*writers: str) -> AsyncIterator[Watching]:
    async with AsyncExitStack() as stack:
        forwarder = await stack.enter_async_context(Forwarder(writers))
        near = Watching(identity=AtTheirWord(), others={"forwarder": forwarder})
        await stack.enter_async_context(near)
        near.http.headers.update(ADMIN)
        yield near


@pytest.fixture(name="pair")
async def gateway_and_writer() -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        far = await stack.enter_async_context(Watching(TRUSTING, identity=AtTheirWord()))
        far.http.headers.update(ADMIN)
        address = await stack.enter_async_context(far.served())
        near = await stack.enter_async_context(in_front(nobody_there(), f"http://{address}"))
        yield Pair(near, far)


def sample(at_ms: int, count: int = 1) -> dict[str, Any]:
    tables = [
        {"labels": {"__name__": "cpu", "n": str(n)}, "timestamps_ms": [at_ms], "values": [1.0]} for n in range(count)
    ]
    return {"series": tables}


def test_every_route_has_a_way_and_what_changes_something_is_the_writers() -> None:
    assert WAYS.keys() == RIGHTS.keys()
    for row, way in WAYS.items():
        if not row.startswith(("GET ", "WEBSOCKET ")):
            reads = row.startswith("POST /prometheus/") and not row.endswith("/write")
            assert way is (Way.HERE if reads or row == "POST /api/v1/live/tickets" else Way.WRITER), row


async def test_samples_go_to_the_writer_and_its_answer_comes_back(pair: Pair) -> None:
    body = sample(pair.far.clock.now_ms(), count=3000)
    answer = await pair.near.http.post("/api/v1/samples", json=body)
    assert (answer.status_code, answer.json()["accepted"]) == (200, 3000)
    await pair.far.pass_time(1000)
    assert (await pair.near.get("/api/v1/series", limit=1))["total"] == 3000
    # nothing but its own start is in the store of the one that was asked
    assert (await pair.near.container.store().last())[0] == 1
    refused = await pair.near.http.post("/api/v1/samples", content=b"{", headers={"content-type": "application/json"})
    assert refused.status_code == 400
    assert refused.headers["content-type"] == "application/problem+json"


async def test_etags_locations_and_preconditions_pass(pair: Pair) -> None:
    made = await pair.near.http.post("/api/v1/policies", json=HOT)
    assert made.status_code == 201
    again = await pair.far.http.get(made.headers["location"])
    assert again.headers["etag"] == made.headers["etag"]
    path = made.headers["location"]
    stale = await pair.near.http.put(path, json=HOT, headers={"if-match": '"99"'})
    assert stale.status_code == 412
    gone = await pair.near.http.delete(path, headers={"if-match": made.headers["etag"]})
    assert (gone.status_code, gone.content) == (204, b"")


async def test_headers_that_every_answer_has_are_there_once(pair: Pair) -> None:
    answer = await pair.near.http.get("/api/v1/overview", headers={"origin": "http://localhost"})
    for name in ("x-content-type-options", "content-security-policy", "x-request-id", "cache-control"):
        assert len(answer.headers.get_list(name)) == 1, name


async def test_a_problem_of_the_writer_is_told_under_the_id_that_its_log_has(pair: Pair) -> None:
    problem = await pair.near.http.get("/api/v1/policies/nothing")
    assert problem.json()["request_id"] == problem.headers["x-request-id"]
    own = await pair.near.http.get("/prometheus/api/v1/query")
    assert len(own.headers["x-request-id"]) == 16


async def test_the_writer_knows_from_where_was_asked(pair: Pair) -> None:
    transport = httpx.ASGITransport(pair.near.app, client=("192.0.2.7", 1))  # type: ignore[arg-type] # its own types
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=ADMIN) as afar:
        assert (await afar.post("/api/v1/policies", json=HOT)).status_code == 201
    (entry,) = (await pair.far.get("/api/v1/audit"))["items"]
    assert (entry["actor"], entry["origin"]) == ("a admin", "192.0.2.7")


async def test_t4_bodies_that_never_begin_hold_no_connection_to_the_writer(pair: Pair) -> None:
    """Strangers sent 200 of them, and nobody else got through for ten seconds; each is let go in the end."""
    forwarder: Forwarder = pair.near.process.forwarder()
    forwarder._first_piece_s = 1.0
    async with pair.near.served() as address, AsyncExitStack() as open_ones:
        host, _, port = address.rpartition(":")
        head = b"POST /api/v1/samples HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
        waiting = []
        for _ in range(CONNECTIONS + 10):
            reader, writer = await asyncio.open_connection(host, int(port))
            open_ones.callback(writer.close)
            writer.write(head)
            waiting.append(reader)
        async with httpx.AsyncClient(base_url=f"http://{address}", headers=ADMIN, timeout=ENOUGH_S) as other:
            assert (await other.get("/api/v1/overview")).status_code == 200
        assert pair.near.process.forwarder().handed_on == 1
        for reader in waiting:
            assert b" 408 " in await asyncio.wait_for(reader.readline(), ENOUGH_S)


async def test_what_is_in_the_database_and_the_dashboard_are_answered_here(pair: Pair) -> None:
    await pair.near.http.post("/api/v1/samples", json=sample(pair.far.clock.now_ms()))
    await pair.far.pass_time(1000)
    found = await pair.near.get("/prometheus/api/v1/query", query="cpu")
    assert found["data"]["result"] == []
    assert (await pair.near.get("/api/v1/session"))["subject"] == "a admin"
    assert (await pair.near.http.get("/livez")).status_code == 200
    assert (await pair.near.http.options("/api/v1/samples")).headers["allow"] == "OPTIONS, POST"


async def test_only_the_writer_denies_so_that_it_is_in_the_audit_log(pair: Pair) -> None:
    denied = await pair.near.http.get("/api/v1/audit", headers={"authorization": "Bearer viewer"})
    assert denied.status_code == 403
    await pair.far.pass_time(1000)
    entries = (await pair.far.get("/api/v1/audit", outcome="denied"))["items"]
    assert [(entry["actor"], entry["action"]) for entry in entries] == [("a viewer", "GET /api/v1/audit")]


async def test_while_the_writer_is_away_reading_goes_on_and_the_rest_is_for_later() -> None:
    async with in_front(nobody_there()) as near:
        assert (await near.get("/api/v1/overview"))["series"] == 0
        assert (await near.get("/api/v1/policies"))["items"] == []
        for method, path in (
            ("POST", "/api/v1/samples"),
            ("DELETE", "/api/v1/receivers/ops"),
            ("GET", "/api/v1/login"),
        ):
            later = await near.http.request(method, path)
            assert (later.status_code, later.json()["reason"]) == (503, "unavailable"), path
            assert int(later.headers["retry-after"]) >= 1
            assert "cannot be reached" in later.json()["detail"]
        assert (await near.http.get("/api/v1/audit", headers={"authorization": "Bearer viewer"})).status_code == 403
        # its own start, and the denial that no writer could enter
        assert (await near.container.store().last())[0] == 2


class Refusing(Quiet, BaseHTTPRequestHandler):
    """A writer that is cut off from its database."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(503)
        self.send_header("content-length", "0")
        self.end_headers()


class HangingUp(Quiet, BaseHTTPRequestHandler):
    """What stands in front of a writer that is not there: it takes a connection and ends it."""

    def do_POST(self) -> None:
        self.close_connection = True


@pytest.mark.parametrize("first", [Refusing, HangingUp])
async def test_who_was_told_to_come_again_comes_to_another_writer_first(first: type[BaseHTTPRequestHandler]) -> None:
    async with AsyncExitStack() as stack:
        far = await stack.enter_async_context(Watching(TRUSTING, identity=AtTheirWord()))
        address = await stack.enter_async_context(far.served())
        near = await stack.enter_async_context(in_front(stack.enter_context(listening(first)), f"http://{address}"))
        body = sample(far.clock.now_ms())
        answers = [(await near.http.post("/api/v1/samples", json=body)).status_code for _ in range(3)]
        assert answers == [503, 200, 200]


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"], ids=["before", "while"])
async def test_a_writer_that_goes_away_leaves_no_answer_that_looks_whole(said: bytes) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with AsyncExitStack() as stack:
        stack.callback(server.close)
        near = await stack.enter_async_context(in_front(f"http://127.0.0.1:{port}"))
        address = await stack.enter_async_context(near.served())
        client = httpx.AsyncClient(base_url=f"http://{address}", headers=ADMIN, timeout=ENOUGH_S)
        await stack.enter_async_context(client)
        if said:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.post("/api/v1/samples", json=sample(1))
        else:
            answer = await client.post("/api/v1/samples", json=sample(1))
            assert answer.status_code == 503
            assert "not known" in answer.json()["detail"]
