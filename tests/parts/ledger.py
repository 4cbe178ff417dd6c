"""A sender that keeps books: what it is about to send, and what was acknowledged, each on disk before it goes on.

Values are a function of lane and time, so what is stored can be checked without being remembered. One more series, the
signal, is driven up and down in a closed loop: up until an alert fires, down until it resolves. So the number of
alerts that there must be is known exactly, however often the program dies in between.
"""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import httpx

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LANES: Final = 20
PAUSE_S: Final = 0.03
LOOK_EVERY: Final = 5
"""Batches between two looks at the alerts."""
AGAIN: Final = frozenset({429, 500, 502, 503, 504})
TROUBLE: Final = 500
SIGNAL: Final = "signal"


def value_of(lane: int, at_ms: int) -> float:
    """Return the only right value of a lane at a time."""
    return float((at_ms * 31 + lane * 977) % 100_003) / 7


@dataclass(slots=True)
class Books:
    """What the ledger says.

    Attributes:
        sent: times of batches that were begun.
        acknowledged: times of batches that were answered with 200.
        refused: answers that were neither good nor a request to try again.
    """

    sent: list[int] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


class LedgerClient:
    """Sends one batch after the other from a thread of its own, and the same again until it is acknowledged.

    Attributes:
        books: what was sent and acknowledged.
        episodes: the alerts that there must be, in order.
        retries: requests that had to be sent again.
        answers: of each batch: when it was sent (monotonic seconds), the status, and how long the answer took.
        reasons: why senders were told to come again.
        hopeless: answers of trouble that did not say when to come again.
    """

    def __init__(self, file: Path, policy_name: str) -> None:
        self.books = Books()
        self.episodes: list[str] = []
        self.retries = 0
        self.answers: list[tuple[float, int, float]] = []
        self.hopeless = 0
        self.reasons: set[str] = set()
        self._file = file.open("a", encoding="ascii")
        self._policy_name = policy_name
        self._bases = [""]
        self._looked_at = [""]
        self._up = threading.Event()
        self._finish = threading.Event()
        self._stopped = threading.Event()
        self._high = False
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def use(self, *bases: str, looked_at: Sequence[str] = ()) -> None:
        """Send to the first of these addresses from now on, and to the next whenever one does not answer.

        The same goes for looks at the alerts, at addresses of their own if there are any: gateways may be behind.
        """
        self._bases, self._looked_at = list(bases), list(looked_at or bases)
        self._up.set()

    def finish(self, timeout_s: float) -> bool:
        """Bring the signal down for good and stop; return whether that was done in time."""
        self._finish.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Stop at once."""
        self._stopped.set()
        self._up.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._file.close()

    def _run(self) -> None:
        number, at_ms = 0, 0
        with httpx.Client(timeout=15, trust_env=False) as http:
            while not self._stopped.wait(PAUSE_S):
                number, at_ms = number + 1, max(at_ms + 1, time.time_ns() // 1_000_000)
                self._send(http, at_ms)
                if number % LOOK_EVERY == 0 and self._look(http) and self._finish.is_set() and not self._high:
                    return

    def _send(self, http: httpx.Client, at_ms: int) -> None:
        """Send a batch until it is answered for good."""
        self._note(begin=at_ms)
        self.books.sent.append(at_ms)
        body = _batch(at_ms, high=self._high)
        while not self._stopped.is_set():
            begin_s = time.monotonic()
            answer = self._try(http, self._bases, "POST", "/api/v1/samples", json=body)
            if answer is not None:
                self.answers.append((begin_s, answer.status_code, time.monotonic() - begin_s))
                if answer.status_code >= TROUBLE:
                    self.reasons.add(answer.json()["reason"])
                self.hopeless += answer.status_code >= TROUBLE and "retry-after" not in answer.headers
            if answer is not None and answer.status_code == 200:
                self._note(acknowledged=at_ms)
                self.books.acknowledged.append(at_ms)
                return
            if answer is not None and answer.status_code not in AGAIN:
                self.books.refused.append(f"{answer.status_code} {answer.text[:300]}")
                return
            self.retries += 1
            self._stopped.wait(PAUSE_S)

    def _look(self, http: httpx.Client) -> bool:
        """Turn the signal round once its alert has followed; return whether nothing fires and nothing is pending."""
        wanted = {"state": ["pending", "firing"], "limit": 1000}
        answer = self._try(http, self._looked_at, "GET", "/api/v1/alerts", params=wanted)
        if answer is None or answer.status_code != 200:
            return False
        active = [one for one in answer.json()["items"] if one["policy_name"] == self._policy_name]
        firing = [one["id"] for one in active if one["state"] == "firing"]
        if self._high and firing:
            self.episodes.append(firing[0])
            self._high = False
        elif not self._high and not active and not self._finish.is_set():
            self._high = True
        return not active

    def _try(
        self, http: httpx.Client, bases: list[str], method: str, path: str, **options: Any
    ) -> httpx.Response | None:
        """Return the answer, or None after a moment if there was none; then another address is the first."""
        self._up.wait()
        try:
            return http.request(method, bases[0] + path, **options)
        except httpx.TransportError:
            bases.append(bases.pop(0))
            self._stopped.wait(PAUSE_S)
            return None

    def _note(self, **entry: int) -> None:
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()
        os.fdatasync(self._file.fileno())


def _batch(at_ms: int, *, high: bool) -> dict[str, Any]:
    lanes = [
        {"labels": {"__name__": "lane", "lane": str(lane)}, "timestamps_ms": [at_ms], "values": [value_of(lane, at_ms)]}
        for lane in range(LANES)
    ]
    signal = {"labels": {"__name__": SIGNAL}, "timestamps_ms": [at_ms], "values": [float(high)]}
    return {"series": [*lanes, signal]}


def read_ledger(file: Path) -> Books:
    """Return what a ledger on disk says, whatever the process that wrote it remembers."""
    books = Books()
    for line in file.read_text(encoding="ascii").splitlines():
        entry = json.loads(line)
        books.sent += [entry["begin"]] if "begin" in entry else []
        books.acknowledged += [entry["acknowledged"]] if "acknowledged" in entry else []
    return books
