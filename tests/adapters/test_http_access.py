"""Who may do what: every route times every role, over the whole application (attack A64 of the list)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from litestar.routes import HTTPRoute, WebSocketRoute
from tests.watching import Watching
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from quantum.adapters.http.access import ANYBODY, INFLUX_1, RIGHTS, ROLES
from quantum.application.ports import Principal
from quantum.domain.errors import Rejected
from quantum.domain.facts import Ordered, command_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

STRANGER: Final = ""
LIVE: Final = "WEBSOCKET /api/v1/live"
ANY: Final = [{"label": "a", "op": "=", "value": "b"}]


class AtTheirWord:
    """Identity for these tests: whoever shows the name of a role has it."""

    banner = ""

    async def identify(self, credential: str) -> Principal:
        if not credential:
            raise Rejected("unauthenticated", "this needs a token or a key")
        if credential not in (*ROLES, "nobody"):
            raise Rejected("invalid_credential", "the token is no good")
        return Principal(f"a {credential}", frozenset({credential}) & frozenset(ROLES), means="token")


@pytest.fixture(name="system")
async def strict_system() -> AsyncIterator[Watching]:
    async with Watching(identity=AtTheirWord()) as system:
        yield system


def routes_of(system: Watching) -> Iterator[str]:
    for route in system.app.routes:
        if isinstance(route, HTTPRoute):
            yield from (f"{method} {route.path_format}" for method in route.route_handler_map if method != "OPTIONS")
        elif isinstance(route, WebSocketRoute):
            yield f"WEBSOCKET {route.path_format}"
        else:
            yield f"MOUNT {route.path_format}"


async def test_every_route_has_a_row_and_every_row_a_route(system: Watching) -> None:
    """A64: a route that nobody gave a row is the administrators' only, and fails here."""
    assert sorted(routes_of(system)) == sorted(RIGHTS)


@pytest.mark.parametrize("role", [STRANGER, "nobody", *ROLES])
async def test_a_role_may_use_its_routes_and_no_other(system: Watching, role: str) -> None:
    """A64: every route, with no token, with none of the roles, and with each of them alone."""
    wrong = []
    for row, allowed in RIGHTS.items():
        method, _, path = row.partition(" ")
        if row == LIVE:
            continue
        headers = {"authorization": f"Bearer {role}"} if role else {}
        answer = await system.http.request(method, path.replace("{", "").replace("}", ""), headers=headers)
        if allowed is ANYBODY or role in allowed:
            right = answer.status_code not in (401, 403)
        else:
            right = (
                answer.status_code == (403 if role else 401) and "bearer" in answer.headers["www-authenticate"].lower()
            )
            problem = answer.json()
            right &= answer.headers["content-type"] == "application/problem+json"
            right &= problem["reason"] == ("forbidden" if role else "unauthenticated")
        if not right:
            wrong.append((row, answer.status_code))
    assert wrong == []


@pytest.mark.parametrize("role", [STRANGER, "nobody", *ROLES])
async def test_only_readers_may_watch(system: Watching, role: str) -> None:
    """A64, for the socket: it is refused before it is opened, with a problem."""
    headers = {"authorization": f"Bearer {role}"} if role else {}
    async with system.served() as address:
        if role in RIGHTS[LIVE]:
            async with connect(f"ws://{address}/api/v1/live", additional_headers=headers) as socket:
                await socket.send('{"op": "ping"}')
                assert "pong" in await socket.recv()
            return
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://{address}/api/v1/live", additional_headers=headers)
        assert refused.value.response.status_code == (403 if role else 401)
        assert "www-authenticate" in refused.value.response.headers


