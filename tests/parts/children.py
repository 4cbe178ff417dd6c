"""Child processes of tests: each with a process group and a log file of its own, and gone when the test is over."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

T = TypeVar("T")

TAIL_CHARACTERS: Final = 4000
POLL_S: Final = 0.02
STOP_TIMEOUT_S: Final = 10
PROBE_TIMEOUT_S: Final = 0.5


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Child:
    """A running program; its standard output and error are in `log`."""

    process: subprocess.Popen[bytes]
    log: Path

    def text(self, start: int = 0) -> str:
        """Return what its log has so far, from a byte on."""
        return self.log.read_bytes()[start:].decode(errors="replace")

    def wait_for_line(self, pattern: str, timeout_s: float, start: int = 0) -> re.Match[str]:
        """Wait until its log, from a byte on, matches; fail with the log if it ends before or takes too long."""
        return self.wait_until(lambda: re.search(pattern, self.text(start)), f"a line like {pattern!r}", timeout_s)

    def wait_until(self, probe: Callable[[], T | None], what: str, timeout_s: float) -> T:
        """Repeat a probe until it finds something; fail with the log if the child ends before or it takes too long."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            ended = self.process.poll() is not None
            if found := probe():
                return found
            if ended:
                self.fail(f"it exited with {self.process.returncode} before {what} was there")
            if time.monotonic() > deadline_s:
                self.fail(f"{what} was not there within {timeout_s:g} s")
            time.sleep(POLL_S)

    def fail(self, sentence: str) -> NoReturn:
        """Fail the test with a sentence and the end of the log."""
        tail = self.text()[-TAIL_CHARACTERS:]
        pytest.fail(f"{self.process.args!r}: {sentence}\n--- its log ---\n{tail}", pytrace=False)

    def members(self) -> int:
        """Return how many processes of its group are alive."""
        return sum(_is_member(process, self.process.pid) for process in psutil.process_iter())

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Send a signal and return the exit status; fail if the program outlives it by the timeout."""
        self.process.send_signal(number)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.fail(f"it did not stop within {timeout_s} s of {number.name}")

    def kill(self) -> None:
        """Kill it and everything it started, without a chance to tidy up, and reap it."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def start_child(
    command: Sequence[str | Path],
    log: Path,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    user: str | None = None,
) -> Iterator[Child]:
    """Run a program for the length of a `with` block; afterwards its whole process group is killed and reaped.

    Args:
        command: program and arguments.
        log: file that gets its output; appended to, so that restarts keep one log.
        environment: added to the one of this process.
        directory: its working directory.
        user: whose rights it has; default: ours.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | dict(environment or {}),
            cwd=directory,
            user=user,
            start_new_session=True,
        )
    child = Child(process, log)
    try:
        yield child
    finally:
        child.kill()


def _is_member(process: psutil.Process, group: int) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and os.getpgid(process.pid) == group
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False


@dataclass(slots=True)
class Server:
    """A child that listens on a port of the loopback interface, and runs unless it was killed.

    Attributes:
        home: has its log, and whatever else it keeps.
        port: of 127.0.0.1; the same after a restart.
    """

    home: Path
    port: int
    child: Child | None = None
    _children: ExitStack = field(default_factory=ExitStack)

    def run(self, command: Sequence[str | Path], log: str) -> Child:
        """Start it; return the child, which may not listen yet."""
        self.child = self._children.enter_context(start_child(command, self.home / log))
        return self.child

    def ask(self, question: bytes, size: int) -> bytes:
        """Return at most `size` bytes of what it answers at once, nothing if it does not."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=PROBE_TIMEOUT_S) as probe:
            probe.sendall(question)
            return probe.recv(size)
        return b""

    def kill(self) -> None:
        """Kill it without a chance to tidy up."""
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
