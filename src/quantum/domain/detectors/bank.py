"""State of many series as one structured array: grown by doubling, dumped field by field.

>>> bank = Bank(np.dtype([("rows", np.int64)]))
>>> bank.grow(3)
>>> bank.count, bank.dump()["rows"].tolist()
(3, [0, 0, 0])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


class Bank:
    """Records of one dtype, one per slot; a fresh record is all zeros and costs no memory until it is written.

    Attributes:
        records: shape (capacity,), the first `count` are in use.
        count: how many slots have state.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.records: NDArray[Any] = np.zeros(0, dtype)
        self.count = 0

    def grow(self, count: int) -> None:
        """Make sure that slots below `count` have a record."""
        if count > len(self.records):
            grown = np.zeros(max(count, 2 * len(self.records)), self.records.dtype)
            grown[: self.count] = self.records[: self.count]
            self.records = grown
        self.count = max(self.count, count)

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """Return one array per field (copies), the first axis of which is the slot."""
        names = self.records.dtype.names or ()
        return {name: self.records[name][: self.count].copy() for name in names}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Replace all records by dumped ones.

        Raises:
            ValueError: names, types or shapes are not those of this bank.
        """
        names = self.records.dtype.names or ()
        counts = {len(array) for array in state.values()}
        if set(state) != set(names) or len(counts) != 1:
            raise ValueError("not a state of this detector: other fields or lengths")
        restored = np.zeros(counts.pop(), self.records.dtype)
        for name in names:
            if state[name].dtype != restored[name].dtype or state[name].shape != restored[name].shape:
                raise ValueError(f"not a state of this detector: field {name} has another type or shape")
            restored[name] = state[name]
        self.records, self.count = restored, len(restored)


def dump_banks(banks: Mapping[str, Bank]) -> dict[str, NDArray[np.generic]]:
    """Return the fields of several banks, each under the name of its bank."""
    return {f"{name}.{field}": array for name, bank in banks.items() for field, array in bank.dump().items()}


def restore_banks(banks: Mapping[str, Bank], state: Mapping[str, NDArray[np.generic]]) -> None:
    """Replace the records of several banks by those of one dump; if it is none of theirs, they stay as they are.

    Raises:
        ValueError: names, types, shapes or lengths are not those of these banks.
    """
    if {field.partition(".")[0] for field in state} != set(banks):
        raise ValueError("not a state of this detector: other parts")
    restored = {name: Bank(bank.records.dtype) for name, bank in banks.items()}
    for name, bank in restored.items():
        prefix = f"{name}."
        bank.restore({field.removeprefix(prefix): array for field, array in state.items() if field.startswith(prefix)})
    if len({bank.count for bank in restored.values()}) > 1:
        raise ValueError("not a state of this detector: parts of different lengths")
    for name, bank in restored.items():
        banks[name].records, banks[name].count = bank.records, bank.count
