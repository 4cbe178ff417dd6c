"""What a machine keeps of parts that are fetched: one folder outside the work tree, checked against pinned digests."""

from __future__ import annotations

import fcntl
import hashlib
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def kept(lock: str, *names: str) -> Iterator[Path]:
    """Give the folder, or one below it; no other process is in a block with this lock meanwhile."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache.joinpath("quantum-parts", *names)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / lock).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield folder


def is_whole(file: Path, digest: str) -> bool:
    """Return whether a file is there with its digest (SHA-256)."""
    return file.exists() and digest_of(file.read_bytes()) == digest


def pinned(content: bytes, digest: str, name: str) -> bytes:
    """Return what was fetched.

    Fails the test:
        it has another digest than the one that is pinned.
    """
    found = digest_of(content)
    if found != digest:
        pytest.fail(f"{name} has the digest {found}, not the one that is pinned", pytrace=False)
    return content


def digest_of(content: bytes) -> str:
    """Return the SHA-256 digest in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
