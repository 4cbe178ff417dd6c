"""Real parts that system tests run: found on this machine, or installed from Debian's archive.

`need("prometheus")` returns the path of an executable that works. Nothing is started by an installation. A part that
can be had neither way is a failure that says what to do, never a skip: a test that does not run proves nothing.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES: Final = {
    "chromium": "chromium",
    "faketime": "faketime",
    "influx": "influxdb-client",
    "initdb": "postgresql",
    "java": "openjdk-17-jre-headless",
    "pg_basebackup": "postgresql-client",
    "postgres": "postgresql",
    "prometheus": "prometheus",
    "prometheus-node-exporter": "prometheus-node-exporter",
    "redis-server": "redis-server",
    "victoria-metrics": "victoria-metrics",
}
"""Name of each executable and the Debian package that has it."""
POLICY: Final = Path("/usr/sbin/policy-rc.d")
"""Debian asks this program whether a service may be started; exit status 101 says no."""
INSTALL_TIMEOUT_S: Final = 900
LOCK: Final = Path(__file__).parents[2] / ".tools/parts.lock"
"""Held while a part is looked for: what another process is just installing is there, but does not run yet."""


def need(name: str) -> Path:
    """Return the path of an executable; install its Debian package first if it is missing and we are root.

    The environment can name another one: `TEST_NODE_EXPORTER=/opt/node_exporter` for `node-exporter`.

    Fails the test:
        it is not there and cannot be installed.
    """
    variable = f"TEST_{name.upper().replace('-', '_')}"
    if named := os.environ.get(variable):
        return _executable(named) or _give_up(f"{variable} names {named}, which is not an executable file")
    LOCK.parent.mkdir(exist_ok=True)
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _executable(name) or _install(name)


@cache
def _install(name: str) -> Path:
    package = PACKAGES.get(name)
    if package is None:
        return _give_up(f"{name} is not on the PATH, and no Debian package is known for it")
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return _give_up(f"{name} is missing; install it (Debian: sudo apt-get install {package}) and run again")
    with _no_service_starts():
        problem = _refresh_lists() or _apt_get("install", "--yes", "--no-install-recommends", package)
    if problem:
        return _give_up(f"{name} is missing and its Debian package {package} cannot be installed: {problem}")
    return _executable(name) or _give_up(f"the Debian package {package} has no executable {name}")


@cache
def _refresh_lists() -> str:
    return _apt_get("update")


def _apt_get(*arguments: str) -> str:
    """Run apt-get; return the last lines of what it said if it failed, else the empty string."""
    done = subprocess.run(
        ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3", *arguments],
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout[-500:].strip() or f"apt-get exited with {done.returncode}"


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """Keep packages from starting their services; a policy that somebody else has set is left alone."""
    try:
        with POLICY.open("x") as file:
            file.write("#!/bin/sh\nexit 101\n")
    except FileExistsError:
        yield
        return
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def _executable(name: str) -> Path | None:
    found = shutil.which(name)
    if found:
        return Path(found)
    # Debian keeps the servers of several versions side by side, away from the PATH
    return max(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), default=None, key=lambda one: int(one.parts[-3]))


def _give_up(sentence: str) -> Path:
    pytest.fail(sentence, pytrace=False)
