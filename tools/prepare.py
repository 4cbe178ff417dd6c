"""Makes a checkout ready: uv, the locked Python packages, the built dashboard; then `quantum run` can start.

    python3 -m tools.prepare [--dev] [--deep] [--dashboard]

Any Python from 3.9 with a network will do: uv is taken from the PATH or else installed into `.tools/`, and it finds or
fetches the Python that the program needs. Nothing outside the checkout is changed. What is there already is kept, so
the second time takes a second. Every step says what it does and how long it took; its output goes to `.tools/`.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tools import dashboard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
OLDEST_UV = (0, 8)
"""The first that reads a lock file of this revision."""
PIP_WHEEL = "pip-26.3-py3-none-any.whl"
PIP_URL = f"https://files.pythonhosted.org/packages/07/25/ee8c38ae72d66b844ce8eb9711ba905dba21ca1a8a0c960057c41cd23337/{PIP_WHEEL}"
PIP_SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"
TICK_S = 1.0
SAY_EVERY_S = 15.0
TAIL_LINES = 25


class StepFailedError(Exception):
    """A step could not be done; the message says what to look at."""


def main(arguments: Sequence[str]) -> int:
    """Get ready; return the exit status."""
    unknown = set(arguments) - {"--dev", "--deep", "--dashboard"}
    if unknown:
        return _complain(f"unknown argument {' '.join(sorted(unknown))}; there are --dev, --deep and --dashboard", 2)
    try:
        uv = find_uv() or install_uv()
        if "--dashboard" not in arguments:
            run_step(*sync_step(uv, dev="--dev" in arguments, deep="--deep" in arguments))
        build_dashboard(uv)
    except StepFailedError as failure:
        return _complain(str(failure), 1)
    except KeyboardInterrupt:
        return _complain("stopped; run it again to go on where it stopped", 130)
    return 0


def find_uv() -> str | None:
    """Return a uv that is new enough, from the PATH or from `.tools/`, or None."""
    for candidate in (shutil.which("uv"), str(TOOLS / "uv/bin/uv")):
        if candidate and _uv_version(candidate) >= OLDEST_UV:
            return candidate
    return None


def _uv_version(uv: str) -> tuple[int, ...]:
    """Return the version, or () if it does not run (a shim of a version manager, for example)."""
    try:
        said = subprocess.run([uv, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ()
    found = re.match(r"uv (\d+)\.(\d+)", said)
    return tuple(int(part) for part in found.groups()) if found else ()


def install_uv() -> str:
    """Install uv from PyPI into `.tools/uv`; return its path."""
    TOOLS.mkdir(exist_ok=True)
    command = [*_pip(), "install", "--quiet", "--upgrade", "--target", str(TOOLS / "uv"), "uv"]
    # settings for the user's own environments must not lead this one astray
    environment = {**os.environ, "PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0", "PIP_ROOT_USER_ACTION": "ignore"}
    run_step("installing uv, which gets everything else (about 40 MB)", command, "uv", environment)
    return find_uv() or _fail("uv was installed into .tools/uv but does not run on this machine")


def _pip() -> list[str]:
    """Return the command of pip: Python's own, or one fetched into `.tools/` where Debian has left it out."""
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0:
        return [sys.executable, "-m", "pip"]
    wheel = TOOLS / PIP_WHEEL
    if not wheel.exists():
        wheel.write_bytes(download_pip())
    return [sys.executable, str(wheel / "pip")]


def download_pip() -> bytes:
    """Return the wheel of pip, which runs as it is; raises StepFailedError if it cannot be had or is another one."""
    advice = "this Python has no pip; install it (Debian: sudo apt-get install python3-pip) and run this again"
    try:
        with urllib.request.urlopen(PIP_URL, timeout=60) as answer:
            content = bytes(answer.read())
    except OSError as error:
        _fail(f"cannot fetch pip ({error}); {advice}")
    if hashlib.sha256(content).hexdigest() != PIP_SHA256:
        _fail(f"what came instead of pip is not what was asked for; {advice}")
    return content


