"""Over a real connection: who was refused for its rate is refused again once a head is there; its body is skipped."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
import uvicorn
import uvloop
from litestar import Litestar

from quantum.adapters.http.lobby import LOBBY, Lobby
from quantum.adapters.http.problems import problem
from quantum.adapters.http.protocol import BoundedHttp
from quantum.adapters.http.repeats import Repeats
from quantum.adapters.http.turnstile import Turnstile

if TYPE_CHECKING:
    from collections.abc import Iterator

ENOUGH_S: Final = 20.0
IDLE_S: Final = 1
"""So long a connection may be idle."""
BODY: Final = b'{"a":1}'


class House:
    """An application that refuses whoever is called noisy, before it reads what they sent, and echoes what others send.

    Attributes:
        judged: how many requests it saw.
        port: where it is.
        sockets: open connections to it.
    """

    def __init__(self) -> None:
        self.judged = 0
        turnstile, repeats = Turnstile(), Repeats(again_s=ENOUGH_S)
        self.app = Litestar([], openapi_config=None, logging_config=None)
        self.app.state[LOBBY] = Lobby(turnstile, repeats)
        self.app.asgi_handler = turnstile(repeats(self._judge))
        self.port = 0
        self.sockets: list[socket.socket] = []

    def connect(self) -> socket.socket:
        """Return a new connection, which ends with the house."""
        made = socket.create_connection(("127.0.0.1", self.port), timeout=ENOUGH_S)
        self.sockets.append(made)
        return made

    async def _judge(self, scope: Any, receive: Any, send: Any) -> None:
        self.judged += 1
        request_id = f"{self.judged:016x}"
        if (b"authorization", b"noisy") in scope["headers"]:
            scope["state"] |= {"request_id": request_id, "route": "/in", "reason": "key_rate"}
            answer = problem(429, "key_rate", "too many", request_id).content
            status = 429
        else:
            answer, status = await _read(receive), 200
        headers = [(b"content-length", b"%d" % len(answer)), (b"x-request-id", request_id.encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer, "more_body": False})


async def _read(receive: Any) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


@contextmanager
def serving(house: House) -> Iterator[None]:
    """Serve on a free port, in a thread of its own."""
    ready = threading.Event()
    config = uvicorn.Config(house.app, loop="none", http=BoundedHttp, lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)

    async def serve() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            house.port = listening.getsockname()[1]
            running = asyncio.ensure_future(server.serve([listening]))
            ready.set()
            await running

    thread = threading.Thread(target=lambda: uvloop.run(serve()), name="server")
    thread.start()
    assert ready.wait(ENOUGH_S)
    yield
    for one in house.sockets:
        one.close()
    server.should_exit = True
    thread.join(ENOUGH_S)
    assert not thread.is_alive()


class Line:
    """A connection that reads one answer after another."""

    def __init__(self, house: House) -> None:
        self._socket = house.connect()
        self._data = b""

    def send(self, *pieces: bytes) -> None:
        """Send pieces, as far apart as it takes them to arrive one by one."""
        for piece in pieces:
            self._socket.sendall(piece)
            if len(pieces) > 1:
                time.sleep(0.03)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of the next answer; status 0 where the connection was closed instead."""
        while b"\r\n\r\n" not in self._data:
            if not self._receive():
                return 0, {}, b""
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = int(headers["content-length"])
        while len(self._data) < length:
            assert self._receive(), "the body was cut short"
        body, self._data = self._data[:length], self._data[length:]
        return int(first.split()[1]), headers, body

    def ask(self, *pieces: bytes) -> int:
        """Send, and return the status of the answer."""
        self.send(*pieces)
        return self.answer()[0]

    def _receive(self) -> bool:
        try:
            piece = self._socket.recv(1 << 16)
        except ConnectionError:
            piece = b""
        self._data += piece
        return bool(piece)


def request(
    sender: str = "noisy", body: bytes = BODY, headers: dict[str, str] | None = None, version: str = "1.1"
) -> bytes:
    """Return a request; a header without a value is left out."""
    lines = {"Host": "x", "Authorization": sender, "Content-Length": str(len(body))}
    lines |= headers or {}
    told = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"POST /in HTTP/{version}\r\n{told}\r\n".encode() + body


@pytest.fixture(name="house")
def _house() -> Iterator[House]:
    house = House()
    with serving(house):
        yield house


