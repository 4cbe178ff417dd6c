"""The disk fills up, a stranger holds the lock, and both pass: senders wait, readers go on, nothing is lost.

Rows F15 and F16 of the fault matrix in docs/reliability.md.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.parts.ledger import LedgerClient, read_ledger
from tests.parts.ordeal import POLICY_NAME, SETTLE_WITHIN_S, check_alerts, check_samples, set_the_scene
from tests.parts.postgres import new_cluster
from tests.parts.program import ALONE, Program, run_quantum
from tests.parts.sink import run_sink
from tests.parts.small_disk import SmallDisk, small_disk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GIVE_UP_S: Final = 60.0
RECOVER_WITHIN_S: Final = 10.0
FULL_S: Final = 1.0
"""How long it stays like that after the first sender was refused."""
GOOD, AGAIN = 200, 503


def answered(client: LedgerClient, status: int, since_s: float) -> float | None:
    """When the first batch since some moment was answered with a status."""
    return next(
        (at_s + took_s for at_s, one, took_s in client.answers[-200:] if one == status and at_s >= since_s), None
    )


def refused_then_accepted(
    program: Program, client: LedgerClient, harm: Callable[[], Any], heal: Callable[[], Any]
) -> float:
    """Do harm until senders are refused, and a while longer; heal; return how soon a batch was accepted."""
    begin_s = time.monotonic()
    harm()
    program.wait_until(partial(answered, client, AGAIN, begin_s), "a refusal", GIVE_UP_S)
    assert program.get("/api/v1/series", **{"match[]": "lane"})["items"]
    assert program.http.get("/livez").status_code == GOOD
    time.sleep(FULL_S)
    heal()
    healed_s = time.monotonic()
    accepted_s: float = program.wait_until(partial(answered, client, GOOD, healed_s), "an acknowledgement", GIVE_UP_S)
    return accepted_s - healed_s


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_full_disk_stops_senders_and_nobody_else_until_there_is_room_again(
    kind: str, tmp_path: Path, rounds: int, tell: Callable[[str], None]
) -> None:
    with ExitStack() as stack:
        environment = dict(ALONE)
        if kind == "sqlite":
            disk = stack.enter_context(small_disk(tmp_path / "data", 48))
        else:
            disk, url = postgres_on_a_small_disk(stack)
            environment |= {"QUANTUM_STORE__KIND": "postgres", "QUANTUM_STORE__URL": url}
        sink = stack.enter_context(run_sink())
        program = stack.enter_context(run_quantum(tmp_path / "data", tmp_path / "log", environment=environment))
        client = LedgerClient(tmp_path / "ledger", POLICY_NAME)
        try:
            set_the_scene(program, client, sink)
            program.wait_until(lambda: client.episodes or None, "an alert", GIVE_UP_S)
            took_s = [refused_then_accepted(program, client, disk.fill, disk.empty) for _ in range(rounds)]
            assert client.finish(SETTLE_WITHIN_S), "the signal came down, but its alert did not"
            assert {status for _, status, _ in client.answers} <= {GOOD, AGAIN}
            assert client.hopeless == 0
            check_samples(program, read_ledger(tmp_path / "ledger"), client, tell)
            check_alerts(program, client, sink, tell, most_repeated=0)
            assert "storage_full" in client.reasons
        finally:
            client.stop()
        assert program.child.stop() == 0
        if kind == "sqlite":
            assert integrity(tmp_path / "data" / "quantum.db") == "ok"
    tell(f"faults: {kind}: full disk, {rounds} times, goes on within {max(took_s):.2f} s of having room")
    assert max(took_s) <= RECOVER_WITHIN_S


def postgres_on_a_small_disk(stack: ExitStack) -> tuple[SmallDisk, str]:
    """Start a server whose files, the write-ahead log too, are on a disk of their own."""
    cluster = stack.enter_context(new_cluster())
    disk = stack.enter_context(small_disk(cluster.home / "disk", 160))
    # moved before it is started for the first time
    cluster.move_to(disk.path)
    stack.enter_context(cluster.running())
    return disk, cluster.url()


def integrity(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


def test_a_stranger_who_holds_the_lock_of_the_file_makes_senders_wait_and_loses_them_nothing(
    tmp_path: Path, rounds: int, tell: Callable[[str], None]
) -> None:
    client = LedgerClient(tmp_path / "ledger", POLICY_NAME)
    took_s = []
    with run_sink() as sink, run_quantum(tmp_path / "data", tmp_path / "log", environment=ALONE) as program:
        try:
            set_the_scene(program, client, sink)
            for _ in range(rounds):
                with closing(sqlite3.connect(tmp_path / "data" / "quantum.db", isolation_level=None)) as stranger:
                    took_s.append(
                        refused_then_accepted(
                            program,
                            client,
                            partial(stranger.execute, "BEGIN IMMEDIATE"),
                            partial(stranger.execute, "ROLLBACK"),
                        )
                    )
            assert client.finish(SETTLE_WITHIN_S), "the signal came down, but its alert did not"
            assert {status for _, status, _ in client.answers} <= {GOOD, AGAIN}
            assert client.hopeless == 0
            check_samples(program, read_ledger(tmp_path / "ledger"), client, tell)
            check_alerts(program, client, sink, tell, most_repeated=0)
        finally:
            client.stop()
    tell(f"faults: sqlite: file locked, {rounds} times, goes on within {max(took_s):.2f} s")
    assert max(took_s) <= RECOVER_WITHIN_S
