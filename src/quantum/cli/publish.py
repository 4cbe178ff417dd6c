"""`quantum publish`: how far public topics have come, and from where on they are to be filled again."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from quantum.application.ports import Published
from quantum.application.publishing import place_before
from quantum.cli import CommandFailed
from quantum.cli.replay import moment_ms
from quantum.composition import build_workspace
from quantum.loading import load_settings

if TYPE_CHECKING:
    from typing import Any


def publish(
    *,
    start: Annotated[
        str | None, Parameter(name="--from", help="ISO 8601 time or Unix milliseconds: publish again from there")
    ] = None,
    after: Annotated[int | None, Parameter(help="Position of a fact: publish again what comes after it")] = None,
    config: Annotated[str | None, Parameter(help="TOML file; default: quantum.toml in the working directory")] = None,
    data_dir: Annotated[str | None, Parameter(help="Where the embedded store keeps its files")] = None,
    tenant: Annotated[str | None, Parameter(help="Whose topics; default: store.tenant")] = None,
) -> None:
    """Show how far public topics have come, or have them filled again from a time or a position on.

    Stop the running server first; it publishes again once it is started.
    """
    if start is not None and after is not None:
        raise CommandFailed("--from and --after both say where to begin; give one of them")
    settings = load_settings(config, overrides={"data_dir": data_dir})

    async def work() -> str:
        workspace = build_workspace(settings, settings.tenant_named(tenant))
        async with workspace.store() as store:
            wanted = await _wanted(store, None if start is None else moment_ms(start), after)
            if wanted is None:
                found = await store.published()
                return "nothing was published yet" if found is None else f"published {_words(found)}"
            await store.note_published(wanted)
            return f"published again from the next start on: what comes after {_words(wanted)}"

    print(asyncio.run(work()))


async def _wanted(store: Any, start_ms: int | None, after: int | None) -> Published | None:
    """Return from where on to publish, None if that was not asked."""
    if start_ms is not None:
        return await place_before(store, store, start_ms)
    if after is None:
        return None
    last, _ = await store.last()
    if not 0 <= after <= last:
        raise CommandFailed(f"there is no fact {after}: the newest is {last}")
    begins = await store.begins_after()
    facts = await store.read(after - 1, 1) if after > begins else []
    return Published(after, facts[0].at_ms if facts else 0)


def _words(published: Published) -> str:
    at = datetime.fromtimestamp(published.at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return f"fact {published.position}, of {at}"
