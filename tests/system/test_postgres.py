"""The program on PostgreSQL: the database goes away and comes back, and a second program is told who has it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest
from tests.parts.children import start_child
from tests.parts.postgres import Cluster, new_cluster, sql
from tests.parts.program import ALONE, QUANTUM, run_quantum

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.parts.program import Program

AGAIN_WITHIN_S: Final = 30.0
COMPILED_WITHIN_S: Final = 180.0


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with new_cluster() as made:
        yield made


def environment(cluster: Cluster, **more: str) -> dict[str, str]:
    return {
        **ALONE,
        "QUANTUM_STORE__KIND": "postgres",
        "QUANTUM_STORE__URL": cluster.url(),
        **{f"QUANTUM_STORE__{name}": value for name, value in more.items()},
    }


def another(tmp_path: Path) -> list[str | Path]:
    """Return the command of a second program."""
    return [QUANTUM, "run", "--port", "0", "--data-dir", tmp_path / "other-data"]


@contextmanager
def held_by_another(cluster: Cluster) -> Iterator[None]:
    """Run a database of which a process elsewhere, that does not end, has the tenant."""
    with cluster.running():
        subprocess.run([QUANTUM, "migrate"], env=os.environ | environment(cluster), check=True, capture_output=True)
        sql(
            cluster.url(),
            "INSERT INTO leases (tenant, holder, epoch, expires_ms) VALUES ('default', 'a 1 2 3', 1, %s)",
            10**15,
        )
        yield


def looks_at_leases(cluster: Cluster) -> bool:
    """Whether a program has asked for a lease."""
    asked = "SELECT 1 FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE %s"
    return bool(sql(cluster.url(), asked, "%leases%"))


def send(program: Program, value: float) -> int:
    """Send one sample of now; return the status."""
    table = {"labels": {"__name__": "m"}, "timestamps_ms": [time.time_ns() // 1_000_000], "values": [value]}
    return program.http.post("/api/v1/samples", json={"series": [table]}).status_code


def stored(program: Program) -> list[float]:
    series = program.series("m")
    assert series is not None
    now_ms = time.time_ns() // 1_000_000
    path = f"/api/v1/series/{series['fingerprint']}/window"
    window = program.get(path, start_ms=now_ms - 600_000, end_ms=now_ms + 1, points=11_000)
    return [value for value in window["value"] if value is not None]


def test_while_the_database_is_away_senders_are_told_to_come_again_and_then_all_goes_on(
    cluster: Cluster, tmp_path: Path
) -> None:
    with (
        cluster.running() as server,
        run_quantum(tmp_path / "data", tmp_path / "log", environment=environment(cluster)) as program,
    ):
        assert send(program, 1.0) == 200
        server.stop(signal.SIGQUIT)  # without a goodbye to anybody
        assert [send(program, 2.0), send(program, 3.0)] == [503, 503]
        assert program.http.get("/livez").status_code == 200
        with cluster.running():
            program.wait_until(lambda: send(program, 4.0) == 200 or None, "a good answer", AGAIN_WITHIN_S)
            program.wait_until(
                lambda: program.http.get("/readyz").status_code == 200 or None, "readiness", AGAIN_WITHIN_S
            )
            assert send(program, 5.0) == 200
            assert stored(program) == [1.0, 4.0, 5.0]
            assert program.child.stop() == 0
    with cluster.running(), run_quantum(tmp_path / "data", tmp_path / "log", environment=environment(cluster)) as again:
        assert stored(again) == [1.0, 4.0, 5.0]


def test_a_second_program_for_a_tenant_ends_with_a_sentence_and_one_for_another_runs(
    cluster: Cluster, tmp_path: Path
) -> None:
    hasty = environment(cluster, WAIT_MS="300")
    with cluster.running(), run_quantum(tmp_path / "data", tmp_path / "log", environment=hasty) as program:
        with start_child(another(tmp_path), tmp_path / "second", hasty) as second:
            said = second.process.wait(AGAIN_WITHIN_S), second.text()
        assert said[0] == 1
        assert f"in use by another Quantum (process {program.child.process.pid} on" in said[1]
        other = environment(cluster, TENANT="other")
        with run_quantum(tmp_path / "data", tmp_path / "other", environment=other) as neighbour:
            assert send(neighbour, 7.0) == 200
            assert program.series("m") is None


def test_a_program_that_waits_for_a_tenant_compiles_meanwhile_and_ends_at_once_when_it_is_told_to(
    cluster: Cluster, tmp_path: Path
) -> None:
    kernels, patient = tmp_path / "kernels", environment(cluster, WAIT_MS="600000")
    with held_by_another(cluster):
        with start_child(another(tmp_path), tmp_path / "cold", patient | {"NUMBA_CACHE_DIR": str(kernels)}) as cold:
            cold.wait_until(lambda: any(kernels.rglob("*.nbc")) or None, "a compiled kernel", COMPILED_WITHIN_S)
            assert cold.process.poll() is None
        with start_child(another(tmp_path), tmp_path / "warm", patient) as warm:
            warm.wait_until(lambda: looks_at_leases(cluster) or None, "a program that waits", AGAIN_WITHIN_S)
            assert warm.stop(timeout_s=AGAIN_WITHIN_S) == 0
            assert warm.text() == ""


def test_a_program_that_another_has_replaced_ends_with_a_sentence_so_that_it_is_started_again(
    cluster: Cluster, tmp_path: Path
) -> None:
    taking_over = "UPDATE leases SET epoch = epoch + 1, holder = 'elsewhere' WHERE tenant = 'default'"
    with (
        cluster.running(),
        run_quantum(tmp_path / "data", tmp_path / "log", environment=environment(cluster)) as program,
    ):
        sql(cluster.url(), taking_over)
        assert program.child.process.wait(AGAIN_WITHIN_S) == 1
        said = program.child.text().splitlines()[-1]
    assert said.startswith("quantum: another Quantum has taken over")
