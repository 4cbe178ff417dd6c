"""A tenant that sends ten times what it may: the other one loses nothing. How much longer it waits is told at the end.

Row F29 of the fault matrix in docs/reliability.md.
The two are compared in turns, alone and beside the noise, because the machine does other things as well; for the same
reason nothing is asserted about time. `TEST_NOISE_S=8 TEST_LONG_ROUNDS=4` makes the figures worth reading.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

import httpx
import numpy as np
import psutil
from tests.issuer import SigningKey, claims
from tests.parts.program import ALONE, Program, run_quantum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PER_S: Final = 20
"""What each may send: so many requests a second."""
NOISES: Final = {"alone": 0, "elsewhere": 10 * PER_S, "within": PER_S, "beyond": 10 * PER_S}
"""What the neighbour sends in each phase: so many requests a second. Elsewhere is to itself, with which Quantum has
nothing to do, so that what the sending costs this machine is seen."""
NOISE_SAMPLES: Final = 1000
QUIET_SAMPLES: Final = 10
PHASE_S: Final = float(os.environ.get("TEST_NOISE_S", "1.5"))
"""How long each phase takes, of which there are four a round."""
LEAD_S: Final = 1.6
"""So long before it is measured the noise begins: what may come in a burst, ten seconds' worth, has come by then."""
PAUSE_S: Final = 0.1


@contextmanager
def issuer(key: SigningKey) -> Iterator[str]:
    """Serve the keys of an issuer of tokens on this machine; yields its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            base = f"http://127.0.0.1:{server.server_port}/realms/quantum"
            known: dict[str, Any] = {"issuer": base, "jwks_uri": f"{base}/certs"}
            body = json.dumps({"keys": [key.jwk()]} if self.path.endswith("/certs") else known).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, name="issuer")
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/realms/quantum"
        server.shutdown()
        thread.join()


@contextmanager
def two_tenants(folder: Path) -> Iterator[tuple[Program, dict[str, str]]]:
    """Run the program for two tenants; yields it and a key of each."""
    key = SigningKey("k1")
    with issuer(key) as address:
        environment = {
            "QUANTUM_TENANTS": "default,noisy",
            "QUANTUM_AUTH__MODE": "keycloak",
            "QUANTUM_AUTH__ISSUER": address,
            "QUANTUM_RATES__TENANT_PER_S": str(PER_S),
            "QUANTUM_RATES__KEY_PER_S": str(PER_S),
        }
        with run_quantum(folder / "data", folder / "log", environment=environment | ALONE) as program:
            keys = {}
            for tenant in ("default", "noisy"):
                now_ms = time.time_ns() // 1_000_000
                token = key.token(claims(now_ms, iss=address, tenant=tenant, realm_access={"roles": ["admin"]}))
                body = {"name": "agent", "scopes": ["ingest", "read"]}
                headers = {"authorization": f"Bearer {token}"}
                made = program.http.post("/api/v1/api-keys", json=body, headers=headers)
                assert made.status_code == 201, made.text
                keys[tenant] = made.json()["key"]
            yield program, keys


class Quiet:
    """A tenant that keeps well within its limit, and counts what it was told is stored."""

    def __init__(self, program: Program, key: str) -> None:
        self.accepted = 0
        self._http = program.http
        self._headers = {"authorization": f"Bearer {key}"}

    def send_for(self, seconds: float) -> list[float]:
        """Send for a while; return how long each answer took. Nothing may be refused."""
        took = []
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            now_ms = time.time_ns() // 1_000_000
            times = list(range(now_ms - QUIET_SAMPLES, now_ms))
            table = {"labels": {"__name__": "quiet"}, "timestamps_ms": times, "values": [1.0] * QUIET_SAMPLES}
            begin_s = time.perf_counter()
            answer = self._http.post("/api/v1/samples", json={"series": [table]}, headers=self._headers)
            took.append(time.perf_counter() - begin_s)
            assert answer.status_code == 200, answer.text
            self.accepted += answer.json()["accepted"]
            time.sleep(PAUSE_S)
        return took

    def stored(self) -> int:
        """Return how many of its samples a query finds."""
        asked = {"query": "sum(count_over_time({__name__!=''}[1h]))", "time": str(time.time_ns() // 10**9 + 1)}
        answer = self._http.get("/prometheus/api/v1/query", params=asked, headers=self._headers)
        assert answer.status_code == 200, answer.text
        [found] = answer.json()["data"]["result"]
        return int(found["value"][1])


@contextmanager
def noise(port: int, key: str, per_s: int, answered: Counter[int]) -> Iterator[None]:
    """Let the noisy tenant send for a phase, in a process of its own, and count how it is answered."""
    command = [sys.executable, "-m", "tests.parts.neighbour", str(port), key]
    command += [str(per_s), str(LEAD_S + PHASE_S), str(NOISE_SAMPLES)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        time.sleep(LEAD_S)
        yield
        said, _ = process.communicate(timeout=60)
    answered.update({int(status): count for status, count in json.loads(said).items()})


class Phases:
    """What the quiet tenant meets while nobody, a neighbour within its limit, or one far beyond it sends as well."""

    def __init__(self, program: Program, keys: dict[str, str]) -> None:
        self.quiet = Quiet(program, keys["default"])
        self.answered: dict[str, Counter[int]] = {name: Counter() for name in NOISES}
        self.took_s: dict[str, list[float]] = {name: [] for name in NOISES}
        self.busy_s = dict.fromkeys(NOISES, 0.0)
        self._port, self._noisy = httpx.URL(program.base).port or 0, keys["noisy"]
        self._process = psutil.Process(program.child.process.pid)

    def go_through(self) -> None:
        """Go through all phases once."""
        for name, per_s in NOISES.items():
            begin_s = sum(self._process.cpu_times()[:2])
            port = self._port if name != "elsewhere" else 0
            with noise(port, self._noisy, per_s, self.answered[name]) if per_s else nullcontext():
                self.took_s[name] += self.quiet.send_for(PHASE_S)
            self.busy_s[name] += sum(self._process.cpu_times()[:2]) - begin_s

    def forget(self) -> None:
        """Count from here on: the first requests compile and load what later ones have."""
        for name in NOISES:
            self.took_s[name].clear()
        self.busy_s = dict.fromkeys(NOISES, 0.0)

    def figures(self, rounds: int) -> Iterator[str]:
        """Yield what was seen in each phase, as a line."""
        for name, took in self.took_s.items():
            p50, p99 = np.percentile(np.array(took) * 1000, [50, 99])
            busy = self.busy_s[name] / rounds / PHASE_S
            answered = ", ".join(f"{count} x {status}" for status, count in sorted(self.answered[name].items()))
            yield (
                f"noise {name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms of {len(took)}; {busy:.2f} of a core;"
                f" the neighbour was answered {answered or 'nothing'}"
            )


def test_a_tenant_at_ten_times_its_limit_costs_another_no_sample(
    tmp_path: Path, long_rounds: int, tell: Callable[[str], None]
) -> None:
    with two_tenants(tmp_path) as (program, keys):
        phases = Phases(program, keys)
        phases.go_through()
        phases.forget()
        for _ in range(long_rounds):
            phases.go_through()
        for line in phases.figures(long_rounds):
            tell(line)
        assert phases.quiet.stored() == phases.quiet.accepted, "what was answered well is stored"
    refused = phases.answered["beyond"]
    assert set(refused) <= {200, 429}
    assert refused[429] > 0
    assert sum(one[200] for one in phases.answered.values()) <= PER_S * (10 + (long_rounds + 1) * (4 * PHASE_S + 60))
