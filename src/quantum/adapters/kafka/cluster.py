"""The way in to Kafka: where it is, how it lets us in, and how a connection is begun and ended.

Whatever goes wrong with a connection, it is closed and made anew; a producer that is stuck (aiokafka#1017) is given up
by our own deadline, because its batches never expire by themselves.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaConnectionError, KafkaError

from quantum.domain.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Mapping

ANSWER_S: Final = 30.0
"""So long is waited for what others are asked over Kafka, and for Kafka."""
CONNECT_S: Final = 10.0
GOODBYE_S: Final = 3.0
REQUEST_MS: Final = 5000
COPIES: Final = 3
EXISTS: Final = 36
"""Kafka's number for a topic that is there already."""
BATCH_BYTES: Final = 1_000_000
"""Of what is sent at once; brokers take 1,048,588 unless told otherwise."""
TROUBLE: Final = (KafkaError, OSError, TimeoutError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Where the brokers are, and how they let us in.

    Attributes:
        url: `kafka://host:port,host:port`.
        tls: whether connections are encrypted; the other attributes are those of the settings `stream.*`.
    """

    url: str
    tls: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    sasl: str = "none"
    user: str = ""
    password: str = field(default="", repr=False)

    def options(self) -> dict[str, Any]:
        """Return what every client of the driver is given; reads the files of certificates.

        Raises:
            Unavailable: a file is gone or does not read.
        """
        options: dict[str, Any] = {"bootstrap_servers": urlsplit(self.url).netloc, "request_timeout_ms": REQUEST_MS}
        options["security_protocol"] = ("SASL_" if self.sasl != "none" else "") + ("SSL" if self.tls else "PLAINTEXT")
        if self.tls:
            options["ssl_context"] = self._context()
        if self.sasl != "none":
            options["sasl_mechanism"] = self.sasl.upper()
            options["sasl_plain_username"], options["sasl_plain_password"] = self.user, self.password
        return options

    def _context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
            if self.cert_file:
                context.load_cert_chain(self.cert_file, self.key_file, password="")
        except OSError as error:  # ssl.SSLError is one
            raise Unavailable(f"Kafka: a file of certificates does not read: {error}") from error
        return context


def new_reader(cluster: Cluster) -> Any:
    """Return a consumer of partitions that it is told, for itself alone."""
    return AIOKafkaConsumer(**cluster.options(), group_id=None, enable_auto_commit=False, auto_offset_reset="earliest")


def new_producer(cluster: Cluster, **options: Any) -> Any:
    """Return a producer that keeps the order of what it sends and repeats nothing."""
    return AIOKafkaProducer(
        **cluster.options(), enable_idempotence=True, acks="all", max_request_size=BATCH_BYTES, **options
    )


async def make_topics(cluster: Cluster, partitions: int, wanted: Mapping[str, Mapping[str, str]]) -> None:
    """Make the topics that are missing, each on three brokers if there are so many.

    Args:
        cluster: where.
        partitions: of each.
        wanted: by name, what is set for it.

    Raises:
        Unavailable: Kafka does not make one.
        KafkaError: it does not answer, as does OSError or TimeoutError.
    """
    async with administering(cluster) as admin:
        copies = min(COPIES, len((await admin.describe_cluster())["brokers"]))
        topics = [NewTopic(name, partitions, copies, topic_configs=dict(terms)) for name, terms in wanted.items()]
        made = await admin.create_topics(topics)
        for name, code, *words in made.topic_errors:
            if code not in (0, EXISTS):
                raise Unavailable(f"Kafka does not make the topic {name}: {words[0] if words else code}")


async def survey(cluster: Cluster) -> int:
    """Return how many brokers a cluster has.

    Raises:
        Unavailable: it does not answer, or does not let us in.
    """
    try:
        async with administering(cluster) as admin:
            return len((await admin.describe_cluster())["brokers"])
    except TROUBLE as error:
        raise unavailable(error) from error


@asynccontextmanager
async def administering(cluster: Cluster) -> AsyncIterator[Any]:
    """Have a client for the length of a block that asks about the cluster and changes it."""
    admin = AIOKafkaAdminClient(**cluster.options())
    try:
        await within(CONNECT_S, admin.start())
        yield admin
    except KafkaConnectionError as error:
        # the driver only logs why no broker would do
        raise await _refusal(cluster) or error from error
    finally:
        await end(admin.close())


async def _refusal(cluster: Cluster) -> Exception | None:
    """Return why a broker does not let us in, of the first that does not; None if all do."""
    options = cluster.options()
    for broker in options.pop("bootstrap_servers").split(","):
        host, _, port = broker.rpartition(":")
        try:
            async with asyncio.timeout(CONNECT_S):
                (await create_conn(host, int(port), **options)).close()
        except TROUBLE as error:
            return error
    return None


async def within(seconds: float, start: Coroutine[Any, Any, None]) -> None:
    """Wait for a start, which gives up by itself while it finds brokers: if it is cancelled then, it leaves a socket.

    Raises:
        TimeoutError: it took longer.
    """
    starting = asyncio.ensure_future(start)
    done, _ = await asyncio.wait([starting], timeout=seconds)
    starting.cancel()
    if not done:
        await asyncio.gather(starting, return_exceptions=True)
        raise TimeoutError
    await starting


async def part(consumer: Any, producer: Any) -> None:
    """Close a connection; a stop that fails halfway would leave sockets open."""
    for one, client in ((consumer, consumer._client), (producer, producer.client)):  # noqa: SLF001 - it has no name
        await end(one.stop())
        await end(client.close())


async def end(goodbye: Coroutine[Any, Any, None]) -> None:
    """Wait for a goodbye, but not for ever: a broker that is gone does not take it.

    It is a task of its own, because the driver's raises the cancellation of tasks within as if it were ours.
    """
    going = asyncio.ensure_future(goodbye)
    await asyncio.wait([going], timeout=GOODBYE_S)
    going.cancel()
    await asyncio.gather(going, return_exceptions=True)


def unavailable(error: BaseException, otherwise: str = "it took too long") -> Unavailable:
    """Return the driver's error as ours, with the words of the driver if it has any."""
    return Unavailable(f"Kafka: {str(error).strip() or otherwise}")
