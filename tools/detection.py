"""`make bench-detect`: measure detectors beside their peers, and write docs/detection.json and the table made of it.

`PARTS="nab deep"` takes only these anew; of the others the figures, and their dates, stay.

The peers (river, PyOD) and TensorFlow, for deep models, are put into `.venv` from the lock. NAB's files and labels
come from `tests/corpora`; what others reach on NAB is taken from its published results.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tools import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT: Final = Path(__file__).parents[1]
FIGURES: Final = ROOT / "docs" / "detection.json"
PAGE: Final = ROOT / "docs" / "detection.md"
CORPUS: Final = ROOT / "tests" / "corpora" / "nab.tar.xz"
BEGIN, END = "<!-- beside others: begin -->", "<!-- beside others: end -->"
NAB: Final = {
    "standard": {"ARTime": 74.9, "Numenta HTM": 70.5, "CAD OSE": 69.9, "KNN-CAD": 58.0, "Random Cut Forest": 51.7},
    "reward_low_fp": {"ARTime": 65.1, "Numenta HTM": 62.6, "CAD OSE": 67.0, "KNN-CAD": 43.4, "Random Cut Forest": 38.4},
    "reward_low_fn": {"ARTime": 80.4, "Numenta HTM": 75.2, "CAD OSE": 73.2, "KNN-CAD": 64.8, "Random Cut Forest": 59.7},
}
"""Published scores (github.com/numenta/NAB); ARTime, HTM and CAD OSE are given each file's lowest and highest value."""

PARTS: Final = ("detect", "watching", "nab", "left-out", "calibration", "forecast", "deep")
"""Measurements, in the order of their rows; each can be taken anew by itself."""

LEFT_OUT: Final = {
    "shipped_threshold_of_others": "threshold chosen on the other categories",
    "weights_and_threshold_of_others": "weights and threshold chosen on the other categories",
}
"""What was chosen without the category that it is applied to, as a report and as a row have it."""

Row = dict[str, Any]
Report = dict[str, Any]


def main(asked: Sequence[str]) -> int:
    """Measure what was asked for, or everything; write both files; return the exit status."""
    if unknown := set(asked) - set(PARTS):
        sys.exit(f"quantum: there is no measurement {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    install_peers()
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(CORPUS) as archive:
            archive.extractall(folder, filter="data")
        corpus = ["--corpus", f"{folder}/data"]
        labelled = [*corpus, "--labels", f"{folder}/labels/combined_windows.json"]
        arguments = {
            "detect": ["detect", "--peers"],
            "watching": ["watching"],
            "nab": ["nab", *labelled],
            "left-out": ["nab", "--leave-out", *labelled],
            "calibration": ["calibration"],
            "forecast": ["forecast", *corpus],
            "deep": ["deep", *labelled],
        }
        reports = {name: _bench(*arguments[name]) for name in PARTS if name in (asked or PARTS)}
    figures = summarise(reports, json.loads(FIGURES.read_text(encoding="utf-8")))
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), figures), encoding="utf-8")
    print(f"quantum: wrote {FIGURES.relative_to(ROOT)} and the table in {PAGE.relative_to(ROOT)}", file=sys.stderr)
    return 0


def install_peers() -> None:
    """Add the locked peers and TensorFlow to `.venv`; nothing else of it changes."""
    uv = prepare.find_uv() or prepare.install_uv()
    command = [uv, "sync", "--frozen", "--no-dev", "--inexact", "--group", "peers", "--extra", "deep"]
    subprocess.run(command, cwd=ROOT, check=True)


