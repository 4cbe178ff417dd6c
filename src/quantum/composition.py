"""The object graph: settings in, connected but unopened objects out. The only module that knows dependency-injector.

There are two containers: `Process` has what a process has once, `Workspace` what each tenant has for itself, from the
store to the handlers of requests. A workspace knows no other, so nothing in it can mix up whose data it has.

Nothing here does I/O; `roles.py` opens what has to be opened, in order. Heavy libraries are imported inside the
functions that need them.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog
from dependency_injector import containers, providers

from quantum.adapters import footprint, wire
from quantum.adapters.addresses import Reach
from quantum.adapters.http.bodies import Bounds
from quantum.adapters.http.live import LiveSockets
from quantum.adapters.http.login import SignIn
from quantum.adapters.http.ways import Forwarder
from quantum.adapters.linear_patterns import full_match, groups_of
from quantum.adapters.memory import MemoryFeed, MemoryStream, SystemClock
from quantum.adapters.oidc import Oidc
from quantum.adapters.plugins import find_detector
from quantum.adapters.scrape import Scraper
from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.adapters.statsd import Gathered
from quantum.adapters.stub_auth import StubIdentity
from quantum.adapters.time_zones import civil_time
from quantum.adapters.training_process import lacking, train_apart
from quantum.adapters.webhook import Webhooks
from quantum.application.api_keys import Admission, ApiKeys, KeyOwners
from quantum.application.budgets import Budgets
from quantum.application.control import Control
from quantum.application.denials import Attendances, Denials, Doorkeeper
from quantum.application.following import Mirror
from quantum.application.forecasting import Forecasts
from quantum.application.headroom import Headroom, coming_bytes
from quantum.application.ingest import Ingest, Limits
from quantum.application.keeping import Keeping
from quantum.application.models import Models
from quantum.application.monitoring import Monitor, StateCodec, follow_all
from quantum.application.notifying import Notifier
from quantum.application.publishing import Publisher
from quantum.application.queries import Queries
from quantum.application.quotas import Quotas, Rates
from quantum.application.routing import Routing
from quantum.application.scoring import LaneWork, Scoring
from quantum.application.sessions import Lifetimes, Sessions
from quantum.application.shadows import Shadows
from quantum.application.silencing import Silencing
from quantum.application.teaching import Teaching
from quantum.application.tickets import Tickets
from quantum.application.timemachine import TimeMachine
from quantum.application.training import TrainingRuns
from quantum.application.upkeep import Upkeep
from quantum.application.why import Why
from quantum.connected import (
    GATEWAY,
    build_cluster,
    build_counters,
    build_feed,
    build_lanes,
    build_publication,
    build_reader,
    build_relay,
    build_transients,
)
from quantum.domain.detectors.elsewhere import Elsewhere, Unscored
from quantum.domain.labels import MatcherCompiler
from quantum.domain.lanes import Lane
from quantum.domain.pipeline import Pipeline
from quantum.domain.retention import Retention
from quantum.measured import (
    build_gateway_gauges,
    build_gateway_vitals,
    build_gauges,
    build_vitals,
    build_worker_gauges,
    build_worker_vitals,
)
from quantum.served import build_app, build_room
from quantum.settings import Retention as Terms
from quantum.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from quantum.adapters.kafka import KafkaLanes, KafkaPublication, KafkaWork
    from quantum.adapters.keycloak import Keycloak
    from quantum.adapters.postgres import PostgresFollower, PostgresReader, PostgresStore
    from quantum.adapters.scrape_targets import Target
    from quantum.adapters.traces import TracedLanes, TracedLog, TracedReceiver, TracedStream, Traces
    from quantum.application.monitoring import Follow
    from quantum.application.ports import Clock, EventStream, FactLog, TransientStore
    from quantum.application.promql import PromQueries
    from quantum.domain.detectors import Detector
    from quantum.domain.detectors.tiered import Tiered

    Store = SqliteStore | PostgresStore | PostgresFollower


def store_path(settings: Settings, tenant: str) -> str:
    """Return where the embedded store keeps the file of a tenant."""
    if settings.store.kind == "memory":
        return MEMORY
    folder = Path(settings.data_dir)
    return str(folder / "quantum.db" if tenant == settings.store.tenant else folder / "tenants" / f"{tenant}.db")


def build_sqlite(settings: Settings, tenant: str) -> SqliteStore:
    """Return a tenant's embedded store."""
    return SqliteStore(store_path(settings, tenant), tenant)


