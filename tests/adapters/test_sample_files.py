"""Files of samples: what is written is read back bit by bit, what is wrong is told with its line."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum.adapters import sample_files
from quantum.adapters.csv_files import BadFile
from quantum.adapters.sample_files import CsvWriter, TextWriter, read_csv, read_text
from quantum.application.transfer import History
from quantum.domain.labels import LabelSet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quantum.application.ingest import Incoming

NOW_MS: Final = 1_800_000_000_000
STALE_BITS: Final = 0x7FF0000000000002

Row = tuple[LabelSet, int, int]


def rows(batches: Iterable[Incoming]) -> list[Row]:
    found = []
    for batch in batches:
        bits = batch.values.view(np.int64).tolist()
        columns = zip(batch.row_series.tolist(), batch.at_ms.tolist(), bits, strict=True)
        found += [(batch.labels_of(index), at_ms, bit) for index, at_ms, bit in columns]
    return found


def readable(batches: Iterable[Incoming]) -> list[tuple[str, int, float]]:
    return [(str(labels), at_ms, float(np.int64(bits).view(np.float64))) for labels, at_ms, bits in rows(batches)]


def csv_rows(text: str, name: str = "n") -> list[tuple[str, int, float]]:
    return readable(read_csv("f.csv", io.StringIO(text, newline=""), name))


def text_rows(text: str) -> list[tuple[str, int, float]]:
    return readable(read_text("f.prom", io.StringIO(text, newline="\n"), NOW_MS))


def test_long_csv_has_a_row_per_sample_and_a_column_per_label() -> None:
    text = "timestamp,value,__name__,host\n2026-01-01T00:00:00Z,1.5,cpu,a\n1767225601,2,mem,\n\n1767225602000,,mem,b\n"
    assert csv_rows(text) == [('cpu{host="a"}', 1767225600000, 1.5), ("mem", 1767225601000, 2.0)]


def test_long_csv_without_a_name_column_takes_the_name_that_is_given() -> None:
    assert csv_rows("value,timestamp\n1,1767225600\n", "disk") == [("disk", 1767225600000, 1.0)]


def test_wide_csv_has_a_row_per_time_and_a_column_per_series() -> None:
    text = 'timestamp,"cpu{host=""a""}",mem\n1767225600,1,\n1767225610, ,2\n'
    assert csv_rows(text) == [('cpu{host="a"}', 1767225600000, 1.0), ("mem", 1767225610000, 2.0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f.csv:1: the header needs `timestamp`"),
        ("time,value\n", "found: time,value"),
        ("timestamp\n1\n", "f.csv:1: the header needs"),
        ("timestamp,value,value\n", "f.csv:1: the header needs"),
        ("timestamp,value\n1,2,3\n", "f.csv:2: 3 cells in a row, 2 in the header"),
        ("timestamp,value\n1,2\nyesterday,2\n", "f.csv:3: cannot read timestamp `yesterday`"),
        ("timestamp,value\n1,two\n", "f.csv:2: cannot read value `two` as a number"),
        ("timestamp,value,a\n1,2,x\0\n", "f.csv:2: "),
        ("timestamp,cpu{\n1,2\n", "f.csv:1: "),
        ('timestamp,"cpu{a!=""b""}"\n1,2\n', "must name one series"),
    ],
)
def test_a_csv_file_that_is_wrong_is_refused_with_the_line(text: str, message: str) -> None:
    with pytest.raises(BadFile) as refused:
        csv_rows(text)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("read", [read_csv, read_text])
def test_a_file_that_is_no_text_is_refused(read: object) -> None:
    file = io.TextIOWrapper(io.BytesIO(b"timestamp,value\n\xff\xfe"), encoding="utf-8")
    with pytest.raises(BadFile, match="not a text file in UTF-8"):
        list(read_csv("f", file, "n") if read is read_csv else read_text("f", file, NOW_MS))


def test_text_format_with_and_without_times() -> None:
    text = '# HELP a b\n# TYPE a counter\na_total{x="y\\n"} 5 1767225600123\n# a comment\nb +Inf\n'
    assert text_rows(text) == [('a_total{x="y\\n"}', 1767225600123, 5.0), ("b", NOW_MS, float("inf"))]


@pytest.mark.parametrize("text", ["a 1\nb one\n", 'a 1\na{x="y" 1\n', "a 1\na 1 1e400\n"])
def test_a_text_file_that_is_wrong_is_refused_with_the_line(text: str) -> None:
    with pytest.raises(BadFile, match=r"^f.prom:2: not the Prometheus text format: "):
        text_rows(text)


def test_large_files_come_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_files, "ROWS_PER_BATCH", 2)
    lines = "".join(f"{1767225600 + n},{n},s{n % 3}\n" for n in range(5))
    batches = list(read_csv("f", io.StringIO("timestamp,value,__name__\n" + lines), "n"))
    assert [len(batch.at_ms) for batch in batches] == [2, 2, 1]
    assert [value for _, _, value in readable(batches)] == [0, 1, 2, 3, 4]
    text = "".join(f"a {n} {1767225600000 + n}\n" for n in range(5))
    assert [len(batch.at_ms) for batch in read_text("f", io.StringIO(text), NOW_MS)] == [2, 2, 1]


@pytest.mark.parametrize("label", ["timestamp", "value", " a", "\t"])
def test_labels_that_cannot_be_columns_are_refused(label: str) -> None:
    with pytest.raises(BadFile, match="CSV has no column"):
        CsvWriter(io.StringIO(), [LabelSet.of({"__name__": "a", label: "b"})])


@pytest.mark.parametrize("labels", [{"__name__": "a b"}, {"__name__": "a", "b c": "d"}, {"__name__": "a", "__b": "c"}])
def test_names_that_the_text_format_cannot_express_are_refused(labels: dict[str, str]) -> None:
    with pytest.raises(BadFile, match="export CSV"):
        TextWriter(io.StringIO(), [LabelSet.of(labels)])


names = st.from_regex(r"[a-z_][a-z0-9][a-z0-9_]{0,4}", fullmatch=True).filter(
    lambda name: name not in {"timestamp", "value"}
)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
label_sets = st.builds(
    lambda name, labels: LabelSet.of({**labels, "__name__": name}), names, st.dictionaries(names, texts, max_size=3)
)
times = st.integers(0, 253_402_300_799_999)
bits = st.floats(allow_nan=False).map(lambda value: int(np.array([value]).view(np.int64)[0]))
histories = st.dictionaries(
    label_sets, st.dictionaries(times, bits | st.just(STALE_BITS), min_size=1, max_size=4), max_size=4
)


def written(found: dict[LabelSet, dict[int, int]], kind: type[CsvWriter | TextWriter]) -> tuple[str, int]:
    file = io.StringIO(newline="")
    writer = kind(file, list(found))
    count = 0
    for labels, samples in found.items():
        values = np.array(list(samples.values()), np.int64).view(np.float64)
        count += writer.write(History(labels, np.array(list(samples), np.int64), values))
    return file.getvalue(), count


@settings(max_examples=200, deadline=None)
@given(histories)
def test_csv_that_is_written_is_read_back_bit_by_bit(found: dict[LabelSet, dict[int, int]]) -> None:
    text, count = written(found, CsvWriter)
    expected = [(labels, at_ms, bit) for labels, samples in found.items() for at_ms, bit in samples.items()]
    assert rows(read_csv("f", io.StringIO(text, newline=""), "n")) == expected
    assert count == len(expected)


@settings(max_examples=200, deadline=None)
@given(histories)
def test_text_that_is_written_is_read_back_without_staleness_markers(found: dict[LabelSet, dict[int, int]]) -> None:
    text, count = written(found, TextWriter)
    expected = {
        (labels, at_ms, bit) for labels, samples in found.items() for at_ms, bit in samples.items() if bit != STALE_BITS
    }
    assert set(rows(read_text("f", io.StringIO(text, newline="\n"), NOW_MS))) == expected
    assert count == len(expected)
