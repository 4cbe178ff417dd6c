"""Several tenants in one process keep their data for different times: what one forgets is there for the others."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.security.test_tenants import Members, of, taken_in
from tests.watching import Watching

from quantum.application.upkeep import UPKEEP_MS
from quantum.settings import DAY_MS, IngestLimits, KeepRule, Retention, Settings, Store

if TYPE_CHECKING:
    from pathlib import Path

DAYS: Final = 36
STEP_MS: Final = 2 * DAY_MS
USUAL_DAYS: Final = 30
SHORT_DAYS: Final = {"one": 4, "two": 16, "three": USUAL_DAYS}
"""By tenant, for how long its series `debug` is kept; the last one has no rule."""
LANDMARKS: Final = 8
"""What is forgotten is up to so manyth of the shortest term older than asked."""


def settings_of(kind: str, folder: Path, url: str, prefix: str) -> Settings:
    """Settings under which each tenant has terms of its own; their names begin with a prefix."""
    ruled = [name for name, days in SHORT_DAYS.items() if days < USUAL_DAYS]
    rules = [KeepRule(match="debug", days=SHORT_DAYS[name], rollup_days=1, tenants=(prefix + name,)) for name in ruled]
    return Settings(
        store=Store(kind="postgres" if kind == "postgres" else "sqlite", url=url, tenant=f"{prefix}one"),
        data_dir=str(folder),
        tenants=tuple(prefix + name for name in SHORT_DAYS),
        retention=Retention(days=USUAL_DAYS, rollup_days=1, rules=tuple(rules)),
        limits=IngestLimits(max_age_ms=STEP_MS),
    )


async def push_both(system: Watching, tenant: str) -> None:
    now_ms = system.clock.now_ms()
    tables = [{"labels": {"__name__": name}, "timestamps_ms": [now_ms], "values": [1.0]} for name in ("cpu", "debug")]
    await system.json("POST", "/api/v1/samples", json={"series": tables}, headers=of(tenant))
    await taken_in(system, tenant)


async def keep_up(system: Watching, tenant: str) -> None:
    """Let the upkeep of a tenant do all that is due."""
    running = asyncio.create_task(system.workspaces[tenant].upkeep().run_once())
    await asyncio.sleep(0)
    system.clock.advance(UPKEEP_MS)
    await running


async def oldest_days(system: Watching, tenant: str) -> dict[str, float]:
    """Return how many days ago the oldest sample of each series is."""
    store, now_ms = system.workspaces[tenant].store(), system.clock.now_ms()
    found = {}
    for slot, labels in await store.series():
        batch = await store.samples([slot], 0, now_ms + 1)
        found[labels.name] = (now_ms - int(batch.at_ms.min())) / DAY_MS
    return found


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_each_tenant_forgets_by_its_own_rules_and_touches_nobody_elses_data(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres_url") if kind == "postgres" else ""
    prefix = f"keep-{os.getpid()}-"
    settings = settings_of(kind, tmp_path, url, prefix)
    async with Watching(settings=settings, identity=Members()) as system:
        for _ in range(DAYS * DAY_MS // STEP_MS):
            system.clock.advance(STEP_MS)
            for tenant in settings.tenants:
                await push_both(system, tenant)
        before = {tenant: await oldest_days(system, tenant) for tenant in settings.tenants}
        assert all(min(days.values()) > DAYS - 3 for days in before.values())
        left = dict(before)
        for name in SHORT_DAYS:
            await keep_up(system, prefix + name)
            left[prefix + name] = {}
            # who has not had their turn yet has lost nothing to those who had
            for other in [one for one, days in left.items() if days]:
                assert (await oldest_days(system, other))["debug"] >= before[other]["debug"]
        for name, days in SHORT_DAYS.items():
            check_kept(await oldest_days(system, prefix + name), debug=days, cpu=USUAL_DAYS, shortest=days)


def check_kept(found: dict[str, float], shortest: float, **wanted: Any) -> None:
    """Each series is there for as long as asked, and for a landmark and a step more at most."""
    longer = shortest / LANDMARKS + 2 * STEP_MS / DAY_MS
    for name, days in wanted.items():
        assert days - STEP_MS / DAY_MS <= found[name] <= days + longer, (name, found)
