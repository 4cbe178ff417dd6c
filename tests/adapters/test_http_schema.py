"""The API keeps to its description: generated requests, sound and unsound, over real HTTP."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.core.failures import FailureGroup
from schemathesis.core.jsonschema import make_validator_for
from schemathesis.engine.recorder import ScenarioRecorder
from schemathesis.openapi.checks import EnsureResourceAvailability, RejectedPositiveData, UseAfterFree
from schemathesis.specs.openapi import checks as openapi
from tests.asking import AtTheirWord
from tests.issuer import Issuer, SigningKey, claims
from tests.schema_rules import BEYOND, RECEIVER, Rule, codes_of, is_beyond_words
from tests.signing_in import trust
from tests.watching import HOT, START_MS, Watching, served_aside

from quantum.adapters.http.access import ANYBODY, RIGHTS, ROLES
from quantum.adapters.keycloak import Keycloak
from quantum.adapters.memory import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BIGGER: Final = os.environ.get("TEST_SCHEMA_EXAMPLES")
EXAMPLES: Final = int(BIGGER or 15)
"""Of each operation and kind, besides those at every limit: few enough for a minute in all."""
FRAMING: Final = frozenset({"content-length", "transfer-encoding", "connection", "upgrade", "expect"})
"""Headers that say where a message ends: what makes no sense there is no HTTP, and has tests of its own."""
SEARCH: Final = settings(
    max_examples=EXAMPLES,
    deadline=None,
    # the same requests each time, unless somebody asks for more of them: that is a search
    derandomize=BIGGER is None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
DESCRIBED: Final = [
    schemathesis.checks.not_a_server_error,
    openapi.status_code_conformance,
    openapi.content_type_conformance,
    openapi.response_headers_conformance,
    openapi.response_schema_conformance,
]


def sound_data_is_taken(ctx: Any, response: Any, case: Any) -> bool | None:
    """As the library's own check, but for the rules that the description has no words for."""
    try:
        return openapi.positive_data_acceptance(ctx, response, case)
    except RejectedPositiveData:
        if not is_beyond_words(f"{case.operation.method.upper()} {case.operation.path}", response.content):
            raise
    return None


