"""A real Redis server of a test: in a directory of its own, on a free port of the loopback interface, gone at the end.

It keeps nothing on disk. Within the block it can be killed, stopped and started again on the same port.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.parts import need
from tests.parts.children import Server, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

READY_TIMEOUT_S: Final = 20.0


@dataclass(slots=True)
class RedisServer(Server):
    """A server that forgets what it knew when it is killed."""

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, empty; return when it answers."""
        self.run(self.command(), "redis.log").wait_until(self.answers, "an answer of Redis", READY_TIMEOUT_S)

    def command(self) -> list[str | Path]:
        """Return what runs it."""
        options = ("--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--dir", str(self.home))
        return [need("redis-server"), *options]

    def answers(self) -> bool:
        """Whether a PING is answered now."""
        return self.ask(b"PING\r\n", 16).startswith(b"+PONG")


@contextmanager
def run_redis(home: Path) -> Iterator[RedisServer]:
    """Run a server for the length of a `with` block, with its log in a directory."""
    server = RedisServer(home, free_port())
    try:
        server.start()
        yield server
    finally:
        server.kill()
