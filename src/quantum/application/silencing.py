"""Silences as people make them: put in force, ended, listed, and tried out before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from quantum.application.ports import AlertFilter, Page
from quantum.domain.alerts import AlertState
from quantum.domain.civil import DAY_MS
from quantum.domain.errors import NotFound, Rejected
from quantum.domain.facts import EndSilence, PutSilence
from quantum.domain.identity import content_id
from quantum.domain.schedules import MAX_AHEAD_DAYS, MAX_DAYS, Occurrence, check_schedule, day_of, number_of, span_of
from quantum.domain.silences import Silence, SilenceState, check_silence, labels_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from quantum.application.control import Control
    from quantum.application.monitoring import Monitor
    from quantum.application.ports import AlertStore, Clock
    from quantum.domain.alerts import Alert
    from quantum.domain.civil import CivilTime
    from quantum.domain.labels import Matcher, MatcherCompiler
    from quantum.domain.schedules import Schedule

LOOKED_BACK_MS: Final = 7 * DAY_MS
"""How far a preview looks back."""
LOOKED_BACK_DAYS: Final = 100
"""How far it looks back for occurrences of what comes again: far enough for three months' last Sundays."""
OCCURRENCES: Final = 3
"""How many occurrences are shown, of those that are over and of those to come."""
ALERTS_SEEN: Final = 10_000
SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Preview:
    """What a silence would keep quiet, and would have kept quiet.

    Attributes:
        firing: how many alerts that match fire now; of what comes again, 0 between its occurrences.
        fired: how many did in the time since `since_ms`, those included; of what comes again, how many began to fire
            in one of the last occurrences.
        examples: the newest of them, at most 20.
        past: of what comes again, the last occurrences that began, the newest first, with how many of `fired`.
        to_come: of what comes again, this occurrence and the next ones, three in all.
    """

    firing: int
    fired: int
    since_ms: int
    examples: tuple[Alert, ...]
    past: tuple[tuple[Occurrence, int], ...] = ()
    to_come: tuple[Occurrence, ...] = ()


