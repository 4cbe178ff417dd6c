"""A real Keycloak with the realm that is shipped: from Maven Central, unpacked and built once, outside the work tree.

It keeps its data in memory and is told by its administration API what a test needs: users, roles, keys. It can also be
somebody's own: `TEST_KEYCLOAK_HOME` names an unpacked distribution that was built with `kc.sh build --db=dev-mem`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
from tests.parts import need
from tests.parts.children import free_port, start_child
from tests.parts.kept import is_whole, kept, pinned

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION: Final = "26.5.6"
SHA256: Final = "490189d9dff05272432d51f71a069462eeca97f2920a694d539a1e6c26a5a347"
ADDRESS: Final = (
    "https://repo.maven.apache.org/maven2/org/keycloak/keycloak-quarkus-dist/"
    f"{VERSION}/keycloak-quarkus-dist-{VERSION}.zip"
)
BUILD: Final = ("build", "--db=dev-mem", "--cache=local")
REALM: Final = Path(__file__).parents[2] / "deploy/keycloak/realm.json"
JAVA_OPTIONS: Final = "-XX:TieredStopAtLevel=1"
"""It runs for a minute: compiling well would cost more than it gains."""
START_TIMEOUT_S: Final = 300.0
NEWEST_JAVA: Final = 25
PASSWORD: Final = "correct horse battery staple"
AGENT_SECRET: Final = "secret-of-the-agent"


@dataclass
class KeycloakServer:
    """A running server.

    Attributes:
        url: of it, without a path.
    """

    url: str
    _admin: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        """Be nobody yet."""
        self._admin = httpx.Client(base_url=self.url, timeout=60)

    @property
    def issuer(self) -> str:
        """As tokens of the shipped realm name it."""
        return f"{self.url}/realms/quantum"

    def admin(self, method: str, path: str, body: object = None) -> httpx.Response:
        """Ask the administration API, below `/admin/realms`."""
        form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": PASSWORD}
        granted = self._admin.post("/realms/master/protocol/openid-connect/token", data=form)
        headers = {"authorization": f"Bearer {granted.json()['access_token']}"}
        answer = self._admin.request(method, f"/admin/realms{path}", json=body, headers=headers)
        assert answer.status_code < 400, (method, path, answer.status_code, answer.text)
        return answer

    def import_realm(self) -> None:
        """Make the shipped realm, with a secret for its agent, and let tests ask for tokens by password."""
        text = REALM.read_text().replace("${QUANTUM_AGENT_SECRET}", AGENT_SECRET)
        self.admin("POST", "", json.loads(text))
        self.change_client("quantum-dashboard", directAccessGrantsEnabled=True)

    def change_client(self, client_id: str, **changes: Any) -> None:
        """Change members of a client of the realm."""
        client = self.admin("GET", f"/quantum/clients?clientId={client_id}").json()[0]
        self.admin("PUT", f"/quantum/clients/{client['id']}", client | changes)

    def add_user(self, name: str, *roles: str, tenant: str = "default") -> str:
        """Make a user with roles of the realm; return its id."""
        credentials = [{"type": "password", "value": PASSWORD, "temporary": False}]
        user = {"username": name, "enabled": True, "attributes": {"tenant": [tenant]}, "credentials": credentials}
        made = self.admin("POST", "/quantum/users", user)
        user_id = made.headers["location"].rpartition("/")[2]
        found = [self.admin("GET", f"/quantum/roles/{role}").json() for role in roles]
        self.admin("POST", f"/quantum/users/{user_id}/role-mappings/realm", found)
        return user_id

    def rotate(self) -> None:
        """Add a signing key that is preferred over those there are."""
        realm_id = self.admin("GET", "/quantum").json()["id"]
        provider = {
            "name": "a newer key",
            "providerId": "rsa-generated",
            "providerType": "org.keycloak.keys.KeyProvider",
            "parentId": realm_id,
            "config": {"priority": ["500"], "algorithm": ["RS256"], "keySize": ["2048"]},
        }
        self.admin("POST", "/quantum/components", provider)

    def tokens(self, name: str) -> dict[str, str]:
        """All tokens of a user, as the dashboard's client gets them."""
        return self._grant(
            grant_type="password", client_id="quantum-dashboard", username=name, password=PASSWORD, scope="openid"
        )

    def agent_token(self) -> str:
        """The access token of the program that sends samples."""
        form = {"client_id": "quantum-agent", "client_secret": AGENT_SECRET}
        return self._grant(grant_type="client_credentials", **form)["access_token"]

    def _grant(self, **form: str) -> dict[str, str]:
        answer = self._admin.post("/realms/quantum/protocol/openid-connect/token", data=form)
        assert answer.status_code == 200, answer.text
        found: dict[str, str] = answer.json()
        return found

    def answers(self) -> bool:
        """Whether it can be asked now."""
        with suppress(httpx.HTTPError):
            return self._admin.get("/realms/master", timeout=5).status_code == 200
        return False

    def close(self) -> None:
        """Be done with it."""
        self._admin.close()


