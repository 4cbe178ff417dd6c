"""A real Redis server of a test: in a directory of its own, on a free port of the loopback interface, gone at the end.

It keeps nothing on disk. Within the block it can be killed, stopped and started again on the same port.
"""

from __future__ import annotations

import signal
import socket
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tests.parts import need
from tests.parts.children import Child, free_port, start_child

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

READY_TIMEOUT_S: Final = 20.0
PROBE_TIMEOUT_S: Final = 0.5


@dataclass(slots=True)
class RedisServer:
    """A server that runs unless it was killed.

    Attributes:
        home: has its log.
        port: of 127.0.0.1; the same after a restart.
    """

    home: Path
    port: int
    child: Child | None = None
    _children: ExitStack = field(default_factory=ExitStack)

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, empty; return when it answers."""
        options = ("--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--dir", str(self.home))
        starting = start_child([need("redis-server"), *options], self.home / "redis.log")
        self.child = self._children.enter_context(starting)
        self.child.wait_until(self.answers, "an answer of Redis", READY_TIMEOUT_S)

    def answers(self) -> bool:
        """Whether a PING is answered now."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=PROBE_TIMEOUT_S) as probe:
            probe.sendall(b"PING\r\n")
            return probe.recv(16).startswith(b"+PONG")
        return False

    def kill(self) -> None:
        """Kill it without a chance to tidy up; what it knew is lost."""
        self._children.close()
        self.child = None

    def freeze(self) -> None:
        """Let it keep its connections and answer nothing, until `thaw`."""
        assert self.child is not None
        self.child.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self.child is not None
        self.child.process.send_signal(signal.SIGCONT)


@contextmanager
def run_redis(home: Path) -> Iterator[RedisServer]:
    """Run a server for the length of a `with` block, with its log in a directory."""
    server = RedisServer(home, free_port())
    try:
        server.start()
        yield server
    finally:
        server.kill()
