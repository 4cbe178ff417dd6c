"""The key ring as the log has it, up to its last fact: ahead of the pipeline, which may wait for those who score.

A key that was revoked must not let anybody in, and one that was issued must not be refused, while detection is behind:
who sends samples drops them when a key is refused. Whether a command about keys is refused depends on keys alone, so
the ring says here what the pipeline will conclude.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from quantum.domain.api_keys import KeyRing
from quantum.domain.errors import QuantumError
from quantum.domain.facts import IssueApiKey, RevokeApiKey, command_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantum.application.ports import FactLog
    from quantum.domain.facts import Fact

ROWS_AT_ONCE: Final = 100_000
REMEMBERED: Final = 256
"""Refusals of so many commands are remembered for who gave them."""


class KeyLog:
    """Follows the log for the sake of the keys.

    Attributes:
        ring: the keys in force at `position`.
        position: of the last fact that is known here; never before that of the pipeline.
    """

    def __init__(self, log: FactLog) -> None:
        self.ring = KeyRing()
        self.position = 0
        self._log = log
        self._refusals: dict[int, QuantumError] = {}
        self._one_at_a_time = asyncio.Lock()

    def begin(self, ring: KeyRing, position: int) -> None:
        """Begin where a pipeline is, with a ring of our own."""
        self.ring, self.position = KeyRing(ring.keys), position

    async def follow(self) -> None:
        """Take in everything that the log has.

        Raises:
            Unavailable: the log does not answer; what was read until then is known.
        """
        async with self._one_at_a_time:
            while facts := await self._log.read(self.position, ROWS_AT_ONCE):
                self.take(facts)

    def take(self, facts: Sequence[Fact]) -> None:
        """Take in facts of the log in order, of which some may be known; none before the first new one is missing."""
        for fact in facts:
            if fact.position > self.position:
                self._judge(fact)
                self.position = fact.position

    def _judge(self, fact: Fact) -> None:
        command = command_in(fact.body)
        if not isinstance(command, IssueApiKey | RevokeApiKey):
            return
        try:
            self.ring.obey(command, fact.at_ms)
        except QuantumError as refusal:
            self._refusals[fact.position] = refusal
            for old in list(self._refusals)[:-REMEMBERED]:
                del self._refusals[old]

    def refusal(self, position: int) -> QuantumError | None:
        """Return why the command at a position was refused, if it was not long ago; None if it was obeyed."""
        return self._refusals.get(position)
