"""Policies and receivers written as tables (TOML, JSON) in the very shape that the API takes them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from quantum.adapters.http import messages, views
from quantum.application.control import policy_id
from quantum.application.timemachine import Draft
from quantum.domain.errors import Rejected
from quantum.domain.facts import WebhookReceiver
from quantum.domain.policies import AlertPolicy, check_policy

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


def read_draft(file: str) -> Draft:
    """Return the policies and receivers of a TOML file; other settings in it are left aside.

    Raises:
        Rejected: `draft`, `policies`: it is no TOML, or a table makes no sense.
        OSError: it cannot be read.
    """
    try:
        tree = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Rejected("draft", f"{file}: {error}") from None
    return Draft(read_policies(tree.get("policies", ())), read_receivers(tree.get("receivers", ())))


def _read(table: object, kind: type[T], where: str) -> T:
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise Rejected("policies", f"{where}: {error}") from None