CHECKED: Final = [
    *DESCRIBED,
    openapi.negative_data_rejection,
    sound_data_is_taken,
    openapi.unsupported_method,
    openapi.allow_header_conformance,
    openapi.missing_required_header,
]
GATED: Final = [
    *CHECKED,
    openapi.ignored_auth,
    openapi.use_after_free,
    openapi.ensure_resource_availability,
]
SEES_NOTHING: Final = {
    "object_level_authorization": "what is here belongs to tenants, not to people: tests/security/test_tenant_ids.py",
}
"""Checks of the library that have nothing to look at, and why."""
ROUTES: Final = {
    "GET /api/v1/alerts": "200 400 401 403 429 503",
    "GET /api/v1/alerts/{alert_id}": "200 400 401 403 404 429 503",
    "GET /api/v1/anomalies": "200 400 401 403 404 429 503",
    "GET /api/v1/audit": "200 400 401 403 429 503",
    "GET /api/v1/api-keys": "200 400 401 403 429 503",
    "POST /api/v1/api-keys": "201 400 401 403 404 408 409 413 415 429 503",
    "DELETE /api/v1/api-keys/{key_id}": "204 400 401 403 404 409 412 429 503",
    "GET /api/v1/api-keys/{key_id}": "200 400 401 403 404 429 503",
    "GET /api/v1/incidents": "200 400 401 403 429 503",
    "GET /api/v1/incidents/{incident_id}": "200 400 401 403 404 429 503",
    "POST /api/v1/incidents/{incident_id}/acknowledge": "200 400 401 403 404 408 409 413 415 429 503",
    "POST /api/v1/incidents/{incident_id}/note": "200 400 401 403 404 408 409 413 415 429 503",
    "POST /api/v1/incidents/{incident_id}/resolve": "200 400 401 403 404 408 409 413 415 429 503",
    "POST /api/v1/incidents/{incident_id}/verdict": "200 400 401 403 404 408 409 413 415 429 503",
    "POST /api/v1/live/tickets": "201 400 401 403 404 408 409 413 415 429 503",
    "POST /api/v1/logout": "200 400 401 403 404 408 409 413 415 503",
    "GET /api/v1/models": "200 400 401 403 429 503",
    "GET /api/v1/models/coverage": "200 400 401 403 429 503",
    "POST /api/v1/models": "201 400 401 403 404 408 409 413 415 429 503",
    "GET /api/v1/models/{name}/file": "200 400 401 403 404 429 503",
    "GET /api/v1/models/{name}": "200 400 401 403 404 429 503",
    "POST /api/v1/models/{name}/promote": "200 400 401 403 404 408 409 413 415 429 503",
    "POST /api/v1/models/{name}/roll-back": "200 400 401 403 404 408 409 413 415 429 503",
    "POST /api/v1/models/{name}/score": "200 400 401 403 404 408 409 413 415 429 503",
    "POST /api/v1/models/{name}/try": "200 400 401 403 404 408 409 413 415 429 503",
    "GET /api/v1/overview": "200 400 401 403 429 503",
    "GET /api/v1/policies": "200 400 401 403 429 503",
    "POST /api/v1/policies": "201 400 401 403 404 408 409 413 415 429 503",
    "POST /api/v1/policies/preview": "200 400 401 403 404 408 409 413 415 429 503",
    "DELETE /api/v1/policies/{key}": "204 400 401 403 404 409 412 429 503",
    "GET /api/v1/policies/{key}": "200 400 401 403 404 429 503",
    "GET /api/v1/policies/{key}/budget": "200 400 401 403 404 429 503",
    "GET /api/v1/policies/{key}/lessons": "200 400 401 403 404 429 503",
    "POST /api/v1/policies/{key}/learn": "200 400 401 403 404 408 409 413 415 429 503",
    "POST /api/v1/policies/{key}/propose": "200 400 401 403 404 408 409 413 415 429 503",
    "POST /api/v1/policies/{key}/unlearn": "200 400 401 403 404 408 409 413 415 429 503",
    "PUT /api/v1/policies/{key}": "200 400 401 403 404 408 409 412 413 415 429 503",
    "GET /api/v1/receivers": "200 400 401 403 429 503",
    "POST /api/v1/receivers": "201 400 401 403 404 408 409 413 415 429 503",
    "GET /api/v1/routes": "200 400 401 403 429 503",
    "POST /api/v1/routes": "201 400 401 403 404 408 409 413 415 429 503",
    "POST /api/v1/routes/test": "200 400 401 403 404 408 409 413 415 429 503",
    "GET /api/v1/routes/{name}": "200 400 401 403 404 429 503",
    "PUT /api/v1/routes/{name}": "200 400 401 403 404 408 409 412 413 415 429 503",
    "DELETE /api/v1/routes/{name}": "204 400 401 403 404 409 412 429 503",
    "GET /api/v1/silences": "200 400 401 403 429 503",
    "POST /api/v1/silences": "201 400 401 403 404 408 409 413 415 429 503",
    "POST /api/v1/silences/preview": "200 400 401 403 404 408 409 413 415 429 503",
    "GET /api/v1/silences/{silence_id}": "200 400 401 403 404 429 503",
    "DELETE /api/v1/silences/{silence_id}": "204 400 401 403 404 409 412 429 503",
    "DELETE /api/v1/receivers/{name}": "204 400 401 403 404 409 412 429 503",
    "GET /api/v1/receivers/{name}": "200 400 401 403 404 429 503",
    "PUT /api/v1/receivers/{name}": "200 400 401 403 404 408 409 412 413 415 429 503",
    "POST /api/v1/replay": "200 400 401 403 404 408 409 413 415 429 503",
    "POST /api/v1/samples": "200 400 401 403 404 408 409 413 415 429 503",
    "GET /api/v1/series": "200 400 401 403 429 503",
    "GET /api/v1/series/{fingerprint}": "200 400 401 403 404 429 503",
    "GET /api/v1/series/{fingerprint}/window": "200 400 401 403 404 429 503",
    "GET /api/v1/series/{fingerprint}/forecast": "200 400 401 403 404 429 503",
    "GET /api/v1/series/{fingerprint}/why": "200 400 401 403 404 429 503",
    "GET /api/v1/session": "200 400 401 403 503",
    "GET /api/v1/training-runs": "200 400 401 403 429 503",
    "POST /api/v1/training-runs": "202 400 401 403 404 408 409 413 415 429 503",
    "GET /api/v1/training-runs/{run_id}": "200 400 401 403 404 429 503",
    "POST /api/v1/training-runs/{run_id}/cancel": "200 400 401 403 404 408 409 413 415 429 503",
    "GET /api/v1/what-moved": "200 400 401 403 429 503",
    "GET /livez": "200 400",
    "GET /metrics": "200 400",
    "POST /prometheus/api/v1/write": "204 400 401 403 404 408 409 413 415 429 503",
    "GET /readyz": "200 400 503",
    "GET /startupz": "200 400 503",
}
"""Every route of the API, and what it may answer."""
WITHOUT_INPUT: Final = {"POST /api/v1/logout", "POST /api/v1/live/tickets"}
BY_PROTOBUF: Final = "POST /prometheus/api/v1/write"
"""Its body is not JSON; it has tests of its own."""


