"""The outermost layer where several tenants are served: it lets the requests of a sender begin one by one.

Eight requests that arrive at the same moment would all be worked on before the loop looks for others again, and would
keep the threads of others waiting for the interpreter. Here a sender begins one of them in a pass of the loop. It waits
while a request of somebody who came less often has begun just now and is not answered yet, and, if others were there
lately, until its own last one is answered: whoever comes then finds one request under way, not eight. But a turn waits
no longer than a request usually takes. Who is alone, or sends one request after another, does not notice.

Senders are told apart before anybody knows who they are: by what they show, unjudged, or else by their address. Who
shows something else each time gets as many turns as without this layer, and no more.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from litestar.types import ASGIApp, Receive, Scope, Send

PATIENCE_S: Final = 0.006
"""So long at most a turn waits for requests of others, and so young are those that it waits for: most take less."""
LATELY_S: Final = 60.0
"""Who was there so lately may come again any moment: most senders send every 10 to 60 s."""
STRETCH_S: Final = 1.0
"""Who came how often is counted over this time and as long before it."""
SHOWN: Final = (b"authorization", b"cookie")


class Turnstile(ASGIMiddleware):
    """Lets the requests of each sender begin in turns, in the order in which they came."""

    def __init__(self, patience_s: float = PATIENCE_S, lately_s: float = LATELY_S) -> None:
        """Take how long a turn waits at most, and how long somebody is expected to come again."""
        self._patience_s, self._lately_s = patience_s, lately_s
        self._lines: dict[object, deque[asyncio.Future[None]]] = {}
        """Of each sender whose last request began in this pass, or who has more of them: these, oldest first."""
        self._inside: dict[object, tuple[object, float]] = {}
        """Sender and begin of each request that is worked on, oldest first."""
        self._held: dict[object, asyncio.TimerHandle] = {}
        """Of senders whose turn waits for others: what ends that."""
        self._begun, self._begun_before = Counter[object](), Counter[object]()
        """How many requests of each sender began in the stretch of time that began last, and in the one before it."""
        self._since_s = 0.0
        self._last: tuple[object, float] = (None, -lately_s)
        """The sender that began last, and when."""
        self._other_s = -lately_s
        """When somebody began last who is not that sender."""
        self._listeners: list[Callable[[], None]] = []

    def tell(self, listener: Callable[[], None]) -> None:
        """Call this whenever a request is answered."""
        self._listeners.append(listener)

    def has_begun(self, apart_from: Callable[[object], bool]) -> bool:
        """Return whether a request of any other sender than these has begun just now and is not answered yet."""
        return not all(map(apart_from, self._just_begun()))

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """See ASGIMiddleware."""
        if scope["type"] != ScopeType.HTTP:
            await next_app(scope, receive, send)
            return
        sender, request = sender_of(scope), object()
        await self._turn_of(sender)
        now_s = time.monotonic()
        self._inside[request] = sender, now_s
        self._note(sender, now_s)
        try:
            await next_app(scope, receive, send)
        finally:
            del self._inside[request]
            self._look_at_held()
            for listener in self._listeners:
                listener()

    async def _turn_of(self, sender: object) -> None:
        loop = asyncio.get_running_loop()
        line = self._lines.get(sender)
        if line is None:
            line = self._lines[sender] = deque()
            loop.call_soon(self._next, sender)
            if not self._is_in_the_way(sender):
                return
        turn = loop.create_future()
        line.append(turn)
        await turn

    def _next(self, sender: object) -> None:
        """Let the next begin, unless it is better to wait for others."""
        if not self._lines[sender]:
            del self._lines[sender]
        elif self._is_in_the_way(sender):
            self._held[sender] = asyncio.get_running_loop().call_later(self._patience_s, self._let_begin, sender)
        else:
            self._let_begin(sender)

    def _let_begin(self, sender: object) -> None:
        self._held.pop(sender, None)
        line = self._lines[sender]
        while line:
            turn = line.popleft()
            if not turn.done():  # who was cancelled takes no turn
                turn.set_result(None)
                break
        asyncio.get_running_loop().call_soon(self._next, sender)

    def _note(self, sender: object, now_s: float) -> None:
        """Remember who was there lately, and how often."""
        if now_s > self._since_s + STRETCH_S:
            follows = now_s < self._since_s + 2 * STRETCH_S
            self._begun_before = self._begun if follows else Counter()
            self._begun, self._since_s = Counter(), now_s
        self._begun[sender] += 1
        last, begun_s = self._last
        if last != sender:
            self._other_s = begun_s
        self._last = sender, now_s

    def _is_busy(self, sender: object) -> bool:
        """Return whether a request of this sender has begun just now and is not answered yet, and others may come."""
        last, begun_s = self._last
        other_s = self._other_s if last == sender else begun_s
        return other_s > time.monotonic() - self._lately_s and sender in self._just_begun()

    def _is_in_the_way(self, sender: object) -> bool:
        """Return whether it is better to let requests be answered that have begun just now."""
        often = self._how_often(sender)
        return any(self._how_often(other) < often for other in self._just_begun()) or self._is_busy(sender)

    def _how_often(self, sender: object) -> int:
        return self._begun[sender] + self._begun_before[sender]

    def _just_begun(self) -> Iterator[object]:
        """Yield the senders of requests that have begun just now and are not answered yet."""
        since_s = time.monotonic() - self._patience_s
        for sender, begun_s in reversed(self._inside.values()):
            if begun_s < since_s:
                return
            yield sender

    def _look_at_held(self) -> None:
        for sender in list(self._held):
            if not self._is_in_the_way(sender):
                self._held.pop(sender).cancel()
                self._let_begin(sender)


def sender_of(scope: Scope) -> object:
    """Return what a sender is told from others by."""
    shown = next((value for name, value in scope["headers"] if name in SHOWN), None)
    return shown or (scope["client"][0] if scope["client"] else None)
