"""The real program as a user runs it: `quantum run` in a process of its own, spoken to over HTTP."""

from __future__ import annotations

import re
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx
import psutil
from tests.parts.children import Child, start_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

T = TypeVar("T")

QUANTUM: Final = Path(sys.executable).with_name("quantum")
ADDRESS: Final = r"(http://127\.0\.0\.1:\d+)"
TELLS_LOOPBACK: Final = {"QUANTUM_OUTGOING__WEBHOOK_NETWORKS": "127.0.0.0/8"}
"""Environment of every program: the receivers of tests are on this machine."""
ALONE: Final = {"QUANTUM_HOST_METRICS__ENABLED": "false"}
"""Environment for a program that collects nothing by itself."""
READY_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Program:
    """A running Quantum.

    Attributes:
        child: its process.
        base: the address that it printed.
        http: a client for it.
        ready_after_s: from its start until it said that it is ready.
    """

    child: Child
    base: str
    http: httpx.Client
    ready_after_s: float

    def get(self, path: str, **parameters: Any) -> Any:
        """Return the JSON of a GET that succeeds."""
        answer = self.http.get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Mapping[str, Any], status: int = 200) -> Any:
        """Return the JSON of a POST that answers with a status."""
        answer = self.http.post(path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def push(self, *series: tuple[Mapping[str, str], Sequence[int], Sequence[float]]) -> Any:
        """Store samples given as (labels, timestamps_ms, values); return the receipt."""
        tables = [
            {"labels": dict(labels), "timestamps_ms": list(at_ms), "values": list(values)}
            for labels, at_ms, values in series
        ]
        return self.post("/api/v1/samples", {"series": tables})

    def series(self, selector: str) -> dict[str, Any] | None:
        """Return the only series that a selector finds, or None if there is none yet."""
        found = self.get("/api/v1/series", **{"match[]": selector})["items"]
        assert len(found) <= 1, found
        return found[0] if found else None

    def metric(self, name: str) -> float:
        """Return the value of a metric of the program that has no labels."""
        [found] = re.findall(rf"^{name} (.*)$", self.http.get("/metrics").text, re.MULTILINE)
        return float(found)

    def wait_until(self, probe: Callable[[], T | None], what: str, timeout_s: float) -> T:
        """Repeat a probe until it finds something; fail with the program's log otherwise."""
        return self.child.wait_until(probe, what, timeout_s)

    def rss_mb(self) -> float:
        """Return the resident memory of the process in megabytes (10^6 bytes)."""
        return psutil.Process(self.child.process.pid).memory_info().rss / 1e6


@contextmanager
def run_quantum(
    data_dir: Path,
    log: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    ready_within_s: float = READY_TIMEOUT_S,
    quantum: Sequence[str | Path] = (QUANTUM,),
) -> Iterator[Program]:
    """Run the program on a port that it picks, for the length of a `with` block, once it says that it is ready.

    Args:
        data_dir: its store.
        log: gets its output; appended to.
        arguments: more for `quantum run`.
        environment: added to the one of this process.
        ready_within_s: fail if it takes longer.
        quantum: what is run in the place of the command `quantum`.
    """
    said_before = log.stat().st_size if log.exists() else 0
    command: list[str | Path] = [*quantum, "run", "--port", "0", "--data-dir", data_dir, *arguments]
    begin_s = time.monotonic()
    with start_child(command, log, {**TELLS_LOOPBACK, **(environment or {})}) as child:
        base = child.wait_for_line(ADDRESS, ready_within_s, start=said_before).group(1)
        with httpx.Client(base_url=base, timeout=120, trust_env=False) as client:
            child.wait_until(lambda: _is_ready(client), "a good answer of /readyz", ready_within_s)
            yield Program(child, base, client, time.monotonic() - begin_s)


def _is_ready(client: httpx.Client) -> bool | None:
    try:
        return client.get("/readyz").status_code == 200 or None
    except httpx.TransportError:
        return None
