"""Who may do what: one table of every route, and the layer that keeps to it before any handler runs.

A route that is not in the table is the administrators' only, and fails a test. Credentials come as the clients that
people already have send them: `Bearer`, InfluxDB's `Token`, a key as the password of basic authentication, and
`?u=...&p=...` where InfluxDB 1 has them; and as the dashboard has them, a cookie, and a ticket for its socket.
"""

from __future__ import annotations

import base64
import binascii
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qs

from litestar import Request
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware

from quantum.adapters.http import cookies
from quantum.adapters.http.answers import send_response
from quantum.adapters.http.problems import on_domain_error
from quantum.application.sessions import PREFIX as SESSION_PREFIX
from quantum.domain.errors import QuantumError, Rejected, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from litestar.types import ASGIApp, Message, Receive, Scope, Send

    from quantum.application.denials import Denials
    from quantum.application.ports import Identity, Principal
    from quantum.application.tickets import Tickets

ROLES: Final = ("viewer", "operator", "admin", "ingest")
ANYBODY: Final = frozenset(("", *ROLES))
"""Without a credential, too: the empty role is that of a stranger."""
READERS: Final = frozenset({"viewer", "operator", "admin"})
ACTORS: Final = frozenset({"operator", "admin"})
ADMINS: Final = frozenset({"admin"})
SENDERS: Final = frozenset({"ingest", "admin"})
NAMED: Final = {"read": READERS, "act": ACTORS, "administer": ADMINS, "send": SENDERS}
"""What a page has to know to offer nobody what they may not do."""

