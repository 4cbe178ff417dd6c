"""Everything is killed at once: writer, workers, PostgreSQL and Kafka. A supervisor starts them again; nobody helps.

Row F6 of the fault matrix in docs/reliability.md. All are started at the same moment, so each has to put up with the
others not being there yet; who gives up is started again, as systemd, Docker or Kubernetes would.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final

import httpx
import numpy as np
from tests.parts import need
from tests.parts.children import Child, free_port, start_child
from tests.parts.kafka import KafkaBroker, quiet_port
from tests.parts.ledger import LANES, LedgerClient, read_ledger
from tests.parts.ordeal import POLICY_NAME, SETTLE_WITHIN_S, check_alerts, check_samples, set_the_scene
from tests.parts.postgres import Cluster, new_cluster
from tests.parts.program import ALONE, QUANTUM, TELLS_LOOPBACK, Program
from tests.parts.sink import run_sink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RECOVER_WITHIN_S: Final = float(os.environ.get("TEST_RECOVER_S", "30"))
"""The promise of docs/reliability.md, on a machine that does nothing else: where this is tried often, it is held."""
LONGEST_LIFE_S: Final = 2.0
MOST_KILLS: Final = 20
LOOK_S: Final = 0.05
SERIES: Final = LANES + 1


class Supervised:
    """Processes that are started again whenever they have ended."""

    def __init__(self, folder: Path, cluster: Cluster, broker: KafkaBroker) -> None:
        self._folder, self._cluster, self._broker = folder, cluster, broker
        self.base = f"http://127.0.0.1:{free_port()}"
        self._environment = {
            **ALONE,
            **TELLS_LOOPBACK,
            "QUANTUM_STORE__KIND": "postgres",
            "QUANTUM_STORE__URL": cluster.url(),
            "QUANTUM_STREAM__KIND": "kafka",
            "QUANTUM_STREAM__URL": broker.url,
            "QUANTUM_STREAM__LANES": "2",
        }
        monitor = ("--role", "monitoring", "--port", self.base.rpartition(":")[2])
        self._roles = {"monitor": monitor, **dict.fromkeys(("ml-1", "ml-2"), ("--role", "ml", "--port", "0"))}
        self._children: dict[str, tuple[Child, ExitStack]] = {}

    def start_what_ended(self) -> None:
        """Start whatever does not run; nothing is waited for."""
        for name in ("postgres", "kafka", *self._roles):
            child = self._children.get(name)
            if child is None or child[0].process.poll() is not None:
                self._end(name)
                stack = ExitStack()
                self._children[name] = (self._start(name, stack), stack)

    def _start(self, name: str, stack: ExitStack) -> Child:
        log = self._folder / f"{name}.log"
        if name == "postgres":
            command = self._cluster.command(need("postgres"))
            child = start_child(command, log, user=self._cluster.user, directory=self._cluster.home)
        elif name == "kafka":
            child = start_child(self._broker.command(), log)
        else:
            command = [QUANTUM, "run", "--data-dir", self._folder / name, *self._roles[name]]
            child = start_child(command, log, self._environment)
        return stack.enter_context(child)

    def kill_all(self) -> None:
        """Kill every process at one moment."""
        for child, _ in self._children.values():
            with suppress(ProcessLookupError):
                os.killpg(child.process.pid, signal.SIGKILL)
        for name in list(self._children):
            self._end(name)

    def _end(self, name: str) -> None:
        _, stack = self._children.pop(name, (None, ExitStack()))
        stack.close()

    def wait_until(self, probe: Callable[[], bool], within_s: float) -> float:
        """Keep everything running until something is so; return how long that took."""
        begin_s = time.monotonic()
        while not probe():
            self.start_what_ended()
            assert time.monotonic() - begin_s < within_s, self.logs()
            time.sleep(LOOK_S)
        return time.monotonic() - begin_s

    def logs(self) -> str:
        """Return the end of what each has said."""
        return "\n".join(f"--- {file.name}\n{file.read_text()[-1500:]}" for file in sorted(self._folder.glob("*.log")))

    def program(self, http: httpx.Client) -> Program:
        """Return the writer, to be asked."""
        return Program(self._children["monitor"][0], self.base, http, 0.0)


def is_scored_up_to(http: httpx.Client, samples: int) -> bool:
    """Whether so many samples are scored."""
    with suppress(httpx.TransportError):
        answer = http.get("/api/v1/overview")
        return answer.status_code == 200 and answer.json()["samples_total"] >= samples
    return False


def is_ready(http: httpx.Client) -> bool:
    with suppress(httpx.TransportError):
        return http.get("/readyz").status_code == 200
    return False


@contextmanager
def scene(folder: Path) -> Iterator[tuple[Supervised, httpx.Client]]:
    """Have all parts for the length of a block, and a client of the writer; nothing runs yet."""
    home = folder / "kafka"
    home.mkdir()
    broker = KafkaBroker(home, quiet_port())
    broker.format()
    with new_cluster() as cluster:
        supervised = Supervised(folder, cluster, broker)
        try:
            with httpx.Client(base_url=supervised.base, timeout=120, trust_env=False) as http:
                yield supervised, http
        finally:
            supervised.kill_all()


def test_all_that_is_killed_at_once_comes_back_by_itself(
    tmp_path: Path, rounds: int, seed: int, tell: Callable[[str], None]
) -> None:
    kills, generator = min(rounds, MOST_KILLS), np.random.default_rng(seed)
    client = LedgerClient(tmp_path / "ledger", POLICY_NAME)
    with scene(tmp_path) as (supervised, http), run_sink() as sink:
        try:
            supervised.wait_until(lambda: is_ready(http), SETTLE_WITHIN_S)
            set_the_scene(supervised.program(http), client, sink)
            stored_s, scored_s = [], []
            for _ in range(kills):
                time.sleep(generator.uniform(0.0, LONGEST_LIFE_S))
                begin_s, answered = time.monotonic(), len(client.books.acknowledged)
                supervised.kill_all()
                supervised.wait_until(lambda: len(client.books.acknowledged) > answered + 1, SETTLE_WITHIN_S)  # noqa: B023 - it is asked before the next round
                stored_s.append(time.monotonic() - begin_s)
                due = len(client.books.acknowledged) * SERIES
                supervised.wait_until(lambda: is_scored_up_to(http, due), SETTLE_WITHIN_S)  # noqa: B023 - as above
                scored_s.append(time.monotonic() - begin_s)
            assert client.finish(SETTLE_WITHIN_S), "the signal came down, but its alert did not"
            check_samples(supervised.program(http), read_ledger(tmp_path / "ledger"), client, tell)
            check_alerts(supervised.program(http), client, sink, tell, kills)
        finally:
            client.stop()
    tell(
        f"faults: everything killed at once {kills} times, seed {seed}: samples stored again within"
        f" {max(stored_s):.1f} s (median {np.median(stored_s):.1f} s), all scored within {max(scored_s):.1f} s"
        f" (median {np.median(scored_s):.1f} s)"
    )
    if rounds > 1:
        assert max(scored_s) <= RECOVER_WITHIN_S
