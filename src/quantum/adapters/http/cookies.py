"""Cookies of the dashboard: which there are, how they are read, and what is done by them and what is not.

Over TLS their names begin with `__Host-`, so no other host can set them and they never leave without TLS. Browsers do
not agree on such cookies at `http://localhost`, so there the names are plain: whatever else listens on this machine
could set them, and would still have no session. A cookie counts only where no Authorization header is; it opens no
socket (a ticket does), and changes something only for a page of our own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from litestar.datastructures import Cookie
from litestar.enums import ScopeType

from quantum.adapters.http.edge import READING, place_of
from quantum.application.sessions import PREFIX
from quantum.domain.errors import Rejected

if TYPE_CHECKING:
    from litestar import Request
    from litestar.types import Scope

SESSION: Final = "quantum_session"
ATTEMPT: Final = "quantum_sign_in_"
"""Before the first characters of the state of an attempt, so that each window has its own."""
HOST_ONLY: Final = "__Host-"
MAX_CHARS: Final = 4096


def session_of(scope: Scope) -> str:
    """Return the session that the cookie of a request names, the empty string if there is none."""
    found = value_of(scope, SESSION)
    return found if found.startswith(PREFIX) else ""


def value_of(scope: Scope, name: str) -> str:
    """Return the value of a cookie, the empty string if there is none, or several of that name."""
    wanted = _name(scope, name)
    pairs = (
        part.strip().partition("=")
        for header, value in scope["headers"]
        if header == b"cookie"
        for part in value.decode("latin-1").split(";")
    )
    found = [value for key, _, value in pairs if key == wanted]
    return found[0] if len(found) == 1 and len(found[0]) <= MAX_CHARS and found[0].isascii() else ""


def cookie(
    request: Request[Any, Any, Any], name: str, value: str, same_site: Literal["lax", "strict"], max_age: int | None
) -> Cookie:
    """Return a cookie that scripts cannot read; for the browser's session if it has no age, gone if that is 0."""
    return Cookie(
        _name(request.scope, name),
        value=value,
        path="/",
        max_age=max_age,
        httponly=True,
        samesite=same_site,
        secure=_is_secure(request.scope),
    )


def check_page(scope: Scope) -> None:
    """Raise Rejected `origin` where something is done by cookie and not said to be by a page of our own.

    The edge has judged the origins that are told. Here there has to be one, and it has to be ours: what other pages may
    do with a token (`server.allowed_origins`), they may not do with the cookie of whoever visits them.
    """
    if scope["type"] != ScopeType.HTTP or scope["method"] in READING or not session_of(scope):
        return
    told = {name: value.decode("latin-1").lower() for name, value in scope["headers"]}
    if b"authorization" in told:
        return
    ours = place_of(told.get(b"origin", "")) == told.get(b"host")
    if not ours or told.get(b"sec-fetch-site", "same-origin") != "same-origin":
        raise Rejected("origin", "what is done by cookie is done from our own pages, and they say so in Origin")


def _name(scope: Scope, name: str) -> str:
    return HOST_ONLY + name if _is_secure(scope) else name


def _is_secure(scope: Scope) -> bool:
    return scope["scheme"] in ("https", "wss")