def sight_path(settings: Settings, tenant: str) -> Path:
    """Return where a writer on a PostgreSQL database keeps how far it has seen the log of a tenant."""
    return Path(settings.data_dir) / "seen" / f"{tenant}.json"


def build_postgres(settings: Settings, tenant: str, role: str) -> PostgresStore | PostgresFollower:
    """Return a tenant's store on a PostgreSQL database; a gateway only reads there."""
    from quantum.adapters.postgres import Patience, PostgresFollower, PostgresStore  # noqa: PLC0415 - imports the driver

    patience = Patience(start_ms=settings.store.wait_ms)
    if role == GATEWAY:
        return PostgresFollower(settings.store.url, tenant, patience)
    return PostgresStore(settings.store.url, tenant, patience, sight_path(settings, tenant), settings.store.accept_loss)


def build_full_detector(settings: Settings) -> Detector:
    """Return the detector of the full tier by itself: what scores on demand under its name."""
    return find_detector(settings.detection.detector)()


def build_detector(settings: Settings) -> Tiered:
    """Return the detectors of both tiers, as one."""
    from quantum.domain.detectors.robust_seasonal import RobustSeasonal  # noqa: PLC0415 - imports numba, a second
    from quantum.domain.detectors.tiered import Tiered  # noqa: PLC0415 - as above

    # without it another tenant's thread may wait 4 ms on the processor of whoever scores, though another one is free
    let_others = os.sched_yield if len(settings.served) > 1 else None
    return Tiered(build_full_detector(settings), RobustSeasonal(), let_others)


def build_elsewhere(settings: Settings) -> Elsewhere:
    """Return what stands for the detectors where others have them."""
    detector = build_detector(settings)
    return Elsewhere(detector.name, detector.version)


def build_unscored(settings: Settings) -> Unscored:
    """Return what stands for the detectors where nothing is scored."""
    detector = build_detector(settings)
    return Unscored(detector.name, detector.version)


def build_work(settings: Settings, reader: PostgresReader, compiler: MatcherCompiler) -> LaneWork:
    """Return what does the tasks of lanes."""
    lanes = settings.stream.lanes
    return LaneWork(reader, lambda lane: Lane(lane, lanes, build_detector(settings), compiler), wire.unpack_state)


def build_worker(settings: Settings, tenant: str, work: LaneWork, traces: Traces | None) -> KafkaWork:
    """Return a tenant's worker in the role `ml`."""
    from quantum.adapters.kafka import KafkaWork, Membership  # noqa: PLC0415 - imports the driver

    membership = Membership(settings.stream.member, settings.stream.away_ms)
    follow = traces.task if traces else nullcontext
    return KafkaWork(build_cluster(settings), tenant, settings.stream.lanes, work, membership, follow)


def build_limits(settings: Settings) -> Limits:
    """Return what ingest accepts."""
    asked = settings.limits
    return Limits(
        max_series=asked.max_series,
        max_samples_per_s=asked.max_samples_per_s,
        max_series_per_request=asked.max_series_per_request,
        max_samples_per_request=asked.max_samples_per_request,
        max_future_ms=asked.max_future_ms,
        max_age_ms=asked.max_age_ms,
    )


def build_headroom(settings: Settings) -> Headroom:
    """Return what this process has left for new series."""
    asked = settings.limits
    max_bytes = asked.max_memory_bytes or int(footprint.SHARE * footprint.allowed_bytes())
    return Headroom(asked.max_process_series, max_bytes, footprint.resident_bytes)


def build_ingest(
    settings: Settings,
    log: FactLog,
    stream: EventStream,
    clock: SystemClock,
    keeping: Keeping,
    monitor: Monitor,
    headroom: Headroom,
) -> Ingest:
    """Return what takes a tenant's samples in; the process counts its series from now on."""
    ingest = Ingest(log, stream, clock, build_limits(settings), keeping.count_bare, headroom)
    headroom.admit(lambda: ingest.series, lambda: coming_bytes(monitor.pipeline.coverage.counts(), ingest.series))
    return ingest


def build_gathered(clock: SystemClock) -> Gathered:
    """Return what gathers the events of StatsD."""
    return Gathered(clock.now_ms())


