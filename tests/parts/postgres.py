"""A real PostgreSQL server of a test session: in a directory of its own, on a Unix socket, gone at the end.

It runs as an unprivileged user, as PostgreSQL insists, and is as durable as in production: fsync stays on.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
from tests.parts import need
from tests.parts.children import Child, start_child

if TYPE_CHECKING:
    from collections.abc import Iterator

UNPRIVILEGED: Final = ("postgres", "nobody")
"""Users that the server may run as when the tests run as root."""
READY_TIMEOUT_S: Final = 60.0
LOCK_TIMEOUT_MS: Final = 30_000
"""A statement of a test that waits longer for a lock waits for itself."""
URL_VARIABLE: Final = "TEST_POSTGRES_URL"
"""Names a running server to use instead; its database is left with the tables of the tests."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A directory with the files of a server.

    Attributes:
        home: has the files in `data`, the socket, and the server's log.
        user: whom the server runs as; None: as ourselves.
    """

    home: Path
    user: str | None

    def move_to(self, folder: Path) -> None:
        """Let the files of a server that does not run be in another folder, for example on another disk."""
        shutil.copytree(self.home / "data", folder / "data", symlinks=True)
        shutil.rmtree(self.home / "data")
        (self.home / "data").symlink_to(folder / "data")
        if self.user:
            subprocess.run(["chown", "-R", self.user, folder / "data"], check=True)
        (folder / "data").chmod(0o700)

    def url(self, database: str = "postgres", **options: str) -> str:
        """Return the address of a database."""
        more = "".join(f"&{name}={value}" for name, value in options.items())
        return f"postgresql:///{database}?host={self.home}&user=quantum{more}"

    @contextmanager
    def running(self) -> Iterator[Child]:
        """Run the server for the length of a `with` block; it is stopped, not killed, at the end."""
        command: list[str | Path] = [
            need("postgres"),
            "-D",
            self.home / "data",
            "-k",
            self.home,
            "-c",
            "listen_addresses=",
        ]
        with start_child(command, self.home / "log", user=self.user, directory=self.home) as child:
            child.wait_until(self.answers, "an answer of PostgreSQL", READY_TIMEOUT_S)
            yield child
            if child.process.poll() is None:
                child.stop(signal.SIGINT, READY_TIMEOUT_S)

    def answers(self) -> bool:
        """Return whether the server takes connections."""
        try:
            psycopg.connect(self.url()).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def new_cluster() -> Iterator[Cluster]:
    """Make an empty cluster for the length of a `with` block."""
    home = Path(tempfile.mkdtemp(prefix="quantum-pg-"))  # a short path: sockets have short names
    try:
        user = next((name for name in UNPRIVILEGED if os.geteuid() == 0 and _exists(name)), None)
        command: list[str | Path] = [
            need("initdb"),
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
        done = subprocess.run(command, user=user, cwd=home, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.fail(f"initdb failed: {done.stderr}", pytrace=False)
        yield Cluster(home, user)
    finally:
        shutil.rmtree(home)


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def sql(url: str, text: str, *values: object) -> list[tuple[Any, ...]]:
    """Run a statement by itself; return its rows, if it has any."""
    with psycopg.connect(url, autocommit=True, options=f"-c lock_timeout={LOCK_TIMEOUT_MS}") as connection:
        cursor = connection.execute(text.encode(), values)
        return cursor.fetchall() if cursor.description else []
