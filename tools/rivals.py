"""`make bench-rivals`: measure Quantum beside its rivals, and write docs/performance.json and the table made of it.

The rivals come from Debian packages; what is not installed is unpacked into a cache, without root. All figures are
those of one run of `quantum bench`. What could not be measured is named. With `--scale 0.2`, everybody gets a fifth of
the series and requests: ratios then say nearly the same in a fifth of the time, and the page says that it was so.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.debian import PartMissingError, program

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs" / "performance.json"
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
PROGRAMS = {"prometheus": "prometheus", "victoria-metrics": "victoria-metrics", "influxd": "influxdb"}
"""Program of each rival and the Debian package that has it."""
NOT_SETTINGS = frozenset({"QUANTUM_SKIP_WEB", "QUANTUM_PARTS"})
"""Variables for the tools of a checkout; the program takes every other `QUANTUM_` one for a setting."""
TITLES = {"victoria-metrics": "VictoriaMetrics", "prometheus": "Prometheus", "influxdb": "InfluxDB"}
STORES = {"quantum (sqlite)": "SQLite", "quantum (postgres)": "PostgreSQL"}
UNDETECTED = {"quantum (sqlite, detection off)": "SQLite", "quantum (postgres, detection off)": "PostgreSQL"}
"""The same, doing what rivals do."""
LEAST_SCALE = 0.01
CPU, BYTES, TIME, MEMORY = "CPU s/million samples", "bytes/sample", "ms, median", "MB"
INGEST_TARGETS = {
    "2000 series x 1": {"victoria-metrics": 0.7, "prometheus": 0.2},
    "250 series x 20": {"victoria-metrics": 0.7},
    "Influx line, 200 lines x 10 fields": {"victoria-metrics": 0.8, "influxdb": 0.25},
}
DISK_TARGETS = {"victoria-metrics": 0.95, "prometheus": 0.4}
QUERY_TARGETS = {
    "one series x 24 h": {"victoria-metrics": 0.9, "prometheus": 0.5},
    "100 series x 1 h, 1-minute averages": {"victoria-metrics": 0.8},
}

Row = dict[str, Any]
Report = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure everything, write both files; return the exit status."""
    scale = scale_of(arguments)
    environment = {name: value for name, value in os.environ.items() if name not in NOT_SETTINGS}
    environment["PATH"] = os.pathsep.join([environment.get("PATH", ""), *_folders()])
    reports = {name: _bench(environment, name, *options) for name, options in measurements(scale).items()}
    versions = _versions(reports["store"]["machine"], environment)
    figures = summarise(reports) | {"scale": scale, "versions": versions}
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    PAGE.write_text(with_table(PAGE.read_text(), figures))
    _say(f"wrote {FIGURES.relative_to(ROOT)} and the table in {PAGE.relative_to(ROOT)}")
    return 0


def scale_of(arguments: Sequence[str] | None) -> float:
    """Return what the sizes of all measurements are multiplied with.

    Raises:
        SystemExit: the arguments are none of this program's.
    """
    parser = argparse.ArgumentParser(prog="tools.rivals", description="Measure Quantum beside its rivals.")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies series and requests (0.01 to 1)")
    scale = float(parser.parse_args(arguments).scale)
    if not LEAST_SCALE <= scale <= 1.0:
        parser.error(f"the scale is between {LEAST_SCALE:g} and 1, not {scale:g}")
    return scale


def measurements(scale: float) -> dict[str, list[str]]:
    """Return which parts of `quantum bench` are run, and with which options."""
    sized = ["--scale", f"{scale:g}"]
    return {
        "ingest": ["--rivals", "--own-postgres", *sized],
        "store": ["--queries", "--rivals", "--own-postgres", *sized],
        "growth": sized,
        "detect": [],
    }


