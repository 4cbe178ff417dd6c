"""What is served: the handlers of each tenant's requests, and the HTTP application around them."""

from __future__ import annotations

from importlib.metadata import version
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from quantum.adapters.http.alerts import alert_routes, incident_list_routes
from quantum.adapters.http.api_keys import api_key_routes
from quantum.adapters.http.app import Room, create_app, session_route
from quantum.adapters.http.audit import audit_route
from quantum.adapters.http.control import incident_routes, policy_routes, receiver_routes, replay_routes
from quantum.adapters.http.explaining import explaining_routes
from quantum.adapters.http.health import Vitals, health_routes
from quantum.adapters.http.influx import influx_routes
from quantum.adapters.http.ingest import ingest_routes
from quantum.adapters.http.live import LiveSockets, live_route
from quantum.adapters.http.login import LOGIN, SignIn, back_channel_route, login_routes, logout_route
from quantum.adapters.http.models import model_routes, training_routes
from quantum.adapters.http.otlp import otlp_routes
from quantum.adapters.http.prometheus_api import prometheus_routes
from quantum.adapters.http.proxies import Proxies
from quantum.adapters.http.routes import route_routes
from quantum.adapters.http.series import coverage_routes, series_routes
from quantum.adapters.http.silences import silence_routes
from quantum.adapters.http.situation import situation_routes
from quantum.adapters.http.teaching import teaching_routes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from litestar import Litestar
    from litestar.handlers import HTTPRouteHandler

    from quantum.adapters.addresses import Reach
    from quantum.adapters.http.bodies import Bounds
    from quantum.adapters.http.ways import Forwarder
    from quantum.adapters.memory import SystemClock
    from quantum.adapters.postgres import PostgresFollower, PostgresStore
    from quantum.adapters.sqlite import SqliteStore
    from quantum.adapters.traces import Traces
    from quantum.application.api_keys import Admission, ApiKeys
    from quantum.application.budgets import Budgets
    from quantum.application.control import Control
    from quantum.application.denials import Denials
    from quantum.application.forecasting import Forecasts
    from quantum.application.ingest import Ingest
    from quantum.application.models import Models
    from quantum.application.monitoring import Monitor
    from quantum.application.promql import PromQueries
    from quantum.application.queries import Queries
    from quantum.application.quotas import Quotas
    from quantum.application.routing import Routing
    from quantum.application.silencing import Silencing
    from quantum.application.teaching import Teaching
    from quantum.application.tickets import Tickets
    from quantum.application.timemachine import TimeMachine
    from quantum.application.training import TrainingRuns
    from quantum.application.why import Why
    from quantum.settings import Settings

    Store = SqliteStore | PostgresStore | PostgresFollower


def build_room(
    store: Store,
    ingest: Ingest,
    queries: Queries,
    why: Why,
    forecasts: Forecasts,
    budgets: Budgets,
    control: Control,
    machine: TimeMachine,
    keys: ApiKeys,
    sockets: LiveSockets,
    bounds: Bounds,
    promql: PromQueries,
    clock: SystemClock,
    reach: Reach,
    models: Models,
    teaching: Teaching,
    silencing: Silencing,
    routing: Routing,
    monitor: Monitor,
    training: TrainingRuns,
    denials: Denials,
) -> Room:
    """Return the handlers of a tenant's requests."""
    release = version("quantum")
    return Room(
        raw_routes=[
            *_ways_in(ingest, bounds, clock, release),
            live_route(sockets),
            *prometheus_routes(promql, clock, release),
        ],
        json_routes=[
            *_reading(queries, why, forecasts, store, release),
            *alert_routes(store, store, why, silencing),
            *incident_list_routes(store),
            *policy_routes(control, budgets),
            *teaching_routes(teaching),
            *silence_routes(silencing),
            *route_routes(routing),
            *receiver_routes(control, reach),
            *incident_routes(control, store),
            *replay_routes(machine, control),
            *model_routes(models, monitor),
            *training_routes(training),
            audit_route(store),
            *api_key_routes(keys),
        ],
        denials=denials,
    )


def _ways_in(ingest: Ingest, bounds: Bounds, clock: SystemClock, release: str) -> list[HTTPRouteHandler]:
    """Return the handlers of samples that come."""
    return [
        *ingest_routes(ingest, bounds),
        *influx_routes(ingest, bounds, clock, release),
        *otlp_routes(ingest, bounds),
    ]


def _reading(queries: Queries, why: Why, forecasts: Forecasts, store: Store, release: str) -> list[HTTPRouteHandler]:
    """Return the handlers of what is known of series."""
    return [
        *situation_routes(queries, store, release),
        *series_routes(queries),
        *coverage_routes(queries),
        *explaining_routes(queries, why, forecasts),
    ]


def build_app(
    settings: Settings,
    workspaces: Mapping[str, Any],
    identity: Admission,
    tickets: Tickets,
    sign_in: SignIn | None,
    vitals: Vitals,
    quotas: Quotas,
    forwarder: Forwarder | None,
    traces: Traces | None,
) -> Litestar:
    """Return the HTTP application."""
    rooms = {tenant: one.room() for tenant, one in workspaces.items()}
    of_strangers = next(iter(rooms.values())).denials
    return create_app(
        rooms=rooms,
        raw_routes=[*health_routes(vitals), *login_routes(sign_in), back_channel_route(sign_in)],
        json_routes=[session_route(identity, LOGIN if sign_in else "", of_strangers), logout_route(sign_in)],
        allowed_hosts=frozenset((*settings.server.allowed_hosts, settings.server.host)),
        allowed_origins=frozenset(settings.server.allowed_origins),
        identity=identity,
        tickets=tickets,
        quotas=quotas,
        vitals=vitals,
        proxies=Proxies([ip_network(one) for one in settings.server.trusted_proxies]),
        forwarder=forwarder,
        traces=traces,
    )
