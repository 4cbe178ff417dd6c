"""CSV files of one series: `timestamp,value` in, the same columns and four more out.

Timestamps are ISO 8601 (space or T, offset or Z or neither, which means UTC) or Unix epoch seconds or milliseconds
(numbers from 1e11 on are milliseconds). Other columns are carried along untouched. An empty or NaN value is a missing
value, not an error. The order of the rows is kept; a row that is not later than one before it is late: the detector
scores it 0 and does not learn it.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TextIO

import numpy as np

from quantum.domain.errors import QuantumError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from quantum.domain.scoring import Scores

MILLISECONDS_FROM: Final = 1e11
"""Epoch numbers from here on are milliseconds: as seconds this would be the year 5138."""
LATEST_MS: Final = 253_402_300_799_999
"""The end of the year 9999."""
ADDED: Final = ("anomaly_score", "expected", "lower", "upper")


class BadFile(QuantumError):
    """A file cannot be read as a series; the message names the file and the line."""


@dataclass(frozen=True, slots=True)
class SeriesFile:
    """One file as it was read.

    Attributes:
        header: the names of its columns.
        rows: its cells as text, in the order of the file.
        at_ms: int64, shape (n,), Unix milliseconds.
        values: float64, shape (n,), NaN where the value is missing.
    """

    header: list[str]
    rows: list[list[str]]
    at_ms: NDArray[np.int64]
    values: NDArray[np.float64]


def read_series(path: Path) -> SeriesFile:
    """Read one file.

    Raises:
        BadFile: no header with `timestamp` and `value`, or a row that cannot be understood.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _read(path, file)
    except UnicodeDecodeError as error:
        raise BadFile(f"{path}: not a text file in UTF-8") from error
    except csv.Error as error:
        raise BadFile(f"{path}: not a CSV file: {error}") from error


def _read(path: Path, file: TextIO) -> SeriesFile:
    reader = csv.reader(file)
    header = next(reader, [])
    time_column, value_column = _column(path, header, "timestamp"), _column(path, header, "value")
    rows: list[list[str]] = []
    times: list[int] = []
    values: list[float] = []
    for cells in reader:
        if not cells:
            continue
        if len(cells) != len(header):
            raise BadFile(f"{path}:{reader.line_num}: {len(cells)} cells in a row, {len(header)} in the header")
        try:
            times.append(milliseconds(cells[time_column]))
            values.append(_value(cells[value_column]))
        except ValueError as error:
            raise BadFile(f"{path}:{reader.line_num}: {error}") from error
        rows.append(cells)
    return SeriesFile(header, rows, np.array(times, np.int64), np.array(values, np.float64))


def _column(path: Path, header: Sequence[str], name: str) -> int:
    names = [cell.strip().lower() for cell in header]
    if names.count(name) != 1:
        raise BadFile(f"{path}:1: the header needs exactly one column `{name}`, found: {','.join(header) or 'nothing'}")
    return names.index(name)


def milliseconds(text: str) -> int:
    """Return a timestamp as Unix milliseconds.

    Raises:
        ValueError: it is neither ISO 8601 nor an epoch number up to the year 9999.

    >>> milliseconds("1970-01-01 00:00:01"), milliseconds("1.5"), milliseconds("1700000000000")
    (1000, 1500, 1700000000000)
    """
    text = text.strip()
    try:
        number = float(text)
    except ValueError:
        return _iso_milliseconds(text)
    scaled = number if abs(number) >= MILLISECONDS_FROM else number * 1000.0
    if not abs(scaled) <= LATEST_MS:
        raise ValueError(f"timestamp `{text}` is out of range")
    return round(scaled)


def _iso_milliseconds(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"cannot read timestamp `{text}`: neither ISO 8601 nor epoch seconds or milliseconds"
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000.0)


def _value(text: str) -> float:
    text = text.strip()
    if not text:
        return float("nan")
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"cannot read value `{text}` as a number") from None


def write_scored(file: TextIO, series: SeriesFile, told: NDArray[np.float64], scores: Scores) -> None:
    """Write the input's columns and `ADDED`; a cell without a meaning (missing value, no band yet) is empty.

    Args:
        file: open for writing text.
        series: what was read.
        told: the column `anomaly_score`, shape (n,), NaN where there is none.
        scores: where the band comes from.
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*series.header, *ADDED])
    added = zip(*(_cells(column) for column in (told, scores.expected, scores.lower, scores.upper)), strict=True)
    writer.writerows([*cells, *more] for cells, more in zip(series.rows, added, strict=True))


def _cells(column: NDArray[np.float64]) -> list[str]:
    return ["" if number != number else format(number, ".6g") for number in column.tolist()]  # noqa: PLR0124
