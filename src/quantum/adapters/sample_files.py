"""Files of samples: CSV in a long or a wide form, and the Prometheus text format.

Long CSV has a row per sample: `timestamp,value` and a column per label; wide CSV has a row per time: `timestamp` and a
column per series, named in Prometheus notation. An empty cell is no sample. Timestamps are ISO 8601, or epoch seconds
or milliseconds. The value `stale` is the staleness marker, which says that a series has ended.
"""

from __future__ import annotations

import csv
import re
from array import array
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from prometheus_client.parser import text_fd_to_metric_families

from quantum.adapters.csv_files import BadFile, milliseconds
from quantum.application.ingest import Incoming
from quantum.domain.errors import Rejected
from quantum.domain.labels import NAME, LabelSet, MatchOp
from quantum.domain.presence import STALENESS_MARKER
from quantum.domain.selectors import parse_selector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TextIO

    from quantum.application.transfer import History

ROWS_PER_BATCH: Final = 50_000
STALE: Final = "stale"
TIMESTAMP, VALUE = "timestamp", "value"

_STALE_VALUE: Final = float(STALENESS_MARKER.view(np.float64))

_PLAIN_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_PLAIN_LABEL: Final = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")

Identity = tuple[tuple[str, str], ...]


class Batches:
    """Gathers rows into batches of `ROWS_PER_BATCH`; the label set of each distinct series is made once."""

    def __init__(self) -> None:
        self._known: dict[Identity, LabelSet] = {}
        self._begin()

    def _begin(self) -> None:
        self._index: dict[LabelSet, int] = {}
        self._series, self._times, self._values = array("q"), array("q"), array("d")

    def add(self, identity: Identity, at_ms: int, value: float) -> None:
        """Add a row.

        Raises:
            Rejected: the label set cannot be.
        """
        labels = self._known.get(identity)
        if labels is None:
            labels = self._known[identity] = LabelSet.of(identity)
        self._series.append(self._index.setdefault(labels, len(self._index)))
        self._times.append(at_ms)
        self._values.append(value)

    @property
    def full(self) -> bool:
        """Whether it is time to take the batch."""
        return len(self._times) >= ROWS_PER_BATCH

    def take(self) -> Incoming:
        """Return what was gathered and begin anew."""
        labels = list(self._index)
        taken = Incoming(
            keys=[b"l" + one.canonical() for one in labels],
            labels_of=labels.__getitem__,
            row_series=np.array(self._series, np.int64),
            at_ms=np.array(self._times, np.int64),
            values=np.array(self._values, np.float64),
        )
        self._begin()
        return taken


def read_csv(path: str, file: TextIO, name: str) -> Iterator[Incoming]:
    """Yield the samples of a CSV file in batches.

    Args:
        path: for messages.
        file: opened with `newline=""`.
        name: metric name of rows in the long form that have no column `__name__`.

    Raises:
        BadFile: the message has the line.
    """
    reader = csv.reader(file)
    batches = Batches()
    try:
        header = [cell.strip() for cell in next(reader, [])]
        add = _row_adder(header, name, batches)
        for cells in reader:
            if len(cells) not in {0, len(header)}:
                raise BadFile(f"{path}:{reader.line_num}: {len(cells)} cells in a row, {len(header)} in the header")
            if cells:
                add(cells)
            if batches.full:
                yield batches.take()
    except UnicodeDecodeError:
        raise BadFile(f"{path}: not a text file in UTF-8") from None
    except (ValueError, Rejected, csv.Error) as error:
        raise BadFile(f"{path}:{max(1, reader.line_num)}: {error}") from None
    yield batches.take()


def _row_adder(header: Sequence[str], name: str, batches: Batches) -> Callable[[list[str]], None]:
    """Return what adds a row of cells to the batches."""
    if header.count(TIMESTAMP) != 1 or len(header) < 2 or header.count(VALUE) > 1:  # noqa: PLR2004 - a time, a value
        found = ",".join(header)[:100] or "nothing"
        raise ValueError(f"the header needs `timestamp` once, and `value` or a column per series; found: {found}")
    time_column = header.index(TIMESTAMP)
    if VALUE in header:
        return _long_adder(header, time_column, name, batches)
    columns = [(place, _identity(cell)) for place, cell in enumerate(header) if place != time_column]

    def add(cells: list[str]) -> None:
        at_ms = milliseconds(cells[time_column])
        for place, identity in columns:
            if cells[place].strip():
                batches.add(identity, at_ms, number(cells[place]))

    return add


