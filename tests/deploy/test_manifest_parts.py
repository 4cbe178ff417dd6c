"""What `deploy/k8s` puts beside Quantum fits Quantum: names, secrets, topics, the realm, and who reaches whom."""

from __future__ import annotations

import asyncio
import json
import re
from itertools import product
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import pytest
import yaml
from tests.manifests import (
    BASE,
    COMPOSED,
    FOLDER,
    ROLES,
    ROOT,
    built,
    container_of,
    environment_of,
    find,
    name_of,
    only,
    pod_of,
    secret_files,
    workload_of,
    workloads,
)
from tests.parts import keycloak

from quantum.adapters.http.login import BACK_CHANNEL, CALLBACK
from quantum.adapters.kafka.cluster import Cluster
from quantum.adapters.kafka.lanes import Topics
from quantum.adapters.postgres.engine import connect
from quantum.domain.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.manifests import Thing

PROD: Final = FOLDER / "overlays/prod"
DOCUMENT: Final = (ROOT / "docs/kubernetes.md").read_text()
POSTGRES: Final = {"cnpg.io/cluster": "quantum-postgres"}
KAFKA: Final = {"strimzi.io/cluster": "quantum-kafka"}
"""Labels that operators give to their pods."""
TLS_REQUEST: Final = bytes.fromhex("0000000804d2162f")
"""What a client of PostgreSQL begins with if it wants TLS."""
SERVED: Final = {
    ("monitoring", "postgres"),
    ("monitoring", "kafka"),
    ("monitoring", "redis"),
    ("ml", "postgres"),
    ("ml", "kafka"),
    ("gateway", "postgres"),
    ("gateway", "redis"),
    ("gateway", "monitoring"),
}
"""Who asks whom; nobody else does."""

each = pytest.mark.parametrize("folder", COMPOSED, ids=name_of)


def topics_of(folder: Path) -> Topics:
    environment = environment_of(built(folder), "ml")
    return Topics(Cluster(url=environment["QUANTUM_STREAM__URL"]), "default", int(environment["QUANTUM_STREAM__LANES"]))


def labels_of(folder: Path, name: str) -> Mapping[str, str]:
    """Return the labels of the pods of a role, or of a part."""
    if name in ROLES:
        labels: Mapping[str, str] = workload_of(built(folder), name)["spec"]["template"]["metadata"]["labels"]
        return labels
    if name == "redis":
        redis: Mapping[str, str] = only(built(folder), "Deployment", "quantum-redis")["spec"]["selector"]["matchLabels"]
        return redis
    return {"postgres": POSTGRES, "kafka": KAFKA}[name]


def port_of(folder: Path, name: str) -> int:
    """Return where a part is asked, as the settings of who asks have it."""
    environment = environment_of(built(folder), "monitoring")
    match name:
        case "postgres":
            return 5432
        case "kafka":
            return urlsplit(environment["QUANTUM_STREAM__URL"]).port or 0
        case "redis":
            return urlsplit(environment["QUANTUM_REDIS__URL"]).port or 6379
        case _:
            return int(environment["QUANTUM_SERVER__PORT"])


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(labels.get(one["key"]) in one["values"] for one in selector.get("matchExpressions", []))


def peers(things: Sequence[Thing], way: str, labels: Mapping[str, str], port: int) -> Iterator[dict[str, Any]]:
    """Yield whom policies allow pods to reach, or be reached by, at a port."""
    for policy in find(things, "NetworkPolicy"):
        spec = policy["spec"]
        if selects(spec["podSelector"], labels) and way in spec["policyTypes"]:
            for rule in spec.get(way.lower(), []):
                if "ports" not in rule or port in [one["port"] for one in rule["ports"]]:
                    yield from rule["from" if way == "Ingress" else "to"]


