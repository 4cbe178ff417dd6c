"""API keys over HTTP: the key itself is in one answer, the one to who made it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from litestar import Request, Response, delete, get, post
from litestar.params import JSONBody, PathParameter
from litestar.status_codes import HTTP_201_CREATED

from quantum.adapters.http import api_key_messages as m
from quantum.adapters.http.access import principal_of
from quantum.domain.api_keys import ApiKey

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from quantum.application.api_keys import ApiKeys

KeyId = Annotated[str, PathParameter(max_length=40, description="Part of the key; no secret")]


def api_key_routes(keys: ApiKeys) -> list[HTTPRouteHandler]:
    """Return the handlers."""

    def view(one: ApiKey) -> m.ApiKeyItem:
        return m.ApiKeyItem(
            id=one.id,
            name=one.name,
            scopes=list(one.scopes),
            created_at_ms=one.created_at_ms,
            created_by=one.created_by,
            expires_at_ms=one.expires_at_ms,
            last_used_at_ms=keys.used_at_ms(one.id),
        )

    @get("/api/v1/api-keys", operation_id="listApiKeys", tags=["API keys"], summary="All keys, without the keys")
    async def all_keys() -> m.ApiKeyList:
        return m.ApiKeyList(items=[view(one) for one in keys.every()])

    @post("/api/v1/api-keys", operation_id="createApiKey", tags=["API keys"], summary="Make a key, shown this once")
    async def create(data: JSONBody[m.ApiKeyRequest], request: Request[Any, Any, Any]) -> Response[m.NewApiKey]:
        actor = principal_of(request).subject
        key_id, key = await keys.issue(data.name, data.scopes, data.expires_at_ms, actor)
        headers = {"Location": f"/api/v1/api-keys/{key_id}"}
        return Response(
            m.NewApiKey(key=key, item=view(keys.key(key_id))), status_code=HTTP_201_CREATED, headers=headers
        )

    @get("/api/v1/api-keys/{key_id:str}", operation_id="getApiKey", tags=["API keys"], summary="One key, without it")
    async def one_key(key_id: KeyId) -> m.ApiKeyItem:
        return view(keys.key(key_id))

    @delete("/api/v1/api-keys/{key_id:str}", operation_id="revokeApiKey", tags=["API keys"], summary="Revoke a key")
    async def revoke(key_id: KeyId, request: Request[Any, Any, Any]) -> None:
        await keys.revoke(key_id, principal_of(request).subject)

    return [all_keys, create, one_key, revoke]
