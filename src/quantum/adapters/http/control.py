"""Acting: policies, receivers, incidents, and the time machine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar
from urllib.parse import quote

from litestar import Request, Response, delete, get, post, put
from litestar.params import HeaderParameter, JSONBody, PathParameter
from litestar.status_codes import HTTP_200_OK, HTTP_201_CREATED

from quantum.adapters.addresses import AddressRefused
from quantum.adapters.http import messages as m
from quantum.adapters.http import views
from quantum.adapters.http.access import principal_of
from quantum.adapters.http.replay_messages import PreviewRequest, ReplayReport, ReplayRequest
from quantum.application.control import policy_id
from quantum.application.timemachine import Draft
from quantum.domain.alerts import Verdict
from quantum.domain.errors import NotFound, Overloaded, Rejected
from quantum.domain.facts import (
    AcknowledgeIncident,
    DeletePolicy,
    DeleteReceiver,
    JudgeIncident,
    NoteIncident,
    PutPolicy,
    PutReceiver,
    ResolveIncident,
    WebhookReceiver,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from litestar.handlers import HTTPRouteHandler

    from quantum.adapters.addresses import Reach
    from quantum.adapters.http.route_messages import RouteRequest
    from quantum.application.budgets import Budgets
    from quantum.application.control import Control
    from quantum.application.ports import AlertStore
    from quantum.application.timemachine import History, TimeMachine
    from quantum.domain.incidents import IncidentCommand
    from quantum.domain.policies import AlertPolicy

T = TypeVar("T")

Key = Annotated[str, PathParameter(max_length=400)]
IfMatch = Annotated[str | None, HeaderParameter(name="If-Match", max_length=40, description="ETag that was read")]
REPLAYS: Final = 2
"""How many replays may run at once; each takes a processor."""


def actor_of(request: Request[Any, Any, Any]) -> str:
    """Return who is asking, for the record."""
    return principal_of(request).subject


def check_precondition(if_match: str | None, version: int) -> None:
    """Refuse an edit that was made against another version than the one in force; without If-Match, none is.

    Raises:
        Rejected: `precondition_failed`.
    """
    if if_match is None or if_match.strip() == "*":
        return
    if f'"{version}"' not in [tag.strip() for tag in if_match.split(",")]:
        raise Rejected("precondition_failed", f'the ETag is "{version}" now: read it again before you change it')


def _the_one(found: Iterable[T], otherwise: str) -> T:
    """Return the first; raises NotFound with a sentence if there is none."""
    for one in found:
        return one
    raise NotFound(otherwise)


def versioned_answer(item: T, version: int, made_at: str = "") -> Response[T]:
    """Return an answer that shows something with its version; `made_at` is its address if it was just made."""
    headers = {"ETag": f'"{version}"'} | ({"Location": made_at} if made_at else {})
    return Response(item, status_code=HTTP_201_CREATED if made_at else HTTP_200_OK, headers=headers)


def policy_routes(control: Control, budgets: Budgets) -> list[HTTPRouteHandler]:
    """Return the handlers of policies."""

    def find(key: str) -> AlertPolicy:
        return _the_one((one for one in control.policies() if one.id == key), f"there is no policy {key}")

    def answer(key: str, made_at: str = "") -> Response[m.PolicyItem]:
        one = find(key)
        return versioned_answer(views.policy(one), one.version, made_at)

    @get("/api/v1/policies", operation_id="listPolicies", tags=["policies"], summary="All policies")
    async def policies() -> m.PolicyList:
        return m.PolicyList(items=[views.policy(one) for one in control.policies()])

    @post("/api/v1/policies", operation_id="createPolicy", tags=["policies"], summary="Create a policy")
    async def create(data: JSONBody[m.PolicyRequest], request: Request[Any, Any, Any]) -> Response[m.PolicyItem]:
        key = policy_id(data.name)
        await control.submit(PutPolicy(views.asked_policy(data, key), 0, actor_of(request)))
        return answer(key, f"/api/v1/policies/{key}")

    @get("/api/v1/policies/{key:str}", operation_id="getPolicy", tags=["policies"], summary="One policy")
    async def one_policy(key: Key) -> Response[m.PolicyItem]:
        return answer(key)

    @put("/api/v1/policies/{key:str}", operation_id="editPolicy", tags=["policies"], summary="Edit a policy")
    async def edit(
        key: Key, data: JSONBody[m.PolicyRequest], request: Request[Any, Any, Any], if_match: IfMatch = None
    ) -> Response[m.PolicyItem]:
        before = find(key)
        check_precondition(if_match, before.version)
        await control.submit(PutPolicy(views.asked_policy(data, key), before.version, actor_of(request)))
        return answer(key)

    @delete("/api/v1/policies/{key:str}", operation_id="deletePolicy", tags=["policies"], summary="Delete a policy")
    async def remove(key: Key, request: Request[Any, Any, Any], if_match: IfMatch = None) -> None:
        before = find(key)
        check_precondition(if_match, before.version)
        await control.submit(DeletePolicy(key, before.version, actor_of(request)))

    @get("/api/v1/policies/{key:str}/budget", operation_id="getBudget", tags=["policies"], summary="What was spent")
    async def budget(key: Key) -> m.BudgetItem:
        return views.budget(await budgets.of(key))

    return [policies, create, one_policy, edit, remove, budget]


def receiver_routes(control: Control, reach: Reach) -> list[HTTPRouteHandler]:
    """Return the handlers of receivers; URLs must be within reach, as far as that can be seen by them."""

    def find(name: str) -> WebhookReceiver:
        return _the_one(
            (one for one in control.receivers() if one.name == name), f"there is no receiver named {name!r}"
        )

    def answer(name: str, made_at: str = "") -> Response[m.ReceiverItem]:
        one = find(name)
        return versioned_answer(views.receiver(one), one.version, made_at)

    @get("/api/v1/receivers", operation_id="listReceivers", tags=["receivers"], summary="All receivers")
    async def receivers() -> m.ReceiverList:
        return m.ReceiverList(items=[views.receiver(one) for one in control.receivers()])

    @post("/api/v1/receivers", operation_id="createReceiver", tags=["receivers"], summary="Create a receiver")
    async def create(data: JSONBody[m.ReceiverRequest], request: Request[Any, Any, Any]) -> Response[m.ReceiverItem]:
        _check_reach(reach, data.url)
        wanted = WebhookReceiver(name=data.name, url=data.url, secret=data.secret or "")
        await control.submit(PutReceiver(wanted, 0, actor_of(request)))
        return answer(data.name, f"/api/v1/receivers/{quote(data.name, safe='')}")

    @get("/api/v1/receivers/{name:str}", operation_id="getReceiver", tags=["receivers"], summary="One receiver")
    async def one_receiver(name: Key) -> Response[m.ReceiverItem]:
        return answer(name)

    @put("/api/v1/receivers/{name:str}", operation_id="editReceiver", tags=["receivers"], summary="Edit a receiver")
    async def edit(
        name: Key, data: JSONBody[m.ReceiverRequest], request: Request[Any, Any, Any], if_match: IfMatch = None
    ) -> Response[m.ReceiverItem]:
        before = find(name)
        if data.name != name:
            raise Rejected("receiver_name", "a receiver keeps its name; make a new one instead")
        check_precondition(if_match, before.version)
        _check_reach(reach, data.url)
        secret = before.secret if data.secret is None else data.secret
        wanted = WebhookReceiver(name=name, url=data.url, secret=secret)
        await control.submit(PutReceiver(wanted, before.version, actor_of(request)))
        return answer(name)

    @delete(
        "/api/v1/receivers/{name:str}", operation_id="deleteReceiver", tags=["receivers"], summary="Delete a receiver"
    )
    async def remove(name: Key, request: Request[Any, Any, Any], if_match: IfMatch = None) -> None:
        before = find(name)
        check_precondition(if_match, before.version)
        await control.submit(DeleteReceiver(name, before.version, actor_of(request)))

    return [receivers, create, one_receiver, edit, remove]


def _check_reach(reach: Reach, url: str) -> None:
    try:
        reach.refuse_url(url)
    except AddressRefused as refusal:
        raise Rejected("receiver_address", str(refusal)) from None
    except ValueError:
        raise Rejected("receiver_url", "a receiver's url is http or https, with a host") from None


def incident_routes(control: Control, alerts: AlertStore) -> list[HTTPRouteHandler]:
    """Return the handlers of people's acts on incidents."""

    async def act(command: IncidentCommand) -> m.IncidentItem:
        await control.submit(command)
        return views.incident(await alerts.incident(command.incident_id))

    @post(
        "/api/v1/incidents/{incident_id:str}/acknowledge",
        operation_id="acknowledgeIncident",
        tags=["incidents"],
        summary="I have it",
        status_code=200,
    )
    async def acknowledge(incident_id: Key, request: Request[Any, Any, Any]) -> m.IncidentItem:
        return await act(AcknowledgeIncident(incident_id, actor_of(request)))

    @post(
        "/api/v1/incidents/{incident_id:str}/resolve",
        operation_id="resolveIncident",
        tags=["incidents"],
        summary="It is over",
        status_code=200,
    )
    async def resolve(incident_id: Key, request: Request[Any, Any, Any]) -> m.IncidentItem:
        return await act(ResolveIncident(incident_id, actor_of(request)))

    @post(
        "/api/v1/incidents/{incident_id:str}/verdict",
        operation_id="judgeIncident",
        tags=["incidents"],
        summary="What it was",
        status_code=200,
    )
    async def verdict(
        incident_id: Key, data: JSONBody[m.VerdictRequest], request: Request[Any, Any, Any]
    ) -> m.IncidentItem:
        return await act(JudgeIncident(incident_id, Verdict(data.verdict), actor_of(request)))

    @post(
        "/api/v1/incidents/{incident_id:str}/note",
        operation_id="noteIncident",
        tags=["incidents"],
        summary="Write something down",
        status_code=200,
    )
    async def note(incident_id: Key, data: JSONBody[m.NoteRequest], request: Request[Any, Any, Any]) -> m.IncidentItem:
        return await act(NoteIncident(incident_id, data.text, actor_of(request)))

    return [acknowledge, resolve, verdict, note]


