"""Growing columns: one array element per series slot, doubled when a new slot appears.

>>> import numpy as np
>>> columns = Columns(value=(np.float64, np.nan), count=(np.int64, 0))
>>> columns.grow(3); columns["count"].tolist()
[0, 0, 0]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike, NDArray


class Columns:
    """Named arrays of one length; `len` is the number of slots in use, the arrays behind may be longer."""

    def __init__(self, **columns: tuple[DTypeLike, float | bool]) -> None:
        self._fill = {name: np.array(fill, dtype) for name, (dtype, fill) in columns.items()}
        self._arrays: dict[str, NDArray[Any]] = {name: np.full(0, fill) for name, fill in self._fill.items()}
        self._size = 0

    def __len__(self) -> int:
        """Return the number of slots in use."""
        return self._size

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a writable view of one column, shape (len,)."""
        return self._arrays[name][: self._size]

    def grow(self, size: int) -> None:
        """Make room for slots below `size`; new elements have the column's fill value."""
        if size <= self._size:
            return
        for name, array in self._arrays.items():
            if size > len(array):
                larger = np.full(max(size, 2 * len(array)), self._fill[name])
                larger[: self._size] = array[: self._size]
                self._arrays[name] = larger
        self._size = size

    def dump(self, prefix: str) -> dict[str, NDArray[Any]]:
        """Return copies of all columns under prefixed names."""
        return {f"{prefix}{name}": self[name].copy() for name in self._arrays}

    def restore(self, prefix: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace all columns by dumped ones; one that there was not yet when they were dumped begins as if new."""
        dumped = {name: arrays[f"{prefix}{name}"] for name in self._fill if f"{prefix}{name}" in arrays}
        self._size = min(map(len, dumped.values()))
        for name, fill in self._fill.items():
            self._arrays[name] = np.array(dumped.get(name, np.full(self._size, fill)), fill.dtype)