def _bench(*arguments: str) -> Report:
    """Run a measurement, whose progress is on standard error; return its report."""
    command = [str(Path(sys.executable).with_name("quantum")), "bench", *arguments, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(f"quantum: {' '.join(command)} failed with exit status {done.returncode}")
    report: Report = json.loads(done.stdout)
    return report


# ---- figures -----------------------------------------------------------------------------------------------------


def summarise(reports: Mapping[str, Report], before: Report) -> Report:
    """Return rows, machine, versions and dates of reports; of what was not measured now, those of the time before."""
    known = {row["measure"]: row for row in before["rows"]}
    parts = dict(before["parts"])
    for name, report in reports.items():
        rows = ROWS_OF[name](report)
        known |= {row["measure"]: row for row in rows}
        machine = report["machine"] if isinstance(report["machine"], dict) else report
        parts[name] = {"date": machine["date"], "measures": [row["measure"] for row in rows]}
    machines = [one["machine"] for one in reports.values() if isinstance(one["machine"], dict)]
    names = ("processor", "processors", "memory_bytes", "load_1min", "system")
    versions = dict(before["versions"])
    if "detect" in reports:
        machine = reports["detect"]["machine"]
        versions = {
            "quantum": machine["versions"]["quantum"],
            "python": machine["python"],
            **reports["detect"]["peers"],
        }
    return {
        "rows": [known[measure] for name in PARTS if name in parts for measure in parts[name]["measures"]],
        "machine": {name: machines[0][name] for name in names} if machines else before["machine"],
        "versions": versions,
        "date": max(part["date"] for part in parts.values()),
        "parts": {name: parts[name] for name in PARTS if name in parts},
    }


def nab_rows(report: Report) -> list[Row]:
    """Return the scores by NAB's rules beside published ones."""
    return [
        _row(f"NAB v1.1, {profile.replace('_', ' ')}", "points (more is better)", float(report[profile]), published)
        for profile, published in NAB.items()
    ]


def left_out_rows(report: Report) -> list[Row]:
    """Return the scores by NAB's rules with what was chosen on the other categories of files alone."""
    return [
        _row(f"NAB v1.1, {said}, {profile.replace('_', ' ')}", "points (more is better)", float(report[key]), {})
        for name, said in LEFT_OUT.items()
        for profile in NAB
        for key in (f"{name}_{profile}",)
    ]


def forecast_rows(report: Report) -> list[Row]:
    """Return how often bands of forecasts held on NAB's series, and limits were reached that were said to be."""
    bands = [
        _row(f"forecast bands on NAB's series that should hold {nominal}", "share that held", float(held["all"]), {})
        for nominal, held in report["held"].items()
    ]
    limits = [
        _row(
            f"limits on NAB's series, said to be reached with a chance of {said} or more", "share that were", share, {}
        )
        for said, share in ((said, came["share"]) for said, came in report["reached"].items())
        if share is not None
    ]
    return [*bands, *limits]


def _row(measure: str, unit: str, quantum: float, others: Mapping[str, float]) -> Row:
    ratios = {name: float(f"{quantum / figure:.3g}") for name, figure in others.items()}
    return {
        "measure": measure,
        "unit": unit,
        "quantum": quantum,
        "rivals": dict(others),
        "ratios": ratios,
        "targets": {},
    }


ROWS_OF: Final[Mapping[str, Callable[[Report], list[Row]]]] = {
    "detect": lambda report: report["rows"],
    "watching": lambda report: report["rows"],
    "nab": nab_rows,
    "left-out": left_out_rows,
    "calibration": lambda report: report["rows"],
    "forecast": forecast_rows,
    "deep": lambda report: report["rows"],
}


# ---- the page ----------------------------------------------------------------------------------------------------


def with_table(page: str, figures: Report) -> str:
    """Return the page with the tables of these figures between its marks."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{tables(figures)}\n{END}{after}"


def tables(figures: Report) -> str:
    """Return the figures as Markdown tables, one for each group of rivals, and a line about when and where."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    names = list(dict.fromkeys(name for row in figures["rows"] for name in row["rivals"]))
    for row in figures["rows"]:
        kin = next((known for known in groups if set(row["rivals"]) & set(known)), tuple(row["rivals"]))
        groups.setdefault(kin, []).append(row)
    machine, versions = figures["machine"], figures["versions"]
    measured = ", ".join(f"{name} {part['date']}" for name, part in figures["parts"].items())
    about = (
        f"Measured: {measured}. {machine['processors']} processors ({machine['processor']}), load"
        f" {machine['load_1min']:.1f} at last; {', '.join(f'{name} {number}' for name, number in versions.items())}."
    )
    return "\n\n".join([*(_table(rows, names) for rows in groups.values()), about])


def _table(rows: Sequence[Row], names: Sequence[str]) -> str:
    shown = [name for name in names if any(name in row["rivals"] for row in rows)]
    lines = [_line(["measure", "unit", "Quantum", *shown]), _line(["---"] * 2 + ["---:"] * (1 + len(shown)))]
    lines += [_line([row["measure"], row["unit"], f"{row['quantum']:g}", *_cells(row, shown)]) for row in rows]
    return "\n".join(lines)


def _cells(row: Row, names: Sequence[str]) -> list[str]:
    return [_cell(row, name) if name in row["rivals"] else "" for name in names]


def _cell(row: Row, name: str) -> str:
    ratio = f" ({row['ratios'][name]:g} x)" if name in row["ratios"] else ""
    return f"{row['rivals'][name]:g}{ratio}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
