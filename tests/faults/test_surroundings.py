"""What the program stands on gives way: nobody reads its log, it may open no more files, its settings are damaged.

Rows F42, F43 and F45 of the fault matrix in docs/reliability.md.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final

import numpy as np
from tests.parts.children import start_child
from tests.parts.ledger import LedgerClient, read_ledger
from tests.parts.ordeal import POLICY_NAME, SETTLE_WITHIN_S, check_alerts, check_samples, set_the_scene
from tests.parts.program import ALONE, QUANTUM, run_quantum
from tests.parts.sink import run_sink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.parts.program import Program

MOST_FILES: Final = 128
CROWD: Final = 2 * MOST_FILES
GIVE_UP_S: Final = 60.0
BATCHES: Final = 20
"""So many are acknowledged while the program is in trouble."""
NOWHERE: Final = {"QUANTUM_REDIS__URL": "redis://127.0.0.1:9/0"}
"""A Redis that is not there: the program says so again and again."""


@contextmanager
def under_load(folder: Path, program: Program, tell: Callable[[str], None]) -> Iterator[LedgerClient]:
    """Have a sender for the length of a block; afterwards everything is held against its books."""
    client = LedgerClient(folder / "ledger", POLICY_NAME)
    with run_sink() as sink, ExitStack() as stack:
        stack.callback(client.stop)
        set_the_scene(program, client, sink)
        yield client
        assert client.finish(SETTLE_WITHIN_S), "the signal came down, but its alert did not"
        assert {status for _, status, _ in client.answers} == {200}
        check_samples(program, read_ledger(folder / "ledger"), client, tell)
        check_alerts(program, client, sink, tell, most_repeated=0)


def more_batches(program: Program, client: LedgerClient) -> list[float]:
    """Wait for some more receipts; return how long each took."""
    before = len(client.answers)
    program.wait_until(lambda: len(client.answers) >= before + BATCHES or None, "more receipts", GIVE_UP_S)
    return [took_s for _, _, took_s in client.answers[before:]]


@contextmanager
def unread(fifo: Path) -> Iterator[int]:
    """Have a pipe that is full to the brim, with somebody at the other end who does not read; yields that end."""
    os.mkfifo(fifo)
    end = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    try:
        with suppress(BlockingIOError):
            while True:
                os.write(end, b"x" * 512)
        yield end
    finally:
        os.close(end)


def test_f45_a_log_that_nobody_reads_holds_nothing_up(tmp_path: Path, tell: Callable[[str], None]) -> None:
    fifo = tmp_path / "fifo"
    deaf = ("sh", "-c", f'exec "$0" "$@" 2>{fifo}', QUANTUM)
    with (
        unread(fifo),
        run_quantum(tmp_path / "data", tmp_path / "log", environment=ALONE | NOWHERE, quantum=deaf) as program,
    ):
        with under_load(tmp_path, program, tell) as client:
            program.wait_until(lambda: program.get("/readyz")["degraded"] or None, "something to be said", GIVE_UP_S)
            took_s = more_batches(program, client)
        assert program.child.stop(timeout_s=GIVE_UP_S) == 0
    tell(f"F45: log unread: receipts within {1000 * np.median(took_s):.1f} ms (median of {len(took_s)})")


def test_f42_who_may_open_no_more_files_serves_whom_it_has_and_others_when_there_is_room(
    tmp_path: Path, tell: Callable[[str], None]
) -> None:
    poor = ("prlimit", f"--nofile={MOST_FILES}", QUANTUM)
    with run_quantum(tmp_path / "data", tmp_path / "log", environment=ALONE, quantum=poor) as program:
        with under_load(tmp_path, program, tell) as client:
            address = program.http.base_url.host, program.http.base_url.port or 0
            with ExitStack() as crowd:
                for _ in range(CROWD):
                    with suppress(OSError):
                        crowd.enter_context(socket.create_connection(address, timeout=1.0))
                more_batches(program, client)
            begin_s = time.monotonic()
            program.wait_until(lambda: is_served(address) or None, "somebody new to be served", GIVE_UP_S)
            tell(f"F42: no file left to open: served again {time.monotonic() - begin_s:.1f} s after the crowd had gone")
        assert program.child.stop(timeout_s=GIVE_UP_S) == 0


def is_served(address: tuple[str, int]) -> bool:
    """Whether a new connection gets an answer."""
    with suppress(OSError), socket.create_connection(address, timeout=1.0) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return connection.recv(15).startswith(b"HTTP/1.1 200")
    return False


def test_f43_damaged_settings_hurt_nobody_who_runs_and_are_one_sentence_to_who_would_start(
    tmp_path: Path, tell: Callable[[str], None]
) -> None:
    good, file = "[host_metrics]\nenabled = false\n", tmp_path / "quantum.toml"
    file.write_text(good)
    arguments = ("--config", str(file))
    with run_quantum(tmp_path / "data", tmp_path / "log", *arguments) as program:
        with under_load(tmp_path, program, tell) as client:
            file.write_text("[host_metrics\nenabled = perhaps")
            more_batches(program, client)
        assert program.child.stop(timeout_s=GIVE_UP_S) == 0
    begun = len((tmp_path / "log").read_text())
    command: list[str | Path] = [QUANTUM, "run", "--port", "0", "--data-dir", tmp_path / "data", *arguments]
    with start_child(command, tmp_path / "log") as child:
        assert child.process.wait(GIVE_UP_S) == 1
        (said,) = child.text(begun).splitlines()
    assert str(file) in said
    file.write_text(good)
    with run_quantum(tmp_path / "data", tmp_path / "log", *arguments) as program:
        assert program.series("signal") is not None
