"""Following: what a process knows of a log that another one writes.

It runs the facts through a pipeline without detectors, which so has the series, the policies, receivers and keys in
force, and the newest values, a moment after the writer has them. What the pipeline concludes beside that is of no use
here: the writer records conclusions, and they are read where it puts them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from quantum.application.monitoring import GROUP_ROWS
from quantum.domain.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from quantum.application.monitoring import Monitor
    from quantum.application.ports import Clock, FactLog
    from quantum.domain.facts import Fact

FOLLOW_MS: Final = 250
"""So often is looked for new facts: what is read is as old as that, and what looking takes."""


class Mirror:
    """Keeps a monitor at the state of a log that another process writes."""

    def __init__(self, log: FactLog, look_again: Callable[[], Awaitable[None]], monitor: Monitor, clock: Clock) -> None:
        """Take the log, what brings its reader up to what is committed now, and the monitor to be kept."""
        self._log, self._look_again, self._monitor, self._clock = log, look_again, monitor, clock
        self._one_at_a_time = asyncio.Lock()

    async def open(self) -> None:
        """Begin at the newest checkpoint and follow the log to where it is now."""
        await self._monitor.restore()
        await self.follow()

    async def run_once(self) -> None:
        """Wait a moment, then follow.

        Raises:
            Unavailable: the log cannot be read now.
        """
        await self._clock.sleep(FOLLOW_MS)
        await self.follow()

    async def follow(self) -> None:
        """Take in what was committed until now."""
        async with self._one_at_a_time:
            await self._look_again()
            while facts := await self._next():
                await self._monitor.mirror(facts)

    async def _next(self) -> Sequence[Fact]:
        try:
            return await self._log.read(self._monitor.pipeline.position, GROUP_ROWS)
        except NotFound:
            # what comes next was forgotten meanwhile: a checkpoint has what it led to
            await self._monitor.restore()
            return await self._log.read(self._monitor.pipeline.position, GROUP_ROWS)
