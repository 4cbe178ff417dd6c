"""Publication: what is published is there, in order of each series and alert, and may be published again."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from aiokafka import AIOKafkaProducer
from tests.facts import START_MS, Log, labels, new_pipeline, policy
from tests.parts.topics import address_of, read_topic

from quantum.adapters import public_messages
from quantum.adapters.kafka import Cluster, KafkaPublication
from quantum.adapters.memory import MemoryPublication
from quantum.application.publishing import News, news_of
from quantum.domain.errors import Unavailable
from quantum.domain.facts import PutPolicy
from quantum.domain.scoring import Scores
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from tests.parts.kafka import KafkaBroker

    from quantum.application.ports import Publication

    Read = Callable[[], Awaitable[dict[str, list[tuple[bytes, dict[str, Any]]]]]]
    """Returns by kind, what is there: key and message, in order of each key."""
    Opened = AbstractAsyncContextManager[tuple[Publication, Read]]

PARTITIONS = 3
_numbers = itertools.count()


def story() -> list[News]:
    """Three hosts; one burns, which raises an alert; each fact is news of its own."""
    log = Log()
    log.add(PutPolicy(policy(), 0, "me"))
    hosts = [labels("cpu", host=host) for host in "abc"]
    for heat in (1.0, 95.0, 95.0, 1.0, 1.0):
        log.send({hosts[0]: heat, hosts[1]: 2.0, hosts[2]: 3.0})
    pipeline = new_pipeline()
    return [news_of([(fact, pipeline.step(fact))], pipeline.labels) for fact in log.facts]


@asynccontextmanager
async def in_memory() -> AsyncIterator[tuple[Publication, Read]]:
    publication = MemoryPublication()

    async def read() -> dict[str, list[tuple[bytes, dict[str, Any]]]]:
        found: dict[str, list[tuple[bytes, dict[str, Any]]]] = {kind: [] for kind in public_messages.KINDS}
        names = public_messages.Names()
        for news in publication.news:
            for topic, key, value in public_messages.lines_of(news, names):
                found[topic].append((key, json.loads(value)))
        return found

    yield publication, read


@asynccontextmanager
async def on_kafka(broker: KafkaBroker) -> AsyncIterator[tuple[Publication, Read]]:
    tenant = f"public-{os.getpid()}-{next(_numbers)}"

    async def read() -> dict[str, list[tuple[bytes, dict[str, Any]]]]:
        return {
            kind: [
                (key, json.loads(value))
                for _, key, value in await read_topic(broker, f"quantum.{tenant}.{kind}", PARTITIONS)
                if key is not None
            ]
            for kind in public_messages.KINDS
        }

    async with KafkaPublication(Cluster(url=broker.url), tenant, PARTITIONS) as publication:
        yield publication, read


@pytest.fixture(params=["memory", "kafka"])
def opened(request: pytest.FixtureRequest) -> Opened:
    return in_memory() if request.param == "memory" else on_kafka(request.getfixturevalue("kafka"))


async def test_what_is_published_is_there_and_in_order_of_each_series_and_alert(opened: Opened) -> None:
    async with opened as (publication, read):
        for news in story():
            await publication.publish(news)
        found = await read()
    of_a = [message for _, message in found["samples"] if message["labels"]["host"] == "a"]
    assert [message["values"] for message in of_a] == [[1.0], [95.0], [95.0], [1.0], [1.0]]
    assert len(found["samples"]) == 15
    scored = [message for _, message in found["scores"] if message["labels"]["host"] == "a"]
    assert [message["expected"] for message in scored] == [[1.0], [95.0], [95.0], [1.0]]
    assert [message["alert"]["state"] for _, message in found["alerts"]] == ["firing", "resolved"]
    assert {message["anomaly"]["labels"]["host"] for _, message in found["anomalies"]} == {"a"}
    for kind, rows in found.items():
        assert all(key == key_of(kind, message) for key, message in rows)


def key_of(kind: str, message: dict[str, Any]) -> bytes:
    match kind:
        case "alerts":
            name: str = message["alert"]["id"]
        case "anomalies":
            name = message["anomaly"]["fingerprint"]
        case _:
            name = message["fingerprint"]
    return name.encode()


async def test_the_same_may_be_published_again(opened: Opened) -> None:
    async with opened as (publication, read):
        news = story()[1]
        await publication.publish(news)
        await publication.publish(news)
        assert len((await read())["samples"]) == 6


async def test_a_message_is_where_other_clients_would_put_its_key(kafka: KafkaBroker) -> None:
    tenant = f"public-{os.getpid()}-{next(_numbers)}"
    topic = f"quantum.{tenant}.samples"
    async with KafkaPublication(Cluster(url=kafka.url), tenant, PARTITIONS) as publication:
        await publication.publish(story()[1])
    async with AIOKafkaProducer(bootstrap_servers=address_of(kafka)) as other:
        for partition, key, _ in await read_topic(kafka, topic, PARTITIONS):
            assert (await other.send_and_wait(topic, b"", key=key)).partition == partition


async def test_a_gap_is_told_in_every_partition_of_every_topic(kafka: KafkaBroker) -> None:
    tenant = f"public-{os.getpid()}-{next(_numbers)}"
    async with KafkaPublication(Cluster(url=kafka.url), tenant, PARTITIONS) as publication:
        await publication.publish(News(upto=7, at_ms=2000, gap=(1000, 2000)))
    for kind in public_messages.KINDS:
        found = await read_topic(kafka, f"quantum.{tenant}.{kind}", PARTITIONS)
        assert sorted(one.partition for one in found) == list(range(PARTITIONS))
        expected = {"version": 1, "kind": "gap", "position": 7, "start_ms": 1000, "end_ms": 2000}
        assert all(json.loads(one.value) == expected for one in found)


async def test_much_at_once_is_sent_in_several_batches_in_order(kafka: KafkaBroker) -> None:
    tenant, rows = f"public-{os.getpid()}-{next(_numbers)}", 60_000
    times = np.arange(START_MS, START_MS + rows)
    batch = SampleBatch.of(np.zeros(rows), times, np.linspace(0, 1, rows))
    scores = Scores(*np.full((4, rows), np.nan))
    news = News(upto=1, at_ms=START_MS, labels={0: labels("m")}, batch=batch, scores=scores)
    async with KafkaPublication(Cluster(url=kafka.url), tenant, PARTITIONS) as publication:
        await publication.publish(news)
    records = await read_topic(kafka, f"quantum.{tenant}.samples", PARTITIONS)
    found = [json.loads(one.value) for one in records]
    assert sum(len(json.dumps(one)) for one in found) > 1_000_000
    assert [at for one in found for at in one["timestamps_ms"]] == times.tolist()


async def test_topics_that_are_away_are_a_sentence() -> None:
    async with KafkaPublication(Cluster(url="kafka://127.0.0.1:9"), "nobody", PARTITIONS) as publication:
        with pytest.raises(Unavailable, match="Kafka"):
            await asyncio.wait_for(publication.publish(story()[1]), 60)
