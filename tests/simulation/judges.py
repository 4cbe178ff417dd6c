"""The judges: what is on the disk and what people saw, against a plain replay of the log and what was written down."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from tests.simulation.life import digest_of, plain_pipeline
from tests.simulation.world import SERIES, bits

from quantum.application.monitoring import merged
from quantum.application.ports import AlertFilter, AnomalyFilter, AuditFilter, Page
from quantum.domain.alerts import AlertState
from quantum.domain.default_policies import DEFAULT_POLICIES
from quantum.domain.facts import PutPolicy, Samples, command_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.world import Row, World

    from quantum.application.ingest import Receipt
    from quantum.application.ports import Delivery
    from quantum.domain.alerts import Effects
    from quantum.domain.facts import Fact

ALL: Final = Page(limit=100_000)


async def judge(world: World) -> list[str]:
    """Return everything that is wrong, one sentence each."""
    wrongs = [*world.books.wrongs, *world.loop.failures]
    async with world.wiring.store(world.disk) as store:
        begins = await store.begins_after()
        facts = [*world.disk.forgotten[:begins], *await _read(store, begins)]
        # a heartbeat may have been appended while it stopped; the next start would take it in
        taken = world.life.workspace.monitor().pipeline.position
        replay = Replay(facts[:taken], {position for position, _ in world.saved})
        wrongs += judge_log(facts)
        wrongs += judge_samples(world, facts, begins)
        wrongs += await judge_store(store, facts[begins:])
        deliveries = await store.deliveries(None, ALL)
        wrongs += await judge_conclusions(store, replay, deliveries)
        wrongs += judge_states(world, replay)
        wrongs += judge_commands(world, facts, replay)
        wrongs += judge_beginning(facts, begins)
        wrongs += judge_notifications(world, replay, deliveries)
    return wrongs


async def _read(store: Any, after: int) -> list[Fact]:
    facts: list[Fact] = []
    while more := await store.read(facts[-1].position if facts else after, 100_000):
        facts += more
    return facts


class Replay:
    """What a plain pipeline concludes from the log.

    Attributes:
        effects: all of them.
        refused: positions of commands that were refused.
        states: digests of the pipeline's state at some positions.
    """

    def __init__(self, facts: list[Fact], positions: set[int]) -> None:
        pipeline = plain_pipeline()
        self.refused: set[int] = set()
        self.states: dict[int, str] = {}
        found: list[Effects] = []
        for fact in facts:
            step = pipeline.step(fact)
            found.append(step.effects)
            if step.refusal is not None:
                self.refused.add(fact.position)
            if fact.position in positions:
                self.states[fact.position] = digest_of(pipeline.dump())
        self.effects = merged(found)


def judge_log(facts: list[Fact]) -> Iterator[str]:
    """Positions have no gaps, and time does not go back."""
    if [fact.position for fact in facts] != list(range(1, len(facts) + 1)):
        yield f"positions have gaps: {[fact.position for fact in facts]}"
    if any(after.at_ms < before.at_ms for before, after in pairwise(facts)):
        yield "time goes back in the log"


def rows_of(facts: list[Fact]) -> list[tuple[int, int, int]]:
    """Return slot, time and value of every row, in order."""
    batches = [fact.body.batch for fact in facts if isinstance(fact.body, Samples)]
    return [
        row
        for batch in batches
        for row in zip(batch.slots.tolist(), batch.at_ms.tolist(), batch.values.view(np.int64).tolist(), strict=True)
    ]


def judge_samples(world: World, facts: list[Fact], begins: int) -> Iterator[str]:
    """What was acknowledged is stored once, as it was answered; nothing is stored that was not sent.

    What was forgotten and sent again is new again: of that nothing is claimed here.
    """
    names = {slot: one for fact in facts if isinstance(fact.body, Samples) for slot, one in fact.body.new_series}
    numbers = {slot: SERIES.index(one) for slot, one in names.items()}
    if len(set(names.values())) != len(names) or sorted(names) != list(range(len(names))):
        yield f"series have not one slot each: {names}"
        return
    old, recent = rows_of(facts[:begins]), rows_of(facts[begins:])
    forgotten = {(numbers[slot], at_ms) for slot, at_ms, _ in old}
    rows = [(numbers[slot], at_ms, value) for slot, at_ms, value in old + recent]
    stored = {row[:2]: row[2] for row in rows}
    twice = {key for key, count in Counter(row[:2] for row in rows).items() if count > 1}
    if twice - forgotten:
        yield f"stored twice: {sorted(twice - forgotten)}"
    if invented := [row for row in rows if row[2] not in world.books.sent.get(row[:2], ())]:
        yield f"stored, but never sent: {invented}"
    if sum(receipt.accepted for _, receipt in world.books.receipts) > len(rows):
        yield f"more samples were acknowledged as new than the {len(rows)} that are stored"
    for sent, receipt in world.books.receipts:
        if not twice & {row[:2] for row in sent}:
            yield from judge_receipt(sent, receipt, stored)


def judge_receipt(sent: list[Row], receipt: Receipt, stored: dict[tuple[int, int], int]) -> Iterator[str]:
    """What is stored is what a sender was told."""
    same = sum(stored.get((number, at_ms)) == bits(value) for number, at_ms, value in sent)
    others = sum((number, at_ms) in stored for number, at_ms, _ in sent) - same
    answered = (receipt.accepted + receipt.duplicates, receipt.rejected.get("duplicate_value", 0))
    if answered != (same, others) or sum(answered) != len(sent):
        yield f"answered {receipt} to {sent}, of which {same} are stored and {others} have another value"


async def judge_store(store: Any, facts: list[Fact]) -> list[str]:
    """Samples that are read are those of the facts that are left."""
    slots = [slot for slot, _ in await store.series()]
    found = await store.samples(slots, 0, 1 << 60)
    rows = sorted(zip(found.slots.tolist(), found.at_ms.tolist(), found.values.view(np.int64).tolist(), strict=True))
    return [] if rows == sorted(rows_of(facts)) else ["what is read is not what the facts say"]


async def judge_conclusions(store: Any, replay: Replay, deliveries: list[Delivery]) -> list[str]:
    """Alerts, incidents and all the rest are those of a replay."""
    effects, wrongs = replay.effects, list[str]()
    expected: dict[str, dict[Any, object]] = {
        "alerts": {one.id: one for one in effects.alerts},
        "incidents": {one.id: one for one in effects.incidents},
        "anomalies": {one.id: one for one in effects.anomalies},
        "audit": {one.id: one for one in effects.audit},
        "intents": {one.id: one for one in effects.intents},
        "transitions": {(one.alert_id, one.seq): one for one in effects.transitions},
    }
    alerts = await store.alerts(AlertFilter(states=tuple(AlertState)), ALL)
    histories = [transition for alert in alerts for transition in (await store.alert(alert.id))[1]]
    found: dict[str, dict[Any, object]] = {
        "alerts": {one.id: one for one in alerts},
        "incidents": {one.id: one for one in await store.incidents((), ALL)},
        "anomalies": {one.id: one for one in await store.anomalies(AnomalyFilter(), ALL)},
        "audit": {one.id: one for one in await store.audit(AuditFilter(), ALL)},
        "intents": {one.intent.id: one.intent for one in deliveries},
        "transitions": {(one.alert_id, one.seq): one for one in histories},
    }
    for kind, wanted in expected.items():
        # by what they look like: there are NaN in them, which are equal to nothing
        differing = [
            key for key in wanted.keys() | found[kind].keys() if repr(wanted.get(key)) != repr(found[kind].get(key))
        ]
        if differing:
            wrongs.append(f"{kind} are not those of a replay: {sorted(map(str, differing))}")
    return wrongs


def judge_states(world: World, replay: Replay) -> Iterator[str]:
    """Whatever was saved of the state is, byte for byte, what a replay has there."""
    for position, digest in world.saved:
        if digest != replay.states.get(position):
            yield f"the state that was saved at {position} is not that of a replay"


def judge_commands(world: World, facts: list[Fact], replay: Replay) -> Iterator[str]:
    """A command that was acknowledged was carried out, one that was refused was not, each at least once."""
    outcomes = {(repr(command_in(fact.body)), fact.position in replay.refused) for fact in facts}
    for commands, is_refused in ((world.books.obeyed, False), (world.books.refused, True)):
        for command in commands:
            if (repr(command), is_refused) not in outcomes:
                yield f"people were told that this was {'refused' if is_refused else 'done'}, and it was not: {command}"


def judge_beginning(facts: list[Fact], begins: int) -> Iterator[str]:
    """What everybody begins with was put in force, however often the first start had to begin again.

    Here facts may be forgotten after 20 s, before that was done; it is taken to be long ago then, and nothing claimed.
    """
    put = {body.policy.id for fact in facts if isinstance(body := command_in(fact.body), PutPolicy)}
    if not begins and (missing := [policy.name for policy in DEFAULT_POLICIES if policy.id not in put]):
        yield f"policies that everybody begins with are missing: {missing}"


def judge_notifications(world: World, replay: Replay, deliveries: list[Delivery]) -> Iterator[str]:
    """Every notification arrives, is repeated only for a reason and under its key, and in the order of its alert."""
    wanted = {one.id for one in replay.effects.intents}
    told = Counter(one.id for one in world.receivers.taken)
    if unheard := told.keys() - wanted:
        yield f"told, though there was nothing to tell: {sorted(unheard)}"
    # what became due while it stopped is told by the next start
    late = {one.id for one in replay.effects.intents if one.at_ms > world.settled_at_ms}
    lost = wanted - late - told.keys() - world.receivers.refused
    if lost:
        details = {one.intent.id: one.detail for one in deliveries}
        yield f"never told: {sorted((one, details.get(one)) for one in lost)}"
    repeated = sum(told.values()) - len(told)
    reasons = world.crashes + world.receivers.swallowed + world.unnoted
    if repeated > reasons:
        yield f"{repeated} notifications were repeated, for which there were {reasons} reasons"
    seen: dict[tuple[str, str], int] = {}
    for one in world.receivers.taken:
        place = (one.alert.id, one.receiver)
        if one.alert.seq < seen.get(place, 0):
            yield f"told out of order: {place}"
        seen[place] = one.alert.seq
