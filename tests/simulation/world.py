"""The world around a process: who sends to it, who uses it, what harms it, and who starts it again.

Senders send until they are acknowledged and write down what they sent and heard. Then the world heals, all comes to
rest, the process is stopped in good order, and the judges look at what is on the disk and at what everybody wrote down.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from tests.facts import START_MS, labels, policy
from tests.simulation.disk import Disk, SimulatedStore
from tests.simulation.life import Life, digest_of
from tests.simulation.loop import SimulatedLoop, SimulationError
from tests.simulation.parts import Faults, SimulatedClock, SimulatedReceivers

from quantum import roles
from quantum.adapters import wire
from quantum.application import monitoring, upkeep
from quantum.application.ingest import Incoming, Receipt
from quantum.domain.civil import DAY_MS
from quantum.domain.errors import Conflict, NotFound, Rejected, Unavailable
from quantum.domain.facts import (
    AcknowledgeIncident,
    DeletePolicy,
    EndSilence,
    PutPolicy,
    PutReceiver,
    PutSilence,
    WebhookReceiver,
)
from quantum.domain.labels import Matcher, MatchOp
from quantum.domain.policies import Absence, AnomalyScore, Severity
from quantum.domain.schedules import WEEKDAYS, Schedule, day_of, span_of
from quantum.domain.silences import ALERT_NAME, Silence

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from quantum.application.monitoring import Monitor
    from quantum.domain.facts import Command
    from quantum.domain.pipeline import PipelineState

SERIES: Final = tuple(labels("cpu", host=host) for host in "abcdef")
SETTLE_WITHIN_S: Final = 1800.0
MOST_CRASHES: Final = 6
ROLES: Final = ("all", "all", roles.MONITORING)
Row = tuple[int, int, float]
"""Number of the series, time and value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a seed decides before anything begins.

    Attributes:
        role: `all` or `monitoring`.
        series: how many there are.
        senders: how many send, each so many `batches`.
        keep_ms: for how long the log is kept.
        faults: how likely each is until the world heals.
        trouble: how likely it is that a transaction fails.
        knobs: constants of the application, by module and name: small ones, so that much happens in a short time.
        harms: how many outages, changed clocks and orderly stops there are.
    """

    role: str
    series: int
    senders: int
    batches: int
    keep_ms: int
    faults: Faults
    trouble: float
    knobs: dict[tuple[Any, str], Any]
    harms: int


def draw_plan(loop: SimulatedLoop) -> Plan:
    """Draw a plan."""

    def often(*choices: Any) -> Any:
        return choices[loop.pick(len(choices))]

    knobs: dict[tuple[Any, str], Any] = {
        (monitoring, "HEARTBEAT_MS"): often(1000, 3000, 5000),
        (monitoring, "SEAL_AFTER_ROWS"): often(5, 20, 300_000),
        (monitoring, "SEAL_AFTER_MS"): often(5000, 20_000, 300_000),
        (monitoring, "CHECKPOINT_AFTER_ROWS"): often(5, 20, 300_000),
        (monitoring, "CHECKPOINT_AFTER_MS"): often(3000, 10_000, 60_000),
        (monitoring, "RECORD_AFTER_MS"): often(0, 1000, 5000),
        (monitoring, "GATHER_S"): often(0.0, 0.1, 1.0),
        (upkeep, "UPKEEP_MS"): often(2000, 10_000),
    }
    faults = Faults(
        crash=often(0.0, 0.0005, 0.002, 0.005),
        stream=often(0.0, 0.1, 0.3),
        refusal=often(0.0, 0.0, 0.2),
        failure=often(0.0, 0.3),
        swallowed=often(0.0, 0.2),
        lanes=often(0.0, 0.05),
        worker_crash=often(0.0, 0.2),
    )
    return Plan(
        role=often(*ROLES),
        series=1 + loop.pick(len(SERIES)),
        senders=1 + loop.pick(3),
        batches=3 + loop.pick(8),
        keep_ms=often(20_000, 80_000, 86_400_000),
        faults=faults,
        trouble=often(0.0, 0.02, 0.1),
        knobs=knobs,
        harms=loop.pick(4),
    )


@contextmanager
def turned(knobs: dict[tuple[Any, str], Any]) -> Iterator[None]:
    """Let constants have other values for the length of a `with` block."""
    before = {(module, name): getattr(module, name) for module, name in knobs}
    try:
        for (module, name), value in knobs.items():
            setattr(module, name, value)
        yield
    finally:
        for (module, name), value in before.items():
            setattr(module, name, value)


class Wiring:
    """How the parts are connected to the store; planted bugs do it otherwise."""

    store: type[SimulatedStore] = SimulatedStore

    def alerts(self, store: SimulatedStore) -> Any:
        """Return what conclusions are recorded with."""
        return store

    def queue(self, store: SimulatedStore) -> Any:
        """Return what notifications are taken from."""
        return store

    def built(self, workspace: Any) -> None:
        """Hear that the parts of a life are made."""


@dataclass(slots=True)
class Books:
    """What people and senders wrote down.

    Attributes:
        sent: every value that was ever sent, by series and time.
        receipts: rows of a request and what was answered.
        obeyed: commands that were carried out, as far as people know.
        refused: commands that were refused.
        keys: API keys by id, as they were issued.
        revoked: ids of keys that were acknowledged to be revoked.
        wrongs: what was seen to be wrong on the way.
    """

    sent: dict[tuple[int, int], set[int]] = field(default_factory=dict)
    receipts: list[tuple[list[Row], Receipt]] = field(default_factory=list)
    obeyed: list[Command] = field(default_factory=list)
    refused: list[Command] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    wrongs: list[str] = field(default_factory=list)


class Notebook:
    """What a process writes into its log: a warning is part of the story, an error is wrong."""

    def __init__(self, world: World) -> None:
        self._world = world

    def warning(self, event: str, **details: object) -> None:
        """Note that something has to wait."""
        self._world.loop.note(f"{event} {details}")

    def error(self, event: str, **details: object) -> None:
        """Note that something is broken."""
        self._world.books.wrongs.append(f"{event} {details}")


class World:
    """One story, as a seed tells it.

    Attributes:
        life: the process that runs now.
        lives: all that ever ran.
        crashes: how many died.
        books: what everybody wrote down.
        settled_at_ms: up to what time of the log all was told when it had come to rest.
        unnoted: how often an orderly stop could not note what became of a notification: the disk took nothing.
        saved: positions and digests of the states that were saved, or were to be.
    """

    def __init__(self, seed: int, wiring: Wiring | None = None, role: str | None = None) -> None:
        self.loop = SimulatedLoop(seed)
        drawn = draw_plan(self.loop)
        self.plan = replace(drawn, role=role) if role else drawn
        self.wiring = wiring or Wiring()
        self.clock = SimulatedClock(self.loop)
        self.disk = Disk(self.loop)
        self.faults = self.plan.faults
        self.receivers = SimulatedReceivers(self.loop, self.faults)
        self.books = Books()
        self.lives: list[Life] = []
        self.saved: list[tuple[int, str]] = []
        self.crashes = self.unnoted = self.settled_at_ms = 0

    def pack(self, state: PipelineState) -> bytes:
        """Return a state as bytes that are about to be saved, and remember for the judges what it was."""
        self.saved.append((state.memory.position, digest_of(state)))
        return wire.pack_state(state)

    @property
    def life(self) -> Life:
        """The process that runs now, or did last."""
        return self.lives[-1]

    def complain(self, who: str, error: BaseException) -> None:
        """Hear of a failure; only a part that does not answer is nothing to worry about."""
        self.loop.note(f"{who}: {error}")
        if not isinstance(error, Unavailable):
            self.books.wrongs.append(f"{who} failed: {error!r}")

    def note_crash(self) -> None:
        """Count a death; enough is enough."""
        self.crashes += 1
        if self.crashes >= MOST_CRASHES:
            self.faults.crash = 0.0

    def now_ms(self) -> int:
        """Return the time by everybody else's clock."""
        return START_MS + int(self.loop.time() * 1000)

    # ---- the story ----------------------------------------------------------------------------------------------

    def tell(self) -> None:
        """Let everything happen, until the process has stopped."""
        with turned({**self.plan.knobs, (roles, "log"): Notebook(self)}):
            self.loop.run_until_complete(self._tell())

    async def _tell(self) -> None:
        keeper = asyncio.create_task(self._keep_alive())
        harm = asyncio.create_task(self._do_harm())
        self.disk.trouble = self.plan.trouble
        await asyncio.sleep(self.loop.below(1))
        await asyncio.gather(
            self._operate(),
            self._use_keys(),
            *(self._send_all() for _ in range(self.plan.senders)),
        )
        harm.cancel()
        self._heal()
        await self._settle()
        keeper.cancel()
        self.life.stop()
        await self.life.ended.wait()

    def _heal(self) -> None:
        self.loop.note("healed")
        self.faults.heal()
        self.disk.trouble, self.disk.is_away = 0.0, False

    async def _keep_alive(self) -> None:
        while True:
            self.lives.append(Life(self))
            self.life.begin()
            await self.life.ended.wait()
            await asyncio.sleep(self.loop.below(2))

    async def _settle(self) -> None:
        """Wait until all is calm again; it has to be, some time after the world healed."""
        until_s = self.loop.time() + SETTLE_WITHIN_S
        while not await self._is_settled():
            if self.loop.time() > until_s:
                raise SimulationError("it did not come to rest after the world had healed")
            await asyncio.sleep(0.5)

    async def _is_settled(self) -> bool:
        with suppress(Unavailable):
            return self.life.is_ready and await self._has_settled(self.life)
        return False

    async def _has_settled(self, life: Life) -> bool:
        store, monitor = life.workspace.store(), life.workspace.monitor()
        position, _ = await life.ask(store.last)
        await life.ask(partial(_taken_in, monitor, position))
        self.settled_at_ms = monitor.pipeline.at_ms
        return life.is_configured() and await life.ask(store.next_due_ms) is None

    def close(self) -> None:
        """Take away what is left of it."""
        self.loop.bury()
        self.disk.file.close()

    # ---- harm ---------------------------------------------------------------------------------------------------

    async def _do_harm(self) -> None:
        for _ in range(self.plan.harms):
            await asyncio.sleep(self.loop.below(15))
            match self.loop.pick(5):
                case 0:
                    self.loop.note("outage")
                    self.disk.is_away = True
                    await asyncio.sleep(self.loop.below(12))
                    self.disk.is_away = False
                case 1:
                    self.clock.ahead_ms += int(self.loop.below(40_000)) - 20_000
                case 2:
                    self.clock.ahead_ms += 65_000
                case _ if self.lives and not self.life.is_over:
                    self.life.stop()

    # ---- senders ------------------------------------------------------------------------------------------------

    async def _send_all(self) -> None:
        """Send one batch after the other, or some at once."""
        sending: list[asyncio.Task[None]] = []
        sent: list[list[Row]] = []
        for _ in range(self.plan.batches):
            await asyncio.sleep(self.loop.below(5))
            rows = sent[self.loop.pick(len(sent))] if sent and self.loop.chance(0.15) else self._new_rows()
            sent.append(rows)
            sending.append(asyncio.create_task(self._send(rows)))
            if self.loop.chance(0.7):
                await asyncio.gather(*sending)
        await asyncio.gather(*sending)

    def _new_rows(self) -> list[Row]:
        """Return rows of some series: now, or late; new, or against what was said before."""
        at_ms = self.now_ms()
        if self.loop.chance(0.15):
            at_ms -= int(self.loop.below(20_000))
        first = self.loop.pick(self.plan.series)
        high = self.loop.chance(0.5)
        rows = [
            (number, at_ms, (95.0 if high else 5.0) + self.loop.pick(4))
            for number in range(first, min(self.plan.series, first + 1 + self.loop.pick(4)))
        ]
        if self.books.sent and self.loop.chance(0.15):
            known = list(self.books.sent)
            number, at_ms = known[self.loop.pick(len(known))]
            rows.append((number, at_ms, 200.0 + self.loop.pick(3)))
        rows = list({row[:2]: row for row in rows}.values())
        for number, at_ms, value in rows:
            self.books.sent.setdefault((number, at_ms), set()).add(bits(value))
        return rows

    async def _send(self, rows: list[Row]) -> None:
        """Send rows until they are acknowledged."""
        while True:
            receipt = await self._try(lambda life: life.workspace.ingest().accept(incoming(rows)))
            if receipt is not None:
                break
        self.books.receipts.append((rows, receipt))
        self.loop.note(f"acknowledged {receipt.accepted} {receipt.duplicates}")
        if self.loop.chance(0.2):
            await self._look(rows)

    async def _look(self, rows: Sequence[Row]) -> None:
        """Read what was acknowledged: it has to be there at once."""

        async def read(store: SimulatedStore) -> set[tuple[int, int]]:
            slots = {str(one): slot for slot, one in await store.series()}
            wanted = {number: slots[str(SERIES[number])] for number, _, _ in rows}
            found = await store.samples(list(wanted.values()), 0, 2 * START_MS)
            numbers = {slot: number for number, slot in wanted.items()}
            return {(numbers[slot], at) for slot, at in zip(found.slots.tolist(), found.at_ms.tolist(), strict=True)}

        seen = await self._try(lambda life: read(life.workspace.store()))
        missing = {row[:2] for row in rows} - (seen or set())
        if seen is not None and missing and self.plan.keep_ms > SETTLE_WITHIN_S * 1000:
            self.books.wrongs.append(f"acknowledged, but not there to be read: {sorted(missing)}")

    async def _try(self, work: Callable[[Life], Coroutine[Any, Any, Any]]) -> Any:
        """Return what the process answers; None, after a moment, if it does not."""
        if self.lives and self.life.is_ready:
            with suppress(Unavailable, TimeoutError):
                return await asyncio.wait_for(self.life.ask(partial(work, self.life)), 1 + self.loop.below(14))
        await asyncio.sleep(self.loop.below(2))
        return None

    # ---- people -------------------------------------------------------------------------------------------------

    async def _obey(self, command: Command) -> None:
        """Give a command until it is carried out or refused."""
        while True:
            try:
                done = await self._try(lambda life: _submit(life, command))
            except (Rejected, Conflict, NotFound):
                self.books.refused.append(command)
                return
            if done:
                self.books.obeyed.append(command)
                return

    async def _operate(self) -> None:
        """Set up receivers and policies, change them, and look after incidents."""
        for name in ("ops", "dev"):
            await self._obey(PutReceiver(WebhookReceiver(name=name, url=f"http://{name}/"), None, "ann"))
        for number in range(1 + self.loop.pick(3)):
            await self._obey(PutPolicy(self._new_policy(number), None, "ann"))
        for number in range(self.loop.pick(5)):
            await asyncio.sleep(self.loop.below(8))
            match self.loop.pick(5):
                case 0:
                    await self._obey(PutPolicy(self._new_policy(self.loop.pick(3)), None, f"bob {number}"))
                case 1:
                    await self._obey(DeletePolicy(f"p{self.loop.pick(3)}", None, f"bob {number}"))
                case 2:
                    await self._keep_quiet(number)
                case _:
                    await self._acknowledge(f"bob {number}")

    def _new_policy(self, number: int) -> Any:
        conditions = (None, None, AnomalyScore(raise_at=0.3, clear_at=0.2), Absence(after_ms=4000))
        return policy(
            f"p{number}",
            condition=conditions[self.loop.pick(len(conditions))],
            for_ms=(0, 0, 2000)[self.loop.pick(3)],
            keep_firing_for_ms=(0, 3000)[self.loop.pick(2)],
            severity=Severity.CRITICAL,
            receivers=(("ops",), ("ops", "dev"))[self.loop.pick(2)],
        )

    async def _keep_quiet(self, number: int) -> None:
        """Silence the alerts of a policy for some seconds, or minutes that come again; end that early, or not."""
        now_ms = self.clock.now_ms()
        made = Silence(
            id=f"s{number}",
            matchers=(Matcher(ALERT_NAME, MatchOp.EQUAL, f"p{self.loop.pick(3)}"),),
            starts_at_ms=now_ms,
            ends_at_ms=now_ms + 1000 * (1 + self.loop.pick(60)),
            comment="",
            author=f"bob {number}",
            created_at_ms=now_ms,
        )
        if number % 2:
            made = _coming_again(made)
        await self._obey(PutSilence(made, f"bob {number}"))
        if self.loop.chance(0.5):
            await asyncio.sleep(self.loop.below(8))
            await self._obey(EndSilence(made.id, f"bob {number}"))

    async def _acknowledge(self, actor: str) -> None:
        from quantum.application.ports import Page

        incidents = await self._try(lambda life: life.workspace.store().incidents((), Page()))
        if incidents:
            await self._obey(AcknowledgeIncident(incidents[self.loop.pick(len(incidents))].id, actor))

    async def _use_keys(self) -> None:
        """Have keys issued, show them, have them revoked, and show them again."""
        for number in range(self.loop.pick(4)):
            await asyncio.sleep(self.loop.below(6))
            issued = await self._try(partial(_issue, name=f"agent {number}"))
            if issued is None:
                continue
            key_id, key = issued
            self.books.keys[key_id] = key
            for _ in range(self.loop.pick(3)):
                await self._show(key_id, is_good=True)
            if self.loop.chance(0.7):
                await self._revoke(key_id)
        for _ in range(self.loop.pick(6)):
            await asyncio.sleep(self.loop.below(5))
            for key_id in self.books.keys:
                await self._show(key_id, is_good=key_id not in self.books.revoked)

    async def _revoke(self, key_id: str) -> None:
        done = None
        while not done:
            with suppress(NotFound):
                done = await self._try(lambda life: _revoke(life, key_id))
                continue
            done = True
        self.books.revoked.add(key_id)

    async def _show(self, key_id: str, *, is_good: bool) -> None:
        try:
            seen = await self._try(lambda life: life.workspace.admission().identify(self.books.keys[key_id]))
        except Rejected:
            if is_good:
                self.books.wrongs.append(f"key {key_id} is in force, and was refused")
            return
        if seen is not None and not is_good:
            self.books.wrongs.append(f"key {key_id} was revoked, and lets somebody in")


