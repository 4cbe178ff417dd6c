"""`quantum bench store`: what mixed metrics take on disk, index included, and whether they come back as they were.

A day of series (see `mixed_metrics`) is sent in order of time, in requests of the size that Prometheus sends. Then
everybody may finish what is done later: seal, merge, compact. Quantum's samples are all read back and compared to the
bit, the rivals' are counted, and what is left on disk after a clean stop is divided by the number of samples.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from quantum.cli import CommandFailed
from quantum.cli.bench_query import measure_questions, show_questions
from quantum.cli.filling import filled, make_day
from quantum.cli.measuring import machine, rounded, say, wait_until_quiet
from quantum.cli.servers import AsJson, OwnPostgres, Rivals, Scale, merge_finally
from quantum.cli.stored import SCORING, check_exact, count_stored, stored_parts

if TYPE_CHECKING:
    from quantum.cli.filling import Filled
    from quantum.cli.mixed_metrics import Mixed

Queries = Annotated[bool, Parameter(negative=(), help="Also measure queries, as `quantum bench query` does")]


def bench_store(
    *,
    rivals: Rivals = False,
    own_postgres: OwnPostgres = False,
    queries: Queries = False,
    scale: Scale = 1.0,
    as_json: AsJson = False,
) -> None:
    """Measure bytes per sample on disk, index included, of a day of mixed metrics that come back bit by bit.

    Args:
        rivals: also measure `prometheus` and `victoria-metrics`, if they are installed.
        own_postgres: also measure Quantum on a PostgreSQL server that is started for it.
        queries: also ask what `quantum bench query` asks.
        scale: multiplies the number of series, which is 1000.
        as_json: print everything as JSON.
    """
    mixed = make_day(scale)
    with ExitStack() as stack:
        with filled(stack, mixed, rivals=rivals, own_postgres=own_postgres) as (entries, missing):
            asked = measure_questions([entry.server for entry in entries], mixed, scale) if queries else []
            results = [_checked(entry, mixed) for entry in entries]
        for entry, result in zip(entries, results, strict=True):
            result.update(_disk(stored_parts(entry.server), mixed))
    report = {"machine": machine(), "missing": missing, "samples": mixed.samples, "results": results, "queries": asked}
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _show(report)
        if asked:
            show_questions(mixed.samples, asked)


def _checked(entry: Filled, mixed: Mixed) -> dict[str, Any]:
    """Return figures of a server that has all samples; of Quantum, all of them are read back."""
    server = entry.server
    say(f"counting the samples of {server.name}")
    stored = count_stored(server, mixed)
    if stored != mixed.samples:
        raise CommandFailed(f"{server.name} has {stored} of {mixed.samples} samples")
    exact = check_exact(server, mixed) if server.is_ours else None
    merge_finally(server)
    wait_until_quiet([server])
    return {
        "server": server.name,
        "samples": stored,
        "read_back_bit_exact": exact,
        "cpu_s_per_million": rounded(entry.cpu_s / stored * 1e6),
        "rss_bytes": entry.rss_bytes,
    }


def _disk(parts: dict[str, int], mixed: Mixed) -> dict[str, Any]:
    samples = [size for name, size in parts.items() if name not in SCORING]
    return {
        "disk_bytes": parts,
        "disk_bytes_per_sample": rounded(sum(parts.values()) / mixed.samples) if parts else None,
        "disk_bytes_per_sample_without_scores": rounded(sum(samples) / mixed.samples) if parts else None,
    }


def _show(report: dict[str, Any]) -> None:
    table = Table(title=f"{report['samples']:,} samples of mixed metrics, a day at 10 s, after a clean stop")
    for title in ("server", "bytes/sample", "without scores", "read back bit by bit", "CPU s/M", "RSS MB"):
        is_name = title == "server"
        table.add_column(title, justify="left" if is_name else "right", no_wrap=is_name)
    for result in report["results"]:
        keys = ("disk_bytes_per_sample", "disk_bytes_per_sample_without_scores", "read_back_bit_exact")
        figures = (*(result[key] for key in keys), result["cpu_s_per_million"], result["rss_bytes"] >> 20)
        table.add_row(result["server"], *map(str, figures))
    Console().print(table)