RIGHTS: Final[dict[str, frozenset[str]]] = {
    # the dashboard's files, its documentation, and signs of life: nothing of them is anybody's secret
    "GET /": ANYBODY,
    "GET /{path}": ANYBODY,
    "GET /docs": ANYBODY,
    "GET /openapi.json": ANYBODY,
    "GET /api/schema": ANYBODY,
    "GET /api/schema/openapi.json": ANYBODY,
    "GET /api/schema/{path}": ANYBODY,
    "GET /livez": ANYBODY,
    "GET /readyz": ANYBODY,
    "GET /startupz": ANYBODY,
    "GET /metrics": ANYBODY,
    "GET /ping": ANYBODY,
    "GET /influx/ping": ANYBODY,
    "GET /health": ANYBODY,
    "GET /influx/health": ANYBODY,
    "GET /api/v1/session": ANYBODY,
    "GET /api/v1/login": ANYBODY,
    "GET /api/v1/login/callback": ANYBODY,
    "POST /api/v1/logout": ANYBODY,
    # the identity provider, whose signature is judged there
    "POST /api/v1/session/backchannel-logout": ANYBODY,
    # samples
    "POST /api/v1/samples": SENDERS,
    "POST /prometheus/api/v1/write": SENDERS,
    "POST /v1/metrics": SENDERS,
    "POST /otlp/v1/metrics": SENDERS,
    "POST /write": SENDERS,
    "POST /influx/write": SENDERS,
    "POST /api/v2/write": SENDERS,
    "POST /influx/api/v2/write": SENDERS,
    # reading
    "GET /api/v1/overview": READERS,
    "GET /api/v1/series": READERS,
    "GET /api/v1/series/{fingerprint}": READERS,
    "GET /api/v1/series/{fingerprint}/window": READERS,
    "GET /api/v1/models/coverage": READERS,
    "GET /api/v1/series/{fingerprint}/why": READERS,
    "GET /api/v1/series/{fingerprint}/forecast": READERS,
    "GET /api/v1/what-moved": READERS,
    "GET /api/v1/anomalies": READERS,
    "GET /api/v1/alerts": READERS,
    "GET /api/v1/alerts/{alert_id}": READERS,
    "GET /api/v1/incidents": READERS,
    "GET /api/v1/incidents/{incident_id}": READERS,
    "GET /api/v1/policies": READERS,
    "GET /api/v1/policies/{key}": READERS,
    "GET /api/v1/policies/{key}/budget": READERS,
    "GET /api/v1/policies/{key}/lessons": READERS,
    "GET /api/v1/silences": READERS,
    "GET /api/v1/silences/{silence_id}": READERS,
    "POST /api/v1/silences/preview": READERS,
    "GET /api/v1/routes": READERS,
    "GET /api/v1/routes/{name}": READERS,
    "POST /api/v1/routes/test": READERS,
    "GET /api/v1/receivers": READERS,
    "GET /api/v1/receivers/{name}": READERS,
    "GET /api/v1/models": READERS,
    "GET /api/v1/models/{name}": READERS,
    "GET /api/v1/models/{name}/file": READERS,
    "POST /api/v1/models/{name}/score": READERS,
    "GET /api/v1/training-runs": READERS,
    "GET /api/v1/training-runs/{run_id}": READERS,
    "WEBSOCKET /api/v1/live": READERS,
    "POST /api/v1/live/tickets": READERS,
    "GET /prometheus/api/v1/query": READERS,
    "POST /prometheus/api/v1/query": READERS,
    "GET /prometheus/api/v1/query_range": READERS,
    "POST /prometheus/api/v1/query_range": READERS,
    "GET /prometheus/api/v1/series": READERS,
    "POST /prometheus/api/v1/series": READERS,
    "GET /prometheus/api/v1/labels": READERS,
    "POST /prometheus/api/v1/labels": READERS,
    "GET /prometheus/api/v1/label/{name}/values": READERS,
    "GET /prometheus/api/v1/metadata": READERS,
    "GET /prometheus/api/v1/format_query": READERS,
    "POST /prometheus/api/v1/format_query": READERS,
    "GET /prometheus/api/v1/query_exemplars": READERS,
    "POST /prometheus/api/v1/query_exemplars": READERS,
    "GET /prometheus/api/v1/rules": READERS,
    "GET /prometheus/api/v1/alerts": READERS,
    "GET /prometheus/api/v1/status/buildinfo": READERS,
    # acting; a replay changes nothing, but takes a processor
    "POST /api/v1/incidents/{incident_id}/acknowledge": ACTORS,
    "POST /api/v1/incidents/{incident_id}/resolve": ACTORS,
    "POST /api/v1/incidents/{incident_id}/verdict": ACTORS,
    "POST /api/v1/incidents/{incident_id}/note": ACTORS,
    "POST /api/v1/policies": ACTORS,
    "PUT /api/v1/policies/{key}": ACTORS,
    "DELETE /api/v1/policies/{key}": ACTORS,
    "POST /api/v1/policies/{key}/propose": ACTORS,
    "POST /api/v1/policies/{key}/learn": ACTORS,
    "POST /api/v1/policies/{key}/unlearn": ACTORS,
    "POST /api/v1/policies/preview": ACTORS,
    "POST /api/v1/silences": ACTORS,
    "DELETE /api/v1/silences/{silence_id}": ACTORS,
    "POST /api/v1/routes": ACTORS,
    "PUT /api/v1/routes/{name}": ACTORS,
    "DELETE /api/v1/routes/{name}": ACTORS,
    "POST /api/v1/replay": ACTORS,
    "POST /api/v1/models": ACTORS,
    "POST /api/v1/models/{name}/try": ACTORS,
    "POST /api/v1/models/{name}/promote": ACTORS,
    "POST /api/v1/models/{name}/roll-back": ACTORS,
    "POST /api/v1/training-runs": ACTORS,
    "POST /api/v1/training-runs/{run_id}/cancel": ACTORS,
    # where data leaves to, and secrets
    "GET /api/v1/audit": ADMINS,
    "POST /api/v1/receivers": ADMINS,
    "PUT /api/v1/receivers/{name}": ADMINS,
    "DELETE /api/v1/receivers/{name}": ADMINS,
    "GET /api/v1/api-keys": ADMINS,
    "POST /api/v1/api-keys": ADMINS,
    "GET /api/v1/api-keys/{key_id}": ADMINS,
    "DELETE /api/v1/api-keys/{key_id}": ADMINS,
}
"""Method and path of every route, and the roles that may use it; one of them is enough."""

INFLUX_1: Final = frozenset({"/write", "/influx/write"})
"""Where a password may be in the URL, because those clients have no other way."""
NOT_IN_URLS: Final = (b"access_token=", b"id_token=", b"token=", b"api_key=")
UNKNOWN: Final = "unauthenticated"
"""Why somebody is refused who shows nothing: every browser does so before it signs in, which nobody has to know."""
PRINCIPAL: Final = "principal"
"""Under this name the state of a request has who is asking."""
STANDING: Final = "standing"
"""Under this name the state of a socket has whether it may stay."""


