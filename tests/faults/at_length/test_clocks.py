"""The clock of the machine that writes is wrong by an hour or a day, and right again: nobody is woken for it.

After a clock that was behind, alerts come as before. After one that was ahead, the log's time, which never goes back,
waits for the right one: samples are stored meanwhile, and nothing is concluded from them yet.

Row F33 of the fault matrix in docs/reliability.md. The program's clock is set by libfaketime, which leaves the
monotonic clock alone; the sender, the database and another writer, which waits for the lease, have the right time.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import httpx
import numpy as np
from tests.parts import need
from tests.parts.children import start_child
from tests.parts.postgres import new_cluster
from tests.parts.program import ALONE, QUANTUM, Program, run_quantum

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.parts.children import Child

BEHIND_S: Final = (-3600, -86_400)
AHEAD_S: Final = 3600
WRONG_S: Final = 3.0
EVERY_S: Final = 0.05
GIVE_UP_S: Final = 60.0
ENOUGH: Final = 20
"""So many batches are stored after the clock was ahead."""
REFUSED: Final = {"too_far_in_future", "too_old"}
STEADY, SIGNAL = "steady", "signal"
QUIET: Final[dict[str, Any]] = {
    "name": "nothing heard",
    "matchers": [{"label": "__name__", "op": "=", "value": STEADY}],
    "condition": {"kind": "absence", "after_ms": 60_000},
}
UP: Final[dict[str, Any]] = {
    "name": "signal is up",
    "matchers": [{"label": "__name__", "op": "=", "value": SIGNAL}],
    "condition": {"kind": "threshold", "op": "above", "raise_at": 0.5},
}


class Sender(threading.Thread):
    """Sends two series, at the right time, until it is told to stop."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.signal = 0.0
        self.statuses: set[int] = set()
        self.reasons: set[str] = set()
        self.stored: list[int] = []
        self._base = base
        self._over = threading.Event()

    def stop(self) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        with httpx.Client(base_url=self._base, timeout=30, trust_env=False) as http:
            while not self._over.wait(EVERY_S):
                at_ms = time.time_ns() // 1_000_000
                tables = [
                    {"labels": {"__name__": name}, "timestamps_ms": [at_ms], "values": [value]}
                    for name, value in ((STEADY, 1.0), (SIGNAL, self.signal))
                ]
                answer = http.post("/api/v1/samples", json={"series": tables})
                self.statuses.add(answer.status_code)
                self.reasons |= set(answer.json().get("rejected", {}))
                if answer.status_code == 200:
                    self.stored.append(at_ms)


def library() -> str:
    """Return what is loaded before the program, so that it asks for the time elsewhere."""
    return str(next(need("faketime").parents[1].glob("lib/*/faketime/libfaketime.so.1")))


def fired(program: Program) -> list[dict[str, Any]]:
    """Return the alerts there ever were of the two policies."""
    names = {QUIET["name"], UP["name"]}
    return [one for one in program.get("/api/v1/alerts", limit=1000)["items"] if one["policy_name"] in names]


def set_clock(file: Path, ahead_s: int) -> None:
    """Set the clock of the program, so many seconds from the right time."""
    new = file.with_suffix(".new")
    new.write_text(f"{ahead_s:+d}s\n")
    new.replace(file)


def goes_up_and_down(program: Program, sender: Sender, before: int) -> None:
    """Bring the signal up and down again; an alert has to follow it."""

    def follows(state: str) -> bool:
        return len(found := fired(program)) == before + 1 and found[0]["state"] == state

    for value, state in ((1.0, "firing"), (0.0, "resolved")):
        sender.signal = value
        program.wait_until(partial(follows, state), f"an alert that is {state}", GIVE_UP_S)


def test_f33_a_clock_that_jumps_wakes_nobody_and_leaves_the_lease_where_it_is(
    tmp_path: Path, long_rounds: int, seed: int, tell: Callable[[str], None]
) -> None:
    clock = tmp_path / "clock"
    set_clock(clock, 0)
    jumps = np.random.default_rng(seed).permutation([*BEHIND_S] * long_rounds).tolist()
    with new_cluster() as cluster, cluster.running(), ExitStack() as stack:
        right = {**ALONE, "QUANTUM_STORE__KIND": "postgres", "QUANTUM_STORE__URL": cluster.url()}
        wrong = {"LD_PRELOAD": library(), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"}
        wrong |= {"FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        program = stack.enter_context(run_quantum(tmp_path / "a", tmp_path / "a.log", environment=right | wrong))
        waiting = stack.enter_context(another(tmp_path, right))
        for policy in (QUIET, UP):
            program.post("/api/v1/policies", policy, 201)
        sender = Sender(program.base)
        stack.callback(sender.stop)
        sender.start()
        for done, ahead_s in enumerate(jumps):
            set_clock(clock, ahead_s)
            time.sleep(WRONG_S)
            assert len(fired(program)) == done, f"somebody was woken by a clock that was {-ahead_s} s behind"
            set_clock(clock, 0)
            goes_up_and_down(program, sender, done)
        set_clock(clock, AHEAD_S)
        time.sleep(WRONG_S)
        set_clock(clock, 0)
        stored = len(sender.stored)
        program.wait_until(lambda: len(sender.stored) > stored + ENOUGH, "receipts", GIVE_UP_S)
        assert len(fired(program)) == len(jumps), "somebody was woken by a clock that was ahead"
        assert program.http.get("/readyz").status_code == 200
        sender.stop()
        assert sender.statuses <= {200, 400}
        assert sender.reasons <= REFUSED
        (found,) = program.get("/prometheus/api/v1/query", query=f"count_over_time({STEADY}[1d])")["data"]["result"]
        assert int(found["value"][1]) == len(sender.stored)
        assert waiting.process.poll() is None
        assert "Quantum is ready" not in waiting.text()
    tell(
        f"F33: the clock was behind {len(jumps)} times and ahead once, seed {seed}: {len(sender.stored)} batches stored"
        f", others refused as {sorted(sender.reasons)}, {len(jumps)} alerts that there had to be, no other"
    )


def another(folder: Path, environment: dict[str, str]) -> AbstractContextManager[Child]:
    """Start a writer that waits for the lease; a child for the length of a block."""
    more = {"QUANTUM_STORE__WAIT_MS": "3600000"}
    return start_child(
        [QUANTUM, "run", "--port", "0", "--data-dir", folder / "b"], folder / "b.log", environment | more
    )
