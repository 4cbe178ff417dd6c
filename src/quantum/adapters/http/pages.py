"""The dashboard's files and the API's documentation page, from our own files alone."""

from __future__ import annotations

import asyncio
import mimetypes
import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from litestar import Response, get
from litestar.params import FromPath

from quantum.domain.errors import NotFound

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

HASHED: Final = re.compile(r"-[A-Za-z0-9_]{8}\.(?:js|css)$")
MAX_PATH: Final = 200
NOT_PAGES: Final = frozenset({"api", "prometheus", "swagger"})
FOR_EVER: Final = "public, max-age=31536000, immutable"
NOT_BUILT: Final = (
    "<!doctype html><title>Quantum</title><h1>The dashboard is not built</h1>"
    "<p>Quantum runs, but its dashboard files are missing. Build them with <code>make frontend</code>, then reload. "
    'The API is documented at <a href="/openapi.json">/openapi.json</a>.</p>'
)
DOCS: Final = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Quantum API</title>'
    '<link rel="icon" type="image/svg+xml" href="/favicon.svg">'
    '<link rel="stylesheet" href="/swagger/swagger-ui.css"><div id="swagger-ui"></div>'
    '<script src="/swagger/swagger-ui-bundle.js"></script><script src="/swagger/start.js"></script></html>'
)


def page_routes() -> list[HTTPRouteHandler]:
    """Return the handlers; any path that is no file and no API is a page of the dashboard."""
    root = Path(str(files("quantum"))) / "static"

    @get("/", include_in_schema=False)
    async def entrance() -> Response[Any]:
        return await asyncio.to_thread(_page, root, "")

    @get("/{path:path}", include_in_schema=False)
    async def page(path: FromPath[str]) -> Response[Any]:
        return await asyncio.to_thread(_page, root, path.strip("/"))

    @get("/docs", include_in_schema=False)
    async def docs() -> Response[Any]:
        return Response(DOCS, media_type="text/html")

    return [entrance, page, docs]


def _page(root: Path, path: str) -> Response[Any]:
    """Return a file; else, for paths that may be a page of the dashboard, its entrance."""
    parts = path.split("/")
    if "\x00" in path or len(path) > MAX_PATH or ".." in parts:
        raise NotFound("there is nothing at this path")
    wanted = root / path
    if path and wanted.is_file() and wanted.resolve().is_relative_to(root.resolve()):
        return _send(wanted)
    if parts[0] in NOT_PAGES or "." in parts[-1]:
        raise NotFound(f"there is nothing at /{path}")
    index = root / "index.html"
    return _send(index) if index.is_file() else Response(NOT_BUILT, media_type="text/html", status_code=503)


def _send(path: Path) -> Response[Any]:
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    caching = FOR_EVER if HASHED.fullmatch(path.name) else "no-cache"
    return Response(path.read_bytes(), media_type=media_type, headers={"Cache-Control": caching})
