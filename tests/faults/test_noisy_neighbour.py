"""A tenant that sends ten times what it may: the other one loses nothing. How much longer it waits is told at the end.

Row F29 of the fault matrix in docs/reliability.md.
The two are compared in turns, alone and beside the noise, because the machine does other things as well; for the same
reason nothing is asserted about time. `TEST_NOISE_S=6 TEST_LONG_ROUNDS=7` makes the figures worth reading,
`TEST_NOISE_AT_ONCE=1` spreads the noise evenly.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
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
PAUSE_S: Final = 0.06


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
    """A tenant that keeps well within its limit, and counts what it was told is stored.

    It takes as little of this machine as it can, since it would be another: a plain socket, requests made beforehand.
    """

    def __init__(self, program: Program, key: str) -> None:
        self.accepted = 0
        self._http = program.http
        self._headers = {"authorization": f"Bearer {key}"}
        self._socket = socket.create_connection(("127.0.0.1", httpx.URL(program.base).port or 0))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._key = key

    def send_for(self, seconds: float) -> list[float]:
        """Send for a while; return how long each answer took. Nothing may be refused."""
        took = []
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            request = self._request()
            begin_s = time.perf_counter()
            self._socket.sendall(request)
            head, body = self._answer()
            took.append(time.perf_counter() - begin_s)
            assert head.startswith(b"HTTP/1.1 200 "), head + body
            self.accepted += json.loads(body)["accepted"]
            time.sleep(PAUSE_S)
        return took

    def _request(self) -> bytes:
        now_ms = time.time_ns() // 1_000_000
        times = list(range(now_ms - QUIET_SAMPLES, now_ms))
        table = {"labels": {"__name__": "quiet"}, "timestamps_ms": times, "values": [1.0] * QUIET_SAMPLES}
        body = json.dumps({"series": [table]})
        head = f"POST /api/v1/samples HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self._key}\r\n"
        return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()

    def _answer(self) -> tuple[bytes, bytes]:
        data = b""
        while True:
            piece = self._socket.recv(1 << 16)
            assert piece, "the connection was closed"
            data += piece
            head, end, body = data.partition(b"\r\n\r\n")
            if end and len(body) >= int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]):
                return head, body

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def stored(self) -> int:
        """Return how many of its samples a query finds."""
        asked = {"query": "sum(count_over_time({__name__!=''}[1h]))", "time": str(time.time_ns() // 10**9 + 1)}
        answer = self._http.get("/prometheus/api/v1/query", params=asked, headers=self._headers)
        assert answer.status_code == 200, answer.text
        [found] = answer.json()["data"]["result"]
        return int(found["value"][1])


@contextmanager
def noise(port: int, key: str, per_s: int, seen: Seen) -> Iterator[None]:
    """Let the noisy tenant send for a phase, in a process of its own, and count how it is answered."""
    command = [sys.executable, "-m", "tests.parts.neighbour", str(port), key]
    command += [str(per_s), str(LEAD_S + PHASE_S), str(NOISE_SAMPLES)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        time.sleep(LEAD_S)
        yield
        said, _ = process.communicate(timeout=60)
    told = json.loads(said)
    seen.answered.update({int(status): count for status, count in told["answered"].items()})
    seen.sender_busy.append(told["busy"])


@dataclass
class Seen:
    """What was seen in one of the phases.

    Attributes:
        took_s: how long each answer to the quiet tenant took.
        answered: how often the neighbour got each status.
        busy: what share of a processor the program took, each time.
        sender_busy: the same of the neighbour.
    """

    took_s: list[float] = field(default_factory=list)
    answered: Counter[int] = field(default_factory=Counter)
    busy: list[float] = field(default_factory=list)
    sender_busy: list[float] = field(default_factory=list)

    @property
    def p99_ms(self) -> float:
        """Within how many milliseconds 99 % were answered."""
        return float(np.percentile(self.took_s, 99)) * 1000


class Phases:
    """What the quiet tenant meets while nobody, a neighbour within its limit, or one far beyond it sends as well."""

    def __init__(self, program: Program, keys: dict[str, str]) -> None:
        self.quiet = Quiet(program, keys["default"])
        self.seen = {name: Seen() for name in NOISES}
        self._port, self._noisy = httpx.URL(program.base).port or 0, keys["noisy"]
        self._process = psutil.Process(program.child.process.pid)

    def go_through(self) -> None:
        """Go through all phases once."""
        for name, per_s in NOISES.items():
            seen = self.seen[name]
            port = self._port if name != "elsewhere" else 0
            with noise(port, self._noisy, per_s, seen) if per_s else nullcontext():
                begin_s = sum(self._process.cpu_times()[:2])
                seen.took_s += self.quiet.send_for(PHASE_S)
                seen.busy.append((sum(self._process.cpu_times()[:2]) - begin_s) / PHASE_S)

    def forget(self) -> None:
        """Count from here on: the first requests compile and load what later ones have."""
        for seen in self.seen.values():
            seen.took_s.clear()
            seen.busy.clear()

    def figures(self) -> Iterator[str]:
        """Yield what was seen in each phase, as a line, and what the noise made of it."""
        for name, seen in self.seen.items():
            p50_ms = float(np.percentile(seen.took_s, 50)) * 1000
            answered = ", ".join(f"{count} x {status}" for status, count in sorted(seen.answered.items()))
            yield (
                f"noise {name}: p50 {p50_ms:.1f} ms, p99 {seen.p99_ms:.1f} ms of {len(seen.took_s)};"
                f" {np.mean(seen.busy):.2f} of a core, the sender {np.mean(seen.sender_busy or [0]):.2f};"
                f" the neighbour was answered {answered or 'nothing'}"
            )
        for base in ("alone", "elsewhere", "within"):
            ratio = self.seen["beyond"].p99_ms / self.seen[base].p99_ms
            yield f"p99 beyond is {ratio:.2f} times p99 {base}"


def test_a_tenant_at_ten_times_its_limit_costs_another_no_sample(
    tmp_path: Path, long_rounds: int, tell: Callable[[str], None]
) -> None:
    with two_tenants(tmp_path) as (program, keys):
        phases = Phases(program, keys)
        phases.go_through()
        phases.forget()
        for _ in range(long_rounds):
            phases.go_through()
        phases.quiet.close()
        for line in phases.figures():
            tell(line)
        assert phases.quiet.stored() == phases.quiet.accepted, "what was answered well is stored"
    refused = phases.seen["beyond"].answered
    assert set(refused) <= {200, 429}
    assert refused[429] > 0
    accepted = sum(one.answered[200] for one in phases.seen.values())
    assert accepted <= PER_S * (10 + (long_rounds + 1) * (4 * PHASE_S + 60))