class Silencing:
    """Makes silences and shows them."""

    def __init__(
        self,
        control: Control,
        monitor: Monitor,
        alerts: AlertStore,
        compile_matchers: MatcherCompiler,
        clock: Clock,
        civil_time: Callable[[str], CivilTime],
    ) -> None:
        self._control, self._monitor, self._alerts = control, monitor, alerts
        self._compile, self._clock, self._civil_time = compile_matchers, clock, civil_time

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

    def to_come(self, silence: Silence) -> tuple[Occurrence, ...]:
        """Return for which times a silence is in force now and next, three at most."""
        return tuple(islice(silence.to_come(self._clock.now_ms()), OCCURRENCES))

    def has_other_clocks(self, silence: Silence) -> bool:
        """Return whether clocks will show something else at one of the next occurrences than was known of them."""
        schedule = silence.schedule
        if schedule is None:
            return False
        civil = self._civil_time(schedule.zone)
        edges = [at_ms for one in self.to_come(silence) for at_ms in (one.starts_at_ms, one.ends_at_ms - 1)]
        return any(civil.ahead_ms(at_ms) != schedule.ahead_ms(at_ms) for at_ms in edges)

    def of_alert(self, alert: Alert) -> tuple[Silence, Occurrence] | None:
        """Return the silence because of which nobody was told of an alert, and the time of it; None if there is none.

        Raises:
            Unavailable: silences are not known yet.
        """
        silence = None if alert.silenced_by is None else self._monitor.in_force.silences.find(alert.silenced_by)
        if silence is None:
            return None
        time = silence.newest(self._clock.now_ms() if alert.resolved_at_ms is None else alert.resolved_at_ms)
        return None if time is None else (silence, time)

    async def make(
        self,
        matchers: Sequence[Matcher],
        starts_at_ms: int | None,
        ends_at_ms: int | None,
        comment: str,
        actor: str,
        schedule: Schedule | None = None,
    ) -> Silence:
        """Put a silence in force and return it.

        Args:
            matchers: of which alerts nobody is told.
            starts_at_ms: from when on, now if that is None; None if there is a schedule.
            ends_at_ms: until when; None if there is a schedule.
            comment: why.
            actor: who wants it.
            schedule: when it comes again, without its clocks. An empty first day is today, by the clocks of its zone,
                and an empty last day is as late as may be.

        Raises:
            Rejected: it makes no sense; see `check_silence`; `time_zone`.
        """
        made = self._drawn_up(matchers, starts_at_ms, ends_at_ms, comment, actor, schedule)
        await self._control.submit(PutSilence(made, actor))
        return self.silence(made.id)

    async def end(self, silence_id: str, actor: str) -> None:
        """End a silence now.

        Raises:
            NotFound: there is none.
            Rejected: `silence_state`, when it is over already.
        """
        await self._control.submit(EndSilence(silence_id, actor))

    async def preview(self, matchers: Sequence[Matcher], schedule: Schedule | None = None) -> Preview:
        """Return what a silence with these matchers, and this schedule if it comes again, would keep quiet.

        Raises:
            Rejected: `silence_matchers`, `silence_schedule`, `silence_time`, `time_zone` or `regex`.
        """
        now_ms = self._clock.now_ms()
        ends_at_ms = now_ms + 1 if schedule is None else None
        drawn = self._drawn_up(matchers, None, ends_at_ms, "", "", schedule)
        matches = check_silence(drawn, self._compile, now_ms)
        past = () if drawn.schedule is None else self._last(drawn.schedule, now_ms)
        since_ms = min((one.starts_at_ms for one in past), default=max(0, now_ms - LOOKED_BACK_MS))
        found = [one for one in await self._fired(since_ms - (DAY_MS if past else 0)) if matches(labels_of(one))]
        firing = sum(one.state is AlertState.FIRING for one in found) if drawn.occurrence(now_ms) else 0
        if drawn.schedule is None:
            return Preview(firing, len(found), since_ms, tuple(found[:SHOWN]))
        withheld = [one for one in found if any(_began_in(one, time) for time in past)]
        counts = tuple((time, sum(_began_in(one, time) for one in withheld)) for time in past)
        return Preview(firing, len(withheld), since_ms, tuple(withheld[:SHOWN]), counts, self.to_come(drawn))

    async def _fired(self, since_ms: int) -> Sequence[Alert]:
        """Return alerts that fired, of those that were pending since then; the newest first."""
        fired = (AlertState.FIRING, AlertState.RESOLVED)
        return await self._alerts.alerts(AlertFilter(states=fired, start_ms=max(0, since_ms)), Page(limit=ALERTS_SEEN))

    def _last(self, schedule: Schedule, now_ms: int) -> tuple[Occurrence, ...]:
        """Return the last occurrences that began, as if it had come for a while; the newest first."""
        today = (now_ms + schedule.ahead_ms(now_ms)) // DAY_MS
        first, last = day_of(today - LOOKED_BACK_DAYS), day_of(today)
        before = self._with_clocks(replace(schedule, first_day=first, last_day=last))
        return tuple(islice(before.before(now_ms), OCCURRENCES))

    def _drawn_up(
        self,
        matchers: Sequence[Matcher],
        starts_at_ms: int | None,
        ends_at_ms: int | None,
        comment: str,
        actor: str,
        schedule: Schedule | None,
    ) -> Silence:
        now_ms = self._clock.now_ms()
        if schedule is not None:
            if (starts_at_ms, ends_at_ms) != (None, None):
                raise Rejected("silence_time", "a silence that comes again has its days and times in its schedule only")
            schedule = self._complete(schedule, now_ms)
            span = span_of(schedule)
        elif ends_at_ms is None:
            raise Rejected("silence_time", "a silence has an end, ends_at_ms, or a schedule")
        else:
            span = Occurrence(now_ms if starts_at_ms is None else starts_at_ms, ends_at_ms)
        return Silence(
            id=content_id(actor, now_ms, comment, span.ends_at_ms, *map(str, matchers), *_key_of(schedule)),
            matchers=tuple(matchers),
            starts_at_ms=span.starts_at_ms,
            ends_at_ms=span.ends_at_ms,
            comment=comment,
            author=actor,
            created_at_ms=now_ms,
            schedule=schedule,
        )

    def _complete(self, schedule: Schedule, now_ms: int) -> Schedule:
        """Return a schedule with its days and its clocks."""
        today = (now_ms + self._civil_time(schedule.zone).ahead_ms(now_ms)) // DAY_MS
        first_day = schedule.first_day or day_of(today)
        last_day = schedule.last_day or day_of(min(number_of(first_day), today + MAX_AHEAD_DAYS) + MAX_DAYS)
        complete = replace(schedule, first_day=first_day, last_day=last_day)
        check_schedule(complete, now_ms)
        return self._with_clocks(complete)

    def _with_clocks(self, schedule: Schedule) -> Schedule:
        start_ms, end_ms = (number_of(day) * DAY_MS for day in (schedule.first_day, schedule.last_day))
        clocks = self._civil_time(schedule.zone).changes(start_ms - 2 * DAY_MS, end_ms + 4 * DAY_MS)
        return replace(schedule, clocks=clocks)


def _key_of(schedule: Schedule | None) -> tuple[str, ...]:
    return () if schedule is None else (repr(schedule),)


def _began_in(alert: Alert, time: Occurrence) -> bool:
    return alert.firing_at_ms is not None and time.starts_at_ms <= alert.firing_at_ms < time.ends_at_ms
