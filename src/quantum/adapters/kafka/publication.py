"""Public topics on Kafka: `quantum.<tenant>.samples`, `.scores`, `.anomalies` and `.alerts`, keyed as clients key.

A message goes to the partition that every Kafka client would choose for its key. What belongs together is sent in
batches that are made here: a producer's own way with single messages costs ten times as much.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Self

from aiokafka.partitioner import murmur2

from quantum.adapters import public_messages as messages
from quantum.adapters.kafka.cluster import (
    ANSWER_S,
    BATCH_BYTES,
    CONNECT_S,
    TROUBLE,
    end,
    make_topics,
    new_producer,
    unavailable,
    within,
)

if TYPE_CHECKING:
    from types import TracebackType

    from quantum.adapters.kafka.cluster import Cluster
    from quantum.application.publishing import News

POSITIVE: Final = 0x7FFFFFFF
KNOWN_KEYS: Final = 2_000_000
"""So many keys are remembered with their hashes before all are forgotten: alerts come and go."""

Place = tuple[str, int]
"""A topic and a partition."""


class KafkaPublication:
    """Publishes the news of a tenant. An async context manager."""

    def __init__(self, cluster: Cluster, tenant: str, partitions: int) -> None:
        """Take where the topics are, whose they are, and how many partitions they get if they are missing."""
        self._cluster, self._partitions = cluster, partitions
        self._topics = {kind: f"quantum.{tenant}.{kind}" for kind in messages.KINDS}
        self._names = messages.Names()
        self._hashes: dict[bytes, int] = {}
        self._producer: Any = None
        self._counts: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        """Connect when there is news: nobody waits for Kafka before."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        await self._close()

    async def publish(self, news: News) -> None:
        """See Publication."""
        try:
            if self._producer is None:
                await self._open()
            batches = await asyncio.to_thread(self._batches, news)
            async with asyncio.timeout(ANSWER_S):
                await self._send(batches)
        except BaseException as error:
            # what is on its way must not come after what is published next
            await self._close()
            if isinstance(error, TROUBLE):
                raise unavailable(error) from error
            raise

    def _batches(self, news: News) -> dict[Place, list[Any]]:
        """Return what is to be sent to each partition, in order. Runs in a thread of its own."""
        found: dict[Place, list[Any]] = {}
        if gap := messages.gap_of(news):
            for topic, count in self._counts.items():
                for partition in range(count):
                    self._add(found, (topic, partition), None, gap)
        for kind, key, value in messages.lines_of(news, self._names):
            topic = self._topics[kind]
            self._add(found, (topic, self._hash(key) % self._counts[topic]), key, value)
        return found

    def _add(self, found: dict[Place, list[Any]], place: Place, key: bytes | None, value: bytes) -> None:
        batches = found.setdefault(place, [])
        if not batches or batches[-1].append(timestamp=None, key=key, value=value) is None:
            batches.append(self._producer.create_batch())
            batches[-1].append(timestamp=None, key=key, value=value)

    def _hash(self, key: bytes) -> int:
        found = self._hashes.get(key)
        if found is None:
            if len(self._hashes) >= KNOWN_KEYS:
                self._hashes.clear()
            found = self._hashes[key] = murmur2(key) & POSITIVE
        return found

    async def _send(self, batches: dict[Place, list[Any]]) -> None:
        await asyncio.gather(*(self._send_to(place, several) for place, several in batches.items()))

    async def _send_to(self, place: Place, batches: list[Any]) -> None:
        topic, partition = place
        for batch in batches:
            batch.close()
            await (await self._producer.send_batch(batch, topic, partition=partition))

    async def _open(self) -> None:
        await make_topics(self._cluster, self._partitions, {topic: {} for topic in self._topics.values()})
        self._producer = new_producer(self._cluster, max_batch_size=BATCH_BYTES)
        await within(CONNECT_S, self._producer.start())
        # there may be more partitions than were asked for, if somebody else made the topics
        self._counts = {one: len(await self._producer.partitions_for(one)) for one in self._topics.values()}

    async def _close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await end(producer.stop())
            await end(producer.client.close())
