"""`quantum bench lanes`: scoring shared by one, two and four workers, and what happens when one dies or joins.

Workers are real processes of the role `ml`, on the Kafka that is named and on a PostgreSQL server of the measurement's
own. They are asked as the role `monitoring` asks, with the facts of a log of twenty thousand series, group by group;
its pipeline takes the scores in while they wait. What is left out is that samples come in meanwhile, and are stored.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from quantum.application.ports import SampleProposal
from quantum.application.scoring import Scoring
from quantum.cli import CommandFailed
from quantum.cli.clusters import running_cluster
from quantum.cli.measuring import READY_S, cpu_s, machine, rounded, say
from quantum.cli.servers import AsJson, Scale
from quantum.composition import build, build_workspace
from quantum.connected import build_cluster
from quantum.domain.errors import Unavailable
from quantum.domain.labels import LabelSet
from quantum.domain.series import SampleBatch
from quantum.loading import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from quantum.domain.facts import Fact
    from quantum.domain.pipeline import Pipeline
    from quantum.settings import Settings

SERIES: Final = 20_000
FACTS: Final = 45
"""One sample of every series each."""
FACTS_AT_ONCE: Final = 5
WARM_GROUPS: Final = 2
"""Groups that are not measured: series are met, code is loaded."""
LANES: Final = 8
STEP_MS: Final = 10_000
FIRST_MS: Final = 1_800_000_000_000
PAIR: Final = 2
"""So many workers there are where one dies and another joins."""
EACH: Final = "cpu_s_of_each_worker_per_million"
"""Processor seconds that every worker took for a million samples of them all."""
POLL_S: Final = 0.05
LONGEST_S: Final = 180.0
READY: Final = re.compile(r"(http://127\.0\.0\.1:\d+)")

Kafka = Annotated[str, Parameter(help="A running Kafka: kafka://host:port; topics of its own are made there")]
Workers = Annotated[tuple[int, ...], Parameter(negative=(), consume_multiple=True, help="How many workers, in turns")]


@dataclass(frozen=True, slots=True)
class Worker:
    """A process of the role `ml`."""

    process: subprocess.Popen[bytes]
    log: Path

    def is_ready(self) -> bool:
        """Return whether it has said that it is; raises CommandFailed if it ended."""
        text = self.log.read_text()
        if self.process.poll() is not None:
            raise CommandFailed(f"a worker ended: {text[-500:]}")
        return READY.search(text) is not None


def bench_lanes(*, kafka: Kafka, workers: Workers = (1, 2, 4), scale: Scale = 1.0, as_json: AsJson = False) -> None:
    """Measure scoring by other processes: samples a second, processor time a sample, and time without a worker.

    Args:
        kafka: where workers are asked.
        workers: how many of them.
        scale: multiplies the number of series.
        as_json: print everything as JSON.
    """
    with running_cluster() as cluster, TemporaryDirectory(prefix="quantum-bench-") as folder:
        environment = {
            "QUANTUM_STORE__KIND": "postgres",
            "QUANTUM_STORE__URL": cluster.url(),
            "QUANTUM_STORE__TENANT": f"bench-{os.getpid()}",
            "QUANTUM_STREAM__KIND": "kafka",
            "QUANTUM_STREAM__URL": kafka,
            "QUANTUM_STREAM__LANES": str(LANES),
        }
        settings = load_settings(environment=environment, role="ml")
        report = asyncio.run(_measure(settings, environment, Path(folder), workers, max(LANES, round(SERIES * scale))))
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _show(report)


async def _measure(
    settings: Settings, environment: dict[str, str], folder: Path, workers: Sequence[int], series: int
) -> dict[str, Any]:
    facts = await _fill(settings, series)
    bench = Bench(settings, environment, folder, facts, series)
    results = [await bench.throughput(count) for count in workers]
    changes = await bench.changes() if max(workers) >= PAIR else {}
    return {"machine": machine(), "series": series, "lanes": LANES, "results": results, "changes": changes}


async def _fill(settings: Settings, series: int) -> list[Fact]:
    """Store one sample of every series a fact; return the facts as the log has them."""
    say(f"storing {FACTS * series:,} samples of {series:,} series")
    generator = np.random.default_rng(1)
    names = [LabelSet.of({"__name__": "bench", "number": str(number)}) for number in range(series)]
    async with build_workspace(settings).store() as store:
        for number in range(FACTS):
            at_ms = FIRST_MS + number * STEP_MS
            slots = np.arange(series) if number else -1 - np.arange(series)
            values = 10 + np.sin(number / 7 + np.arange(series)) + generator.normal(0, 0.1, series)
            batch = SampleBatch.of(slots, np.full(series, at_ms), values)
            await store.append_samples(SampleProposal(batch, () if number else tuple(names)), at_ms)
        return await store.read(0, FACTS * series + 1)  # type: ignore[no-any-return] # the container knows no types


class Bench:
    """Asks workers for the scores of a log."""

    def __init__(
        self, settings: Settings, environment: dict[str, str], folder: Path, facts: Sequence[Fact], series: int
    ) -> None:
        self._settings, self._environment, self._folder, self._facts = settings, environment, folder, facts
        self._series = series
        self._started = 0

    async def throughput(self, count: int) -> dict[str, Any]:
        """Have the log scored by some workers, from its beginning."""
        say(f"{count} workers")
        groups = [self._facts[first : first + FACTS_AT_ONCE] for first in range(0, len(self._facts), FACTS_AT_ONCE)]
        workspace = build(self._settings, "monitoring").workspaces()[self._settings.store.tenant]
        async with AsyncExitStack() as stack:
            team = stack.enter_context(self._team(count))
            scoring, pipeline = Scoring(await stack.enter_async_context(workspace.lanes())), workspace.live_pipeline()
            await self._until_dealt(count)
            for group in groups[:WARM_GROUPS]:
                await _take_in(pipeline, scoring, group)
            pids = [worker.process.pid for worker in team]
            before, own, begin_s = [cpu_s([pid]) for pid in pids], time.process_time(), time.perf_counter()
            for group in groups[WARM_GROUPS:]:
                await _take_in(pipeline, scoring, group)
            took_s, own = time.perf_counter() - begin_s, time.process_time() - own
            used = [cpu_s([pid]) - earlier for pid, earlier in zip(pids, before, strict=True)]
        rows = self._series * sum(len(group) for group in groups[WARM_GROUPS:])
        found = {
            "workers": count,
            "samples": rows,
            "samples_per_s": round(rows / took_s),
            "samples_per_s_per_worker": round(rows / took_s / count),
            "worker_cpu_us_per_sample": rounded(sum(used) / rows * 1e6),
            "monitoring_cpu_us_per_sample": rounded(own / rows * 1e6),
        }
        say(", ".join(f"{name} {figure:,}" for name, figure in found.items()))
        return found | {EACH: [rounded(one / rows * 1e6) for one in used]}

    async def changes(self) -> dict[str, float]:
        """Return seconds: until there are scores after one of two workers was killed, and after one was stopped.

        And how long one that starts takes until it has lanes, and the first scores after that.
        """
        say("a worker is killed, another joins, and is stopped")
        async with AsyncExitStack() as stack:
            team = stack.enter_context(self._team(PAIR))
            lanes = await stack.enter_async_context(build_workspace(self._settings).lanes())
            await self._until_dealt(PAIR)
            scoring = Scoring(lanes)
            await self._ask(scoring, 0)
            team[0].process.kill()
            killed_s = await self._ask(scoring, 1)
            begin_s = time.perf_counter()
            team.append(stack.enter_context(self._worker()))
            await self._until_dealt(PAIR)
            dealt_s = time.perf_counter() - begin_s
            joined_s = await self._ask(scoring, 2)
            team[-1].process.terminate()
            stopped_s = await self._ask(scoring, 3)
        return {
            "killed": rounded(killed_s),
            "joining": rounded(dealt_s),
            "joined": rounded(joined_s),
            "stopped": rounded(stopped_s),
        }

    async def _ask(self, scoring: Scoring, number: int) -> float:
        """Return how long the scores of a group take, asked again until they come."""
        group = self._facts[number * FACTS_AT_ONCE : (number + 1) * FACTS_AT_ONCE]
        begin_s = time.perf_counter()
        async with asyncio.timeout(LONGEST_S):
            while True:
                with suppress(Unavailable):
                    await scoring.scores(group[0].position - 1, group)
                    break
        return time.perf_counter() - begin_s

    async def _until_dealt(self, count: int) -> None:
        """Wait until so many workers are members of the group and every one has lanes."""
        from quantum.adapters.kafka import members_of  # noqa: PLC0415 - imports the driver

        cluster, stream = build_cluster(self._settings), self._settings.stream

        async def is_dealt() -> bool:
            with suppress(Unavailable):  # a Kafka that never had a group makes room for it first
                dealt = await members_of(cluster, self._settings.store.tenant, stream.lanes)
                return len(dealt) == count and all(dealt)
            return False

        async with asyncio.timeout(LONGEST_S):
            while not await is_dealt():  # noqa: ASYNC110 - Kafka tells nobody
                await asyncio.sleep(POLL_S)

    @contextmanager
    def _team(self, count: int) -> Iterator[list[Worker]]:
        """Run workers for the length of a `with` block, once all are ready."""
        with ExitStack() as stack:
            team = [stack.enter_context(self._worker()) for _ in range(count)]
            deadline = time.perf_counter() + READY_S * count
            while not all(worker.is_ready() for worker in team):
                if time.perf_counter() > deadline:
                    raise CommandFailed("the workers do not get ready")
                time.sleep(POLL_S)
            yield team

    @contextmanager
    def _worker(self) -> Iterator[Worker]:
        self._started += 1
        log = self._folder / f"worker-{self._started}.log"
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "quantum",
            "run",
            "--role",
            "ml",
            "--port",
            "0",
            "--data-dir",
            self._folder,
        ]
        with log.open("wb") as output:
            # the command is ours, only the folder varies
            process = subprocess.Popen(  # noqa: S603
                command, stdout=output, stderr=subprocess.STDOUT, env=os.environ | self._environment
            )
        try:
            yield Worker(process, log)
        finally:
            process.kill()
            process.wait()


async def _take_in(pipeline: Pipeline, scoring: Scoring, facts: Sequence[Fact]) -> None:
    """Have facts scored, and the pipeline take them in."""
    for fact, scores in zip(facts, await scoring.scores(pipeline.position, facts), strict=True):
        pipeline.step(fact, scores)


def _show(report: dict[str, Any]) -> None:
    table = Table(title=f"Scoring of {report['series']:,} series by other processes, {report['lanes']} lanes")
    for title in (
        "workers",
        "samples/s",
        "samples/s a worker",
        "CPU us/sample, workers",
        "CPU us/sample, monitoring",
        "CPU s/million, each worker",
    ):
        table.add_column(title, justify="right")
    for one in report["results"]:
        shown = [value for name, value in one.items() if name not in {"samples", EACH}]
        table.add_row(*(f"{value:,}" for value in shown), " ".join(map(str, one[EACH])))
    Console().print(table)
    for name, seconds in report["changes"].items():
        print(f"{name}: {seconds} s")
