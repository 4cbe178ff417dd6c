"""The API keeps to its description: generated requests, sound and unsound, over real HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks as openapi
from tests.watching import Watching, served_aside

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES: Final = 25
"""Of each operation and kind: enough to find again every 500 that was found here, few enough for a minute in all."""
CHECKED: Final = [
    schemathesis.checks.not_a_server_error,
    openapi.status_code_conformance,
    openapi.content_type_conformance,
    openapi.response_schema_conformance,
    openapi.negative_data_rejection,
]
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


@pytest.fixture(name="api", scope="module")
def served_api() -> Iterator[Any]:
    with served_aside(something_is_there) as address:
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

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=kind))
    def check(case: Any) -> None:
        case.call_and_validate(checks=CHECKED, timeout=30)

    check()
