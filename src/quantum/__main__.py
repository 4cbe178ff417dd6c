"""Entry point of the `quantum` command and of `python -m quantum`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and leave with its exit status."""
    from quantum.cli import run_command  # noqa: PLC0415 - keeps `import quantum.__main__` free of side effects

    sys.exit(run_command(sys.argv[1:]))


if __name__ == "__main__":
    main()
