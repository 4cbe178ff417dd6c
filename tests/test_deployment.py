"""What the Compose files and the Dockerfile say is understood by the program, and opens no door."""

from __future__ import annotations

import json
import re
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import pytest
import yaml
from tests.parts import keycloak

from quantum.adapters.http.login import BACK_CHANNEL, CALLBACK
from quantum.loading import load_settings

if TYPE_CHECKING:
    from quantum.settings import Settings

ROOT: Final = Path(__file__).parents[1]
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "compose.yaml").read_text())
ROLES: Final[dict[str, Any]] = yaml.safe_load((ROOT / "compose.roles.yaml").read_text())["services"]
"""Goes over the other: services of both are put together, member by member."""
SIGNING_IN: Final[dict[str, Any]] = yaml.safe_load((ROOT / "compose.keycloak.yaml").read_text())["services"]
"""Goes over the first, too."""
DOCKERFILE: Final = (ROOT / "deploy/images/Dockerfile").read_text()
DEFAULTED: Final = re.compile(r"\$\{\w+:-([^}]*)\}")


def filled(text: str) -> str:
    """Put the default of every variable in its place, as Compose does."""
    return DEFAULTED.sub(r"\1", text)


def settings_of_compose() -> Settings:
    return load_settings(None, environment_of(COMPOSE["services"]["quantum"]))


def environment_of(*services: dict[str, Any]) -> dict[str, str]:
    environment = dict(re.findall(r"(QUANTUM_\w+)=(\S+)", DOCKERFILE))
    for service in services:
        environment |= {name: filled(text) for name, text in service["environment"].items()}
    return environment


def test_its_settings_are_read_without_a_problem() -> None:
    settings = settings_of_compose()
    assert settings.store.kind == "postgres"
    assert settings.data_dir == "/var/lib/quantum"


def test_the_address_of_the_database_is_that_of_the_service() -> None:
    database = COMPOSE["services"]["postgres"]["environment"]
    user, password = database["POSTGRES_USER"], filled(database["POSTGRES_PASSWORD"])
    assert settings_of_compose().store.url == f"postgresql://{user}:{password}@postgres/{database['POSTGRES_DB']}"


@pytest.mark.parametrize("services", [COMPOSE["services"], ROLES, SIGNING_IN])
def test_ports_are_open_to_this_machine_alone(services: dict[str, Any]) -> None:
    for port in (port for service in services.values() for port in service.get("ports", [])):
        assert ip_address(filled(port).split(":")[0]).is_loopback


def test_without_keycloak_one_port_is_open() -> None:
    ports = [filled(port) for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert ports == [f"127.0.0.1:8470:{settings_of_compose().server.port}"]


def test_the_program_has_no_rights_and_writes_to_its_volume_alone() -> None:
    service = COMPOSE["services"]["quantum"]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert re.search(r"^USER [1-9]\d*$", DOCKERFILE, re.MULTILINE)
    assert f"VOLUME {settings_of_compose().data_dir}" in DOCKERFILE


@pytest.mark.parametrize("service", COMPOSE["services"])
def test_every_service_is_bounded_and_comes_back(service: str) -> None:
    assert {"mem_limit", "restart", "stop_grace_period"} <= set(COMPOSE["services"][service])


def test_keycloak_is_the_tested_version_is_bounded_and_starts_only_if_asked_for() -> None:
    service = SIGNING_IN["keycloak"]
    assert "keycloak" not in COMPOSE["services"]
    assert service["image"] == f"quay.io/keycloak/keycloak:{keycloak.VERSION}"
    assert {"mem_limit", "restart", "stop_grace_period"} <= set(service)


def test_keycloak_imports_the_realm_that_is_shipped_with_every_variable_set() -> None:
    service = SIGNING_IN["keycloak"]
    assert "--import-realm" in service["command"]
    (volume,) = service["volumes"]
    source, target, mode = volume.split(":")
    assert (ROOT / source).resolve() == keycloak.REALM
    assert (target, mode) == ("/opt/keycloak/data/import/realm.json", "ro")
    assert set(re.findall(r"\$\{([A-Z_]+)\}", keycloak.REALM.read_text())) == {"QUANTUM_AGENT_SECRET"}
    assert filled(service["environment"]["QUANTUM_AGENT_SECRET"])


def test_browsers_and_the_program_reach_keycloak_at_its_one_address() -> None:
    service, program = SIGNING_IN["keycloak"], COMPOSE["services"]["quantum"]
    place = urlsplit(service["environment"]["KC_HOSTNAME"])
    assert (place.scheme, place.hostname) == ("http", "localhost")
    assert service["network_mode"] == "service:quantum"
    assert service["environment"]["KC_HTTP_PORT"] == str(place.port)
    assert SIGNING_IN["quantum"]["ports"] == [f"127.0.0.1:{place.port}:{place.port}"]
    settings = load_settings(None, environment_of(program, SIGNING_IN["quantum"]))
    assert settings.auth.mode == "keycloak"
    realm = json.loads(keycloak.REALM.read_text())
    assert settings.auth.issuer == f"{place.geturl()}/realms/{realm['realm']}"
    clients = {client["clientId"]: client for client in realm["clients"]}
    client, port = clients[settings.auth.dashboard_client], filled(program["ports"][0]).split(":")[1]
    assert f"http://localhost:{port}{CALLBACK}" in client["redirectUris"]
    assert client["attributes"]["backchannel.logout.url"] == f"http://localhost:{settings.server.port}{BACK_CHANNEL}"


def test_without_keycloak_nobody_has_to_sign_in() -> None:
    assert settings_of_compose().auth.mode == "stub"


def test_with_roles_the_program_and_its_workers_agree_on_database_kafka_and_lanes() -> None:
    assert (ROLES["quantum"]["command"], ROLES["ml"]["command"]) == (
        ["run", "--role", "monitoring"],
        ["run", "--role", "ml"],
    )
    monitoring = load_settings(
        None, environment_of(COMPOSE["services"]["quantum"], ROLES["quantum"]), role="monitoring"
    )
    worker = load_settings(None, environment_of(ROLES["ml"]), role="ml")
    assert (worker.store, worker.stream) == (monitoring.store, monitoring.stream)
    assert (
        f"PLAINTEXT://{worker.stream.url.removeprefix('kafka://')}"
        == (ROLES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"])
    )


def test_a_gateway_agrees_with_the_program_on_database_and_redis_and_finds_it() -> None:
    gateway = load_settings(None, environment_of(ROLES["gateway"]), role="gateway")
    monitoring = load_settings(
        None, environment_of(COMPOSE["services"]["quantum"], ROLES["quantum"]), role="monitoring"
    )
    assert (gateway.store, gateway.redis) == (monitoring.store, monitoring.redis)
    assert gateway.gateway.writers == (f"http://quantum:{monitoring.server.port}",)
    (port,) = ROLES["gateway"]["ports"]
    assert ip_address(filled(port).split(":")[0]).is_loopback
    assert {"mem_limit", "restart", "stop_grace_period"} <= set(ROLES["gateway"])


@pytest.mark.parametrize("service", ["kafka", "ml", "redis"])
def test_what_roles_add_is_bounded_comes_back_and_is_reached_from_inside_alone(service: str) -> None:
    assert {"mem_limit", "restart", "stop_grace_period"} <= set(ROLES[service])
    assert ROLES[service]["networks"] == ["inside"]
    assert "ports" not in ROLES[service]
