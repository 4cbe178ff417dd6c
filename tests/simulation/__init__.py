"""Deterministic simulation: the application in a world that a seed makes up, and judges who look at what came of it.

loop.py     an event loop with virtual time, whose order the seed decides
disk.py     the embedded store, on a disk that outlives the process and may fail
parts.py    clock, stream, receivers and lanes, and what is wrong with them
life.py     one process, from its start to its death, as `roles.py` starts it
world.py    senders, people, harm, and who starts the process again
judges.py   what must hold afterwards, whatever happened
planted.py  bugs that the judges have to find
"""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.simulation.judges import judge
from tests.simulation.loop import SimulationError
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.world import Wiring


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a seed.

    Attributes:
        wrongs: what is wrong, one sentence each.
        trace: a digest of all that happened, in order.
    """

    seed: int
    wrongs: tuple[str, ...]
    trace: str
    steps: int
    crashes: int

    @property
    def command(self) -> str:
        """The line that does the same again."""
        return f"make simulate SEEDS=1 SEED={self.seed}"


def simulate(seed: int, wiring: Wiring | None = None, role: str | None = None) -> Verdict:
    """Let a seed tell its story and judge it."""
    # what a dead process leaves must not be tidied up, which runs its `finally` blocks, at some moment of another story
    gc.disable()
    world = World(seed, wiring, role)
    try:
        world.tell()
        wrongs = world.loop.run_until_complete(judge(world))
    except SimulationError as error:
        wrongs = [*world.books.wrongs, str(error)]
    finally:
        world.close()
        gc.collect()
        gc.enable()
    return Verdict(seed, tuple(wrongs), world.loop.trace, world.loop.steps, world.crashes)
