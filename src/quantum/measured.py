"""What is measured of a process and of each tenant in it, by role: names of metrics, and where their values are."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from quantum.adapters import footprint
from quantum.adapters.http.health import Gauge, Vitals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantum.adapters.http.bodies import Bounds
    from quantum.adapters.http.live import LiveSockets
    from quantum.adapters.http.ways import Forwarder
    from quantum.adapters.kafka import KafkaWork
    from quantum.adapters.memory import MemoryFeed
    from quantum.adapters.redis.feed import Relay
    from quantum.adapters.scrape import Scraper
    from quantum.adapters.statsd import Gathered
    from quantum.application.headroom import Headroom
    from quantum.application.ingest import Ingest
    from quantum.application.monitoring import Monitor
    from quantum.application.ports import Counters
    from quantum.application.publishing import Publisher
    from quantum.application.quotas import Quotas
    from quantum.application.scoring import LaneWork, Scoring
    from quantum.settings import Settings


def build_worker_gauges(work: LaneWork, worker: KafkaWork) -> dict[str, Gauge]:
    """Return what is measured of one tenant's worker."""
    return {
        "quantum_lane_tasks_total": lambda: float(work.done),
        "quantum_lane_rewinds_total": lambda: float(work.rewinds),
        "quantum_lane_dealings_total": lambda: float(worker.dealings),
        "quantum_lane_dead_letters_total": lambda: float(worker.letters),
        "quantum_lane_position": lambda: {str(lane): float(position) for lane, position in work.positions.items()},
    }


def build_worker_vitals(workspaces: Mapping[str, Any]) -> Vitals:
    """Return what a process of the role `ml` knows of its health."""
    tenants = {tenant: one.worker_gauges() for tenant, one in workspaces.items()}
    return Vitals({}, {}, version("quantum"), tenants)


def build_gauges(
    monitor: Monitor,
    ingest: Ingest,
    feed: MemoryFeed,
    bounds: Bounds,
    sockets: LiveSockets,
    quotas: Quotas,
    headroom: Headroom,
    scoring: Scoring | None,
    publisher: Publisher | None,
) -> dict[str, Gauge]:
    """Return what is measured of one tenant."""
    elsewhere: dict[str, Gauge] = {}
    if scoring is not None:
        elsewhere["quantum_lane_answers_total"] = lambda: float(scoring.answers)
        elsewhere["quantum_lane_failures_total"] = lambda: float(scoring.failures)
    if publisher is not None:
        elsewhere["quantum_published_position"] = lambda: float(publisher.published.position)
        elsewhere["quantum_publishing_lag_seconds"] = lambda: publisher.lag_ms() / 1000
        elsewhere["quantum_publishing_replays_total"] = lambda: float(publisher.replays)
    return elsewhere | {
        "quantum_ingested_samples_total": lambda: float(ingest.accepted),
        "quantum_refused_samples_total": lambda: {key: float(count) for key, count in ingest.refused.items()},
        "quantum_limits": lambda: {
            **ingest.limits.by_id(),
            **headroom.by_id(),
            **bounds.by_id(),
            **quotas.rates.by_id(),
        },
        "quantum_scored_samples_total": lambda: float(monitor.pipeline.samples),
        "quantum_series": lambda: float(len(monitor.pipeline.labels)),
        "quantum_series_by_tier": lambda: {key: float(n) for key, n in monitor.pipeline.coverage.counts().items()},
        "quantum_series_learning": lambda: float(monitor.learning),
        "quantum_pipeline_position": lambda: float(monitor.pipeline.position),
        "quantum_pipeline_lag_seconds": lambda: monitor.tick_now().lag_ms / 1000,
        "quantum_recent_rows": lambda: float(monitor.recent.rows),
        "quantum_alerts_firing": lambda: float(monitor.pipeline.firing),
        "quantum_anomalies_ongoing": lambda: float(len(monitor.pipeline.ongoing_anomalies)),
        "quantum_live_sockets": lambda: float(len(sockets.sockets)),
        "quantum_live_topics": lambda: float(len(feed.watched(""))),
        "quantum_request_bytes_in_flight": lambda: float(bounds.in_flight),
    }


def build_gateway_gauges(
    monitor: Monitor, feed: MemoryFeed, sockets: LiveSockets, quotas: Quotas, relay: Relay
) -> dict[str, Gauge]:
    """Return what is measured of one tenant in a gateway."""
    return {
        "quantum_limits": lambda: {key: float(value) for key, value in quotas.rates.by_id().items()},
        "quantum_series": lambda: float(len(monitor.pipeline.labels)),
        "quantum_followed_position": lambda: float(monitor.pipeline.position),
        "quantum_live_sockets": lambda: float(len(sockets.sockets)),
        "quantum_live_topics": lambda: float(len(feed.watched(""))),
        "quantum_live_gaps_total": lambda: float(relay.gaps),
    }


def build_gateway_vitals(workspaces: Mapping[str, Any], counters: Counters, forwarder: Forwarder) -> Vitals:
    """Return what a gateway knows of its health."""
    gauges: dict[str, Gauge] = {
        "quantum_shared_counters": lambda: float(counters.shared),
        "quantum_handed_on_requests_total": lambda: float(forwarder.handed_on),
    }
    tenants = {tenant: one.gateway_gauges() for tenant, one in workspaces.items()}
    return Vitals({}, gauges, version("quantum"), tenants)


def build_vitals(settings: Settings, workspaces: Mapping[str, Any], counters: Counters) -> Vitals:
    """Return what a process knows of its health."""
    home = workspaces[settings.store.tenant]
    gathered: Gathered = home.gathered()
    scraper: Scraper = home.scraper()
    gauges: dict[str, Gauge] = {
        "quantum_resident_bytes": lambda: float(footprint.resident_bytes()),
        "quantum_shared_counters": lambda: float(counters.shared),
        "quantum_statsd_packets_total": lambda: float(gathered.packets),
        "quantum_statsd_refused_lines_total": lambda: {key: float(count) for key, count in gathered.refused.items()},
        "quantum_scrape_targets": scraper.states,
        "quantum_scrapes_total": lambda: float(scraper.scrapes),
        "quantum_scrape_failures_total": lambda: {key: float(count) for key, count in scraper.failures.items()},
    }
    return Vitals({}, gauges, version("quantum"), {tenant: one.gauges() for tenant, one in workspaces.items()})
