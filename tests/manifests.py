"""The manifests of `deploy/k8s` as Kubernetes would get them, and what they say about Quantum's own processes."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import yaml
from tests.parts.kubectl import kubectl

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import httpx

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / "deploy/k8s"
BASE: Final = FOLDER / "base"
COMPOSED: Final = tuple(sorted(one.parent for one in FOLDER.glob("*/*/kustomization.yaml") if "overlays" in one.parts))
"""What can be applied as it is."""
ALL: Final = (BASE, *COMPOSED)
"""The base by itself says neither where Kafka is nor who may come in, so the program would refuse it."""
ROLES: Final = ("monitoring", "ml", "gateway")
IMAGE_SETS: Final = dict(re.findall(r"((?:QUANTUM|NUMBA)_\w+)=(\S+)", (ROOT / "deploy/images/Dockerfile").read_text()))
"""The environment that the image brings."""
SECRETS: Final = {
    "QUANTUM_STORE__URL": "postgresql://quantum:from-a-secret@db.example/quantum",
    "QUANTUM_REDIS__URL": "redis://:from-a-secret@redis.example/0",
    "QUANTUM_STREAM__PASSWORD": "from-a-secret",
}
"""What a secret may hold: by the name of a setting, an example of what it can be."""

Thing = dict[str, Any]
"""An object of Kubernetes."""


@cache
def built(folder: Path) -> tuple[Thing, ...]:
    """Return what Kustomize makes of a folder."""
    done = subprocess.run([kubectl(), "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", done.stderr
    return tuple(thing for thing in yaml.safe_load_all(done.stdout) if thing)


def find(things: Sequence[Thing], kind: str, name: str | None = None) -> list[Thing]:
    """Return the objects of a kind."""
    return [one for one in things if one["kind"] == kind and name in (None, one["metadata"]["name"])]


def only(things: Sequence[Thing], kind: str, name: str | None = None) -> Thing:
    """Return the one object of a kind."""
    (found,) = find(things, kind, name)
    return found


def workloads(things: Sequence[Thing]) -> Iterator[Thing]:
    """Yield what has pods that Kubernetes itself makes."""
    for thing in things:
        if "template" in thing.get("spec", {}) and thing["apiVersion"] in ("apps/v1", "batch/v1"):
            yield thing


def pod_of(workload: Thing) -> Thing:
    """Return the specification of its pods."""
    found: Thing = workload["spec"]["template"]["spec"]
    return found


def workload_of(things: Sequence[Thing], role: str) -> Thing:
    """Return what has the pods of a role."""
    wanted = {"app.kubernetes.io/name": "quantum", "app.kubernetes.io/component": role}
    (found,) = (one for one in workloads(things) if wanted.items() <= one["metadata"]["labels"].items())
    return found


def container_of(things: Sequence[Thing], role: str) -> Thing:
    """Return the container of a role."""
    found: list[Thing] = pod_of(workload_of(things, role))["containers"]
    assert len(found) == 1
    return found[0]


def environment_of(things: Sequence[Thing], role: str) -> dict[str, str]:
    """Return the environment that a process of a role has, with an example in the place of each secret.

    A secret that is optional is taken to be missing.
    """
    container = container_of(things, role)
    environment = dict(IMAGE_SETS)
    for source in container["envFrom"]:
        if "configMapRef" in source:
            environment |= only(things, "ConfigMap", source["configMapRef"]["name"])["data"]
        elif not source["secretRef"].get("optional"):
            environment |= SECRETS
    for one in container.get("env", []):
        environment[one["name"]] = one["value"] if "value" in one else SECRETS[one["name"]]
    return environment


def secret_files(things: Sequence[Thing], role: str) -> set[PurePosixPath]:
    """Return the files that a process of a role gets of secrets."""
    volumes = {one["name"]: one for one in pod_of(workload_of(things, role))["volumes"]}
    return {
        PurePosixPath(mount["mountPath"]) / item["path"]
        for mount in container_of(things, role)["volumeMounts"]
        for item in volumes.get(mount["name"], {}).get("secret", {}).get("items", [])
    }


def settings_in(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are settings."""
    return {name: text for name, text in environment.items() if name.startswith("QUANTUM_")}


def probes_of(container: Thing) -> dict[str, Thing]:
    """Return its probes by their kind."""
    return {kind: container[kind] for kind in ("startupProbe", "readinessProbe", "livenessProbe")}


def answers_probes(role: str, http: httpx.Client) -> None:
    """Check that a running process of a role answers what Kubernetes will ask it."""
    for folder in ALL:
        for probe in probes_of(container_of(built(folder), role)).values():
            assert http.get(probe["httpGet"]["path"]).status_code == 200, (name_of(folder), probe)


def name_of(folder: Path) -> str:
    """Return how a folder is called among the manifests."""
    return str(folder.relative_to(FOLDER))