async def _taken_in(monitor: Monitor, position: int) -> None:
    """Wait until the fact at a position was taken in."""
    with suppress(Rejected, Conflict, NotFound):
        await monitor.expect(position)


async def _submit(life: Life, command: Command) -> bool:
    await life.workspace.control().submit(command)
    return True


def _coming_again(plain: Silence) -> Silence:
    """Return a silence of the minute in which a plain one starts and of the next one, today and tomorrow."""
    minute, day = plain.starts_at_ms // 60_000, plain.starts_at_ms // DAY_MS
    start, end = (f"{one // 60 % 24:02}:{one % 60:02}" for one in (minute, minute + 2))
    schedule = Schedule("UTC", WEEKDAYS, start, end, day_of(day), day_of(day + 1), ((0, 0),))
    span = span_of(schedule)
    return replace(plain, starts_at_ms=span.starts_at_ms, ends_at_ms=span.ends_at_ms, schedule=schedule)


async def _issue(life: Life, name: str) -> Any:
    return await life.workspace.keys().issue(name, ("ingest",), None, "ann")


async def _revoke(life: Life, key_id: str) -> bool:
    await life.workspace.keys().revoke(key_id, "ann")
    return True


def bits(value: float) -> int:
    """Return a value as a number that is equal only to itself."""
    return int(np.float64(value).view(np.int64))


def incoming(rows: Sequence[Row]) -> Incoming:
    """Return rows as a decoded request."""
    numbers = sorted({number for number, _, _ in rows})
    return Incoming(
        keys=[b"l" + SERIES[number].canonical() for number in numbers],
        labels_of=lambda index: SERIES[numbers[index]],
        row_series=np.array([numbers.index(number) for number, _, _ in rows], np.int64),
        at_ms=np.array([at_ms for _, at_ms, _ in rows], np.int64),
        values=np.array([value for _, _, value in rows], np.float64),
    )
