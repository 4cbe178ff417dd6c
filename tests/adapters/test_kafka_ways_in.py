"""The ways in to a real Kafka that encrypts and asks who is there: who is let in, and what others are told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.contracts.test_lanes import LANES, PATIENCE_S, new_tenant, send, working
from tests.parts.authority import Authority
from tests.parts.kafka import PASSWORD, USER

from quantum.adapters.kafka import Cluster, KafkaLanes, Membership, survey
from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.application.scoring import Scoring
from quantum.domain.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.parts.kafka import KafkaBroker


def way_in(kafka: KafkaBroker, sasl: str = "scram-sha-512") -> Cluster:
    certificate, key = kafka.shown
    return Cluster(
        url=kafka.secure_url,
        tls=True,
        ca_file=str(kafka.ca_file),
        cert_file=str(certificate),
        key_file=str(key),
        sasl=sasl,
        user=USER,
        password=PASSWORD,
    )


async def test_lanes_are_asked_over_tls_by_who_signed_in(kafka: KafkaBroker) -> None:
    cluster, tenant = way_in(kafka), new_tenant()
    async with (
        SqliteStore(MEMORY) as store,
        working(cluster, tenant, store),
        KafkaLanes(cluster, tenant, LANES, PATIENCE_S) as lanes,
    ):
        (scores,) = await Scoring(lanes).scores(0, [await send(store, 0)])
        assert scores is not None


@pytest.mark.parametrize("sasl", ["plain", "scram-sha-256", "scram-sha-512"])
async def test_every_way_to_sign_in_is_open_to_who_knows_the_password(kafka: KafkaBroker, sasl: str) -> None:
    assert await survey(way_in(kafka, sasl)) == 1
    with pytest.raises(Unavailable, match=r"^Kafka: (?!.*wrong).*[Aa]uthentication") as refused:
        await survey(replace(way_in(kafka, sasl), password="wrong"))
    assert PASSWORD not in str(refused.value)


async def test_who_is_not_who_they_say_is_not_talked_to(kafka: KafkaBroker, tmp_path: Path) -> None:
    good, stranger = way_in(kafka), Authority(tmp_path)
    certificate, key = (str(file) for file in stranger.issue("client"))
    for wrong in (
        replace(good, ca_file=str(stranger.ca_file)),  # the broker's authority is not ours
        replace(good, url=good.url.replace("127.0.0.1", "localhost")),  # its certificate has another name
        replace(good, cert_file=certificate, key_file=key),  # ours is of an authority that is not the broker's
        replace(good, cert_file="", key_file=""),
        replace(good, sasl="none"),
        replace(good, tls=False),
        replace(good, ca_file=str(tmp_path / "gone.pem")),
    ):
        with pytest.raises(Unavailable, match=r"^Kafka: ."):
            await survey(wrong)


def test_what_is_shown_of_a_way_in_has_no_password(kafka: KafkaBroker) -> None:
    assert PASSWORD not in repr(way_in(kafka))


async def test_a_worker_with_a_name_keeps_its_lanes_while_it_is_started_again(kafka: KafkaBroker) -> None:
    cluster, tenant = Cluster(url=kafka.url), new_tenant()
    first, second = (Membership(name, away_ms=60_000) for name in ("first", "second"))
    async with SqliteStore(MEMORY) as store, working(cluster, tenant, store, first) as stays:
        async with working(cluster, tenant, store, second) as goes:
            await until(lambda: bool(stays.lanes and goes.lanes) and not stays.lanes & goes.lanes)
            kept, gone, dealings = stays.lanes, goes.lanes, stays.dealings
            assert kept | gone == frozenset(range(LANES))
        async with working(cluster, tenant, store, second) as back:
            await until(lambda: bool(back.lanes))
            assert back.lanes == gone
            assert stays.lanes == kept
            assert (stays.dealings, back.dealings) == (dealings, 1)


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110 - Kafka deals lanes out, nobody tells us
            await asyncio.sleep(0.05)
