"""Every limit of docs/limits.md on taking samples in and on requests: gone beyond, it is told by its id and counted."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.security.test_rates import AtTheirWord
from tests.watching import START_MS, Watching

from quantum.settings import IngestLimits, RequestRates, Settings, Store
from tools import prepare

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

PAGE: Final = (prepare.ROOT / "docs/limits.md").read_text(encoding="utf-8")
TABLES: Final = "## Taking samples in", "## Requests"
STATUS: Final = {"samples_per_second": 429, "body_too_large": 413, "decoded_too_large": 413, "request_timeout": 408}
STATUS_OF_RATES: Final = dict.fromkeys(("key_rate", "user_rate", "tenant_rate"), 429)
KEY: Final = {"authorization": "Bearer key-k"}
TOKEN: Final = {"authorization": "Bearer token-t"}


def rows_of(title: str) -> list[list[str]]:
    """Return the rows of the table below a title, as cells."""
    below = PAGE.partition(title)[2].partition("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in below.splitlines() if line[:3] == "| `"]


LIMITS: Final = [name for title in TABLES for row in rows_of(title) for name in re.findall(r"`(\w+)`", row[0])]


def series(
    labels: Mapping[str, str] | None = None, *, count: int = 1, at_ms: int = START_MS, samples: int = 1
) -> dict[str, Any]:
    times = [at_ms + number for number in range(samples)]
    return {
        "series": [
            {
                "labels": {"__name__": "cpu", "number": str(number), **(labels or {})},
                "timestamps_ms": times,
                "values": [1.0] * samples,
            }
            for number in range(count)
        ]
    }


BODIES: Final = {
    "series_limit": series(count=4),
    "process_series_limit": series(count=3),
    "memory_limit": series(),
    "request_series_limit": series(count=6),
    "request_sample_limit": series(samples=31),
    "body_too_large": series({"a": "x" * 1000}, count=5),
    "decoded_too_large": series({"a": "x" * 700}, count=4),
    "too_far_in_future": series(at_ms=START_MS + 3_600_000),
    "too_old": series(at_ms=START_MS - 40 * 86_400_000),
    "max_labels": series({f"l{number}": "x" for number in range(31)}),
    "label_name": series({"n" * 1025: "x"}),
    "label_value": series({"value": "x" * 2049}),
    "overloaded": series({"a": "x" * 400}, count=4),
}
LOW: Final = IngestLimits(
    max_series=3, max_series_per_request=5, max_samples_per_request=30, max_body_bytes=4500, max_decoded_bytes=9000
)
FOR_ITSELF: Final[dict[str, dict[str, int]]] = {
    "memory_limit": {"max_memory_bytes": 1},
    "process_series_limit": {"max_process_series": 1},
    "samples_per_second": {"max_samples_per_s": 1},
    "decoded_too_large": {"max_decoded_bytes": 2000},
    "overloaded": {"max_in_flight_bytes": 1000},
}


@pytest.fixture(name="system")
async def limited_system(request: pytest.FixtureRequest) -> AsyncIterator[Watching]:
    """A system whose limits are low: those of all tests, and the one that a test is about."""
    name: str = request.param
    asked = {field: getattr(LOW, field) for field in LOW.__struct_fields__} | FOR_ITSELF.get(name, {})
    rates = RequestRates(key_per_s=1, user_per_s=1) if name != "tenant_rate" else RequestRates(tenant_per_s=1)
    settings = Settings(store=Store(kind="memory"), limits=IngestLimits(**asked), rates=rates)
    async with Watching(settings, identity=AtTheirWord()) as system:
        yield system


async def go_beyond(system: Watching, name: str) -> tuple[int, Any]:
    """Go beyond a limit; return the status and the body of the answer that says so."""
    if name in STATUS_OF_RATES:
        headers = TOKEN if name == "user_rate" else KEY
        answers = [await system.http.get("/api/v1/policies", headers=headers) for _ in range(12)]
        return answers[-1].status_code, answers[-1].json()
    if name == "request_timeout":
        return await send_slowly(system)
    if name == "samples_per_second":
        await send(system, series(samples=20))
        body = series(at_ms=START_MS + 100)
    else:
        body = BODIES[name]
    return await send(system, body, is_zipped=name == "decoded_too_large")


async def send(system: Watching, body: dict[str, Any], *, is_zipped: bool = False) -> tuple[int, Any]:
    content = json.dumps(body).encode()
    headers = {**KEY, "content-type": "application/json"} | ({"content-encoding": "gzip"} if is_zipped else {})
    content = gzip.compress(content) if is_zipped else content
    answer = await system.http.post("/api/v1/samples", content=content, headers=headers)
    return answer.status_code, answer.json()


async def send_slowly(system: Watching) -> tuple[int, Any]:
    """Send a body that does not arrive in the time there is, which is short here."""
    system.container.bounds().timeout_s = 0.05
    headers = {**KEY, "content-type": "application/json"}
    async with system.served() as address:
        reader, writer = await asyncio.open_connection(*address.split(":"))
        head = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
        writer.write(f"POST /api/v1/samples HTTP/1.1\r\nhost: localhost\r\n{head}content-length: 9\r\n\r\n{{".encode())
        await writer.drain()
        status, _, rest = (await reader.read()).decode().partition("\r\n")
        writer.close()
    return int(status.split()[1]), json.loads(rest.partition("\r\n\r\n")[2])


@pytest.mark.parametrize(("system", "name"), [(name, name) for name in LIMITS], indirect=["system"], ids=LIMITS)
async def test_beyond_a_limit_its_id_is_told_and_counted(system: Watching, name: str) -> None:
    status, body = await go_beyond(system, name)
    if "rejected" in body:
        assert (status, name in body["rejected"]) == (400, True), body
    else:
        wanted = {**STATUS, **STATUS_OF_RATES, "overloaded": 503, "memory_limit": 503}.get(name, 400)
        assert (status, body["reason"]) == (wanted, name), body
    metrics = (await system.http.get("/metrics")).text
    assert re.search(rf'quantum_refused_(samples|requests)_total{{reason="{name}"}} [1-9]', metrics)


@pytest.mark.parametrize("row", [row for title in TABLES for row in rows_of(title)], ids=lambda row: row[0])
async def test_a_limit_that_can_be_set_is_told_in_the_metrics(row: list[str]) -> None:
    if not row[2]:
        return
    async with Watching() as system:
        metrics = (await system.http.get("/metrics")).text
    for name in re.findall(r"`(\w+)`", row[0]):
        assert f'quantum_limits{{reason="{name}"}}' in metrics


def test_the_page_has_all_limits() -> None:
    assert len(LIMITS) == len(set(LIMITS)) == 18
