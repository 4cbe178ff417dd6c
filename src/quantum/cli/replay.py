"""`quantum replay`: what draft policies and routes would have done on stored history, and whom they would have told."""

from __future__ import annotations

import asyncio
import json
from contextlib import nullcontext
from dataclasses import replace as changed
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from quantum.adapters.http.control import replay_report
from quantum.adapters.http.tables import read_draft
from quantum.application.timemachine import TimeMachine
from quantum.cli import CommandFailed
from quantum.composition import build_workspace
from quantum.loading import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from quantum.adapters.http.replay_messages import ReplayReport
    from quantum.application.ports import PolicyStore
    from quantum.application.timemachine import Draft

END_OF_TIME_MS = 253_402_300_800_000
SHOWN = 50


def replay(
    *,
    config: Annotated[
        str | None, Parameter(help="TOML file with [[policies]] and [[routes]] to try; none: those that were in force")
    ] = None,
    start: Annotated[
        str | None, Parameter(name="--from", help="ISO 8601 time or Unix milliseconds; default: the beginning")
    ] = None,
    end: Annotated[
        str | None, Parameter(name="--to", help="ISO 8601 time or Unix milliseconds; default: the end")
    ] = None,
    against: Annotated[Literal["live", "nothing"], Parameter(help="What to compare with")] = "live",
    data_dir: Annotated[str | None, Parameter(help="Where the embedded store keeps its files")] = None,
    tenant: Annotated[str | None, Parameter(help="Whose history; default: store.tenant")] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=(), help="Print the report as JSON")] = False,
) -> None:
    """Replay stored history through alert policies; nothing leaves this machine. Stop a running server first."""
    start_ms = moment_ms(start) if start else 0
    end_ms = moment_ms(end) if end else END_OF_TIME_MS
    draft = read_draft(config) if config else None
    settings = load_settings(None, overrides={"data_dir": data_dir})

    async def work() -> ReplayReport:
        console = Console(stderr=True)
        progress = Progress(console=console, transient=True) if console.is_terminal else None
        workspace = build_workspace(settings, settings.tenant_named(tenant))
        async with workspace.store() as store:
            wanted = await _with_receivers(draft, store)
            machine = TimeMachine(store, store, store, store, workspace.pipeline, workspace.codec())
            with progress or nullcontext():
                task = progress.add_task("replaying", total=1.0) if progress else None
                history = await machine.replay(start_ms, end_ms, wanted, progress=_teller(progress, task))
            return await replay_report(machine, history)

    report = asyncio.run(work())
    if as_json:
        print(json.dumps(msgspec.to_builtins(report), indent=2))
    else:
        _show(report, compared=against == "live")


async def _with_receivers(draft: Draft | None, store: PolicyStore) -> Draft | None:
    """Return a draft; one of routes alone may name the receivers that are in force."""
    if draft is None or draft.policies is not None:
        return draft
    return changed(draft, receivers=(*draft.receivers, *await store.receivers()))


def moment_ms(text: str) -> int:
    """Return the Unix milliseconds of an ISO 8601 time (UTC unless it says otherwise) or of a number.

    Raises:
        CommandFailed: it is neither.
    """
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise CommandFailed(f"{text!r} is neither an ISO 8601 time nor Unix milliseconds") from None
    return round((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def _teller(progress: Progress | None, task: Any) -> Callable[[float], None]:
    def tell(share: float) -> None:
        if progress is not None:
            progress.update(task, completed=share)

    return tell


def _show(report: ReplayReport, *, compared: bool) -> None:
    console = Console()
    pages = len(report.pages)
    console.print(f"{report.samples:,} samples replayed: {len(report.alerts)} alerts fired, {pages} notifications due.")
    if compared:
        more, fewer = len(report.only_replayed), len(report.only_live)
        console.print(f"Against what was recorded ({report.alerts_live} alerts): {more} more, {fewer} fewer.")
    if report.alerts:
        table = Table("fired", "policy", "for", "why", "told")
        for alert in report.alerts[:SHOWN]:
            told = sorted({page.receiver for page in report.pages if page.alert_id == alert.id})
            group = " ".join(f"{name}={value}" for name, value in alert.group.items())
            table.add_row(
                _clock(alert.firing_at_ms), alert.policy_name, group, alert.reason, ", ".join(told) or "nobody"
            )
        console.print(table)
    if len(report.alerts) > SHOWN:
        console.print(f"… and {len(report.alerts) - SHOWN} more; --json has them all.")


def _clock(at_ms: int | None) -> str:
    return "" if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
