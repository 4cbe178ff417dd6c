"""The licences of everything that is locked, Python's packages and npm's, against those that may be: offline.

What is shipped may have a licence that lets anybody use, change and ship Quantum under its own; so may what only
builds and tests it, and a few more.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from typing import TYPE_CHECKING, Any, Final

from tools import prepare

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SHIPPED: Final = frozenset(
    {
        "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT",
        "MIT-0", "MIT-CMU", "PSF-2.0", "Zlib",
        # about their own files alone, which stay as they are
        "MPL-2.0",
        # psycopg: a library that is installed beside Quantum and can be replaced
        "LGPL-3.0-only",
    }
)  # fmt: skip
AT_WORK: Final = SHIPPED | {"BlueOak-1.0.0", "CC-BY-4.0"}
"""Of what builds and tests, and is shipped to nobody."""
BY_CLASSIFIER: Final = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
BY_WORDS: Final = {
    "MIT License": "MIT",
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache": "Apache-2.0",  # kubernetes-validate, whose LICENSE file says which
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
}
UNSAID: Final = {
    "colorama": "BSD-3-Clause",  # for Windows only, so not installed
    "namex": "Apache-2.0",  # says it in its LICENSE file, not in its metadata
    "pyod": "BSD-2-Clause",  # a peer to measure beside, so not installed
    "promql-parser": "MIT",  # says it in its LICENSE file, not in its metadata
    "river": "BSD-3-Clause",  # a peer to measure beside, so not installed
}
"""Packages whose metadata say nothing here."""


def locked() -> dict[str, Mapping[str, Any]]:
    """Return the packages of the Python lock by name, Quantum itself among them."""
    lock = tomllib.loads((prepare.ROOT / "uv.lock").read_text(encoding="utf-8"))
    return {one["name"]: one for one in lock["package"]}


def shipped(packages: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Return the names of what Quantum needs to run, and what that needs."""
    found, open_ends = set[str](), ["quantum"]
    while open_ends:
        name = open_ends.pop()
        if name not in found:
            found.add(name)
            wanted = packages[name].get("dependencies", ())
            extras = [one for those in packages[name].get("optional-dependencies", {}).values() for one in those]
            open_ends += [one["name"] for one in (*wanted, *extras)]
    return found


def of_python(name: str) -> str:
    """Return the licence of an installed package as an SPDX expression; empty if it does not say."""
    if name in UNSAID:
        return UNSAID[name]
    try:
        said = metadata(name).json
    except PackageNotFoundError:
        return ""
    if expression := said.get("license_expression"):
        return str(expression)
    kinds = [line.rpartition(" :: ")[2] for line in said.get("classifier", ()) if line.startswith("License")]
    known = [BY_CLASSIFIER[kind] for kind in kinds if kind in BY_CLASSIFIER]
    words = str(said.get("license") or "").strip().partition("\n")[0]
    return " OR ".join(known) or BY_WORDS.get(words, words)


def of_npm() -> Iterator[tuple[str, str, bool]]:
    """Yield name, licence and whether it is shipped, of the packages of the dashboard's lock."""
    lock = json.loads((prepare.ROOT / "frontend/package-lock.json").read_text(encoding="utf-8"))
    for place, one in lock["packages"].items():
        if place:
            yield place.rpartition("node_modules/")[2], one.get("license", ""), not one.get("dev", False)


def may_be(expression: str, allowed: frozenset[str]) -> bool:
    """Whether an SPDX expression lets a package be used: of alternatives one, of several all.

    >>> may_be("MIT OR GPL-3.0-only", SHIPPED), may_be("(MIT AND GPL-3.0-only)", SHIPPED), may_be("", SHIPPED)
    (True, False, False)
    """
    choices = re.split(r"\s+OR\s+", expression.strip("() "))
    return any(all(part.strip("() ") in allowed for part in re.split(r"\s+AND\s+", choice)) for choice in choices)


def refused() -> list[str]:
    """Return a line for every package that may not be used."""
    packages = locked()
    needed = shipped(packages)
    found = [(f"python {name}", of_python(name), name in needed) for name in packages]
    found += [(f"npm {name}", licence, is_shipped) for name, licence, is_shipped in of_npm()]
    return [
        f"{name}: {licence or 'no licence'}, {'shipped' if is_shipped else 'at work only'}"
        for name, licence, is_shipped in found
        if not may_be(licence, SHIPPED if is_shipped else AT_WORK)
    ]


def main() -> int:
    """Print what may not be used; return the exit status."""
    wrong = refused()
    print("\n".join(wrong) or "every locked package has a licence that may be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