def build_scraper(settings: Settings, ingest: Ingest, clock: SystemClock) -> Scraper:
    """Return what asks targets for their metrics."""
    log = structlog.get_logger("quantum.scrape")

    def say(target: Target) -> None:
        if target.error:
            log.warning("a target does not answer", job=target.job.job, url=target.url, error=target.error)
        else:
            log.info("a target answers", job=target.job.job, url=target.url, samples=target.samples)

    def complain(problem: str) -> None:
        log.warning("a target is left out", problem=problem)

    reach = Reach.of(*settings.outgoing.scrape_networks, setting="outgoing.scrape_networks")
    return Scraper([one.as_job() for one in settings.scrape], ingest, clock, say, complain, reach)


def build_traces(settings: Settings, role: str) -> Traces | None:
    """Return what follows requests, if somebody wants to know."""
    if not settings.traces.url:
        return None
    from quantum.adapters.traces import Traces  # noqa: PLC0415 - imports the libraries

    return Traces(settings.traces.url, settings.traces.ratio, version("quantum"), role)


def traced_log(traces: Traces | None, store: Store) -> Store | TracedLog:
    """Return the log for what is asked for in requests."""
    return traces.log(store) if traces else store


def traced_stream(traces: Traces | None, tenant: str) -> MemoryStream | TracedStream:
    """Return a tenant's stream."""
    stream = MemoryStream()
    return traces.stream(stream, tenant) if traces else stream


def traced_lanes(traces: Traces | None, lanes: KafkaLanes) -> KafkaLanes | TracedLanes:
    """Return what asks the workers of a tenant."""
    return traces.lanes(lanes) if traces else lanes


def traced_receiver(traces: Traces | None, webhooks: Webhooks) -> Webhooks | TracedReceiver:
    """Return what delivers notifications."""
    return traces.receiver(webhooks) if traces else webhooks


def traced_scoring(traces: Traces | None, tenant: str) -> Follow | None:
    """Return what follows a tenant's facts through the pipeline."""
    return traces.scoring(tenant) if traces else None


def build_publisher(
    store: Store, machine: TimeMachine, publication: KafkaPublication | None, clock: SystemClock
) -> Publisher | None:
    """Return what publishes what is known of a tenant, if there are topics for it."""
    return Publisher(store, store, store, machine, publication, clock) if publication else None


def build_follow(traced: Follow | None, publisher: Publisher | None) -> Follow | None:
    """Return what is told of a tenant's facts before and after the pipeline has taken them in."""
    followers = [one for one in (traced, publisher and publisher.follow) if one]
    return follow_all(followers) if followers else None


def build_publishing_lag(publisher: Publisher | None) -> Callable[[], int | None]:
    """Return what says how far publishing is behind; None where nothing is published."""
    return publisher.lag_ms if publisher else lambda: None


def build_webhooks(reach: Reach, traces: Traces | None) -> Webhooks:
    """Return what receivers are told by."""
    return Webhooks(reach, headers=traces.headers) if traces else Webhooks(reach)


def build_rates(settings: Settings) -> Rates:
    """Return how many requests a second each may make."""
    asked = settings.rates
    return Rates(key_per_s=asked.key_per_s, user_per_s=asked.user_per_s, tenant_per_s=asked.tenant_per_s)


def build_reach(settings: Settings) -> Reach:
    """Return where notifications may go."""
    return Reach.of(*settings.outgoing.webhook_networks, setting="outgoing.webhook_networks")