def is_confined(things: Sequence[Thing], way: str, labels: Mapping[str, str]) -> bool:
    """Whether any policy is about that way of pods; without one everything is allowed."""
    policies = [one["spec"] for one in find(things, "NetworkPolicy")]
    return any(way in spec["policyTypes"] and selects(spec["podSelector"], labels) for spec in policies)


def reaches(things: Sequence[Thing], source: Mapping[str, str], target: Mapping[str, str], port: int) -> bool:
    """Whether policies let pods of the namespace reach others of it."""

    def allowed(way: str, own: Mapping[str, str], other: Mapping[str, str]) -> bool:
        here = [one["podSelector"] for one in peers(things, way, own, port) if set(one) == {"podSelector"}]
        return not is_confined(things, way, own) or any(selects(one, other) for one in here)

    return allowed("Egress", source, target) and allowed("Ingress", target, source)


@each
def test_every_pod_reaches_what_it_needs_and_nothing_else_of_the_namespace(folder: Path) -> None:
    names = (*ROLES, "postgres", "kafka", "redis")
    for source, target in product(ROLES, names):
        if source != target:
            labels = labels_of(folder, source), labels_of(folder, target)
            found = reaches(built(folder), *labels, port_of(folder, target))
            assert found == ((source, target) in SERVED), (source, target)


@each
def test_only_labelled_namespaces_reach_quantum_and_its_parts_from_elsewhere(folder: Path) -> None:
    for name in (*ROLES, "redis"):
        assert is_confined(built(folder), "Ingress", labels_of(folder, name))
        assert is_confined(built(folder), "Egress", labels_of(folder, name))
        for peer in peers(built(folder), "Ingress", labels_of(folder, name), port_of(folder, name)):
            assert "ipBlock" not in peer
            if "namespaceSelector" in peer:
                (label,) = peer["namespaceSelector"]["matchLabels"].items()
                assert f"{label[0]}={label[1]}" in DOCUMENT


@each
def test_kafka_lets_in_who_asks_it(folder: Path) -> None:
    (listener,) = only(built(folder), "Kafka")["spec"]["kafka"]["listeners"]
    url = urlsplit(environment_of(built(folder), "ml")["QUANTUM_STREAM__URL"])
    assert (url.hostname, url.port) == ("quantum-kafka-kafka-bootstrap", listener["port"])
    pods = [one["podSelector"] for one in listener["networkPolicyPeers"] if "podSelector" in one]
    assert all(any(selects(one, labels_of(folder, role)) for one in pods) for role in ("monitoring", "ml"))


@each
def test_the_user_of_kafka_may_do_what_quantum_does_there_and_nothing_else(folder: Path) -> None:
    user = only(built(folder), "KafkaUser")
    environment = environment_of(built(folder), "ml")
    assert environment["QUANTUM_STREAM__USER"] == user["metadata"]["name"]
    assert environment["QUANTUM_STREAM__SASL"] == user["spec"]["authentication"]["type"]
    may = {acl["resource"]["type"]: acl for acl in user["spec"]["authorization"]["acls"]}
    topics = topics_of(folder)
    for name in (topics.tasks, topics.answers, topics.letters):
        assert name.startswith(may["topic"]["resource"]["name"])
    assert topics.group.startswith(may["group"]["resource"]["name"])
    assert all(acl["resource"]["patternType"] == "prefix" for acl in may.values())
    assert set(may["topic"]["operations"]) == {"Create", "Describe", "Read", "Write"}
    assert set(may["group"]["operations"]) == {"Describe", "Read"}


@each
def test_kafka_has_as_many_nodes_as_copies_are_asked_for(folder: Path) -> None:
    config = only(built(folder), "Kafka")["spec"]["kafka"]["config"]
    nodes = only(built(folder), "KafkaNodePool")["spec"]["replicas"]
    assert {text for name, text in config.items() if name.endswith("replication.factor")} == {nodes}
    assert config["min.insync.replicas"] == config["transaction.state.log.min.isr"] == max(1, nodes - 1)


