"""A proxy with TLS in front of a program: it ends the encryption and says so in `X-Forwarded-Proto`, as proxies do.

One connection to the program for each request, or for a socket that is upgraded; what follows the head is passed on
as it comes, both ways.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PIECE_BYTES: Final = 65_536
END: Final = b"\r\n\r\n"
NOT_BELIEVED: Final = (b"x-forwarded-", b"connection:")
"""Beginnings of headers of which a client's word is not passed on."""


class TlsFront:
    """Stands before the program on a port of this machine."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one request on, and its answer back."""
        # browsers open connections that they do not use, and end others in the midst
        with suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(END)).removesuffix(END)
            program_reader, program_writer = await asyncio.open_connection("127.0.0.1", self._port)
            program_writer.write(_told(head, writer.get_extra_info("peername")[0]) + END)
            task = asyncio.create_task(_pass(reader, program_writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            await _pass(program_reader, writer)
            program_writer.close()
        writer.close()


def _told(head: bytes, host: str) -> bytes:
    """Return a head with what the program is to know about the connection."""
    first, *lines = head.split(b"\r\n")
    kept = [line for line in lines if not line.lower().startswith(NOT_BELIEVED)]
    is_upgrade = any(line.lower().startswith(b"upgrade:") for line in lines)
    connection = b"Connection: Upgrade" if is_upgrade else b"Connection: close"
    return b"\r\n".join([first, *kept, connection, b"X-Forwarded-Proto: https", f"X-Forwarded-For: {host}".encode()])


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()


@contextmanager
def run_tls_front(port: int, certificate: Path, key: Path) -> Iterator[str]:
    """Run a proxy before the program on a port for the length of a `with` block; yields its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(TlsFront(port).serve, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever, name="tls front")
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
