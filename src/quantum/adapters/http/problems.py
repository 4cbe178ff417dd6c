"""Errors as RFC 9457 problem details: the one table from the domain's errors to HTTP status codes."""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException

from quantum.adapters.http.messages import Problem
from quantum.domain.errors import (
    Conflict,
    NotFound,
    OutOfRoom,
    Overloaded,
    QuantumError,
    Rejected,
    StorageFull,
    Throttled,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:quantum:problem:"
MAX_DETAIL: Final = 400

STATUS_OF_REASON: Final = {
    "body_too_large": 413,
    "decoded_too_large": 413,
    "content_type": 415,
    "content_encoding": 415,
    "request_timeout": 408,
    "precondition_required": 428,
    "precondition_failed": 412,
    "unauthenticated": 401,
    "invalid_credential": 401,
    "login_failed": 400,
    "insecure": 400,
    "forbidden": 403,
    "incident_state": 409,
    "silence_state": 409,
    "tenant_not_served": 403,
    "host": 400,
    "origin": 403,
}
REASON: Final = "reason"
"""Where the state of a request keeps why it was refused."""
ROUTE: Final = "route"
"""Where the state of a request keeps the template of its path, once it is answered."""
REASON_OF_STATUS: Final = {413: "body_too_large"}
UNREAD: Final = frozenset({"body_too_large", "request_timeout"})
"""Reasons for which the rest of a body was not read: the connection is of no more use."""
CHALLENGES: Final = {
    "unauthenticated": 'Bearer realm="quantum"',
    "invalid_credential": 'Bearer realm="quantum", error="invalid_token"',
    "tenant_not_served": 'Bearer realm="quantum", error="insufficient_scope"',
    "forbidden": 'Bearer realm="quantum", error="insufficient_scope"',
}
"""What RFC 6750 has such refusals say."""
STATUS_OF_ERROR: Final[tuple[tuple[type[QuantumError], int, str], ...]] = (
    (StorageFull, 503, "storage_full"),
    (OutOfRoom, 503, "memory_limit"),
    (Throttled, 429, "throttled"),
    (Overloaded, 503, "overloaded"),
    (Unavailable, 503, "unavailable"),
    (NotFound, 404, "not_found"),
    (Conflict, 409, "conflict"),
    (QuantumError, 400, "rejected"),
)

log = structlog.get_logger("quantum.http")


def problem(
    status: int, reason: str, detail: str, request_id: str, headers: dict[str, str] | None = None
) -> Response[Any]:
    """Return a problem as a response."""
    body = Problem(
        type=TYPE_PREFIX + reason,
        title=HTTPStatus(status).phrase,
        status=status,
        detail=(detail if detail.isprintable() else _printable(detail))[:MAX_DETAIL],
        reason=reason,
        request_id=request_id,
    )
    return Response(msgspec.json.encode(body), status_code=status, media_type=MEDIA_TYPE, headers=headers)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def new_request_id() -> str:
    """Return an id for a request; all are equally long."""
    return secrets.token_hex(8)


def request_id_of(request: Request[Any, Any, Any]) -> str:
    """Return the id under which the logs speak of a request."""
    return str(request.scope.get("state", {}).get("request_id", ""))


def on_domain_error(request: Request[Any, Any, Any], error: QuantumError) -> Response[Any]:
    """Answer an error that the domain expects."""
    status, reason = next((status, reason) for kind, status, reason in STATUS_OF_ERROR if isinstance(error, kind))
    if isinstance(error, Rejected):
        reason, status = error.reason, STATUS_OF_REASON.get(error.reason, status)
    elif isinstance(error, Throttled):
        reason = error.reason
    headers = {}
    if isinstance(error, Unavailable):
        headers["Retry-After"] = str(getattr(error, "retry_after_s", 1))
    if reason in CHALLENGES:
        headers["WWW-Authenticate"] = CHALLENGES[reason]
    if reason in UNREAD:
        headers["Connection"] = "close"
    request.scope.setdefault("state", {})[REASON] = reason
    return problem(status, reason, str(error), request_id_of(request), headers)


def on_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """Answer what Litestar itself refuses: unknown routes, wrong methods, parameters that do not parse."""
    detail = error.detail
    if isinstance(error.extra, list) and error.extra:
        detail = "; ".join(f"{item.get('key', 'body')}: {item.get('message', '')}" for item in error.extra)
    status = error.status_code
    reason = REASON_OF_STATUS.get(status) or HTTPStatus(status).phrase.lower().replace(" ", "_")
    return problem(
        status, reason, detail or HTTPStatus(status).phrase, request_id_of(request), dict(error.headers or {})
    )


def on_bad_text(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Answer a body that is not UTF-8 or is nested beyond all sense."""
    detail = "the body is nested too deeply" if isinstance(error, RecursionError) else "the body is not valid UTF-8"
    return problem(400, "malformed_body", detail, request_id_of(request))


def on_surprise(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Answer a bug: log it whole, show none of it."""
    log.error("unexpected error", exc_info=error, request_id=request_id_of(request), path=request.url.path)
    return problem(
        500, "internal", "something went wrong here; the log has it under the request id", request_id_of(request)
    )


HANDLERS: Final[dict[int | type[Exception], Callable[..., Response[Any]]]] = {
    QuantumError: on_domain_error,
    HTTPException: on_http_error,
    UnicodeDecodeError: on_bad_text,
    RecursionError: on_bad_text,
    Exception: on_surprise,
}
