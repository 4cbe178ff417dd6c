"""The servers that measurements compare: Quantum on each of its stores, and rivals that are installed here.

Each is started as its makers start it, with an empty store and on a port of its own. A rival that is not on the PATH
is named with what to do about it, and left out.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import psutil
import psycopg
from cyclopts import Parameter
from psycopg import sql

from quantum.cli import CommandFailed
from quantum.cli.clusters import Cluster, find_program, running_cluster
from quantum.cli.measuring import QUIET_S, READY_S, say
from quantum.loading import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager, ExitStack

Rivals = Annotated[bool, Parameter(negative=(), help="Also measure the rivals that are installed")]
OwnPostgres = Annotated[
    bool, Parameter(negative=(), help="Also measure Quantum on a PostgreSQL server started for the measurement")
]
AsJson = Annotated[bool, Parameter(name="--json", negative=(), help="Print everything as JSON")]
Scale = Annotated[float, Parameter(help="Multiplies the size of the measurement")]

DATABASE: Final = "bench"
DETECTION_OFF: Final = """[[detection.rules]]
match = '{__name__=~".+"}'
tier = "none"
"""
"""Settings with which Quantum only stores, as its rivals do."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is being measured.

    Attributes:
        name: as shown.
        write_url: of its remote-write endpoint.
        pids: of its processes and those of its database, without children; the first is the server itself.
        lines_url: where it takes the Influx line protocol, or "".
        query_url: under which it has Prometheus' `query` and `query_range`, or "".
        base: its address.
        folder: where its data is, or None if that is not ours to look at.
        caches: directories in there that are not data.
        database_url: of the database that its data is in, or "".
        database_bytes: what that database had before.
        durable: whether it answers only when the samples would survive a loss of power.
        whole: whether all its processor time is counted: a database on another machine is not.
    """

    name: str
    write_url: str
    pids: tuple[int, ...]
    lines_url: str = ""
    query_url: str = ""
    base: str = ""
    folder: Path | None = None
    caches: tuple[str, ...] = ()
    database_url: str = ""
    database_bytes: int = 0
    durable: bool = False
    whole: bool = True

    @property
    def is_ours(self) -> bool:
        """Whether it is Quantum."""
        return self.name.startswith("quantum")


@dataclass(frozen=True, slots=True)
class Store:
    """A store of Quantum.

    Attributes:
        kind: as in the settings.
        url: of its database, if it is not in a file.
        cluster: where each run gets an empty database, or None if it is the store of the settings.
        detects: whether samples are scored; without, Quantum does what its rivals do.
        cheaply: whether all series get the cheap detector.
    """

    kind: str
    url: str = ""
    cluster: Cluster | None = None
    detects: bool = True
    cheaply: bool = False

    @property
    def server(self) -> str:
        """The name of a Quantum that has this store."""
        return f"quantum ({self.kind})" if self.detects else f"quantum ({self.kind}, detection off)"

    def opened(self, name: str) -> Store:
        """Return the store that a run is to use."""
        if self.cluster is None:
            return self
        with psycopg.connect(self.cluster.url(), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return replace(self, url=self.cluster.url(name), cluster=None)

    def environment(self) -> dict[str, str]:
        """Return the variables that say so."""
        said = {"QUANTUM_STORE__URL": self.url} if self.url else {}
        said |= {"QUANTUM_DETECTION__FULL_SERIES": "0"} if self.cheaply else {}
        return {"QUANTUM_STORE__KIND": self.kind, **said}


@dataclass(frozen=True, slots=True)
class Contender:
    """A server that can be started: `start(folder)` runs it for the length of a `with` block."""

    name: str
    start: Callable[[Path], AbstractContextManager[Server]]


@dataclass(frozen=True, slots=True)
class Field:
    """Who takes part.

    Attributes:
        contenders: ours come first.
        missing: name and advice of each rival that is not installed.
    """

    contenders: tuple[Contender, ...]
    missing: dict[str, str]


def line_up(
    stack: ExitStack,
    *,
    rivals: bool,
    own_postgres: bool,
    only: frozenset[str] = frozenset(),
    without_detection: bool = False,
) -> Field:
    """Return who takes part: Quantum on the store of the settings, on PostgreSQL if asked for, and rivals.

    Args:
        stack: closes the database that was started for the measurement.
        rivals: whether the rivals take part.
        own_postgres: whether to start that database.
        only: names of rivals, if not all of them can.
        without_detection: whether each Quantum takes part a second time, with detection off.
    """
    stores = [store_of_settings(), *(_own_stores(stack) if own_postgres else ())]
    ways = [*stores, *(replace(store, detects=False) for store in stores if without_detection)]
    ours = [Contender(store.server, partial(run_quantum, store)) for store in ways]
    asked = {name: rival for name, rival in RIVALS.items() if rivals and (not only or name in only)}
    here = [Contender(name, start) for name, (program, _, start) in asked.items() if shutil.which(program)]
    missing = {name: advice for name, (program, advice, _) in asked.items() if not shutil.which(program)}
    if own_postgres and len(stores) == 1:
        missing["quantum (postgres)"] = "Debian: apt-get install postgresql"
    for name, advice in missing.items():
        say(f"{name} takes no part: it is not installed ({advice})")
    return Field((*ours, *here), missing)


def _own_stores(stack: ExitStack) -> list[Store]:
    """Return the store on a PostgreSQL server that is started for it, or nothing where there is none."""
    if find_program("initdb") is None or find_program("postgres") is None:
        return []
    say("starting PostgreSQL")
    return [Store("postgres", cluster=stack.enter_context(running_cluster()))]


def store_of_settings() -> Store:
    """Return the store of the settings."""
    store = load_settings().store
    return Store(store.kind, store.url)


# ---- Quantum -----------------------------------------------------------------------------------------------------


@contextmanager
def run_quantum(store: Store, folder: Path) -> Iterator[Server]:
    """Run Quantum as a user does, without the collection of this machine's own metrics; the tenant is a new one."""
    command = [sys.executable, "-m", "quantum", "run", "--port", "0", "--data-dir", str(folder)]
    if not store.detects:
        (folder / "off.toml").write_text(DETECTION_OFF)
        command += ["--config", str(folder / "off.toml")]
    store = store.opened(folder.name)
    environment = {**os.environ, "QUANTUM_HOST_METRICS__ENABLED": "false", "QUANTUM_LOGS__LEVEL": "error"}
    environment |= {"QUANTUM_STORE__TENANT": folder.name, **store.environment()}
    is_database = store.kind == "postgres"
    database_bytes = database_size(store.url) if is_database else 0
    with running(command, subprocess.PIPE, environment) as process:
        line = process.stdout.readline().decode() if process.stdout else ""
        addresses = [word for word in line.split() if word.startswith("http://")]
        if not addresses:
            raise CommandFailed("the server did not start: run `quantum run` to see why")
        base, database = addresses[0], database_pid(store.url) if is_database else None
        _wait_for(int(base.rsplit(":", 1)[1]))
        yield Server(
            name=store.server,
            write_url=f"{base}/prometheus/api/v1/write",
            pids=(process.pid,) if database is None else (process.pid, database),
            lines_url=f"{base}/influx/write?precision=ms",
            query_url=f"{base}/prometheus/api/v1",
            base=base,
            folder=folder if store.kind == "sqlite" else None,
            database_url=store.url if is_database else "",
            database_bytes=database_bytes,
            durable=True,
            whole=not is_database or database is not None,
        )