def replay_routes(machine: TimeMachine, control: Control) -> list[HTTPRouteHandler]:
    """Return the handlers of the time machine."""
    free = asyncio.Semaphore(REPLAYS)

    def draft(policies: tuple[AlertPolicy, ...] | None, routes: list[RouteRequest] | None) -> Draft:
        return Draft(policies, control.receivers(), control.routes() if routes is None else views.asked_routes(routes))

    async def report(start_ms: int, end_ms: int, draft: Draft | None) -> ReplayReport:
        if free.locked():
            raise Overloaded(f"{REPLAYS} replays are running already", retry_after_s=10)
        async with free:
            history = await machine.replay(start_ms, end_ms, draft)
        return await replay_report(machine, history)

    @post(
        "/api/v1/replay",
        operation_id="replay",
        tags=["time machine"],
        summary="What would have happened",
        status_code=200,
    )
    async def replay(data: JSONBody[ReplayRequest]) -> ReplayReport:
        if data.policies is None and data.routes is None:
            return await report(data.start_ms, data.end_ms, None)
        policies = None
        if data.policies is not None:
            policies = tuple(views.asked_policy(each, policy_id(each.name)) for each in data.policies)
        return await report(data.start_ms, data.end_ms, draft(policies, data.routes))

    @post(
        "/api/v1/policies/preview",
        operation_id="previewPolicy",
        tags=["time machine"],
        summary="What one draft policy would have done",
        status_code=200,
    )
    async def preview(data: JSONBody[PreviewRequest]) -> ReplayReport:
        policy = views.asked_policy(data.policy, policy_id(data.policy.name))
        return await report(data.start_ms, data.end_ms, draft((policy,), data.routes))

    return [replay, preview]


async def replay_report(machine: TimeMachine, history: History) -> ReplayReport:
    """Return a replayed history as a message."""
    compared = await machine.compare(history)
    return ReplayReport(
        start_ms=history.start_ms,
        end_ms=history.end_ms,
        samples=history.samples,
        alerts=[views.alert(one) for one in history.fired],
        pages=[views.page(one) for one in history.intents],
        alerts_live=compared.live,
        only_replayed=list(compared.only_replayed),
        only_live=list(compared.only_live),
    )