def sync_step(uv: str, *, dev: bool, deep: bool) -> tuple[str, list[str], str, Mapping[str, str]]:
    """Return the step that brings `.venv` to the locked packages, as `run_step` takes it.

    Args:
        uv: its path.
        dev: with the packages for development, of which TensorFlow is one.
        deep: with TensorFlow. What neither asks for is neither added nor removed, if it is not for development.
    """
    command = [uv, "sync", "--frozen", *([] if dev else ["--no-dev", "--inexact"])]
    command += ["--extra", "deep"] if dev or deep else []
    # the dashboard is a step of its own here
    environment = {**os.environ, "UV_PROJECT_ENVIRONMENT": ".venv", "QUANTUM_SKIP_WEB": "1"}
    environment.pop("VIRTUAL_ENV", None)
    size = f" (about {'2,600' if dev or deep else '500'} MB on disk)"
    there = (ROOT / ".venv").exists()
    return f"installing the locked Python packages{'' if there else size}", command, "packages", environment


def build_dashboard(uv: str) -> None:
    """Build the dashboard if its sources have changed since it was built, unless QUANTUM_SKIP_WEB=1 says not to."""
    if os.environ.get("QUANTUM_SKIP_WEB") == "1" or dashboard.is_built(ROOT):
        return
    programs = install_node(uv)
    install_npm_packages(programs)
    _npm("building the dashboard", programs, "run", "build")
    dashboard.mark_built(ROOT)


def install_node(uv: str) -> Path:
    """Install Node into `.tools/node` if it is not there; return the directory of `node` and `npm`."""
    home = TOOLS / "node"
    if not (home / "bin/node").exists() or _told(home / "requirement") != dashboard.NODE_REQUIREMENT:
        run_step("preparing a place for Node", [uv, "venv", "--quiet", "--clear", str(home)], "node")
        command = [uv, "pip", "install", "--quiet", "--python", str(home), dashboard.NODE_REQUIREMENT]
        run_step("installing Node, which builds the dashboard (about 200 MB on disk)", command, "node")
        (home / "requirement").write_text(dashboard.NODE_REQUIREMENT)
    return home / "bin"


def install_npm_packages(programs: Path) -> None:
    """Install what the dashboard's build and its browser test need, if the lock file is newer than what is there."""
    if not _npm_is_current(ROOT / "frontend"):
        _npm("installing the dashboard's packages (about 350 MB on disk)", programs, *dashboard.INSTALL)


def _npm(title: str, programs: Path, *arguments: str) -> None:
    command = [str(programs / "npm"), *arguments]
    run_step(title, command, f"npm-{arguments[0]}", dashboard.environment(programs), ROOT / "frontend")


def _npm_is_current(frontend: Path) -> bool:
    """Return whether packages were installed for this lock file; npm notes what it installed in a hidden lock file."""
    done, wanted = frontend / "node_modules/.package-lock.json", frontend / "package-lock.json"
    return done.exists() and done.stat().st_mtime >= wanted.stat().st_mtime


def run_step(
    title: str,
    command: Sequence[str],
    name: str,
    environment: Mapping[str, str] | None = None,
    directory: Path = ROOT,
) -> None:
    """Run a command with its output in `.tools/NAME.log`, and say that it goes on.

    Raises:
        StepFailedError: with the end of the output.
    """
    TOOLS.mkdir(exist_ok=True)
    log, begin_s = TOOLS / f"{name}.log", time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, cwd=directory
        )
        status = _watch(process, title, begin_s)
    took_s = time.monotonic() - begin_s
    if status != 0:
        tail = "\n".join(f"    {line}" for line in _told(log).splitlines()[-TAIL_LINES:])
        _fail(f"{title}: failed after {took_s:.0f} s. The end of {log.relative_to(ROOT)}:\n{tail}")
    if took_s >= TICK_S:
        _say(f"{title}: done in {took_s:.0f} s", end="\n")


def _watch(process: subprocess.Popen[bytes], title: str, begin_s: float) -> int:
    said_s = begin_s - SAY_EVERY_S
    while True:
        try:
            return process.wait(TICK_S)
        except subprocess.TimeoutExpired:
            now_s = time.monotonic()
        except KeyboardInterrupt:
            process.wait()
            raise
        if sys.stderr.isatty() or now_s - said_s >= SAY_EVERY_S:
            _say(f"{title} ... {now_s - begin_s:.0f} s", end="" if sys.stderr.isatty() else "\n")
            said_s = now_s


def _say(sentence: str, end: str) -> None:
    clear = "\r\033[K" if sys.stderr.isatty() else ""
    print(f"{clear}quantum: {sentence}", end=end, file=sys.stderr, flush=True)


def _complain(sentence: str, status: int) -> int:
    _say(sentence, end="\n")
    return status


def _fail(sentence: str) -> NoReturn:
    raise StepFailedError(sentence)


def _told(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
