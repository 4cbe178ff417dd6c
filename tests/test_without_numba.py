"""Where numba cannot be imported, the same code runs as it is and finds the same, to the bit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.without_numba import findings

ROOT = Path(__file__).parents[1]


def test_without_numba_decoders_detectors_queries_and_codecs_find_the_same_to_the_bit() -> None:
    command = [sys.executable, "-m", "tests.without_numba"]
    blocked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
    found = json.loads(blocked.stdout)
    assert found.pop("is compiled") == "False"
    assert found == findings()
