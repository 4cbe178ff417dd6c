"""Shapes of API keys."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from quantum.adapters.http.messages import Message, Request, TimeMs

KeyScope = Literal["ingest", "read"]


class ApiKeyRequest(Request):
    """A key that is wanted; without `expires_at_ms` it never expires."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    scopes: Annotated[list[KeyScope], msgspec.Meta(min_length=1, max_length=2, extra_json_schema={"uniqueItems": True})]
    expires_at_ms: TimeMs | None = None


class ApiKeyItem(Message):
    """A key without the key; `last_used_at_ms` is null if it was not used since the process began."""

    id: str
    name: str
    scopes: list[str]
    created_at_ms: int
    created_by: str
    expires_at_ms: int | None
    last_used_at_ms: int | None


class ApiKeyList(Message):
    """Oldest first."""

    items: list[ApiKeyItem]


class NewApiKey(Message):
    """A key as it is shown once."""

    key: str
    item: ApiKeyItem
