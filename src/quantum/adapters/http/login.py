"""Signing in to the dashboard and out again: the browser's part of the code flow, its cookies and its redirects."""

from __future__ import annotations

import base64
import re
import secrets
from hmac import compare_digest
from html import escape
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

import structlog
from litestar import Request, Response, get, post

from quantum.adapters.http import cookies
from quantum.adapters.http.bodies import Bounds, read_body, require_type
from quantum.adapters.http.edge import is_loopback, name_of
from quantum.adapters.http.problems import on_domain_error
from quantum.adapters.http.sign_in_messages import SignedOut
from quantum.adapters.oidc import Attempt
from quantum.domain.errors import NotFound, QuantumError, Rejected, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from litestar.handlers import HTTPRouteHandler

    from quantum.adapters.http.live import LiveSockets
    from quantum.adapters.oidc import Oidc
    from quantum.application.denials import Doorkeeper
    from quantum.application.sessions import Notice, Sessions

LOGIN: Final = "/api/v1/login"
CALLBACK: Final = "/api/v1/login/callback"
BACK_CHANNEL: Final = "/api/v1/session/backchannel-logout"
MAX_FORM_BYTES: Final = 20_000
SECRET_BYTES: Final = 32
ATTEMPT_S: Final = 600
"""So long signing in may take."""
NAMED_BY: Final = 12
"""Characters of the state by which an attempt's cookie is named."""
MAX_PLACE: Final = 1000
MAX_CODE: Final = 4000
SECRET: Final = re.compile(r"([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]*)").fullmatch
ERROR_CODES: Final = frozenset(
    {
        "invalid_request",
        "unauthorized_client",
        "access_denied",
        "unsupported_response_type",
        "invalid_scope",
        "server_error",
        "temporarily_unavailable",
        "interaction_required",
        "login_required",
        "account_selection_required",
        "consent_required",
        "registration_not_supported",
    }
)
"""Of RFC 6749, 4.1.2.1, and OpenID Connect Core, 3.1.2.6. Others are not repeated: anybody can send words here,
which would be in the audit log of a tenant that may not be theirs."""
PAGE: Final = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    "<title>Sign-in · Quantum</title><style>body{{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;"
    "padding:0 1rem;color-scheme:light dark}}</style><h1>That did not work</h1><p>{}.</p>"
    '<p><a href="/">Back to the dashboard</a></p>'
)

log = structlog.get_logger("quantum.sign_in")

Browser = Request[Any, Any, Any]