class Gate(ASGIMiddleware):
    """Lets through who may use a route; every other request is answered here, before its body is read."""

    def __init__(self, identity: Identity, tickets: Tickets, denials: Mapping[str, Denials]) -> None:
        """Take who finds out who is asking, and whom to tell of denials by tenant; the first is told of strangers.

        A socket may be opened with one of the tickets.
        """
        self._identity = identity
        self._tickets = tickets
        self._denials = denials
        self._of_strangers = next(iter(denials.values()))

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """See ASGIMiddleware."""
        try:
            await self._check(scope)
        except Rejected as refusal:
            if refusal.reason != UNKNOWN:
                await self._note(scope, refusal)
            await refuse(scope, receive, send, refusal)
        except Unavailable as failure:
            await refuse(scope, receive, send, failure)
        else:
            if _asks_for_methods(scope):
                await _tell_methods(scope, send)
                return
            await next_app(scope, receive, send)

    async def _note(self, scope: Scope, refusal: Rejected) -> None:
        principal = scope["state"].get(PRINCIPAL)
        method = scope["method"] if scope["type"] == ScopeType.HTTP else "WEBSOCKET"
        # a stranger may be another tenant's member with a key that has expired: what they named is not the first's
        is_told = principal is not None or len(self._denials) == 1
        target = " ".join(map(str, scope.get("path_params", {}).values())) if is_told else ""
        actor = principal.subject if principal else ""
        denials = self._denials.get(principal.tenant, self._of_strangers) if principal else self._of_strangers
        await denials.note(actor, f"{method} {scope['path_template']}", target, str(refusal))

    async def _check(self, scope: Scope) -> None:
        if any(part.startswith(NOT_IN_URLS) for part in scope["query_string"].split(b"&")):
            raise Rejected("credential_in_url", "a credential in a URL ends in logs: send it as a header")
        cookies.check_page(scope)
        allowed = roles_for(scope)
        if allowed is ANYBODY:
            return
        credential, principal = await self._identify(scope)
        scope["state"][PRINCIPAL] = principal
        check_roles(principal, allowed)
        if scope["type"] != ScopeType.HTTP:
            scope["state"][STANDING] = Standing(self._identity, credential, principal, allowed)

    async def _identify(self, scope: Scope) -> tuple[str, Principal]:
        """Return what is shown, and who that is; a socket may have been opened with a ticket for it."""
        credential = credential_of(scope)
        if scope["type"] != ScopeType.HTTP and not credential:
            tickets = parse_qs(scope["query_string"].decode("latin-1")).get("ticket", [])
            if len(tickets) == 1:
                return await self._tickets.redeem(tickets[0], origin_of(scope))
        return credential, await self._identity.identify(credential)


class Standing:
    """Whether the holder of a connection that stays open still may have it; looked at again and again."""

    def __init__(self, identity: Identity, credential: str, principal: Principal, allowed: frozenset[str]) -> None:
        self.principal = principal
        self._identity = identity
        self._credential = credential
        self._allowed = allowed

    def is_by(self, credential: str) -> bool:
        """Return whether it is this that its holder showed last."""
        return self._credential == credential

    async def check(self, now_ms: int) -> None:
        """Find out again who holds it.

        Raises:
            Rejected: what was shown is no good any more, or its bearer has lost the role.
        """
        try:
            await self.renew(self._credential)
        except Unavailable:
            expires_at_ms = self.principal.expires_at_ms
            if expires_at_ms is not None and expires_at_ms <= now_ms:
                raise Rejected("invalid_credential", "what was shown has expired") from None

    async def renew(self, credential: str) -> None:
        """Let the holder stay with another credential of theirs.

        Raises:
            Rejected: it is no good, somebody else's, or of somebody without the role.
            Unavailable: it cannot be judged now.
        """
        found = await self._identity.identify(credential)
        if (found.subject, found.tenant) != (self.principal.subject, self.principal.tenant):
            raise Rejected("forbidden", f"this connection is that of {self.principal.subject}")
        check_roles(found, self._allowed)
        self.principal, self._credential = found, credential


