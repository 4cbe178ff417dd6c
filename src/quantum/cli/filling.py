"""A day of mixed metrics in every server that takes part, and each of them done with it."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from quantum.adapters.memory import SystemClock
from quantum.application.monitoring import SEAL_AFTER_ROWS
from quantum.application.upkeep import UPKEEP_MS
from quantum.cli.measuring import QUIET_S, cpu_s, rss_bytes, say, wait_until_quiet
from quantum.cli.mixed_metrics import STEPS, Mixed, make_mixed
from quantum.cli.servers import SAMPLES, Server, line_up, show_all
from quantum.cli.write_load import STEP_MS, send_all

if TYPE_CHECKING:
    from collections.abc import Iterator

SERIES: Final = 1000
MARGIN_MS: Final = 3_600_000
"""So long ago the newest sample is: no server holds anything back because it may still change."""
REST_S: Final = UPKEEP_MS / 1000 + 2
"""Quantum looks every `UPKEEP_MS` whether pieces should be merged; there are none before `SEAL_AFTER_ROWS`."""


@dataclass(frozen=True, slots=True)
class Filled:
    """A server that has everything, and what that cost."""

    server: Server
    cpu_s: float
    rss_bytes: int


def make_day(scale: float) -> Mixed:
    """Return 24 hours of mixed metrics that ended an hour ago."""
    first_ms = (SystemClock().now_ms() - MARGIN_MS) // STEP_MS * STEP_MS - STEPS * STEP_MS
    return make_mixed(max(1, round(SERIES * scale)), first_ms)


@contextmanager
def filled(
    stack: ExitStack, mixed: Mixed, *, rivals: bool, own_postgres: bool
) -> Iterator[tuple[list[Filled], dict[str, str]]]:
    """Run servers that have all samples and are done with them, for the length of a `with` block; tell who is missing.

    Args:
        stack: ends what must outlive the servers: their folders and databases.
        mixed: the samples.
        rivals: whether rivals take part.
        own_postgres: whether to run a database for Quantum.
    """
    asked = line_up(stack, rivals=rivals, own_postgres=own_postgres, only=SAMPLES)
    with ExitStack() as running:
        servers = []
        for one in asked.contenders:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="quantum-bench-")))
            servers.append(running.enter_context(one.start(folder)))
        idle = [cpu_s(server.pids) for server in servers]
        for server in servers:
            say(f"sending {mixed.samples / 1e6:.2f} M samples to {server.name}")
            send_all(server.write_url, mixed.bodies())
            show_all(server)
        say("waiting until everybody is done with them")
        wait_until_quiet(servers, REST_S if mixed.samples > SEAL_AFTER_ROWS else QUIET_S)
        yield [_filled(server, before) for server, before in zip(servers, idle, strict=True)], asked.missing


def _filled(server: Server, idle_s: float) -> Filled:
    return Filled(server, cpu_s(server.pids) - idle_s, rss_bytes(server.pids[0]))
