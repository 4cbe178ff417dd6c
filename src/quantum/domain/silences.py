"""Silences: for a time, nobody is told of alerts that match. All else goes on: they fire, resolve and are recorded.

A silence with a schedule comes again: it is in force in each occurrence of the schedule, and waits between them.

What was not told because of a silence is told when the silence or its occurrence ends, if the alert still fires then.
Who was told that an alert fires is told that it resolved, silence or not; who was not told the one is not told the
other.

>>> SilenceBook(MatcherCompiler(lambda pattern: pattern.__eq__)).covering(LabelSet.of({"host": "a"}), 0) is None
True
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from quantum.domain.errors import NotFound, Rejected
from quantum.domain.labels import LabelSet, Matcher, MatcherCompiler
from quantum.domain.policies import MAX_MATCHERS
from quantum.domain.schedules import Occurrence, check_schedule, span_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from quantum.domain.alerts import Alert
    from quantum.domain.schedules import Schedule

MAX_SILENCES: Final = 1000
"""How many may be pending or in force at once."""
REMEMBERED: Final = 1000
"""How many that are over are kept, so that an alert can be traced to the silence that kept it quiet."""
MAX_SILENCE_MS: Final = 366 * 86_400_000
MAX_COMMENT: Final = 1000
ALERT_NAME: Final = "alertname"
"""Under this label an alert has the name of its policy, as Prometheus' alerts have that of their rule."""
SEVERITY: Final = "severity"


