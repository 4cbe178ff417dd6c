"""Columnar JSON: what is wrong with the body names its place, what is wrong with a series stays with it."""

from __future__ import annotations

import json
import sys
from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum.adapters.columnar_json import decode_columnar_json
from quantum.application.ingest import Limits
from quantum.domain.errors import Rejected
from quantum.domain.labels import LabelSet

LIMITS: Final = Limits()
UP: Final = '{"__name__":"up"}'


def body(times: str = "1", values: str = "1", labels: str = UP) -> bytes:
    return f'{{"series":[{{"labels":{labels},"timestamps_ms":[{times}],"values":[{values}]}}]}}'.encode()


def refusal(content: bytes) -> Rejected:
    with pytest.raises(Rejected) as refused:
        decode_columnar_json(content, LIMITS)
    return refused.value


def label_refusal(labels: str) -> Rejected:
    with pytest.raises(Rejected) as refused:
        decode_columnar_json(body(labels=labels), LIMITS).labels_of(0)
    return refused.value


def test_columns_are_decoded_in_order() -> None:
    content = {
        "series": [
            {"labels": {"__name__": "cpu", "host": "a"}, "timestamps_ms": [5, 4], "values": [0.5, -1]},
            {"labels": {"__name__": "empty"}, "timestamps_ms": [], "values": []},
            {"labels": {"__name__": "mem"}, "timestamps_ms": [9], "values": [2.5e10]},
        ]
    }
    incoming = decode_columnar_json(json.dumps(content).encode(), LIMITS)
    assert incoming.row_series.tolist() == [0, 0, 2]
    assert incoming.at_ms.tolist() == [5, 4, 9]
    assert incoming.values.tolist() == [0.5, -1.0, 2.5e10]
    assert incoming.labels_of(0) == LabelSet.of({"__name__": "cpu", "host": "a"})


def test_no_series_are_a_request_without_samples() -> None:
    assert len(decode_columnar_json(b'{"series":[]}', LIMITS).at_ms) == 0


