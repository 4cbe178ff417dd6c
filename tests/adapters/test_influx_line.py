"""Line protocol: compared with a slow reference on sound, mutated and random bytes, compiled and not."""

from __future__ import annotations

import importlib.util
import math
import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quantum.adapters import influx_line, influx_line_walk
from quantum.application.ingest import Incoming, Limits
from quantum.domain import kernels
from quantum.domain.errors import Rejected
from quantum.domain.labels import LabelSet

if TYPE_CHECKING:
    from types import ModuleType

LIMITS: Final = Limits()
NOW_MS: Final = 1_800_000_000_000
NAME: Final = rb"(?:\\[, =]|\\(?![, =])|[^\\, =\n\r]|\r(?!\n|\Z))+"
MEASUREMENT: Final = rb"(?:\\[, ]|\\(?![, ])|[^\\, \n\r]|\r(?!\n|\Z))+"
TEXT: Final = rb'"(?:\\[\s\S]|[^"\\])*"'
BARE: Final = rb"(?!\x22)(?:[^, \n\r]|\r(?!\n|\Z))*"
LINE: Final = re.compile(
    rb"(?P<head>%b(?:,%b=%b)*)[ \t]+(?P<fields>%b=(?:%b|%b)(?:,%b=(?:%b|%b))*)"
    rb"(?:[ \t]+(?P<time>-?\d+))?[ \t]*(?=\r?(?:\n|\Z))" % (MEASUREMENT, NAME, NAME, NAME, TEXT, BARE, NAME, TEXT, BARE)
)
FIELD: Final = re.compile(rb"(%b)=(%b|%b)(?:,|\Z)" % (NAME, TEXT, BARE.replace(rb"\Z", rb"(?!)")))
"""Of the fields cut out of a line, whose end is not the end of the body."""
FLOAT: Final = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
WORDS: Final = dict.fromkeys([b"t", b"T", b"true", b"True", b"TRUE"], 1.0) | dict.fromkeys(
    [b"f", b"F", b"false", b"False", b"FALSE"], 0.0
)
Row = tuple[bytes, int, float, int]


def reference_value(text: bytes) -> float | None:
    """The number of a field, or None if it is none."""
    if text in WORDS:
        return WORDS[text]
    if FLOAT.fullmatch(text):
        value = float(text)
        return value if math.isfinite(value) else None
    if re.fullmatch(rb"[+-]?\d+i", text):
        number = int(text[:-1])
        return float(number) if -(2**63) <= number < 2**63 else None
    if re.fullmatch(rb"\+?\d+u", text):
        number = int(text[:-1])
        return float(number) if number < 2**64 else None
    return None


def reference_line(body: bytes, at: int) -> tuple[list[tuple[bytes, int, float]], int, int] | None:
    """Rows (key, time, value), texts and the end of the line at a place; None if it makes no sense."""
    found = LINE.match(body, at)
    if found is None:
        return None
    time = int(found["time"]) if found["time"] else NOW_MS
    fields = FIELD.findall(found["fields"])
    rows = []
    for name, text in fields:
        if text[:1] == b'"':
            continue
        value = reference_value(text)
        if value is None or not -(2**63) < time < 2**63:
            return None
        rows.append((b"i" + found["head"] + b"\n" + name, time, value))
    if not -(2**63) < time < 2**63:
        return None
    return rows, len(fields) - len(rows), found.end()


def reference(body: bytes) -> tuple[list[tuple[bytes, int, float]], int, list[int]]:
    """Rows, number of texts and numbers of bad lines."""
    rows, texts, bad, at, line = [], 0, [], 0, 0
    while at < len(body):
        line += 1
        begin = at
        while at < len(body) and body[at] in b" \t":
            at += 1
        blank = re.compile(rb"\r?(?:\n|\Z)").match(body, at) or body[at : at + 1] == b"#"
        if not blank:
            understood = reference_line(body, at)
            if understood is None:
                bad.append(line)
            else:
                rows += understood[0]
                texts += understood[1]
                line += body.count(b"\n", begin, understood[2])
                at = understood[2]
        newline = body.find(b"\n", at)
        at = len(body) if newline < 0 else newline + 1
    return rows, texts, bad


@pytest.fixture(name="interpreted", scope="module")
def without_numba() -> ModuleType:
    """The same walk as it runs where numba is not installed."""
    assert influx_line_walk.__spec__ is not None
    spec = importlib.util.spec_from_file_location("walk_without_numba", influx_line_walk.__spec__.origin)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as hidden:
        hidden.setattr(kernels, "njit", None)
        spec.loader.exec_module(module)
    assert module.message_bytes(b"x") == b"x"
    return module


