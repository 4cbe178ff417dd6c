"""Series on which nothing happens, of ten kinds: what calibration is measured on.

>>> values = draw("lognormal", np.random.default_rng(1), 1000, rows_a_day=1440)
>>> values.shape, bool(values.min() > 0.0)
((1000,), True)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

RUNG_IN: Final = 40
"""Rows before the first one that an average reaches back to: 0.8 to this power is one in 7,500."""
AVERAGED: Final = 21


def draw(kind: str, rng: Generator, rows: int, rows_a_day: int) -> Values:
    """Return a series of one of `KINDS`, shape (rows,).

    Args:
        kind: its name.
        rng: what it is drawn from.
        rows: how many.
        rows_a_day: which only the day's wave depends on.
    """
    return KINDS[kind](rng, rows, rows_a_day)


def _autoregressive(rng: Generator, rows: int, _: int) -> Values:
    return np.convolve(rng.normal(0.0, 1.0, rows + RUNG_IN), 0.8 ** np.arange(RUNG_IN + 1), "valid")


def _averaged(rng: Generator, rows: int, _: int) -> Values:
    return np.convolve(rng.normal(0.0, 1.0, rows + AVERAGED - 1), np.full(AVERAGED, 1.0 / AVERAGED), "valid")


def _wave(rng: Generator, rows: int, rows_a_day: int) -> Values:
    return 60.0 - 40.0 * np.cos(2 * np.pi * np.arange(rows) / rows_a_day) + rng.normal(0.0, 4.0, rows)


KINDS: Final[dict[str, Callable[[Generator, int, int], Values]]] = {
    "normal": lambda rng, rows, _: rng.normal(0.0, 1.0, rows),
    "lognormal": lambda rng, rows, _: rng.lognormal(3.0, 0.6, rows),
    "Poisson": lambda rng, rows, _: rng.poisson(3.0, rows).astype(np.float64),
    "autoregressive": _autoregressive,
    "ratio": lambda rng, rows, _: rng.binomial(200, 0.97, rows) / 200.0,
    "Student t3": lambda rng, rows, _: rng.standard_t(3.0, rows),
    "day's wave": _wave,
    "exponential": lambda rng, rows, _: rng.exponential(1.0, rows),
    "uniform": lambda rng, rows, _: rng.uniform(0.0, 1.0, rows),
    "averaged": _averaged,
}
"""Normal; lognormal with a sigma of 0.6; Poisson with a mean of 3; AR(1) with 0.8; a ratio of counts, 97 % of 200;
Student's t with three degrees of freedom; a wave of a day, ten times as high as its noise; exponential; uniform; the
mean of the last 21 normal values."""