def test_equal_label_bytes_are_equal_keys() -> None:
    incoming = decode_columnar_json(
        b'{"series":[' + b",".join(body(labels=labels)[11:-2] for labels in (UP, '{"__name__": "up"}', UP)) + b"]}",
        LIMITS,
    )
    assert incoming.keys[0] == incoming.keys[2] != incoming.keys[1]
    assert incoming.labels_of(0) == incoming.labels_of(1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(body(values="NaN"), "malformed", id="J1 NaN"),
        pytest.param(body(values="Infinity"), "malformed", id="J1 Infinity"),
        pytest.param(body(values="-Infinity"), "malformed", id="J1 -Infinity"),
        pytest.param(body(values="1e999"), "/series/0/values/0: Number out of range", id="J2"),
        pytest.param(body(values="9" * 400), "/series/0/values/0: Number out of range", id="J3 value"),
        pytest.param(body(times="9" * 400), "/series/0/timestamps_ms/0: the number does not fit", id="J3 time"),
        pytest.param(body(times="9" * 5000), "", id="J3 time of 5000 digits"),
        pytest.param(body(values='1,"1.0"'), "/series/0/values/1: Expected `float`, got `str`", id="J4"),
        pytest.param(body(values="true"), "/series/0/values/0: Expected `float`, got `bool`", id="J5"),
        pytest.param(body(values="null"), "/series/0/values/0: Expected `float`, got `null`", id="J6"),
        *(pytest.param(body(values=text), "malformed", id=f"J7 {text}") for text in ("01", "+1", "1.", "0x10", "1_0")),
        pytest.param(body(times="1.5"), "/series/0/timestamps_ms/0: Expected `int`, got `float`", id="J8 1.5"),
        pytest.param(body(times="1e3"), "/series/0/timestamps_ms/0: Expected `int`, got `float`", id="J8 1e3"),
        pytest.param(b"\xef\xbb\xbf" + body(), "malformed", id="J9"),
        pytest.param(body() + b" x", "trailing", id="J10 garbage"),
        pytest.param(body() + body(), "trailing", id="J10 two documents"),
        pytest.param(body()[:-1] + b"/* */}", "malformed", id="J11"),
        pytest.param(body().replace(b'"', b"'"), "malformed", id="J12"),
        pytest.param(body()[:-1] + b',"series":[]}', "the key 'series' is given twice", id="J13 series"),
        pytest.param(body().replace(b"}]}", b',"values":[2]}]}'), "the key 'values' is given twice", id="J13 values"),
        pytest.param(
            body().replace(b"}]}", b',"v\\u0061lues":[2]}]}'), "the key 'values' is given twice", id="J13 escaped"
        ),
        pytest.param(body()[:-1] + b',"x":1}', "unknown field `x`", id="J14 outside"),
        pytest.param(
            body().replace(b"}]}", b',"x":1}]}'), "/series/0: Object contains unknown field `x`", id="J14 inside"
        ),
        pytest.param(b"[" * 2000 + b"]" * 2000, "Expected `object`", id="J15 2000"),
        pytest.param(body(labels="[" * 1_000_000 + "]" * 1_000_000), "nested too deeply", id="J15 million"),
        pytest.param(body()[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "unknown field", id="J16"),
        *(
            pytest.param(text.encode(), "Expected `object`", id=f"J17 {text}")
            for text in ("1", "null", "[]", '"a"', "true")
        ),
        pytest.param(b"{}", "missing required field `series`", id="J17 {}"),
        pytest.param(b'{"series":{}}', "/series: Expected `array`", id="J17 series object"),
        pytest.param(b'{"series":[' + b",".join([b"{}"] * 100_000) + b"]}", "/series/0: Object missing", id="J18"),
        pytest.param(body().decode().encode("utf-16"), "UTF-8", id="J21 UTF-16"),
        pytest.param(body().decode().encode("utf-32"), "UTF-8", id="J21 UTF-32"),
        pytest.param(body(labels='{"a":"\x01"}'), "malformed", id="J21 control character"),
        pytest.param(body(labels='{"a":"\\ud800"}'), "malformed", id="D29 lone surrogate"),
        pytest.param(body().replace(b"up", b"\xff\xfe"), "UTF-8 at byte", id="D29 invalid UTF-8"),
        pytest.param(body(times=str(2**63)), "/series/0/timestamps_ms/0: the number does not fit", id="D12"),
        pytest.param(body(times=str(2**64 - 1)), "/series/0/timestamps_ms/0: the number does not fit", id="D13"),
        pytest.param(body(times=f"1,{-(2**63) - 1}", values="1,1"), "/series/0/timestamps_ms/1", id="D12 negative"),
        pytest.param(b"", "truncated", id="T1"),
        pytest.param(body()[:-10], "truncated", id="truncated"),
    ],
)
def test_a_body_that_is_wrong_is_refused_with_the_place(content: bytes, message: str) -> None:
    error = refusal(content)
    assert error.reason == "malformed_body"
    assert message in str(error)
    assert len(str(error)) < 300


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        pytest.param("[1]", "label_type", id="J20 list"),
        pytest.param('[["a","b"]]', "label_type", id="J20 list of pairs"),
        pytest.param("{}", "", id="no labels"),
        pytest.param('{"a":{"b":"c"}}', "label_type", id="J20 nested"),
        pytest.param('{"a":1}', "label_type", id="J20 int"),
        pytest.param('{"a":null}', "label_type", id="J20 null"),
        pytest.param("null", "label_type", id="J20 null labels"),
        pytest.param('"a"', "label_type", id="J20 string"),
        pytest.param('{"a":"b","a":"b"}', "duplicate_label", id="D25 J13 label twice"),
        pytest.param('{"a":"b","\\u0061":"c"}', "duplicate_label", id="D27 label twice, escaped"),
        pytest.param('{"":"b"}', "label_name", id="D25 empty name"),
        pytest.param('{"__name__":"%s"}' % ("x" * 1025), "label_value", id="D22"),
        pytest.param('{"a":"%s"}' % ("x" * 2049), "label_value", id="D24"),
        pytest.param(json.dumps({f"l{n}": "x" for n in range(32)}), "max_labels", id="D23"),
        pytest.param('{"a":"\\u0000"}', "label_value", id="D28 value"),
        pytest.param('{"a\\u0000":"b"}', "label_name", id="D28 name"),
        pytest.param('{"__tenant__":"b"}', "reserved_label", id="D31"),
    ],
)
def test_labels_that_cannot_be_are_refused_when_they_are_decoded(labels: str, reason: str) -> None:
    if reason:
        error = label_refusal(labels)
        assert error.reason == reason
        assert str(error).startswith("/series/0/labels: ")
    else:
        assert decode_columnar_json(body(labels=labels), LIMITS).labels_of(0).pairs == ()