class SilenceState(StrEnum):
    """Life of a silence; one that comes again is pending between its occurrences."""

    PENDING = "pending"
    ACTIVE = "active"
    OVER = "over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Alerts that match all matchers are told to nobody in `[starts_at_ms, ends_at_ms)`, or when a schedule says so.

    Attributes:
        id: 16 hex digits.
        matchers: of an alert's labels: those of its group, the policy's name as `alertname`, and `severity`.
        comment: why, in the words of who made it.
        ended_by: who ended it before its time; empty if nobody did.
        schedule: when it comes again within that time; None if it lasts all of it.
    """

    id: str
    matchers: tuple[Matcher, ...]
    starts_at_ms: int
    ends_at_ms: int
    comment: str
    author: str
    created_at_ms: int
    ended_by: str = ""
    schedule: Schedule | None = None

    @property
    def name(self) -> str:
        """What it silences, as a selector."""
        return "{" + ",".join(str(one) for one in self.matchers) + "}"

    def state(self, at_ms: int) -> SilenceState:
        """Return what it is at a time."""
        if at_ms >= self.ends_at_ms:
            return SilenceState.OVER
        return SilenceState.PENDING if self.occurrence(at_ms) is None else SilenceState.ACTIVE

    def occurrence(self, at_ms: int) -> Occurrence | None:
        """Return the time for which it is in force at a moment; None if it is not."""
        if not self.starts_at_ms <= at_ms < self.ends_at_ms:
            return None
        if self.schedule is None:
            return Occurrence(self.starts_at_ms, self.ends_at_ms)
        found = self.schedule.at(at_ms)
        return None if found is None else self._until_its_end(found)

    def to_come(self, at_ms: int) -> Iterator[Occurrence]:
        """Yield the times for which it is in force now or later, in order."""
        if at_ms >= self.ends_at_ms:
            return iter(())
        if self.schedule is None:
            return iter((Occurrence(self.starts_at_ms, self.ends_at_ms),))
        found = takewhile(lambda one: one.starts_at_ms < self.ends_at_ms, self.schedule.occurrences(at_ms))
        return map(self._until_its_end, found)

    def newest(self, at_ms: int) -> Occurrence | None:
        """Return the last time that began until a moment, over or not; None if none has begun."""
        if self.schedule is None:
            return Occurrence(self.starts_at_ms, self.ends_at_ms) if self.starts_at_ms <= at_ms else None
        found = next(self.schedule.before(min(at_ms, self.ends_at_ms - 1)), None)
        return None if found is None else self._until_its_end(found)

    def _until_its_end(self, found: Occurrence) -> Occurrence:
        return replace(found, ends_at_ms=min(found.ends_at_ms, self.ends_at_ms))


def labels_of(alert: Alert) -> LabelSet:
    """Return the labels by which silences know an alert; those of its group come first where names are the same."""
    return LabelSet.of({ALERT_NAME: alert.policy_name, SEVERITY: alert.severity.value} | dict(alert.group.pairs))


def check_silence(silence: Silence, compile_matchers: MatcherCompiler, now_ms: int) -> Callable[[LabelSet], bool]:
    """Return the predicate of a silence that makes sense.

    Raises:
        Rejected: `silence_matchers`, `silence_time`, `silence_schedule` or `silence_text`; `regex` for a pattern that
            is refused.
    """
    if not 1 <= len(silence.matchers) <= MAX_MATCHERS:
        raise Rejected("silence_matchers", f"a silence has 1 to {MAX_MATCHERS} matchers")
    matches = compile_matchers(silence.matchers)
    if matches(LabelSet(())):
        raise Rejected("silence_matchers", "at least one matcher must ask for a value, or every alert would match")
    if len(silence.comment) > MAX_COMMENT or "\x00" in silence.comment:
        raise Rejected("silence_text", f"a comment has at most {MAX_COMMENT} characters and no NUL")
    if silence.schedule is not None:
        check_schedule(silence.schedule, now_ms)
        span_of(silence.schedule)
    elif not 0 < silence.ends_at_ms - silence.starts_at_ms <= MAX_SILENCE_MS:
        raise Rejected("silence_time", "a silence ends after it starts, and lasts 366 days at most")
    if silence.ends_at_ms <= now_ms:
        raise Rejected("silence_time", "a silence ends in the future")
    return matches


class SilenceBook:
    """All silences that are not over, and the last `REMEMBERED` that are."""

    def __init__(self, compile_matchers: MatcherCompiler, silences: Iterable[Silence] = ()) -> None:
        self._compile = compile_matchers
        self._silences = {one.id: one for one in silences}
        self._matches = {one.id: compile_matchers(one.matchers) for one in self._silences.values()}
        self._in_force_at: tuple[int, list[tuple[int, Silence]]] | None = None

    @property
    def silences(self) -> tuple[Silence, ...]:
        """All, in the order in which they were made."""
        return tuple(self._silences.values())

    def find(self, silence_id: str) -> Silence | None:
        """Return one by id; None if it is not there or was forgotten."""
        return self._silences.get(silence_id)

    def put(self, silence: Silence, now_ms: int) -> None:
        """Put a silence in force; the same one again changes nothing.

        Raises:
            Rejected: see `check_silence`; `too_many_silences`.
        """
        if silence.id in self._silences:
            return
        matches = check_silence(silence, self._compile, now_ms)
        over = [one.id for one in self._silences.values() if one.state(now_ms) is SilenceState.OVER]
        if len(self._silences) - len(over) >= MAX_SILENCES:
            raise Rejected("too_many_silences", f"there are {MAX_SILENCES} silences that are not over; end some first")
        for forgotten in over[: max(0, len(over) - REMEMBERED)]:
            del self._silences[forgotten], self._matches[forgotten]
        self._silences[silence.id], self._matches[silence.id] = silence, matches
        self._in_force_at = None

    def end(self, silence_id: str, actor: str, now_ms: int) -> None:
        """End a silence now.

        Raises:
            NotFound: there is none.
            Rejected: `silence_state`, when it is over already.
        """
        silence = self._silences.get(silence_id)
        if silence is None:
            raise NotFound(f"there is no silence {silence_id}")
        if silence.state(now_ms) is SilenceState.OVER:
            raise Rejected("silence_state", f"silence {silence_id} is over already")
        starts_at_ms = min(silence.starts_at_ms, now_ms)
        self._silences[silence_id] = replace(silence, starts_at_ms=starts_at_ms, ends_at_ms=now_ms, ended_by=actor)
        self._in_force_at = None

    def covering(self, labels: LabelSet, now_ms: int) -> Silence | None:
        """Return the silence that keeps an alert with these labels quiet now: of several the one that lasts longest."""
        found = [(until_ms, one) for until_ms, one in self._in_force(now_ms) if self._matches[one.id](labels)]
        return max(found, default=(0, None), key=_longest)[1]

    def _in_force(self, now_ms: int) -> list[tuple[int, Silence]]:
        """Return what is in force now, with when that ends; looked up once for all alerts of a moment."""
        if self._in_force_at is None or self._in_force_at[0] != now_ms:
            lasting = [(one.occurrence(now_ms), one) for one in self._silences.values()]
            self._in_force_at = now_ms, [(found.ends_at_ms, one) for found, one in lasting if found is not None]
        return self._in_force_at[1]


def _longest(lasting: tuple[int, Silence]) -> tuple[int, str]:
    return lasting[0], lasting[1].id
