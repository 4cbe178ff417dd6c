"""The figures beside the rivals: the committed file has the promised form, and the page says what it says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools import rivals

FIGURES = st.floats(1e-6, 1e9).map(lambda number: float(f"{number:.3g}"))
NAMES = st.sampled_from(sorted(rivals.TITLES))


@pytest.fixture(scope="module")
def committed() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(rivals.FIGURES.read_text())
    return found


def test_the_file_has_rows_machine_versions_and_date(committed: dict[str, Any]) -> None:
    assert committed["rows"]
    assert committed["date"].startswith("20")
    assert committed["machine"]["processors"] >= 1
    assert {"quantum", "victoria-metrics", "prometheus", "influxdb", "postgresql"} <= set(committed["versions"])
    for row in committed["rows"]:
        assert set(row) == {"measure", "unit", "quantum", "rivals", "ratios", "targets"}
        assert row["quantum"] > 0
        assert row["measure"].endswith(("(SQLite)", "(PostgreSQL)")) or not row["rivals"]


def test_every_ratio_is_the_quotient_and_every_target_has_a_ratio(committed: dict[str, Any]) -> None:
    for row in committed["rows"]:
        assert row["ratios"] == {name: round(row["quantum"] / figure, 3) for name, figure in row["rivals"].items()}
        assert set(row["targets"]) <= set(row["ratios"])


def test_a_rival_that_took_no_part_is_named(committed: dict[str, Any]) -> None:
    measured = {name for row in committed["rows"] for name in row["rivals"]}
    assert set(rivals.TITLES) <= measured | set(committed["missing"])


def test_the_page_has_the_table_of_the_file(committed: dict[str, Any]) -> None:
    page = rivals.PAGE.read_text()
    assert rivals.with_table(page, committed) == page
    assert page.count("\n| ") >= len(committed["rows"])


@given(FIGURES, st.dictionaries(NAMES, FIGURES), st.dictionaries(NAMES, FIGURES))
def test_a_row_compares_with_those_who_took_part(
    quantum: float, others: dict[str, float], targets: dict[str, float]
) -> None:
    row = rivals.make_row("ingest", rivals.CPU, quantum, others, targets)
    assert set(row["ratios"]) == set(others)
    assert set(row["targets"]) == set(others) & set(targets)
    for name, figure in others.items():
        assert row["ratios"][name] == pytest.approx(quantum / figure, rel=1e-3, abs=1e-3)


def test_a_store_that_was_not_measured_has_no_row() -> None:
    results = [{"server": "quantum (sqlite)", "cpu": 2.0}, {"server": "prometheus", "cpu": 4.0}]
    [row] = rivals.compare("ingest", rivals.CPU, results, "cpu", {"prometheus": 0.2, "victoria-metrics": 0.7})
    assert row["measure"] == "ingest (SQLite)"
    assert row["ratios"] == {"prometheus": 0.5}
    assert row["targets"] == {"prometheus": 0.2}


def test_a_figure_that_is_not_known_is_left_out() -> None:
    results: list[dict[str, Any]] = [
        {"server": "quantum (sqlite)", "disk": 2.0},
        {"server": "prometheus", "disk": None},
    ]
    assert [row["rivals"] for row in rivals.compare("disk", rivals.BYTES, results, "disk")] == [{}]


def test_what_detection_costs_is_a_row_of_its_own_without_a_target() -> None:
    servers = {"quantum (sqlite)": 3.0, "quantum (sqlite, detection off)": 1.0, "victoria-metrics": 2.0}
    case = {"case": "2000 series x 1", "p50_ms": 1.0}
    report = {"results": [{"server": one, "cpu_s_per_million": cost, **case} for one, cost in servers.items()]}
    alike, detecting, _ = rivals.ingest_rows(report)
    assert (alike["measure"], alike["ratios"]) == ("ingest, 2000 series x 1 (SQLite)", {"victoria-metrics": 0.5})
    assert alike["targets"] == {"victoria-metrics": 0.7}
    assert (detecting["measure"], detecting["quantum"]) == ("ingest with detection, 2000 series x 1 (SQLite)", 3.0)
    assert detecting["targets"] == {}


def test_everything_that_grows_with_a_scale_gets_it_and_the_page_tells_it(committed: dict[str, Any]) -> None:
    assert rivals.scale_of([]) == 1.0
    scale = rivals.scale_of(["--scale", "0.2"])
    assert {name for name, options in rivals.measurements(scale).items() if "0.2" in options} == {
        "ingest",
        "store",
        "growth",
    }
    assert "0.2 of what is said below" in rivals.table(committed | {"scale": scale})
    assert "of what is said below" not in rivals.table(committed | {"scale": 1.0})


@pytest.mark.parametrize("scale", ["0", "2", "nan", "-1", "much"])
def test_a_scale_that_is_none_is_refused(scale: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        rivals.scale_of(["--scale", scale])
    assert "scale" in capsys.readouterr().err
