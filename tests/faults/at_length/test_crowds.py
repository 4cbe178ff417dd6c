"""Crowds: sockets that are opened and never read, and more senders at once than there is room for.

Rows F27 and F28 of the fault matrix in docs/reliability.md.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
import time
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
from tests.parts.ledger import LedgerClient, read_ledger
from tests.parts.ordeal import POLICY_NAME, SETTLE_WITHIN_S, check_alerts, check_samples, set_the_scene
from tests.parts.program import ALONE, run_quantum
from tests.parts.sink import run_sink
from tests.parts.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CROWD: Final = 200
SMALL_BYTES: Final = 2048
GIVE_UP_S: Final = 120.0
SLACK_MB: Final = 200.0
"""A megabyte for each who does not read: what the queue of a socket may hold, and what the system keeps of it."""
HANDSHAKE: Final = (
    "GET /api/v1/live HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
VANISH: Final = struct.pack("ii", 1, 0)
"""Closing a socket then ends the connection without a word, as when a machine is gone."""
OVERLOAD_S: Final = float(os.environ.get("TEST_OVERLOAD_S", "5"))
SENDERS: Final = 48
ROWS: Final = 500
ROOM_BYTES: Final = 400_000
"""So much of requests may be worked on at once: a handful of what the senders have on the way."""
RECOVER_WITHIN_S: Final = 10.0


def deaf(port: int, topics: list[str]) -> socket.socket:
    """Return a live socket that subscribes and then reads nothing."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BYTES)
    made.settimeout(30)
    made.connect(("127.0.0.1", port))
    made.sendall(HANDSHAKE.encode())
    assert made.recv(15).startswith(b"HTTP/1.1 101")
    for topic in topics:
        made.sendall(masked(json.dumps({"op": "subscribe", "topic": topic}).encode()))
    return made


def masked(text: bytes) -> bytes:
    """Return a short text as a frame of a client, under a key of zeros."""
    assert len(text) < 126
    return bytes((0x81, 0x80 | len(text))) + bytes(4) + text


@pytest.mark.parametrize("vanishes", [False, True])
def test_f27_two_hundred_who_never_read_are_let_go_and_cost_nobody_anything(
    vanishes: bool, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    client = LedgerClient(tmp_path / "ledger", POLICY_NAME)
    with run_quantum(tmp_path / "data", tmp_path / "log", environment=ALONE) as program, run_sink() as sink:
        with ExitStack() as stack:
            stack.callback(client.stop)
            set_the_scene(program, client, sink)
            fingerprints = [one["fingerprint"] for one in program.get("/api/v1/series", limit=50)["items"]]
            watcher = Watcher(program.base)
            stack.callback(watcher.stop)
            program.wait_until(lambda: watcher.events or None, "a live event", GIVE_UP_S)
            before_mb, port = program.rss_mb(), program.http.base_url.port or 0
            topics = ["overview", "alerts", *(f"series:{one}" for one in fingerprints)]
            crowd = [stack.enter_context(deaf(port, topics)) for _ in range(CROWD)]
            begin_s, peak_mb = time.monotonic(), before_mb
            for one in crowd[: CROWD if vanishes else 0]:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, VANISH)
                one.close()
            while program.metric("quantum_live_sockets") > 1:
                peak_mb = max(peak_mb, program.rss_mb())
                assert time.monotonic() < begin_s + GIVE_UP_S, "they are still there"
                time.sleep(0.1)
            took_s = time.monotonic() - begin_s
            assert client.finish(SETTLE_WITHIN_S), "the signal came down, but its alert did not"
            check_samples(program, read_ledger(tmp_path / "ledger"), client, tell)
            check_alerts(program, client, sink, tell, most_repeated=0)
        assert {status for _, status, _ in client.answers} == {200}
        assert (watcher.codes, watcher.unmarked) == ([], 0)
    what = "vanished" if vanishes else "did not read"
    tell(f"F27: {CROWD} sockets that {what} were gone after {took_s:.1f} s, {peak_mb - before_mb:.0f} MB more at most")
    assert peak_mb - before_mb <= SLACK_MB


class Sender(threading.Thread):
    """Sends as much as it can for a while, and counts what it was answered."""

    def __init__(self, base: str, number: int) -> None:
        super().__init__()
        self.answers: Counter[int] = Counter()
        self.accepted, self.hopeless = 0, 0
        self._base, self._name = base, str(number)

    def run(self) -> None:
        end_s = time.monotonic() + OVERLOAD_S
        with httpx.Client(base_url=self._base, timeout=60, trust_env=False) as http:
            at_ms = time.time_ns() // 1_000_000 - 600_000
            while time.monotonic() < end_s:
                at_ms += 1
                answer = http.post("/api/v1/samples", json={"series": self._tables(at_ms)})
                self.answers[answer.status_code] += 1
                self.accepted += answer.json().get("accepted", 0)
                self.hopeless += answer.status_code != 200 and "retry-after" not in answer.headers

    def _tables(self, at_ms: int) -> list[dict[str, Any]]:
        return [
            {
                "labels": {"__name__": "load", "sender": self._name, "row": str(row)},
                "timestamps_ms": [at_ms],
                "values": [1],
            }
            for row in range(ROWS)
        ]


def test_f28_of_more_than_there_is_room_for_what_is_accepted_is_stored_and_the_rest_comes_again(
    tmp_path: Path, tell: Callable[[str], None]
) -> None:
    environment = {**ALONE, "QUANTUM_LIMITS__MAX_IN_FLIGHT_BYTES": str(ROOM_BYTES)}
    with run_quantum(tmp_path / "data", tmp_path / "log", environment=environment) as program:
        senders = [Sender(program.base, number) for number in range(SENDERS)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        begin_s = time.monotonic()
        now_ms = time.time_ns() // 1_000_000
        program.wait_until(
            lambda: program.http.post("/api/v1/samples", json=one_sample(now_ms)).status_code == 200 or None,
            "a receipt for somebody else",
            RECOVER_WITHIN_S,
        )
        took_s = time.monotonic() - begin_s
        answers = sum((sender.answers for sender in senders), Counter[int]())
        accepted = sum(sender.accepted for sender in senders)
        program.wait_until(
            lambda: program.get("/api/v1/overview")["samples_total"] > accepted or None, "all to be taken in", GIVE_UP_S
        )
        query = "sum(count_over_time(load[1h]))"
        (stored,) = program.get("/prometheus/api/v1/query", query=query, time=now_ms / 1000 + 1)["data"]["result"]
        peak_mb = program.rss_mb()
        assert program.child.stop(timeout_s=GIVE_UP_S) == 0
    tell(
        f"F28: {SENDERS} senders at once for {OVERLOAD_S:g} s, answered {dict(answers)}, {accepted:,} samples accepted"
        f" and stored, {peak_mb:.0f} MB; others are served again after {took_s:.2f} s"
    )
    assert int(stored["value"][1]) == accepted
    assert set(answers) == {200, 503}
    assert sum(sender.hopeless for sender in senders) == 0


def one_sample(at_ms: int) -> dict[str, Any]:
    """Return a request of somebody who had nothing to do with it."""
    return {"series": [{"labels": {"__name__": "calm"}, "timestamps_ms": [at_ms], "values": [1.0]}]}
