"""`quantum import` and `quantum export`: samples in and out of a data directory, without a running server."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TextIO

from cyclopts import Parameter
from rich.console import Console
from rich.progress import Progress

from quantum.adapters.csv_files import milliseconds
from quantum.adapters.linear_patterns import full_match
from quantum.adapters.memory import MemoryStream, SystemClock
from quantum.adapters.sample_files import CsvWriter, TextWriter, read_csv, read_text
from quantum.application.ingest import Ingest
from quantum.application.transfer import give_out, matching_series, take_in
from quantum.cli import CommandFailed
from quantum.composition import build_limits, build_workspace, store_path
from quantum.domain.labels import MatcherCompiler
from quantum.domain.selectors import parse_selector
from quantum.loading import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantum.application.ingest import Incoming, Receipt
    from quantum.settings import Settings

Format = Literal["auto", "csv", "prometheus"]
DataDir = Annotated[Path | None, Parameter(help="Where the embedded store keeps its files")]
Config = Annotated[Path | None, Parameter(help="TOML file; default: quantum.toml in the working directory, if any")]
Tenant = Annotated[str | None, Parameter(help="Whose samples; default: store.tenant")]
AsJson = Annotated[bool, Parameter(name="--json", negative=(), help="Print the account as JSON")]
CSV_SUFFIX: Final = ".csv"
END_MS: Final = 253_402_300_800_000
"""The beginning of the year 10000."""


def import_files(
    files: Annotated[list[Path], Parameter(name="FILE", negative=())],
    /,
    *,
    format: Format = "auto",  # noqa: A002 - the option's name
    name: str | None = None,
    data_dir: DataDir = None,
    config: Config = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Load history from CSV files or files in the Prometheus text format. Stop a running server first.

    Args:
        files: CSV with the columns timestamp,value and any labels, or timestamp and a column per series; or
            Prometheus text.
        format: of the files; auto goes by the name: .csv is CSV.
        name: metric name of CSV rows without a column __name__; default: the file's name.
        data_dir: where the embedded store keeps its files.
        config: TOML file with settings.
        tenant: whose samples; by default those of store.tenant.
        as_json: print the account as JSON.
    """
    missing = [str(path) for path in files if not path.is_file()]
    if missing:
        raise CommandFailed(f"{missing[0]} is no file")
    settings = _settings(config, data_dir)
    receipt = asyncio.run(_import(settings, settings.tenant_named(tenant), files, format, name))
    if as_json:
        print(json.dumps(_account(receipt)))
    else:
        print(f"{receipt.accepted} samples stored, {receipt.duplicates} were there already")
    for reason, count in receipt.rejected.items():
        example = next((one.message for one in receipt.examples if one.reason == reason), "")
        print(f"quantum: {count} samples refused ({reason}): {example}", file=sys.stderr)
    return 1 if receipt.rejected else 0


def export_samples(
    selectors: Annotated[list[str] | None, Parameter(name="SELECTOR", negative=())] = None,
    /,
    *,
    from_: Annotated[str, Parameter(name="--from", help="ISO 8601 or epoch; included")] = "0",
    to: Annotated[str | None, Parameter(help="ISO 8601 or epoch; not included")] = None,
    format: Literal["csv", "prometheus"] = "csv",  # noqa: A002 - the option's name
    output: Annotated[Path | None, Parameter(help="File to write; default: standard output")] = None,
    data_dir: DataDir = None,
    config: Config = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> None:
    """Write stored samples as long CSV or in the Prometheus text format. Stop a running server first.

    Args:
        selectors: in Prometheus notation, for example cpu{host="a"}; any may match; none means every series.
        from_: first time.
        to: end of the times.
        format: of the output.
        output: file to write.
        data_dir: where the embedded store keeps its files.
        config: TOML file with settings.
        tenant: whose samples; by default those of store.tenant.
        as_json: print an account as JSON, on standard error if the samples go to standard output.
    """
    settings = _settings(config, data_dir)
    whose = settings.tenant_named(tenant)
    if settings.store.kind == "sqlite" and not Path(store_path(settings, whose)).is_file():
        raise CommandFailed(f"{settings.data_dir} holds no store; name the right one with --data-dir")
    span = _moment("--from", from_), END_MS if to is None else _moment("--to", to)
    with output.open("w", encoding="utf-8", newline="") if output else nullcontext(sys.stdout) as file:
        account = asyncio.run(_export(settings, whose, selectors or [], span, format, file))
    if as_json:
        print(json.dumps(account), file=sys.stdout if output else sys.stderr)


def _settings(config: Path | None, data_dir: Path | None) -> Settings:
    overrides = {"data_dir": str(data_dir) if data_dir else None}
    settings = load_settings(str(config) if config else None, overrides=overrides)
    if settings.store.kind == "memory":
        raise CommandFailed("store.kind is memory, which nothing outlives; choose sqlite or postgres")
    return settings


def _moment(option: str, text: str) -> int:
    try:
        return milliseconds(text)
    except ValueError as error:
        raise CommandFailed(f"{option}: {error}") from None


async def _import(settings: Settings, tenant: str, files: list[Path], kind: Format, name: str | None) -> Receipt:
    clock = SystemClock()
    async with build_workspace(settings, tenant).store() as store:
        ingest = Ingest(store, MemoryStream(held=1), clock, build_limits(settings))
        await ingest.open(store)
        with _progress() as progress:
            return await take_in(ingest, _batches(files, kind, name, progress, clock.now_ms()))


def _batches(files: list[Path], kind: Format, name: str | None, progress: Progress, now_ms: int) -> Iterator[Incoming]:
    for path in files:
        as_csv = kind == "csv" or (kind == "auto" and path.suffix.lower() == CSV_SUFFIX)
        newline = "" if as_csv else "\n"
        with progress.open(path, "r", encoding="utf-8-sig", newline=newline, description=path.name) as file:
            yield from read_csv(str(path), file, name or path.stem) if as_csv else read_text(str(path), file, now_ms)


async def _export(
    settings: Settings, tenant: str, selectors: list[str], span: tuple[int, int], kind: str, file: TextIO
) -> dict[str, int]:
    matchers = [parse_selector(text) for text in selectors]
    async with build_workspace(settings, tenant).store() as store:
        series = await matching_series(store, matchers, MatcherCompiler(full_match))
        writer = (CsvWriter if kind == "csv" else TextWriter)(file, [labels for _, labels in series])
        written = rows = 0
        with _progress(shown=file is not sys.stdout) as progress:
            task = progress.add_task("exporting", total=len(series))
            async for history in give_out(store, series, *span):
                rows += writer.write(history)
                written += 1
                progress.update(task, completed=written)
    return {"series": written, "samples": rows}


def _progress(*, shown: bool = True) -> Progress:
    console = Console(stderr=True)
    return Progress(console=console, disable=not (shown and console.is_terminal), transient=True)


def _account(receipt: Receipt) -> dict[str, Any]:
    examples = [{**asdict(one), "labels": str(one.labels) if one.labels else None} for one in receipt.examples]
    return {
        "accepted": receipt.accepted,
        "duplicates": receipt.duplicates,
        "rejected": receipt.rejected,
        "examples": examples,
    }
