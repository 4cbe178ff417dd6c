"""A TCP proxy that does harm: it ends connections, keeps answers to itself, or lets nothing pass for a while."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE_BYTES: Final = 16_384


class Proxy:
    """Passes bytes between TCP clients and a server.

    Attributes:
        port: where clients connect, on 127.0.0.1.
        mute: answers of the server are swallowed.
    """

    def __init__(self, target: str | int) -> None:
        """Take the path of a Unix socket, or a port of 127.0.0.1."""
        self.mute = False
        self.harmed = 0
        self._target = target
        self._left: int | None = None
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._gates = {is_upwards: threading.Event() for is_upwards in (True, False)}
        self.release()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])

    def cut_after(self, size: int) -> None:
        """End all connections once clients have sent so many more bytes; the last of them arrive."""
        with self._lock:
            self._left = size

    def cut(self) -> None:
        """End all connections."""
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def hold(self, *, answers_only: bool = False) -> None:
        """Let nothing pass until `release`, as where packets are dropped: nobody is told, and nothing is lost."""
        self._gates[False].clear()
        if not answers_only:
            self._gates[True].clear()

    def release(self) -> None:
        """Let everything pass, what was held first."""
        for gate in self._gates.values():
            gate.set()

    def lead_to(self, target: str | int) -> None:
        """Let whoever connects from now on reach another server, as after a failover; who is connected is cut off."""
        self._target = target
        self.cut()

    def accept_for_ever(self) -> None:
        """Serve until `close`."""
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self._join(client)

    def close(self) -> None:
        """Stop listening and end all connections."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.release()
        self.cut()

    def _join(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX if isinstance(self._target, str) else socket.AF_INET)
        try:
            server.connect(self._target if isinstance(self._target, str) else ("127.0.0.1", self._target))
        except OSError:
            server.close()
            client.close()
            return
        with self._lock:
            self._sockets |= {client, server}
        for source, sink, is_upwards in ((client, server, True), (server, client, False)):
            threading.Thread(target=self._pass, args=(source, sink, is_upwards), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, is_upwards: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(PIECE_BYTES):
                self._gates[is_upwards].wait()
                allowed = self._allowed(len(piece)) if is_upwards else len(piece)
                if is_upwards or not self.mute:
                    sink.sendall(piece[:allowed])
                if allowed < len(piece) or self._left == 0:
                    break
        with self._lock:
            spent = self._left == 0
            self._left = None if spent else self._left
            self.harmed += spent
        if spent:
            self.cut()
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _allowed(self, size: int) -> int:
        with self._lock:
            if self._left is None:
                return size
            allowed = min(size, self._left)
            self._left -= allowed
            return allowed


@contextmanager
def run_proxy(target: str | int) -> Iterator[Proxy]:
    """Run a proxy to a Unix socket or a port for the length of a `with` block."""
    proxy = Proxy(target)
    thread = threading.Thread(target=proxy.accept_for_ever)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()
