"""A real browser signs in through a real Keycloak to the real program: its sessions in a real Redis, or behind TLS."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Final

import httpx
import pytest
from tests.parts import need
from tests.parts.authority import Authority
from tests.parts.keycloak import PASSWORD
from tests.parts.program import ALONE, run_quantum
from tests.parts.redis import run_redis
from tests.parts.tls_front import run_tls_front

from tools import prepare

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parts.keycloak import KeycloakServer

READY_WITHIN_S: Final = 180.0
"""On a machine that runs Keycloak, Redis and Chromium as well."""
BROWSED_WITHIN_S: Final = 180
PEOPLE: Final = {"browser-viewer": "viewer", "browser-operator": "operator", "browser-admin": "admin"}


@pytest.fixture(scope="module")
def programs() -> Path:
    """The directory of `node`, with the packages of the dashboard's tests installed."""
    directory = prepare.install_node(prepare.find_uv() or prepare.install_uv())
    prepare.install_npm_packages(directory)
    return directory


def let_come_back(keycloak: KeycloakServer, base: str) -> None:
    """Let Keycloak know the address of a dashboard, as its documentation says."""
    client = keycloak.admin("GET", "/quantum/clients?clientId=quantum-dashboard").json()[0]
    keycloak.change_client("quantum-dashboard", redirectUris=[*client["redirectUris"], f"{base}/api/v1/login/callback"])


def test_a_browser_signs_in_and_may_do_what_its_user_may_and_signs_out(
    keycloak: KeycloakServer, programs: Path, tmp_path: Path
) -> None:
    for name, role in PEOPLE.items():
        keycloak.add_user(name, role)
    auth = {"QUANTUM_AUTH__MODE": "keycloak", "QUANTUM_AUTH__ISSUER": keycloak.issuer}
    with run_redis(tmp_path) as redis:
        environment = ALONE | auth | {"QUANTUM_REDIS__URL": redis.url}
        with run_quantum(
            tmp_path / "data", tmp_path / "quantum.log", environment=environment, ready_within_s=READY_WITHIN_S
        ) as program:
            let_come_back(keycloak, program.base)
            doings = {"please: stop redis": redis.kill, "please: start redis": redis.start}
            command: list[str | Path] = [
                programs / "node",
                "e2e/sign-in.mjs",
                program.base,
                tmp_path / "pictures",
                PASSWORD,
                *PEOPLE,
            ]
            with subprocess.Popen(
                command,
                cwd=prepare.ROOT / "frontend",
                env={"CHROMIUM": str(need("chromium"))},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            ) as browser:
                assert browser.stdin is not None
                assert browser.stdout is not None
                said = []
                for line in browser.stdout:
                    said.append(line)
                    if line.strip() in doings:
                        doings[line.strip()]()
                        browser.stdin.write("done\n")
                        browser.stdin.flush()
                assert browser.wait(BROWSED_WITHIN_S) == 0, "".join(said) + program.child.text()[-3000:]
    assert "qs_" not in (tmp_path / "quantum.log").read_text()
    assert "ticket=" not in (tmp_path / "quantum.log").read_text()


def test_behind_tls_a_browser_keeps_the_session_for_this_host_alone(
    keycloak: KeycloakServer, programs: Path, tmp_path: Path
) -> None:
    keycloak.add_user("tls-viewer", "viewer")
    certificate, key = Authority(tmp_path).issue("front", "127.0.0.1")
    environment = ALONE | {
        "QUANTUM_AUTH__MODE": "keycloak",
        "QUANTUM_AUTH__ISSUER": keycloak.issuer,
        "QUANTUM_SERVER__TRUSTED_PROXIES": "127.0.0.1/32",
    }
    log = tmp_path / "quantum.log"
    with (
        run_quantum(tmp_path / "data", log, environment=environment, ready_within_s=READY_WITHIN_S) as program,
        run_tls_front(httpx.URL(program.base).port or 0, certificate, key) as base,
    ):
        let_come_back(keycloak, base)
        ended = subprocess.run(
            [programs / "node", "e2e/over-tls.mjs", base, PASSWORD, "tls-viewer"],
            cwd=prepare.ROOT / "frontend",
            env={"CHROMIUM": str(need("chromium"))},
            capture_output=True,
            text=True,
            timeout=BROWSED_WITHIN_S,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr + program.child.text()[-3000:]
