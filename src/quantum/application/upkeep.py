"""Upkeep: merges what was stored in small pieces, rolls up what is older than it has to be kept, and forgets it.

Facts are kept by the time at which they were accepted, because the log is ordered by it: samples that are imported late
are kept as long as those that came at once. Rollups, and samples of series that are kept longer than the log, are kept
by the time of the samples, which is all that they say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from quantum.application.keeping import Keeping
    from quantum.application.ports import (
        AlertStore,
        AuditStore,
        CheckpointStore,
        Clock,
        FactLog,
        RollupStore,
        SampleStore,
    )

UPKEEP_MS: Final = 20_000


class Upkeep:
    """The pump that keeps the store small and quick."""

    def __init__(
        self,
        log: FactLog,
        samples: SampleStore,
        rollups: RollupStore,
        alerts: AlertStore,
        checkpoints: CheckpointStore,
        clock: Clock,
        keeping: Keeping,
        keep_alerts_ms: int,
        audit: AuditStore,
        keep_audit_ms: int,
    ) -> None:
        self._log, self._samples, self._rollups = log, samples, rollups
        self._alerts, self._checkpoints, self._clock = alerts, checkpoints, clock
        self._keeping, self._keep_alerts_ms = keeping, keep_alerts_ms
        self._audit, self._keep_audit_ms = audit, keep_audit_ms
        self._has_looked = False

    async def run_once(self) -> None:
        """Wait, then do all that is due."""
        await self._clock.sleep(UPKEEP_MS)
        while await self._samples.merge():
            pass
        now_ms = self._clock.now_ms()
        if await self._forget(now_ms) or not self._has_looked:
            await self._keeping.look(now_ms)
            self._has_looked = True

    async def _forget(self, now_ms: int) -> bool:
        """Forget everything up to the newest landmark that is old enough; return whether that is more than before."""
        before_ms = now_ms - self._keeping.retention.log_ms
        old = [position for position, at_ms in await self._checkpoints.landmarks() if at_ms <= before_ms]
        if not old or old[-1] <= await self._log.begins_after():
            return False
        while await self._rollups.roll_up(old[-1]):
            pass
        await self._samples.forget(old[-1], self._keeping.samples_from_ms(now_ms))
        await self._alerts.prune(now_ms - self._keep_alerts_ms)
        await self._rollups.forget_rollups(self._keeping.rollups_from_ms(now_ms))
        await self._audit.prune_audit(now_ms - self._keep_audit_ms)
        return True
