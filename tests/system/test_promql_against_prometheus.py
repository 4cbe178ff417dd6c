"""The same samples in a real Prometheus and in Quantum's store: generated queries have the same answers."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import httpx
import numpy as np
import pytest
from tests import writes
from tests.parts.children import free_port
from tests.promql import CORNERS, GRAMMAR_SIZE, Fleet, generate
from tests.system.test_prometheus_agent import eventually, running
from tools.debian import program

from quantum.adapters.linear_patterns import full_match, groups_of
from quantum.adapters.promql_parser import parse_promql
from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.application.ports import SampleProposal
from quantum.application.promql import Answer, PromQueries
from quantum.domain.errors import Rejected
from quantum.domain.labels import LabelSet, MatcherCompiler
from quantum.domain.promql.tables import Ragged, Table
from quantum.domain.series import SampleBatch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUERIES: Final = 700
SEED: Final = 20
STEP_S: Final = 37
START_MS: Final = 1_790_000_040_000
Result = dict[str, list[tuple[float, float]]]


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    # a fixed time, so that every run compares the same numbers
    return Fleet(START_MS)


@pytest.fixture(scope="module")
def prometheus(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder: Path = tmp_path_factory.mktemp("prometheus")
    (folder / "prometheus.yml").write_text("scrape_configs: []\n")
    base = f"http://127.0.0.1:{free_port()}"
    options = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    listen = ["--web.enable-remote-write-receiver", f"--web.listen-address={base.removeprefix('http://')}"]
    with (
        running(folder / "log", str(program("prometheus")), *options, *listen),
        httpx.Client(base_url=base, timeout=30) as client,
    ):
        eventually(lambda: _is_ready(client), "Prometheus is ready")
        body = b"".join(
            writes.series(dict(labels.pairs), zip(at_ms.tolist(), values.tolist(), strict=True))
            for labels, at_ms, values in fleet.series
        )
        headers = {"content-type": "application/x-protobuf", "content-encoding": "snappy"}
        answer = client.post("/api/v1/write", content=writes.snappy(body), headers=headers)
        assert answer.is_success, answer.text
        yield client


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").is_success
    except httpx.TransportError:
        return False


async def queries_over(store: SqliteStore, fleet: Fleet) -> PromQueries:
    unknown = tuple(labels for labels, _, _ in fleet.series)
    batch = SampleBatch.concat(
        [
            SampleBatch(np.full(len(at_ms), -1 - number), at_ms, values)
            for number, (_, at_ms, values) in enumerate(fleet.series)
        ]
    )
    await store.append_samples(SampleProposal(batch, unknown), 0)
    labels = dict(await store.series())
    return PromQueries(
        store,
        store,
        lambda: labels,
        lambda: np.zeros(0, np.int64),
        MatcherCompiler(full_match),
        parse_promql,
        groups_of,
    )


def asked(client: httpx.Client, path: str, **parameters: Any) -> Result | str:
    """Return Prometheus' answer by label set, or its error."""
    answer = client.get(path, params=parameters).json()
    if answer["status"] != "success":
        return str(answer["error"])
    kind, result = answer["data"]["resultType"], answer["data"]["result"]
    if kind == "string":
        return {result[1]: []}
    if kind == "scalar":
        return {"{}": [(result[0], float(result[1]))]}
    return {
        str(LabelSet.of(one["metric"])): [(at, float(value)) for at, value in one.get("values") or [one["value"]]]
        for one in result
    }


def itself(answer: Answer) -> Answer:
    return answer