def _long_adder(header: Sequence[str], time_column: int, name: str, batches: Batches) -> Callable[[list[str]], None]:
    value_column = header.index(VALUE)
    labels = [(place, cell) for place, cell in enumerate(header) if place not in {time_column, value_column}]
    constant = () if NAME in header else ((NAME, name),)

    def add(cells: list[str]) -> None:
        if cells[value_column].strip():
            identity = constant + tuple((label, cells[place]) for place, label in labels if cells[place])
            batches.add(identity, milliseconds(cells[time_column]), number(cells[value_column]))

    return add


def _identity(text: str) -> Identity:
    """Return the labels of a column's name in Prometheus notation."""
    matchers = parse_selector(text)
    if any(matcher.op is not MatchOp.EQUAL for matcher in matchers):
        raise ValueError(f"the column {text[:80]!r} must name one series, with `=` only")
    return tuple((matcher.label, matcher.value) for matcher in matchers)


def number(text: str) -> float:
    """Return a value; `stale` is the staleness marker.

    Raises:
        ValueError: it is no number.
    """
    text = text.strip()
    if text == STALE:
        return _STALE_VALUE
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"cannot read value `{text[:40]}` as a number") from None


class _Lines:
    """The lines of a file, counted as they are read."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.count = 0

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            self.count += 1
            yield line


def read_text(path: str, file: TextIO, now_ms: int) -> Iterator[Incoming]:
    """Yield the samples of a file in the Prometheus text format; those without a time have `now_ms`.

    Args:
        path: for messages.
        file: its lines end with a line feed only: a carriage return is a character like any other.
        now_ms: Unix milliseconds.

    Raises:
        BadFile: the message has the line.
    """
    lines: Any = _Lines(file)
    batches = Batches()
    try:
        for family in text_fd_to_metric_families(lines):
            for sample in family.samples:
                at_ms = now_ms if sample.timestamp is None else round(float(sample.timestamp) * 1000)
                batches.add(((NAME, sample.name), *sample.labels.items()), at_ms, sample.value)
                if batches.full:
                    yield batches.take()
    except UnicodeDecodeError:
        raise BadFile(f"{path}: not a text file in UTF-8") from None
    except (ValueError, IndexError, KeyError, OverflowError, Rejected) as error:
        raise BadFile(f"{path}:{max(1, lines.count)}: not the Prometheus text format: {error}") from None
    yield batches.take()


class CsvWriter:
    """Writes long CSV (RFC 4180): `timestamp,value` and a column for each label that any of the series has.

    Raises:
        BadFile: a label cannot be a column.
    """

    def __init__(self, file: TextIO, series: Sequence[LabelSet]) -> None:
        self._writer = csv.writer(file, lineterminator="\r\n")
        self._labels = sorted({label for one in series for label, _ in one.pairs})
        for label in self._labels:
            if label.strip() in {"", TIMESTAMP, VALUE} or label != label.strip():
                raise BadFile(f"CSV has no column for the label {label!r}; choose other series")
        self._writer.writerow([TIMESTAMP, VALUE, *self._labels])

    def write(self, history: History) -> int:
        """Write a series; return how many rows that were."""
        times = np.datetime_as_string(history.at_ms.astype("datetime64[ms]"), timezone="UTC").tolist()
        labels = [history.labels.get(label) for label in self._labels]
        self._writer.writerows([at, value, *labels] for at, value in zip(times, _texts(history, STALE), strict=True))
        return len(times)


class TextWriter:
    """Writes the Prometheus text format, in which staleness markers have no place: they are left out.

    Raises:
        BadFile: a name has characters that the format cannot express.
    """

    def __init__(self, file: TextIO, series: Sequence[LabelSet]) -> None:
        for labels in series:
            plain = all(_PLAIN_LABEL.fullmatch(name) for name, _ in labels.pairs if name != NAME)
            if not (plain and _PLAIN_NAME.fullmatch(labels.name)):
                raise BadFile(f"the text format has no place for the name of {labels}; export CSV")
        self._file = file

    def write(self, history: History) -> int:
        """Write a series; return how many rows that were."""
        rows = [
            f"{history.labels} {value} {at_ms}\n"
            for at_ms, value in zip(history.at_ms.tolist(), _texts(history, ""), strict=True)
            if value
        ]
        self._file.writelines(rows)
        return len(rows)


def _texts(history: History, stale: str) -> list[str]:
    """Return the values as the shortest text that is read back bit by bit, except that every other NaN is `nan`."""
    marked = (history.values.view(np.uint64) == STALENESS_MARKER).tolist()
    return [stale if mark else repr(value) for value, mark in zip(history.values.tolist(), marked, strict=True)]
