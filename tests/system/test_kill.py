"""kill -9 under load: nothing acknowledged is lost, nothing doubled, no alert missed or told wrongly (F1).

At random moments, and at named points of the code: between reading and storing a batch, writing and committing it,
committing and answering. `TEST_KILLS` says how often the former (`make faults`: 50; a fifth of that against PostgreSQL)
and how many of the latter (all of them from 10 on), `TEST_SEED` which moments and points. What
kill -9 cannot show is the loss of power: the operating system still writes what the program had handed to it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from tests.parts.children import start_child
from tests.parts.crashing import points_of
from tests.parts.ledger import LedgerClient, read_ledger
from tests.parts.ordeal import POLICY_NAME, SETTLE_WITHIN_S, begin, check_alerts, check_samples
from tests.parts.program import ALONE, QUANTUM, run_quantum
from tests.parts.sink import run_sink

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


KILLS: Final = int(os.environ.get("TEST_KILLS", "3"))
ALL_POINTS_FROM: Final = 10
SEED: Final = int(os.environ.get("TEST_SEED", "1"))
STORES: Final = {"sqlite": KILLS, "postgres": max(2, KILLS // 5)}
"""How often the program is killed on each store."""
MORTAL: Final = (sys.executable, "-m", "tests.parts.crashing")
POINTS_AT_MOST: Final = 1 if KILLS < ALL_POINTS_FROM else None
"""At how many named points the program dies, on each store."""
MOST_PASSES: Final = 5
"""A named point is passed so often at most before the program dies there."""
DIES_WITHIN_S: Final = 120.0
LONGEST_LIFE_S: Final = 3.0
LONGEST_START_S: Final = 2.5
SHARE_OF_STARTS: Final = 0.2
"""How many of the kills hit a program that is still starting."""
BUSY_SHARE: Final = 0.1
RECOVER_WITHIN_S: Final = 30.0
"""The promise of docs/reliability.md. On PostgreSQL it may take the time until the lease of the one that died ends."""


@pytest.fixture(params=sorted(STORES))
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The kind of store that the programs of a test use."""
    if request.param == "postgres":
        monkeypatch.setenv("QUANTUM_STORE__KIND", "postgres")
        monkeypatch.setenv("QUANTUM_STORE__URL", request.getfixturevalue("postgres_url"))
        monkeypatch.setenv("QUANTUM_STORE__TENANT", f"kill-{os.getpid()}-{SEED}")
    return str(request.param)


def test_kill_9_loses_nothing_doubles_nothing_and_tells_every_alert_once(
    kind: str, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    kills = STORES[kind]
    generator = np.random.default_rng(SEED)
    client = LedgerClient(tmp_path / "ledger", POLICY_NAME)
    with run_sink(busy=lambda: bool(generator.random() < BUSY_SHARE)) as sink:
        try:
            begin(tmp_path, client, sink)
            points = die_at_points(kind, tmp_path, client, np.random.default_rng(SEED))
            recovered_s = kill_again_and_again(tmp_path, client, np.random.default_rng(SEED), kills)
            with run_quantum(tmp_path / "data", tmp_path / "log", environment=ALONE) as program:
                recovered_s.append(program.ready_after_s)
                client.use(program.base)
                assert client.finish(SETTLE_WITHIN_S), "the signal came down, but its alert did not"
                check_samples(program, read_ledger(tmp_path / "ledger"), client, tell)
                check_alerts(program, client, sink, tell, kills + points)
        finally:
            client.stop()
    tell(
        f"F1: {kind}, seed {SEED}, {kills} kills, {points} at named points, ready again within {max(recovered_s):.1f} s"
    )
    assert max(recovered_s) <= RECOVER_WITHIN_S


def die_at_points(kind: str, directory: Path, client: LedgerClient, generator: np.random.Generator) -> int:
    """Let the program die at named points of its work; return at how many."""
    points = generator.permutation(points_of(kind)).tolist()[:POINTS_AT_MOST]
    for point in points:
        nth = str(generator.integers(1, MOST_PASSES))
        with run_quantum(
            directory / "data", directory / "log", environment=ALONE, quantum=(*MORTAL, point, nth)
        ) as one:
            client.use(one.base)
            assert one.child.process.wait(DIES_WITHIN_S) == -signal.SIGKILL, point
    return len(points)


def kill_again_and_again(
    directory: Path, client: LedgerClient, generator: np.random.Generator, kills: int
) -> list[float]:
    """Start and kill the program; return how long each start took."""
    recovered_s = []
    for _ in range(kills):
        if generator.random() < SHARE_OF_STARTS:
            command: list[str | Path] = [QUANTUM, "run", "--port", "0", "--data-dir", directory / "data"]
            with start_child(command, directory / "log", ALONE) as child:
                outlives(child.process, generator.uniform(0.0, LONGEST_START_S))
            continue
        with run_quantum(directory / "data", directory / "log", environment=ALONE) as program:
            recovered_s.append(program.ready_after_s)
            client.use(program.base)
            outlives(program.child.process, generator.uniform(0.0, LONGEST_LIFE_S))
    return recovered_s


def outlives(process: subprocess.Popen[bytes], duration_s: float) -> None:
    """Let time pass in which a process must not end by itself; its `with` block kills it then."""
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(duration_s)
