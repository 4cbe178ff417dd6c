"""PostgreSQL is restarted, away, frozen, locked, slow, busy, cut off in the middle: nothing is lost or doubled.

Rows F11, F12, F13, F14, F17, F18 and F44 of the fault matrix in docs/reliability.md.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import httpx
import numpy as np
import psycopg
from tests.parts.ledger import LedgerClient, read_ledger
from tests.parts.ordeal import POLICY_NAME, SETTLE_WITHIN_S, check_alerts, check_samples, set_the_scene
from tests.parts.postgres import Cluster, new_cluster, sql
from tests.parts.program import ALONE, QUANTUM, run_quantum
from tests.parts.proxy import Proxy, run_proxy
from tests.parts.sink import run_sink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.parts.children import Child
    from tests.parts.program import Program

RECOVER_WITHIN_S: Final = 5.0
GIVE_UP_S: Final = 30.0
OUTAGE_S: Final = float(os.environ.get("TEST_OUTAGE_S", "4"))
FROZEN_S: Final = float(os.environ.get("TEST_FROZEN_S", "2"))
"""Longer than `Patience.answer_s`, and nobody waits for the end of it: what became of a commit is then unknown."""
LOCKED_S: Final = float(os.environ.get("TEST_LOCKED_S", "1"))
LASTING: Final = ("F12", "F17")
"""What lasts is done less often where everything is done often."""
BUSY_READERS: Final = 50
AT_ONCE_S: Final = float(os.environ.get("TEST_AT_ONCE_S", "0.1"))
"""A refusal during an outage may take so long, in 99 of 100 cases, once the outage has been noticed."""
NOTICE_S: Final = 1.0
SLOW: Final = (
    """
    CREATE OR REPLACE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN PERFORM pg_sleep(0.5); RETURN NEW; END'
    """,
    "CREATE TRIGGER dawdle BEFORE INSERT ON facts FOR EACH ROW EXECUTE FUNCTION dawdle()",
)
FAST: Final = "DROP TRIGGER dawdle ON facts"
READ_EVERY_S: Final = 0.03
READERS: Final = 16
GOOD, AGAIN = 200, 503
REASONS: Final = {"unavailable", "overloaded"}


Answer = tuple[float, int, float]
"""When something was asked (monotonic seconds), the status, and how long the answer took."""


@dataclass
class Server:
    """The database server of an ordeal, and the way to it."""

    cluster: Cluster
    proxy: Proxy
    child: Child
    stack: ExitStack

    def restart(self, number: signal.Signals, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.child.stop(number, GIVE_UP_S)
        meanwhile()
        self.child = self.stack.enter_context(self.cluster.running())

    def freeze(self) -> None:
        os.killpg(self.child.process.pid, signal.SIGSTOP)
        time.sleep(FROZEN_S)
        os.killpg(self.child.process.pid, signal.SIGCONT)

    def lock(self, table: str) -> None:
        with psycopg.connect(self.cluster.url()) as connection:
            connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
            time.sleep(LOCKED_S)

    def slow_down(self) -> None:
        """For a while each batch takes half a second to be stored, as on a disk that is overtaxed."""
        for statement in SLOW:
            sql(self.cluster.url(), statement)
        time.sleep(LOCKED_S)
        sql(self.cluster.url(), FAST)

    def cut_after(self, size: int) -> None:
        before = self.proxy.harmed
        self.proxy.cut_after(size)
        deadline_s = time.monotonic() + GIVE_UP_S
        while self.proxy.harmed == before:
            assert time.monotonic() < deadline_s, "nobody sent so much"
            time.sleep(0.005)

    def swallow_answers(self) -> None:
        """What is sent arrives and is committed, but nobody hears of it."""
        self.proxy.mute = True
        time.sleep(0.3)
        self.proxy.cut()
        self.proxy.mute = False

    def migrate(self) -> None:
        """Take all steps of the schema but the first five once more, while the tables are written and read."""
        sql(self.cluster.url(), "DELETE FROM migrations WHERE step > 5")
        environment = {"QUANTUM_STORE__KIND": "postgres", "QUANTUM_STORE__URL": self.cluster.url()}
        subprocess.run([QUANTUM, "migrate"], env=os.environ | environment, check=True, capture_output=True)

    def end_sessions(self) -> None:
        sql(
            self.cluster.url(),
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'quantum'",
        )


def harms(server: Server, program: Program, read: list[Answer]) -> dict[str, Callable[[], object]]:
    return {
        "F11 restart, fast": partial(server.restart, signal.SIGINT),
        "F11 restart, immediate": partial(server.restart, signal.SIGQUIT),
        "F12 outage": partial(server.restart, signal.SIGQUIT, partial(read_while_away, program.base, read)),
        "F14 frozen": server.freeze,
        "F17 facts locked": partial(server.lock, "facts"),
        "F17 anomalies locked": partial(server.lock, "anomalies"),
        "F17 every write slow": server.slow_down,
        "F13 cut after a byte": partial(server.cut_after, 1),
        "F13 cut after 100 bytes": partial(server.cut_after, 100),
        "F13 cut after 3,000 bytes": partial(server.cut_after, 3000),
        "F13 cut after 64 KiB": partial(server.cut_after, 65_536),
        "F14 answers swallowed": server.swallow_answers,
        "F14 sessions ended": server.end_sessions,
        "F44 migrated while in use": server.migrate,
        "F18 readers everywhere": partial(read_everywhere, program.base),
    }


def read_everywhere(base: str) -> None:
    """Many expensive readers at once; they may be told to come again, but not that something is broken."""

    now_s = time.time_ns() / 1e9
    query: dict[str, str] = {"query": "avg_over_time({__name__=~'.+'}[1h])", "step": "15"}
    query |= {"start": f"{now_s - 3600}", "end": f"{now_s}"}

    def read() -> None:
        with httpx.Client(base_url=base, timeout=60, trust_env=False) as http:
            answer = http.get("/prometheus/api/v1/query_range", params=query)
            answers.append((answer.status_code, "retry-after" in answer.headers))

    answers: list[tuple[int, bool]] = []
    readers = [threading.Thread(target=read) for _ in range(BUSY_READERS)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert len(answers) == BUSY_READERS
    assert set(answers) <= {(GOOD, False), (AGAIN, True)}


@contextmanager
def server_behind_a_proxy() -> Iterator[Server]:
    with new_cluster() as cluster, ExitStack() as stack:
        child = stack.enter_context(cluster.running())
        with run_proxy(str(cluster.home / ".s.PGSQL.5432")) as proxy:
            yield Server(cluster, proxy, child, stack)


def recovered_after_s(client: LedgerClient, program: Program) -> float:
    """Return how long after now the next batch is acknowledged that was sent from now on."""
    now_s = time.monotonic()

    def good() -> float | None:
        answers = [one for one in client.answers[-50:] if one[0] >= now_s and one[1] == GOOD]
        return answers[0][0] + answers[0][2] - now_s if answers else None

    return program.wait_until(good, "an acknowledgement", GIVE_UP_S)


def read_while_away(base: str, answers: list[Answer]) -> None:
    """Read again and again while the database is away; who asked before that was noticed may wait, others go on."""
    begin_s = time.monotonic()

    def read() -> None:
        now_s = time.monotonic()
        answers.append((now_s, http.get("/api/v1/alerts").status_code, time.monotonic() - now_s))

    with httpx.Client(base_url=base, timeout=60, trust_env=False) as http, ThreadPoolExecutor(READERS) as readers:
        while time.monotonic() < begin_s + OUTAGE_S:
            readers.submit(read)
            time.sleep(READ_EVERY_S)


def check_refusals(who: str, answers: list[Answer], begin_s: float, tell: Callable[[str], None]) -> float:
    """All were refused; return how soon, in 99 of 100 cases."""
    end_s = begin_s + OUTAGE_S
    found = [(status, took_s) for at_s, status, took_s in answers if begin_s + NOTICE_S < at_s < end_s]
    assert {status for status, _ in found} == {AGAIN}
    p99_s = float(np.percentile([took_s for _, took_s in found], 99))
    tell(f"faults: outage: {who} are refused within {1000 * p99_s:.0f} ms (p99 of {len(found)})")
    return p99_s


def check_unharmed(answers: list[Answer], begin_s: float) -> None:
    """Senders have a connection of their own: they were all served meanwhile."""
    found = [status for at_s, status, _ in answers if at_s >= begin_s]
    assert found
    assert set(found) == {GOOD}


def test_whatever_happens_to_the_database_nothing_is_lost_doubled_or_told_twice(
    tmp_path: Path, rounds: int, long_rounds: int, seed: int, tell: Callable[[str], None]
) -> None:
    generator = np.random.default_rng(seed)
    client = LedgerClient(tmp_path / "ledger", POLICY_NAME)
    took_s: dict[str, list[float]] = {}
    refused_s: list[float] = []
    with server_behind_a_proxy() as server, run_sink() as sink:
        url = f"postgresql://quantum@127.0.0.1:{server.proxy.port}/postgres"
        environment = {**ALONE, "QUANTUM_STORE__KIND": "postgres", "QUANTUM_STORE__URL": url}
        with run_quantum(tmp_path / "data", tmp_path / "log", environment=environment) as program:
            try:
                set_the_scene(program, client, sink)
                read: list[Answer] = []
                all_harms = harms(server, program, read)
                often = [name for name in all_harms if not name.startswith(LASTING)]
                lasting = [name for name in all_harms if name.startswith(LASTING)]
                for name in generator.permutation(often * rounds + lasting * long_rounds).tolist():
                    begin_s = time.monotonic()
                    all_harms[name]()
                    if name == "F12 outage":
                        refused_s.append(check_refusals("senders", client.answers, begin_s, tell))
                        refused_s.append(check_refusals("readers", read, begin_s, tell))
                    if name.startswith("F18"):
                        check_unharmed(client.answers, begin_s)
                    took_s.setdefault(name, []).append(recovered_after_s(client, program))
                program.wait_until(
                    lambda: program.http.get("/readyz").status_code == 200 or None, "readiness", GIVE_UP_S
                )
                assert client.finish(SETTLE_WITHIN_S), "the signal came down, but its alert did not"
                assert {status for _, status, _ in client.answers} <= {GOOD, AGAIN}
                assert client.hopeless == 0
                assert client.reasons <= REASONS
                tell(f"faults: postgres: senders were refused as {', '.join(sorted(client.reasons))}")
                check_samples(program, read_ledger(tmp_path / "ledger"), client, tell)
                check_alerts(program, client, sink, tell, most_repeated=0)
            finally:
                client.stop()
    for name, times in sorted(took_s.items()):
        tell(f"faults: postgres, seed {seed}: {name}, {len(times)} times, goes on within {max(times):.2f} s")
    # last, so that a machine that was slow for once does not keep the books from being held against the store
    assert max(refused_s) <= AT_ONCE_S
    assert max(max(times) for times in took_s.values()) <= RECOVER_WITHIN_S
