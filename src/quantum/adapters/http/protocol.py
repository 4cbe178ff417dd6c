"""The server's HTTP and WebSocket protocols with bounds that uvicorn and its parsers leave open.

Without them one connection could send a header without end and have it kept, or a byte a minute and stay for ever; and
one socket could send a message in fragments of nothing until memory is full, or keep the loop busy answering pings.

Who was refused a moment ago is refused again here, where it costs least: see `Lobby`. And live events go to many
sockets at once, so a socket also takes frames that are finished: see `FRAMES`.
"""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from quantum.adapters.http.lobby import LOBBY

if TYPE_CHECKING:
    import asyncio

    from uvicorn import Config
    from uvicorn._types import ASGISendEvent
    from uvicorn.server import ServerState
    from websockets.frames import Frame
    from websockets.http11 import Request

    from quantum.adapters.http.lobby import Lobby

MAX_URL_BYTES: Final = 32_768
MAX_HEAD_BYTES: Final = 65_536
MAX_HEADERS: Final = 100
HEAD_TIMEOUT_S: Final = 10.0
REST_TIMEOUT_S: Final = 30.0
MAX_FRAGMENTS: Final = 1000
MAX_SIGNS_PER_S: Final = 500
"""How many pings and pongs a socket may send a second."""
UNSUPPORTED, POLICY_VIOLATION = 1003, 1008
FRAMES: Final = "quantum.frames"
"""Under this name a socket's scope has, among its extensions, a `FrameOutlet`."""
LINGER_S: Final = 10.0
"""How long a socket that is done with may take to read what is left for it; then it is cut off."""
WHOLE_TEXT: Final = 0x81
"""First byte of a frame that is a whole text message."""
ONE_BYTE, TWO_BYTES = 126, 65_536
"""Lengths from which on a frame says them in more bytes (RFC 6455, 5.2)."""

_BAD, _TIMEOUT, _URL_TOO_LONG, _HEAD_TOO_LARGE = 400, 408, 414, 431


class BoundedHttp(HttpToolsProtocol):
    """Refuses heads that are too large (414, 431) or do not arrive in time (408), and closes the connection.

    What was refused a moment ago is refused again once its head is there, and what follows of it is not kept.

    Attributes:
        head_timeout_s: from the connection, or from the first byte of a following request, to the end of its head.
        rest_timeout_s: from the answer to a request whose body has not come yet to the end of that body.
    """

    head_timeout_s = HEAD_TIMEOUT_S
    rest_timeout_s = REST_TIMEOUT_S

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """See uvicorn; the application's state may have a lobby."""
        super().__init__(config, server_state, app_state, _loop)
        app: Any = config.app
        self._lobby: Lobby | None = app.state.get(LOBBY)
        self._held = 0
        self._is_refused = self._is_coming = False
        self._rest: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._status = _BAD
        self._head_bytes = self._header_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._stop_timer()
        self._stop_rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._lobby is None or not (self._held or (not self._is_coming and self._lobby.is_for(data))):
            self._take(data)
        else:
            self._unset_keepalive_if_required()
            self._held += 1
            self._lobby.hold(partial(self._take_held, data))

    def _take_held(self, data: bytes) -> None:
        """Take what was kept, if the connection is still there and speaks HTTP."""
        self._held -= 1
        if self in self.connections and not self.transport.is_closing():
            self._take(data)

    def _take(self, data: bytes) -> None:
        super().data_received(data)
        if self._timer is not None and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES + MAX_URL_BYTES:
                self._refuse(_HEAD_TOO_LARGE, "The request head is too large.")

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._unset_keepalive_if_required()
        super().on_message_begin()
        self._header_bytes = 0
        self._is_coming, self._is_refused = True, False
        if self._timer is None:
            self._expect_head()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the URL."""
        super().on_url(url)
        if len(self.url) > MAX_URL_BYTES:
            self._status = _URL_TOO_LONG
            raise ValueError("the URL is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer."""
        super().on_header(name, value)
        self._header_bytes += len(name) + len(value)
        if len(self.headers) > MAX_HEADERS or self._header_bytes > MAX_HEAD_BYTES:
            self._status = _HEAD_TOO_LARGE
            raise ValueError("the headers are too large or too many")

    def on_headers_complete(self) -> None:
        """End a head."""
        self._stop_timer()
        answer = self._refusal()
        if answer is None:
            super().on_headers_complete()
        else:
            status, rest = answer
            usual = b"".join(b"%s: %s\r\n" % header for header in self.server_state.default_headers)
            self._is_refused = True
            self.transport.write(STATUS_LINE[status] + usual + rest)
            self.on_response_complete()

    def _refusal(self) -> tuple[int, bytes] | None:
        """Return how this request is refused again; None too while another is under way, or another kind follows."""
        cycle: RequestResponseCycle | None = self.cycle
        is_alone = cycle is None or cycle.response_complete
        stays = self.parser.get_http_version() == "1.1" and self.parser.should_keep_alive()
        if self._lobby is None or not (is_alone and stays) or self.flow.write_paused or self.transport.is_closing():
            return None
        if self.expect_100_continue or self.parser.should_upgrade():
            return None
        return self._lobby.again(self.parser.get_method(), self.url, self.headers)

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        if not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request; if it is answered already, the next one is waited for from now on."""
        self._is_coming = False
        if not self._is_refused:
            super().on_message_complete()
        if self._rest is not None:
            self._stop_rest()
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        """End an answer; what has not come yet of the request may take its time, but not for ever."""
        super().on_response_complete()
        if self._is_coming and not self.transport.is_closing():
            self._rest = self.loop.call_later(self.rest_timeout_s, self.transport.close)

    def _stop_rest(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser did not take, with the status that fits."""
        self._refuse(self._status, msg)

    def _expect_head(self) -> None:
        self._head_bytes = 0
        self._timer = self.loop.call_later(self.head_timeout_s, self._time_out)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_out(self) -> None:
        self._timer = None
        if self._head_bytes:
            self._refuse(_TIMEOUT, "The request head did not arrive in time.")
        else:
            self.transport.close()

    def _refuse(self, status: int, sentence: str) -> None:
        self._stop_timer()
        body = sentence.encode()
        head = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.close()


