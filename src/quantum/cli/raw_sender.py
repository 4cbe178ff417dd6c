"""What any server has to spend on a delivery: a server on uvloop that writes finished bytes and does nothing else.

`quantum bench live` runs it as a process beside Quantum. Whoever connects is a watcher. What comes from one of them,
four bytes, is a size: so many bytes are then written to every watcher, itself included.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any, Final

import uvloop

SIZE: Final = struct.Struct("!I")


class Sender(asyncio.Protocol):
    """One watcher; `watchers` are all of them."""

    def __init__(self, watchers: set[Any]) -> None:
        self._watchers = watchers
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = transport
        self._watchers.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        del exc
        self._watchers.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        """Write to everybody."""
        payload = bytes(SIZE.unpack(data[: SIZE.size])[0])
        for transport in self._watchers:
            transport.write(payload)


async def serve() -> None:
    """Serve for ever on a free port, which is printed."""
    watchers: set[Any] = set()
    server = await asyncio.get_running_loop().create_server(lambda: Sender(watchers), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
