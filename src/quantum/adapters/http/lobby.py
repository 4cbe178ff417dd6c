"""Where several tenants are served: what those send who were refused for their rate lately waits here for others.

Their requests come in crowds, and the loop reads what all of them sent before it does anything else. To look at a
crowd takes a millisecond, in which nobody else is answered. So what they send is only kept at first, unread. Then it
is looked at one request in a pass of the loop, and none while a request of anybody else has begun just now and is not
answered yet; but nothing is kept longer than a request usually takes.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from quantum.adapters.http.turnstile import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from quantum.adapters.http.repeats import Headers, Repeats
    from quantum.adapters.http.turnstile import Turnstile

LOBBY: Final = "quantum.lobby"
"""Under this name an application's state has its lobby, for the server's protocol."""
MOST_HELD: Final = 64
"""So many pieces are kept at most; beyond that all are looked at in the next pass."""


class Lobby:
    """Keeps what comes from who was refused lately."""

    def __init__(self, turnstile: Turnstile, repeats: Repeats, patience_s: float = PATIENCE_S) -> None:
        """Take who knows what is under way, who knows who was refused, and how long anything is kept at most."""
        self._turnstile, self._repeats = turnstile, repeats
        self._patience_s = patience_s
        self._line: deque[tuple[float, Callable[[], None]]] = deque()
        """When each piece came, and what takes it; oldest first."""
        self._next: asyncio.Handle | None = None
        """What looks at the next piece, in the next pass or when it has waited long enough."""
        turnstile.tell(self._look_at_once)

    def again(self, method: bytes, target: bytes, headers: Headers) -> tuple[int, bytes] | None:
        """Tell a refusal again, see `Repeats`."""
        return self._repeats.again(method, target, headers)

    def is_for(self, data: bytes) -> bool:
        """Return whether what came, the begin of a request, is of somebody who was refused lately."""
        return self._repeats.is_of_refused(data)

    def hold(self, take: Callable[[], None]) -> None:
        """Keep a piece for a moment, then call what takes it; pieces are taken in the order in which they came."""
        self._line.append((time.monotonic(), take))
        if len(self._line) >= MOST_HELD:
            for _, held in self._line:
                asyncio.get_running_loop().call_soon(held)
            self._line.clear()
        elif self._next is None:
            self._look_at_once()

    def _look_at_once(self) -> None:
        if self._next is not None:
            self._next.cancel()
        self._next = asyncio.get_running_loop().call_soon(self._look) if self._line else None

    def _look(self) -> None:
        """Take the oldest piece, unless it is better to wait for others."""
        self._next = None
        if not self._line:
            return
        left_s = self._line[0][0] + self._patience_s - time.monotonic()
        if left_s > 0 and self._turnstile.has_begun(self._repeats.is_refused):
            self._next = asyncio.get_running_loop().call_later(left_s, self._look)
            return
        try:
            _, take = self._line.popleft()
            take()
        finally:
            self._look_at_once()