class FrameOutlet:
    """Writes finished frames to one socket: a thousand of these are asked for one event, so it is kept small.

    Attributes:
        is_open: whether the socket is open and its other end keeps up.
    """

    __slots__ = ("_transport", "is_open")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.is_open = False

    def write(self, frame: bytes) -> bool:
        """Write a frame if the other end keeps up; return whether it was written."""
        if not self.is_open or self._transport.is_closing():
            return False
        self._transport.write(frame)
        return True


class BoundedSocket(WebSocketsSansIOProtocol):
    """Closes (1008) what sends a message in too many fragments, or more pings and pongs than signs of life need.

    Only text is understood here: what is binary closes the socket too (1003).
    """

    _second = _signs = 0
    _is_open = False
    _outlet: FrameOutlet

    def handle_connect(self, event: Request) -> None:
        """Begin; the application is let write frames, too."""
        super().handle_connect(event)
        self._outlet = FrameOutlet(self.transport)
        if not self.close_sent:
            extensions: Any = self.scope["extensions"]
            extensions[FRAMES] = self._outlet

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        super().pause_writing()
        self._outlet.is_open = False

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        super().resume_writing()
        self._outlet.is_open = self._is_open

    async def send(self, message: ASGISendEvent) -> None:
        """Send what the application says; after the end nothing follows, and before the begin nothing comes."""
        await super().send(message)
        self._is_open = self.handshake_complete and not self.close_sent
        self._outlet.is_open = self._is_open and self.writable.is_set()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """End; who does not read what is left is cut off, since nothing would ever end that."""
        super().on_task_complete(task)
        if not self.disconnected:
            self.loop.call_later(LINGER_S, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol; a handshake that cannot be read is answered, and not kept waiting for ever."""
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated and not self.transport.is_closing():
            self.transport.write(STATUS_LINE[_BAD] + b"content-length: 0\r\nconnection: close\r\n\r\n")
            self.transport.close()

    def handle_cont(self, event: Frame) -> None:
        """Take a fragment that is not the first."""
        if len(self.frames) >= MAX_FRAGMENTS:
            self._part(POLICY_VIOLATION, f"a message has at most {MAX_FRAGMENTS} fragments")
        else:
            super().handle_cont(event)

    def handle_bytes(self, event: Frame) -> None:
        """Refuse a binary message."""
        self._part(UNSUPPORTED, f"only text is understood here, not {len(event.data)} bytes")

    def handle_ping(self) -> None:
        """Answer a ping."""
        if self._is_bearable():
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        """Take a pong, asked for or not."""
        if self._is_bearable():
            super().handle_pong(event)

    def _is_bearable(self) -> bool:
        """Count a sign of life; part if there are too many."""
        if int(self.loop.time()) != self._second:
            self._second, self._signs = int(self.loop.time()), 0
        self._signs += 1
        if self._signs > MAX_SIGNS_PER_S:
            self._part(POLICY_VIOLATION, f"at most {MAX_SIGNS_PER_S} pings and pongs a second")
        return not self.close_sent

    def _part(self, code: int, reason: str) -> None:
        """Close; what else has come meanwhile is not looked at."""
        if not self.close_sent:
            self.conn.send_close(code, reason)
            self.handle_parser_exception()


def text_frame(text: bytes) -> bytes:
    """Return a whole text message as the frame that a server sends."""
    size = len(text)
    if size < ONE_BYTE:
        head = struct.pack("!BB", WHOLE_TEXT, size)
    elif size < TWO_BYTES:
        head = struct.pack("!BBH", WHOLE_TEXT, ONE_BYTE, size)
    else:
        head = struct.pack("!BBQ", WHOLE_TEXT, ONE_BYTE + 1, size)
    return head + text