@pytest.fixture(name="decode", params=["compiled", "interpreted"])
def either_decoder(request: pytest.FixtureRequest, interpreted: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`decode_lines` with times in milliseconds, once on the compiled walk and once on the interpreted one."""
    if request.param == "interpreted":
        monkeypatch.setattr(influx_line, "walk", interpreted)
    return decode_ms


def decode_ms(body: bytes) -> Incoming:
    return influx_line.decode_lines(body, LIMITS, 1, NOW_MS)


def rows_of(incoming: Incoming) -> list[tuple[bytes, int, float]]:
    keys = [incoming.keys[index] for index in incoming.row_series.tolist()]
    return list(zip(keys, incoming.at_ms.tolist(), incoming.values.tolist(), strict=True))


def named(incoming: Incoming) -> list[tuple[str, int, float]]:
    return [(str(influx_line.labels_of_key(key)), at_ms, value) for key, at_ms, value in rows_of(incoming)]


def test_fields_are_series_and_tags_their_labels(decode: Any) -> None:
    incoming = decode(b"cpu,host=a,region=eu usage=1.5,value=2i 7\nup value=t\n")
    assert named(incoming) == [
        ('cpu_usage{host="a",region="eu"}', 7, 1.5),
        ('cpu{host="a",region="eu"}', 7, 2.0),
        ("up", NOW_MS, 1.0),
    ]


def test_lines_of_one_series_share_its_key(decode: Any) -> None:
    incoming = decode(b"m,a=b v=1 1\nm,a=c v=2 1\nm,a=b v=3 2\n" * 5)
    assert len(incoming.keys) == 2
    assert incoming.row_series.tolist() == [0, 1, 0] * 5


def test_escaped_characters_are_part_of_names(decode: Any) -> None:
    incoming = decode(rb"my\ cpu\,x,ho\=st=a\ b\,c,p=C:\dir\n us\ age=1 1")
    assert incoming.labels_of(0) == LabelSet.of({"__name__": "my cpu,x_us age", "ho=st": "a b,c", "p": r"C:\dir\n"})


@pytest.mark.parametrize(("text", "value"), [(b"t", 1), (b"TRUE", 1), (b"True", 1), (b"f", 0), (b"false", 0)])
def test_l11_booleans_are_one_and_zero(decode: Any, text: bytes, value: float) -> None:
    assert decode(b"m v=" + text).values.tolist() == [value]


def test_l7_texts_are_ignored_and_counted_even_with_newlines_and_commas(decode: Any) -> None:
    incoming = decode(b'm a="x, y=\\"1\\"\nn",b=2,c="" 5\nbad\nm v=1')
    assert incoming.ignored == {"strings": 2}
    assert incoming.values.tolist() == [2.0, 1.0]
    assert incoming.refusals.examples[0].message.startswith("line 3: ")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param(b"cpu,host=a", "line_fields", id="L1 L2 no fields"),
        pytest.param(b"cpu ", "line_fields", id="L2 nothing after the space"),
        pytest.param(b"cpu v=1 \xff", "line_time", id="a time that is none"),
        pytest.param(b"cpu,a=b, v=1", "line_tag", id="L3 trailing comma"),
        pytest.param(b"cpu,a=b=c v=1", "line_tag", id="L4 unescaped ="),
        pytest.param(b"cpu,a v=1", "line_tag", id="L4 no ="),
        pytest.param(b"cpu,=b v=1", "line_tag", id="tag without a name"),
        pytest.param(b"cpu,a= v=1", "line_tag", id="L23 empty tag"),
        pytest.param(b",a=b v=1", "line_measurement", id="no measurement"),
        pytest.param(b"cpu v=1 7\\", "line_time", id="L5 lone backslash"),
        pytest.param(b'cpu v="abc', "line_string", id="L6 text without end"),
        pytest.param(b'cpu v="abc"d', "line_value", id="text with something behind"),
        pytest.param(b"cpu v=9223372036854775808i", "line_value_range", id="L8"),
        pytest.param(b"cpu v=-9223372036854775809i", "line_value_range", id="L8 negative"),
        pytest.param(b"cpu v=18446744073709551616u", "line_value_range", id="L8 unsigned"),
        pytest.param(b"cpu v=" + b"9" * 400 + b"i", "line_value_range", id="L8 very long"),
        pytest.param(b"cpu v=-1u", "line_value", id="L9"),
        pytest.param(b"cpu v=1.0i", "line_value", id="L10"),
        pytest.param(b"cpu v=tru", "line_value", id="L11"),
        pytest.param(b"cpu v=tRUE", "line_value", id="L11 mixed"),
        pytest.param(b"cpu v=TrUE", "line_value", id="L11 mixed capitals"),
        pytest.param(b"cpu v=", "line_value", id="no value"),
        pytest.param(b"cpu v=NaN", "line_value", id="NaN"),
        pytest.param(b"cpu v=1e", "line_value", id="exponent without digits"),
        pytest.param(b"cpu v=.", "line_value", id="no digits"),
        pytest.param(b"cpu v=1e999", "line_value_range", id="too large for a float"),
        pytest.param(b"cpu v=1,", "line_fields", id="trailing comma after a field"),
        pytest.param(b"cpu v=1 " + b"1" * 25, "line_time", id="L14"),
        pytest.param(b"cpu v=1 9223372036854775808", "line_time", id="L14 just over"),
        pytest.param(b"cpu v=1 1.5", "line_time", id="L16"),
        pytest.param(b"cpu v=1 -", "line_time", id="sign only"),
        pytest.param(b"cpu " + b",".join(b"f%d=1" % n for n in range(10_000)), "line_field_count", id="L25"),
    ],
)
def test_a_bad_line_is_refused_under_its_number_and_its_neighbours_are_stored(
    decode: Any, line: bytes, reason: str
) -> None:
    incoming = decode(b"good v=1 1\n" + line + b"\ngood v=2 2\n")
    assert dict(incoming.refusals.counts) == {reason: 1}
    assert incoming.refusals.examples[0].message.startswith("line 2: ")
    assert rows_of(incoming) == [(b"igood\nv", 1, 1.0), (b"igood\nv", 2, 2.0)]


def test_l17_l18_l19_returns_comments_and_blanks_are_fine(decode: Any) -> None:
    incoming = decode(b"# comment\r\n\r\n   \t \n  m v=1 5 \r\n\n_m v=2 6\r")
    assert incoming.refusals.counts == {}
    assert rows_of(incoming) == [(b"im\nv", 5, 1.0), (b"i_m\nv", 6, 2.0)]


def test_l26_one_bad_line_among_thousands_is_the_only_one_refused() -> None:
    lines = [b"m,n=%d v=%d 1" % (n, n) for n in range(9999)]
    lines.insert(5000, b"bad line here")
    incoming = decode_ms(b"\n".join(lines))
    assert len(incoming.values) == 9999
    assert [one.message.split(":")[0] for one in incoming.refusals.examples] == ["line 5001"]


def test_very_many_bad_lines_are_all_counted() -> None:
    assert decode_ms(b"bad\n" * 5000).refusals.counts.total() == 5000


def test_l20_a_line_of_megabytes_is_walked_once() -> None:
    assert decode_ms(b"x" * (8 << 20)).refusals.counts == {"line_fields": 1}


@pytest.mark.parametrize(
    ("precision", "sent", "at_ms"),
    [("ns", 1_999_999, 1), ("", 1_000_000, 1), ("us", 1999, 1), ("ms", 5, 5), ("s", 5, 5000), ("ns", -1, -1)],
)
def test_times_are_cut_to_milliseconds(precision: str, sent: int, at_ms: int) -> None:
    per_ms = influx_line.check_precision(precision)
    assert influx_line.decode_lines(b"m v=1 %d" % sent, LIMITS, per_ms, 0).at_ms.tolist() == [at_ms]


def test_l13_other_precisions_are_refused() -> None:
    with pytest.raises(Rejected, match="'h' is none of ns, us, ms, s"):
        influx_line.check_precision("h")


def test_seconds_beyond_64_bits_of_milliseconds_are_refused_with_their_line() -> None:
    incoming = influx_line.decode_lines(b"m v=1 1\nm v=1,w=2 9223372036854775807\n", LIMITS, -1000, 0)
    assert incoming.at_ms.tolist() == [1000]
    assert incoming.refusals.counts == {"line_time": 1}


@pytest.mark.parametrize(
    ("line", "reason"), [(b"m,__name__=x v=1", "duplicate_label"), (b"m,a=\xff v=1", "label_utf8")]
)
def test_l22_l24_labels_that_cannot_be_are_refused_when_they_are_decoded(line: bytes, reason: str) -> None:
    with pytest.raises(Rejected) as refused:
        decode_ms(line).labels_of(0)
    assert refused.value.reason == reason


def test_more_samples_or_series_than_a_request_may_have_are_refused() -> None:
    with pytest.raises(Rejected, match="the limit is 2"):
        influx_line.decode_lines(b"m a=1,b=2,c=3 1", Limits(max_samples_per_request=2), 1, 0)
    with pytest.raises(Rejected, match="3 series in one request"):
        influx_line.decode_lines(b"m a=1,b=2,c=3 1", Limits(max_series_per_request=2), 1, 0)


def test_warming_up_compiles_without_a_trace() -> None:
    influx_line.warm_up()
    assert decode_ms(b"m v=1 1").values.tolist() == [1.0]


@settings(max_examples=400)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_is_read_as_python_reads_it(value: float) -> None:
    for text in (repr(value), f"{value:.3f}", f"{value:.17e}", f"{value:.1f}".rstrip("0")):
        assert decode_ms(f"m v={text}".encode()).values.view(np.int64).tolist() == [np.float64(text).view(np.int64)]


@settings(max_examples=300)
@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**64 - 1), st.integers(0, 3))
def test_every_integer_is_rounded_once(signed: int, unsigned: int, zeros: int) -> None:
    sign = "-" if signed < 0 else ""
    line = f"m v={sign}{'0' * zeros}{abs(signed)}i,w={'0' * zeros}{unsigned}u"
    assert decode_ms(line.encode()).values.tolist() == [float(signed), float(unsigned)]


names = st.text(st.sampled_from("ab\\é#_ "), min_size=1, max_size=4).map(
    lambda text: text.encode().replace(b" ", rb"\ ") if not text.endswith("\\") else b"a"
)
numbers = st.sampled_from(
    [b"1", b"-0", b"2.5e3", b".5", b"7.", b"1i", b"3u", b"t", b"False", b"0.1", b"1e-30", b"9" * 19]
)
strings = st.sampled_from([b'""', b'"a b"', b'"x\ny"', b'"\\""', b'"\\\\"'])
fields = st.lists(st.tuples(names, numbers | strings).map(b"=".join), min_size=1, max_size=3).map(b",".join)
tags = st.lists(st.tuples(names, names).map(b"=".join), max_size=2).map(
    lambda some: b"".join(b"," + one for one in some)
)
times = st.just(b"") | st.integers(-(2**63), 2**63).map(lambda at: b" %d" % at)
lines = st.tuples(names, tags, st.just(b" "), fields, times, st.sampled_from([b"\n", b"\r\n", b"\n\n"])).map(b"".join)
bodies = st.lists(lines, max_size=4).map(b"".join)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Sound lines with stretches cut out or bytes put in."""
    body = bytearray(draw(bodies))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(body)))
        cut = draw(st.integers(0, 3))
        body[at : at + cut] = draw(st.sampled_from([b",", b" ", b"=", b'"', b"\\", b"\n", b"\r", b"1", b"", b"\0"]))
    return bytes(body)


