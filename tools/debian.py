"""Programs from Debian packages: found on this machine, or unpacked into a cache without being installed.

Unpacking needs no root, starts no service and changes nothing but the cache (`QUANTUM_PARTS`, default
`~/.cache/quantum-parts`). Only the package itself is fetched, so this suits programs that need no others.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

CACHE: Final = Path(os.environ.get("QUANTUM_PARTS", Path.home() / ".cache" / "quantum-parts"))
FETCH_S: Final = 300


class PartMissingError(RuntimeError):
    """A program is neither here nor to be had."""


def program(name: str, package: str | None = None) -> Path:
    """Return the path of a program; fetch its Debian package (default: of the same name) if it is not here.

    Raises:
        PartMissingError: it cannot be had; the message says what was tried.
    """
    found = shutil.which(name)
    if found:
        return Path(found)
    package = package or name
    unpacked = CACHE / package / "usr" / "bin" / name
    if not unpacked.exists():
        _unpack(package)
    if not unpacked.exists():
        raise PartMissingError(f"the Debian package {package} has no program {name}")
    return unpacked


def _unpack(package: str) -> None:
    target = CACHE / package
    target.mkdir(parents=True, exist_ok=True)
    if _run(["apt-get", "download", package], target):
        _run(["apt-get", "update", "-qq"], target)
        problem = _run(["apt-get", "download", package], target)
        if problem:
            raise PartMissingError(f"{package} is not installed and apt-get download failed: {problem}")
    for archive in target.glob("*.deb"):
        problem = _run(["dpkg-deb", "-x", str(archive), str(target)], target)
        archive.unlink()
        if problem:
            raise PartMissingError(f"{archive.name} cannot be unpacked: {problem}")


def _run(command: list[str], folder: Path) -> str:
    """Run a command; return the empty string, or the end of what it complained."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=FETCH_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else (done.stderr.strip()[-300:] or f"exit status {done.returncode}")