def check_roles(principal: Principal, allowed: frozenset[str]) -> None:
    """Raise Rejected `forbidden` for who has none of some roles."""
    if principal.roles.isdisjoint(allowed):
        needed, had = " or ".join(sorted(allowed)), ", ".join(sorted(principal.roles)) or "none"
        raise Rejected("forbidden", f"this needs the role {needed}; {principal.subject} has {had}")


def roles_for(scope: Scope) -> frozenset[str]:
    """Return which roles may use the route of a request."""
    if scope["type"] != ScopeType.HTTP:
        return RIGHTS.get(f"WEBSOCKET {scope['path_template']}", ADMINS)
    if _asks_for_methods(scope):
        # the documentation says it as well
        return ANYBODY
    return RIGHTS.get(f"{scope['method']} {scope['path_template']}", ADMINS)


def _asks_for_methods(scope: Scope) -> bool:
    return scope["type"] == ScopeType.HTTP and scope["method"] == "OPTIONS"


async def _tell_methods(scope: Scope, send: Send) -> None:
    """Say which methods a path has; Litestar would name those of the handler that was registered first."""
    rows = (row.partition(" ") for row in RIGHTS)
    known = {method for method, _, path in rows if path == scope["path_template"]} - {"WEBSOCKET"}
    methods = known | {"OPTIONS"} | ({"HEAD"} if "GET" in known else set())
    headers = [(b"allow", ", ".join(sorted(methods)).encode())]
    await send({"type": "http.response.start", "status": HTTPStatus.NO_CONTENT, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def principal_of(request: Request[Any, Any, Any]) -> Principal:
    """Return who is asking, on a route that is not anybody's."""
    found: Principal = request.scope["state"][PRINCIPAL]
    return found


def credential_of(scope: Scope) -> str:
    """Return the token or key that a request shows, the empty string if it shows none.

    Raises:
        Rejected: `invalid_credential`: it shows several, or something that is neither.
    """
    given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"]
    if len(given) > 1:
        raise Rejected("invalid_credential", "there is more than one Authorization header")
    if given:
        return _of_header(given[0])
    if scope.get("path_template") in INFLUX_1:
        fields = parse_qs(scope["query_string"].decode("latin-1"))
        return no_cookie(fields.get("p", [""])[0])
    # no socket by cookie: it would be open to whatever page a browser lets send it
    return cookies.session_of(scope) if scope["type"] == ScopeType.HTTP else ""


def origin_of(scope: Scope) -> str:
    """Return the origin of the page that asks, as it is sent; empty if it is none."""
    return ",".join(value.decode("latin-1") for name, value in scope["headers"] if name == b"origin")


def rights_of(principal: Principal) -> list[str]:
    """Return what somebody may do, in the words of `NAMED`."""
    return [name for name, roles in NAMED.items() if not principal.roles.isdisjoint(roles)]


def _of_header(value: str) -> str:
    scheme, _, rest = value.strip().partition(" ")
    credential = rest.strip()
    match scheme.lower():
        case "bearer" | "token":
            found = credential
        case "basic":
            try:
                found = base64.b64decode(credential, validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                found = ""
        case _:
            found = ""
    if not found or not found.isascii() or not found.isprintable() or " " in found or "," in found:
        raise Rejected(
            "invalid_credential", "the Authorization header is none of Bearer, Token and Basic with a key or token"
        )
    return no_cookie(found)


def no_cookie(credential: str) -> str:
    """Return what is shown as a token or key; what belongs into a cookie is neither."""
    if credential.startswith(SESSION_PREFIX):
        raise Rejected("invalid_credential", "the session of a browser is no token: it is good in its cookie alone")
    return credential


async def refuse(scope: Scope, receive: Receive, send: Send, refusal: QuantumError) -> None:
    """Answer a request or an upgrade with a problem."""
    # an upgrade has no method, though it is a GET
    request: Any = Request(cast("Scope", {"method": "GET", **scope}))
    answer = on_domain_error(request, refusal)
    if scope["type"] == ScopeType.HTTP:
        await send_response(scope, receive, send, answer)
        return

    async def send_instead(message: Message) -> None:
        answered: Any = {**message, "type": f"websocket.{message['type']}"}
        await send(answered)

    await receive()
    await send_response(scope, receive, send_instead, answer)
