"""What `deploy/k8s` is made of is what Kubernetes knows, keeps to itself, and has no rights."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jsonschema
import kubernetes_validate
import pytest
import yaml
from tests.manifests import ALL, FOLDER, built, find, name_of, pod_of, workloads
from tests.parts.kubectl import VERSION

if TYPE_CHECKING:
    from tests.manifests import Thing

CRDS: Final = Path(__file__).with_name("crds")
BUILT_IN: Final = frozenset({"networking.k8s.io/v1", "policy/v1", "apps/v1", "batch/v1", "v1"})
CLUSTER_WIDE: Final = frozenset({"Namespace"})
TAG: Final = re.compile(r"[a-z0-9./-]+(:[0-9]+/[a-z0-9./-]+)?:(?P<tag>[\w.-]+)(@sha256:[0-9a-f]{64})?")
IN_THE_CLEAR: Final = re.compile(
    r"://[^/\s@]*:[^/\s@$]+@|(?i:password|secret|token)\w*\s*[:=]\s*['\"]?\w{6,}['\"]?\s*$"
)
"""A password in an address, or beside its name."""

folders = pytest.mark.parametrize("folder", ALL, ids=name_of)


def check(thing: Thing) -> None:
    """Hold an object against the schema of its kind; unknown members are errors."""
    if thing["apiVersion"] in BUILT_IN:
        kubernetes_validate.validate(thing, VERSION, strict=True)
        return
    group, version = thing["apiVersion"].split("/")
    schema = json.loads((CRDS / group / f"{thing['kind'].lower()}_{version}.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(thing)


@folders
def test_every_object_has_a_kind_and_members_that_kubernetes_or_an_operator_knows(folder: Path) -> None:
    things = built(folder)
    assert len(things) > 5
    for thing in things:
        check(thing)


@pytest.mark.parametrize(
    ("api", "kind", "spec"),
    [
        ("apps/v1", "Deployment", {"replicas": "two"}),
        ("apps/v1", "Deployment", {"replica": 2}),
        ("networking.k8s.io/v1", "NetworkPolicy", {"podSelecter": {}}),
    ],
)
def test_what_no_kind_has_is_found(api: str, kind: str, spec: dict[str, Any]) -> None:
    thing = {"apiVersion": api, "kind": kind, "metadata": {"name": "a"}, "spec": spec}
    with pytest.raises(jsonschema.ValidationError):
        check(thing)


@folders
def test_nothing_is_outside_of_its_namespace(folder: Path) -> None:
    (namespace,) = find(built(folder), "Namespace")
    for thing in built(folder):
        if thing["kind"] not in CLUSTER_WIDE:
            assert thing["metadata"]["namespace"] == namespace["metadata"]["name"], thing["metadata"]["name"]


@folders
def test_no_two_objects_have_one_name(folder: Path) -> None:
    names = [(one["kind"], one["metadata"]["name"]) for one in built(folder)]
    assert len(names) == len(set(names))


@folders
def test_the_namespace_lets_restricted_pods_in_alone(folder: Path) -> None:
    (namespace,) = find(built(folder), "Namespace")
    labels = namespace["metadata"]["labels"]
    for mode in ("enforce", "warn", "audit"):
        assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"


@folders
def test_every_pod_keeps_to_the_restricted_profile_and_to_itself(folder: Path) -> None:
    for workload in workloads(built(folder)):
        pod = pod_of(workload)
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & set(pod)
        assert all(set(one) <= {"name", "emptyDir", "secret", "configMap", "projected"} for one in pod["volumes"])
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        # else the address of the service `quantum` would come as QUANTUM_PORT, which is no setting
        assert pod["enableServiceLinks"] is False
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert not any("hostPort" in port for port in container.get("ports", []))


@folders
def test_every_pod_is_bounded_and_is_asked_how_it_is(folder: Path) -> None:
    for workload in workloads(built(folder)):
        for container in pod_of(workload)["containers"]:
            resources = container["resources"]
            assert {"cpu", "memory"} <= set(resources["requests"])
            assert "memory" in resources["limits"]
            assert {"readinessProbe", "livenessProbe"} <= set(container)
        for volume in pod_of(workload)["volumes"]:
            assert "emptyDir" not in volume or "sizeLimit" in volume["emptyDir"]


@folders
def test_every_image_has_one_tag(folder: Path) -> None:
    images = [container["image"] for one in workloads(built(folder)) for container in pod_of(one)["containers"]]
    images += [one["spec"]["imageName"] for one in built(folder) if "imageName" in one.get("spec", {})]
    for image in images:
        found = TAG.fullmatch(image)
        assert found is not None, image
        assert found["tag"] != "latest"


@folders
def test_every_selector_finds_pods_of_the_folder(folder: Path) -> None:
    things = built(folder)
    pods = [one["spec"]["template"]["metadata"]["labels"] for one in workloads(things)]
    selectors = [one["spec"]["selector"] for one in find(things, "Service")]
    selectors += [one["spec"]["selector"]["matchLabels"] for one in find(things, "PodDisruptionBudget")]
    for workload in workloads(things):
        selectors.append(workload["spec"]["selector"]["matchLabels"])
        spread = pod_of(workload).get("topologySpreadConstraints", [])
        selectors += [one["labelSelector"]["matchLabels"] for one in spread]
    assert selectors
    for selector in selectors:
        assert sum(selector.items() <= labels.items() for labels in pods) == 1, selector


def test_no_secret_is_written_down() -> None:
    for file in sorted(FOLDER.rglob("*")):
        if file.is_file():
            for line in file.read_text().splitlines():
                assert not IN_THE_CLEAR.search(line), (file, line)
    for folder in ALL:
        assert not find(built(folder), "Secret")


@pytest.mark.parametrize("line", ["url: redis://:hunter2@redis:6379", "password: hunter22", "QUANTUM_SECRET=hunter22"])
def test_a_secret_that_is_written_down_is_found(line: str) -> None:
    assert IN_THE_CLEAR.search(line)


def test_every_file_is_used() -> None:
    for folder in (one.parent for one in FOLDER.rglob("kustomization.yaml")):
        text = yaml.safe_dump(yaml.safe_load((folder / "kustomization.yaml").read_text()))
        for file in folder.iterdir():
            assert file.name == "kustomization.yaml" or file.name in text, file
