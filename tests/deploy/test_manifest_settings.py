"""What `deploy/k8s` tells the program is understood by it, and what Kubernetes does fits what the program does."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import urlsplit

import pytest
from tests.manifests import (
    COMPOSED,
    IMAGE_SETS,
    ROLES,
    SECRETS,
    built,
    container_of,
    environment_of,
    find,
    name_of,
    only,
    pod_of,
    probes_of,
    secret_files,
    settings_in,
    workload_of,
)
from tests.parts.authority import Authority

from quantum import roles
from quantum.adapters.http.health import health_routes
from quantum.adapters.kafka.cluster import GOODBYE_S
from quantum.application import monitoring, publishing
from quantum.cli.run import check_config
from quantum.loading import load_settings
from quantum.settings import Settings, SettingsError

ATTEMPT_S: Final = 10.0
"""So long a receiver may take to answer."""
OPENS_WITHIN_S: Final = 600
"""So long a first start may take to open and to compile, as the image's own check allows."""

CERTIFICATES: Final = "QUANTUM_STREAM__CA_FILE"

each = pytest.mark.parametrize("folder", COMPOSED, ids=name_of)
each_role = pytest.mark.parametrize("role", ROLES)


Reader = Callable[[Path, str], dict[str, str]]
SettingsOf = Callable[[Path, str], Settings]


