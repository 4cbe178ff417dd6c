"""Shadows: versions that are not promoted score live beside those that are, and nobody is paged for it.

Of each name the newest version watches, if it was never promoted and is newer than the one that counts. A shadow
begins to learn when it is loaded, and again when the process starts; what it would have changed in the past is told by
a trial.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from quantum.domain.drift import Drift
from quantum.domain.facts import Samples
from quantum.domain.models import ModelState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from quantum.application.ports import EventStream, FactLog, ModelStore
    from quantum.domain.detectors.trained import TrainedDetector
    from quantum.domain.facts import Fact
    from quantum.domain.labels import LabelSet, MatcherCompiler
    from quantum.domain.models import ModelVersion

MAX_SHADOWS: Final = 4
FACTS_AT_ONCE: Final = 256


@dataclass(slots=True)
class Shadow:
    """A version that watches.

    Attributes:
        met: slots below this were met.
    """

    version: int
    sha256: str
    detector: TrainedDetector
    drift: Drift = field(default_factory=Drift)
    met: int = 0


class Shadows:
    """The pump that feeds shadows. It may fall behind: then it goes on with the newest facts."""

    def __init__(
        self,
        store: ModelStore,
        log: FactLog,
        stream: EventStream,
        labels: Callable[[], Mapping[int, LabelSet]],
        compile_matchers: MatcherCompiler,
    ) -> None:
        self.skipped = 0
        self._store, self._log, self._stream = store, log, stream
        self._labels, self._compile = labels, compile_matchers
        self._shadows: dict[str, Shadow] = {}
        self._position: int | None = None

    def find(self, name: str) -> Shadow | None:
        """Return the version of a name that watches, or None."""
        return self._shadows.get(name)

    async def refresh(self) -> None:
        """Load the versions that should watch now; those that watch already go on."""
        wanted = newest_shadows(await self._store.models())
        known = {one.sha256: one for one in self._shadows.values()}
        self._shadows = {
            one.name: known[one.sha256] if one.sha256 in known else await self._loaded(one) for one in wanted
        }

    async def _loaded(self, version: ModelVersion) -> Shadow:
        from quantum.domain.detectors.trained import detector_of  # noqa: PLC0415 - imports numba, a second

        model = await self._store.model(version.name, version.version)
        return Shadow(version.version, version.sha256, detector_of(model, version.version, self._compile))

    async def run_once(self) -> None:
        """Wait for facts and let every shadow score them."""
        if self._position is None:
            await self.refresh()
            self._position, _ = await self._log.last()
        facts = await self._stream.take(self._position, FACTS_AT_ONCE)
        if facts:
            if self._shadows:  # a thread is not woken up for nothing at every request
                await asyncio.to_thread(self._take, facts, list(self._shadows.values()))
            self._position = facts[-1].position
        else:
            newest, _ = await self._log.last()
            self.skipped += newest - self._position
            self._position = newest

    def _take(self, facts: Sequence[Fact], shadows: Sequence[Shadow]) -> None:
        for fact in facts:
            if isinstance(fact.body, Samples):
                for shadow in shadows:
                    self._score(shadow, fact.body)

    def _score(self, shadow: Shadow, samples: Samples) -> None:
        fresh, labels, batch = dict(samples.new_series), self._labels(), samples.batch
        for slot in range(shadow.met, int(batch.slots.max(initial=-1)) + 1):
            found = fresh.get(slot) or labels.get(slot)
            if found is None:
                break
            shadow.detector.meet(slot, found)
            shadow.met = slot + 1
        shadow.drift.take(shadow.detector.score_and_learn(batch.slots, batch.at_ms, batch.values))


def newest_shadows(versions: Sequence[ModelVersion]) -> list[ModelVersion]:
    """Return the versions that watch: of each name the newest, if it is a shadow; the latest made, up to a limit."""
    newest = {one.name: one for one in versions}
    shadows = [one for one in newest.values() if one.state is ModelState.SHADOW]
    return sorted(shadows, key=lambda one: (-one.created_at_ms, one.name))[:MAX_SHADOWS]