def test_series_with_columns_of_different_length_are_refused_and_the_others_kept() -> None:
    series = [
        {"labels": {"__name__": "a"}, "timestamps_ms": [1, 2], "values": [1]},
        {"labels": {"__name__": "b"}, "timestamps_ms": [1], "values": [1]},
        {"labels": {"__name__": "c"}, "timestamps_ms": [], "values": [1, 2, 3]},
        {"labels": {"__name__": 5}, "timestamps_ms": [1], "values": [1]},
    ]
    incoming = decode_columnar_json(json.dumps({"series": series}).encode(), LIMITS)
    assert dict(incoming.refusals.counts) == {"column_length": 5}
    assert incoming.refusals.examples[0].message == "/series/0: 2 timestamps_ms for 1 values"
    assert incoming.labels_of(0).name == "b"
    with pytest.raises(Rejected, match=r"^/series/3/labels: "):
        incoming.labels_of(1)


@pytest.mark.parametrize("value", ["5e-324", "-0.0", "1.7976931348623157e308", "0.1"])
def test_d5_d6_d7_values_keep_every_bit(value: str) -> None:
    found = decode_columnar_json(body(values=value), LIMITS).values
    assert found.view(np.int64).tolist() == np.array([float(value)]).view(np.int64).tolist()


@pytest.mark.parametrize("text", ["values", "series", "labels", "C:\\users", "timestamps_ms", "\u00e9"])
def test_label_texts_that_look_like_keys_or_have_escapes_are_no_duplicates(text: str) -> None:
    incoming = decode_columnar_json(body(labels=json.dumps({"__name__": "a", "b": text, text: "x"})), LIMITS)
    assert incoming.labels_of(0).get("b") == text


def test_a_body_with_too_many_series_samples_or_elements_is_refused() -> None:
    many = b'{"series":[' + b",".join([body()[11:-2]] * 3) + b"]}"
    with pytest.raises(Rejected, match="3 series in one request, the limit is 2"):
        decode_columnar_json(many, Limits(max_series_per_request=2))
    with pytest.raises(Rejected, match="3 samples in one request, the limit is 2"):
        decode_columnar_json(many, Limits(max_samples_per_request=2))
    with pytest.raises(Rejected, match="too many elements"):
        decode_columnar_json(
            body(values=",".join("1" * 200)), Limits(max_samples_per_request=2, max_series_per_request=1)
        )


def test_j19_a_very_long_name_is_refused_with_a_short_message() -> None:
    error = label_refusal('{"__name__":"%s"}' % ("x" * 9_000_000))
    assert error.reason == "label_value"
    assert len(str(error)) < 300


def test_j15_nesting_just_below_the_decoders_limit_is_refused_like_any_other() -> None:
    reasons = set()
    for depth in range(sys.getrecursionlimit() - 200, sys.getrecursionlimit()):
        labels = '{"\\u0061":' + "[" * depth + "]" * depth + "}"
        with pytest.raises(Rejected) as refused:
            decode_columnar_json(body(labels=labels), LIMITS).labels_of(0)
        reasons.add(refused.value.reason)
    assert reasons <= {"malformed_body", "label_type"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
shaped = st.fixed_dictionaries(
    {},
    optional={
        "series": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "labels": json_values | st.dictionaries(st.text(max_size=4), st.text(max_size=4)),
                    "timestamps_ms": st.lists(st.integers(-(2**64), 2**64) | json_values, max_size=3),
                    "values": st.lists(st.floats() | json_values, max_size=3),
                },
            ),
            max_size=3,
        ),
        "other": json_values,
    },
)


@settings(max_examples=400)
@given(st.binary(max_size=60) | shaped.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_decoded_or_refused(content: bytes) -> None:
    try:
        incoming = decode_columnar_json(content, LIMITS)
        for index in range(len(incoming.keys)):
            incoming.labels_of(index)
    except Rejected as error:
        refused = str(error)
    else:
        refused = ""
        rows = len(incoming.at_ms) + sum(incoming.refusals.counts.values())
        sent = json.loads(content)["series"]
        assert rows == sum(max(len(one["values"]), len(one["timestamps_ms"])) for one in sent)
    assert len(refused) < 400


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.text(min_size=1, max_size=4), st.text(max_size=4), max_size=3),
            st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False))),
        ),
        max_size=4,
    )
)
def test_what_is_encoded_is_decoded(sent: list[tuple[dict[str, str], list[tuple[int, float]]]]) -> None:
    series = [
        {"labels": labels, "timestamps_ms": [at for at, _ in rows], "values": [value for _, value in rows]}
        for labels, rows in sent
    ]
    incoming = decode_columnar_json(
        json.dumps({"series": series}, ensure_ascii=False).encode("utf-8", "replace"), LIMITS
    )
    assert incoming.at_ms.tolist() == [at for _, rows in sent for at, _ in rows]
    assert incoming.values.tolist() == [value for _, rows in sent for _, value in rows]
    assert incoming.row_series.tolist() == [index for index, (_, rows) in enumerate(sent) for _ in rows]
