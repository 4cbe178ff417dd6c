"""Notifying: gets every notification intent to its receiver, at least once, in order per alert and receiver.

An intent is sent with its id as idempotency key and settled afterwards; a crash between the two sends it once more
with the same key. A store that cannot note what became of an attempt makes no second one: it is noted later. Nor does
an orderly stop: it waits for the attempt that was begun. Failures are tried again with growing pauses for a day, then
given up visibly.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from quantum.domain.errors import Rejected, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from quantum.application.ports import Clock, Delivery, NotificationQueue, Receiver
    from quantum.domain.facts import WebhookReceiver

AT_ONCE: Final = 50
POLL_MS: Final = 500
FIRST_PAUSE_MS: Final = 1000
LONGEST_PAUSE_MS: Final = 300_000
GIVE_UP_AFTER_MS: Final = 86_400_000


class Notifier:
    """The pump from the queue of intents to the receivers."""

    def __init__(
        self,
        queue: NotificationQueue,
        receiver: Receiver,
        receivers: Callable[[], tuple[WebhookReceiver, ...]],
        clock: Clock,
        generator: np.random.Generator,
    ) -> None:
        self._queue = queue
        self._receiver = receiver
        self._receivers = receivers
        self._clock = clock
        self._generator = generator
        self._unsettled: Delivery | None = None
        self._begun: tuple[asyncio.Future[None], ...] = ()

    @property
    def is_settled(self) -> bool:
        """Whether the store knows what became of every attempt."""
        return self._unsettled is None

    async def run_once(self) -> None:
        """Send what is due; wait a moment if nothing was."""
        if not await self.send_due():
            await self._clock.sleep(POLL_MS)

    async def send_due(self) -> int:
        """Send what is due; return how many attempts were made.

        Raises:
            Unavailable: the store did not take what became of an attempt; the next call begins with that.
        """
        await self._settle()
        due = await self._queue.due(self._clock.now_ms(), AT_ONCE)
        for delivery in due:
            # once begun it is not stopped halfway: the receiver may have it already
            attempt = asyncio.ensure_future(self._see_through(delivery))
            self._begun = (attempt,)
            await asyncio.shield(attempt)
        return len(due)

    async def close(self) -> None:
        """Wait for the attempt that was begun, and have it noted; a store that does not take it now is left alone."""
        await asyncio.gather(*self._begun, return_exceptions=True)
        with suppress(Unavailable):
            await self._settle()

    async def _see_through(self, delivery: Delivery) -> None:
        self._unsettled = await self._attempt(delivery)
        await self._settle()

    async def _settle(self) -> None:
        if self._unsettled is not None:
            await self._queue.settle(self._unsettled)
            self._unsettled = None

    async def _attempt(self, delivery: Delivery) -> Delivery:
        tried = replace(delivery, attempts=delivery.attempts + 1)
        target = next((one for one in self._receivers() if one.name == delivery.intent.receiver), None)
        if target is None:
            return self._over(tried, "failed", f"there is no receiver named {delivery.intent.receiver!r} any more")
        try:
            await self._receiver.send(target, delivery.intent)
        except Rejected as refusal:
            return self._over(tried, "failed", str(refusal))
        except Unavailable as failure:
            return self._again(tried, str(failure))
        return self._over(tried, "sent", "delivered")

    def _over(self, delivery: Delivery, outcome: str, detail: str) -> Delivery:
        return replace(delivery, due_at_ms=None, outcome=outcome, detail=detail, changed_at_ms=self._clock.now_ms())

    def _again(self, delivery: Delivery, detail: str) -> Delivery:
        now_ms = self._clock.now_ms()
        if now_ms - delivery.intent.at_ms >= GIVE_UP_AFTER_MS:
            return self._over(delivery, "failed", f"given up after {delivery.attempts} attempts: {detail}")
        pause_ms = min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** min(delivery.attempts - 1, 20))
        due_at_ms = now_ms + int(pause_ms * self._generator.uniform(0.5, 1.0))
        return replace(delivery, due_at_ms=due_at_ms, detail=detail, changed_at_ms=now_ms)
