"""All roles in processes of their own on real parts, each edge between them a proxy, watched by a supervisor.

Two writers, one of which waits for the lease, two workers and two gateways on PostgreSQL, Kafka and Redis. Whatever
ends is started again, as systemd, Docker or Kubernetes would, unless a test holds it back; nobody else helps.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeVar

import httpx
from tests.parts import need
from tests.parts.children import Child, start_child
from tests.parts.kafka import KafkaBroker, quiet_port
from tests.parts.postgres import Cluster, new_cluster
from tests.parts.program import ALONE, QUANTUM, TELLS_LOOPBACK, Program
from tests.parts.proxy import Proxy, run_proxy
from tests.parts.redis import RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

T = TypeVar("T")

LOOK_S: Final = 0.05
ENOUGH_S: Final = 300.0
"""Only what hangs takes so long."""
LANES: Final = 2
WRITERS, WORKERS, GATEWAYS = ("writer-1", "writer-2"), ("ml-1", "ml-2"), ("gateway-1", "gateway-2")
ROLES: Final = dict.fromkeys(WRITERS, "monitoring") | dict.fromkeys(WORKERS, "ml") | dict.fromkeys(GATEWAYS, "gateway")
PARTS: Final = ("postgres", "kafka", "redis")
MORTAL: Final = (sys.executable, "-m", "tests.parts.crashing")


class Fleet:
    """The processes and the edges between them.

    Attributes:
        edges: proxies, by who speaks to whom: `writer-1>postgres`.
        ports: of what serves HTTP.
        ended: exit statuses of each, newest last; what was killed is negative.
    """

    def __init__(self, folder: Path, cluster: Cluster, broker: KafkaBroker, redis: RedisServer) -> None:
        self.cluster, self.broker, self.redis = cluster, broker, redis
        self.edges: dict[str, Proxy] = {}
        self.ports = {name: quiet_port() for name in (*WRITERS, *GATEWAYS)}
        self.ended: dict[str, list[int]] = {name: [] for name in (*PARTS, *ROLES)}
        self._folder = folder
        self._children: dict[str, tuple[Child, ExitStack]] = {}
        self._held: set[str] = set()
        self._doomed: dict[str, tuple[str, str]] = {}
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="supervisor")

    # ---- edges ------------------------------------------------------------------------------------------------

    def lay_edges(self, stack: ExitStack) -> None:
        """Put a proxy on every edge; none of the processes runs yet."""
        server = str(self.cluster.home / ".s.PGSQL.5432")
        targets: dict[str, str | int] = {f"{name}>postgres": server for name in (*WRITERS, "ml", "gateway")}
        targets |= {f"{name}>kafka": quiet_port() for name in ("writer", "ml")}
        targets |= {f"{name}>redis": self.redis.port for name in ("writer", "gateway")}
        targets |= {f"gateway>{name}": self.ports[name] for name in WRITERS}
        self.edges = {name: stack.enter_context(run_proxy(target)) for name, target in targets.items()}
        self.broker.ways = {
            port: self.edges[name].port
            for name, port in targets.items()
            if name.endswith(">kafka") and isinstance(port, int)
        }

    def _port(self, name: str, part: str) -> int:
        edge = self.edges.get(f"{name}>{part}") or self.edges[f"{name.partition('-')[0]}>{part}"]
        return edge.port

    def environment(self, name: str) -> dict[str, str]:
        """Return what a process is told."""
        environment = {
            **ALONE,
            **TELLS_LOOPBACK,
            "QUANTUM_STORE__KIND": "postgres",
            "QUANTUM_STORE__URL": f"postgresql://quantum@127.0.0.1:{self._port(name, 'postgres')}/postgres",
            "QUANTUM_STORE__WAIT_MS": "3600000",
        }
        if name not in GATEWAYS:
            environment |= {
                "QUANTUM_STREAM__KIND": "kafka",
                "QUANTUM_STREAM__URL": f"kafka://127.0.0.1:{self._port(name, 'kafka')}",
                "QUANTUM_STREAM__LANES": str(LANES),
            }
        if name not in WORKERS:
            environment["QUANTUM_REDIS__URL"] = f"redis://127.0.0.1:{self._port(name, 'redis')}/0"
        if name in GATEWAYS:
            bases = [f"http://127.0.0.1:{self._port('gateway', writer)}" for writer in WRITERS]
            environment["QUANTUM_GATEWAY__WRITERS"] = ",".join(bases)
        return environment

    # ---- processes --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start everything at once and keep it running until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """End everything, without a chance to tidy up."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()
        for name in list(self._children):
            self.kill(name)

    def _supervise(self) -> None:
        while not self._over.wait(LOOK_S):
            with self._lock:
                for name in (*PARTS, *ROLES):
                    child = self._children.get(name)
                    if child is not None and child[0].process.poll() is not None:
                        self._forget(name)
                    if name not in self._children and name not in self._held:
                        stack = ExitStack()
                        self._children[name] = (self._started(name, stack), stack)

    def _forget(self, name: str) -> None:
        child, stack = self._children.pop(name)
        stack.close()
        self.ended[name].append(child.process.returncode)

    def _started(self, name: str, stack: ExitStack) -> Child:
        log = self._folder / f"{name}.log"
        if name == "postgres":
            command = self.cluster.command(need("postgres"))
            child = start_child(command, log, user=self.cluster.user, directory=self.cluster.home)
        elif name in PARTS:
            child = start_child(self.broker.command() if name == "kafka" else self.redis.command(), log)
        else:
            doom = self._doomed.pop(name, ())
            program = [*MORTAL, *doom] if doom else [QUANTUM]
            more = ["--role", ROLES[name], "--port", str(self.ports.get(name, 0))]
            command = [*program, "run", "--data-dir", self._folder / name, *more]
            child = start_child(command, log, self.environment(name))
        return stack.enter_context(child)

    def kill(self, *names: str) -> None:
        """Kill processes at one moment."""
        with self._lock:
            for name in names:
                if name in self._children:
                    with suppress(ProcessLookupError):
                        os.killpg(self._children[name][0].process.pid, signal.SIGKILL)
            for name in names:
                if name in self._children:
                    self._forget(name)

    def doom(self, name: str, point: str, nth: int) -> int:
        """Kill a process; the next one of its name dies by itself when it comes to a point of its work the nth time.

        Returns how many of that name have ended by now.
        """
        with self._lock:
            self._doomed[name] = (point, str(nth))
            self.kill(name)
            return len(self.ended[name])

    def tell(self, name: str, number: signal.Signals) -> None:
        """Send a signal."""
        with self._lock:
            if name in self._children:
                self._children[name][0].process.send_signal(number)

    @contextmanager
    def away(self, *names: str) -> Iterator[None]:
        """Kill processes and keep them away for the length of a block."""
        with self._lock:
            self._held |= set(names)
            self.kill(*names)
        try:
            yield
        finally:
            with self._lock:
                self._held -= set(names)

    def retire(self, name: str) -> int:
        """Stop a process for good; return its exit status."""
        with self._lock:
            self._held.add(name)
            ended = len(self.ended[name])
            self.tell(name, signal.SIGTERM)
        self.wait_until(lambda: len(self.ended[name]) > ended, f"the end of {name}")
        return self.ended[name][-1]

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Let a process keep its connections and do nothing for the length of a block."""
        self.tell(name, signal.SIGSTOP)
        try:
            yield
        finally:
            self.tell(name, signal.SIGCONT)

    # ---- questions --------------------------------------------------------------------------------------------

    def base(self, name: str) -> str:
        """Return the address of a writer or a gateway."""
        return f"http://127.0.0.1:{self.ports[name]}"

    def bases(self, names: tuple[str, ...]) -> list[str]:
        """Return the addresses of several."""
        return [self.base(name) for name in names]

    def is_ready(self, name: str) -> bool:
        """Return whether a writer or a gateway says that it can do its job."""
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.base(name)}/readyz", timeout=5, trust_env=False).status_code == 200
        return False

    def writer(self) -> str:
        """Return the name of the writer that has the lease, once there is one."""
        return self.wait_until(lambda: next(filter(self.is_ready, WRITERS), None), "a writer")

    def program(self, name: str, http: httpx.Client) -> Program:
        """Return a process of the fleet, to be asked."""
        return Program(self._children[name][0], self.base(name), http, 0.0)

    def wait_until(self, probe: Callable[[], T | None], what: str, within_s: float = ENOUGH_S) -> T:
        """Repeat a probe until it finds something; fail with the logs otherwise."""
        deadline_s = time.monotonic() + within_s
        while not (found := probe()):
            assert time.monotonic() < deadline_s, f"{what} was not there within {within_s:g} s\n{self.logs()}"
            time.sleep(LOOK_S)
        return found

    def logs(self) -> str:
        """Return the end of what each has said."""
        return "\n".join(f"--- {file.name}\n{file.read_text()[-1500:]}" for file in sorted(self._folder.glob("*.log")))


@contextmanager
def new_fleet(folder: Path) -> Iterator[Fleet]:
    """Have a fleet for the length of a block; nothing runs yet."""
    homes = {name: folder / name for name in ("kafka", "redis")}
    for home in homes.values():
        home.mkdir()
    with ExitStack() as stack:
        cluster = stack.enter_context(new_cluster())
        broker = KafkaBroker(homes["kafka"], quiet_port())
        fleet = Fleet(folder, cluster, broker, RedisServer(homes["redis"], quiet_port()))
        fleet.lay_edges(stack)
        broker.format()
        stack.callback(fleet.stop)
        yield fleet


def settings_of(fleet: Fleet) -> Mapping[str, str]:
    """Return the settings of a writer that goes to the database by the shortest way."""
    return fleet.environment(WRITERS[0]) | {"QUANTUM_STORE__URL": fleet.cluster.url()}
