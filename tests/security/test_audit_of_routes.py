"""The audit log, route by route: whatever changes something is entered when it is done and when it is denied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from tests.models import trained
from tests.security.test_tenant_ids import everything_that_has_an_id
from tests.security.test_tenants import Members, of
from tests.watching import HOT, START_MS, Watching

from quantum.adapters.http.access import ADMINS, RIGHTS, SENDERS
from quantum.adapters.http.model_files import file_of
from quantum.domain.models import ModelKind

if TYPE_CHECKING:
    import httpx

HISTORY: Final = {"version": 1, "start_ms": START_MS, "end_ms": START_MS + 60_000}
RECEIVER: Final = {"name": "default", "url": "https://pager.example/other"}
MODEL: Final = msgspec.to_builtins(file_of(trained(ModelKind.PEERS).model, "elsewhere"))
TRAINING: Final = {"name": "night", "kind": "window-forest", "selector": "heat", "start_ms": 0, "end_ms": 1}
QUIET: Final = {"matchers": [{"label": "room", "op": "=", "value": "x"}], "ends_at_ms": START_MS + 9_000_000}

CHANGES_NOTHING: Final = frozenset(
    {
        "POST /api/v1/logout",  # is an attendance: tests/security/test_audit_of_sign_ins.py
        "POST /api/v1/session/backchannel-logout",
        "POST /api/v1/live/tickets",
        "POST /api/v1/silences/preview",
        "POST /api/v1/routes/test",
        "POST /api/v1/policies/preview",
        "POST /api/v1/policies/{key}/propose",
        "POST /api/v1/replay",
        "POST /api/v1/models/{name}/score",
        "POST /api/v1/models/{name}/try",
    }
)
"""Besides samples, which are facts of their own, and questions in Prometheus' way."""
TAUGHT: Final = frozenset({"POST /api/v1/policies/{key}/learn", "POST /api/v1/policies/{key}/unlearn"})
"""Need verdicts and their evidence: tests/adapters/test_http_teaching.py has what they leave in the audit log."""
ACTS: Final[dict[str, tuple[Any, str]]] = {
    "POST /api/v1/incidents/{incident_id}/acknowledge": (None, "acknowledge_incident"),
    "POST /api/v1/incidents/{incident_id}/note": ({"text": "seen"}, "note_incident"),
    "POST /api/v1/incidents/{incident_id}/verdict": ({"verdict": "real"}, "judge_incident"),
    "POST /api/v1/incidents/{incident_id}/resolve": (None, "resolve_incident"),
    "POST /api/v1/policies": (HOT | {"name": "hotter"}, "put_policy"),
    "PUT /api/v1/policies/{key}": (HOT | {"name": "default", "for_ms": 5000}, "put_policy"),
    "DELETE /api/v1/policies/{key}": (None, "delete_policy"),
    "POST /api/v1/silences": (QUIET, "put_silence"),
    "DELETE /api/v1/silences/{silence_id}": (None, "end_silence"),
    "POST /api/v1/models": (MODEL, "import_model"),
    "POST /api/v1/models/{name}/promote": (HISTORY, "promote_model"),
    "POST /api/v1/models/{name}/roll-back": (None, "retire_model"),
    "POST /api/v1/training-runs": (TRAINING, "start_training"),
    "POST /api/v1/training-runs/{run_id}/cancel": (None, "cancel_training"),
    "POST /api/v1/routes": ({"name": "others"}, "put_route"),
    "PUT /api/v1/routes/{name}": ({"name": "of default", "receivers": []}, "put_route"),
    "DELETE /api/v1/routes/{name}": (None, "delete_route"),
    "POST /api/v1/receivers": (RECEIVER | {"name": "others"}, "put_receiver"),
    "PUT /api/v1/receivers/{name}": (RECEIVER, "put_receiver"),
    "DELETE /api/v1/receivers/{name}": (None, "delete_receiver"),
    "POST /api/v1/api-keys": ({"name": "grafana", "scopes": ["read"]}, "issue_api_key"),
    "DELETE /api/v1/api-keys/{key_id}": (None, "revoke_api_key"),
}
"""Of each route that changes something: a body, and the action that is entered."""


def test_of_every_route_it_is_known_whether_it_changes_something() -> None:
    writing = {
        route
        for route, roles in RIGHTS.items()
        if route.partition(" ")[0] in ("POST", "PUT", "DELETE") and roles is not SENDERS and "/prometheus/" not in route
    }
    assert writing == CHANGES_NOTHING | TAUGHT | ACTS.keys()


async def ask(system: Watching, route: str, ids: dict[str, str], role: str) -> httpx.Response:
    method, template = route.split(" ")
    start, brace, end = template.partition("{")
    path = start + (ids[start] + end.partition("}")[2] if brace else "")
    body, _ = ACTS.get(route, (None, ""))
    return await system.http.request(method, path, json=body, headers=of("default", role))


async def entries(system: Watching) -> list[Any]:
    await system.pass_time(1000)
    answer = await system.json("GET", "/api/v1/audit", params={"limit": 1000}, headers=of("default"))
    found: list[Any] = answer["items"]
    return found


async def test_whatever_is_done_is_entered_with_who_did_it_and_from_where() -> None:
    async with Watching(identity=Members()) as system:
        ids = await everything_that_has_an_id(system, "default")
        for route, (_, action) in ACTS.items():
            before = len(await entries(system))
            answer = await ask(system, route, ids, "admin")
            assert answer.status_code < 300, (route, answer.text)
            newest, *others = await entries(system)
            assert len(others) == before, route
            assert (newest["action"], newest["outcome"]) == (action, "done"), route
            assert (newest["actor"], newest["origin"]) == ("admin of default", "127.0.0.1"), route
            assert newest["target"], route


async def test_whatever_is_denied_is_entered_and_changes_nothing() -> None:
    async with Watching(identity=Members()) as system:
        ids = await everything_that_has_an_id(system, "default")
        for route in (*ACTS, *TAUGHT):
            before = len(await entries(system))
            answer = await ask(system, route, ids, "operator" if RIGHTS[route] is ADMINS else "viewer")
            assert answer.status_code == 403, route
            newest, *others = await entries(system)
            assert len(others) == before, route
            assert (newest["action"], newest["outcome"], newest["origin"]) == (route, "denied", "127.0.0.1")
            assert newest["actor"].endswith(" of default")
