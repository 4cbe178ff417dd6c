"""Kafka: the way in, the lanes over which work is shared, and the topics in which others read what Quantum knows."""

from __future__ import annotations

from quantum.adapters.kafka.cluster import Cluster, survey
from quantum.adapters.kafka.lanes import (
    DIED,
    KafkaLanes,
    KafkaWork,
    Membership,
    Topics,
    dead_letters,
    members_of,
    pardon,
)
from quantum.adapters.kafka.publication import KafkaPublication

__all__ = [
    "DIED",
    "Cluster",
    "KafkaLanes",
    "KafkaPublication",
    "KafkaWork",
    "Membership",
    "Topics",
    "dead_letters",
    "members_of",
    "pardon",
    "survey",
]
