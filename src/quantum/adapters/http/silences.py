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
from quantum.domain.silences import MAX_COMMENT, Silence, SilenceState

if TYPE_CHECKING:
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


class SilenceRequest(Body):
    """A silence as people write it; it starts now unless it says when."""

    matchers: Matchers
    ends_at_ms: TimeMs
    starts_at_ms: TimeMs | None = None
    comment: Annotated[str, msgspec.Meta(max_length=MAX_COMMENT)] = ""


class SilencePreviewRequest(Body):
    """Which alerts?"""

    matchers: Matchers


class SilenceItem(Message):
    """For a time nobody is told of alerts that match; `ended_by` is who ended it before its time."""

    id: str
    state: SilenceState
    matchers: list[MatcherItem]
    starts_at_ms: int
    ends_at_ms: int
    comment: str
    author: str
    created_at_ms: int
    ended_by: str


class SilenceList(Message):
    """The newest first."""

    items: list[SilenceItem]


class SilencePreview(Message):
    """How many alerts that match fire now, and fired since `since_ms`; `examples` are the newest of them."""

    firing: int
    fired: int
    since_ms: int
    examples: list[AlertItem]


def silence_routes(silencing: Silencing) -> list[HTTPRouteHandler]:
    """Return the handlers."""

    @get("/api/v1/silences", operation_id="listSilences", tags=TAGS, summary="Silences, the newest first")
    async def listing(states: States = None) -> SilenceList:
        found = [_view(one, silencing) for one in silencing.every()]
        return SilenceList(items=[one for one in found if not states or one.state in states])

    @post("/api/v1/silences", operation_id="createSilence", tags=TAGS, summary="Let nobody be told, for a time")
    async def create(data: JSONBody[SilenceRequest], request: Request[Any, Any, Any]) -> Response[SilenceItem]:
        matchers, actor = views.asked_matchers(data.matchers), principal_of(request).subject
        made = await silencing.make(matchers, data.starts_at_ms, data.ends_at_ms, data.comment, actor)
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
        found = await silencing.preview(views.asked_matchers(data.matchers))
        return SilencePreview(
            firing=found.firing,
            fired=found.fired,
            since_ms=found.since_ms,
            examples=[views.alert(one) for one in found.examples],
        )

    return [listing, create, one_silence, end, preview]


def _view(one: Silence, silencing: Silencing) -> SilenceItem:
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
    )
