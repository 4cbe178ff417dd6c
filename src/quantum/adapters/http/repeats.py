"""The layer that refuses again who was refused for its rate a moment ago, before anything is found out once more.

A sender far beyond its limit knocks many times a second. Each time it would be found out who that is and how much they
may, which takes time from everybody, and the answer would be the same: try again in a second. So for a moment the very
same request, whatever its body, gets the same answer. Nobody may less for it: what a sender was not let use meanwhile
is still there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware

from quantum.adapters.http.problems import REASON, ROUTE, new_request_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

AGAIN_S: Final = 0.1
"""So long a refusal is told again. Who keeps to the time that it names does not notice."""
RATES: Final = frozenset({"key_rate", "user_rate", "tenant_rate"})
"""Reasons that do not depend on what a request carries."""
MOST: Final = 1000
"""So many refusals at most are known: beyond it all are forgotten, and found out again."""
OF_BODIES: Final = b"content-length"

Name = tuple[str, bytes, bytes, tuple[tuple[bytes, bytes], ...]]
"""What a request is known by: method, path, query, and all headers but the length of its body."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was answered.

    Attributes:
        until_s: how long it is told again (monotonic clock).
        route: the template of the path.
        reason: why.
        request_id: what the answer names, to be replaced by that of the next.
        head: the status and the headers.
        body: the problem.
    """

    until_s: float
    route: str
    reason: str
    request_id: bytes
    head: Any
    body: bytes


class Repeats(ASGIMiddleware):
    """Refuses again; everything else passes."""

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

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """See ASGIMiddleware."""
        if scope["type"] != ScopeType.HTTP:
            await next_app(scope, receive, send)
            return
        name = _name_of(scope)
        refusal = self._refusals.get(name)
        if refusal and self._monotonic_s() < refusal.until_s:
            await self._refuse_again(name[0], send, refusal)
            return
        sent: list[Message] = []

        async def heard(message: Message) -> None:
            if sent or message.get("status") == HTTPStatus.TOO_MANY_REQUESTS:
                sent.append(message)
            await send(message)

        await next_app(scope, receive, heard)
        if sent and scope["state"].get(REASON) in RATES:
            self._note(name, scope, sent)

    def _note(self, name: Name, scope: Scope, sent: list[Message]) -> None:
        if len(self._refusals) >= MOST:
            self._refusals.clear()
        head, *rest = cast("list[Any]", sent)
        self._refusals[name] = Refusal(
            until_s=self._monotonic_s() + self._again_s,
            route=str(scope["state"][ROUTE]),
            reason=str(scope["state"][REASON]),
            request_id=str(scope["state"]["request_id"]).encode(),
            head=head,
            body=b"".join(message["body"] for message in rest),
        )

    async def _refuse_again(self, method: str, send: Send, refusal: Refusal) -> None:
        begin_s = time.perf_counter()
        request_id = new_request_id().encode()
        headers = [(name, value.replace(refusal.request_id, request_id)) for name, value in refusal.head["headers"]]
        head: Any = {**refusal.head, "headers": headers}
        body: Any = {"type": "http.response.body", "body": refusal.body.replace(refusal.request_id, request_id)}
        await send(head)
        await send(body)
        seconds = time.perf_counter() - begin_s
        self._observe(method, refusal.route, refusal.head["status"], seconds, refusal.reason)


def _name_of(scope: HTTPScope) -> Name:
    headers = tuple(header for header in scope["headers"] if header[0] != OF_BODIES)
    return str(scope["method"]), scope["raw_path"], scope["query_string"], headers
