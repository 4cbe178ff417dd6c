"""Compiled code from the cache of several processes is the code that was asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numba import typeof

import quantum.domain.kernels  # noqa: F401 - it is what names them

if TYPE_CHECKING:
    from pathlib import Path

KERNEL: Final = """
import sys
import numpy as np
from quantum.domain.kernels import compiled

@compiled
def fill(state, number):
    # more than a compiler writes out where it is called
    room = state["room"]
    for place in range(len(room)):
        room[place] = np.log(number + 1.0 + place) + np.sin(number) if number > 0.5 else np.exp(number)
        number += room[place]
    return number

@compiled
def fill_all(states):
    for row in range(len(states)):
        fill(states[row], fill(states[row], fill(states[row], 1.0)))

for size in sys.argv[1:]:
    states = np.zeros(3, np.dtype([("room", np.float64, (int(size),))]))
    fill_all(states[:1])
    print(np.count_nonzero(states["room"]))
"""


def run(folder: Path, *sizes: int) -> list[int]:
    """Return how many numbers a process wrote into records of each size; its cache is shared."""
    command = [sys.executable, str(folder / "kernel.py"), *map(str, sizes)]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "cache")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300)
    return [int(line) for line in done.stdout.split()]


def test_processes_that_met_one_kind_of_record_each_leave_code_that_a_third_can_use(tmp_path: Path) -> None:
    (tmp_path / "kernel.py").write_text(KERNEL)
    assert run(tmp_path, 40) == [40]
    assert run(tmp_path, 20) == [20]
    assert run(tmp_path, 40, 20) == [40, 20]


def named(size: int) -> Any:
    """Return by what compiled code of such records is named."""
    type_of: Any = typeof
    return type_of(np.zeros(1, np.dtype([("room", np.float64, (size,))]))).dtype.mangling_args


def test_compiled_code_is_named_by_what_is_in_its_records() -> None:
    kind, (digest,) = named(40)
    assert (kind, len(digest)) == ("Record", 24)
    assert named(40) == (kind, (digest,)) != named(20)
