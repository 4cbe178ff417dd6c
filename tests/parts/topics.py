"""Reads topics of a real Kafka, as other programs do."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from aiokafka import AIOKafkaConsumer, TopicPartition

if TYPE_CHECKING:
    from tests.parts.kafka import KafkaBroker


class Record(NamedTuple):
    """One message as Kafka has it."""

    partition: int
    key: bytes | None
    value: bytes


def address_of(broker: KafkaBroker) -> str:
    """Return a broker's address as clients have it."""
    return urlsplit(broker.url).netloc


async def read_topic(broker: KafkaBroker, topic: str, partitions: int) -> list[Record]:
    """Return what a topic has now, in order of each partition."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=address_of(broker), enable_auto_commit=False, auto_offset_reset="earliest"
    )
    found: list[Record] = []
    async with consumer:
        places = [TopicPartition(topic, one) for one in range(partitions)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        while [one for one in places if await consumer.position(one) < ends[one]]:
            for place, records in (await consumer.getmany(timeout_ms=100)).items():
                found += [Record(place.partition, record.key, record.value) for record in records]
    return found