class SignIn:
    """What browsers do to sign in and out; without an identity provider there is nothing to sign in to."""

    def __init__(
        self,
        oidc: Oidc,
        check_logout_token: Callable[[str, str], Awaitable[Notice]],
        sessions: Sessions,
        sockets: Sequence[LiveSockets],
        door: Doorkeeper,
    ) -> None:
        self._oidc = oidc
        self._check_logout_token = check_logout_token
        self._sessions = sessions
        self._sockets = sockets
        self._door = door

    async def begin(self, request: Browser) -> Response[Any]:
        """Send a browser to the identity provider.

        Raises:
            Rejected: `insecure`: it came over a network without TLS.
            Unavailable: the provider does not answer.
        """
        _check_secure(request)
        secret = secrets.token_urlsafe(SECRET_BYTES)
        attempt = Attempt(secret)
        address = await self._oidc.address(attempt, _own(request, CALLBACK))
        to = base64.urlsafe_b64encode(place_in(request.query_params.get("to", "/")).encode()).decode().rstrip("=")
        # lax: the browser comes back from another site
        kept = cookies.cookie(request, _cookie_of(attempt.state), f"{secret}.{to}", "lax", ATTEMPT_S)
        return Response(None, status_code=HTTPStatus.SEE_OTHER, headers={"Location": address}, cookies=[kept])

    async def finish(self, request: Browser) -> Response[Any]:
        """Let a browser in that comes back with a code, and note who came or that somebody was turned away.

        Raises:
            Rejected: `login_failed`, or `forbidden` if the token names no tenant.
            Unavailable: the provider does not answer, or the session cannot be kept.
        """
        try:
            return await self._let_in(request)
        except Rejected as refusal:
            await self._door.turned_away(str(refusal))
            raise

    async def _let_in(self, request: Browser) -> Response[Any]:
        state = _only(request, "state")
        attempt, to = _begun(cookies.value_of(request.scope, _cookie_of(state)))
        if not compare_digest(attempt.state.encode(), state.encode()):
            raise _not_begun()
        code = self._code_of(request)
        try:
            tokens = await self._oidc.exchange(code, attempt, _own(request, CALLBACK))
            credential, principal = await self._sessions.begin(tokens)
        except Rejected as refusal:
            if refusal.reason != "invalid_credential":
                raise
            raise Rejected("login_failed", f"you could not be signed in: {refusal}") from None
        if before := cookies.session_of(request.scope):
            await self._sessions.forget(before)
        log.info("signed in", subject=principal.subject, tenant=principal.tenant)
        await self._door.came(principal)
        kept = [
            cookies.cookie(request, cookies.SESSION, credential, "strict", None),
            cookies.cookie(request, _cookie_of(state), "", "lax", 0),
        ]
        return Response(None, status_code=HTTPStatus.SEE_OTHER, headers={"Location": to}, cookies=kept)

    async def end(self, request: Browser) -> Response[SignedOut]:
        """Let a session be over: here, at the identity provider, and for its live sockets."""
        credential = cookies.session_of(request.scope)
        leads_to = ""
        if credential:
            session = await self._sessions.forget(credential)
            if session is not None and not await self._sessions.end(session):
                leads_to = await self._farewell(request)
            for sockets in self._sockets:
                await sockets.part(credential)
            log.info("signed out")
            if session is not None:
                await self._door.left(session.subject, session.tenant)
        gone = cookies.cookie(request, cookies.SESSION, "", "strict", 0)
        return Response(SignedOut(end_session=leads_to), status_code=HTTPStatus.OK, cookies=[gone])

    async def heed(self, request: Browser) -> Response[None]:
        """Let a session be over that the identity provider says is, and note whose it was.

        Raises:
            Rejected: `content_type`, `body_too_large` or `logout_token`; the last is 400, as the standard has it.
            Unavailable: the token cannot be judged, or the end not be kept; the provider may try again.
        """
        token = await _logout_token(request)
        try:
            notice = await self._check_logout_token(token, self._oidc.client)
        except Rejected as refusal:
            raise Rejected("logout_token", str(refusal)) from None
        subject, tenant = await self._sessions.heed(notice)
        log.info("signed out by the identity provider", subject=subject, tenant=tenant)
        if subject:
            for sockets in self._sockets:
                await sockets.look_again(subject, tenant)
            await self._door.left(subject, tenant)
        return Response(None, status_code=HTTPStatus.OK)

    async def _farewell(self, request: Browser) -> str:
        try:
            return await self._oidc.farewell(_own(request, "/"))
        except Unavailable:
            return ""

    def _code_of(self, request: Browser) -> str:
        """Return the code that the provider gave; it has to be from the provider that was asked (RFC 9207)."""
        if _only(request, "iss") != self._oidc.issuer:
            raise Rejected("login_failed", "the answer is from another identity provider than was asked")
        error = request.query_params.get("error")
        if error is not None:
            code = error if error in ERROR_CODES else "an error"
            raise Rejected("login_failed", f"the identity provider did not sign you in: {code}")
        return _only(request, "code")


def login_routes(sign_in: SignIn | None) -> list[HTTPRouteHandler]:
    """Return the handlers that browsers are sent to."""

    @get(LOGIN, include_in_schema=False)
    async def login(request: Browser) -> Response[Any]:
        try:
            return await _there(sign_in).begin(request)
        except QuantumError as failure:
            return _for_people(request, failure)

    @get(CALLBACK, include_in_schema=False)
    async def callback(request: Browser) -> Response[Any]:
        try:
            return await _there(sign_in).finish(request)
        except QuantumError as failure:
            return _for_people(request, failure)

    return [login, callback]