def _folders() -> list[str]:
    """Return where the rivals' programs are; say which cannot be had."""
    folders = []
    for name, package in PROGRAMS.items():
        try:
            folders.append(str(program(name, package).parent))
        except PartMissingError as problem:
            _say(f"{name} takes no part: {problem}")
    return folders


def _bench(environment: Mapping[str, str], *arguments: str) -> Report:
    """Run a measurement, whose progress is on standard error; return its report."""
    _say(f"quantum bench {' '.join(arguments)}")
    command = [str(Path(sys.executable).with_name("quantum")), "bench", *arguments, "--json"]
    done = subprocess.run(command, env=dict(environment), stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(f"quantum: {' '.join(command)} failed with exit status {done.returncode}")
    report: Report = json.loads(done.stdout)
    return report


def _versions(machine: Report, environment: Mapping[str, str]) -> dict[str, str]:
    found = {"quantum": machine["versions"]["quantum"], "python": machine["python"]}
    for package in (*PROGRAMS.values(), "postgresql"):
        told = _output(["apt-cache", "policy", package], environment)
        known = re.findall(r"(?:Installed|Candidate): (\d\S*)", told)
        found[package] = f"Debian {known[0]}" if known else "unknown"
    return found


def _output(command: list[str], environment: Mapping[str, str]) -> str:
    try:
        return subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


# ---- figures -----------------------------------------------------------------------------------------------------


def summarise(reports: Mapping[str, Report]) -> Report:
    """Return rows, machine, date and who is missing, of the reports of all measurements."""
    machine = reports["store"]["machine"]
    missing = {name: advice for report in reports.values() for name, advice in report.get("missing", {}).items()}
    rows = [
        *ingest_rows(reports["ingest"]),
        *store_rows(reports["store"]),
        *query_rows(reports["store"]["queries"]),
        *growth_rows(reports["growth"]),
        make_row("scoring alone, 10,000 series", CPU, _digits(reports["detect"]["us_per_row_10000_series_median"])),
    ]
    names = ("processor", "processors", "memory_bytes", "load_1min", "system")
    told = {name: machine[name] for name in names}
    return {"rows": rows, "machine": told, "date": machine["date"], "missing": missing}


def make_row(
    measure: str,
    unit: str,
    quantum: float,
    rivals: Mapping[str, float] | None = None,
    targets: Mapping[str, float] | None = None,
) -> Row:
    """Return a row; its ratios are Quantum's figure divided by a rival's, so that less than 1 is better."""
    rivals = {name: figure for name, figure in (rivals or {}).items() if figure}
    ratios = {name: round(quantum / figure, 3) for name, figure in rivals.items()}
    wanted = {name: target for name, target in (targets or {}).items() if name in rivals}
    return {
        "measure": measure,
        "unit": unit,
        "quantum": quantum,
        "rivals": rivals,
        "ratios": ratios,
        "targets": wanted,
    }


def compare(
    measure: str,
    unit: str,
    results: Iterable[Report],
    key: str,
    targets: Mapping[str, float] | None = None,
    per: float = 1,
    ours: Mapping[str, str] = STORES,
) -> list[Row]:
    """Return a row for each store of Quantum, of results that have one figure of each server."""
    figures = {result["server"]: _digits(result[key] / per) for result in results if result[key] is not None}
    rivals = {name: figure for name, figure in figures.items() if name in TITLES}
    return [
        make_row(f"{measure} ({store})", unit, figures[name], rivals, targets)
        for name, store in ours.items()
        if name in figures
    ]


def ingest_rows(report: Report) -> list[Row]:
    """Return what ingest costs, case by case; of the first also how long an answer takes."""
    rows: list[Row] = []
    for case in dict.fromkeys(result["case"] for result in report["results"]):
        results = [result for result in report["results"] if result["case"] == case]
        key, targets = "cpu_s_per_million", INGEST_TARGETS.get(case)
        rows += compare(f"ingest, {case}", CPU, results, key, targets, ours=UNDETECTED)
        rows += compare(f"ingest with detection, {case}", CPU, results, key)
    first = [result for result in report["results"] if result["case"] == report["results"][0]["case"]]
    return rows + compare(f"answer to a write, {first[0]['case']}", TIME, first, "p50_ms")


def store_rows(report: Report) -> list[Row]:
    """Return what a day of mixed metrics costs."""
    results, day = report["results"], f"{report['samples'] / 1e6:.2f} million mixed samples"
    return [
        *compare("disk, samples and index", BYTES, results, "disk_bytes_per_sample_without_scores", DISK_TARGETS),
        *compare("disk, with scores and anomalies", BYTES, results, "disk_bytes_per_sample"),
        *compare(f"taking in {day}, with all that is done later", CPU, results, "cpu_s_per_million"),
        *compare(f"memory after {day}", MEMORY, results, "rss_bytes", per=1e6),
    ]


def query_rows(asked: Sequence[Report]) -> list[Row]:
    """Return how long answers take, and what they cost."""
    rows: list[Row] = []
    for query in dict.fromkeys(result["query"] for result in asked):
        results = [result for result in asked if result["query"] == query]
        rows += compare(query, TIME, results, "p50_ms", QUERY_TARGETS.get(query))
        rows += compare(query, "CPU ms/query", results, "cpu_ms")
    return rows


def growth_rows(report: Report) -> list[Row]:
    """Return what ingest costs as an installation grows."""
    results = report["results"]
    return [
        *(make_row(f"ingest, {one['case']} (SQLite)", CPU, one["cpu_s_per_million"]) for one in results),
        *(make_row(f"memory, {one['case']} (SQLite)", MEMORY, _digits(one["rss_bytes"] / 1e6)) for one in results),
    ]


def _digits(figure: float) -> float:
    return float(f"{figure:.3g}")


# ---- the page ----------------------------------------------------------------------------------------------------


def with_table(page: str, figures: Report) -> str:
    """Return the page with the table of these figures between its marks."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{table(figures)}\n{END}{after}"


def table(figures: Report) -> str:
    """Return the figures as a Markdown table, and a line about when and where."""
    names = [name for name in TITLES if any(name in row["rivals"] for row in figures["rows"])]
    versions = [figures["versions"][name].removeprefix("Debian ").split("+")[0].split("~")[0] for name in names]
    titles = [f"{TITLES[name]} {version}" for name, version in zip(names, versions, strict=True)]
    lines = [_line(["measure", "unit", "Quantum", *titles]), _line(["---"] * 2 + ["---:"] * (1 + len(names)))]
    lines += [
        _line([row["measure"], row["unit"], f"{row['quantum']:g}", *_cells(row, names)]) for row in figures["rows"]
    ]
    return "\n".join([*lines, "", _about(figures)])


def _cells(row: Row, names: Sequence[str]) -> list[str]:
    return [_cell(row, name) if name in row["rivals"] else "" for name in names]


def _cell(row: Row, name: str) -> str:
    wanted = f", wanted {row['targets'][name]:g}" if name in row["targets"] else ""
    return f"{row['rivals'][name]:g} ({row['ratios'][name]:.2f} x{wanted})"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _about(figures: Report) -> str:
    machine = figures["machine"]
    memory_gb = machine["memory_bytes"] / 2**30
    missing = "; ".join(f"{name} took no part ({advice})" for name, advice in figures["missing"].items())
    where = f"{machine['processors']} processors ({machine['processor']}), {memory_gb:.0f} GB of memory"
    scale = figures.get("scale", 1.0)
    sized = "" if scale == 1 else f" Series and requests are {scale:g} of what is said below, for everybody."
    return f"{figures['date']}, {where}, load {machine['load_1min']:.1f}.{sized}{f' {missing}.' if missing else ''}"


def _say(sentence: str) -> None:
    print(f"quantum: {sentence}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
