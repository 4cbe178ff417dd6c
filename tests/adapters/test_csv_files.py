"""CSV files: every way to write a time is read, every fault is named with its line."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum.adapters.csv_files import LATEST_MS, BadFile, milliseconds, read_series, write_scored
from quantum.domain.scoring import Scores

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, text: str) -> Path:
    path = folder / "series.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2014-02-14 14:30:00", 1_392_388_200_000),
        ("2014-02-14T14:30:00", 1_392_388_200_000),
        ("2014-02-14T14:30:00Z", 1_392_388_200_000),
        ("2014-02-14T15:30:00+01:00", 1_392_388_200_000),
        ("2014-02-14T14:30:00.250", 1_392_388_200_250),
        ("1392388200", 1_392_388_200_000),
        ("1392388200.5", 1_392_388_200_500),
        (" 1392388200000 ", 1_392_388_200_000),
        ("-1", -1000),
    ],
)
def test_every_usual_way_to_write_a_time_is_read(text: str, expected: int) -> None:
    assert milliseconds(text) == expected


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)))  # noqa: DTZ001 - times without a zone are UTC
def test_iso_times_without_a_zone_are_utc_to_the_millisecond(moment: datetime) -> None:
    expected = round(moment.replace(tzinfo=UTC).timestamp() * 1000.0)
    assert milliseconds(moment.isoformat()) == milliseconds(moment.isoformat(" ")) == expected


@pytest.mark.parametrize("text", ["yesterday", "", "nan", "inf", "1e300", "2014-13-01", str(LATEST_MS * 10)])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="timestamp"):
        milliseconds(text)


def test_the_header_is_matched_in_any_case_and_order_and_other_columns_are_kept(tmp_path: Path) -> None:
    series = read_series(write(tmp_path, '\ufeffHost, Value ,TIMESTAMP\na,1.5,60\n\nb,,120\n"c,d",NaN,180\n'))
    assert series.header == ["Host", " Value ", "TIMESTAMP"]
    assert series.rows == [["a", "1.5", "60"], ["b", "", "120"], ["c,d", "NaN", "180"]]
    assert series.at_ms.tolist() == [60_000, 120_000, 180_000]
    assert np.array_equal(series.values, [1.5, np.nan, np.nan], equal_nan=True)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", r"series.csv:1: the header needs exactly one column `timestamp`, found: nothing"),
        ("time,value\n", r"series.csv:1: the header needs exactly one column `timestamp`, found: time,value"),
        ("timestamp,value,Value\n", r"series.csv:1: the header needs exactly one column `value`"),
        ("timestamp,value\n60,1\n120,many\n", r"series.csv:3: cannot read value `many` as a number"),
        ("timestamp,value\nnoon,1\n", r"series.csv:2: cannot read timestamp `noon`"),
        ("timestamp,value\n60\n", r"series.csv:2: 1 cells in a row, 2 in the header"),
        ("timestamp,value\n60," + "9" * 200_000 + "\n", r"series.csv: not a CSV file"),
    ],
)
def test_a_fault_is_told_with_file_and_line(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(BadFile, match=sentence):
        read_series(write(tmp_path, text))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "series.csv"
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(BadFile, match="not a text file in UTF-8"):
        read_series(path)


def test_what_is_written_are_the_input_columns_and_four_more_with_empty_cells_for_what_is_unknown(
    tmp_path: Path,
) -> None:
    series = read_series(write(tmp_path, 'timestamp,value,note\n60,1,"a,b"\n120,,\n'))
    nothing = np.array([1.0, np.nan])
    out = io.StringIO()
    write_scored(out, series, np.array([0.25, np.nan]), Scores(np.zeros(2), nothing, nothing - 1, nothing + 1))
    assert out.getvalue() == (
        'timestamp,value,note,anomaly_score,expected,lower,upper\n60,1,"a,b",0.25,1,0,2\n120,,,,,,\n'
    )
