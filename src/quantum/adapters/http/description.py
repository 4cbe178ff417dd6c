"""The API's description (OpenAPI 3.1), completed: what every operation may refuse, as problem details.

Litestar describes successes and parameters. What the edge and the error table answer is the same everywhere, so it is
added here, once, by rules on method and path. The bodies that are read by msgspec are described by msgspec.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from quantum.adapters.http.access import ANYBODY, RIGHTS
from quantum.adapters.http.condition_messages import Condition
from quantum.adapters.http.messages import Request
from quantum.adapters.http.problems import MEDIA_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROBLEM: Final = "Problem"
BAD, UNKNOWN, FORBIDDEN, MISSING, SLOW = 400, 401, 403, 404, 408
TAKEN, STALE, LARGE, KIND, OFTEN, BUSY = 409, 412, 413, 415, 429, 503
SENTENCES: Final = {
    BAD: "The request makes no sense; the detail says what is wrong",
    UNKNOWN: "There is no token or key, or it is no good (any more)",
    FORBIDDEN: "The asker has not the role for it, or the page that asks belongs to another site",
    MISSING: "There is no such thing",
    SLOW: "The body did not arrive in time",
    TAKEN: "The name is taken, something still refers to it, or it is over already",
    STALE: "It was changed since the ETag in If-Match was read",
    LARGE: "The body is too large",
    KIND: "The body has another media type or encoding",
    OFTEN: "Too many requests of this key, user or tenant; try again after Retry-After seconds",
    BUSY: "A part that is needed does not answer; try again after Retry-After seconds",
}
CREDENTIALS: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An access token or an API key"},
    "basic": {"type": "http", "scheme": "basic", "description": "Any user, and an API key for the password"},
}
"""How who asks says who they are; where nobody signs in, nobody has to."""
FACTS: Final = ("/livez", "/readyz", "/startupz", "/metrics")
SCHEMA: Final = {
    "type": "object",
    "title": PROBLEM,
    "description": "RFC 9457 problem details; `type` is stable, `detail` says what to do.",
    "required": ["type", "title", "status", "detail", "reason", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "reason": {"type": "string", "description": "the last part of the type"},
        "request_id": {"type": "string", "description": "also in the header X-Request-Id and in the logs"},
    },
}


@dataclass(frozen=True, slots=True)
class Description:
    """The completed document.

    Attributes:
        parameters: by (method in lower case, path template), query parameters by name; true if they may be repeated.
    """

    document: dict[str, Any]
    parameters: dict[tuple[str, str], Mapping[str, bool]]


def describe(document: dict[str, Any]) -> Description:
    """Return a document with the problems that its operations may answer; the one given is not of use any more."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    _say_as_it_is_read(schemas)
    schemas[PROBLEM] = SCHEMA
    components["securitySchemes"] = CREDENTIALS
    parameters: dict[tuple[str, str], Mapping[str, bool]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parameters[method, path] = {
                each["name"]: "array" in str(each["schema"])
                for each in operation.get("parameters", ())
                if each["in"] == "query"
            }
            if RIGHTS.get(f"{method.upper()} {path}") is not ANYBODY:
                operation["security"] = [{name: []} for name in CREDENTIALS]
            for status in _refusals(method, path, operation):
                _add_problem(operation["responses"], status)
    return Description(document, parameters)


def _say_as_it_is_read(schemas: dict[str, Any]) -> None:
    """Describe what clients send as the decoder takes it.

    Litestar leaves out that unknown members are refused, limits of zero where null may be, and limits of items.
    """
    _, read = msgspec.json.schema_components(
        [*_kinds_of(Request), *_kinds_of(Condition)], ref_template="#/components/schemas/{name}"
    )
    schemas.update((name, read[name]) for name in schemas.keys() & read.keys())


def _kinds_of(base: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _kinds_of(kind)


def _refusals(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[int]:
    yield BAD
    if path in FACTS:
        return
    yield BUSY
    # a credential that is shown is judged even where none is needed
    yield UNKNOWN
    yield FORBIDDEN
    if RIGHTS.get(f"{method.upper()} {path}") is not ANYBODY:
        yield OFTEN
    named = {each["name"] for each in operation.get("parameters", ())}
    if "{" in path or "fingerprint" in named or method != "get":
        yield MISSING
    if method != "get":
        yield TAKEN
    if method in ("put", "delete"):
        yield STALE
    if "requestBody" in operation or method == "post":
        yield from (SLOW, LARGE, KIND)


def _add_problem(responses: dict[str, Any], status: int) -> None:
    """Say that a status may be a problem; one that is described already as something else may be either."""
    known = responses.get(str(status), {})
    content = {
        media_type: body
        for media_type, body in known.get("content", {}).items()
        # Litestar's own form of validation errors, which no handler here answers with
        if "status_code" not in body["schema"].get("properties", {})
    }
    content[MEDIA_TYPE] = {"schema": {"$ref": f"#/components/schemas/{PROBLEM}"}}
    description = known["description"] if len(content) > 1 else SENTENCES[status]
    responses[str(status)] = known | {"description": description, "content": content}
