"""A real browser signs in through a real Keycloak to the real program, whose sessions are in a real Redis."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Final

import pytest
from tests.parts import need
from tests.parts.keycloak import PASSWORD
from tests.parts.program import ALONE, run_quantum
from tests.parts.redis import run_redis

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
