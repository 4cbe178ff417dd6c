"""Control: what people do to policies, receivers, routes and incidents. Every act is a fact that the pipeline judges.

The caller is answered after the pipeline has taken the fact in, so what is read next already shows it, and a replay of
the log repeats every act at its place.
"""

from __future__ import annotations

import asyncio
import re
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from quantum.domain.errors import Unavailable
from quantum.domain.facts import Ordered
from quantum.domain.identity import content_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quantum.application.monitoring import Monitor
    from quantum.application.ports import Clock, EventStream, FactLog
    from quantum.domain.facts import Command, WebhookReceiver
    from quantum.domain.policies import AlertPolicy
    from quantum.domain.routes import Route

PATIENCE_S: Final = 10.0
ORIGIN: Final[ContextVar[str]] = ContextVar("origin", default="")
"""The address from which is asked what is being done; set where requests come in, so that no command can lack it."""
TENANT: Final[ContextVar[str]] = ContextVar("tenant", default="")
"""Whose turn of the processors what is being done takes, where there are several tenants; it decides nothing else."""


class Control:
    """Appends commands and waits for the pipeline's answer."""

    def __init__(self, log: FactLog, stream: EventStream, clock: Clock, monitor: Monitor) -> None:
        self._log = log
        self._stream = stream
        self._clock = clock
        self._monitor = monitor

    async def submit(self, command: Command) -> None:
        """Carry out a command.

        Raises:
            Rejected, Conflict, NotFound: the pipeline refused it; nothing changed.
            Unavailable: it is stored and will be judged, but not within `PATIENCE_S` seconds.
        """
        position = await self.append(command)
        try:
            await asyncio.wait_for(self._monitor.expect(position), PATIENCE_S)
        except TimeoutError:
            raise Unavailable(
                "the request is stored, but its outcome is not known yet; read before trying again"
            ) from None

    async def append(self, command: Command) -> int:
        """Append a command and hand it on; return its position. What the pipeline says to it is not waited for."""
        body = Ordered(command, ORIGIN.get()) if ORIGIN.get() else command
        fact = await self._log.append(body, self._clock.now_ms())
        await self._stream.publish([fact])
        return fact.position

    def policies(self) -> tuple[AlertPolicy, ...]:
        """Return the policies in force, by name; raises Unavailable until that is known."""
        return tuple(sorted(self._monitor.in_force.catalog.policies, key=lambda policy: policy.name))

    def receivers(self) -> tuple[WebhookReceiver, ...]:
        """Return the receivers in force, by name; raises Unavailable until that is known."""
        return self._monitor.in_force.catalog.receivers

    def routes(self) -> tuple[Route, ...]:
        """Return the routes in force, a parent before its children; raises Unavailable until that is known."""
        return self._monitor.in_force.routes.routes


def policy_id(name: str) -> str:
    """Return the id of a new policy: readable, and distinct for distinct names."""
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
    return f"{readable}-{content_id(name, digits=8)}".lstrip("-")


async def install_defaults(control: Control, commands: Iterable[Command]) -> None:
    """Carry out commands at start, one after the other."""
    for command in commands:
        await control.submit(command)
