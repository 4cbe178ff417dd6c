"""kill -9 at random moments under load: nothing acknowledged is lost, nothing doubled, no alert missed or told wrongly.

`TEST_KILLS` says how often (`make faults`: 50; a fifth of that against PostgreSQL), `TEST_SEED` which moments. What
kill -9 cannot show is the loss of power: the operating system still writes what the program had handed to it.
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from tests.parts.children import start_child
from tests.parts.ledger import LANES, LedgerClient, read_ledger, value_of
from tests.parts.program import ALONE, QUANTUM, Program, run_quantum
from tests.parts.sink import Sink, run_sink

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.parts.ledger import Books

KILLS: Final = int(os.environ.get("TEST_KILLS", "5"))
SEED: Final = int(os.environ.get("TEST_SEED", "1"))
STORES: Final = {"sqlite": KILLS, "postgres": max(2, KILLS // 5)}
"""How often the program is killed on each store."""
LONGEST_LIFE_S: Final = 3.0
LONGEST_START_S: Final = 2.5
SHARE_OF_STARTS: Final = 0.2
"""How many of the kills hit a program that is still starting."""
BUSY_SHARE: Final = 0.1
RECOVER_WITHIN_S: Final = {"sqlite": 5.0, "postgres": 15.0}
"""A program on PostgreSQL may have to wait for the lease of the one that died."""
SETTLE_WITHIN_S: Final = 60.0
POLICY_NAME: Final = "signal is up"
POLICY: Final = {
    "name": POLICY_NAME,
    "matchers": [{"label": "__name__", "op": "=", "value": "signal"}],
    "condition": {"kind": "threshold", "op": "above", "raise_at": 0.5},
    "receivers": ["sink"],
}


@dataclass(slots=True)
class Stored:
    """What was found in the store: per lane the times, and how many values were wrong."""

    at_ms: dict[int, list[int]] = field(default_factory=dict)
    corrupt: int = 0

    def lost(self, books: Books) -> int:
        return sum(len(set(books.acknowledged) - set(times)) for times in self.at_ms.values())

    def doubled(self) -> int:
        return sum(len(times) - len(set(times)) for times in self.at_ms.values())

    def unacknowledged(self, books: Books) -> int:
        return sum(len(set(times) - set(books.acknowledged)) for times in self.at_ms.values())

    def unheard_of(self, books: Books) -> int:
        return sum(len(set(times) - set(books.sent)) for times in self.at_ms.values())


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
            recovered_s = kill_again_and_again(tmp_path, client, np.random.default_rng(SEED), kills)
            with run_quantum(tmp_path / "data", tmp_path / "log", environment=ALONE) as program:
                recovered_s.append(program.ready_after_s)
                client.use(program.base)
                assert client.finish(SETTLE_WITHIN_S), "the signal came down, but its alert did not"
                check_samples(program, read_ledger(tmp_path / "ledger"), client, tell)
                check_alerts(program, client, sink, tell, kills)
        finally:
            client.stop()
    tell(f"kill: {kind}, seed {SEED}, {kills} kills, ready again within {max(recovered_s):.1f} s")
    assert max(recovered_s) <= RECOVER_WITHIN_S[kind]


def begin(directory: Path, client: LedgerClient, sink: Sink) -> None:
    """Set the scene, and let samples be scored once: the first time on a machine, code is compiled and cached."""
    with run_quantum(directory / "data", directory / "log", environment=ALONE) as program:
        program.post("/api/v1/receivers", {"name": "sink", "url": sink.url}, status=201)
        program.post("/api/v1/policies", POLICY, status=201)
        client.start()
        client.use(program.base)
        program.wait_until(lambda: program.get("/api/v1/overview")["samples_total"] or None, "a score", SETTLE_WITHIN_S)


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


def check_samples(program: Program, books: Books, client: LedgerClient, tell: Callable[[str], None]) -> None:
    assert client.books.refused == []
    stored = read_lanes(program, books)
    lost, doubled = stored.lost(books), stored.doubled()
    tell(
        f"kill: {len(books.acknowledged) * LANES:,} samples acknowledged ({client.retries} requests repeated), "
        f"{lost} lost, {doubled} doubled, {stored.corrupt} corrupt, "
        f"{stored.unacknowledged(books)} stored without an acknowledgement"
    )
    assert books.acknowledged
    assert (lost, doubled, stored.corrupt, stored.unheard_of(books)) == (0, 0, 0, 0)
    everything = sum(len(times) for times in stored.at_ms.values()) // LANES * (LANES + 1)
    assert program.get("/api/v1/overview")["samples_total"] == everything


def read_lanes(program: Program, books: Books) -> Stored:
    stored = Stored()
    for lane in range(LANES):
        series = program.series(f'lane{{lane="{lane}"}}')
        assert series is not None
        path = f"/api/v1/series/{series['fingerprint']}/window"
        window = program.get(path, start_ms=books.sent[0], end_ms=books.sent[-1] + 1, points=11_000)
        rows = [row for row in zip(window["at_ms"], window["value"], strict=True) if row[1] is not None]
        stored.at_ms[lane] = [at_ms for at_ms, _ in rows]
        stored.corrupt += sum(value != value_of(lane, at_ms) for at_ms, value in rows)
    return stored


def check_alerts(program: Program, client: LedgerClient, sink: Sink, tell: Callable[[str], None], kills: int) -> None:
    alerts = [one for one in program.get("/api/v1/alerts", limit=1000)["items"] if one["policy_name"] == POLICY_NAME]
    assert sorted(one["id"] for one in alerts) == sorted(client.episodes)
    intents: list[str] = []
    for alert in alerts:
        detail = program.wait_until(partial(delivered, program, alert["id"]), "its notifications", SETTLE_WITHIN_S)
        assert [step["seq"] for step in detail["transitions"]] == list(range(1, len(detail["transitions"]) + 1))
        assert [step["after"] for step in detail["transitions"]][-2:] == ["firing", "resolved"]
        assert sink.states(alert["id"]) == ["firing", "resolved"]
        intents += [one["id"] for one in detail["deliveries"]]
    told = Counter(sink.keys())
    repeated = sum(told.values()) - len(told)
    tell(f"kill: {len(alerts)} alerts, {len(told)} notifications, {repeated} repeated with the same key")
    assert set(told) == set(intents)
    assert len(intents) == 2 * len(alerts)
    assert repeated <= kills
    check_replay(program)


def delivered(program: Program, alert_id: str) -> Any:
    detail = program.get(f"/api/v1/alerts/{alert_id}")
    return detail if detail["deliveries"] and all(one["outcome"] == "sent" for one in detail["deliveries"]) else None


def check_replay(program: Program) -> None:
    """The facts alone lead to the very alerts that were raised, in spite of all the deaths."""
    now_ms = program.get("/api/v1/overview")["at_ms"]
    report = program.post("/api/v1/replay", {"start_ms": 1, "end_ms": now_ms + 1})
    assert (report["only_replayed"], report["only_live"]) == ([], [])