async def something_is_there(system: Watching) -> None:
    await system.push("cpu", [0.5] * 30, host="a")
    await system.fire()
    await system.json("POST", "/api/v1/receivers", 201, json=RECEIVER | {"name": "there"})
    await system.json("POST", "/api/v1/routes", 201, json={"name": "way"})


@pytest.fixture(name="api", scope="module")
def served_api() -> Iterator[Any]:
    with served_aside(something_is_there) as address:
        yield schemathesis.openapi.from_url(f"{address}/openapi.json")


async def nothing(_: Watching) -> None:
    """There is nothing to prepare: nobody gets as far as what is there."""


@pytest.fixture(name="strict_api", scope="module")
def strictly_served_api() -> Iterator[Any]:
    with served_aside(nothing, AtTheirWord()) as address:
        yield schemathesis.openapi.from_url(f"{address}/openapi.json")


def operations(api: Any) -> dict[str, Any]:
    found = [result.ok() for result in api.get_all_operations()]
    return {f"{one.method.upper()} {one.path}": one for one in found}


def test_every_route_is_listed_with_its_statuses(api: Any) -> None:
    described = {
        f"{method.upper()} {path}": " ".join(sorted(operation["responses"]))
        for path, methods in api.raw_schema["paths"].items()
        for method, operation in methods.items()
    }
    assert described == ROUTES


def test_every_operation_has_an_id_of_its_own_a_summary_and_typed_answers(api: Any) -> None:
    every = [operation for methods in api.raw_schema["paths"].values() for operation in methods.values()]
    assert len({operation["operationId"] for operation in every}) == len(every)
    for operation in every:
        assert operation["summary"]
        for status, response in operation["responses"].items():
            assert status == "204" or all(body["schema"] for body in response["content"].values()), operation
            if int(status) >= 400 and operation["operationId"] not in {"readyz", "startupz"}:
                assert "application/problem+json" in response["content"]


def test_the_description_is_valid_openapi_3_1(api: Any) -> None:
    assert api.raw_schema["openapi"].startswith("3.1")
    api.validate()


@pytest.mark.parametrize("kind", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["sound", "unsound"])
@pytest.mark.parametrize("route", sorted(set(ROUTES) - {BY_PROTOBUF}))
def test_answers_are_as_described(api: Any, route: str, kind: GenerationMode) -> None:
    operation = operations(api)[route]
    if kind is GenerationMode.NEGATIVE and not (operation.query or operation.body or operation.path_parameters):
        assert route.startswith("GET ") or route in WITHOUT_INPUT  # nothing about it can be unsound
        return

    @SEARCH
    @given(case=operation.as_strategy(generation_mode=kind))
    def check(case: Any) -> None:
        assume(FRAMING.isdisjoint(name.lower() for name in case.headers))
        case.call_and_validate(checks=CHECKED, timeout=30)

    check()


@pytest.mark.parametrize(
    "route", sorted(route for route in set(ROUTES) - {BY_PROTOBUF} if RIGHTS[route] is not ANYBODY)
)
def test_sound_requests_of_who_may_not_are_refused_as_described(strict_api: Any, route: str) -> None:
    """A64: strangers, members without a role, and every role that the table of rights does not name for the route."""
    operation = operations(strict_api)[route]
    assert operation.definition.raw["security"] == [{"bearer": []}, {"basic": []}]
    others = sorted({"", "nobody", "wrong", *ROLES} - RIGHTS[route])

    @settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE), role=st.sampled_from(others))
    def check(case: Any, role: str) -> None:
        headers = {"authorization": f"Bearer {role}"} if role else {}
        answer = case.call_and_validate(checks=DESCRIBED, headers=headers, timeout=30)
        assert answer.status_code == {"": 401, "wrong": 401}.get(role, 403)

    check()


