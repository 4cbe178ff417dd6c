"""Numbers as Prometheus writes them: the shortest text that is read back as the same number.

>>> number_text(0.1), number_text(1e21), number_text(float("nan")), number_text(5.0), number_text(-1e-7)
('0.1', '1e+21', 'NaN', '5', '-1e-07')
>>> plain_text(1e22)
'10000000000000000000000'
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

LARGE: Final = 1e21
SMALL: Final = 1e-6


def plain_text(value: float) -> str:
    """Return a number as text without an exponent, however long that is."""
    return np.format_float_positional(value, trim="-") if math.isfinite(value) else number_text(value)


def number_text(value: float) -> str:
    """Return a number as text: plain digits, with an exponent from 1e21 on and below 1e-6."""
    text = repr(value)
    if "e" not in text and "n" not in text:
        return text.removesuffix(".0")
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if SMALL <= abs(value) < LARGE:
        return plain_text(value)
    return np.format_float_scientific(value, trim="-", exp_digits=2)
