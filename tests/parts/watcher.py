"""Somebody who watches a gateway's live socket all the time, comes again when it ends, and counts what is not told.

Every subscription counts its messages from one. A message whose number does not follow the one before, without a gap
that says so, is one that was lost unmarked.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from typing import Any, Final

from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

TOPICS: Final = ("overview", "alerts", "incidents")
PATIENCE_S: Final = 0.5


class Watcher:
    """Watches one address after the other from a thread of its own.

    Attributes:
        events: how many were heard.
        gaps: how many were marked.
        unmarked: messages that did not come and were not told of; has to stay 0.
        codes: how sockets were closed, in order; 1006: without a word.
        heard_s: when something was heard last, in monotonic seconds.
    """

    def __init__(self, *bases: str) -> None:
        self.events = self.gaps = self.unmarked = 0
        self.codes: list[int] = []
        self.heard_s = 0.0
        self._bases = [base.replace("http", "ws", 1) for base in bases]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher")
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                with connect(f"{self._bases[0]}/api/v1/live", proxy=None, open_timeout=5, close_timeout=1) as socket:
                    self._watch(socket)
            except ConnectionClosed as end:
                self.codes.append(end.rcvd.code if end.rcvd else 1006)
            except (OSError, InvalidHandshake, TimeoutError):
                self._over.wait(PATIENCE_S)
            self._bases.append(self._bases.pop(0))

    def _watch(self, socket: Any) -> None:
        for topic in TOPICS:
            socket.send(json.dumps({"op": "subscribe", "topic": topic}))
        told = dict.fromkeys(TOPICS, 0)
        while not self._over.is_set():
            with suppress(TimeoutError):
                self._take(json.loads(socket.recv(timeout=PATIENCE_S)), told)

    def _take(self, message: dict[str, Any], told: dict[str, int]) -> None:
        kind, topic = message["type"], message["topic"]
        if kind not in {"event", "gap"}:
            return
        self.heard_s = time.monotonic()
        self.events += kind == "event"
        self.gaps += kind == "gap"
        passed = message["missed"] if kind == "gap" else 1
        self.unmarked += abs(message["seq"] - told[topic] - passed)
        told[topic] = message["seq"]
