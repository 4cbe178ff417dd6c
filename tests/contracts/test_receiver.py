"""Receiver: webhooks, against a server that behaves as servers do."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from tests.parts.sink import Sink, run_sink

from quantum.adapters.addresses import Reach
from quantum.adapters.webhook import Webhooks
from quantum.domain.errors import Rejected, Unavailable
from quantum.domain.facts import WebhookReceiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from quantum.domain.alerts import Effects, NotificationIntent


@pytest.fixture
def intent(told_effects: list[Effects]) -> NotificationIntent:
    return next(one for effects in told_effects for one in effects.intents)


@pytest.fixture
def sink() -> Iterator[Sink]:
    with run_sink() as running:
        yield running


@pytest.fixture
async def webhooks() -> AsyncIterator[Webhooks]:
    async with Webhooks(Reach.of("127.0.0.0/8"), timeout_s=0.5) as opened:
        yield opened


def receiver(sink: Sink, secret: str = "") -> WebhookReceiver:
    return WebhookReceiver(name="ops", url=sink.url, secret=secret)


async def test_a_notification_carries_its_id_as_idempotency_key(
    webhooks: Webhooks, sink: Sink, intent: NotificationIntent
) -> None:
    await webhooks.send(receiver(sink), intent)
    await webhooks.send(receiver(sink), intent)
    assert sink.keys() == [intent.id, intent.id]
    (_, body), _ = sink.received
    assert body["id"] == intent.id
    assert body["receiver"] == intent.receiver
    assert body["alert"]["id"] == intent.alert.id
    assert body["alert"]["state"] == intent.alert.state.value


@pytest.mark.parametrize(("secret", "header"), [("s3cret", "Bearer s3cret"), ("", None)])
async def test_a_secret_is_a_bearer_token(
    webhooks: Webhooks, sink: Sink, intent: NotificationIntent, secret: str, header: str | None
) -> None:
    await webhooks.send(receiver(sink, secret), intent)
    assert sink.authorizations == [header]


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_success_is_any_2xx(webhooks: Webhooks, sink: Sink, intent: NotificationIntent, status: int) -> None:
    sink.status = status
    await webhooks.send(receiver(sink), intent)
    assert sink.keys() == [intent.id]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
async def test_what_may_work_later_is_unavailable(
    webhooks: Webhooks, sink: Sink, intent: NotificationIntent, status: int
) -> None:
    sink.status = status
    with pytest.raises(Unavailable, match=f"ops answered {status}"):
        await webhooks.send(receiver(sink), intent)


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404, 410, 422])
async def test_what_will_not_work_is_rejected_and_redirects_are_not_followed(
    webhooks: Webhooks, sink: Sink, intent: NotificationIntent, status: int
) -> None:
    """P27."""
    sink.status = status
    with pytest.raises(Rejected, match=f"ops answered {status}") as caught:
        await webhooks.send(receiver(sink), intent)
    assert caught.value.reason == "receiver_refused"
    assert len(sink.received) == 1


async def test_nobody_there_is_unavailable(webhooks: Webhooks, intent: NotificationIntent) -> None:
    with run_sink() as gone:
        nobody = receiver(gone)
    with pytest.raises(Unavailable, match="ops did not answer"):
        await webhooks.send(nobody, intent)


async def test_a_server_that_never_answers_is_unavailable(webhooks: Webhooks, intent: NotificationIntent) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        target = WebhookReceiver(name="ops", url=f"http://127.0.0.1:{deaf.getsockname()[1]}/")
        with pytest.raises(Unavailable, match="ops did not answer"):
            await webhooks.send(target, intent)


async def test_an_address_out_of_reach_is_not_told_and_may_be_later(sink: Sink, intent: NotificationIntent) -> None:
    async with Webhooks() as strict:
        with pytest.raises(Unavailable, match=r"ops was not told: 127\.0\.0\.1 is no public"):
            await strict.send(receiver(sink), intent)
    assert sink.received == []


async def test_p24_an_address_in_digits_of_another_script_is_not_told(sink: Sink, intent: NotificationIntent) -> None:
    url = sink.url.replace("127", "\uff11\uff12\uff17")
    async with Webhooks() as strict:
        with pytest.raises(Unavailable, match="is no public address"):
            await strict.send(WebhookReceiver(name="ops", url=url), intent)
    assert sink.received == []


async def test_p24_a_name_that_turns_to_another_address_is_judged_each_time(
    sink: Sink, intent: NotificationIntent, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(sink.url.rstrip("/").rpartition(":")[2])
    turning = WebhookReceiver(name="ops", url=f"http://turning.example:{port}/")
    addresses = iter(("127.0.0.1", "10.0.0.1"))
    found = lambda *_: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(addresses), port))]  # noqa: E731
    async with Webhooks(Reach.of("127.0.0.0/8")) as webhooks:
        monkeypatch.setattr("socket.getaddrinfo", found)
        await webhooks.send(turning, intent)
        with pytest.raises(Unavailable, match=r"10\.0\.0\.1"):
            await webhooks.send(turning, intent)
    assert sink.keys() == [intent.id]


async def test_f40_an_answer_without_end_is_read_to_a_bound(intent: NotificationIntent) -> None:
    """A receiver that goes on talking has been told: what it says is of no interest."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sent = threading.Event()

        def talk() -> None:
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
                while True:
                    connection.sendall(b"x" * 65_536)
            sent.set()

        thread = threading.Thread(target=talk)
        thread.start()
        target = WebhookReceiver(name="ops", url=f"http://127.0.0.1:{listening.getsockname()[1]}/")
        async with Webhooks(Reach.of("127.0.0.0/8")) as webhooks:
            await webhooks.send(target, intent)
        thread.join(20)
        assert sent.is_set()
