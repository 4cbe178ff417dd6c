"""Expositions: split as the parser of Prometheus' own client understands them, and one bad line sinks nobody else."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, generate_latest
from prometheus_client.openmetrics import exposition as open_exposition
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse

from quantum.adapters.exposition import labels_of, split
from quantum.domain.errors import Rejected

NAMES = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,8}", fullmatch=True)
ENDS_OF_LINES = "\x00\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
SPECIAL = {math.inf: "+Inf", -math.inf: "-Inf"}
LABELS = st.dictionaries(
    st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,6}", fullmatch=True).filter(lambda name: name[:2] != "__"),
    st.text(
        st.characters(codec="utf-8", exclude_characters="\x00\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), max_size=12
    ),
    max_size=4,
)
NUMBERS = st.one_of(st.floats(), st.integers(-(10**9), 10**9).map(float))
TIMES = st.none() | st.integers(-(2**52), 2**52)


def escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


@st.composite
def lines(draw: st.DrawFn) -> str:
    labels = ",".join(f'{name}="{escaped(value)}"' for name, value in draw(LABELS).items())
    name, value, at_ms = draw(NAMES), draw(NUMBERS), draw(TIMES)
    written = (
        "NaN" if math.isnan(value) else "+Inf" if value == math.inf else "-Inf" if value == -math.inf else repr(value)
    )
    spaces = draw(st.sampled_from([" ", "  ", "\t"]))
    braces = f"{{{labels}}}" if labels or draw(st.booleans()) else ""
    return f"{name}{braces}{spaces}{written}{'' if at_ms is None else f' {at_ms}'}"


def understood(text: str) -> list[tuple[dict[str, str], float, int | None]]:
    found = split(text.encode(), is_open=False)
    assert found.refused == 0
    rows = zip(found.series, found.values, found.at_ms, strict=True)
    return [(labels_of(series), value, at_ms) for series, value, at_ms in rows]


@given(st.lists(lines(), max_size=6))
def test_lines_are_understood_as_the_client_library_does(written: list[str]) -> None:
    for line in written:
        (family,) = parse(line + "\n")
        (sample,) = family.samples
        ((labels, value, at_ms),) = understood(f"# HELP x y\n{line}\n\n")
        assert labels == {"__name__": sample.name, **sample.labels}
        assert repr(value) == repr(sample.value)
        assert at_ms == (None if sample.timestamp is None else round(float(sample.timestamp) * 1000))


def test_what_the_client_library_exposes_is_understood_whole() -> None:
    registry = CollectorRegistry()
    Gauge("g", 'a "gauge" \\ {', ["odd"], registry=registry).labels('a"b\\c} d').set(-0.5)
    Counter("c", "counter", registry=registry).inc(3)
    Histogram("h", "histogram", registry=registry).observe(0.2)
    Summary("s", "summary", registry=registry).observe(7)
    plain: bytes = generate_latest(registry)  # type: ignore[no-untyped-call, unused-ignore]
    opened: bytes = open_exposition.generate_latest(registry)  # type: ignore[no-untyped-call, unused-ignore]
    for body, parser, is_open in (
        (plain, parse, False),
        (opened, parse_open, True),
    ):
        found = split(body, is_open=is_open)
        expected = [one for family in parser(body.decode()) for one in family.samples]
        assert found.refused == 0
        assert [labels_of(series) for series in found.series] == [{"__name__": o.name, **o.labels} for o in expected]
        assert found.values == [one.value for one in expected]


def test_times_of_openmetrics_are_seconds_and_exemplars_are_left_out() -> None:
    """S22 and S26."""
    body = b'# TYPE a counter\na_total{x="#"} 1.0 1700000000.1234 # {id="1"} 0.5 1700000000\n# EOF\n'
    found = split(body, is_open=True)
    assert (found.series, found.values, found.at_ms) == ([b'a_total{x="#"}'], [1.0], [1_700_000_000_123])


def test_openmetrics_that_is_cut_off_is_refused() -> None:
    """S24 and S25: nothing may follow what says that it is the last line."""
    for body in (b"a 1\n", b"", b"a 1\n# EOF\nb 2\n"):
        with pytest.raises(Rejected, match="# EOF"):
            split(body, is_open=True)


@pytest.mark.parametrize(
    "line",
    [
        "a",
        "a b",
        "1a 1",
        pytest.param('a{b="c} 1', id="S15"),
        pytest.param("a 0x1p-2", id="S21 hexadecimal"),
        pytest.param("a ", id="S21 nothing"),
        pytest.param("a\0 1", id="S32"),
        "a{b=} x",
        "a 1 2 3",
        pytest.param("a 1_0", id="S21 underscore"),
        "a 1 99999999999999999999",
        "<html>",
        '{} "',
        "a 1 x",
    ],
)
def test_a_line_that_makes_no_sense_is_counted_and_named_and_its_neighbours_stay(line: str) -> None:
    found = split(f"good 1\n{line}\nbetter 2\n".encode(), is_open=False)
    assert (found.refused, found.told) == (1, [2])
    assert found.series == [b"good", b"better"]


@given(st.binary(max_size=200))
def test_any_bytes_are_split_or_counted(body: bytes) -> None:
    found = split(body, is_open=False)
    said = [line for line in body.split(b"\n") if line.lstrip() and line.lstrip()[:1] != b"#"]
    assert len(found.series) + found.refused == len(said)
    for series in found.series:
        with suppress(Rejected):
            assert labels_of(series)


def test_a_long_line_that_nearly_fits_takes_no_longer_than_its_length() -> None:
    found = split(b"a{" + b'x="' * 200_000 + b"\n", is_open=False)
    assert found.refused == 1


@pytest.mark.parametrize(
    ("text", "value"), [("+Inf", math.inf), ("inf", math.inf), ("-Inf", -math.inf), ("1e3", 1000.0)]
)
def test_s21_numbers_are_those_of_the_format(text: str, value: float) -> None:
    assert split(f"a {text}\n".encode(), is_open=False).values == [value]


def test_s16_an_escape_that_is_none_is_two_characters() -> None:
    assert labels_of(b'a{b="\\q"}') == {"__name__": "a", "b": "\\q"}


@pytest.mark.parametrize("series", [b"{}", b'{b="c"}'])
def test_s17_labels_without_a_name_are_no_series(series: bytes) -> None:
    with pytest.raises(Rejected, match="is no series"):
        labels_of(series)
