"""The checks after an ordeal: what was acknowledged is there once, what was not promised is not, alerts came once each.

A ledger client sends batches and drives a signal while a test does harm to the program or its parts. Afterwards the
store, the alerts, the notifications and a replay of all facts are held against the ledger.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tests.parts.ledger import LANES, value_of
from tests.parts.program import ALONE, run_quantum

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.parts.ledger import Books, LedgerClient
    from tests.parts.program import Program
    from tests.parts.sink import Sink

SETTLE_WITHIN_S: Final = 300.0
"""Only a program that hangs takes so long; how long it should take is measured elsewhere."""
ROWS_AT_ONCE: Final = 5000
ROWS_AT_MOST: Final = 11_000
"""More than a window of so many batches can have, so that none is left out for a picture's sake."""
MADE, THERE_ALREADY, TRY_AGAIN = 201, 409, 503
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


def begin(directory: Path, client: LedgerClient, sink: Sink) -> None:
    """Set the scene with a program of its own."""
    with run_quantum(directory / "data", directory / "log", environment=ALONE) as program:
        set_the_scene(program, client, sink)


def set_the_scene(program: Program, client: LedgerClient, sink: Sink) -> None:
    """Let samples be scored once: the first time on a machine, code is compiled and cached."""
    put_in_force(program, "/api/v1/receivers", {"name": "sink", "url": sink.url})
    put_in_force(program, "/api/v1/policies", POLICY)
    client.start()
    client.use(program.base)
    program.wait_until(lambda: program.get("/api/v1/overview")["samples_total"] or None, "a score", SETTLE_WITHIN_S)


def put_in_force(program: Program, path: str, body: Mapping[str, Any]) -> None:
    """Make a receiver or a policy; where nobody scores yet, what was stored in time for no answer is there later."""
    statuses: list[int] = []

    def is_made() -> bool | None:
        statuses.append(program.http.post(path, json=body).status_code)
        return statuses[-1] != TRY_AGAIN or None

    program.wait_until(is_made, f"an answer to a POST to {path}", SETTLE_WITHIN_S)
    assert statuses[-1] == MADE or (statuses[-1] == THERE_ALREADY and len(statuses) > 1), statuses


def check_samples(program: Program, books: Books, client: LedgerClient, tell: Callable[[str], None]) -> None:
    assert client.books.refused == []
    stored = read_lanes(program, books)
    lost, doubled = stored.lost(books), stored.doubled()
    tell(
        f"{len(books.acknowledged) * LANES:,} samples acknowledged ({client.retries} requests repeated), "
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
        rows = []
        for first in range(0, len(books.sent), ROWS_AT_ONCE):
            times = books.sent[first : first + ROWS_AT_ONCE]
            window = program.get(path, start_ms=times[0], end_ms=times[-1] + 1, points=ROWS_AT_MOST)
            rows += [row for row in zip(window["at_ms"], window["value"], strict=True) if row[1] is not None]
        stored.at_ms[lane] = [at_ms for at_ms, _ in rows]
        stored.corrupt += sum(value != value_of(lane, at_ms) for at_ms, value in rows)
    return stored


def check_alerts(
    program: Program, client: LedgerClient, sink: Sink, tell: Callable[[str], None], most_repeated: int
) -> None:
    alerts = [one for one in all_alerts(program) if one["policy_name"] == POLICY_NAME]
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
    tell(f"{len(alerts)} alerts, {len(told)} notifications, {repeated} repeated with the same key")
    assert set(told) == set(intents)
    assert len(intents) == 2 * len(alerts)
    assert repeated <= most_repeated
    check_replay(program)


def all_alerts(program: Program) -> list[dict[str, Any]]:
    """Return all alerts there ever were, newest first."""
    page = program.get("/api/v1/alerts", limit=1000)
    found = list(page["items"])
    while page.get("next_cursor"):
        page = program.get("/api/v1/alerts", limit=1000, cursor=page["next_cursor"])
        found += page["items"]
    return found


def delivered(program: Program, alert_id: str) -> Any:
    detail = program.get(f"/api/v1/alerts/{alert_id}")
    return detail if detail["deliveries"] and all(one["outcome"] == "sent" for one in detail["deliveries"]) else None


def check_replay(program: Program) -> None:
    """The facts alone lead to the very alerts that were raised, in spite of all the deaths."""
    now_ms = program.get("/api/v1/overview")["at_ms"]
    report = program.post("/api/v1/replay", {"start_ms": 1, "end_ms": now_ms + 1})
    assert (report["only_replayed"], report["only_live"]) == ([], [])
