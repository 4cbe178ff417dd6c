"""What Quantum is made of: locked by hash, listed in a bill of materials, and past the defects that concerned it."""

from __future__ import annotations

import json
import subprocess
import tomllib
from typing import Any, Final

import pytest

from tools import licences, prepare

LOCK: Final = tomllib.loads((prepare.ROOT / "uv.lock").read_text(encoding="utf-8"))
PACKAGES: Final = {one["name"]: one for one in LOCK["package"] if "registry" in one["source"]}
REPAIRED_IN: Final = {
    "joserfc": (1, 6, 8),  # CVE-2026-49852: an empty HMAC key was accepted
    "litestar": (2, 8, 3),  # CVE-2024-32982: files outside of the directory that is served
    "aiohttp": (3, 10, 11),  # CVE-2024-52304: request smuggling by chunk extensions
    "protobuf": (5, 29, 5),  # CVE-2025-4565: unbounded recursion
    "h11": (0, 16, 0),  # CVE-2025-43859: lenient line endings of chunks
}
"""Packages and the version that mended the last defect in them that could be used against a server like this."""


def version_of(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in PACKAGES[name]["version"].split(".")[:3])


def test_every_package_is_locked_by_hash() -> None:
    assert len(PACKAGES) > 50
    for one in PACKAGES.values():
        files = [*one.get("wheels", ()), *([one["sdist"]] if "sdist" in one else ())]
        assert files, one["name"]
        assert all(file["hash"].startswith("sha256:") for file in files), one["name"]


@pytest.mark.parametrize("name", REPAIRED_IN)
def test_no_package_is_older_than_its_last_known_defect(name: str) -> None:
    assert version_of(name) >= REPAIRED_IN[name]


def test_the_bill_of_materials_has_every_package_of_the_lock() -> None:
    uv = prepare.find_uv() or prepare.install_uv()
    command = [uv, "export", "--format", "cyclonedx1.5", "--frozen", "--offline", "--no-dev", "--quiet"]
    done = subprocess.run(command, cwd=prepare.ROOT, capture_output=True, text=True, check=True, timeout=60)
    bill: dict[str, Any] = json.loads(done.stdout)
    assert bill["bomFormat"] == "CycloneDX"
    listed = {one["name"]: one["version"] for one in bill["components"]}
    assert {"litestar", "joserfc", "numpy"} <= listed.keys()
    assert all(PACKAGES[name]["version"] == version for name, version in listed.items() if name in PACKAGES)
    assert all(one["purl"].startswith("pkg:pypi/") for one in bill["components"])


def test_every_locked_package_has_a_licence_that_may_be() -> None:
    assert licences.refused() == []
    packages = licences.locked()
    needed = licences.shipped(packages)
    assert {"quantum", "litestar", "numpy", "psycopg-binary"} <= needed
    assert not needed & {"pytest", "schemathesis", "ruff"}
    assert sum(is_shipped for _, _, is_shipped in licences.of_npm()) > 5


@pytest.mark.parametrize("expression", ["GPL-3.0-only", "AGPL-3.0-or-later", "MIT AND GPL-2.0-only", "SSPL-1.0", ""])
def test_other_licences_may_not_be(expression: str) -> None:
    assert not licences.may_be(expression, licences.AT_WORK)


@pytest.mark.parametrize("name", licences.UNSAID)
def test_what_is_written_down_here_is_said_nowhere_else(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(licences, "UNSAID", {})
    assert licences.of_python(name) == ""
