"""Influx line protocol, decoded into columns: `measurement,tag=value field=1.5,other=2i 1700000000000000000`.

A numeric field is a series: `measurement_field`, or `measurement` for a field named `value`, with the tags as labels.
Booleans are 1 and 0. Texts have no place among numbers and are ignored, but counted. A bad line is refused under its
number and its neighbours are stored.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.adapters import influx_line_walk as walk
from quantum.adapters.line_forms import Forms
from quantum.application.ingest import Incoming, Limits, Refusal, Refusals, check_key_bytes, check_request_size
from quantum.application.keys import Keys
from quantum.domain.errors import Rejected
from quantum.domain.labels import MAX_GIVEN, NAME, LabelSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROTOCOL: Final = b"i"
"""First byte of every key, see `Incoming.keys`."""
PRECISIONS: Final = {"": 10**6, "n": 10**6, "ns": 10**6, "u": 1000, "us": 1000, "ms": 1, "s": -1000}
"""By name: how many of the unit are a millisecond; if negative, how many milliseconds are one of it."""
USUAL_ROW_BYTES: Final = 24
SMALLEST_ROW_BYTES: Final = 4
"""A further field of a line: `b=1,`."""
PLAIN: Final = "value"
"""A field of this name adds nothing to the name of the measurement, as with everybody who maps this protocol."""

_TOLD: Final = 1000
"""Bad lines that are counted by their reason; those after them count as `line_refused`."""
_SECRET: Final = np.array([secrets.randbits(walk.SECRET_BITS) for _ in range(walk.SECRETS)], np.int64)
_COMMA: Final = re.compile(rb"(?<!\\),")
_EQUALS: Final = re.compile(rb"(?<!\\)=")
_ESCAPED_IN_NAME: Final = re.compile(rb"\\([, ])")
_ESCAPED: Final = re.compile(rb"\\([,= ])")
_INT64: Final = np.iinfo(np.int64)


def check_precision(precision: str) -> int:
    """Return the divisor of a precision, see `PRECISIONS`.

    Raises:
        Rejected: `precision`: there is no such unit.
    """
    if precision not in PRECISIONS:
        raise Rejected("precision", f"the precision {precision[:40]!r} is none of ns, us, ms, s")
    return PRECISIONS[precision]


def decode_lines(body: bytes, limits: Limits, per_ms: int, now_ms: int, forms: Forms | None = None) -> Incoming:
    """Return the numbers of a body; a bad line counts as one refused sample.

    Args:
        body: lines, in UTF-8.
        limits: in force.
        per_ms: unit of the times, as `check_precision` gives it; parts of a millisecond are cut off.
        now_ms: time of lines without one.
        forms: of bodies that came before; this one may become another. What is returned does not depend on them.

    Raises:
        Rejected: `request_series_limit` or `request_sample_limit`.
    """
    known = None if forms is None else _decode_known(body, limits, per_ms, forms)
    return known or _decode_new(body, limits, per_ms, now_ms, forms)


def _decode_known(body: bytes, limits: Limits, per_ms: int, forms: Forms) -> Incoming | None:
    """Return the numbers of a body that has a form which is known; None if it has none."""
    form = forms.find(body)
    filled = None if form is None else form.filled(body)
    if form is None or filled is None:
        return None
    values, sent = filled
    at_ms, fits = _in_ms(sent, per_ms)
    if not fits.all():
        return None
    keys = form.keys
    check_request_size(limits, len(keys), len(values))
    return Incoming(
        keys=keys,
        labels_of=lambda index: labels_of_key(keys[index]),
        row_series=form.row_series,
        at_ms=at_ms,
        values=values,
        ignored={"strings": 0},
    )


def _decode_new(body: bytes, limits: Limits, per_ms: int, now_ms: int, forms: Forms | None) -> Incoming:
    columns = _walked(body, limits)
    counts = columns.counts.tolist()
    rows, values = columns.rows[: counts[walk.ROWS]], columns.values[: counts[walk.ROWS]]
    check_request_size(limits, counts[walk.SERIES], len(values))
    keys = _keys(body, columns.series[: counts[walk.SERIES]])
    refusals = _refused_lines(columns.bad[: counts[walk.BAD]].tolist(), counts[walk.BAD])
    _read_rest(body, rows, values)
    at_ms, fits = _times(rows, per_ms, now_ms)
    if forms is not None and not (counts[walk.BAD] or counts[walk.STRINGS]):
        forms.learn(body, rows, keys)
    codes = np.where(np.isfinite(values), np.where(fits, 0, walk.TIME), walk.RANGE)
    # nearly always all of them, and then nothing has to be copied
    fit = _fit_rows(rows, codes, refusals) if codes.any() else slice(None)
    return Incoming(
        keys=keys,
        labels_of=lambda index: labels_of_key(keys[index]),
        row_series=np.ascontiguousarray(rows[fit, walk.OF_SERIES]),
        at_ms=at_ms[fit],
        values=values[fit],
        refusals=refusals,
        ignored={"strings": counts[walk.STRINGS]},
    )


def labels_of_key(key: bytes) -> LabelSet:
    """Return the label set of a series' key.

    Raises:
        Rejected: `label_utf8`, or what `LabelSet.of` refuses.
    """
    head, _, field = key[len(PROTOCOL) :].partition(b"\n")
    # what is beyond any limit is not read
    measurement, *tags = _COMMA.split(head, MAX_GIVEN + 1)
    try:
        name, suffix = _ESCAPED_IN_NAME.sub(rb"\1", measurement).decode(), _ESCAPED.sub(rb"\1", field).decode()
        return LabelSet.of(chain(((NAME, name if suffix == PLAIN else f"{name}_{suffix}"),), map(_pair, tags)))
    except UnicodeDecodeError as error:
        raise Rejected("label_utf8", f"a name or tag is not valid UTF-8: {error.object[:40]!r}") from error


def warm_up() -> None:
    """Compile the walk, which takes seconds the first time on a machine, before anybody waits for it."""
    forms = Forms()
    for body in (b'a,b=c d=1,e=2i,f=t,g="h" 1\n', b"a,b=c d=1 1\n"):
        decode_lines(body, Limits(), 1, 0, forms)


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """What `walk.fill_columns` writes; the rows beyond the counts have no meaning."""

    rows: NDArray[np.int64]
    values: NDArray[np.float64]
    series: NDArray[np.int64]
    bad: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def with_room(cls, rows: int) -> _Columns:
        columns, series = np.empty((rows, walk.COLUMNS), np.int64), np.empty((rows, 4), np.int64)
        return cls(columns, np.empty(rows), series, np.empty((_TOLD, 2), np.int64), np.zeros(walk.COUNTS, np.int64))

    def fill(self, body: bytes) -> int:
        table = np.full(1 << (2 * len(self.values)).bit_length(), -1, np.int64)
        data = walk.message_bytes(body)
        return walk.fill_columns(data, _SECRET, self.rows, self.values, self.series, table, self.bad, self.counts)


def _walked(body: bytes, limits: Limits) -> _Columns:
    """Walk a body with room for what is usual, and again with room for all that is allowed if that was too little."""
    most = min(len(body) // SMALLEST_ROW_BYTES, limits.max_samples_per_request) + 1
    columns = _Columns.with_room(min(len(body) // USUAL_ROW_BYTES + 1, most))
    if columns.fill(body) == -walk.FULL:
        columns = _Columns.with_room(most)
        if columns.fill(body) == -walk.FULL:
            check_request_size(limits, 0, most)
    return columns


def _keys(body: bytes, series: NDArray[np.int64]) -> Keys:
    """Return the keys of series; no newline is in a name, so it tells the field from the rest.

    Raises:
        Rejected: `decoded_too_large`: each field of a line has its tags, which can be long.
    """
    sizes = series[:, 1] - series[:, 0] + series[:, 3] - series[:, 2] + len(PROTOCOL) + 1
    check_key_bytes(int(sizes.sum()))
    out, ends = np.empty(int(sizes.sum()), np.uint8), np.empty(len(series), np.int64)
    walk.write_keys(walk.message_bytes(body), series, PROTOCOL[0], out, ends)
    return Keys.side_by_side(out.tobytes(), ends)


def _pair(tag: bytes) -> tuple[str, str]:
    name, value = _EQUALS.split(tag, 1)
    return _ESCAPED.sub(rb"\1", name).decode(), _ESCAPED.sub(rb"\1", value).decode()


def _refused_lines(found: list[list[int]], count: int) -> Refusals:
    refusals = Refusals()
    for line, code in found:
        _refuse(line, code, refusals)
    if count > len(found):
        refusals.counts["line_refused"] += count - len(found)
    return refusals


def _refuse(line: int, code: int, refusals: Refusals) -> None:
    reason, sentence = walk.ERRORS[code]
    refusals.add(Refusal(reason, f"line {line}: {sentence}"))


def _read_rest(body: bytes, rows: NDArray[np.int64], values: NDArray[np.float64]) -> None:
    """Read the numbers whose digits are too many for the walk; one that is too large becomes infinite."""
    left = np.flatnonzero(rows[:, walk.VALUE_END])
    places = rows[left, walk.VALUE_AT : walk.VALUE_END + 1].tolist()
    values[left] = [float(body[at:end].rstrip(b"iu")) for at, end in places]


def _times(rows: NDArray[np.int64], per_ms: int, now_ms: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return times in milliseconds, and which of them fit into 64 bits."""
    at_ms, fits = _in_ms(rows[:, walk.AT], per_ms)
    return np.where(rows[:, walk.TIMED] == 1, at_ms, now_ms), fits


def _in_ms(sent: NDArray[np.int64], per_ms: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return times as sent in milliseconds, and which of them fit into 64 bits."""
    if per_ms == 1:
        return sent, np.ones(len(sent), np.bool_)
    if per_ms > 0:
        return sent // per_ms, np.ones(len(sent), np.bool_)
    fits = (sent <= _INT64.max // -per_ms) & (sent >= -(_INT64.max // -per_ms))
    return np.where(fits, sent, 0) * -per_ms, fits


def _fit_rows(rows: NDArray[np.int64], codes: NDArray[np.int64], refusals: Refusals) -> NDArray[np.bool_]:
    """Refuse the lines that have a row with an error's code; return which rows stay."""
    wrong = np.flatnonzero(codes)
    lines, first = np.unique(rows[wrong, walk.LINE], return_index=True)
    for line, code in zip(lines.tolist(), codes[wrong[first]].tolist(), strict=True):
        _refuse(line, code, refusals)
    return ~np.isin(rows[:, walk.LINE], lines)
