"""`quantum bench query`: how long questions take over HTTP, and what the answers cost, on a day of mixed metrics.

Everybody gets the same samples, is let finish, and is asked the same questions in turns over connections that stay
open; the client is the same for all. Every answer is compared with what was sent. No question is asked twice, and
caches of answers are switched off where there are any.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from quantum.cli import CommandFailed
from quantum.cli.filling import filled, make_day
from quantum.cli.measuring import cpu_s, machine, rounded, rss_bytes, say
from quantum.cli.servers import AsJson, OwnPostgres, Rivals, Scale, Server
from quantum.cli.stored import Asker
from quantum.cli.write_load import STEP_MS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from quantum.cli.mixed_metrics import Mixed

    Values = NDArray[np.float64]

WARM_UP: Final = 5
QUESTIONS: Final = 100
MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
TOLERANCE: Final = 1e-9
RAW, AVERAGES, WINDOW = "one series x 24 h", "100 series x 1 h, 1-minute averages", "one series x 24 h, window"


@dataclass(frozen=True, slots=True)
class Question:
    """A range query and the values that are right: one row per series, by instance and device, shape (n, steps)."""

    query: str
    start_ms: int
    end_ms: int
    step_ms: int
    right: Values


@dataclass(slots=True)
class Costs:
    """What the answers of one server to questions of one kind cost."""

    latencies_s: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    answer_bytes: int = 0


def bench_query(
    *, rivals: Rivals = False, own_postgres: OwnPostgres = False, scale: Scale = 1.0, as_json: AsJson = False
) -> None:
    """Measure PromQL over HTTP: 24 hours of one series, and an hour of 1-minute averages of a tenth of all series.

    Args:
        rivals: also measure `prometheus` and `victoria-metrics`, if they are installed.
        own_postgres: also measure Quantum on a PostgreSQL server that is started for it.
        scale: multiplies the number of series, which is 1000, and up to 1 the number of questions.
        as_json: print everything as JSON.
    """
    mixed = make_day(scale)
    with (
        ExitStack() as stack,
        filled(stack, mixed, rivals=rivals, own_postgres=own_postgres) as (entries, missing),
    ):
        results = measure_questions([entry.server for entry in entries], mixed, scale)
    report = {"machine": machine(), "missing": missing, "samples": mixed.samples, "results": results}
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        show_questions(mixed.samples, results)


def measure_questions(servers: list[Server], mixed: Mixed, scale: float) -> list[dict[str, Any]]:
    """Return figures of each kind of question and each server, all of which have the same samples."""
    count = WARM_UP + max(3, round(QUESTIONS * min(1.0, scale)))
    return [
        *_measure(RAW, servers, [_raw(mixed, number) for number in range(count)]),
        *_measure(AVERAGES, servers, [_averages(mixed, number) for number in range(count)]),
        *(_measure_window(server, mixed, count) for server in servers if server.is_ours),
    ]


# ---- questions ---------------------------------------------------------------------------------------------------


def _raw(mixed: Mixed, number: int) -> Question:
    """Ask for all samples of one series, of another metric each time: steps are as far apart as samples."""
    series, steps = mixed.values.shape
    row = (number * (series // 7 + 1)) % series
    labels = mixed.labels[row]
    start_ms = int(mixed.at_ms[row, 0]) // STEP_MS * STEP_MS + STEP_MS
    query = f'{labels["__name__"]}{{instance="{labels["instance"]}",device="{labels["device"]}"}}'
    return Question(query, start_ms, start_ms + (steps - 1) * STEP_MS, STEP_MS, mixed.values[row : row + 1])


def _averages(mixed: Mixed, number: int) -> Question:
    """Ask for averages of all series of one metric within an hour, of another one each time."""
    names = list(dict.fromkeys(one["__name__"] for one in mixed.labels))
    name, hour = names[number % len(names)], 1 + number * 7 % 22
    rows = mixed.of(name)
    end_ms = -(-int(mixed.at_ms.min()) // MINUTE_MS) * MINUTE_MS + (hour + 1) * HOUR_MS
    start_ms = end_ms - HOUR_MS + MINUTE_MS
    ends_ms = np.arange(start_ms, end_ms + 1, MINUTE_MS)
    return Question(f"avg_over_time({name}[1m])", start_ms, end_ms, MINUTE_MS, _means(mixed, rows, ends_ms))


def _means(mixed: Mixed, rows: NDArray[np.intp], ends_ms: NDArray[np.int64]) -> Values:
    """Return the means of the samples in the minute before each time."""
    order = sorted(rows.tolist(), key=lambda row: _place(mixed.labels[row]))
    right = np.empty((len(order), len(ends_ms)))
    for number, row in enumerate(order):
        first = np.searchsorted(mixed.at_ms[row], ends_ms - MINUTE_MS)
        right[number] = np.mean(mixed.values[row][first[:, None] + np.arange(MINUTE_MS // STEP_MS)], axis=1)
    return right


def _place(labels: dict[str, str]) -> tuple[str, str]:
    return labels["instance"], labels["device"]


# ---- asking ------------------------------------------------------------------------------------------------------


def _measure(kind: str, servers: list[Server], questions: list[Question]) -> list[dict[str, Any]]:
    """Ask every server every question, in turns."""
    say(f"asking {len(questions)} times for {kind}")
    costs = [Costs() for _ in servers]
    with ExitStack() as stack:
        askers = [stack.enter_context(Asker(server.base)) for server in servers]
        for number, question in enumerate(questions):
            for server, asker, cost in zip(servers, askers, costs, strict=True):
                ask = _asking(asker, server, question)
                body = ask()[0] if number < WARM_UP else _timed(server, ask, cost)
                _check(server, question, body)
    return [_figures(kind, server, cost) for server, cost in zip(servers, costs, strict=True)]


def _asking(asker: Asker, server: Server, question: Question) -> Callable[[], tuple[bytes, float]]:
    return lambda: asker.ask(
        f"{server.query_url}/query_range",
        query=question.query,
        start=question.start_ms / 1000,
        end=question.end_ms / 1000,
        step=question.step_ms // 1000,
        nocache=1,  # VictoriaMetrics keeps answers otherwise, and moves the steps to do so
    )


def _timed(server: Server, ask: Callable[[], tuple[bytes, float]], cost: Costs) -> bytes:
    before = cpu_s(server.pids)
    body, taken_s = ask()
    cost.cpu_s += cpu_s(server.pids) - before
    cost.latencies_s.append(taken_s)
    cost.answer_bytes += len(body)
    return body


def _check(server: Server, question: Question, body: bytes) -> None:
    """Raise CommandFailed if an answer is not right: other series, other steps, or values off by more than 1e-9."""
    found = sorted(json.loads(body)["data"]["result"], key=lambda one: _place(one["metric"]))
    steps = np.arange(question.start_ms, question.end_ms + 1, question.step_ms) / 1000
    if [len(one["values"]) for one in found] != [len(steps)] * len(question.right):
        told = f"{sum(len(one['values']) for one in found)} points of {len(found)} series"
        raise CommandFailed(f"{server.name} answers {question.query} with {told}, not {question.right.size}")
    for one, right in zip(found, question.right, strict=True):
        times_s, texts = zip(*one["values"], strict=True)
        values = np.array(texts).astype(np.float64)
        if not (np.array_equal(times_s, steps) and np.allclose(values, right, rtol=TOLERANCE, atol=TOLERANCE)):
            raise CommandFailed(f"{server.name} answers {question.query} with other values than were sent")


def _measure_window(server: Server, mixed: Mixed, count: int) -> dict[str, Any]:
    """Ask for windows as the dashboard does: with expected range and score of each sample."""
    say(f"asking {count} times for {WINDOW}")
    cost, start_ms, end_ms = Costs(), int(mixed.at_ms.min()), int(mixed.at_ms.max()) + 1
    with Asker(server.base) as asker:
        for number in range(count):
            question = _raw(mixed, number)
            listed, _ = asker.ask(f"{server.base}/api/v1/series", **{"match[]": question.query})
            url = f"{server.base}/api/v1/series/{json.loads(listed)['items'][0]['fingerprint']}/window"
            ask = partial(asker.ask, url, start_ms=start_ms, end_ms=end_ms, points=question.right.size)
            body = ask()[0] if number < WARM_UP else _timed(server, ask, cost)
            if json.loads(body)["value"] != question.right[0].tolist():
                raise CommandFailed(f"{server.name} shows {question.query} with other values than were sent")
    return _figures(WINDOW, server, cost)


def _figures(kind: str, server: Server, cost: Costs) -> dict[str, Any]:
    asked = len(cost.latencies_s)
    return {
        "server": server.name,
        "query": kind,
        "questions": asked,
        "p50_ms": rounded(float(np.percentile(cost.latencies_s, 50)) * 1e3),
        "p99_ms": rounded(float(np.percentile(cost.latencies_s, 99)) * 1e3),
        "cpu_ms": rounded(cost.cpu_s / asked * 1e3),
        "answer_bytes": cost.answer_bytes // asked,
        "rss_bytes": rss_bytes(server.pids[0]),
    }


def show_questions(samples: int, results: list[dict[str, Any]]) -> None:
    """Print the figures as a table for people."""
    table = Table(title=f"Questions over HTTP, {samples:,} samples stored")
    for title in ("query", "server", "p50 ms", "p99 ms", "CPU ms", "answer kB"):
        is_name = title in {"query", "server"}
        table.add_column(title, justify="left" if is_name else "right", no_wrap=is_name)
    for result in results:
        told = (str(result[key]) for key in ("query", "server", "p50_ms", "p99_ms", "cpu_ms"))
        table.add_row(*told, str(result["answer_bytes"] // 1000))
    Console().print(table)