def logout_route(sign_in: SignIn | None) -> HTTPRouteHandler:
    """Return the handler by which the dashboard signs out."""

    @post("/api/v1/logout", operation_id="signOut", tags=["session"], summary="Sign out", status_code=HTTPStatus.OK)
    async def logout(request: Browser) -> Response[SignedOut]:
        return await _there(sign_in).end(request)

    return logout


def back_channel_route(sign_in: SignIn | None) -> HTTPRouteHandler:
    """Return the handler by which the identity provider says that a session there is over."""

    @post(BACK_CHANNEL, include_in_schema=False, status_code=HTTPStatus.OK)
    async def heed(request: Browser) -> Response[None]:
        return await _there(sign_in).heed(request)

    return heed


def place_in(text: str) -> str:
    """Return a path of this dashboard; its beginning for what is none, or could be read as another site's address."""
    own = text.startswith("/") and not text.startswith("//") and text.isascii() and text.isprintable()
    plain = own and not set("\\ <>\"'") & set(text) and len(text) <= MAX_PLACE
    return text if plain and not text.startswith("/api/") else "/"


def _there(sign_in: SignIn | None) -> SignIn:
    if sign_in is None:
        raise NotFound("there is nothing to sign in to here: auth.mode is stub, or auth.dashboard_client is empty")
    return sign_in


def _for_people(request: Browser, failure: QuantumError) -> Response[Any]:
    """Answer a browser with a page, and a program with a problem."""
    answer = on_domain_error(request, failure)
    if "text/html" not in request.headers.get("accept", ""):
        return answer
    headers = {name: value for name, value in answer.headers.items() if name.lower() != "content-type"}
    page = PAGE.format(escape(str(failure)))
    return Response(page.encode(), status_code=answer.status_code, media_type="text/html", headers=headers)


async def _logout_token(request: Browser) -> str:
    """Return the token of a form that has one (OpenID Connect Back-Channel Logout 1.0, 2.5)."""
    require_type(request, "application/x-www-form-urlencoded", charset="utf-8")
    bounds = Bounds(max_body_bytes=MAX_FORM_BYTES, max_decoded_bytes=MAX_FORM_BYTES)
    with bounds.hold() as hold:
        body = await read_body(request, bounds, hold)
    found = parse_qs(body.decode("latin-1")).get("logout_token", [])
    if len(found) != 1:
        raise Rejected("logout_token", "the form does not have 'logout_token' once")
    return found[0]


def _check_secure(request: Browser) -> None:
    if request.scope["scheme"] != "https" and not is_loopback(name_of(request.headers.get("host", ""))):
        raise Rejected(
            "insecure",
            "signing in over a network needs https: put a proxy with TLS in front, named in server.trusted_proxies",
        )


def _own(request: Browser, path: str) -> str:
    """Return an address here as the browser knows it; the provider has a list of those that it goes back to."""
    return f"{request.scope['scheme']}://{request.headers['host']}{path}"


def _cookie_of(state: str) -> str:
    return cookies.ATTEMPT + state[:NAMED_BY]


def _begun(kept: str) -> tuple[Attempt, str]:
    """Return the attempt that a cookie is of, and the place that the browser wants to come back to."""
    found = SECRET(kept)
    if found is None:
        raise _not_begun()
    try:
        place = base64.urlsafe_b64decode(found[2] + "=" * (-len(found[2]) % 4)).decode("latin-1")
    except ValueError:
        raise _not_begun() from None
    return Attempt(found[1]), place_in(place)


def _not_begun() -> Rejected:
    return Rejected("login_failed", "this sign-in was not begun in this browser, or took too long: begin again")


def _only(request: Browser, name: str) -> str:
    """Return a parameter that is there once."""
    values = request.query_params.getall(name, [])
    if len(values) != 1 or not 0 < len(values[0]) <= MAX_CODE:
        raise Rejected("login_failed", f"the answer of the identity provider does not have {name!r} once")
    return str(values[0])