# ---- every check ------------------------------------------------------------------------------------------------


def test_every_check_of_the_library_is_made_or_has_nothing_to_look_at(api: Any) -> None:
    made = {check.__name__ for check in GATED} - {"sound_data_is_taken"} | {"positive_data_acceptance"}
    assert set(CHECKS.get_all_names()) == made | set(SEES_NOTHING)
    headers = [
        parameter
        for one in operations(api).values()
        for parameter in one.iter_parameters()
        if "HEADER" in str(parameter.location)
    ]
    assert not any(one.is_required for one in headers if one.name != "Authorization"), "missing_required_header looks"


RULES: Final = [
    pytest.param(route, code, rule, id=f"{route} {code}")
    for route, rules in BEYOND.items()
    for code, rule in rules.items()
]


@pytest.mark.parametrize(("route", "code", "rule"), RULES)
def test_a_rule_beyond_the_words_of_the_description_is_needed(api: Any, route: str, code: str, rule: Rule) -> None:
    operation = operations(api)[route]
    described = operation.definition.raw
    if rule.body is not None:
        wanted = described["requestBody"]["content"]["application/json"]["schema"]
        assert make_validator_for(wanted | {"components": api.raw_schema["components"]}).is_valid(rule.body)
    for name, value in rule.query.items():
        (wanted,) = [one["schema"] for one in described["parameters"] if one["name"] == name]
        assert make_validator_for(wanted).is_valid([value] if name.endswith("[]") else value)
    said = {} if rule.body is None else {"body": rule.body, "media_type": "application/json"}
    case = operation.Case(query=dict(rule.query), path_parameters=dict(rule.path), headers=dict(rule.headers), **said)
    answer = case.call_and_validate(checks=DESCRIBED, timeout=30)
    assert (answer.status_code, codes_of(json.loads(answer.content))) == (rule.status, {code})


@pytest.mark.parametrize("route", sorted(set(ROUTES) - {BY_PROTOBUF}))
def test_answers_at_every_limit_and_to_every_method_are_as_described(api: Any, route: str) -> None:
    operation = operations(api)[route]
    count = 0
    for case in api.iter_coverage_cases(
        operation,
        generation_modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE],
        generation_config=api.config.generation_for(operation=operation),
    ):
        case.call_and_validate(checks=CHECKED, timeout=30)
        count += 1
    assert count


def test_a_path_says_which_methods_it_has_when_asked_and_when_it_refuses_another(api: Any) -> None:
    rows = [route.partition(" ") for route in ROUTES]
    with httpx.Client(base_url=api.get_base_url()) as client:
        for path in {path for _, _, path in rows}:
            there = re.sub(r"{\w+}", "0123456789abcdef", path)
            known = {method for method, _, each in rows if each == path} | {"OPTIONS"}
            for method, status in (("OPTIONS", 204), ("PATCH", 405)):
                answer = client.request(method, there)
                assert answer.status_code == status
                assert set(answer.headers["allow"].split(", ")) - {"HEAD"} == known, (method, path)


# ---- behind the gate, one request after the other ---------------------------------------------------------------


async def nothing_without_a_token(system: Watching, token: str) -> None:
    assert (await system.http.get("/api/v1/series")).status_code == 401
    system.http.headers["authorization"] = f"Bearer {token}"
    await something_is_there(system)


@pytest.fixture(name="gated", scope="module")
def served_behind_a_gate() -> Iterator[tuple[Any, dict[str, str]]]:
    """The API as it is with an identity provider, and what its administrator shows."""
    key = SigningKey("one")
    gate = Keycloak(trust(), ManualClock(START_MS), Issuer([key.jwk()]).fetch)
    token = key.token(claims(START_MS, realm_access={"roles": ["admin"]}))
    with served_aside(lambda system: nothing_without_a_token(system, token), gate) as address:
        yield schemathesis.openapi.from_url(f"{address}/openapi.json"), {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    "route",
    sorted(route for route in ROUTES if RIGHTS[route] is not ANYBODY and route.startswith("GET ") and "{" not in route),
)
def test_what_a_token_opens_is_shut_without_it(gated: tuple[Any, dict[str, str]], route: str) -> None:
    api, shown = gated
    case = operations(api)[route].Case(query={"start_ms": 1, "end_ms": 2} if route.endswith("what-moved") else {})
    answer = case.call_and_validate(checks=[*DESCRIBED, openapi.ignored_auth], headers=shown, timeout=30)
    assert answer.status_code == 200


