"""What reaches other processes of an installation: live events, lanes, logs that are read, and what Redis keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from quantum.adapters.counters import MemoryCounters
from quantum.adapters.http.live import encoded, event_frame
from quantum.adapters.memory import MemoryFeed, SystemClock
from quantum.adapters.transient import MemoryTransients

if TYPE_CHECKING:
    from quantum.adapters.kafka import Cluster, KafkaLanes, KafkaPublication
    from quantum.adapters.postgres import PostgresReader
    from quantum.adapters.redis.counters import RedisCounters
    from quantum.adapters.redis.feed import Relay
    from quantum.adapters.redis.transients import RedisTransients
    from quantum.settings import Settings

GATEWAY: Final = "gateway"


def build_feed(settings: Settings, tenant: str, role: str) -> MemoryFeed:
    """Return where a tenant's live events are handed out; through Redis they go on to gateways."""
    if not settings.redis.url or role == GATEWAY:
        return MemoryFeed(encoded, event_frame)
    from quantum.adapters.redis.feed import RedisFeed  # noqa: PLC0415 - imports the driver

    return RedisFeed(settings.redis.url, tenant, encoded, event_frame)


def build_relay(settings: Settings, tenant: str, feed: MemoryFeed) -> Relay:
    """Return what brings live events of the writer to a gateway."""
    from quantum.adapters.redis.feed import Relay  # noqa: PLC0415 - imports the driver

    return Relay(settings.redis.url, tenant, feed)


def build_cluster(settings: Settings) -> Cluster:
    """Return the way in to Kafka."""
    from quantum.adapters.kafka import Cluster  # noqa: PLC0415 - imports the driver

    names = ("url", "tls", "ca_file", "cert_file", "key_file", "sasl", "user", "password")
    return Cluster(**{name: getattr(settings.stream, name) for name in names})


def build_lanes(settings: Settings, tenant: str) -> KafkaLanes:
    """Return what asks the workers of a tenant."""
    from quantum.adapters.kafka import KafkaLanes  # noqa: PLC0415 - imports the driver

    return KafkaLanes(build_cluster(settings), tenant, settings.stream.lanes)


def build_publication(settings: Settings, tenant: str, role: str) -> KafkaPublication | None:
    """Return the topics in which others read what is known of a tenant, if they are wanted; the writer fills them."""
    if not settings.stream.publish or role == GATEWAY:
        return None
    from quantum.adapters.kafka import KafkaPublication  # noqa: PLC0415 - imports the driver

    return KafkaPublication(build_cluster(settings), tenant, settings.stream.lanes)


def build_reader(settings: Settings, tenant: str) -> PostgresReader:
    """Return what reads a tenant's log without the right to write."""
    from quantum.adapters.postgres import Patience, PostgresReader  # noqa: PLC0415 - imports the driver

    return PostgresReader(settings.store.url, tenant, Patience(start_ms=settings.store.wait_ms))


def build_counters(settings: Settings) -> MemoryCounters | RedisCounters:
    """Return what counts requests: this process alone, or all that have the same Redis."""
    if not settings.redis.url:
        return MemoryCounters()
    from quantum.adapters.redis.counters import RedisCounters  # noqa: PLC0415 - imports the driver

    return RedisCounters(settings.redis.url)


def build_transients(settings: Settings, clock: SystemClock) -> MemoryTransients | RedisTransients:
    """Return what keeps sessions and tickets: this process alone, or all that have the same Redis."""
    if not settings.redis.url:
        return MemoryTransients(clock)
    from quantum.adapters.redis.transients import RedisTransients  # noqa: PLC0415 - imports the driver

    return RedisTransients(settings.redis.url)
