"""Routes over HTTP: whom alerts are told to whose policies name nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from litestar import Request, Response, delete, get, post, put
from litestar.params import JSONBody

from quantum.adapters.http import views
from quantum.adapters.http.control import IfMatch, Key, actor_of, check_precondition, versioned_answer
from quantum.adapters.http.messages import RoutedItem
from quantum.adapters.http.route_messages import RouteItem, RouteList, RouteRequest, RouteTestRequest
from quantum.domain.errors import Rejected
from quantum.domain.labels import LabelSet

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from quantum.application.routing import Routing

TAGS: Final = ["routes"]


def route_routes(routing: Routing) -> list[HTTPRouteHandler]:
    """Return the handlers."""

    def answer(name: str, made_at: str = "") -> Response[RouteItem]:
        one = routing.route(name)
        return versioned_answer(views.route(one), one.version, made_at)

    @get("/api/v1/routes", operation_id="listRoutes", tags=TAGS, summary="All routes, as they are tried")
    async def listing() -> RouteList:
        return RouteList(items=[views.route(one) for one in routing.every()])

    @post("/api/v1/routes", operation_id="createRoute", tags=TAGS, summary="Create a route")
    async def create(data: JSONBody[RouteRequest], request: Request[Any, Any, Any]) -> Response[RouteItem]:
        await routing.put(views.asked_route(data), data.order, 0, actor_of(request))
        return answer(data.name, f"/api/v1/routes/{quote(data.name, safe='')}")

    @get("/api/v1/routes/{name:str}", operation_id="getRoute", tags=TAGS, summary="One route")
    async def one_route(name: Key) -> Response[RouteItem]:
        return answer(name)

    @put("/api/v1/routes/{name:str}", operation_id="editRoute", tags=TAGS, summary="Edit a route")
    async def edit(
        name: Key, data: JSONBody[RouteRequest], request: Request[Any, Any, Any], if_match: IfMatch = None
    ) -> Response[RouteItem]:
        before = routing.route(name)
        if data.name != name:
            raise Rejected("route_name", "a route keeps its name; make a new one instead")
        check_precondition(if_match, before.version)
        await routing.put(views.asked_route(data), data.order, before.version, actor_of(request))
        return answer(name)

    @delete("/api/v1/routes/{name:str}", operation_id="deleteRoute", tags=TAGS, summary="Delete a route")
    async def remove(name: Key, request: Request[Any, Any, Any], if_match: IfMatch = None) -> None:
        before = routing.route(name)
        check_precondition(if_match, before.version)
        await routing.delete(name, before.version, actor_of(request))

    @post(
        "/api/v1/routes/test",
        operation_id="testRoutes",
        tags=TAGS,
        summary="Whom an alert with some labels is told to",
        status_code=200,
    )
    async def test(data: JSONBody[RouteTestRequest]) -> RoutedItem:
        drafts = None if data.routes is None else views.asked_routes(data.routes)
        return views.routed(routing.lead(LabelSet.of(data.labels), drafts))

    return [listing, create, one_route, edit, remove, test]
