"""A sender that does not mind how it is answered: so many requests a second, in bursts, whatever becomes of them.

`python -m tests.parts.neighbour PORT KEY REQUESTS_PER_S SECONDS SAMPLES` says at the end how many were answered how,
and what share of a processor it took. With port 0 it sends to itself, and refuses everything: that is what the sending
alone costs the machine. Real senders are other machines, so it takes as little as it can: one thread, plain sockets,
requests of two pieces that are made beforehand, and answers that are looked at just before the next are sent: woken by
each of them, it would take the processor from the program that is about to answer the next.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import sys
import time
from collections import Counter
from typing import Final

AT_ONCE: Final = int(os.environ.get("TEST_NOISE_AT_ONCE", "8"))
"""So many connections send at the same moment."""
CYCLE_S: Final = 1
"""Between two requests of a connection. There are as many connections as that takes, so that the rate is kept even
where an answer is as long in coming."""
ROOM_BYTES: Final = 1 << 18
"""Of a socket for what is sent: more than a request, so that sending does not wait for the other end."""
MOST_SAMPLES: Final = 1000
"""Of one series, one a millisecond, in a second."""
STATUS: Final = b"HTTP/1.1 "
REFUSAL: Final = STATUS + b"429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"


class Requests:
    """What each connection sends: a head with its series, and then the samples of a second, which are all alike."""

    def __init__(self, key: str, connections: int, samples: int) -> None:
        assert samples <= MOST_SAMPLES
        self._samples = samples
        self._second, self._tail = 0, self._tail_of(0)
        size = len(_labels(0)) + len(self._tail)
        head = f"POST /api/v1/samples HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
        self._heads = [head.encode() + _labels(number) for number in range(connections)]
        self.size = len(head) + size

    def of(self, number: int, second: int) -> tuple[bytes, bytes]:
        """Return the request of a connection for the samples of a second (Unix time)."""
        if second != self._second:
            self._second, self._tail = second, self._tail_of(second)
        return self._heads[number], self._tail

    def _tail_of(self, second: int) -> bytes:
        times = ",".join(f"{second:010d}{ms:03d}" for ms in range(self._samples))
        return f'{times}],"values":[{",".join(["1.0"] * self._samples)}]}}]}}'.encode()


def _labels(number: int) -> bytes:
    return f'{{"series":[{{"labels":{{"__name__":"noise_{number:04d}"}},"timestamps_ms":['.encode()


class Sender:
    """Keeps the rate, and counts the answers; `port` 0 has it answer itself."""

    def __init__(self, port: int, key: str, per_s: int, samples: int) -> None:
        self.answered = Counter[int]()
        self._looking = selectors.DefaultSelector()
        self._came: dict[socket.socket, int] = {}
        self._requests = Requests(key, per_s * CYCLE_S, samples)
        self._per_s = per_s
        with socket.create_server(("127.0.0.1", 0), backlog=per_s * CYCLE_S) as itself:
            self._port = port or itself.getsockname()[1]
            self._connections = [self._connect() for _ in range(per_s * CYCLE_S)]
            for _ in range(0 if port else per_s * CYCLE_S):
                accepted, _ = itself.accept()
                self._came[accepted] = 0
                self._looking.register(accepted, selectors.EVENT_READ)

    def _connect(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self._port))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM_BYTES)
        self._looking.register(made, selectors.EVENT_READ)
        return made

    def send_for(self, seconds: float) -> None:
        """Send for a while."""
        begin_s, first_second, sent = time.monotonic(), time.time_ns() // 10**9 - CYCLE_S, 0
        while (now_s := time.monotonic()) < begin_s + seconds:
            time.sleep(max(0.0, begin_s + sent / self._per_s - now_s))
            for key, _ in self._looking.select(0):
                self._take(key.fileobj)
            for one in range(sent, sent + AT_ONCE):
                cycle, number = divmod(one, len(self._connections))
                self._connections[number].sendmsg(self._requests.of(number, first_second + cycle))
            sent += AT_ONCE

    def _take(self, ready: object) -> None:
        assert isinstance(ready, socket.socket)
        data = ready.recv(ROOM_BYTES)
        if ready in self._came:
            self._refuse(ready, len(data))
        elif data:
            self._count(data)
        else:
            self._looking.unregister(ready)
            ready.close()
            self._connections[self._connections.index(ready)] = self._connect()

    def _refuse(self, ready: socket.socket, size: int) -> None:
        self._came[ready] += size
        if self._came[ready] >= self._requests.size:
            self._came[ready] -= self._requests.size
            ready.sendall(REFUSAL)

    def _count(self, data: bytes) -> None:
        begin = data.find(STATUS)
        while begin >= 0:
            begin += len(STATUS)
            self.answered[int(data[begin : begin + 3])] += 1
            begin = data.find(STATUS, begin)


def main(port: str, key: str, per_s: str, seconds: str, samples: str) -> None:
    """Send, and say how that went."""
    sender = Sender(int(port), key, int(per_s), int(samples))
    begin_s = time.process_time()
    sender.send_for(float(seconds))
    busy = (time.process_time() - begin_s) / float(seconds)
    print(json.dumps({"answered": sender.answered, "busy": busy}))


if __name__ == "__main__":
    main(*sys.argv[1:])