def database_size(url: str) -> int:
    """Return the size of a database in bytes, after it has tidied up."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM")
        connection.execute("CHECKPOINT")
        [size] = connection.execute("SELECT pg_database_size(current_database())").fetchone() or [0]
    return int(size)


def database_pid(url: str) -> int | None:
    """Return the process that all others of a database server descend from, or None if it is not on this machine."""
    with psycopg.connect(url) as connection:
        pid = connection.info.backend_pid
        if not psutil.pid_exists(pid):
            return None
        parent = psutil.Process(pid).parent()
    return parent.pid if parent is not None and parent.name().startswith("postgres") else None


# ---- rivals ------------------------------------------------------------------------------------------------------


@contextmanager
def _prometheus(folder: Path) -> Iterator[Server]:
    port = _free_port()
    (folder / "prometheus.yml").write_text("scrape_configs: []\n")
    options = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    listen = [f"--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver"]
    with running(["prometheus", *options, *listen], subprocess.DEVNULL) as process:
        _wait_for(port)
        base = f"http://127.0.0.1:{port}"
        yield Server(
            name="prometheus",
            write_url=f"{base}/api/v1/write",
            pids=(process.pid,),
            query_url=f"{base}/api/v1",
            base=base,
            folder=folder / "data",
        )


@contextmanager
def _victoria_metrics(folder: Path) -> Iterator[Server]:
    port = _free_port()
    options = [f"-storageDataPath={folder / 'data'}", f"-httpListenAddr=127.0.0.1:{port}"]
    with running(["victoria-metrics", *options], subprocess.DEVNULL) as process:
        _wait_for(port)
        base = f"http://127.0.0.1:{port}"
        yield Server(
            name="victoria-metrics",
            write_url=f"{base}/api/v1/write",
            pids=(process.pid,),
            lines_url=f"{base}/write?precision=ms",
            query_url=f"{base}/api/v1",
            base=base,
            folder=folder / "data",
            caches=("cache", "tmp"),
        )


@contextmanager
def _influxdb(folder: Path) -> Iterator[Server]:
    port, other = _free_port(), _free_port()
    environment = {
        **os.environ,
        "INFLUXDB_META_DIR": str(folder / "meta"),
        "INFLUXDB_DATA_DIR": str(folder / "data"),
        "INFLUXDB_DATA_WAL_DIR": str(folder / "wal"),
        "INFLUXDB_BIND_ADDRESS": f"127.0.0.1:{other}",
        "INFLUXDB_HTTP_BIND_ADDRESS": f"127.0.0.1:{port}",
        "INFLUXDB_HTTP_LOG_ENABLED": "false",
        "INFLUXDB_MONITOR_STORE_ENABLED": "false",
        "INFLUXDB_REPORTING_DISABLED": "true",
    }
    with running(["influxd", "run"], subprocess.DEVNULL, environment) as process:
        _wait_for(port)
        base = f"http://127.0.0.1:{port}"
        _post(f"{base}/query?{urllib.parse.urlencode({'q': f'CREATE DATABASE {DATABASE}'})}")
        yield Server(
            name="influxdb",
            write_url="",
            pids=(process.pid,),
            lines_url=f"{base}/write?db={DATABASE}&precision=ms",
            base=base,
            folder=folder,
            durable=True,
        )


RIVALS: Final = {
    "prometheus": ("prometheus", "Debian: apt-get install prometheus", _prometheus),
    "victoria-metrics": ("victoria-metrics", "Debian: apt-get install victoria-metrics", _victoria_metrics),
    "influxdb": ("influxd", "Debian: apt-get install influxdb", _influxdb),
}
"""Of each rival: its program, what to do if that is missing, and how it is started."""
LINES: Final = frozenset({"victoria-metrics", "influxdb"})
"""Rivals that take the Influx line protocol."""
SAMPLES: Final = frozenset({"victoria-metrics", "prometheus"})
"""Rivals that take remote-write and answer PromQL."""


def show_all(server: Server) -> None:
    """Let VictoriaMetrics answer from what it took in just now, which others do at once."""
    if server.name == "victoria-metrics":
        _get(f"{server.base}/internal/force_flush")


def merge_finally(server: Server) -> None:
    """Let VictoriaMetrics merge all it has, as it would do in time, and wait until that is done."""
    if server.name == "victoria-metrics":
        _get(f"{server.base}/internal/force_merge")


def _get(url: str) -> None:
    with urllib.request.urlopen(url, timeout=READY_S):  # noqa: S310 - our own server
        pass


def _post(url: str) -> None:
    request = urllib.request.Request(url, method="POST")  # noqa: S310 - our own server
    with urllib.request.urlopen(request, timeout=READY_S):  # noqa: S310 - our own server
        pass


# ---- processes ---------------------------------------------------------------------------------------------------


@contextmanager
def running(
    command: list[str], output: int, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for the length of a `with` block."""
    # the commands are ours, only ports and folders vary
    with subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL, env=environment) as process:  # noqa: S603
        try:
            yield process
        finally:
            process.terminate()
            process.wait(READY_S)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _wait_for(port: int) -> None:
    deadline = time.perf_counter() + READY_S
    while time.perf_counter() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(QUIET_S)
        else:
            return
    raise CommandFailed(f"nothing listens on port {port} after {READY_S:.0f} s")
