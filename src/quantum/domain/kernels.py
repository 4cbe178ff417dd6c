"""Compiled kernels: loops over columns, compiled by numba where it is installed, elsewhere the same code as it is.

>>> compiled.__name__
'compiled'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., object]")

try:
    from numba import njit
except ImportError:  # pragma: no cover - tests/test_without_numba.py runs all of it in a process of its own
    njit = None  # type: ignore[assignment]


def compiled(function: F) -> F:
    """Compile a function of arrays and numbers; `function.py_func` is the plain one where it was compiled."""
    compiler: Any = njit
    return function if compiler is None else cast("F", compiler(cache=True, nogil=True)(function))


def inlined(function: F) -> F:
    """Compile a function so that compiled callers contain it: for helpers that do less than a call costs."""
    compiler: Any = njit
    return function if compiler is None else cast("F", compiler(inline="always", cache=True)(function))
