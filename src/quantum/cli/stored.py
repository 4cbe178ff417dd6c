"""What a server has stored: how many bytes, and whether every sample is there, exact to the bit."""

from __future__ import annotations

import http.client
import json
import re
import sqlite3
import time
import urllib.parse
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import psycopg

from quantum.cli import CommandFailed
from quantum.cli.servers import database_size
from quantum.cli.write_load import STEP_MS

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from quantum.cli.mixed_metrics import Mixed
    from quantum.cli.servers import Server

TIMEOUT_S: Final = 120.0
OK: Final = 200
BLOCK: Final = re.compile("[0-9A-Z]{26}")
"""Name of a directory of Prometheus with two hours or more of samples and their index."""
SCORING: Final = {
    "scores": "SELECT coalesce(sum(length(body)), 0) FROM blocks WHERE kind = 'scores'",
    "anomalies": "SELECT coalesce(sum(length(body)), 0) FROM anomalies",
    "memory": "SELECT coalesce(sum(length(body)), 0) FROM checkpoints",
}
"""What Quantum's stores have besides samples, without the pages and rows around it."""


class Asker:
    """Asks one server over one connection: the same plain client for everyone, which asks for no compression."""

    def __init__(self, base: str) -> None:
        parts = urllib.parse.urlsplit(base)
        self._connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_S)

    def __enter__(self) -> Self:
        """Return itself; the connection is made by the first question."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._connection.close()

    def ask(self, url: str, **parameters: object) -> tuple[bytes, float]:
        """Return the body of an answer, and after how many seconds it was there.

        Raises:
            CommandFailed: the answer is no 200.
        """
        path = urllib.parse.urlsplit(url).path
        target = f"{path}?{urllib.parse.urlencode(parameters)}"
        begun = time.perf_counter()
        self._connection.request("GET", target, headers={"accept-encoding": "identity"})
        answer = self._connection.getresponse()
        body = answer.read()
        taken_s = time.perf_counter() - begun
        if answer.status != OK:
            raise CommandFailed(f"{url} answered {answer.status}: {body[:200].decode(errors='replace')}")
        return body, taken_s

    def result(self, server: Server, path: str, **parameters: object) -> list[dict[str, Any]]:
        """Return the result of a PromQL query."""
        body, _ = self.ask(f"{server.query_url}/{path}", **parameters)
        return cast("list[dict[str, Any]]", json.loads(body)["data"]["result"])


def stored_parts(server: Server) -> dict[str, int]:
    """Return what a stopped server has left on disk, in bytes by what it is; nothing if that is not known.

    Of files everything counts but what the server calls a cache; of a database what it has grown by, which is without
    its write-ahead log. What Quantum keeps because it scores is told apart: `scores` and the bands of usual values,
    `anomalies`, and `memory`, which is what the detector has learnt. `samples` is all the rest.
    """
    if server.database_url:
        return _parts_of_database(server)
    if server.folder is None:
        return {}
    if server.is_ours:
        return _parts_of_file(server.folder)
    caches = [server.folder / name for name in server.caches]
    parts: Counter[str] = Counter()
    for file in server.folder.rglob("*"):
        if file.is_file() and not any(map(file.is_relative_to, caches)):
            top = file.relative_to(server.folder).parts[0]
            parts["blocks" if BLOCK.fullmatch(top) else top] += file.stat().st_size
    return dict(parts)


def _parts_of_file(folder: Path) -> dict[str, int]:
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    with closing(sqlite3.connect(next(folder.glob("*.db")))) as connection:
        scoring = {name: int(connection.execute(sql).fetchone()[0]) for name, sql in SCORING.items()}
    return {"samples": size - sum(scoring.values()), **scoring}


def _parts_of_database(server: Server) -> dict[str, int]:
    size = database_size(server.database_url) - server.database_bytes
    with psycopg.connect(server.database_url) as connection:
        rows = {name: connection.execute(sql.encode()).fetchone() for name, sql in SCORING.items()}
    scoring = {name: int(row[0]) for name, row in rows.items() if row}
    return {"samples": size - sum(scoring.values()), **scoring}


def stored_bytes(server: Server) -> int | None:
    """Return the sum of the parts, or None if it is not known."""
    return sum(stored_parts(server).values()) or None


def count_stored(server: Server, mixed: Mixed) -> int:
    """Return how many of the samples a server says it has."""
    total, time_s = 0, int(mixed.at_ms.max()) / 1000
    with Asker(server.base) as asker:
        for name in dict.fromkeys(one["__name__"] for one in mixed.labels):
            query = f'sum(count_over_time({name}{{job="bench"}}[{_span_s(mixed)}s]))'
            [found] = asker.result(server, "query", query=query, time=time_s, nocache=1)
            total += int(found["value"][1])
    return total


def check_exact(server: Server, mixed: Mixed) -> int:
    """Read every sample back; return how many are there, exact to the bit.

    Raises:
        CommandFailed: a sample is missing, is another one, or was not sent.
    """
    time_s = int(mixed.at_ms.max()) / 1000
    with Asker(server.base) as asker:
        for name in dict.fromkeys(one["__name__"] for one in mixed.labels):
            found = asker.result(server, "query", query=f"{name}[{_span_s(mixed)}s]", time=time_s)
            series = {(one["metric"]["instance"], one["metric"]["device"]): one["values"] for one in found}
            rows = mixed.of(name)
            if len(series) != len(rows):
                raise CommandFailed(f"{server.name} has {len(series)} series of {name}, not {len(rows)}")
            for row in rows.tolist():
                labels = mixed.labels[row]
                _compare(server, mixed, row, series[labels["instance"], labels["device"]])
    return mixed.samples


def _compare(server: Server, mixed: Mixed, row: int, found: list[tuple[float, str]]) -> None:
    at_ms = np.rint(np.array([at for at, _ in found]) * 1000).astype(np.int64)
    values = np.array([text for _, text in found]).astype(np.float64)
    sent = mixed.values[row]
    if not (np.array_equal(at_ms, mixed.at_ms[row]) and np.array_equal(values.view(np.int64), sent.view(np.int64))):
        raise CommandFailed(f"{server.name} gave other samples of {mixed.labels[row]} back than it was sent")


def _span_s(mixed: Mixed) -> int:
    """Return a range that holds all samples, in seconds."""
    return int(mixed.at_ms.max() - mixed.at_ms.min() + STEP_MS) // 1000 + 1
