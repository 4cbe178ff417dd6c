"""Page budgets as their owners see them: what was allowed, what was spent, and which score pages now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from quantum.application.ports import AlertFilter, Page
from quantum.domain.alerts import AlertState
from quantum.domain.errors import NotFound
from quantum.domain.policies import MAX_DURATION_MS, PageBudget

if TYPE_CHECKING:
    from quantum.application.monitoring import Monitor
    from quantum.application.ports import AlertStore, Clock

ALERTS_COUNTED: Final = 10_000


@dataclass(frozen=True, slots=True)
class BudgetNow:
    """A page budget and what became of it.

    Attributes:
        spent: how many of its alerts fired within the last `condition.per_ms`.
        cut_score: the score that pages now; NaN while the policy is not in force.
    """

    policy_id: str
    condition: PageBudget
    spent: int
    cut_score: float


class Budgets:
    """Reports page budgets."""

    def __init__(self, alerts: AlertStore, monitor: Monitor, clock: Clock) -> None:
        self._alerts, self._monitor, self._clock = alerts, monitor, clock

    async def of(self, policy_id: str) -> BudgetNow:
        """Return the budget of a policy.

        Raises:
            NotFound: there is no such policy, or its condition is another.
            Unavailable: the pipeline is catching up.
        """
        known = {one.id: one.condition for one in self._monitor.in_force.catalog.policies}
        condition = known.get(policy_id)
        if not isinstance(condition, PageBudget):
            raise NotFound(f"there is no policy {policy_id} with a page budget")
        since_ms = self._clock.now_ms() - condition.per_ms
        fired = (AlertState.FIRING, AlertState.RESOLVED)
        # one that fired within the time may have been pending for as long as a policy may ask for
        wanted = AlertFilter(states=fired, policy_id=policy_id, start_ms=since_ms - MAX_DURATION_MS)
        alerts = await self._alerts.alerts(wanted, Page(limit=ALERTS_COUNTED))
        spent = sum(one.firing_at_ms is not None and one.firing_at_ms > since_ms for one in alerts)
        return BudgetNow(policy_id, condition, spent, self._monitor.pipeline.cut_score(policy_id))
