"""A PostgreSQL server of its own: in a directory, on a Unix socket, gone afterwards.

It runs as an unprivileged user, as PostgreSQL insists, and is as durable as in production: fsync stays on.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg

from quantum.cli import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

UNPRIVILEGED: Final = ("postgres", "nobody")
"""Users that the server may run as when we are root."""
READY_S: Final = 60.0
POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Cluster:
    """A directory with the files of a server.

    Attributes:
        home: has the files in `data`, and the socket.
        user: whom the server runs as; None: as ourselves.
    """

    home: Path
    user: str | None

    def url(self, database: str = "postgres", **options: str) -> str:
        """Return the address of a database."""
        more = "".join(f"&{name}={value}" for name, value in options.items())
        return f"postgresql:///{database}?host={self.home}&user=quantum{more}"

    def command(self, postgres: Path) -> list[str | Path]:
        """Return the command of the server, which listens on the socket only."""
        return [postgres, "-D", self.home / "data", "-k", self.home, "-c", "listen_addresses="]

    def answers(self) -> bool:
        """Return whether the server takes connections."""
        try:
            psycopg.connect(self.url()).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def new_cluster(initdb: Path) -> Iterator[Cluster]:
    """Make an empty cluster for the length of a `with` block.

    Raises:
        CommandFailed: `initdb` did not do it; the message has what it said.
    """
    home = Path(tempfile.mkdtemp(prefix="quantum-pg-"))  # a short path: sockets have short names
    try:
        user = next((name for name in UNPRIVILEGED if os.geteuid() == 0 and _exists(name)), None)
        command: list[str | Path] = [
            initdb,
            "-D",
            home / "data",
            "-U",
            "quantum",
            "--auth=trust",
            "-E",
            "UTF8",
            "--no-sync",
        ]
        if user:
            shutil.chown(home, user)
        # the command is ours, only the folder varies
        done = subprocess.run(command, user=user, cwd=home, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise CommandFailed(f"initdb failed: {done.stderr}")
        yield Cluster(home, user)
    finally:
        shutil.rmtree(home)


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Run a new server for the length of a `with` block; it is stopped, not killed, at the end.

    Raises:
        CommandFailed: PostgreSQL is not installed here, or does not start.
    """
    initdb, postgres = find_program("initdb"), find_program("postgres")
    if initdb is None or postgres is None:
        raise CommandFailed("PostgreSQL is not installed here (Debian: apt-get install postgresql)")
    with new_cluster(initdb) as cluster, (cluster.home / "log").open("ab") as log:
        command = cluster.command(postgres)
        # the command is ours, only the folder varies
        process = subprocess.Popen(command, user=cluster.user, cwd=cluster.home, stdout=log, stderr=log)  # noqa: S603
        try:
            _wait_for(cluster, process)
            yield cluster
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(READY_S)


def find_program(name: str) -> Path | None:
    """Return the path of one of PostgreSQL's programs, or None."""
    found = shutil.which(name)
    if found:
        return Path(found)
    # Debian keeps the servers of several versions side by side, away from the PATH
    return max(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), default=None, key=lambda one: int(one.parts[-3]))


def _wait_for(cluster: Cluster, process: subprocess.Popen[bytes]) -> None:
    deadline = time.perf_counter() + READY_S
    while not cluster.answers():
        if process.poll() is not None or time.perf_counter() > deadline:
            raise CommandFailed(f"PostgreSQL does not start: {(cluster.home / 'log').read_text()[-500:]}")
        time.sleep(POLL_S)


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
