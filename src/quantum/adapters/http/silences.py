"""Silences over HTTP. They are not edited: end one and make another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.params import JSONBody, PathParameter, QueryParameter
from litestar.status_codes import HTTP_201_CREATED

from quantum.adapters.http import views
from quantum.adapters.http.access import principal_of
from quantum.adapters.http.messages import AlertItem, MatcherItem, Message, TimeMs
from quantum.adapters.http.messages import Request as Body
from quantum.domain.policies import MAX_MATCHERS
from quantum.domain.schedules import BY_DAY, DAY, END_TIME, MAX_BY_DAY, START_TIME, WEEKDAYS, Occurrence, Schedule
from quantum.domain.silences import MAX_COMMENT, Silence, SilenceState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from litestar.handlers import HTTPRouteHandler

    from quantum.application.silencing import Silencing

TAGS: Final = ["silences"]
States = Annotated[
    list[SilenceState] | None, QueryParameter(name="state", description="Those in one of these states; all by default")
]
Key = Annotated[str, PathParameter(max_length=100)]
Matchers = Annotated[
    list[MatcherItem],
    msgspec.Meta(
        min_length=1,
        max_length=MAX_MATCHERS,
        description="Of an alert's labels: those of its group, `alertname` (its policy's name) and `severity`",
    ),
]


Day = Annotated[str, msgspec.Meta(pattern=DAY, description="A day of the calendar, as 2026-11-30")]


class ScheduleRequest(Body):
    """On which days, and between which times by the clocks of a place, a silence comes again.

    `by_day` is as in RFC 5545: `MO` is every Monday, `1MO` to `4MO` one of a month, `-1MO` the last; every day by
    default. `end_time` is of the next day if it is not after `start_time`. It begins today unless it says when.
    """

    time_zone: Annotated[str, msgspec.Meta(min_length=1, max_length=64, description="As `Europe/Berlin`")]
    start_time: Annotated[str, msgspec.Meta(pattern=START_TIME, description="00:00 to 23:59")]
    end_time: Annotated[str, msgspec.Meta(pattern=END_TIME, description="00:00 to 24:00")]
    by_day: Annotated[
        list[Annotated[str, msgspec.Meta(pattern=BY_DAY)]], msgspec.Meta(min_length=1, max_length=MAX_BY_DAY)
    ] = msgspec.field(default_factory=lambda: list(WEEKDAYS))
    first_day: Day | None = None
    last_day: Day | None = None


class SilenceRequest(Body):
    """A silence as people write it: until `ends_at_ms`, from now unless it says when, or with a schedule."""

    matchers: Matchers
    ends_at_ms: TimeMs | None = None
    starts_at_ms: TimeMs | None = None
    comment: Annotated[str, msgspec.Meta(max_length=MAX_COMMENT)] = ""
    schedule: ScheduleRequest | None = None


class SilencePreviewRequest(Body):
    """Which alerts, and at which times if the silence is to come again?"""

    matchers: Matchers
    schedule: ScheduleRequest | None = None


class ScheduleItem(Message):
    """When a silence comes again; `clocks_differ` if the clocks of the zone will show something else than was known.

    Then it goes on by the clocks as they were known; end it and make another.
    """

    time_zone: str
    start_time: str
    end_time: str
    by_day: list[str]
    first_day: str
    last_day: str
    clocks_differ: bool


class OccurrenceItem(Message):
    """One time for which a silence is in force."""

    starts_at_ms: int
    ends_at_ms: int


class PastOccurrenceItem(OccurrenceItem):
    """One that is over, or lasts: of so many alerts that began to fire within it nobody would have been told."""

    withheld: int


class SilenceItem(Message):
    """For a time nobody is told of alerts that match; `ended_by` is who ended it before its time.

    With a schedule, `starts_at_ms` is the start of the first occurrence and `ends_at_ms` the end of the last. It is
    `pending` between them. `to_come` has this occurrence and the next ones, three in all.
    """

    id: str
    state: SilenceState
    matchers: list[MatcherItem]
    starts_at_ms: int
    ends_at_ms: int
    comment: str
    author: str
    created_at_ms: int
    ended_by: str
    schedule: ScheduleItem | None
    to_come: list[OccurrenceItem]


class SilenceList(Message):
    """The newest first."""

    items: list[SilenceItem]


class SilencePreview(Message):
    """How many alerts that match fire now, and fired since `since_ms`; `examples` are the newest of them.

    With a schedule, `fired` are those that began to fire in one of `past`, the last occurrences if it had come before.
    """

    firing: int
    fired: int
    since_ms: int
    examples: list[AlertItem]
    past: list[PastOccurrenceItem]
    to_come: list[OccurrenceItem]


def silence_routes(silencing: Silencing) -> list[HTTPRouteHandler]:
    """Return the handlers."""

    @get("/api/v1/silences", operation_id="listSilences", tags=TAGS, summary="Silences, the newest first")
    async def listing(states: States = None) -> SilenceList:
        found = [_view(one, silencing) for one in silencing.every()]
        return SilenceList(items=[one for one in found if not states or one.state in states])

    @post("/api/v1/silences", operation_id="createSilence", tags=TAGS, summary="Let nobody be told, for a time")
    async def create(data: JSONBody[SilenceRequest], request: Request[Any, Any, Any]) -> Response[SilenceItem]:
        matchers, actor = views.asked_matchers(data.matchers), principal_of(request).subject
        schedule = _asked_schedule(data.schedule)
        made = await silencing.make(matchers, data.starts_at_ms, data.ends_at_ms, data.comment, actor, schedule)
        headers = {"Location": f"/api/v1/silences/{made.id}"}
        return Response(_view(made, silencing), status_code=HTTP_201_CREATED, headers=headers)

    @get("/api/v1/silences/{silence_id:str}", operation_id="getSilence", tags=TAGS, summary="One silence")
    async def one_silence(silence_id: Key) -> SilenceItem:
        return _view(silencing.silence(silence_id), silencing)

    @delete("/api/v1/silences/{silence_id:str}", operation_id="endSilence", tags=TAGS, summary="End a silence now")
    async def end(silence_id: Key, request: Request[Any, Any, Any]) -> None:
        await silencing.end(silence_id, principal_of(request).subject)

    @post(
        "/api/v1/silences/preview",
        operation_id="previewSilence",
        tags=TAGS,
        summary="What a silence would keep quiet",
        status_code=200,
    )
    async def preview(data: JSONBody[SilencePreviewRequest]) -> SilencePreview:
        found = await silencing.preview(views.asked_matchers(data.matchers), _asked_schedule(data.schedule))
        return SilencePreview(
            firing=found.firing,
            fired=found.fired,
            since_ms=found.since_ms,
            examples=[views.alert(one) for one in found.examples],
            past=[
                PastOccurrenceItem(starts_at_ms=one.starts_at_ms, ends_at_ms=one.ends_at_ms, withheld=withheld)
                for one, withheld in found.past
            ],
            to_come=_occurrences(found.to_come),
        )

    return [listing, create, one_silence, end, preview]


def _view(one: Silence, silencing: Silencing) -> SilenceItem:
    differ = silencing.has_other_clocks(one)
    return SilenceItem(
        id=one.id,
        state=silencing.state(one),
        matchers=views.matchers(one.matchers),
        starts_at_ms=one.starts_at_ms,
        ends_at_ms=one.ends_at_ms,
        comment=one.comment,
        author=one.author,
        created_at_ms=one.created_at_ms,
        ended_by=one.ended_by,
        schedule=_schedule(one.schedule, clocks_differ=differ) if one.schedule else None,
        to_come=_occurrences(silencing.to_come(one)),
    )


def _schedule(one: Schedule, *, clocks_differ: bool) -> ScheduleItem:
    return ScheduleItem(
        time_zone=one.zone,
        start_time=one.start_time,
        end_time=one.end_time,
        by_day=list(one.by_day),
        first_day=one.first_day,
        last_day=one.last_day,
        clocks_differ=clocks_differ,
    )


def _occurrences(found: Iterable[Occurrence]) -> list[OccurrenceItem]:
    return [OccurrenceItem(starts_at_ms=one.starts_at_ms, ends_at_ms=one.ends_at_ms) for one in found]


def _asked_schedule(asked: ScheduleRequest | None) -> Schedule | None:
    if asked is None:
        return None
    return Schedule(
        zone=asked.time_zone,
        by_day=tuple(asked.by_day),
        start_time=asked.start_time,
        end_time=asked.end_time,
        first_day=asked.first_day or "",
        last_day=asked.last_day or "",
    )
