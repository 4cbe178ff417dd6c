"""Who was refused for its rate a moment ago is refused again before anything is found out once more.

A sender far beyond its limit knocks many times a second. Each time it would be found out who that is and how much they
may, which takes time from everybody, and the answer would be the same: try again in a second. So for a moment the very
same request, whatever its body, gets the same answer, as soon as its head has come: the server's protocol asks here
before it makes a task for a request. Nobody may less for it: what a sender was not let use meanwhile is still there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware

from quantum.adapters.http.problems import REASON, ROUTE, new_request_id
from quantum.adapters.http.turnstile import sender_of

if TYPE_CHECKING:
    from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

AGAIN_S: Final = 0.1
"""So long a refusal is told again. Who keeps to the time that it names does not notice."""
RATES: Final = frozenset({"key_rate", "user_rate", "tenant_rate"})
"""Reasons that do not depend on what a request carries."""
MOST: Final = 1000
"""So many refusals at most are known: beyond it all are forgotten, and found out again."""
MOST_SENDERS: Final = 16
"""So many senders that were refused lately are known at most."""
OF_BODIES: Final = b"content-length"
LATELY_S: Final = 2.0
"""Who was refused so lately may be refused again."""
HEAD_BYTES: Final = 4096
"""So far into a request it is looked who sent it, before it is read."""

Headers = Iterable[tuple[bytes, bytes]]
Name = tuple[bytes, bytes, tuple[tuple[bytes, bytes], ...]]
"""What a request is known by: method, target, and all headers but the length of its body."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was answered.

    Attributes:
        until_s: how long it is told again (monotonic clock).
        method: of the request.
        route: the template of the path.
        reason: why.
        status: of the answer.
        pieces: of the answer after its status, cut wherever it has its request id, which each has of its own.
    """

    until_s: float
    method: str
    route: str
    reason: str
    status: int
    pieces: tuple[bytes, ...]


class Repeats(ASGIMiddleware):
    """Remembers refusals, and tells them again to who asks before a request is begun."""

    def __init__(
        self,
        observe: Callable[[str, str, int, float, str], None] = lambda *_: None,
        monotonic_s: Callable[[], float] = time.monotonic,
        again_s: float = AGAIN_S,
    ) -> None:
        """Take who is told of each refusal, as the edge tells of answers, a clock, and how long one is told again."""
        self._observe = observe
        self._monotonic_s = monotonic_s
        self._again_s = again_s
        self._refusals: dict[Name, Refusal] = {}
        self._senders: dict[object, float] = {}
        """Until when each of those who were refused counts as such."""

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """See ASGIMiddleware."""
        if scope["type"] != ScopeType.HTTP:
            await next_app(scope, receive, send)
            return
        sent: list[Message] = []

        async def heard(message: Message) -> None:
            if sent or message.get("status") == HTTPStatus.TOO_MANY_REQUESTS:
                sent.append(message)
            await send(message)

        await next_app(scope, receive, heard)
        if sent and scope["state"].get(REASON) in RATES:
            self._note(scope, sent)

    def _note(self, scope: HTTPScope, sent: list[Message]) -> None:
        if len(self._refusals) >= MOST:
            self._refusals.clear()
        now_s = self._monotonic_s()
        self._senders = {sender: until_s for sender, until_s in self._senders.items() if until_s > now_s}
        if len(self._senders) < MOST_SENDERS:
            self._senders[sender_of(scope)] = now_s + LATELY_S
        head, *rest = cast("list[Any]", sent)
        lines = b"".join(b"%s: %s\r\n" % header for header in head["headers"])
        answer = b"".join([lines, b"\r\n", *(message["body"] for message in rest)])
        method, query = str(scope["method"]), scope["query_string"]
        target = scope["raw_path"] + (b"?" + query if query else b"")
        self._refusals[_name_of(method.encode(), target, scope["headers"])] = Refusal(
            until_s=now_s + self._again_s,
            method=method,
            route=str(scope["state"][ROUTE]),
            reason=str(scope["state"][REASON]),
            status=head["status"],
            pieces=tuple(answer.split(str(scope["state"]["request_id"]).encode())),
        )

    def is_refused(self, sender: object) -> bool:
        """Return whether this sender was refused lately; of very many, only the first ones are known."""
        until_s = self._senders.get(sender)
        return until_s is not None and self._monotonic_s() < until_s

    def is_of_refused(self, data: bytes) -> bool:
        """Return whether the begin of a request shows what a sender shows who was refused lately."""
        return any(
            isinstance(sender, bytes) and data.find(sender, 0, HEAD_BYTES) >= 0 and self.is_refused(sender)
            for sender in self._senders
        )

    def again(self, method: bytes, target: bytes, headers: Headers) -> tuple[int, bytes] | None:
        """Tell a refusal again if this request got one just now.

        Returns:
            The status that it is refused with, and the answer's bytes after the line that has the status; None where it
            is to be judged.
        """
        if not self._refusals:
            return None
        begin_s = time.perf_counter()
        refusal = self._refusals.get(_name_of(method, target, headers))
        if refusal is None or self._monotonic_s() >= refusal.until_s:
            return None
        answer = new_request_id().encode().join(refusal.pieces)
        seconds = time.perf_counter() - begin_s
        self._observe(refusal.method, refusal.route, refusal.status, seconds, refusal.reason)
        return refusal.status, answer


def _name_of(method: bytes, target: bytes, headers: Headers) -> Name:
    return method, target, tuple([header for header in headers if header[0] != OF_BODIES])
