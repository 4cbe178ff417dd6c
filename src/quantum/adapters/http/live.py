"""`/api/v1/live`: what happens, as it happens, over a WebSocket. Best effort, with every gap marked.

Each subscription counts its messages; a watcher that cannot keep up loses its oldest ones and is told how many. A
send is raced with a receive, so that a reader who vanished ends the handler instead of filling memory.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec
from litestar import WebSocket, websocket
from litestar.exceptions import WebSocketDisconnect

from quantum.adapters.http import messages as m
from quantum.adapters.http import views
from quantum.application.monitoring import Points, Tick
from quantum.domain.alerts import Alert, Incident
from quantum.domain.errors import QuantumError, Rejected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from litestar.handlers import WebsocketRouteHandler

    from quantum.adapters.memory import Delivered, MemoryFeed, Subscription
    from quantum.application.queries import Queries

MAX_QUEUED: Final = 500
MAX_TOPICS: Final = 200
MAX_SOCKETS: Final = 1000
MAX_MESSAGE_CHARS: Final = 65_536
MAX_MISTAKES: Final = 20
SEND_TIMEOUT_S: Final = 5.0
GOING_AWAY, POLICY_VIOLATION, TOO_BIG, TRY_LATER = 1001, 1008, 1009, 1013
PLAIN_TOPICS: Final = frozenset({"overview", "alerts", "incidents"})

REQUEST: Final = msgspec.json.Decoder(m.LiveRequest)


class LiveSockets:
    """The open sockets of this process."""

    def __init__(self, feed: MemoryFeed, queries: Queries, allowed_origins: Sequence[str]) -> None:
        self.feed = feed
        self.queries = queries
        self.allowed_origins = allowed_origins
        self.sockets: set[WebSocket[Any, Any, Any]] = set()

    async def serve(self, socket: WebSocket[Any, Any, Any]) -> None:
        """Serve one socket until either side is done."""
        if not self._welcome(socket):
            await socket.close(code=POLICY_VIOLATION, reason="this origin may not connect")
            return
        await socket.accept()
        if len(self.sockets) >= MAX_SOCKETS:
            await socket.close(code=TRY_LATER, reason=f"{MAX_SOCKETS} sockets are open already")
            return
        self.sockets.add(socket)
        subscription = self.feed.subscribe(MAX_QUEUED)
        tasks = [
            asyncio.create_task(self._listen(socket, subscription)),
            asyncio.create_task(self._speak(socket, subscription)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            subscription.close()
            self.sockets.discard(socket)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with suppress(Exception):
                await socket.close(code=GOING_AWAY)

    def _welcome(self, socket: WebSocket[Any, Any, Any]) -> bool:
        """Return whether the page that opens the socket is our own, or allowed, or no page at all."""
        origin = socket.headers.get("origin")
        if origin is None or origin in self.allowed_origins:
            return True
        return urlsplit(origin).netloc == socket.headers.get("host", "")

    async def close_all(self) -> None:
        """Tell every watcher to come back later: this process is going away."""
        for socket in list(self.sockets):
            with suppress(Exception):
                await asyncio.wait_for(socket.close(code=GOING_AWAY, reason="restarting; reconnect"), SEND_TIMEOUT_S)

    # ---- hearing ----------------------------------------------------------------------------------------------

    async def _listen(self, socket: WebSocket[Any, Any, Any], subscription: Subscription) -> None:
        mistakes = 0
        with suppress(WebSocketDisconnect):
            while mistakes < MAX_MISTAKES:
                text = await socket.receive_text()
                if len(text) > MAX_MESSAGE_CHARS:
                    await socket.close(code=TOO_BIG, reason=f"a message has at most {MAX_MESSAGE_CHARS} characters")
                    return
                try:
                    answer = self._obey(text, subscription)
                except QuantumError as error:
                    mistakes += 1
                    answer = m.LiveEvent(type="error", reason=getattr(error, "reason", "not_found"), message=str(error))
                await _send(socket, answer)
            await socket.close(code=POLICY_VIOLATION, reason="too many mistakes")

    def _obey(self, text: str, subscription: Subscription) -> m.LiveEvent:
        try:
            request = REQUEST.decode(text)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise Rejected("malformed_message", f"that is not a message of this protocol: {error}") from None
        if request.op == "ping":
            return m.LiveEvent(type="pong")
        inner = self._inner(request.topic)
        if request.op == "unsubscribe":
            subscription.remove(inner)
            return m.LiveEvent(type="unsubscribed", topic=request.topic)
        if len(subscription.topics) >= MAX_TOPICS and inner not in subscription.topics:
            raise Rejected("topic_limit", f"a socket watches at most {MAX_TOPICS} topics")
        subscription.add(inner)
        return m.LiveEvent(type="subscribed", topic=request.topic)

    def _inner(self, topic: str) -> str:
        """Return the topic inside: series are known there by slot."""
        if topic in PLAIN_TOPICS:
            return topic
        kind, _, fingerprint = topic.partition(":")
        try:
            if kind == "series" and len(fingerprint) == 16:  # noqa: PLR2004 - 64 bits in hex
                return f"series:{self.queries.slot(int(fingerprint, 16))}"
        except ValueError:
            pass
        raise Rejected("unknown_topic", "topics are overview, alerts, incidents and series:FINGERPRINT")

    # ---- speaking ---------------------------------------------------------------------------------------------

    async def _speak(self, socket: WebSocket[Any, Any, Any], subscription: Subscription) -> None:
        async for delivered in subscription:
            topic = self._outer(delivered.topic)
            if delivered.missed:
                gap = m.LiveEvent(type="gap", topic=topic, seq=delivered.seq - 1, missed=delivered.missed)
                await _send(socket, gap)
            data = msgspec.Raw(msgspec.json.encode(self._view(delivered)))
            await _send(socket, m.LiveEvent(type="event", topic=topic, seq=delivered.seq, data=data))

    def _outer(self, topic: str) -> str:
        kind, _, slot = topic.partition(":")
        if kind != "series":
            return topic
        return f"series:{views.fingerprint(self.queries.now([int(slot)])[0].labels)}"

    def _view(self, delivered: Delivered) -> object:
        match delivered.message:
            case Points() as points:
                return views.points(points)
            case Tick() as tick:
                return views.tick(tick)
            case Alert() as alert:
                return views.alert(alert)
            case Incident() as incident:
                return views.incident(incident)
            case _:
                raise TypeError(f"nobody publishes {type(delivered.message).__name__}")


async def _send(socket: WebSocket[Any, Any, Any], event: m.LiveEvent) -> None:
    """Send one event; a reader that takes longer than the timeout is given up."""
    await asyncio.wait_for(socket.send_text(msgspec.json.encode(event).decode()), SEND_TIMEOUT_S)


def live_route(sockets: LiveSockets) -> WebsocketRouteHandler:
    """Return the handler."""

    @websocket("/api/v1/live")
    async def live(socket: WebSocket[Any, Any, Any]) -> None:
        await sockets.serve(socket)

    return live
