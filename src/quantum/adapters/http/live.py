"""`/api/v1/live`: what happens, as it happens, over a WebSocket. Best effort, with every gap marked.

Each subscription counts its messages; a watcher that cannot keep up loses its oldest ones and is told how many. What
happens is encoded once and written as a finished frame to every watcher that keeps up, without waking a task for each;
only for the others it is queued. A send is raced with a receive, so that a reader who vanished ends the handler instead
of filling memory. Who may connect is decided by the edge.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog
from litestar import Request, Response, WebSocket, post, websocket
from litestar.exceptions import WebSocketDisconnect

from quantum.adapters.http import messages as m
from quantum.adapters.http import model_views, views
from quantum.adapters.http.access import STANDING, Standing, credential_of, no_cookie, origin_of, principal_of
from quantum.adapters.http.protocol import FRAMES, text_frame
from quantum.adapters.http.sign_in_messages import LiveTicket
from quantum.application.monitoring import Points, Tick
from quantum.application.quotas import NOBODY
from quantum.application.training import TrainingRun
from quantum.domain.alerts import Alert, Incident
from quantum.domain.errors import NotFound, QuantumError, Rejected

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from litestar.handlers import HTTPRouteHandler, WebsocketRouteHandler

    from quantum.adapters.memory import MemoryFeed, Subscription
    from quantum.application.ports import Clock
    from quantum.application.queries import Queries
    from quantum.application.tickets import Tickets

MAX_QUEUED: Final = 500
MAX_TOPICS: Final = 200
MAX_SOCKETS: Final = 1000
SHARES: Final = 4
"""One person or key has at most one in so many of the places, so that nobody takes them all; see docs/limits.md."""
MAX_MESSAGE_CHARS: Final = 65_536
MAX_MISTAKES: Final = 20
MAX_MESSAGES_PER_S: Final = 500
SEND_TIMEOUT_S: Final = 5.0
GOING_AWAY, POLICY_VIOLATION, TOO_BIG, TRY_LATER = 1001, 1008, 1009, 1013
UNAUTHENTICATED, FORBIDDEN = 4401, 4403
LOOK_AGAIN_MS: Final = 20_000
"""With the leeway of tokens, a socket outlives what opened it by less than a minute."""
PLAIN_TOPICS: Final = frozenset({"overview", "alerts", "incidents", "training"})
SERIES: Final = "series:"
FINGERPRINT_DIGITS: Final = 16

REQUEST: Final = msgspec.json.Decoder(m.LiveRequest)

log = structlog.get_logger("quantum.live")

Socket = WebSocket[Any, Any, Any]


class Farewell(Exception):
    """The socket is to be closed, with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class LiveSockets:
    """The open sockets of this process."""

    def __init__(
        self,
        feed: MemoryFeed,
        queries: Queries,
        clock: Clock,
        refresh: Callable[[], Awaitable[None]] | None = None,
        max_sockets: int = MAX_SOCKETS,
    ) -> None:
        """Take what is watched; `refresh` asks another process for series that are not known here."""
        self.sockets: set[Socket] = set()
        self._feed = feed
        self._queries = queries
        self._clock = clock
        self._max_sockets = max_sockets
        self._refresh = refresh

    async def serve(self, socket: Socket) -> None:
        """Serve one socket until either side is done; afterwards nothing of it is left."""
        await socket.accept()
        if refusal := self._refusal_of(socket):
            await _close(socket, Farewell(TRY_LATER, refusal))
            return
        self.sockets.add(socket)
        conversation = Conversation(socket, self._feed, self._queries, self._clock, self._refresh)
        try:
            farewell = await conversation.hold()
        finally:
            conversation.close()
            self.sockets.discard(socket)
        await _close(socket, farewell)

    def _refusal_of(self, socket: Socket) -> str:
        """Return why there is no place for a socket; empty if there is one."""
        if len(self.sockets) >= self._max_sockets:
            return f"{self._max_sockets} sockets are open already"
        holder, share = socket.scope["state"][STANDING].principal, max(1, self._max_sockets // SHARES)
        theirs = sum(one.scope["state"][STANDING].principal.subject == holder.subject for one in self.sockets)
        if holder.means != NOBODY and theirs >= share:
            return f"{share} sockets of yours are open already"
        return ""

    async def part(self, credential: str) -> None:
        """Close the sockets whose holder showed this, which is over."""
        farewell = Farewell(UNAUTHENTICATED, "unauthenticated")
        over = [socket for socket in self.sockets if socket.scope["state"][STANDING].is_by(credential)]
        await asyncio.gather(*(_close(socket, farewell) for socket in over))

    async def look_again(self, subject: str, tenant: str) -> None:
        """Close somebody's sockets if they may not stay any more; all are looked at every `LOOK_AGAIN_MS` anyway."""
        await asyncio.gather(*(_look(socket, subject, tenant, self._clock.now_ms()) for socket in list(self.sockets)))

    async def close_all(self) -> None:
        """Tell every watcher to come back later: this process is going away."""
        farewell = Farewell(GOING_AWAY, "restarting; reconnect")
        await asyncio.gather(*(_close(socket, farewell) for socket in list(self.sockets)))


class Conversation:
    """What is said on one socket: requests and their answers on one side, events on the other."""

    def __init__(
        self,
        socket: Socket,
        feed: MemoryFeed,
        queries: Queries,
        clock: Clock,
        refresh: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self._standing: Standing = socket.scope["state"][STANDING]
        self._clock = clock
        self._socket = socket
        extensions: Any = socket.scope["extensions"]
        self._subscription: Subscription = feed.subscribe(MAX_QUEUED, extensions[FRAMES])
        self._queries = queries
        self._refresh = refresh
        self._mistakes = 0

    def close(self) -> None:
        """Watch nothing any more."""
        self._subscription.close()

    async def hold(self) -> Farewell:
        """Listen and speak until either ends, or the other side may not stay; return how to part."""
        sides = (self._listen(), self._speak(), self._look_again())
        tasks = {asyncio.create_task(side) for side in sides}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        return next(_parting(end) for end in ends if not isinstance(end, asyncio.CancelledError))

    # ---- hearing ----------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        second, heard = int(loop.time()), 0
        while True:
            text = await self._socket.receive_text()
            if int(loop.time()) != second:
                second, heard = int(loop.time()), 0
            heard += 1
            if heard > MAX_MESSAGES_PER_S:
                raise Farewell(POLICY_VIOLATION, f"at most {MAX_MESSAGES_PER_S} messages a second")
            await self._send(await self._answer(text))

    async def _answer(self, text: str) -> m.LiveEvent:
        if len(text) > MAX_MESSAGE_CHARS:
            raise Farewell(TOO_BIG, f"a message has at most {MAX_MESSAGE_CHARS} characters")
        try:
            return await self._obey(text)
        except QuantumError as error:
            self._mistakes += 1
            if self._mistakes > MAX_MISTAKES:
                raise Farewell(POLICY_VIOLATION, "too many mistakes") from None
            return m.LiveEvent(type="error", reason=getattr(error, "reason", "not_found"), message=str(error))

    async def _obey(self, text: str) -> m.LiveEvent:
        try:
            request = REQUEST.decode(text)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise Rejected("malformed_message", f"that is not a message of this protocol: {error}") from None
        if request.op == "ping":
            return m.LiveEvent(type="pong")
        if request.op == "authenticate":
            await self._standing.renew(no_cookie(request.token))
            return m.LiveEvent(type="authenticated")
        inner = await self._inner(request.topic)
        if request.op == "unsubscribe":
            self._subscription.remove(inner)
            return m.LiveEvent(type="unsubscribed", topic=request.topic)
        topics = self._subscription.topics
        if len(topics) >= MAX_TOPICS and inner not in topics:
            raise Rejected("topic_limit", f"a socket watches at most {MAX_TOPICS} topics")
        self._subscription.add(inner)
        return m.LiveEvent(type="subscribed", topic=request.topic)

    async def _inner(self, topic: str) -> str:
        """Return the topic inside, where series are known by slot."""
        if topic in PLAIN_TOPICS:
            return topic
        digits = topic.removeprefix(SERIES)
        if topic.startswith(SERIES) and len(digits) == FINGERPRINT_DIGITS and set(digits) <= set("0123456789abcdef"):
            return f"{SERIES}{await self._slot(int(digits, 16))}:{digits}"
        raise Rejected("unknown_topic", "topics are overview, alerts, incidents, training and series:FINGERPRINT")

    async def _slot(self, fingerprint: int) -> int:
        try:
            return self._queries.slot(fingerprint)
        except NotFound:
            if self._refresh is None:
                raise
        await self._refresh()
        return self._queries.slot(fingerprint)

    # ---- staying ----------------------------------------------------------------------------------------------

    async def _look_again(self) -> None:
        while True:
            await self._clock.sleep(LOOK_AGAIN_MS)
            try:
                await self._standing.check(self._clock.now_ms())
            except Rejected as refusal:
                raise _farewell(refusal) from None

    # ---- speaking ---------------------------------------------------------------------------------------------

    async def _speak(self) -> None:
        async for delivered in self._subscription:
            topic, data = outer(delivered.topic), delivered.message
            if delivered.missed:
                last = delivered.seq - (data is not None)
                await self._send(m.LiveEvent(type="gap", topic=topic, seq=last, missed=delivered.missed))
            if isinstance(data, bytes):
                await self._send_text(event_text(topic, delivered.seq, data))

    async def _send(self, event: m.LiveEvent) -> None:
        await self._send_text(msgspec.json.encode(event))

    async def _send_text(self, text: bytes) -> None:
        try:
            # not wait_for: in Python 3.11 it loses a cancellation that comes as the send ends
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._socket.send_text(text.decode())
        except TimeoutError:
            raise Farewell(TRY_LATER, f"nothing was read for {SEND_TIMEOUT_S:g} s") from None


def _parting(end: BaseException | None) -> Farewell:
    """Return how to part after one side of a conversation ended; a bug is logged, since nobody else would see it."""
    if isinstance(end, Farewell):
        return end
    if not isinstance(end, WebSocketDisconnect):
        log.error("a live socket failed", exc_info=end)
    return Farewell(GOING_AWAY, "this end is gone")


def _farewell(refusal: Rejected) -> Farewell:
    """Return how to part from who may not stay."""
    return Farewell(FORBIDDEN if refusal.reason == "forbidden" else UNAUTHENTICATED, refusal.reason)


async def _look(socket: Socket, subject: str, tenant: str, now_ms: int) -> None:
    standing: Standing = socket.scope["state"][STANDING]
    if (standing.principal.subject, standing.principal.tenant) == (subject, tenant):
        try:
            await standing.check(now_ms)
        except Rejected as refusal:
            await _close(socket, _farewell(refusal))


async def _close(socket: Socket, farewell: Farewell) -> None:
    """Close, whatever state the other end is in."""
    with suppress(Exception):
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await socket.close(code=farewell.code, reason=farewell.reason)


def outer(topic: str) -> str:
    """Return what a topic inside is called outside."""
    return f"{SERIES}{topic.rpartition(':')[2]}" if topic.startswith(SERIES) else topic


def event_frame(topic: str, seq: int, data: bytes) -> bytes:
    """Return the frame of an event of a topic inside."""
    return text_frame(event_text(outer(topic), seq, data))


def event_text(topic: str, seq: int, data: bytes) -> bytes:
    """Return the JSON of an event around that of its data; equal to what `LiveEvent` is encoded to."""
    return b'{"type":"event","topic":%b,"seq":%d,"missed":0,"data":%b,"reason":"","message":""}' % (
        msgspec.json.encode(topic),
        seq,
        data,
    )


def encoded(message: object) -> bytes:
    """Return the JSON of what is published."""
    return msgspec.json.encode(_view(message))


def _view(message: object) -> object:
    match message:
        case Points() as points:
            return views.points(points)
        case Tick() as tick:
            return views.tick(tick)
        case Alert() as alert:
            return views.alert(alert)
        case Incident() as incident:
            return views.incident(incident)
        case TrainingRun() as run:
            return model_views.run(run)
        case other:
            raise TypeError(f"nobody publishes {type(other).__name__}")


def live_route(sockets: LiveSockets) -> WebsocketRouteHandler:
    """Return the handler."""

    @websocket("/api/v1/live")
    async def live(socket: Socket) -> None:
        await sockets.serve(socket)

    return live


def ticket_route(tickets: Tickets) -> HTTPRouteHandler:
    """Return the handler that gives a page what it opens the socket with."""

    @post("/api/v1/live/tickets", operation_id="createLiveTicket", tags=["live"], summary="A ticket for the socket")
    async def create(request: Request[Any, Any, Any]) -> Response[LiveTicket]:
        credential, origin = credential_of(request.scope), origin_of(request.scope)
        ticket, expires_at_ms = await tickets.issue(principal_of(request), credential, origin)
        return Response(LiveTicket(ticket=ticket, expires_at_ms=expires_at_ms), status_code=HTTPStatus.CREATED)

    return create