def build_bounds(settings: Settings) -> Bounds:
    """Return the bounds of a tenant's bodies: each has its share of what all together may hold, so none has it all."""
    asked = settings.limits
    share = max(asked.max_in_flight_bytes // len(settings.served), asked.max_body_bytes + asked.max_decoded_bytes)
    return Bounds(asked.max_body_bytes, asked.max_decoded_bytes, min(share, asked.max_in_flight_bytes))


def build_shadows(store: Store, stream: MemoryStream, monitor: Monitor, compiler: MatcherCompiler) -> Shadows:
    """Return what lets versions watch that are not promoted."""
    return Shadows(store, store, stream, lambda: monitor.pipeline.labels, compiler)


def build_training(
    store: Store,
    feed: MemoryFeed,
    clock: SystemClock,
    monitor: Monitor,
    shadows: Shadows,
    compiler: MatcherCompiler,
    detector: Callable[[], Detector],
    control: Control,
) -> TrainingRuns:
    """Return what trains models, one at a time, each in a process of its own."""
    return TrainingRuns(
        store,
        store,
        feed,
        clock,
        train_apart,
        lambda: monitor.pipeline.labels,
        lambda: monitor.pipeline.models,
        compiler,
        version("quantum"),
        shadows.refresh,
        frozenset({detector().name, "coverage"}),
        lacking,
        control.append,
    )


def build_keycloak(settings: Settings, clock: SystemClock) -> Keycloak:
    """Return what judges access tokens."""
    from quantum.adapters.keycloak import Keycloak, Trust  # noqa: PLC0415 - imports cryptography

    asked = settings.auth
    trust = Trust(
        issuer=asked.issuer,
        audience=asked.audience,
        clients=frozenset(asked.clients),
        tenant_claim=asked.tenant_claim,
        tenant=settings.store.tenant,
    )
    return Keycloak(trust, clock)


def build_oidc(settings: Settings, keycloak: Keycloak, clock: SystemClock) -> Oidc:
    """Return what the identity provider is asked for by a browser that signs in."""
    return Oidc(settings.auth.issuer, settings.auth.dashboard_client, keycloak.check_id_token, clock)


def build_sessions(
    settings: Settings, transients: TransientStore, keycloak: Keycloak, clock: SystemClock, oidc: Oidc
) -> Sessions:
    """Return who is signed in."""
    asked = settings.auth
    lifetimes = Lifetimes(idle_ms=1000 * asked.session_idle_s, longest_ms=1000 * asked.session_longest_s)
    return Sessions(transients, keycloak, clock, oidc.refresh, oidc.end, lifetimes)


def build_sign_in(
    settings: Settings, oidc: Oidc, keycloak: Keycloak, sessions: Sessions, workspaces: Mapping[str, Any]
) -> SignIn | None:
    """Return how browsers sign in; None where they cannot."""
    sockets = [one.sockets() for one in workspaces.values()]
    door = Doorkeeper(
        {tenant: one.denials() for tenant, one in workspaces.items()},
        {tenant: one.attendances() for tenant, one in workspaces.items()},
    )
    signs_in = bool(settings.auth.dashboard_client)
    return SignIn(oidc, keycloak.check_logout_token, sessions, sockets, door) if signs_in else None


def build_terms(settings: Settings, tenant: str) -> Terms:
    """Return how long a tenant's data is kept."""
    return settings.retention.of(tenant)


def build_keeping(asked: Terms, store: Store, monitor: Monitor, compiler: MatcherCompiler) -> Keeping:
    """Return what knows how long each series is kept."""
    return Keeping(
        Retention(asked.usual(), asked.parsed_rules(), compiler),
        store,
        lambda: monitor.pipeline.labels,
        lambda: monitor.pipeline.presence.newest_ms(),  # noqa: PLW0108 - the pipeline may be replaced
    )


def build_promql(store: Store, monitor: Monitor, compiler: MatcherCompiler, keeping: Keeping) -> PromQueries:
    """Return what answers PromQL."""
    from quantum.adapters.promql_parser import parse_promql  # noqa: PLC0415 - as below
    from quantum.application.promql import PromQueries  # noqa: PLC0415 - imports numba, a second

    return PromQueries(
        store,
        store,
        lambda: monitor.pipeline.labels,
        lambda: monitor.pipeline.presence.newest_ms(),  # noqa: PLW0108 - the pipeline may be replaced
        compiler,
        parse_promql,
        groups_of,
        keeping.with_data,
    )


class Workspace(containers.DeclarativeContainer):
    """Everything that one tenant has for itself."""

    settings = providers.Dependency(instance_of=Settings)
    tenant = providers.Dependency(instance_of=str)
    role = providers.Dependency(instance_of=str)
    # shared by all tenants of the process; none of it keeps data
    clock: providers.Dependency[Clock] = providers.Dependency()
    reach = providers.Dependency(instance_of=Reach)
    webhooks = providers.Dependency(instance_of=Webhooks)
    compiler = providers.Dependency(instance_of=MatcherCompiler)
    quotas = providers.Dependency(instance_of=Quotas)
    owners = providers.Dependency(instance_of=KeyOwners)
    headroom = providers.Dependency(instance_of=Headroom)

    store = providers.Selector(
        settings.provided.store.kind,
        memory=providers.Singleton(build_sqlite, settings, tenant),
        sqlite=providers.Singleton(build_sqlite, settings, tenant),
        postgres=providers.Singleton(build_postgres, settings, tenant, role),
    )
    traces: providers.Dependency[Any] = providers.Dependency()
    stream = providers.Singleton(traced_stream, traces, tenant)
    log = providers.Singleton(traced_log, traces, store)
    feed = providers.Singleton(build_feed, settings, tenant, role)
    relay = providers.Singleton(build_relay, settings, tenant, feed)
    codec = providers.Singleton(StateCodec, providers.Object(wire.pack_state), providers.Object(wire.unpack_state))

    full_detector = providers.Factory(build_full_detector, settings)
    detector = providers.Factory(build_detector, settings)
    pipeline = providers.Factory(Pipeline, detector, compiler)
    elsewhere = providers.Factory(Pipeline, providers.Factory(build_elsewhere, settings), compiler)
    lanes = providers.Singleton(build_lanes, settings, tenant)
    scoring = providers.Selector(
        role,
        all=providers.Object(None),
        gateway=providers.Object(None),
        monitoring=providers.Singleton(
            Scoring, providers.Singleton(traced_lanes, traces, lanes), store.provided.as_writer
        ),
    )
    unscored = providers.Factory(Pipeline, providers.Factory(build_unscored, settings), compiler)
    live_pipeline = providers.Selector(role, all=pipeline, gateway=unscored, monitoring=elsewhere)
    reader = providers.Singleton(build_reader, settings, tenant)
    work = providers.Singleton(build_work, settings, reader, compiler)
    worker = providers.Singleton(build_worker, settings, tenant, work, traces)
    worker_gauges = providers.Singleton(build_worker_gauges, work, worker)

    machine = providers.Singleton(TimeMachine, store, store, store, store, pipeline.provider, codec)
    publication = providers.Singleton(build_publication, settings, tenant, role)
    publisher = providers.Singleton(build_publisher, store, machine, publication, clock)

    terms = providers.Singleton(build_terms, settings, tenant)
    monitor = providers.Singleton(
        Monitor,
        store,
        store,
        store,
        store,
        stream,
        feed,
        clock,
        live_pipeline.provider,
        codec,
        terms.provided.keep_log_ms,
        scoring,
        providers.Singleton(build_follow, providers.Singleton(traced_scoring, traces, tenant), publisher),
        providers.Callable(build_publishing_lag, publisher),
    )
    mirror = providers.Singleton(Mirror, store, store.provided.follow, monitor, clock)
    keeping = providers.Singleton(build_keeping, terms, store, monitor, compiler)
    ingest = providers.Singleton(build_ingest, settings, log, stream, clock, keeping, monitor, headroom)
    upkeep = providers.Singleton(
        Upkeep,
        store,
        store,
        store,
        store,
        store,
        clock,
        keeping,
        terms.provided.keep_ms,
        store,
        terms.provided.keep_audit_ms,
    )
    control = providers.Singleton(Control, log, stream, clock, monitor)
    denials = providers.Singleton(Denials, store, stream, clock)
    attendances = providers.Singleton(Attendances, store, stream, clock)
    keys = providers.Singleton(ApiKeys, control, monitor, clock, tenant, owners)
    notifier = providers.Singleton(
        Notifier,
        store,
        providers.Singleton(traced_receiver, traces, webhooks),
        control.provided.receivers,
        clock,
        providers.Singleton(np.random.default_rng),
    )
    queries = providers.Singleton(Queries, store, store, store, monitor, compiler, keeping.provided.with_data)
    budgets = providers.Singleton(Budgets, store, monitor, clock)
    forecasts = providers.Singleton(Forecasts, store, queries)
    civil = providers.Singleton(civil_time, settings.provided.clocks.of.call(tenant))
    why = providers.Singleton(Why, store, store, monitor, queries, civil)
    promql = providers.Singleton(build_promql, store, monitor, compiler, keeping)
    shadows = providers.Singleton(build_shadows, store, stream, monitor, compiler)
    models = providers.Singleton(
        Models, store, store, control, monitor, machine, shadows, clock, full_detector.provider, compiler
    )
    teaching = providers.Singleton(Teaching, store, control, monitor, machine, clock, compiler)
    silencing = providers.Singleton(Silencing, control, monitor, store, compiler, clock, providers.Object(civil_time))
    routing = providers.Singleton(Routing, control, monitor, compiler)
    training = providers.Singleton(
        build_training, store, feed, clock, monitor, shadows, compiler, full_detector.provider, control
    )

    bounds = providers.Singleton(build_bounds, settings)
    gathered = providers.Singleton(build_gathered, clock)
    scraper = providers.Singleton(build_scraper, settings, ingest, clock)
    own_sockets = providers.Singleton(LiveSockets, feed, queries, clock)
    sockets = providers.Selector(
        role,
        all=own_sockets,
        gateway=providers.Singleton(LiveSockets, feed, queries, clock, mirror.provided.follow),
        monitoring=own_sockets,
    )
    gauges = providers.Singleton(
        build_gauges, monitor, ingest, feed, bounds, sockets, quotas, headroom, scoring, publisher
    )
    gateway_gauges = providers.Singleton(build_gateway_gauges, monitor, feed, sockets, quotas, relay)
    room = providers.Singleton(
        build_room,
        store,
        ingest,
        queries,
        why,
        forecasts,
        budgets,
        control,
        machine,
        keys,
        sockets,
        bounds,
        promql,
        clock,
        reach,
        models,
        teaching,
        silencing,
        routing,
        monitor,
        training,
        denials,
    )


def build_workspaces(settings: Settings, **shared: object) -> dict[str, Any]:
    """Return a workspace for every tenant, that of `store.tenant` first."""
    return {tenant: Workspace(settings=settings, tenant=tenant, **shared) for tenant in settings.served}


def build_keys(workspaces: Mapping[str, Any]) -> dict[str, ApiKeys]:
    """Return the keys of every tenant."""
    return {tenant: one.keys() for tenant, one in workspaces.items()}


class Process(containers.DeclarativeContainer):
    """Everything that a process has once, in any role, and the workspaces of its tenants."""

    settings = providers.Dependency(instance_of=Settings)
    role = providers.Dependency(instance_of=str)

    clock = providers.Singleton(SystemClock)
    transients = providers.Singleton(build_transients, settings, clock)
    keycloak = providers.Singleton(build_keycloak, settings, clock)
    oidc = providers.Singleton(build_oidc, settings, keycloak, clock)
    sessions = providers.Singleton(build_sessions, settings, transients, keycloak, clock, oidc)
    identity = providers.Selector(
        settings.provided.auth.mode,
        stub=providers.Singleton(StubIdentity, settings.provided.store.tenant),
        keycloak=sessions,
    )
    reach = providers.Singleton(build_reach, settings)
    traces = providers.Singleton(build_traces, settings, role)
    webhooks = providers.Singleton(build_webhooks, reach, traces)
    compiler = providers.Singleton(MatcherCompiler, providers.Object(full_match))
    counters = providers.Singleton(build_counters, settings)
    quotas = providers.Singleton(Quotas, counters, providers.Callable(build_rates, settings))
    owners = providers.Singleton(KeyOwners)
    headroom = providers.Singleton(build_headroom, settings)

    workspaces = providers.Singleton(
        build_workspaces,
        settings,
        role=role,
        clock=clock,
        reach=reach,
        webhooks=webhooks,
        traces=traces,
        compiler=compiler,
        quotas=quotas,
        owners=owners,
        headroom=headroom,
    )
    admission = providers.Singleton(Admission, providers.Callable(build_keys, workspaces), owners, identity)
    forwarder = providers.Selector(
        role,
        all=providers.Object(None),
        gateway=providers.Singleton(Forwarder, settings.provided.gateway.writers),
        monitoring=providers.Object(None),
    )
    vitals = providers.Selector(
        role,
        all=providers.Singleton(build_vitals, settings, workspaces, counters),
        gateway=providers.Singleton(build_gateway_vitals, workspaces, counters, forwarder),
        monitoring=providers.Singleton(build_vitals, settings, workspaces, counters),
    )
    worker_vitals = providers.Singleton(build_worker_vitals, workspaces)
    tickets = providers.Singleton(Tickets, transients, admission, clock)
    sign_in = providers.Selector(
        settings.provided.auth.mode,
        stub=providers.Object(None),
        keycloak=providers.Singleton(build_sign_in, settings, oidc, keycloak, sessions, workspaces),
    )
    app = providers.Singleton(
        build_app, settings, workspaces, admission, tickets, sign_in, vitals, quotas, forwarder, traces
    )


def build_workspace(settings: Settings, tenant: str | None = None) -> Any:
    """Return one tenant's workspace, by default that of `store.tenant`; its members are made when first asked for."""
    return build(settings).workspaces()[tenant or settings.store.tenant]


def build(settings: Settings, role: str = "all") -> Any:
    """Return the container of a process; its members are made when they are first asked for."""
    return Process(settings=settings, role=role)
