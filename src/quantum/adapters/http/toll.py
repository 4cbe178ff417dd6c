"""The layer that keeps to the quotas: after it is known who asks, before a body is read."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from litestar.middleware import ASGIMiddleware

from quantum.adapters.http.access import PRINCIPAL, refuse
from quantum.adapters.http.pace import Pace
from quantum.domain.errors import Throttled

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Receive, Scope, Send

    from quantum.application.quotas import Quotas


class Toll(ASGIMiddleware):
    """Lets through as many requests and upgrades as the quotas allow; what is open to anybody costs nothing."""

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas
        self._paces: defaultdict[str, Pace] = defaultdict(Pace)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """See ASGIMiddleware."""
        principal = scope["state"].get(PRINCIPAL)
        if principal is None:
            await next_app(scope, receive, send)
            return
        try:
            await self._quotas.admit(principal)
        except Throttled as refusal:
            await asyncio.sleep(self._paces[principal.tenant].hold_s(asyncio.get_running_loop().time()))
            await refuse(scope, receive, send, refusal)
        else:
            await next_app(scope, receive, send)