@each
@pytest.mark.parametrize("role", ROLES)
def test_the_server_of_the_database_has_to_show_who_it_is(folder: Path, role: str) -> None:
    environment = environment_of(built(folder), role)
    assert environment["PGSSLMODE"] == "verify-full"
    assert PurePosixPath(environment["PGSSLROOTCERT"]) in secret_files(built(folder), role)


async def test_a_server_without_tls_is_refused_by_what_the_manifests_say(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in environment_of(built(PROD), "monitoring").items():
        if name.startswith("PG"):
            monkeypatch.setenv(name, text)
    asked = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readexactly(len(TLS_REQUEST)))
        writer.write(b"N")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unavailable, match="SSL"):
            await connect(f"postgresql://quantum@127.0.0.1:{port}/quantum")
    assert asked == [TLS_REQUEST]


@each
def test_the_database_loses_nothing_that_was_answered_where_there_are_several(folder: Path) -> None:
    cluster = only(built(folder), "Cluster", "quantum-postgres")["spec"]
    assert cluster["bootstrap"]["initdb"]["encoding"] == "UTF8"
    if cluster["instances"] > 1:
        assert cluster["postgresql"]["synchronous"] == {"method": "any", "number": 1, "dataDurability": "required"}
    else:
        assert "synchronous" not in cluster["postgresql"]


def test_what_people_rely_on_is_there_more_than_once() -> None:
    things = built(PROD)
    assert only(things, "Cluster", "quantum-postgres")["spec"]["instances"] >= 3
    assert only(things, "KafkaNodePool")["spec"]["replicas"] >= 3
    assert only(things, "Keycloak")["spec"]["instances"] >= 2
    assert only(things, "ScaledObject")["spec"]["minReplicaCount"] >= 2
    for role in ("monitoring", "gateway"):
        assert workload_of(things, role)["spec"]["replicas"] >= 2
        spread = pod_of(workload_of(things, role))["topologySpreadConstraints"]
        assert "kubernetes.io/hostname" in [one["topologyKey"] for one in spread]


def test_workers_are_scaled_by_the_lanes_that_there_are() -> None:
    things, topics = built(PROD), topics_of(PROD)
    scaled = only(things, "ScaledObject")["spec"]
    assert scaled["scaleTargetRef"]["name"] == workload_of(things, "ml")["metadata"]["name"]
    assert "replicas" not in workload_of(things, "ml")["spec"], "each apply would undo what was scaled"
    assert scaled["maxReplicaCount"] == topics.lanes
    (trigger,) = scaled["triggers"]
    told = trigger["metadata"]
    assert (told["topic"], told["consumerGroup"]) == (topics.tasks, topics.group)
    environment = environment_of(things, "ml")
    kafka = urlsplit(environment["QUANTUM_STREAM__URL"])
    assert told["bootstrapServers"] == f"{kafka.hostname}.quantum.svc:{kafka.port}"
    assert told["sasl"] == "scram_sha512"
    shown = only(things, "TriggerAuthentication", trigger["authenticationRef"]["name"])["spec"]
    (user,) = shown["env"]
    assert user["name"] in environment
    assert {one["name"] for one in shown["secretTargetRef"]} <= secrets_of(things)


def test_the_realm_is_the_one_that_is_shipped() -> None:
    text = keycloak.REALM.read_text()
    imported = yaml.safe_load((FOLDER / "components/keycloak/realm.yaml").read_text())["spec"]
    assert imported["realm"] == json.loads(text)
    assert set(imported["placeholders"]) == set(re.findall(r"\$\{([A-Z_]+)\}", text))


