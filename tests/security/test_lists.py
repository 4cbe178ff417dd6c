"""Every line of the lists of bad input has a test, or a reason for having none."""

from __future__ import annotations

from typing import Final

import pytest
from tests.hostile import ELSEWHERE, LISTS, NOT_HERE, SIZES, lines_of_tests

from tools import prepare

TESTED: Final = set[str]().union(*(lines_of_tests(file) for file in (prepare.ROOT / "tests").rglob("test_*.py")))


@pytest.mark.parametrize("letter", LISTS)
def test_every_line_has_a_test_or_a_reason(letter: str) -> None:
    lines = [f"{letter}{number}" for number in range(1, SIZES[letter] + 1)]
    assert [line for line in lines if line not in TESTED and line not in NOT_HERE and line not in ELSEWHERE] == []


def test_the_lists_are_whole() -> None:
    assert SIZES == {"T": 30, "D": 32, "J": 22, "R": 26, "L": 26, "O": 22, "S": 34, "Q": 36, "W": 62, "P": 38, "A": 64}
    for text in LISTS.values():
        lines = [" ".join(line.split()) for line in text.split("|")]
        assert all(lines)
        assert len(set(lines)) == len(lines)


@pytest.mark.parametrize("line", [*NOT_HERE, *ELSEWHERE])
def test_what_has_a_reason_is_a_line_without_a_test(line: str) -> None:
    assert line not in TESTED
    assert 1 <= int(line[1:]) <= SIZES[line[0]]


@pytest.mark.parametrize("line", ELSEWHERE)
def test_what_the_dashboard_proves_is_there(line: str) -> None:
    file, words = ELSEWHERE[line]
    assert words in (prepare.ROOT / file).read_text(encoding="utf-8")
