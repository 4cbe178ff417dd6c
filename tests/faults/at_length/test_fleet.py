"""Harm to a whole fleet under load: two writers, two workers, two gateways, PostgreSQL, Kafka, Redis, and every edge.

Rows F1 to F4, F7, F9, F10, F14, F20 to F22, F36 to F39 and F41 of the fault matrix in docs/reliability.md. A sender
speaks to the gateways; a watcher holds a live socket at one of them. Each harm is done in a seeded order, and waited
for is only that samples are stored and scored again: what was killed may still be starting when the next harm comes. At
the end the books are held against store, alerts, notifications, a replay, and one process that takes the same facts.

`TEST_FAULT_ROUNDS` says how often the short harms are done, `TEST_LONG_ROUNDS` how often those that last
`TEST_OUTAGE_S` each; `TEST_HARMS` picks those whose names have one of some words (`TEST_HARMS="F20,F22"`).
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import httpx
import numpy as np
import pytest
from redis import Redis
from tests.parts.crashing import OF_ASKERS, OF_WORKERS
from tests.parts.fleet import GATEWAYS, WORKERS, WRITERS, Fleet, new_fleet, settings_of
from tests.parts.ledger import LANES, LedgerClient, read_ledger
from tests.parts.ordeal import POLICY_NAME, check_alerts, check_samples, set_the_scene
from tests.parts.sink import Sink, run_sink
from tests.parts.watcher import Watcher
from tests.system.test_roles import check_against_one_process

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OUTAGE_S: Final = float(os.environ.get("TEST_OUTAGE_S", "4"))
HARMS: Final = [word for word in os.environ.get("TEST_HARMS", "").split(",") if word]
SERIES: Final = LANES + 1
SETTLE_S: Final = 300.0
"""Only what hangs takes so long."""
GOOD, AGAIN = 200, 503
REASONS: Final = {"unavailable", "overloaded"}
EVERY_S: Final = 3.0
"""So often a worker leaves or comes in a storm of rebalances."""
MOST_PASSES: Final = 5
ANSWER_S: Final = 600.0
"""A replay of the whole ordeal takes its time."""
LEASE_S: Final = 12.0
"""A writer that is cut off from the database for longer is replaced."""
SMALL: Final = "1mb"
REPLACED: Final = 1
"""With this status a writer ends that was replaced: like one that is killed, it may not have noted yet who was told."""


@dataclass(slots=True)
class Ordeal:
    """A fleet under load, and how soon it went on after each harm."""

    fleet: Fleet
    client: LedgerClient
    watcher: Watcher
    generator: np.random.Generator
    stored_s: dict[str, list[float]] = field(default_factory=dict)
    scored_s: dict[str, list[float]] = field(default_factory=dict)

    # ---- short harms ------------------------------------------------------------------------------------------

    def short(self) -> dict[str, Callable[[], object]]:
        """Return, by name, what is over at once."""
        harms: dict[str, Callable[[], object]] = {
            "F1 gateway killed": lambda: self.fleet.kill(self.one_of(GATEWAYS)),
            "F2, F4 writer killed": self.kill_writer,
            "F2, F4 writer killed at a named point": self.doom_writer,
            "F3 worker killed": lambda: self.fleet.kill(self.one_of(WORKERS)),
            "F3 worker killed at a named point": self.doom_worker,
            "F7 Kafka killed": lambda: self.fleet.kill("kafka"),
            "F9 Kafka killed, forgets who produced": self.forget_producers,
            "F14, F38 answers of the database lost": lambda: self.lose_answers(f"{self.fleet.writer()}>postgres"),
            "F20 Redis emptied": lambda: self.redis().flushall(),
            "F22 Redis killed": self.kill_redis,
            "F36 worker stopped": lambda: self.fleet.tell(self.one_of(WORKERS), signal.SIGTERM),
            "F38 answers of the writer lost": lambda: self.lose_answers(f"gateway>{self.fleet.writer()}"),
            "F39 every edge cut": self.cut_every_edge,
            "F41 gateway stopped": self.stop_gateway,
        }
        return harms

    def one_of(self, names: tuple[str, ...]) -> str:
        return str(self.generator.choice(names))

    def redis(self) -> Redis:
        return Redis(port=self.fleet.redis.port)

    def kill_writer(self) -> None:
        self.fleet.kill(self.fleet.writer())

    def doom_writer(self) -> None:
        """Let the writer that waits die at a point once it writes; to that end the one that writes is kept away."""
        writer = self.fleet.writer()
        other = next(name for name in WRITERS if name != writer)
        with self.fleet.away(writer):
            self.die(other, self.one_of(tuple(OF_ASKERS)))

    def doom_worker(self) -> None:
        self.die(self.one_of(WORKERS), self.one_of(tuple(OF_WORKERS)))

    def die(self, name: str, point: str) -> None:
        """Have a process die by itself at a point of its work."""
        ended = self.fleet.doom(name, point, int(self.generator.integers(1, MOST_PASSES)))
        self.fleet.wait_until(lambda: len(self.fleet.ended[name]) > ended, f"the death of {name} at {point}")
        assert self.fleet.ended[name][-1] == -signal.SIGKILL

    def forget_producers(self) -> None:
        """Take away what the broker knows of idempotent producers, as when it is set up anew (aiokafka#1017)."""
        with self.fleet.away("kafka"):
            for snapshot in (self.fleet.broker.home / "data").glob("quantum.*/*.snapshot"):
                snapshot.unlink()

    def kill_redis(self) -> None:
        """Kill Redis; live events have to come again."""
        self.fleet.kill("redis")
        began_s = time.monotonic()
        self.fleet.wait_until(self.fleet.redis.answers, "an answer of Redis")
        self.fleet.wait_until(lambda: self.watcher.heard_s > began_s, "a live event after Redis was killed")

    def lose_answers(self, edge: str) -> None:
        """Let what is asked arrive and be done, and nobody hear of it."""
        proxy = self.fleet.edges[edge]
        proxy.mute = True
        time.sleep(0.3)
        proxy.cut()
        proxy.mute = False

    def cut_every_edge(self) -> None:
        for name in self.generator.permutation(sorted(self.fleet.edges)):
            self.fleet.edges[str(name)].cut()

    def stop_gateway(self) -> None:
        """Stop a gateway as a rolling restart does: it ends well, and says so to whoever watches."""
        name = self.one_of(GATEWAYS)
        self.fleet.wait_until(lambda: self.fleet.is_ready(name), f"{name} to be ready")
        ended = len(self.fleet.ended[name])
        self.fleet.tell(name, signal.SIGTERM)
        self.fleet.wait_until(lambda: len(self.fleet.ended[name]) > ended or None, f"the end of {name}")
        assert self.fleet.ended[name][-1] == 0

    # ---- long harms -------------------------------------------------------------------------------------------

    def long(self) -> dict[str, Callable[[], object]]:
        """Return, by name, what lasts."""
        apart = ("writer>kafka", "ml>kafka", "ml>postgres", "gateway>postgres", "gateway>writer-1", "gateway>writer-2")
        harms: dict[str, Callable[[], object]] = {
            "F7 Kafka away": partial(self.live_without, "kafka"),
            "F10 Kafka frozen": partial(self.live_with_frozen, "kafka"),
            "F21 Redis away": partial(self.live_without, "redis"),
            "F21 Redis frozen": partial(self.live_with_frozen, "redis"),
            "F21 Redis full": self.fill_redis,
            "F36 workers come and go": self.storm,
            "F37 the writer apart from the database": self.replace_writer,
            "F38 answers of the database held": lambda: self.apart(
                f"{self.fleet.writer()}>postgres", answers_only=True
            ),
            "F39 edges clogged in any order": self.swizzle,
        }
        return harms | {f"F37 apart: {edge}": partial(self.apart, edge) for edge in apart}

    def live_without(self, part: str) -> None:
        with self.fleet.away(part):
            time.sleep(OUTAGE_S)

    def live_with_frozen(self, part: str) -> None:
        with self.fleet.frozen(part):
            time.sleep(OUTAGE_S)

    def fill_redis(self) -> None:
        """Let Redis have no room for anything new."""
        redis = self.redis()
        redis.config_set("maxmemory", SMALL)
        time.sleep(OUTAGE_S)
        redis.config_set("maxmemory", "0")

    def storm(self) -> None:
        """Let a worker leave and come back again and again, so that lanes are dealt out all the time."""
        end_s = time.monotonic() + OUTAGE_S
        while time.monotonic() < end_s:
            self.fleet.tell(self.one_of(WORKERS), signal.SIGTERM)
            time.sleep(EVERY_S)

    def apart(self, edge: str, *, answers_only: bool = False) -> None:
        """Let nothing pass on an edge, and nobody be told."""
        proxy = self.fleet.edges[edge]
        proxy.hold(answers_only=answers_only)
        time.sleep(OUTAGE_S)
        proxy.release()

    def hold_answers(self) -> None:
        self.apart(f"{self.fleet.writer()}>postgres", answers_only=True)

    def replace_writer(self) -> None:
        """Let the writer be alone with its lease until another has taken over; what it writes then is refused."""
        writer = self.fleet.writer()
        proxy = self.fleet.edges[f"{writer}>postgres"]
        proxy.hold()
        time.sleep(max(OUTAGE_S, LEASE_S))
        other = next(name for name in WRITERS if name != writer)
        self.fleet.wait_until(lambda: self.fleet.is_ready(other), f"{other} in the place of {writer}")
        proxy.release()

    def swizzle(self) -> None:
        """Clog all edges one after the other, and let them go in another order (as FoundationDB does)."""
        edges, pause_s = sorted(self.fleet.edges), OUTAGE_S / 2 / len(self.fleet.edges)
        for name in self.generator.permutation(edges):
            self.fleet.edges[str(name)].hold()
            time.sleep(pause_s)
        for name in self.generator.permutation(edges):
            self.fleet.edges[str(name)].release()
            time.sleep(pause_s)

    # ---- afterwards -------------------------------------------------------------------------------------------

    def settle(self, name: str) -> None:
        """Wait until samples are stored and scored again, and note how long that took."""
        begin_s, answered = time.monotonic(), len(self.client.books.acknowledged)
        self.fleet.wait_until(lambda: len(self.client.books.acknowledged) > answered + 1, f"a receipt after {name}")
        self.stored_s.setdefault(name, []).append(time.monotonic() - begin_s)
        due = len(self.client.books.acknowledged) * SERIES
        self.fleet.wait_until(lambda: self.scored() >= due, f"all scores after {name}")
        self.scored_s.setdefault(name, []).append(time.monotonic() - begin_s)

    def scored(self) -> int:
        """Return how many samples the writer has scored, 0 if there is none just now."""
        found = [0]
        for base in self.fleet.bases(WRITERS):
            with suppress(httpx.TransportError):
                answer = httpx.get(f"{base}/api/v1/overview", timeout=5, trust_env=False)
                found.append(answer.json()["samples_total"] if answer.status_code == GOOD else 0)
        return max(found)


def chosen(harms: dict[str, Callable[[], object]], rounds: int) -> list[tuple[str, Callable[[], object]]]:
    """Return the harms that were asked for, each as often as it is to be done."""
    wanted = [one for one in harms.items() if not HARMS or any(word in one[0] for word in HARMS)]
    return wanted * rounds


def note(folder: Path, text: str) -> None:
    """Write down how far it has come, for whoever waits for it or finds it stuck."""
    with (folder / "harms").open("a", encoding="ascii") as file:
        file.write(f"{text} ")


def begin(fleet: Fleet, client: LedgerClient, sink: Sink) -> None:
    """Start everything at once, and let the sender use the gateways."""
    fleet.start()
    with httpx.Client(base_url=fleet.base(fleet.writer()), timeout=120, trust_env=False) as http:
        set_the_scene(fleet.program(fleet.writer(), http), client, sink)
    for name in GATEWAYS:
        fleet.wait_until(partial(fleet.is_ready, name), f"{name} to be ready")
    client.use(*fleet.bases(GATEWAYS), looked_at=fleet.bases(WRITERS))


@pytest.mark.parametrize("kind", ["short", "long"])
def test_whatever_is_done_to_the_fleet_nothing_is_lost_doubled_missed_or_told_wrong(
    kind: str, tmp_path: Path, rounds: int, long_rounds: int, seed: int, tell: Callable[[str], None]
) -> None:
    client = LedgerClient(tmp_path / "ledger", POLICY_NAME)
    generator = np.random.default_rng(seed)
    with new_fleet(tmp_path) as fleet, run_sink() as sink, ExitStack() as stack:
        stack.callback(client.stop)
        begin(fleet, client, sink)
        watcher = Watcher(*fleet.bases(GATEWAYS))
        stack.callback(watcher.stop)
        ordeal = Ordeal(fleet, client, watcher, generator)
        harms = chosen(ordeal.short(), rounds) if kind == "short" else chosen(ordeal.long(), long_rounds)
        for number in generator.permutation(len(harms)).tolist():
            name, harm = harms[number]
            note(tmp_path, f"{name} ...")
            harm()
            ordeal.settle(name)
            note(
                tmp_path, f"stored after {ordeal.stored_s[name][-1]:.1f} s, scored {ordeal.scored_s[name][-1]:.1f} s\n"
            )
        check(ordeal, sink, tmp_path, tell)
    for name in sorted(ordeal.stored_s):
        stored_s, scored_s = ordeal.stored_s[name], ordeal.scored_s[name]
        tell(
            f"fleet, seed {seed}: {name}, {len(stored_s)} times: stored again within {max(stored_s):.1f} s"
            f" (median {np.median(stored_s):.1f} s), all scored within {max(scored_s):.1f} s"
            f" (median {np.median(scored_s):.1f} s)"
        )


def check(ordeal: Ordeal, sink: Sink, folder: Path, tell: Callable[[str], None]) -> None:
    """Hold everything against the books."""
    fleet, client, watcher = ordeal.fleet, ordeal.client, ordeal.watcher
    assert client.finish(SETTLE_S), f"the signal came down, but its alert did not\n{fleet.logs()}"
    assert {status for _, status, _ in client.answers} <= {GOOD, AGAIN}
    assert client.hopeless == 0
    assert client.reasons <= REASONS
    refused = sum(status != GOOD for _, status, _ in client.answers)
    tell(f"fleet: {len(client.answers)} answers to the sender, {refused} of them 503 with Retry-After")
    writer = fleet.writer()
    with httpx.Client(base_url=fleet.base(writer), timeout=ANSWER_S, trust_env=False) as http:
        program = fleet.program(writer, http)
        fleet.wait_until(lambda: ordeal.scored() >= len(client.books.acknowledged) * SERIES, "all scores")
        check_samples(program, read_ledger(folder / "ledger"), client, tell)
        deaths = [status for name in WRITERS for status in fleet.ended[name]]
        tell(f"fleet: writers that ended: {Counter(deaths)}")
        assert set(deaths) <= {-signal.SIGKILL, REPLACED}
        check_alerts(program, client, sink, tell, len(deaths))
    watcher.stop()
    fleet.retire(next(name for name in WRITERS if name != writer))
    assert fleet.retire(writer) == 0
    check_against_one_process(dict(settings_of(fleet)))
    tell(
        f"fleet: {watcher.events} live events heard, {watcher.gaps} gaps marked, {watcher.unmarked} events missed"
        f" unmarked, sockets closed as {sorted(set(watcher.codes))}"
    )
    assert watcher.unmarked == 0
    assert watcher.events > 0
