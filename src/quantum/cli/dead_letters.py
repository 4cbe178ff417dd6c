"""`quantum dead-letters`: which work of the role `ml` was put aside because it failed again and again, and once more.

Nothing heavy is imported here: it is there for every command.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import cyclopts
from cyclopts import Parameter

if TYPE_CHECKING:
    from quantum.application.strikes import DeadLetter
    from quantum.settings import Settings

Config = Annotated[str | None, Parameter(help="TOML file; default: quantum.toml in the working directory, if any")]
Tenant = Annotated[str | None, Parameter(help="Whose; default: store.tenant")]
AsJson = Annotated[bool, Parameter(name="--json", negative=(), help="For programs")]


def build_dead_letters() -> cyclopts.App:
    """Return the sub-command."""
    app = cyclopts.App(name="dead-letters", help="Work of the role ml that was put aside: list it, or let it be tried.")
    app.command(list_letters, name="list")
    app.command(replay_letters, name="replay")
    return app


def list_letters(*, config: Config = None, tenant: Tenant = None, as_json: AsJson = False) -> None:
    """List the dead letters of the last week, oldest first.

    Args:
        config: of the processes whose work it was.
        tenant: whose work it was.
        as_json: print a list of objects.
    """
    letters = asyncio.run(_letters(*_place(config, tenant)))
    if as_json:
        print(json.dumps([asdict(one) for one in letters], indent=2))
        return
    for one in letters:
        at = datetime.fromtimestamp(one.at_ms // 1000, UTC).isoformat()
        print(
            f"{at}  lane {one.lane}, facts {one.since + 1} to {one.upto}, {one.rows:,} samples,"
            f" begun {one.strikes} times: {one.reason}"
        )
    if not letters:
        print("there are no dead letters")


def replay_letters(*, lane: int | None = None, config: Config = None, tenant: Tenant = None) -> None:
    """Let what was put aside be tried at once, instead of when its ten minutes are over.

    Args:
        lane: whose work; default: that of every lane with a dead letter.
        config: of the processes whose work it was.
        tenant: whose work it was.
    """
    from quantum.adapters.kafka import pardon  # noqa: PLC0415 - imports the driver
    from quantum.cli import CommandFailed  # noqa: PLC0415 - it imports this module
    from quantum.connected import build_cluster  # noqa: PLC0415 - imports the application

    settings, whose = _place(config, tenant)
    lanes = settings.stream.lanes
    if lane is not None and not 0 <= lane < lanes:
        raise CommandFailed(f"there is no lane {lane}: stream.lanes is {lanes}, so the last is {lanes - 1}")
    which = {one.lane for one in asyncio.run(_letters(settings, whose))} if lane is None else {lane}
    asyncio.run(pardon(build_cluster(settings), whose, lanes, sorted(which)))
    print(f"tried again at once: lanes {', '.join(map(str, sorted(which)))}" if which else "there are no dead letters")


def _place(config: str | None, tenant: str | None) -> tuple[Settings, str]:
    from quantum.cli import CommandFailed  # noqa: PLC0415 - it imports this module
    from quantum.loading import load_settings  # noqa: PLC0415 - imports the settings

    settings = load_settings(config)
    if settings.stream.kind != "kafka":
        raise CommandFailed("stream.kind is memory: there are dead letters only where workers are asked over Kafka")
    return settings, settings.tenant_named(tenant)


async def _letters(settings: Settings, tenant: str) -> list[DeadLetter]:
    from quantum.adapters.kafka import dead_letters  # noqa: PLC0415 - imports the driver
    from quantum.connected import build_cluster  # noqa: PLC0415 - imports the application

    return await dead_letters(build_cluster(settings), tenant, settings.stream.lanes)
