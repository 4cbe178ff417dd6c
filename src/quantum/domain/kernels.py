"""Compiled kernels: loops over columns, compiled by numba where it is installed, elsewhere the same code as it is.

>>> compiled.__name__
'compiled'
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from quantum.domain.kernel_sources import ROOT, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., object]")

try:
    from numba import njit
    from numba.core import caching
    from numba.core.types import Record
except ImportError:  # pragma: no cover - tests/test_without_numba.py runs all of it in a process of its own
    njit = None  # type: ignore[assignment]
else:

    def _mangling_args(record: Any) -> tuple[str, tuple[str]]:
        """Return by what a function of such records is named in the cache of compiled code: by what is in them.

        numba names it by the number of record types that the process had met (numba#1008). Two processes that met one
        type each, both as their first, left two functions of one name; a third took one for the other, and wrote past
        the end of the state of a series.
        """
        return type(record).__name__, (sha256(record.name.encode()).hexdigest()[:24],)

    records: Any = Record
    records.mangling_args = property(_mangling_args)
    locators: Any = caching._SourceFileBackedLocatorMixin  # noqa: SLF001 - what all places of its cache have in common
    stamp_of_file = locators.get_source_stamp

    def _stamp_of_sources(locator: Any) -> tuple[object, str]:
        """Return by what compiled code in the cache is known to be of the present sources."""
        file = Path(locator._py_file)  # noqa: SLF001 - as above
        return stamp_of_file(locator), digest_of(file) if file.is_relative_to(ROOT / "quantum") else ""

    locators.get_source_stamp = _stamp_of_sources


def compiled(function: F) -> F:
    """Compile a function of arrays and numbers; `function.py_func` is the plain one where it was compiled."""
    compiler: Any = njit
    return function if compiler is None else cast("F", compiler(cache=True, nogil=True)(function))


def inlined(function: F) -> F:
    """Compile a function so that compiled callers contain it: for helpers that do less than a call costs."""
    compiler: Any = njit
    return function if compiler is None else cast("F", compiler(inline="always", cache=True)(function))
