"""A sender that does not mind how it is answered: so many requests a second, in bursts, whatever becomes of them.

`python -m tests.parts.neighbour PORT KEY REQUESTS_PER_S SECONDS SAMPLES` says at the end how many were answered how.
With port 0 it sends to itself, and refuses everything: that is what the sending alone costs the machine.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from contextlib import suppress
from typing import Final

PAUSE_S: Final = 1.0
"""Between two requests of a connection. There are as many connections as that takes, so that the rate is kept even
where an answer is as long in coming."""
AT_ONCE: Final = 8
"""So many connections send at the same moment."""
FRESH_S: Final = 1.0
"""The same request is sent for so long: to write others would keep the machine busier than to answer them."""
REFUSAL: Final = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"


def request_of(key: str, samples: int, series: str) -> bytes:
    """Return a request with samples of the last seconds, one each millisecond."""
    now_ms = time.time_ns() // 1_000_000
    times = list(range(now_ms - samples, now_ms))
    table = {"labels": {"__name__": series}, "timestamps_ms": times, "values": [1.0] * samples}
    body = json.dumps({"series": [table]}).encode()
    head = f"POST /api/v1/samples HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def send(port: int, key: str, begin_s: float, end_s: float, samples: int, number: int) -> Counter[int]:
    """Send over one connection, which is opened again when it is closed; return how often each status came."""
    answered = Counter[int]()
    sent = 0
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request, made_s = b"", 0.0
    while time.monotonic() < end_s:
        await asyncio.sleep(max(0.0, begin_s + sent * PAUSE_S - time.monotonic()))
        sent += 1
        if time.monotonic() - made_s > FRESH_S:
            request, made_s = request_of(key, samples, f"noise_{number}"), time.monotonic()
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]
            await reader.readexactly(int(length or 0))
            answered[int(head[9:12])] += 1
        except (OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    return answered


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Refuse every request of a connection."""
    with suppress(OSError, asyncio.IncompleteReadError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]))
            writer.write(REFUSAL)
    writer.close()


async def main(port: str, key: str, per_s: str, seconds: str, samples: str) -> None:
    """Send over some connections at once."""
    if port == "0":
        itself = await asyncio.start_server(refuse, "127.0.0.1", 0)
        port = str(itself.sockets[0].getsockname()[1])
    connections, now_s = int(float(per_s) * PAUSE_S), time.monotonic()
    begins_s = [now_s + PAUSE_S * (number - number % AT_ONCE) / connections for number in range(connections)]
    all_of_them = [
        send(int(port), key, begin_s, now_s + float(seconds), int(samples), number)
        for number, begin_s in enumerate(begins_s)
    ]
    answered = sum(await asyncio.gather(*all_of_them), Counter[int]())
    print(json.dumps(answered))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
