"""The detectors beside others: the committed file has the promised form, and the page says what it says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tools import detection


@pytest.fixture(scope="module")
def committed() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(detection.FIGURES.read_text(encoding="utf-8"))
    return found


def test_the_file_has_rows_machine_versions_and_date(committed: dict[str, Any]) -> None:
    assert committed["date"].startswith("20")
    assert committed["machine"]["processors"] >= 1
    assert {"quantum", "river", "pyod", "scikit-learn"} <= set(committed["versions"])
    assert len(committed["rows"]) >= 10
    for row in committed["rows"]:
        assert set(row) == {"measure", "unit", "quantum", "rivals", "ratios", "targets"}
        assert row["quantum"] > 0


def test_every_ratio_is_the_quotient_of_the_figures_told(committed: dict[str, Any]) -> None:
    for row in committed["rows"]:
        assert row["ratios"] == {
            name: pytest.approx(row["quantum"] / figure, rel=6e-3) for name, figure in row["rivals"].items() if figure
        }


def test_every_peer_took_part_in_what_is_compared(committed: dict[str, Any]) -> None:
    heard = [row for row in committed["rows"] if row["measure"].startswith("events heard")]
    assert len(heard) == 2
    for row in heard:
        assert {name.split()[0] for name in row["rivals"]} >= {"river", "PyOD", "scikit-learn"}


def test_the_page_has_the_tables_of_the_file(committed: dict[str, Any]) -> None:
    page = detection.PAGE.read_text(encoding="utf-8")
    assert detection.with_table(page, committed) == page


def test_what_is_not_measured_anew_keeps_its_figures_and_their_date(committed: dict[str, Any]) -> None:
    row = detection._row("NAB v1.1, standard", "points (more is better)", 99.0, {})
    report = {"machine": "x86_64", "date": "2099-01-01", "standard": 99.0, "reward_low_fp": 1.0, "reward_low_fn": 2.0}
    found = detection.summarise({"nab": report}, committed)
    assert [one["measure"] for one in found["rows"]] == [one["measure"] for one in committed["rows"]]
    changed = [one for one in found["rows"] if one not in committed["rows"]]
    assert [one["quantum"] for one in changed] == [row["quantum"], 1.0, 2.0]
    assert (found["parts"]["nab"]["date"], found["date"]) == ("2099-01-01", "2099-01-01")
    assert found["parts"]["detect"] == committed["parts"]["detect"]


def test_what_was_chosen_without_a_category_has_rows_of_its_own() -> None:
    report = {f"{name}_{profile}": 70.0 for name in detection.LEFT_OUT for profile in detection.NAB}
    rows = detection.left_out_rows({**report, "shipped_standard": 75.0})
    assert len({row["measure"] for row in rows}) == len(detection.LEFT_OUT) * len(detection.NAB)
    assert {row["quantum"] for row in rows} == {70.0}
    assert rows[0]["measure"] == "NAB v1.1, threshold chosen on the other categories, standard"


def test_a_measurement_that_is_not_there_is_refused() -> None:
    with pytest.raises(SystemExit, match="there is no measurement speed; there are detect, watching"):
        detection.main(["speed"])


def test_rows_with_other_rivals_get_tables_of_their_own() -> None:
    rows = [detection._row(name, "s", 2.0, others) for name, others in (("a", {"x": 4.0}), ("b", {"y": 1.0}))]
    machine = {"processors": 2, "processor": "p", "load_1min": 0.5}
    told = detection.tables(
        {"rows": rows, "machine": machine, "versions": {"x": "1"}, "parts": {"nab": {"date": "2026"}}}
    )
    assert "| a | s | 2 | 4 (0.5 x) |" in told
    assert "| b | s | 2 | 1 (2 x) |" in told
    assert told.count("| --- |") == 2