@contextmanager
def run_keycloak(home: Path) -> Iterator[KeycloakServer]:
    """Run a server with the shipped realm for the length of a `with` block, with its log in a directory."""
    distribution = Path(os.environ.get("TEST_KEYCLOAK_HOME") or _built())
    server = KeycloakServer(f"http://127.0.0.1:{free_port()}")
    command: list[str | Path] = [
        distribution / "bin/kc.sh",
        "start",
        "--optimized",
        "--http-enabled=true",
        "--http-host=127.0.0.1",
        f"--http-port={server.url.rpartition(':')[2]}",
        f"--http-management-port={free_port()}",
        f"--hostname={server.url}",
    ]
    environment = _environment() | {"KC_BOOTSTRAP_ADMIN_USERNAME": "admin", "KC_BOOTSTRAP_ADMIN_PASSWORD": PASSWORD}
    try:
        with start_child(command, home / "keycloak.log", environment) as child:
            child.wait_until(server.answers, "an answer of Keycloak", START_TIMEOUT_S)
            server.import_realm()
            yield server
    finally:
        server.close()


def _built() -> Path:
    """Return a distribution that is ready to start; make it if this machine has none yet."""
    with kept("keycloak.lock") as cache:
        ready = cache / f"keycloak-{VERSION}-ready"
        if not ready.exists():
            making = cache / f"keycloak-{VERSION}-making"
            shutil.rmtree(making, ignore_errors=True)
            _unpack(_downloaded(cache), making)
            subprocess.run([making / "bin/kc.sh", *BUILD], env=os.environ | _environment(), check=True, timeout=600)
            making.rename(ready)
    return ready


def _downloaded(cache: Path) -> Path:
    archive = cache / f"keycloak-{VERSION}.zip"
    if not is_whole(archive, SHA256):
        with httpx.stream("GET", ADDRESS, timeout=120) as answer, archive.open("wb") as file:
            answer.raise_for_status()
            for piece in answer.iter_bytes(1 << 20):
                file.write(piece)
        pinned(archive.read_bytes(), SHA256, ADDRESS)
    return archive


def _unpack(archive: Path, place: Path) -> None:
    """Unpack a distribution so that its first directory is `place`; its scripts can be run."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(place.with_suffix(".unpacked"))
    (place.with_suffix(".unpacked") / f"keycloak-{VERSION}").rename(place)
    shutil.rmtree(place.with_suffix(".unpacked"))
    for script in (place / "bin").glob("*.sh"):
        script.chmod(0o755)


def _environment() -> dict[str, str]:
    return {"JAVA_HOME": str(java_home()), "JAVA_OPTS_APPEND": JAVA_OPTIONS, "JAVA_OPTS_KC_HEAP": "-Xms64m -Xmx512m"}


def java_home() -> Path:
    """Return the newest Java that Keycloak's release notes name: 17, 21 or 25."""
    found: dict[int, Path] = {}
    for release in Path("/usr/lib/jvm").glob("*/release"):
        version = re.search(r'JAVA_VERSION="(\d+)', release.read_text())
        if version is not None:
            found[int(version[1])] = release.parent
    usable = [number for number in found if number <= NEWEST_JAVA and (found[number] / "bin/java").exists()]
    return found[max(usable)] if usable else need("java").resolve().parent.parent
