"""What everybody begins with is put in force once: not less if the first start was interrupted, and never again."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from quantum import roles
from quantum.composition import build
from quantum.domain.default_policies import DEFAULT_POLICIES
from quantum.domain.facts import DeletePolicy, PutPolicy
from quantum.settings import Settings, Store

if TYPE_CHECKING:
    from pathlib import Path

NAMES = sorted(policy.name for policy in DEFAULT_POLICIES)


async def test_a_first_start_that_was_interrupted_is_finished_by_the_next_and_what_was_deleted_stays_so(
    tmp_path: Path,
) -> None:
    settings = Settings(data_dir=str(tmp_path), store=Store(kind="sqlite"))
    workspace = build(settings).workspaces()[settings.store.tenant]
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(workspace.store())
        await roles._open(workspace, stack)
        await stack.enter_async_context(roles._running(roles._pumps(settings, workspace)))
        control = workspace.control()
        await control.submit(PutPolicy(DEFAULT_POLICIES[0], None, roles.FIRST_START))
        await roles._configure(settings, workspace)
        assert [policy.name for policy in control.policies()] == NAMES
        await control.submit(DeletePolicy(DEFAULT_POLICIES[1].id, None, "me"))
        await roles._configure(settings, workspace)
        assert {policy.version for policy in control.policies()} == {1}
        assert [policy.name for policy in control.policies()] == sorted({*NAMES} - {DEFAULT_POLICIES[1].name})
