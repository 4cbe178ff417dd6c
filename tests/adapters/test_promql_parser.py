"""PromQL texts: whatever is sent is read or refused with a sentence, in time, and the process lives on."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.promql import generate

from quantum.adapters.promql_parser import MAX_CHARACTERS, MAX_DEPTH, MAX_OPERATORS, parse_promql
from quantum.domain.errors import Rejected
from quantum.domain.labels import NAME, Matcher, MatchOp
from quantum.domain.promql.plan import Binary, Selector, Text

PIECES = st.sampled_from(
    [
        *(
            "up",
            "{",
            "}",
            "(",
            ")",
            "[",
            "]",
            "[5m]",
            "[5m:1m]",
            "[1h:]",
            ",",
            '"',
            "'",
            "`",
            "\\",
            "#",
            "\n",
            " ",
            "@",
        ),
        *(
            "@ 5",
            "@ -5",
            "@ start()",
            "offset",
            "offset -1h",
            "offset 9999999y",
            "sum",
            "by",
            "(a)",
            "rate",
            "topk",
            "1",
        ),
        *(
            "+",
            "-",
            "^",
            "==",
            "bool",
            "and",
            "on",
            "group_left",
            "=~",
            '"(a+)+$"',
            "NaN",
            "1e999",
            "0x1f",
            "é",
            "\x00",
        ),
    ]
)


def refusal(text: str) -> str:
    with pytest.raises(Rejected) as refused:
        parse_promql(text)
    assert refused.value.reason == "bad_data"
    return str(refused.value)


@given(st.lists(PIECES, max_size=25))
def test_any_text_is_read_or_refused_with_a_sentence(pieces: list[str]) -> None:
    try:
        outcome: object = parse_promql(" ".join(pieces))
    except Rejected as refused:
        outcome = refused.reason == "bad_data" and str(refused)
    assert outcome


@given(st.integers(0, 2**32), st.integers(0, 200), PIECES)
def test_a_query_with_something_put_into_it_is_read_or_refused(seed: int, at: int, piece: str) -> None:
    text = generate(np.random.default_rng(seed))
    try:
        outcome: object = parse_promql(text[:at] + piece + text[at:])
    except Rejected as refused:
        outcome = refused.reason == "bad_data" and str(refused)
    assert outcome


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("1" + "+1" * 8000, f"{MAX_OPERATORS} operators"),
        ("1" + "^1" * 8000, f"{MAX_OPERATORS} operators"),
        ("a" + " or a" * 3000, f"{MAX_OPERATORS} operators"),
        ("-" * 16_000 + "1", f"{MAX_OPERATORS} operators"),
        ("a{}}" + "1" + "+1" * 8000, f"{MAX_OPERATORS} operators"),
        ("(" * 8000 + "1" + ")" * 8000, f"{MAX_DEPTH} levels"),
        ('#"\n' + "(" * 8000 + "1" + ")" * 8000 + '\n#"', f"{MAX_DEPTH} levels"),
        ("#'\n" + "abs(" * 3000 + "a" + ")" * 3000, f"{MAX_DEPTH} levels"),
        ("a{b=`" + "(" * 8000, f"{MAX_DEPTH} levels"),
        ("1" + "+1" * 400, f"{2 * MAX_DEPTH} levels"),
        ("x" * (MAX_CHARACTERS + 1), f"{MAX_CHARACTERS} characters"),
        ('"' + '\\"' * 8000, "unterminated"),
        ("a @ -100", "before 1970"),
        ("a @ 1e30", "out of range"),
        ("a offset 99999999y", "out of range"),
        ("a[99999999y]", "out of range"),
        ('a{b="c" or d="e"}', "alternatives"),
    ],
)
def test_what_is_beyond_a_limit_is_refused_with_it(text: str, limit: str) -> None:
    assert limit in refusal(text)


def test_the_deepest_texts_within_the_limits_do_not_end_the_process() -> None:
    script = """
from quantum.adapters.promql_parser import MAX_DEPTH, MAX_OPERATORS, parse_promql
from quantum.domain.errors import Rejected
for text in (
    "(" * MAX_DEPTH + "1" + ")" * MAX_DEPTH, "abs(" * MAX_DEPTH + "a" + ")" * MAX_DEPTH,
    "1" + "+1" * MAX_OPERATORS, "2" + "^2" * MAX_OPERATORS, "-" * MAX_OPERATORS + "a", "a" + " or a" * MAX_OPERATORS,
    "+".join(["(" * MAX_DEPTH + "1" + ")" * MAX_DEPTH] * 60), "{" * MAX_DEPTH + "1" + "+1" * 8000,
):
    try:
        parse_promql(text)
    except Rejected as refused:
        assert refused.reason == "bad_data"
print("alive")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False, env=dict(os.environ)
    )
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="`\x00"), max_size=30))
def test_raw_strings_mean_what_they_show(value: str) -> None:
    assert parse_promql(f"`{value}`") == Text(value)
    assert parse_promql(f"up{{job=`{value}`}}") == Selector(
        0, (Matcher(NAME, MatchOp.EQUAL, "up"), Matcher("job", MatchOp.EQUAL, value))
    )


def test_patterns_may_be_raw_strings() -> None:
    found = parse_promql(r'up{job=~`\d+"`} # `"')
    assert isinstance(found, Selector)
    assert found.matchers[1] == Matcher("job", MatchOp.REGEX, r'\d+"')


def test_operators_inside_braces_and_strings_do_not_count() -> None:
    text = "up{" + ",".join(['a!="-+-+"'] * (MAX_OPERATORS + 50)) + "}"
    found = parse_promql(f"{text} == {text} # {'+' * 600}")
    assert isinstance(found, Binary)
