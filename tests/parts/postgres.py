"""A real PostgreSQL server of a test session: in a directory of its own, on a Unix socket, gone at the end.

It runs as an unprivileged user, as PostgreSQL insists, and is as durable as in production: fsync stays on.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import psycopg
from tests.parts import need
from tests.parts.children import Child, start_child

from quantum.cli import clusters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

READY_TIMEOUT_S: Final = 60.0
LOCK_TIMEOUT_MS: Final = 30_000
"""A statement of a test that waits longer for a lock waits for itself."""
URL_VARIABLE: Final = "TEST_POSTGRES_URL"
"""Names a running server to use instead; its database is left with the tables of the tests."""


class Cluster(clusters.Cluster):
    """A directory with the files of a server, which runs as a child of the tests; its log is in `home`, too."""

    __slots__ = ()

    def move_to(self, folder: Path) -> None:
        """Let the files of a server that does not run be in another folder, for example on another disk."""
        shutil.copytree(self.home / "data", folder / "data", symlinks=True)
        shutil.rmtree(self.home / "data")
        (self.home / "data").symlink_to(folder / "data")
        if self.user:
            subprocess.run(["chown", "-R", self.user, folder / "data"], check=True)
        (folder / "data").chmod(0o700)

    @contextmanager
    def running(self) -> Iterator[Child]:
        """Run the server for the length of a `with` block; it is stopped, not killed, at the end."""
        command = self.command(need("postgres"))
        with start_child(command, self.home / "log", user=self.user, directory=self.home) as child:
            child.wait_until(self.answers, "an answer of PostgreSQL", READY_TIMEOUT_S)
            yield child
            if child.process.poll() is None:
                child.stop(signal.SIGINT, READY_TIMEOUT_S)


@contextmanager
def new_cluster() -> Iterator[Cluster]:
    """Make an empty cluster for the length of a `with` block."""
    with clusters.new_cluster(need("initdb")) as cluster:
        yield Cluster(cluster.home, cluster.user)


def sql(url: str, text: str, *values: object) -> list[tuple[Any, ...]]:
    """Run a statement by itself; return its rows, if it has any."""
    with psycopg.connect(url, autocommit=True, options=f"-c lock_timeout={LOCK_TIMEOUT_MS}") as connection:
        cursor = connection.execute(text.encode(), values)
        return cursor.fetchall() if cursor.description else []