@pytest.fixture(name="environment_in", scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Return the settings of a process, with a file that is here where one comes from a secret."""
    authorities = str(Authority(tmp_path_factory.mktemp("authority")).ca_file)

    def read(folder: Path, role: str) -> dict[str, str]:
        environment = settings_in(environment_of(built(folder), role))
        if CERTIFICATES in environment:
            assert PurePosixPath(environment[CERTIFICATES]) in secret_files(built(folder), role)
            environment[CERTIFICATES] = authorities
        return environment

    return read


@pytest.fixture(name="settings_of", scope="module")
def loaded(environment_in: Reader) -> SettingsOf:
    """Return the settings of a process as it loads them."""
    return lambda folder, role: load_settings(None, environment_in(folder, role), role=role)


@each
@each_role
def test_the_command_accepts_the_settings_of_each_role_and_shows_no_secret(
    folder: Path,
    role: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    environment_in: Reader,
) -> None:
    for name in settings_in(os.environ):
        monkeypatch.delenv(name)
    for name, text in environment_in(folder, role).items():
        monkeypatch.setenv(name, text)
    monkeypatch.chdir(tmp_path)
    check_config(role=role, as_json=True)  # type: ignore[arg-type]
    said = capsys.readouterr().out
    assert json.loads(said)["store"]["kind"] == "postgres"
    assert "from-a-secret" not in said


@each
def test_all_roles_agree_on_what_they_share(folder: Path, settings_of: SettingsOf) -> None:
    monitoring_, ml, gateway = (settings_of(folder, role) for role in ROLES)
    assert monitoring_.stream == ml.stream
    assert monitoring_.store.url == ml.store.url == gateway.store.url
    assert monitoring_.store.tenant == ml.store.tenant == gateway.store.tenant
    assert monitoring_.redis == gateway.redis
    assert monitoring_.auth == gateway.auth
    assert monitoring_.server == gateway.server


def test_variables_that_kubernetes_makes_of_services_would_be_refused() -> None:
    with pytest.raises(SettingsError, match="port_8470_tcp"):
        load_settings(None, {"QUANTUM_PORT_8470_TCP": "tcp://10.0.0.1:8470"})


@each
@each_role
def test_what_runs_is_the_role_and_every_port_is_the_one_it_listens_on(
    folder: Path, role: str, settings_of: SettingsOf
) -> None:
    container = container_of(built(folder), role)
    assert container["args"] == ["run", "--role", role]
    (port,) = container["ports"]
    assert port["containerPort"] == settings_of(folder, role).server.port
    assert {probe["httpGet"]["port"] for probe in probes_of(container).values()} == {port["name"]}
    for service in find(built(folder), "Service"):
        if service["spec"]["selector"].get("app.kubernetes.io/component") == role:
            (told,) = service["spec"]["ports"]
            assert (told["port"], told["targetPort"]) == (port["containerPort"], port["name"])


@each
@each_role
def test_what_is_asked_for_health_is_a_route_of_the_program(folder: Path, role: str) -> None:
    routes = {path for route in health_routes(None) for path in route.paths}  # type: ignore[arg-type]
    asked = {kind: probe["httpGet"]["path"] for kind, probe in probes_of(container_of(built(folder), role)).items()}
    assert asked == {"startupProbe": "/startupz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}
    assert set(asked.values()) <= routes


@each
@each_role
def test_everything_that_is_written_to_is_a_volume(folder: Path, role: str, settings_of: SettingsOf) -> None:
    container = container_of(built(folder), role)
    mounts = {PurePosixPath(one["mountPath"]) for one in container["volumeMounts"] if not one.get("readOnly")}
    written = {settings_of(folder, role).data_dir, IMAGE_SETS["NUMBA_CACHE_DIR"], "/tmp"}
    for place in written:
        assert any(PurePosixPath(place).is_relative_to(mount) for mount in mounts), place
    claims = workload_of(built(folder), role)["spec"].get("volumeClaimTemplates", [])
    there = {one["name"] for one in pod_of(workload_of(built(folder), role))["volumes"]}
    there |= {one["metadata"]["name"] for one in claims}
    assert {one["name"] for one in container["volumeMounts"]} == there


@each
def test_what_was_seen_of_the_log_outlives_the_pod_of_a_writer(folder: Path, settings_of: SettingsOf) -> None:
    writer = workload_of(built(folder), "monitoring")
    (claim,) = writer["spec"]["volumeClaimTemplates"]
    (mount,) = (
        one
        for one in container_of(built(folder), "monitoring")["volumeMounts"]
        if one["name"] == claim["metadata"]["name"]
    )
    assert mount["mountPath"] == settings_of(folder, "monitoring").data_dir


@each
def test_gateways_ask_every_pod_that_may_write_at_a_name_that_does_not_wait_for_readiness(
    folder: Path, settings_of: SettingsOf
) -> None:
    things = built(folder)
    writer = workload_of(things, "monitoring")
    service = only(things, "Service", writer["spec"]["serviceName"])
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    pods = [f"{writer['metadata']['name']}-{number}" for number in range(writer["spec"]["replicas"])]
    asked = [urlsplit(one) for one in settings_of(folder, "gateway").gateway.writers]
    assert [one.hostname for one in asked] == [f"{pod}.{service['metadata']['name']}" for pod in pods]
    assert {one.port for one in asked} == {settings_of(folder, "monitoring").server.port}


@each
def test_an_update_never_waits_for_a_waiting_writer_to_be_ready(folder: Path) -> None:
    writer = workload_of(built(folder), "monitoring")["spec"]
    assert writer["podManagementPolicy"] == "Parallel"
    assert writer["updateStrategy"]["rollingUpdate"]["maxUnavailable"] >= writer["replicas"]
    guarded = [one["spec"]["selector"]["matchLabels"] for one in find(built(folder), "PodDisruptionBudget")]
    labels = writer["template"]["metadata"]["labels"]
    assert not any(one.items() <= labels.items() for one in guarded), "a node could never be drained"


@each
def test_who_waits_for_the_lease_is_not_killed_for_waiting(folder: Path, settings_of: SettingsOf) -> None:
    container = container_of(built(folder), "monitoring")
    probe = container["startupProbe"]
    wait_s = settings_of(folder, "monitoring").store.wait_ms / 1000
    assert wait_s >= 600, "a pod that ends every few minutes looks broken"
    assert probe["periodSeconds"] * probe["failureThreshold"] >= wait_s + OPENS_WITHIN_S


@each
@each_role
def test_a_stop_is_given_as_long_as_it_takes(folder: Path, role: str) -> None:
    goodbyes_s = 4 * GOODBYE_S + publishing.GOODBYE_S
    takes_s = roles.DRAIN_S + goodbyes_s + (monitoring.FAREWELL_S + ATTEMPT_S if role == "monitoring" else 0)
    container = container_of(built(folder), role)
    pause_s = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    assert pod_of(workload_of(built(folder), role))["terminationGracePeriodSeconds"] >= 1.5 * takes_s + pause_s


@each
def test_there_are_no_more_workers_than_lanes(folder: Path, settings_of: SettingsOf) -> None:
    lanes = settings_of(folder, "ml").stream.lanes
    assert workload_of(built(folder), "ml")["spec"].get("replicas", 1) <= lanes


@each
def test_the_names_of_the_service_are_let_in(folder: Path, settings_of: SettingsOf) -> None:
    things = built(folder)
    service = only(things, "Service", "quantum")["metadata"]
    short = f"{service['name']}.{service['namespace']}"
    names = {service["name"], short, f"{short}.svc", f"{short}.svc.cluster.local"}
    assert names <= set(settings_of(folder, "gateway").server.allowed_hosts)
    assert names <= set(settings_of(folder, "monitoring").server.allowed_hosts)


@each
@each_role
def test_what_a_secret_holds_is_referred_to_and_never_set(folder: Path, role: str) -> None:
    things = built(folder)
    plain = {name: text for one in find(things, "ConfigMap") for name, text in one["data"].items()}
    for one in container_of(things, role).get("env", []):
        if "value" in one:
            plain[one["name"]] = one["value"]
        else:
            assert set(one["valueFrom"]) == {"secretKeyRef"}
            assert one["name"] in SECRETS
    assert "QUANTUM_STORE__URL" not in plain
    assert not any(re.search(r"://[^/]*@", text) for text in plain.values())
