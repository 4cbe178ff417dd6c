"""The `quantum` command: one module per command, imported only when that command runs.

Exit status: 0 done, 1 failed, 2 wrong usage. Errors are one sentence on stderr, never a traceback.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

import cyclopts
from cyclopts import CycloptsError
from rich.console import Console

from quantum.cli.bench import build_bench
from quantum.cli.dead_letters import build_dead_letters
from quantum.domain.errors import QuantumError

if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE_ERROR: Final = 2

COMMANDS: Final = {
    "run": "quantum.cli.run:run",
    "check-config": "quantum.cli.run:check_config",
    "doctor": "quantum.cli.doctor:doctor",
    "migrate": "quantum.cli.doctor:migrate",
    "detect": "quantum.cli.detect:detect",
    "import": "quantum.cli.transfer:import_files",
    "export": "quantum.cli.transfer:export_samples",
    "replay": "quantum.cli.replay:replay",
    "publish": "quantum.cli.publish:publish",
}
"""Name of each command and the function behind it, `module:function`."""


class CommandFailed(QuantumError):
    """A command could not do its work; the message is the sentence for its user."""


def build_app() -> cyclopts.App:
    """Return the command-line application; commands are lazily imported."""
    app = cyclopts.App(
        name="quantum",
        help="Self-hosted AI monitoring: every series scored, few explained pages, and a time machine for alert rules.",
        version=_version,
        console=Console(),
        error_console=Console(stderr=True),
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
    )
    for name, target in COMMANDS.items():
        app.command(target, name=name)
    app.command(build_bench())
    app.command(build_dead_letters())
    return app


def run_command(arguments: Sequence[str]) -> int:
    """Run one command line; return its exit status and leave nothing but one sentence behind on an error."""
    try:
        result = build_app()(list(arguments))
    except CycloptsError as error:
        return _complain(str(error), USAGE_ERROR)
    except (QuantumError, OSError) as error:
        return _complain(str(error), 1)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if os.environ.get("QUANTUM_TRACEBACK"):
            raise
        return _complain(f"unexpected {type(error).__name__}: {error} (QUANTUM_TRACEBACK=1 shows where)", 1)
    return result if isinstance(result, int) else 0


def _complain(sentence: str, status: int) -> int:
    print(f"quantum: {sentence}", file=sys.stderr)
    return status


def _version() -> str:
    from importlib.metadata import version  # noqa: PLC0415 - only needed for --version

    return version("quantum")
