"""Bodies of line protocol that say the same as one before but for their numbers and times, as agents send them.

An agent measures the same things again and again. A body that came is kept as a *form*: the texts between its numbers.
Whether another body has these very texts is found out many bytes at a time, and what is left to read are the numbers.
Everything else is walked as if it were the first, and becomes a form if it can.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.adapters import influx_line_walk as walk
from quantum.domain.kernels import compiled, inlined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from quantum.application.keys import Keys

MOST_BYTES: Final = 1 << 18
"""A longer body is no form."""
MOST_ROWS: Final = 10_000
MOST_KEY_BYTES: Final = 1 << 20
"""Nor is one with more numbers, or with more bytes in the keys of its series."""
MOST_FORMS: Final = 32
"""So many forms are kept, those that were of use last: 60 MB for a tenant at the very most, and some 10 MB with bodies
as agents send them."""


@inlined
def _has(data: Sequence[int], at: int, text: Sequence[int]) -> bool:
    if at + len(text) > len(data):
        return False
    part, differs = data[at : at + len(text)], 0
    for place in range(len(text)):  # to the end, since that is eight times as fast as looking when to stop
        differs |= part[place] ^ text[place]
    return differs == 0


@compiled
def fill_in(
    data: Sequence[int],
    texts: Sequence[int],
    places: NDArray[np.int64],
    begins: NDArray[np.bool_],
    values: NDArray[np.float64],
    times: NDArray[np.int64],
) -> bool:
    """Write the numbers and times of a body; return whether it is of a form.

    Args:
        data: the body.
        texts: the body that is the form.
        places: int64 (rows, 2): start and end of the text before each number.
        begins: whether the text is the first of its line.
        values: float64 (rows,), written.
        times: int64 (rows,), written as they were sent.
    """
    at, first, end = 0, 0, len(data)
    for row in range(len(places)):
        text = texts[places[row, 0] : places[row, 1]]
        if not _has(data, at, text):
            return False
        number_at = at + len(text)
        at, values[row] = walk.plain_number(data, number_at, end)
        if at == number_at:
            return False
        if row + 1 < len(places) and not begins[row + 1]:
            continue
        at, time, timed = walk.read_time(data, at, end)
        if at < 0 or timed == 0 or (at < end and data[at] != walk.NEWLINE):
            return False
        times[first : row + 1] = time
        at, first = at + 1, row + 1
    return at >= end


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """A body that came, and what of it is the same in those that follow.

    Attributes:
        texts: the body.
        places: start and end of the text before each number.
        begins: whether the text is the first of its line.
        keys: of its series.
        row_series: index of each row's series.
    """

    texts: bytes
    places: NDArray[np.int64]
    begins: NDArray[np.bool_]
    keys: Keys
    row_series: NDArray[np.int64]

    def filled(self, body: bytes) -> tuple[NDArray[np.float64], NDArray[np.int64]] | None:
        """Return the numbers of a body and its times as sent; None if it is not of this form."""
        values, times = np.empty(len(self.places)), np.empty(len(self.places), np.int64)
        data, texts = walk.message_bytes(body), walk.message_bytes(self.texts)
        return (values, times) if fill_in(data, texts, self.places, self.begins, values, times) else None


class Forms:
    """The forms of the bodies that came last, by their first line's measurement and tags."""

    def __init__(self) -> None:
        self._forms: dict[bytes, Form] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._forms)

    def find(self, body: bytes) -> Form | None:
        """Return the form that a body may have."""
        if len(body) > MOST_BYTES:  # those are decoded in threads, and this is for one
            return None
        begin = _begin_of(body)
        form = self._forms.pop(begin, None)
        if form is not None:
            self._forms[begin] = form
        return form

    def learn(self, body: bytes, rows: NDArray[np.int64], keys: Keys) -> None:
        """Keep a body as a form, if it can be one.

        Args:
            body: whatever came.
            rows: of its numbers, as `walk.fill_columns` wrote them.
            keys: of its series.
        """
        if len(body) > MOST_BYTES or not 0 < len(rows) <= MOST_ROWS or len(keys.message) > MOST_KEY_BYTES:
            return
        begins = np.append(True, rows[1:, walk.LINE] != rows[:-1, walk.LINE])
        # the text of a further number of a line begins with the comma before its name
        starts = np.where(begins, rows[:, walk.HEAD_AT], rows[:, walk.KEY_AT] - 1)
        places = np.stack([starts, rows[:, walk.VALUE_AT]], axis=1)
        form = Form(body, places, begins, keys, rows[:, walk.OF_SERIES].copy())
        if form.filled(body) is not None:
            self._forms[_begin_of(body)] = form
            if len(self._forms) > MOST_FORMS:
                del self._forms[next(iter(self._forms))]


def _begin_of(body: bytes) -> bytes:
    return body[: body.find(b" ") + 1]