soup = st.lists(st.sampled_from([b"a", b",", b"=", b" ", b'"', b"\\", b"\n", b"\r", b"1", b"i", b"#", b"t"])).map(
    b"".join
)


def agrees(body: bytes) -> None:
    incoming = decode_ms(body)
    rows, texts, bad = reference(body)
    assert rows_of(incoming) == rows
    assert incoming.ignored == {"strings": texts}
    assert incoming.refusals.counts.total() == len(bad)
    told = sorted(int(one.message.split(":")[0].removeprefix("line ")) for one in incoming.refusals.examples)
    assert set(told) <= set(bad)


@settings(max_examples=500)
@given(bodies | mutated() | soup)
@example(b'a s="\nb v=1\n')
@example(b'a s="x\ny" 1\nbad\n')
@example(b"a b=1\r")
def test_lines_are_understood_as_the_reference_does(body: bytes) -> None:
    agrees(body)


@settings(max_examples=200)
@given(mutated() | soup)
def test_the_walk_does_the_same_uncompiled(interpreted: ModuleType, body: bytes) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(influx_line, "walk", interpreted)
        agrees(body)


@given(st.binary(max_size=200))
def test_no_bytes_are_an_error_of_ours(body: bytes) -> None:
    incoming = decode_ms(body)
    assert len(incoming.values) == len(incoming.at_ms) == len(incoming.row_series)
