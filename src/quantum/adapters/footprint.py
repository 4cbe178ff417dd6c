"""How much memory this process has, and how much it may have: of the machine, or of its control group.

A container's limit is the lowest of all groups that the process is in; version 2 of control groups is looked for first,
then version 1. Where neither says anything the machine's memory counts.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARE: Final = 0.8
"""Of what there is, so much may be used: the rest is for requests at work and for what the system keeps of files."""
STATM: Final = Path("/proc/self/statm")
GROUPS: Final = Path("/proc/self/cgroup")
ROOT: Final = Path("/sys/fs/cgroup")


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    with suppress(OSError):
        return int(STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return int(psutil.Process().memory_info().rss)


def allowed_bytes(groups: Path = GROUPS, root: Path = ROOT) -> int:
    """Return how much memory this process may have.

    Args:
        groups: file that says in which control groups this process is.
        root: where their files are.
    """
    return min([psutil.virtual_memory().total, *_limits(groups, root)])


def _limits(groups: Path, root: Path) -> Iterator[int]:
    """Yield what the groups of this process and those above them allow."""
    with suppress(OSError):
        for line in groups.read_text(encoding="utf-8").splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds == "":
                yield from _limits_upwards(root, path, "memory.max")
            elif "memory" in kinds.split(","):
                yield from _limits_upwards(root / "memory", path, "memory.limit_in_bytes")


def _limits_upwards(root: Path, path: str, name: str) -> Iterator[int]:
    """Yield the limits of a group and of those above it; where its path is not seen from inside, those of the root."""
    place = root / path.lstrip("/")
    for folder in (place, *place.parents):
        with suppress(OSError, ValueError):
            yield int((folder / name).read_text(encoding="ascii"))  # "max" is no number, and no limit
        if folder == root:
            return
