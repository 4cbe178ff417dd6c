"""Health and metrics: whether the loop turns, whether this process can do its job, and how it is doing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from litestar import Response, get
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from quantum.adapters.http import messages as m

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from litestar.handlers import HTTPRouteHandler
    from prometheus_client.metrics_core import Metric

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"


class Vitals:
    """What a process knows of its own health.

    Attributes:
        started: true once everything is open and the pipeline has caught up.
        draining: true once it was told to stop.
        checks: by name, functions that return "ok" or what is wrong.
        gauges: by name, functions that return a number now; names ending in `_total` are counters.
    """

    def __init__(
        self, checks: Mapping[str, Callable[[], str]], gauges: Mapping[str, Callable[[], float]], version: str
    ) -> None:
        self.started = False
        self.draining = False
        self.checks = checks
        self.gauges = gauges
        self.version = version

    def health(self) -> m.Health:
        """Return whether this process can do its job."""
        found = {name: check() for name, check in self.checks.items()}
        found["started"] = "ok" if self.started else "starting"
        found["draining"] = "shutting down" if self.draining else "ok"
        ready = all(state == "ok" for state in found.values())
        return m.Health(status="ok" if ready else "unavailable", checks=found, degraded=[])

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics of this process, for prometheus_client."""
        build = GaugeMetricFamily("quantum_build_info", "Version of this process.", labels=["version"])
        build.add_metric([self.version], 1)
        yield build
        for name, read in self.gauges.items():
            description = name.removeprefix("quantum_").replace("_", " ")
            if name.endswith("_total"):
                yield CounterMetricFamily(name, description, read())
            else:
                yield GaugeMetricFamily(name, description, read())


def health_routes(vitals: Vitals) -> list[HTTPRouteHandler]:
    """Return the handlers."""
    registry = CollectorRegistry()
    registry.register(vitals)

    @get("/livez", operation_id="livez", tags=["health"], summary="The event loop turns", media_type="text/plain")
    async def livez() -> str:
        return "ok"

    @get("/readyz", operation_id="readyz", tags=["health"], summary="This process can do its job")
    async def readyz() -> Response[m.Health]:
        health = vitals.health()
        return Response(health, status_code=200 if health.status == "ok" else 503)

    @get("/startupz", operation_id="startupz", tags=["health"], summary="Everything is open")
    async def startupz() -> Response[m.Health]:
        return Response(vitals.health(), status_code=200 if vitals.started else 503)

    @get("/metrics", operation_id="metrics", tags=["health"], summary="Metrics of this process", media_type=TEXT)
    async def metrics() -> Response[Any]:
        return Response(generate_latest(registry), media_type=TEXT)

    return [livez, readyz, startupz, metrics]
