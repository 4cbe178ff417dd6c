"""Receivers over HTTP: one POST of JSON per notification, with the intent's id as idempotency key.

Whoever may edit receivers chooses the URL, so only public addresses are told unless `outgoing.webhook_networks` allows
more. What notifications say is data: it is neither a template nor markup, here or at the other end.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp

from quantum.adapters.addresses import PUBLIC, AddressRefused, guarded_connector
from quantum.domain.errors import Rejected, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from quantum.adapters.addresses import Reach
    from quantum.domain.alerts import Alert, NotificationIntent
    from quantum.domain.facts import WebhookReceiver

TIMEOUT_S: Final = 10.0
READ_BYTES: Final = 65_536
TRY_AGAIN: Final = frozenset({408, 425, 429})
"""Client errors that say "later" and not "never" (RFC 9110, 8470, 6585)."""


class Webhooks:
    """Receiver over HTTP; an async context manager."""

    def __init__(
        self, reach: Reach = PUBLIC, timeout_s: float = TIMEOUT_S, headers: Callable[[], dict[str, str]] = dict
    ) -> None:
        """Take what bounds it, and what returns headers that each request gets besides."""
        self._reach = reach
        self._headers = headers
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        """Open the connection pool."""
        self._session = aiohttp.ClientSession(
            # a connection per notification: one that was kept would go to an address that was judged long ago
            connector=guarded_connector(self._reach, force_close=True),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            headers={"User-Agent": "quantum"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self._session.close()

    async def send(self, receiver: WebhookReceiver, intent: NotificationIntent) -> None:
        """See Receiver. Redirects are not followed: they could lead a notification, and its secret, anywhere.

        An address out of reach is Unavailable, not Rejected: the page is not lost while an operator mends the settings.
        """
        headers = {**self._headers(), "Idempotency-Key": intent.id}
        if receiver.secret:
            headers["Authorization"] = f"Bearer {receiver.secret}"
        try:
            self._reach.refuse_url(receiver.url)
            async with self._session.post(
                receiver.url, json=notification(intent), headers=headers, allow_redirects=False
            ) as response:
                await response.content.read(READ_BYTES)
                status = response.status
        except AddressRefused as refusal:
            raise Unavailable(f"{receiver.name} was not told: {refusal}") from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unavailable(f"{receiver.name} did not answer: {str(error) or type(error).__name__}") from error
        if status >= 500 or status in TRY_AGAIN:  # noqa: PLR2004 - the class of server errors
            raise Unavailable(f"{receiver.name} answered {status}")
        if not 200 <= status < 300:  # noqa: PLR2004 - the class of success
            raise Rejected("receiver_refused", f"{receiver.name} answered {status}")


def notification(intent: NotificationIntent) -> dict[str, Any]:
    """Return the JSON of a notification."""
    return {
        "version": 1,
        "id": intent.id,
        "receiver": intent.receiver,
        "at_ms": intent.at_ms,
        "alert": _alert(intent.alert),
    }


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "id": alert.id,
        "seq": alert.seq,
        "state": alert.state.value,
        "severity": alert.severity.value,
        "policy": alert.policy_name,
        "group": dict(alert.group.pairs),
        "summary": alert.summary,
        "reason": alert.reason,
        "incident_id": alert.incident_id,
        "pending_at_ms": alert.pending_at_ms,
        "firing_at_ms": alert.firing_at_ms,
        "resolved_at_ms": alert.resolved_at_ms,
        "series": [
            {"labels": dict(one.series.pairs), "at_ms": one.at_ms, "value": _number(one.value), "score": one.score}
            for one in alert.contributors
        ],
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