async def test_acts_are_recorded_under_the_name_of_who_did_them(system: Watching) -> None:
    refusals: list[str] = []
    policy = {"name": "p", "matchers": ANY, "condition": {"kind": "anomaly_score", "raise_at": 0.9, "clear_at": 0.8}}
    answer = await system.http.post("/api/v1/policies", json=policy, headers={"authorization": "Bearer operator"})
    refusals.append(answer.text)
    facts = await system.container.store().read(0, 1000)
    actors = [getattr(command_in(fact.body), "actor") for fact in facts if isinstance(fact.body, Ordered)]  # noqa: B009
    assert actors == ["a operator"], refusals


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("authorization", "Bearer viewer")], 200),
        ([("authorization", "bearer viewer")], 200),
        ([("authorization", "Token viewer")], 200),
        ([("authorization", "Basic YWdlbnQ6dmlld2Vy")], 200),
        ([("authorization", "Bearer viewer"), ("authorization", "Bearer admin")], 401),
        ([("authorization", "Bearer viewer, Bearer admin")], 401),
        ([("authorization", "Bearer viewer,admin")], 401),
        ([("authorization", "Bearer")], 401),
        ([("authorization", "Bearer unheard-of")], 401),
        ([("authorization", "Basic !!!")], 401),
        ([("authorization", "Basic /////w==")], 401),
        ([("authorization", "Digest viewer")], 401),
        ([("x-user-id", "admin"), ("x-scope-orgid", "other")], 401),
    ],
)
async def test_credentials_come_in_the_forms_that_clients_send(
    system: Watching, headers: list[tuple[str, str]], status: int
) -> None:
    """A60 and A63: several headers, joined ones, other schemes and headers that claim an identity are of no use."""
    answer = await system.http.get("/api/v1/overview", headers=headers)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize("name", ["access_token", "token", "id_token", "api_key"])
@pytest.mark.parametrize("path", ["/api/v1/overview", "/prometheus/api/v1/labels", "/write", "/"])
async def test_a_credential_in_a_url_is_refused(system: Watching, path: str, name: str) -> None:
    """A59: what is in a URL ends in histories and logs."""
    method = "POST" if path == "/write" else "GET"
    answer = await system.http.request(method, f"{path}?x=1&{name}=admin")
    assert (answer.status_code, answer.json()["reason"]) == (400, "credential_in_url")
    assert "admin" not in answer.text


@pytest.mark.parametrize("path", ["/write", "/influx/write", "/api/v2/write"])
async def test_only_clients_of_influxdb_1_may_put_a_password_in_the_url(system: Watching, path: str) -> None:
    answer = await system.http.post(f"{path}?u=agent&p=ingest&db=x", content=b"cpu v=1\n")
    assert answer.status_code == (204 if path in INFLUX_1 else 401)


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/api/v1/policies/", {}),
        ("POST", "//api/v1/policies", {}),
        ("POST", "/api/v1/./policies", {}),
        ("POST", "/API/V1/policies", {}),
        ("POST", "/api/v1/policies;x", {}),
        ("POST", "/api/v1/%70olicies", {}),
        ("GET", "/api/v1/policies", {"x-http-method-override": "DELETE"}),
        ("HEAD", "/api/v1/policies", {}),
        ("PATCH", "/api/v1/policies", {}),
        ("OPTIONS", "/api/v1/policies", {}),
        ("TRACE", "/api/v1/policies", {}),
    ],
)
async def test_no_spelling_of_a_path_or_method_leads_around_the_table(
    system: Watching, method: str, path: str, headers: dict[str, Any]
) -> None:
    """A64 and T15: a viewer who spells a writing route otherwise writes nothing, and a stranger reads nothing."""
    policy = {"name": "p", "matchers": ANY, "condition": {"kind": "anomaly_score", "raise_at": 0.9, "clear_at": 0.8}}
    for authorization in ({"authorization": "Bearer viewer"}, {}):
        answer = await system.http.request(method, path, json=policy, headers=headers | authorization)
        assert answer.status_code < 500
        assert "items" not in answer.text or authorization
    facts = await system.container.store().read(0, 1000)
    assert not [fact for fact in facts if isinstance(fact.body, Ordered)]


async def test_a_stranger_is_told_to_be_one(system: Watching) -> None:
    nobody = {"subject": "", "tenant": "", "roles": [], "may": [], "means": "", "banner": "", "sign_in": ""}
    assert await system.get("/api/v1/session") == nobody
    answer = await system.http.get("/api/v1/session", headers={"authorization": "Bearer unheard-of"})
    assert answer.status_code == 401
