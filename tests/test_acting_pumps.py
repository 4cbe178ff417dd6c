"""The role `monitoring` as `roles` puts it together, on a real store, where no Kafka is: what its pumps leave alone."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from tests.facts import labels, policy

from quantum import roles
from quantum.application.ingest import incoming_readings
from quantum.application.ports import Page
from quantum.composition import build
from quantum.domain.facts import Heartbeat, PutPolicy, PutReceiver, WebhookReceiver
from quantum.settings import Settings, Store, Stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from quantum.application.ports import Delivery

PATIENCE_S: Final = 300.0
OPS: Final = WebhookReceiver(name="ops", url="http://127.0.0.1:9/")


def given(folder: Path, tenants: tuple[str, ...], kafka_port: int) -> Settings:
    """Return settings as no file may have them: the store of one process for roles that share their work."""
    return Settings(
        data_dir=str(folder),
        tenants=tenants,
        store=Store(kind="sqlite"),
        stream=Stream(kind="kafka", url=f"kafka://127.0.0.1:{kafka_port}", lanes=2),
    )


@asynccontextmanager
async def opened(settings: Settings, role: str) -> AsyncIterator[dict[str, Any]]:
    """The workspaces of a process of a role, without a server."""
    workspaces = build(settings, role).workspaces()
    async with AsyncExitStack() as stack:
        for workspace in workspaces.values():
            await stack.enter_async_context(workspace.store())
            if role == roles.MONITORING:
                await stack.enter_async_context(workspace.lanes())
            await workspace.ingest().open(workspace.store())
            await workspace.monitor().open()
            workspace.keys().open()
        yield workspaces


async def take_in(workspace: Any) -> None:
    position, _ = await workspace.store().last()
    taken = workspace.monitor().expect(position)
    async with asyncio.timeout(PATIENCE_S):
        while not taken.done():
            await workspace.monitor().run_once()


async def page(workspace: Any) -> str:
    """Let a notification become due and a key be issued, both after the checkpoint; return the key."""
    await workspace.monitor()._save()
    for command in (PutReceiver(OPS, 0, "me"), PutPolicy(policy(receivers=("ops",)), 0, "me")):
        await workspace.control().append(command)
    await workspace.ingest().accept(incoming_readings([(labels("cpu"), 95.0)], workspace.clock().now_ms()))
    _, accepted_ms = await workspace.store().last()
    await workspace.store().append(Heartbeat(), accepted_ms + 2000)
    pump = asyncio.create_task(take_in(workspace))
    _, key = await workspace.keys().issue("telegraf", ["ingest"], None, "me")
    await pump
    await take_in(workspace)
    return str(key)


async def deliveries(workspace: Any) -> Sequence[Delivery]:
    found: Sequence[Delivery] = await workspace.store().deliveries(None, Page())
    return found


async def test_what_acts_waits_for_the_pipeline_of_its_tenant_and_keys_do_not(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        settings = given(tmp_path, ("default", "other"), nobody.getsockname()[1])
    async with opened(settings, "all") as workspaces:
        shown = {tenant: await page(workspace) for tenant, workspace in workspaces.items()}
        assert [len(await deliveries(workspace)) for workspace in workspaces.values()] == [1, 1]
    async with opened(settings, roles.MONITORING) as workspaces:
        pumps = [pump for workspace in workspaces.values() for pump in roles._pumps(settings, workspace)]
        async with roles._running(pumps):
            waiting = [pump for pump in pumps if pump.name.startswith(roles.PIPELINE)]
            async with asyncio.timeout(PATIENCE_S):
                while not all(pump.failures for pump in waiting):  # noqa: ASYNC110 - Kafka is not there; nobody tells us
                    await asyncio.sleep(0.05)
            for tenant, workspace in workspaces.items():
                (due,) = await deliveries(workspace)
                assert (due.outcome, due.attempts) == ("", 0)
                assert (await workspace.keys().identify(shown[tenant])).tenant == tenant
                assert not workspace.monitor().caught_up.is_set()
