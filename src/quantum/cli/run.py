"""`quantum run` and `quantum check-config`."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Literal

import uvloop
from cyclopts import Parameter

from quantum.adapters.http.tables import read_policies, read_receivers, read_routes
from quantum.adapters.logs import configure_logs
from quantum.adapters.plugins import find_detector
from quantum.loading import load_settings
from quantum.settings import HIDDEN, without_password

if TYPE_CHECKING:
    from quantum.settings import Settings

Config = Annotated[str | None, Parameter(help="TOML file; default: quantum.toml in the working directory, if any")]
Role = Annotated[Literal["all", "gateway", "monitoring", "ml"], Parameter(help="What this process is for")]
AcceptLoss = Annotated[str | None, Parameter(help="Facts to go on without, as a start names them that misses them")]
DataDir = Annotated[str | None, Parameter(help="Where the embedded store keeps its files")]


def run(
    *,
    role: Role = "all",
    config: Config = None,
    host: Annotated[str | None, Parameter(help="Address to listen on")] = None,
    port: Annotated[int | None, Parameter(help="Port to listen on; 0 picks a free one")] = None,
    data_dir: DataDir = None,
    accept_loss: AcceptLoss = None,
) -> None:
    """Run Quantum: collect, score, alert, and serve the dashboard and the API."""
    overrides = {"server.host": host, "server.port": port, "data_dir": data_dir}
    overrides["store.accept_loss"] = accept_loss
    settings = load_settings(config, overrides=overrides, role=role)
    _check_tables(settings)
    lines = configure_logs(settings.logs.level)
    from quantum import roles  # noqa: PLC0415 - imports the whole application; errors above come at once

    try:
        # told to stop before it was ready
        with suppress(asyncio.CancelledError):
            uvloop.run(roles.run(role, settings, _announce))
    finally:
        lines.close()


def _announce(address: str) -> None:
    print(f"Quantum is ready: {address}  (Ctrl-C stops it)", flush=True)


def check_config(
    *,
    role: Role = "all",
    config: Config = None,
    as_json: Annotated[bool, Parameter(name="--json", help="For programs")] = False,
) -> None:
    """Read the settings, say everything that is wrong with them, or show what is in force."""
    settings = load_settings(config, role=role)
    _check_tables(settings)
    tree = _tree(settings)
    if as_json:
        print(json.dumps(tree, indent=2))
    else:
        for name, value in _flat(tree):
            print(f"{name} = {json.dumps(value)}")


def _check_tables(settings: Settings) -> None:
    read_policies(settings.policies)
    read_receivers(settings.receivers)
    read_routes(settings.routes)
    find_detector(settings.detection.detector)


def _tree(settings: Settings) -> dict[str, Any]:
    import msgspec  # noqa: PLC0415 - only to show settings as plain values

    tree: dict[str, Any] = msgspec.to_builtins(settings)
    for section in ("store", "redis"):
        tree[section]["url"] = without_password(tree[section]["url"])
    tree["stream"]["password"] = HIDDEN if settings.stream.password else ""
    for receiver in tree["receivers"]:
        if receiver.get("secret"):
            receiver["secret"] = HIDDEN
    return tree


def _flat(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in tree.items():
        rows += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(f"{prefix}{name}", value)]
    return rows
