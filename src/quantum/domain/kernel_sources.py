"""Which sources compiled code depends on: numba's cache on disk looks at the file of a function alone.

A constant of another file is compiled in, and so is a function that is called there. When only that other file changed,
as by an upgrade in place, the cache gave code with the old constants: columns that mean something else by now.
"""

from __future__ import annotations

import re
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

IMPORTED: Final = re.compile(r"^\s*from (quantum[\w.]*) import (\([^)]*\)|[^\n(]*)", re.MULTILINE)
NAME: Final = re.compile(r"\w+")
ROOT: Final = Path(__file__).parents[2]
"""Where the package `quantum` is."""


@cache
def digest_of(file: Path, root: Path = ROOT) -> str:
    """Return a digest of a source file and of all of the package that it imports, directly or not."""
    found: set[Path] = set()
    waiting = [file]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += _imported(one, root)
    return sha256(b"".join(sha256(_text(one).encode()).digest() for one in sorted(found))).hexdigest()


@cache
def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


@cache
def _imported(file: Path, root: Path) -> tuple[Path, ...]:
    """Return the files of the package that a file names in its imports; those for types alone as well."""
    return tuple(path for path in _candidates(_text(file), root) if path.is_file())


def _candidates(text: str, root: Path) -> Iterator[Path]:
    for module, names in IMPORTED.findall(text):
        place = root.joinpath(*module.split("."))
        yield place.with_suffix(".py")
        yield place / "__init__.py"
        for name in NAME.findall(names):
            yield place / f"{name}.py"
