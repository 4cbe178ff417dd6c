"""Puts the built dashboard into the wheel: `uv build --wheel` or `pip wheel .` needs nothing but Python and a network.

The environment variable QUANTUM_SKIP_WEB=1 leaves the dashboard out; editable installs never build it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))

from tools import dashboard


class DashboardHook(BuildHookInterface):
    """Builds `frontend/` into `src/quantum/static/` before the files of a wheel or sdist are gathered."""

    def dependencies(self) -> list[str]:
        """Return what the build itself needs: Node, if there is something to build."""
        return [dashboard.NODE_REQUIREMENT] if self._is_due() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - the hook's signature
        """Build if the sources have changed since the last build."""
        if version == "editable" or not self._is_due():
            return
        environment, frontend = dashboard.environment(Path(sys.executable).parent), Path(self.root) / "frontend"
        for command in (["npm", *dashboard.INSTALL], ["npm", "run", "build"]):
            subprocess.run(command, cwd=frontend, env=environment, stdin=subprocess.DEVNULL, check=True)
        dashboard.mark_built(Path(self.root))

    def _is_due(self) -> bool:
        return os.environ.get("QUANTUM_SKIP_WEB") != "1" and not dashboard.is_built(Path(self.root))
