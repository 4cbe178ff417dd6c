"""Sending a response without the framework's layers: what the short way and refusals have in common."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from litestar import Request
from litestar.enums import MediaType

if TYPE_CHECKING:
    from litestar import Response
    from litestar.types import Receive, Scope, Send


async def send_response(scope: Scope, receive: Receive, send: Send, response: Response[Any]) -> None:
    """Send a response; one whose content is no bytes, or that has cookies or work for later, by the framework."""
    content = b"" if response.content is None else response.content
    if type(content) is not bytes or response.cookies or response.background:
        await response.to_asgi_response(None, Request(scope))(scope, receive, send)
        return
    status = response.status_code or HTTPStatus.OK
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
    if status != HTTPStatus.NO_CONTENT:
        told = {name for name, _ in headers}
        described = ((b"content-type", _media_of(response)), (b"content-length", b"%d" % len(content)))
        headers += [pair for pair in described if pair[0] not in told]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content, "more_body": False})


def _media_of(response: Response[Any]) -> bytes:
    media = str(getattr(response.media_type, "value", response.media_type) or MediaType.JSON.value)
    return (f"{media}; charset={response.encoding}" if media.startswith("text/") else media).encode("latin-1")
