"""A pump runs one step after another for as long as the process lives, and survives a step that fails.

>>> Pump.__name__
'Pump'
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 10.0
UNHEALTHY_AFTER: Final = 5


class Pump:
    """Repeats a step; after a failure it waits, longer each time, and says so."""

    def __init__(
        self, name: str, step: Callable[[], Awaitable[None]], on_failure: Callable[[str, Exception], None]
    ) -> None:
        self.name = name
        self.failures = 0
        self._step = step
        self._on_failure = on_failure

    @property
    def healthy(self) -> bool:
        """False after several failures in a row."""
        return self.failures < UNHEALTHY_AFTER

    async def run(self) -> None:
        """Repeat the step until cancelled."""
        while True:
            try:
                await self._step()
                self.failures = 0
            except Exception as error:  # noqa: BLE001 - the one place where a loop outlives any failure of its step
                self.failures += 1
                self._on_failure(self.name, error)
                await asyncio.sleep(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self.failures - 1, 10)))
