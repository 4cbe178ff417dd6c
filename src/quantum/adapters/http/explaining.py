"""Reading: why a series stood out, what moved, what is expected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from litestar import get
from litestar.params import QueryParameter

from quantum.adapters.http import messages as m
from quantum.adapters.http import views
from quantum.adapters.http.parameters import FingerprintPath, Limit, Time
from quantum.application.forecasting import MAX_HORIZON_MS, MIN_HORIZON_MS

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from quantum.application.forecasting import Forecasts
    from quantum.application.queries import Queries
    from quantum.application.why import Why


def explaining_routes(queries: Queries, why: Why, forecasts: Forecasts) -> list[HTTPRouteHandler]:
    """Return the handlers of explanations and forecasts."""

    @get(
        "/api/v1/series/{fingerprint:str}/why",
        operation_id="getWhy",
        tags=["reading"],
        summary="Why a series stood out at a time",
    )
    async def why_then(fingerprint: FingerprintPath, at_ms: Time) -> m.WhyCard:
        return views.why_card(await why.of_anomaly(queries.slot(int(fingerprint, 16)), at_ms))

    @get(
        "/api/v1/series/{fingerprint:str}/forecast",
        operation_id="getForecast",
        tags=["reading"],
        summary="What is expected, with bands, and when a limit is reached",
    )
    async def forecast(
        fingerprint: FingerprintPath,
        horizon_ms: Annotated[int, QueryParameter(ge=MIN_HORIZON_MS, le=MAX_HORIZON_MS, description="How far ahead")],
        quantile: Annotated[float, QueryParameter(ge=0.5, le=0.99, description="Share of bands that hold")] = 0.9,
        limit: Annotated[float | None, QueryParameter(ge=-1e300, le=1e300, description="What may be reached")] = None,
    ) -> m.ForecastItem:
        return views.forecast(await forecasts.of(queries.slot(int(fingerprint, 16)), horizon_ms, quantile, limit))

    @get("/api/v1/what-moved", operation_id="getWhatMoved", tags=["reading"], summary="Oddest series of a window")
    async def what_moved(start_ms: Time, end_ms: Time, limit: Limit = 50) -> m.MovedList:
        return m.MovedList(items=[views.moved(one) for one in await why.moved(start_ms, end_ms, limit)])

    return [why_then, forecast, what_moved]
