"""Reading: series, their windows, and how closely they are watched."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from litestar import get
from litestar.params import QueryParameter

from quantum.adapters.http import messages as m
from quantum.adapters.http import views
from quantum.adapters.http.parameters import CURSOR, FingerprintPath, Limit, SeriesCursor, Time
from quantum.application.windows import MAX_POINTS, MIN_POINTS
from quantum.domain.errors import NotFound, Rejected
from quantum.domain.selectors import parse_selector

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from quantum.application.queries import Queries


def series_routes(queries: Queries) -> list[HTTPRouteHandler]:
    """Return the handlers of series."""

    @get("/api/v1/series", operation_id="findSeries", tags=["reading"], summary="Find series")
    async def series(
        match: Annotated[
            list[str] | None, QueryParameter(name="match[]", description="Selectors; any may match")
        ] = None,
        q: Annotated[str, QueryParameter(max_length=500, description="Words that must all occur")] = "",
        limit: Limit = 100,
        cursor: SeriesCursor = None,
    ) -> m.SeriesPage:
        matchers = [parse_selector(text) for text in match or []]
        after = None if cursor is None else int(cursor, 16)
        try:
            items, total, following = await queries.search(matchers, q, limit, after)
        except NotFound:
            raise Rejected("cursor", CURSOR) from None
        return m.SeriesPage(
            items=[views.series(one) for one in items],
            total=total,
            next_cursor=None if following is None else views.hex_digits(following),
        )

    @get("/api/v1/series/{fingerprint:str}", operation_id="getSeries", tags=["reading"], summary="One series")
    async def one_series(fingerprint: FingerprintPath) -> m.SeriesItem:
        return views.series(queries.now([queries.slot(int(fingerprint, 16))])[0])

    @get(
        "/api/v1/series/{fingerprint:str}/window",
        operation_id="getWindow",
        tags=["reading"],
        summary="Values with band, score and anomalies",
    )
    async def window(
        fingerprint: FingerprintPath,
        start_ms: Time,
        end_ms: Time,
        points: Annotated[
            int, QueryParameter(ge=MIN_POINTS, le=MAX_POINTS, description="How many rows at most")
        ] = 1000,
    ) -> m.Window:
        found = await queries.window(queries.slot(int(fingerprint, 16)), start_ms, end_ms, points)
        return await asyncio.to_thread(views.window, found)

    return [series, one_series, window]


def coverage_routes(queries: Queries) -> list[HTTPRouteHandler]:
    """Return the handler of how closely series are watched."""

    @get(
        "/api/v1/models/coverage",
        operation_id="getCoverage",
        tags=["reading"],
        summary="How closely series are watched, and which are not watched in full",
    )
    async def coverage(
        limit: Limit = 100,
        cursor: SeriesCursor = None,
    ) -> m.CoveragePage:
        try:
            return views.coverage(queries.coverage(limit, None if cursor is None else int(cursor, 16)))
        except NotFound:
            raise Rejected("cursor", CURSOR) from None

    return [coverage]
