"""Reading: is something wrong? Overview and anomalies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from litestar import get
from litestar.params import FromQuery, QueryParameter

from quantum.adapters.http import messages as m
from quantum.adapters.http import views
from quantum.adapters.http.parameters import HEX, Cursor, Limit, TimeMs, read_cursor
from quantum.application.ports import AnomalyFilter, Page

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from quantum.application.ports import AlertStore
    from quantum.application.queries import Queries


def situation_routes(queries: Queries, alerts: AlertStore, version: str) -> list[HTTPRouteHandler]:
    """Return the handlers of what is going on now, and what went on."""

    @get("/api/v1/overview", operation_id="getOverview", tags=["reading"], summary="Is something wrong?")
    async def overview() -> m.Overview:
        found = await queries.situation()
        return m.Overview(
            at_ms=found.tick.at_ms,
            started_at_ms=found.started_at_ms,
            version=version,
            series=found.tick.series,
            learning=found.tick.learning,
            silent=found.tick.silent,
            samples_total=found.tick.samples,
            samples_per_s=found.tick.samples_per_s,
            lag_ms=found.tick.lag_ms,
            firing_alerts=found.tick.firing,
            open_incidents=[views.incident(one) for one in found.incidents],
            anomalies=[views.anomaly(*one) for one in zip(found.anomalies, found.intervals_ms, strict=True)],
        )

    @get("/api/v1/anomalies", operation_id="listAnomalies", tags=["reading"], summary="Anomalies, newest first")
    async def anomalies(
        fingerprint: Annotated[str | None, QueryParameter(pattern=HEX)] = None,
        ongoing: FromQuery[bool] = False,
        min_score: Annotated[float, QueryParameter(ge=0, le=1)] = 0.0,
        start_ms: TimeMs = None,
        end_ms: TimeMs = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> m.AnomalyPage:
        slots = () if fingerprint is None else (queries.slot(int(fingerprint, 16)),)
        wanted = AnomalyFilter(slots=slots, ongoing=ongoing, min_score=min_score, start_ms=start_ms, end_ms=end_ms)
        found = await alerts.anomalies(wanted, Page(limit=limit, before=read_cursor(cursor)))
        last = views.cursor(found[-1].start_ms, found[-1].id) if len(found) == limit else None
        intervals_ms = queries.intervals_ms([one.slot for one in found])
        items = [views.anomaly(*one) for one in zip(found, intervals_ms, strict=True)]
        return m.AnomalyPage(items=items, next_cursor=last)

    return [overview, anomalies]