class Walk:
    """Requests that follow one from the other, each with every check; what was there before is known to the checks."""

    def __init__(self, api: Any, shown: dict[str, str]) -> None:
        self._operations = operations(api)
        self._shown = shown
        self._recorder = ScenarioRecorder(label="walk", config=api.config.output)
        self._before: str | None = None

    def go(self, route: str, status: int, body: Any = None, **path: str) -> Any:
        """Return the JSON of an answer with a status; the checks take the path for one that the step before told."""
        said = {} if body is None else {"body": body, "media_type": "application/json"}
        case = self._operations[route].Case(path_parameters=path, headers=dict(self._shown), **said)
        self._recorder.record_case(parent_id=self._before, case=case)
        answer = case.call(timeout=30)
        self._recorder.record_response(case_id=case.id, response=answer)
        case.validate_response(answer, GATED, headers=self._shown, recorder=self._recorder)
        assert answer.status_code == status, answer.content
        self._before = case.id
        return json.loads(answer.content) if answer.content else None


THINGS: Final = [
    ("/api/v1/policies", "key", HOT | {"name": "walked"}, lambda told: told["id"]),
    ("/api/v1/receivers", "name", RECEIVER | {"name": "walked"}, lambda told: told["name"]),
    ("/api/v1/routes", "name", {"name": "walked"}, lambda told: told["name"]),
    ("/api/v1/api-keys", "key_id", {"name": "walked", "scopes": ["read"]}, lambda told: told["item"]["id"]),
]


@pytest.mark.parametrize(("place", "name", "body", "id_of"), THINGS, ids=[thing[0] for thing in THINGS])
def test_what_was_made_is_there_until_it_is_deleted_and_not_after(
    gated: tuple[Any, dict[str, str]], place: str, name: str, body: Any, id_of: Callable[[Any], str]
) -> None:
    walk = Walk(*gated)
    one = f"{place}/{{{name}}}"
    path = {name: id_of(walk.go(f"POST {place}", 201, body))}
    walk.go(f"GET {one}", 200, **path)
    walk.go(f"DELETE {one}", 204, **path)
    walk.go(f"GET {one}", 404, **path)
    walk.go(f"GET {place}", 200)


def test_the_checks_of_a_walk_tell_what_is_gone_too_early_or_there_too_long(gated: tuple[Any, dict[str, str]]) -> None:
    api, shown = gated
    policy, one = HOT | {"name": "walked twice"}, "/api/v1/policies/{key}"
    walk = Walk(api, shown)
    key = walk.go("POST /api/v1/policies", 201, policy)["id"]
    with pytest.raises(FailureGroup) as early:
        walk.go(f"GET {one}", 404, key="another")
    assert [type(failure) for failure in early.value.exceptions] == [EnsureResourceAvailability]
    walk = Walk(api, shown)
    policy["name"] = "walked thrice"
    key = walk.go("POST /api/v1/policies", 201, policy)["id"]
    walk.go(f"DELETE {one}", 204, key=key)
    assert httpx.post(f"{api.get_base_url()}/api/v1/policies", json=policy, headers=shown).status_code == 201
    with pytest.raises(FailureGroup) as late:
        walk.go(f"GET {one}", 200, key=key)
    assert [type(failure) for failure in late.value.exceptions] == [UseAfterFree]


def test_an_incident_that_is_over_is_in_the_way_of_what_is_done_to_it(gated: tuple[Any, dict[str, str]]) -> None:
    walk = Walk(*gated)
    incident = walk.go("GET /api/v1/incidents", 200)["items"][0]["id"]
    walk.go("POST /api/v1/incidents/{incident_id}/resolve", 200, incident_id=incident)
    refused = walk.go("POST /api/v1/incidents/{incident_id}/acknowledge", 409, incident_id=incident)
    assert refused["reason"] == "incident_state"
