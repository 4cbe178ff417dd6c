"""Policies, receivers and routes written as tables (TOML, JSON) in the very shape that the API takes them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from quantum.adapters.http import messages, views
from quantum.adapters.http.route_messages import RouteRequest
from quantum.adapters.linear_patterns import full_match
from quantum.application.control import policy_id
from quantum.application.timemachine import Draft
from quantum.domain.errors import Rejected
from quantum.domain.facts import WebhookReceiver
from quantum.domain.labels import MatcherCompiler
from quantum.domain.policies import AlertPolicy, check_policy
from quantum.domain.routes import Route
from quantum.domain.routing import RouteBook, check_route

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T", bound=messages.Request)


def read_policies(tables: Iterable[dict[str, Any]]) -> tuple[AlertPolicy, ...]:
    """Return the policies of some tables.

    Raises:
        Rejected: `policies`; the message names the table and the member.
    """
    found = []
    for number, table in enumerate(tables, 1):
        body = _read(table, messages.PolicyRequest, f"policies[{number}]")
        try:
            found.append(check_policy(views.asked_policy(body, policy_id(body.name))))
        except Rejected as error:
            raise Rejected("policies", f"policies[{number}]: {error}") from None
    return tuple(found)


def read_receivers(tables: Iterable[dict[str, Any]]) -> tuple[WebhookReceiver, ...]:
    """Return the receivers of some tables; raises Rejected `policies`."""
    bodies = [_read(table, messages.ReceiverRequest, f"receivers[{number}]") for number, table in enumerate(tables, 1)]
    return tuple(WebhookReceiver(name=body.name, url=body.url, secret=body.secret or "") for body in bodies)


def read_routes(tables: Iterable[dict[str, Any]]) -> tuple[Route, ...]:
    """Return the routes of some tables, a parent before its children; whether receivers are there is not looked at.

    Raises:
        Rejected: `policies`, `route_name`, `route_parent`, `regex` or another reason of `check_route`.
    """
    bodies = [_read(table, RouteRequest, f"routes[{number}]") for number, table in enumerate(tables, 1)]
    for number, body in enumerate(bodies, 1):
        try:
            check_route(views.asked_route(body))
        except Rejected as error:
            raise Rejected("policies", f"routes[{number}]: {error}") from None
    book, named = RouteBook(MatcherCompiler(full_match)), {name for body in bodies for name in body.receivers or ()}
    book.replace_all(views.asked_routes(bodies), named)
    given = {body.name for body in bodies}
    return tuple(one for one in book.routes if one.name in given)


def read_draft(file: str) -> Draft:
    """Return the policies, receivers and routes of a TOML file; other settings in it are left aside.

    With routes and no policies it is a draft of routes alone.

    Raises:
        Rejected: `draft`, `policies`: it is no TOML, or a table makes no sense; or what `read_routes` raises.
        OSError: it cannot be read.
    """
    try:
        tree = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Rejected("draft", f"{file}: {error}") from None
    routes = read_routes(tree.get("routes", ()))
    policies = read_policies(tree.get("policies", ())) if "policies" in tree or not routes else None
    return Draft(policies, read_receivers(tree.get("receivers", ())), routes)


def _read(table: object, kind: type[T], where: str) -> T:
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise Rejected("policies", f"{where}: {error}") from None
