"""A disk of a few megabytes that a test can fill and empty: a tmpfs of its own."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A mounted disk."""

    path: Path

    def fill(self, left_bytes: int = 0) -> None:
        """Use up all room but some, whatever others take of it meanwhile."""
        with (self.path / "ballast").open("wb") as ballast:
            while not self._is_taken(ballast.fileno(), left_bytes):
                pass

    def _is_taken(self, ballast: int, left_bytes: int) -> bool:
        try:
            os.posix_fallocate(ballast, 0, max(1, shutil.disk_usage(self.path).free - left_bytes))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return shutil.disk_usage(self.path).free <= left_bytes
        return True

    def empty(self) -> None:
        """Give the room back."""
        (self.path / "ballast").unlink()


@contextmanager
def small_disk(path: Path, size_mb: int) -> Iterator[SmallDisk]:
    """Mount a disk at a path for the length of a `with` block; that takes the rights to mount, or the test fails."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=0777", "quantum-test", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"this test mounts a small disk, which takes root: {done.stderr}", pytrace=False)
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
