"""Silences as people make them: put in force, ended, listed, and tried out before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from quantum.application.ports import AlertFilter, Page
from quantum.domain.alerts import AlertState
from quantum.domain.errors import NotFound
from quantum.domain.facts import EndSilence, PutSilence
from quantum.domain.identity import content_id
from quantum.domain.silences import Silence, SilenceState, check_silence, labels_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantum.application.control import Control
    from quantum.application.monitoring import Monitor
    from quantum.application.ports import AlertStore, Clock
    from quantum.domain.alerts import Alert
    from quantum.domain.labels import Matcher, MatcherCompiler

LOOKED_BACK_MS: Final = 7 * 86_400_000
"""How far a preview looks back."""
ALERTS_SEEN: Final = 10_000
SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Preview:
    """What a silence would keep quiet, and would have kept quiet.

    Attributes:
        firing: how many alerts that match fire now.
        fired: how many did in the time since `since_ms`, those included.
        examples: the newest of them, at most 20.
    """

    firing: int
    fired: int
    since_ms: int
    examples: tuple[Alert, ...]


class Silencing:
    """Makes silences and shows them."""

    def __init__(
        self, control: Control, monitor: Monitor, alerts: AlertStore, compile_matchers: MatcherCompiler, clock: Clock
    ) -> None:
        self._control, self._monitor, self._alerts = control, monitor, alerts
        self._compile, self._clock = compile_matchers, clock

    def every(self) -> tuple[Silence, ...]:
        """Return all silences, the newest first; raises Unavailable until they are known."""
        return tuple(reversed(self._monitor.in_force.silences.silences))

    def silence(self, silence_id: str) -> Silence:
        """Return a silence.

        Raises:
            NotFound: there is none, or it was forgotten.
            Unavailable: it is not known yet.
        """
        found = self._monitor.in_force.silences.find(silence_id)
        if found is None:
            raise NotFound(f"there is no silence {silence_id}")
        return found

    def state(self, silence: Silence) -> SilenceState:
        """Return what a silence is now."""
        return silence.state(self._clock.now_ms())

    async def make(
        self, matchers: Sequence[Matcher], starts_at_ms: int | None, ends_at_ms: int, comment: str, actor: str
    ) -> Silence:
        """Put a silence in force from `starts_at_ms`, now if that is None, until `ends_at_ms`; return it.

        Raises:
            Rejected: it makes no sense; see `check_silence`.
        """
        made = self._drawn_up(matchers, starts_at_ms, ends_at_ms, comment, actor)
        await self._control.submit(PutSilence(made, actor))
        return self.silence(made.id)

    async def end(self, silence_id: str, actor: str) -> None:
        """End a silence now.

        Raises:
            NotFound: there is none.
            Rejected: `silence_state`, when it is over already.
        """
        await self._control.submit(EndSilence(silence_id, actor))

    async def preview(self, matchers: Sequence[Matcher]) -> Preview:
        """Return what a silence with these matchers would keep quiet.

        Raises:
            Rejected: `silence_matchers` or `regex`.
        """
        now_ms = self._clock.now_ms()
        matches = check_silence(self._drawn_up(matchers, None, now_ms + 1, "", ""), self._compile, now_ms)
        since_ms = max(0, now_ms - LOOKED_BACK_MS)
        fired = (AlertState.FIRING, AlertState.RESOLVED)
        known = await self._alerts.alerts(AlertFilter(states=fired, start_ms=since_ms), Page(limit=ALERTS_SEEN))
        found = [one for one in known if matches(labels_of(one))]
        firing = sum(one.state is AlertState.FIRING for one in found)
        return Preview(firing, len(found), since_ms, tuple(found[:SHOWN]))

    def _drawn_up(
        self, matchers: Sequence[Matcher], starts_at_ms: int | None, ends_at_ms: int, comment: str, actor: str
    ) -> Silence:
        now_ms = self._clock.now_ms()
        return Silence(
            id=content_id(actor, now_ms, comment, ends_at_ms, *map(str, matchers)),
            matchers=tuple(matchers),
            starts_at_ms=now_ms if starts_at_ms is None else starts_at_ms,
            ends_at_ms=ends_at_ms,
            comment=comment,
            author=actor,
            created_at_ms=now_ms,
        )
