"""The table of docs/reliability.md: every fault that is promised has a row, and every row a test that says so."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Final

import pytest
from tests.hostile import lines_in, lines_of_tests

from tools import prepare

if TYPE_CHECKING:
    from pathlib import Path

PROMISED: Final = tuple(f"F{number}" for number in range(1, 46) if number not in {23, 24, 25, 26, 40})
"""All but what docs/security.md has: Keycloak, and receivers that do harm."""
DETECTED: Final = {"F19"}
"""Where the database has lost something, nobody can promise more than to say so."""
TEXT: Final = (prepare.ROOT / "docs/reliability.md").read_text(encoding="utf-8")
ROWS: Final = {
    cells[0]: cells[1:]
    for line in TEXT.splitlines()
    if re.match(r"\| F\d+ \|", line)
    for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
}
LINK: Final = re.compile(r"`(tests/[^`:]+)(?:::([^`]+))?`")
REASONS: Final = {"unavailable", "storage_full", "memory_limit", "overloaded"}
"""Why a sender may be told to come again in these rows."""


def faults_of(file: Path) -> set[str]:
    """Return the rows that a file of tests says it is about, as a whole or in one of its tests or cases."""
    head = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return set(lines_in(head)) | lines_of_tests(file)


def proofs_of(row: str) -> list[tuple[str, str]]:
    """Return the files and names that a row links to; "the same" is what the row before links to."""
    rows = list(ROWS)
    links: list[tuple[str, str]] = LINK.findall(ROWS[row][1])
    before = proofs_of(rows[rows.index(row) - 1]) if ROWS[row][1].startswith("the same") else []
    return before + links


def test_the_rows_that_are_promised_are_there_and_no_others() -> None:
    assert sorted(ROWS, key=lambda row: int(row[1:])) == list(PROMISED)


@pytest.mark.parametrize("row", PROMISED)
def test_every_row_has_a_test_that_is_there_and_says_that_it_is_about_it(row: str) -> None:
    links = proofs_of(row)
    assert links
    for file, name in links:
        text = (prepare.ROOT / file).read_text(encoding="utf-8")
        assert not name or f"def {name}(" in text, f"{file} has no {name}"
    assert any(row in faults_of(prepare.ROOT / file) for file, _ in links), f"none of {links} names {row}"


@pytest.mark.parametrize("row", PROMISED)
def test_every_row_promises_that_nothing_is_lost_or_doubled_and_says_what_senders_are_told(row: str) -> None:
    _, _, lost, doubled, told, afterwards = ROWS[row]
    assert (lost, doubled) == ("0", "0") or (row in DETECTED and "detected" in lost and doubled == "0")
    assert told
    assert afterwards
    if "503" in told:
        assert "`Retry-After`" in told
        assert REASONS & set(re.findall(r"`(\w+)`", told))
    assert not re.search(r"50[0-24-9]", told), "trouble of ours is 503 and nothing else"