def test_keycloak_the_way_in_and_the_program_agree_on_names() -> None:
    things = built(PROD)
    environment = environment_of(things, "gateway")
    server, realm = only(things, "Keycloak")["spec"], only(things, "KeycloakRealmImport")["spec"]
    sso = server["hostname"]["hostname"]
    assert environment["QUANTUM_AUTH__ISSUER"] == f"{sso}/realms/{realm['realm']['realm']}"
    assert realm["keycloakCRName"] == only(things, "Keycloak")["metadata"]["name"]
    listeners = {one["name"]: one["hostname"] for one in only(things, "Gateway")["spec"]["listeners"]}
    assert f"https://{listeners['sso']}" == sso
    dashboard = f"https://{listeners['quantum']}"
    clients = {one["clientId"]: one for one in realm["realm"]["clients"]}
    client = clients["quantum-dashboard"]
    assert client["redirectUris"] == [f"{dashboard}{CALLBACK}"]
    assert client["attributes"]["post.logout.redirect.uris"] == f"{dashboard}/"
    assert client["attributes"]["backchannel.logout.url"] == f"{dashboard}{BACK_CHANNEL}"
    assert listeners["quantum"] in environment["QUANTUM_SERVER__ALLOWED_HOSTS"].split(",")
    assert "localhost" not in json.dumps(realm["realm"]["clients"])


def test_the_way_in_is_over_tls_and_cuts_no_live_socket() -> None:
    things = built(PROD)
    gateway = only(things, "Gateway")
    assert all(one["protocol"] == "HTTPS" for one in gateway["spec"]["listeners"])
    hosts = {one["name"]: [one["hostname"]] for one in gateway["spec"]["listeners"]}
    for route in find(things, "HTTPRoute"):
        (parent,) = route["spec"]["parentRefs"]
        assert parent["name"] == gateway["metadata"]["name"]
        assert route["spec"]["hostnames"] == hosts[parent["sectionName"]]
    (rule,) = only(things, "HTTPRoute", "quantum")["spec"]["rules"]
    assert rule["timeouts"] == {"request": "0s", "backendRequest": "0s"}
    (backend,) = rule["backendRefs"]
    (port,) = only(things, "Service", backend["name"])["spec"]["ports"]
    assert backend["port"] == port["port"]


def test_metrics_are_asked_for_where_they_are() -> None:
    things = built(PROD)
    monitor = only(things, "PodMonitor")["spec"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["path"] == "/metrics"
    for role in ROLES:
        assert selects(monitor["selector"], labels_of(PROD, role))
        assert [port["name"] for port in container_of(things, role)["ports"]] == [endpoint["port"]]


def secrets_of(things: Sequence[Thing]) -> set[str]:
    """Return the names of all secrets that pods are given."""
    found = set()
    for workload in workloads(things):
        pod = pod_of(workload)
        found |= {one["secret"]["secretName"] for one in pod["volumes"] if "secret" in one}
        for container in pod["containers"]:
            found |= {one["secretRef"]["name"] for one in container.get("envFrom", []) if "secretRef" in one}
            sources = [one["valueFrom"]["secretKeyRef"] for one in container.get("env", []) if "valueFrom" in one]
            found |= {one["name"] for one in sources}
    return found


@pytest.mark.parametrize("folder", [BASE, *COMPOSED], ids=name_of)
def test_every_secret_is_explained(folder: Path) -> None:
    names = secrets_of(built(folder))
    for gateway in find(built(folder), "Gateway"):
        names |= {ref["name"] for one in gateway["spec"]["listeners"] for ref in one["tls"]["certificateRefs"]}
    for realm in find(built(folder), "KeycloakRealmImport"):
        names |= {one["secret"]["name"] for one in realm["spec"]["placeholders"].values()}
    for name in names:
        assert f"`{name}`" in DOCUMENT, name


def test_every_component_is_used_and_explained() -> None:
    components = {one.parent.name for one in FOLDER.glob("components/*/kustomization.yaml")}
    assert components == {one.name for one in (FOLDER / "components").iterdir()}
    used = "".join((one / "kustomization.yaml").read_text() for one in COMPOSED)
    for name in components:
        assert f"components/{name}\n" in used
        assert f"`{name}`" in DOCUMENT
