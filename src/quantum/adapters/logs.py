"""Structured logs: one JSON object a line on stderr. Values are fields, never format strings.

A blocked reader of stderr must not block the service: lines wait in a bounded queue of a writer thread, and lines that
find it full are counted and dropped.
"""

from __future__ import annotations

import logging
import queue
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

import structlog

if TYPE_CHECKING:
    from typing import TextIO

MAX_WAITING: Final = 10_000


class QueuedLines:
    """A file for structlog that never blocks its caller."""

    def __init__(self, output: TextIO) -> None:
        self.dropped = 0
        self._output = output
        self._lines: queue.Queue[str | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._write, name="logs", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Queue text, or count it as dropped."""
        try:
            self._lines.put_nowait(text)
        except queue.Full:
            self.dropped += 1

    def flush(self) -> None:
        """Lines are flushed by the writer."""

    def close(self) -> None:
        """Write what waits, then stop."""
        self._lines.put(None)
        self._thread.join(timeout=2)

    def _write(self) -> None:
        while (text := self._lines.get()) is not None:
            self._output.write(text)
            if self._lines.empty():
                self._output.flush()


def configure_logs(level: str) -> QueuedLines:
    """Send structlog's and the standard library's logs as JSON lines to stderr; return the queue."""
    lines = QueuedLines(sys.stderr)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # local variables would carry secrets into the log
        structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(file=lines),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(lines)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(
        handlers=[handler], level=max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]), force=True
    )
    # it repeats ten times a second that a broker is away, which we say ourselves
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    return lines
