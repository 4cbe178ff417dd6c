"""The table of docs/security.md: every test that it links to is there."""

from __future__ import annotations

import re
from typing import Final

import pytest

from tools import prepare

TEXT: Final = (prepare.ROOT / "docs/security.md").read_text(encoding="utf-8")
ROWS: Final = [
    line.strip("|").split("|")
    for line in TEXT.partition("## What was checked")[2].splitlines()
    if line.startswith("| ")
][1:]
LINK: Final = re.compile(r"`((?:tests|frontend)/[^`:]+)(?:::([^`]+))?`")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip()[:40])
def test_every_row_names_requirements_and_links_to_what_is_there(row: list[str]) -> None:
    requirement, how, proof = (cell.strip() for cell in row)
    assert re.match(r"\d+\.\d+\.\d+", requirement)
    assert how
    links = LINK.findall(proof)
    assert links or "the operator's" in how
    for file, name in links:
        text = (prepare.ROOT / file).read_text(encoding="utf-8")
        assert not name or f"def {name}(" in text, f"{file} has no {name}"


def test_the_table_is_no_short_list() -> None:
    assert len(ROWS) > 30
