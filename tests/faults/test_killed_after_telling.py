"""The program dies right after a receiver has taken a notification: it is told again at most once, under the same key.

Row F5 of the fault matrix in docs/reliability.md: the moment between the receiver's answer and its being noted.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Final

from tests.parts.ledger import LedgerClient, read_ledger
from tests.parts.ordeal import POLICY_NAME, SETTLE_WITHIN_S, begin, check_alerts, check_samples
from tests.parts.program import ALONE, run_quantum
from tests.parts.sink import run_sink

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FEWEST: Final = 2
DIES_WITHIN_S: Final = 60.0


class Executioner:
    """Kills a process group when a receiver has answered."""

    def __init__(self) -> None:
        self._victim: int | None = None
        self._lock = threading.Lock()

    def wait_for(self, process: int) -> None:
        """Kill this one the next time."""
        with self._lock:
            self._victim = process

    def strike(self) -> None:
        """Kill whoever is due."""
        with self._lock:
            victim, self._victim = self._victim, None
        if victim is not None:
            os.killpg(victim, signal.SIGKILL)


def test_a_notification_that_was_taken_is_repeated_at_most_once_a_kill_and_under_its_key(
    tmp_path: Path, rounds: int, tell: Callable[[str], None]
) -> None:
    kills, executioner = max(FEWEST, rounds), Executioner()
    client = LedgerClient(tmp_path / "ledger", POLICY_NAME)
    with run_sink(answered=executioner.strike) as sink:
        try:
            begin(tmp_path, client, sink)
            for _ in range(kills):
                with run_quantum(tmp_path / "data", tmp_path / "log", environment=ALONE) as program:
                    client.use(program.base)
                    executioner.wait_for(program.child.process.pid)
                    assert program.child.process.wait(DIES_WITHIN_S) == -signal.SIGKILL
            with run_quantum(tmp_path / "data", tmp_path / "log", environment=ALONE) as program:
                client.use(program.base)
                assert client.finish(SETTLE_WITHIN_S), "the signal came down, but its alert did not"
                check_samples(program, read_ledger(tmp_path / "ledger"), client, tell)
                check_alerts(program, client, sink, tell, kills)
                repeated = len(sink.keys()) - len(set(sink.keys()))
        finally:
            client.stop()
    tell(f"faults: killed {kills} times after a receiver's answer: {repeated} notifications repeated under their key")
    assert repeated >= 1, "no kill came between an answer and its being noted"
