"""A real PostgreSQL server of a test session: in a directory of its own, on a Unix socket, gone at the end.

It runs as an unprivileged user, as PostgreSQL insists, and is as durable as in production: fsync stays on.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
from tests.parts import need
from tests.parts.children import POLL_S, Child, start_child

from quantum.cli import clusters

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    def replica(self) -> Iterator[Cluster]:
        """Make a server that follows this one, asynchronously, for the length of a `with` block; it does not run yet.

        This one has to run meanwhile.
        """
        home = Path(tempfile.mkdtemp(prefix="quantum-pg-"))
        try:
            if self.user:
                shutil.chown(home, self.user)
            copy: list[str | Path] = [need("pg_basebackup"), "-D", home / "data", "-h", self.home, "-U", "quantum"]
            copy += ["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast"]
            subprocess.run(copy, user=self.user, cwd=home, check=True, capture_output=True)
            yield Cluster(home, self.user)
        finally:
            shutil.rmtree(home)

    def cut_off(self) -> None:
        """Let a replica hear no more of what it follows."""
        sql(self.url(), "ALTER SYSTEM SET primary_conninfo TO ''")
        sql(self.url(), "SELECT pg_reload_conf()")
        self._wait_for("SELECT count(*) = 0 FROM pg_stat_wal_receiver")

    def promote(self) -> None:
        """Let a replica take over, with what it has."""
        sql(self.url(), "SELECT pg_promote()")
        self._wait_for("SELECT NOT pg_is_in_recovery()")

    def wait_for_replica(self) -> None:
        """Wait until the only replica has everything that is committed now."""
        self._wait_for("SELECT count(*) = 1 FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_lsn()")

    def _wait_for(self, question: str) -> None:
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while sql(self.url(), question) != [(True,)]:
            assert time.monotonic() < deadline_s, f"{question} was not true within {READY_TIMEOUT_S:g} s"
            time.sleep(POLL_S)


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