def test_the_second_refusal_is_like_the_first_but_for_its_request_id_and_nobody_judged_it(house: House) -> None:
    line = Line(house)
    answers = []
    for _ in range(3):
        line.send(request())
        answers.append(line.answer())
    assert house.judged == 1
    for status, headers, body in answers:
        assert status == 429
        assert json.loads(body)["request_id"] == headers["x-request-id"]
        assert {"date", "content-length"} < headers.keys()
    assert len({headers["x-request-id"] for _, headers, _ in answers}) == 3
    assert len({tuple(sorted(headers)) for _, headers, _ in answers}) == 1


def test_what_follows_on_the_connection_is_read_as_if_nothing_had_been(house: House) -> None:
    line = Line(house)
    assert [line.ask(request()) for _ in range(2)] == [429, 429]
    line.send(request("calm", b"hello"))
    status, _, body = line.answer()
    assert (status, body) == (200, b"hello")
    assert [line.ask(request()) for _ in range(2)] == [429, 429]
    assert house.judged == 2


def test_a_body_in_pieces_or_chunks_is_skipped_to_its_end(house: House) -> None:
    line = Line(house)
    line.ask(request())
    whole = request(body=b"x" * 100_000)
    assert line.ask(whole[:40], whole[40:300], whole[300:50_000], whole[50_000:]) == 429
    chunked = request(body=b"", headers={"Content-Length": "", "Transfer-Encoding": "chunked"})
    assert line.ask(chunked + b"3\r\nabc\r\n", b"0\r\n", b"\r\n") == 429
    assert line.ask(chunked + b"3\r\nabc\r\n", b"0\r\n", b"\r\n") == 429
    assert house.judged == 2, "chunked is another request than one with a length"
    line.send(request("calm", b"hello"))
    assert line.answer()[::2] == (200, b"hello")


def test_the_answer_comes_before_the_body(house: House) -> None:
    line = Line(house)
    line.ask(request())
    whole = request(body=b"x" * 1000)
    assert line.ask(whole[:-500]) == 429
    line.send(whole[-500:])
    line.send(request("calm", b"hello"))
    assert line.answer()[::2] == (200, b"hello")


def test_requests_in_one_piece_are_answered_in_order(house: House) -> None:
    line = Line(house)
    line.ask(request())
    line.send(request() + request("calm", b"1") + request() + request("calm", b"2") + request())
    assert [line.answer()[0] for _ in range(5)] == [429, 200, 429, 200, 429]


@pytest.mark.parametrize("begin", [1, 17, 60])
def test_a_request_whose_head_comes_in_pieces_is_refused_as_well(house: House, begin: int) -> None:
    line = Line(house)
    line.ask(request())
    whole = request()
    assert line.ask(whole[:begin], whole[begin:]) == 429
    assert house.judged == 1


@pytest.mark.parametrize(
    ("version", "headers"), [("1.0", {}), ("1.0", {"Connection": "keep-alive"}), ("1.1", {"Connection": "close"})]
)
def test_a_connection_that_ends_with_its_answer_is_judged_and_ends(
    house: House, version: str, headers: dict[str, str]
) -> None:
    for _ in range(2):
        line = Line(house)
        assert line.ask(request(headers=headers, version=version)) == 429
        assert line.answer()[0] == 0
    assert house.judged == 2


def test_who_waits_to_be_told_to_go_on_is_judged(house: House) -> None:
    line = Line(house)
    for _ in range(2):
        assert line.ask(request(headers={"Expect": "100-continue"})) == 429
    assert house.judged == 2


def test_what_never_comes_of_a_body_ends_the_connection(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedHttp, "rest_timeout_s", 0.2)
    whole = request(body=b"x" * 1000)
    for answered_again in (False, True):
        line = Line(house)
        assert line.ask(whole[:-500]) == 429
        assert house.judged == 1, f"again: {answered_again}"
        begin_s = time.monotonic()
        assert line.answer()[0] == 0
        assert time.monotonic() - begin_s >= 0.1
    line = Line(house)
    assert line.ask(whole[:-500]) == 429
    line.send(whole[-500:])
    time.sleep(0.4)
    assert line.ask(request()) == 429, "one whose body came in time goes on"


def test_an_idle_connection_ends_some_time_after_a_refusal_like_any_other(house: House) -> None:
    line = Line(house)
    assert [line.ask(request()) for _ in range(2)] == [429, 429]
    begin_s = time.monotonic()
    assert line.answer()[0] == 0
    assert IDLE_S / 2 < time.monotonic() - begin_s < ENOUGH_S


def test_who_has_gone_while_it_was_kept_is_forgotten(house: House) -> None:
    Line(house).ask(request())
    for _ in range(20):
        gone = house.connect()
        gone.sendall(request())
        gone.close()
    line = Line(house)
    assert line.ask(request()) == 429
    assert line.ask(request("calm", b"hello")) == 200