async def answered(queries: PromQueries, text: str, *times_ms: int) -> Result | str:
    """Return our answer in the same form."""
    try:
        if len(times_ms) == 1:
            answer = await queries.at(text, times_ms[0], itself)
        else:
            start_ms, end_ms, step_ms = times_ms
            answer = await queries.between(text, start_ms, end_ms, step_ms, itself)
    except Rejected as error:
        return str(error)
    steps, value = (answer.times_ms / 1000).tolist(), answer.value
    match value:
        case Table():
            found = {
                str(labels): [(at, row[step]) for step, at in enumerate(steps) if there[step]]
                for labels, row, there in zip(value.labels, value.values.tolist(), value.there, strict=True)
            }
        case Ragged():
            extents = pairwise(value.bounds.tolist())
            found = {
                str(labels): list(
                    zip((value.at_ms[low:high] / 1000).tolist(), value.values[low:high].tolist(), strict=True)
                )
                for labels, (low, high) in zip(value.labels, extents, strict=True)
            }
        case str():
            return {value: []}
        case _:
            found = {"{}": list(zip(steps, np.asarray(value).tolist(), strict=True))}
    return {labels: rows for labels, rows in found.items() if rows}


def alike(ours: Result, theirs: Result) -> bool:
    return ours.keys() == theirs.keys() and all(
        len(ours[key]) == len(theirs[key])
        and all(
            math.isclose(at, other_at, abs_tol=1e-3) and close(value, other)
            for (at, value), (other_at, other) in zip(ours[key], theirs[key], strict=True)
        )
        for key in ours
    )


def close(ours: float, theirs: float) -> bool:
    if math.isnan(ours) or math.isnan(theirs):
        return math.isnan(ours) and math.isnan(theirs)
    return math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=1e-9)


async def test_generated_queries_have_the_answers_of_prometheus(fleet: Fleet, prometheus: httpx.Client) -> None:
    random = np.random.default_rng(SEED)
    different, errors, full = [], 0, 0
    async with SqliteStore(MEMORY) as store:
        queries = await queries_over(store, fleet)
        for number in range(QUERIES):
            text = generate(random)
            at_s = fleet.start_ms // 1000 + int(random.integers(0, 3900))
            if number % 2:
                theirs = asked(prometheus, "/api/v1/query", query=text, time=at_s)
                ours = await answered(queries, text, at_s * 1000)
            else:
                end_s = at_s + int(random.integers(0, 900))
                theirs = asked(prometheus, "/api/v1/query_range", query=text, start=at_s, end=end_s, step=STEP_S)
                ours = await answered(queries, text, at_s * 1000, end_s * 1000, STEP_S * 1000)
            errors += isinstance(theirs, str)
            full += bool(theirs) and not isinstance(theirs, str)
            if not same(ours, theirs):
                different.append((text, at_s, ours, theirs))
    assert different == []
    assert full > QUERIES / 2
    assert errors < QUERIES / 5
    assert GRAMMAR_SIZE > 100


async def test_corners_have_the_answers_of_prometheus_at_once_and_over_time(
    fleet: Fleet, prometheus: httpx.Client
) -> None:
    different = []
    start_s, end_s = fleet.start_ms // 1000 + 1500, fleet.start_ms // 1000 + 3800
    async with SqliteStore(MEMORY) as store:
        queries = await queries_over(store, fleet)
        for text in CORNERS:
            for at_s in (start_s, start_s + 777, end_s):
                theirs = asked(prometheus, "/api/v1/query", query=text, time=at_s)
                ours = await answered(queries, text, at_s * 1000)
                if not same(ours, theirs):
                    different.append((text, at_s, ours, theirs))
            theirs = asked(prometheus, "/api/v1/query_range", query=text, start=start_s, end=end_s, step=STEP_S)
            ours = await answered(queries, text, start_s * 1000, end_s * 1000, STEP_S * 1000)
            if not same(ours, theirs):
                different.append((text, start_s, ours, theirs))
    assert different == []


def same(ours: Result | str, theirs: Result | str) -> bool:
    """Whether both are errors, or equal answers."""
    if isinstance(ours, str) or isinstance(theirs, str):
        return isinstance(ours, str) and isinstance(theirs, str)
    return alike(ours, theirs)
