"""What verdicts teach: proposals for a policy, learning one of them, and taking it back."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from litestar import Request, get, post
from litestar.params import JSONBody

from quantum.adapters.http import messages, views
from quantum.adapters.http import teaching_messages as m
from quantum.adapters.http.control import Key, actor_of
from quantum.domain.errors import Rejected
from quantum.domain.labels import Matcher, MatchOp
from quantum.domain.policies import Direction
from quantum.domain.teaching import Setting, Tightening

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from quantum.application.teaching import Option, Proposal, Teaching
    from quantum.domain.teaching import Evidence, Lesson

TAGS: Final = ["policies"]


def teaching_routes(teaching: Teaching) -> list[HTTPRouteHandler]:
    """Return the handlers of what policies learn from verdicts."""

    @post(
        "/api/v1/policies/{key:str}/propose",
        operation_id="proposeLesson",
        tags=TAGS,
        summary="What verdicts teach a policy",
        status_code=200,
    )
    async def propose(key: Key, data: JSONBody[m.ProposalRequest]) -> m.ProposalItem:
        return _proposal(await teaching.propose(key, data.start_ms, data.end_ms))

    @post(
        "/api/v1/policies/{key:str}/learn",
        operation_id="learnLesson",
        tags=TAGS,
        summary="Make a policy stricter, if nothing confirmed is lost by it",
        status_code=200,
    )
    async def learn(key: Key, data: JSONBody[m.LearnRequest], request: Request[Any, Any, Any]) -> m.OptionItem:
        change = asked_change(data)
        actor = actor_of(request)
        return _option(await teaching.learn(key, change, data.version, actor, data.start_ms, data.end_ms))

    @post(
        "/api/v1/policies/{key:str}/unlearn",
        operation_id="unlearnLesson",
        tags=TAGS,
        summary="Take back what a policy learnt last",
        status_code=200,
    )
    async def unlearn(key: Key, request: Request[Any, Any, Any]) -> messages.PolicyItem:
        return views.policy(await teaching.unlearn(key, None, actor_of(request)))

    @get("/api/v1/policies/{key:str}/lessons", operation_id="listLessons", tags=TAGS, summary="What a policy learnt")
    async def lessons(key: Key) -> m.LessonList:
        return m.LessonList(items=[_lesson(one) for one in teaching.lessons(key)])

    return [propose, learn, unlearn, lessons]


def asked_change(body: m.LearnRequest) -> Tightening:
    """Return the change that a request describes.

    Raises:
        Rejected: `lesson`: it says not just the one of `value`, `direction` and `matcher` that its setting needs.
    """
    said = {name for name in ("value", "direction", "matcher") if getattr(body, name) is not None}
    needed = body.setting if body.setting in ("direction", "matcher") else "value"
    if said != {needed}:
        raise Rejected("lesson", f"the setting {body.setting} needs {needed} and no other")
    return Tightening(
        setting=Setting(body.setting),
        value=body.value or 0.0,
        direction=None if body.direction is None else Direction(body.direction),
        matcher=None
        if body.matcher is None
        else Matcher(body.matcher.label, MatchOp(body.matcher.op), body.matcher.value),
    )


def _proposal(one: Proposal) -> m.ProposalItem:
    return m.ProposalItem(
        policy_id=one.policy.id,
        version=one.policy.version,
        start_ms=one.start_ms,
        end_ms=one.end_ms,
        unwanted=one.unwanted,
        confirmed=one.confirmed,
        options=[_option(option) for option in one.options],
    )


def _option(one: Option) -> m.OptionItem:
    matcher, side = one.change.matcher, one.change.direction
    return m.OptionItem(
        setting=one.change.setting.value,
        value=one.change.value if matcher is None and side is None else None,
        direction=None if side is None else "below" if side is Direction.BELOW else "above",
        matcher=None
        if matcher is None
        else messages.MatcherItem(label=matcher.label, op=matcher.op.value, value=matcher.value),
        text=one.words,
        harmless=one.is_harmless,
        policy=views.policy(one.policy),
        evidence=_evidence(one.evidence),
    )


def _evidence(one: Evidence) -> m.EvidenceItem:
    members = {**asdict(one), "lost": list(one.lost), "pages": [m.PagesItem(**asdict(each)) for each in one.pages]}
    return m.EvidenceItem(**members)


def _lesson(one: Lesson) -> m.LessonItem:
    return m.LessonItem(
        at_ms=one.at_ms,
        actor=one.actor,
        before=views.policy(one.before),
        after=views.policy(one.after),
        evidence=_evidence(one.evidence),
    )
