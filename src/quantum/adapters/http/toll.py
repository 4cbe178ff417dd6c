"""The layer that keeps to the quotas: after it is known who asks, before a body is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar.middleware import ASGIMiddleware

from quantum.adapters.http.access import PRINCIPAL, refuse
from quantum.domain.errors import Throttled

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Receive, Scope, Send

    from quantum.application.quotas import Quotas


class Toll(ASGIMiddleware):
    """Lets through as many requests and upgrades as the quotas allow; what is open to anybody costs nothing."""

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """See ASGIMiddleware."""
        principal = scope["state"].get(PRINCIPAL)
        try:
            if principal is not None:
                await self._quotas.admit(principal)
        except Throttled as refusal:
            await refuse(scope, receive, send, refusal)
        else:
            await next_app(scope, receive, send)
