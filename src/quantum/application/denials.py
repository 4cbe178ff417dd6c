"""Denials: what somebody asked for and may not have goes into the log, as far as that is bearable.

One a second on average and ten at once are written; more than that is somebody trying keys, and is counted instead. A
store that does not answer makes no denial fail: who may not is told so at once, whatever else is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from quantum.application.control import ORIGIN
from quantum.application.rates import Rate
from quantum.domain.errors import Unavailable
from quantum.domain.facts import Denied

if TYPE_CHECKING:
    from quantum.application.ports import Clock, EventStream, FactLog

PER_S: Final = 1
MAX_TEXT: Final = 200


class Denials:
    """Writes denials into the log.

    Attributes:
        unwritten: how many were only counted.
    """

    def __init__(self, log: FactLog, stream: EventStream, clock: Clock) -> None:
        self.unwritten = 0
        self._log, self._stream, self._clock = log, stream, clock
        self._rate = Rate(PER_S, clock.now_ms())

    async def note(self, actor: str, action: str, target: str, reason: str) -> None:
        """Write that somebody (or nobody known: "") was denied something."""
        now_ms = self._clock.now_ms()
        if self._rate.take(1, now_ms):
            self.unwritten += 1
            return
        denied = Denied(actor[:MAX_TEXT], ORIGIN.get(), action[:MAX_TEXT], target[:MAX_TEXT], reason[:MAX_TEXT])
        try:
            await self._stream.publish([await self._log.append(denied, now_ms)])
        except Unavailable:
            self.unwritten += 1
