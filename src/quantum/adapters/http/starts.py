"""Requests of one tenant that come together begin one by one, so that those of others get in between.

What a request does before it waits for the first time takes a fraction of a millisecond. Eight that come at once would
keep the event loop for some milliseconds, which is as long as a whole request of somebody else takes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from litestar.middleware import ASGIMiddleware

from quantum.adapters.http.access import PRINCIPAL

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Receive, Scope, Send


class Starts:
    """Lets one caller of each name go on in each round of the event loop, in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def wait(self, name: str) -> None:
        """Return when it is the caller's turn, which is at once if nobody of that name has just had theirs."""
        loop = asyncio.get_running_loop()
        waiting = self._waiting.get(name)
        if waiting is None:
            self._waiting[name] = deque()
            loop.call_soon(self._next, name)
            return
        turn = loop.create_future()
        waiting.append(turn)
        await turn

    def _next(self, name: str) -> None:
        waiting = self._waiting[name]
        while waiting:
            turn = waiting.popleft()
            if not turn.done():  # else who waited has gone away
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self._next, name)
                return
        del self._waiting[name]


class InTurn(ASGIMiddleware):
    """Lets the requests of each tenant begin one by one, once it is known whose they are."""

    def __init__(self) -> None:
        self._starts = Starts()

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """See ASGIMiddleware."""
        principal = scope["state"].get(PRINCIPAL)
        if principal is not None:
            await self._starts.wait(principal.tenant)
        await next_app(scope, receive, send)
