"""What keeps an evaluation within bounds: checked before arrays are made, and between subexpressions.

>>> Guard(max_cells=10).room(5, 2)
>>> Guard(max_cells=10).room(5, 3)
Traceback (most recent call last):
quantum.domain.errors.Rejected: a part of the query has 5 series at 3 steps, the limit is 10 values
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from quantum.domain.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_CELLS: Final = 20_000_000
"""Some 200 MB for the numbers and the mask of one subexpression."""
MAX_MADE: Final = 100_000
MAX_LOOKS: Final = 5_000_000_000
"""Some seconds of one core."""


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Guard:
    """Bounds of one evaluation.

    Attributes:
        max_cells: how many values (series x steps) a subexpression may have.
        max_series: how many may be made of values.
        max_looks: how many samples the windows of one function may have in all; each is looked at.
        is_over: whether nobody waits for the result any more.
    """

    max_cells: int = MAX_CELLS
    max_series: int = MAX_MADE
    max_looks: int = MAX_LOOKS
    is_over: Callable[[], bool] = _never

    def room(self, series: int, steps: int) -> None:
        """Raise Rejected (`execution`) if so many values are too many."""
        if series * steps > self.max_cells:
            raise Rejected(
                "execution",
                f"a part of the query has {series} series at {steps} steps, the limit is {self.max_cells} values",
            )

    def series(self, count: int) -> None:
        """Raise Rejected (`execution`) if so many new series are too many."""
        if count > self.max_series:
            raise Rejected("execution", f"the query makes {count} series, the limit is {self.max_series}")

    def looks(self, samples: float) -> None:
        """Raise Rejected (`execution`) if windows have too many samples in all."""
        if samples > self.max_looks:
            raise Rejected(
                "execution", f"the windows of the query have {samples:.0f} samples, the limit is {self.max_looks}"
            )

    def go_on(self) -> None:
        """Raise Rejected (`timeout`) if nobody waits any more."""
        if self.is_over():
            raise Rejected("timeout", "the query timed out or was cancelled")


USUAL: Final = Guard()
