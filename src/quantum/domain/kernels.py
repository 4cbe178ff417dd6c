"""Compiled kernels: loops over columns, compiled by numba where it is installed, elsewhere the same code as it is.

>>> compiled.__name__
'compiled'
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from quantum.domain.kernel_sources import ROOT, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

F = TypeVar("F", bound="Callable[..., object]")
LINE_BYTES: Final = 64
"""What a processor fetches from memory at once, on nearly all of them."""

try:
    from llvmlite import ir
    from numba import njit
    from numba.core import caching, types
    from numba.core.types import Record
    from numba.extending import intrinsic, overload
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


def fetch_next(records: NDArray[Any], slots: NDArray[np.int64], row: int) -> None:
    """Let the processor fetch the record of the row after this one from memory meanwhile; changes nothing.

    For loops over rows that look at a large record each: asked for one row ahead, it is there when its turn comes. Only
    compiled code can ask.
    """


if njit is not None:  # pragma: no branch - as above

    def _fetching(_typing: Any, _address: Any) -> Any:  # pragma: no cover - nor run when the code is in the cache
        """Return how the line of memory at an address is fetched into the second cache."""

        def emit(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
            fetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
            # to be read, and not into the nearest cache: it is small, and judging took 1.4 times as long with either
            is_written, nearness, is_data = ir.Constant(number, 0), ir.Constant(number, 2), ir.Constant(number, 1)
            builder.call(fetch, [builder.inttoptr(arguments[0], byte), is_written, nearness, is_data])
            return context.get_dummy_value()

        return types.void(types.intp), emit

    fetch_line: Any = intrinsic(_fetching)

    @overload(fetch_next)
    def _fetch_next(records: Any, slots: Any, row: Any) -> Any:  # noqa: ARG001 # pragma: no cover - numba wants these
        """Return what compiled callers do."""

        def fetch(records: Any, slots: Any, row: Any) -> None:
            if row + 1 < len(slots) and slots[row + 1] != slots[row]:
                first = records.ctypes.data + slots[row + 1] * records.itemsize
                for address in range(first, first + records.itemsize, LINE_BYTES):
                    fetch_line(address)

        return fetch
