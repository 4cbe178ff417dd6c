"""Health and metrics: whether the loop turns, whether this process can do its job, and how it is doing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from litestar import Litestar, Response, get
from litestar.openapi import ResponseSpec
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from quantum.adapters.http import messages as m

if TYPE_CHECKING:
    from collections.abc import Iterable

    from litestar.handlers import HTTPRouteHandler
    from prometheus_client.metrics_core import Metric

TEXT: Final = "text/plain; version=0.0.4"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

Gauge = Callable[[], float | Mapping[str, float]]
"""Returns a number now, or one for each reason."""


class Vitals:
    """What a process knows of its own health.

    Attributes:
        started: true once everything is open and the pipeline has caught up.
        draining: true once it was told to stop.
        checks: by name, functions that return "ok" or what is wrong.
        degrading: as `checks`, of what may be away without keeping this process from taking in samples.
        gauges: of the process, by name; those ending in `_total` count.
        tenants: gauges of every tenant, the same of each; their names are a label where there are several.
        registry: of the metrics; every process, and every test, has its own.
    """

    def __init__(
        self,
        checks: Mapping[str, Callable[[], str]],
        gauges: Mapping[str, Gauge],
        version: str,
        tenants: Mapping[str, Mapping[str, Gauge]],
    ) -> None:
        self.started = False
        self.draining = False
        self.checks = checks
        self.degrading: Mapping[str, Callable[[], str]] = {}
        self.gauges = gauges
        self.tenants = tenants
        self.version = version
        self.registry = CollectorRegistry()
        self._requests = Histogram(
            "quantum_http_request_seconds",
            "Time to answer requests, by route.",
            ("method", "route", "status"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._refused = Counter(
            "quantum_refused_requests",
            "Requests that were refused as a whole, by reason.",
            ("reason",),
            registry=self.registry,
        )
        self.registry.register(self)

    def observe(self, method: str, route: str, status: int, seconds: float, reason: str = "") -> None:
        """Count a request that was answered; status 0 means that the asker had gone, a reason that it was refused."""
        known = method if method in METHODS else "other"
        self._requests.labels(known, route, str(status)).observe(seconds)
        if reason:
            self._refused.labels(reason).inc()

    def health(self) -> m.Health:
        """Return whether this process can do its job."""
        found = {name: check() for name, check in self.checks.items()}
        found["started"] = "ok" if self.started else "starting"
        found["draining"] = "shutting down" if self.draining else "ok"
        ready = all(state == "ok" for state in found.values())
        degraded = [f"{name}: {state}" for name, check in self.degrading.items() if (state := check()) != "ok"]
        return m.Health(status="ok" if ready else "unavailable", checks=found, degraded=degraded)

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics of this process, for prometheus_client."""
        build = GaugeMetricFamily("quantum_build_info", "Version of this process.", labels=["version"])
        build.add_metric([self.version], 1)
        yield build
        for name, read in self.gauges.items():
            yield _family(name, {(): read()})
        tenants = [((tenant,) if len(self.tenants) > 1 else (), gauges) for tenant, gauges in self.tenants.items()]
        for name in tenants[0][1]:
            yield _family(name, {tenant: gauges[name]() for tenant, gauges in tenants})


def _family(name: str, found: Mapping[tuple[str, ...], float | Mapping[str, float]]) -> Metric:
    """Return a metric of the process, or of one or several tenants: values by tenant and by reason."""
    kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    is_by_reason = any(isinstance(now, Mapping) for now in found.values())
    labels = ["tenant"] * len(next(iter(found))) + ["reason"] * is_by_reason
    family: Metric = kind(name, name.removeprefix("quantum_").replace("_", " "), labels=labels)
    for tenant, now in found.items():
        for reason, value in now.items() if isinstance(now, Mapping) else (("", now),):
            family.add_metric([*tenant, reason] if is_by_reason else [*tenant], value)  # type: ignore[attr-defined]
    return family


def health_app(vitals: Vitals) -> Litestar:
    """Return the application of a process that serves nothing else."""
    return Litestar([*health_routes(vitals)], logging_config=None, openapi_config=None)


def health_routes(vitals: Vitals) -> list[HTTPRouteHandler]:
    """Return the handlers."""

    @get("/livez", operation_id="livez", tags=["health"], summary="The event loop turns", media_type="text/plain")
    async def livez() -> str:
        return "ok"

    unready = {503: ResponseSpec(m.Health, description="Not now; the checks say why")}

    @get("/readyz", operation_id="readyz", tags=["health"], summary="This process can do its job", responses=unready)
    async def readyz() -> Response[m.Health]:
        health = vitals.health()
        return Response(health, status_code=200 if health.status == "ok" else 503)

    @get("/startupz", operation_id="startupz", tags=["health"], summary="Everything is open", responses=unready)
    async def startupz() -> Response[m.Health]:
        return Response(vitals.health(), status_code=200 if vitals.started else 503)

    @get("/metrics", operation_id="metrics", tags=["health"], summary="Metrics of this process", media_type=TEXT)
    async def metrics() -> Response[str]:
        return Response(generate_latest(vitals.registry).decode(), media_type=TEXT)

    return [livez, readyz, startupz, metrics]
