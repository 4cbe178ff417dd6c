"""Entry point of the `quantum` command and of `python -m quantum`."""

from __future__ import annotations

import gc
import sys
from typing import Final

SELDOM: Final = (20_000, 20, 20)
"""Thresholds of the garbage collector: what is short-lived here is found by counting references."""


def main() -> None:
    """Run the command line and leave with its exit status."""
    # what is imported stays: to look through it for garbage again and again would take a tenth of the start
    gc.set_threshold(*SELDOM)
    from quantum.cli import run_command  # noqa: PLC0415 - keeps `import quantum.__main__` free of side effects

    sys.exit(run_command(sys.argv[1:]))


if __name__ == "__main__":
    main()
