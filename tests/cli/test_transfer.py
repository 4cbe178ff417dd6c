"""`quantum import` and `quantum export` as a user types them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from quantum.cli import run_command

if TYPE_CHECKING:
    from pathlib import Path

CSV = "timestamp,value,host\n2026-01-01T00:00:00Z,1.5,a\n2026-01-01T00:00:10Z,stale,a\n2026-01-01T00:00:00Z,-0.0,b\n"


@pytest.fixture(name="quantum")
def command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs one command on a data directory of its own; returns exit status, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        status = run_command([*arguments, "--data-dir", "data"])
        found = capsys.readouterr()
        return status, found.out, found.err

    return run


def test_csv_goes_in_and_comes_out_again(quantum: Any, tmp_path: Path) -> None:
    (tmp_path / "cpu.csv").write_text(CSV)
    assert quantum("import", "cpu.csv") == (0, "3 samples stored, 0 were there already\n", "")
    status, out, _ = quantum("export")
    assert status == 0
    assert out.splitlines() == [
        "timestamp,value,__name__,host",
        "2026-01-01T00:00:00.000Z,1.5,cpu,a",
        "2026-01-01T00:00:10.000Z,stale,cpu,a",
        "2026-01-01T00:00:00.000Z,-0.0,cpu,b",
    ]


def test_importing_what_was_exported_stores_nothing_new(quantum: Any, tmp_path: Path) -> None:
    (tmp_path / "cpu.csv").write_text(CSV)
    quantum("import", "cpu.csv", "--name", "load")
    assert json.loads(quantum("export", "--output", "all.csv", "--json")[1]) == {"series": 2, "samples": 3}
    status, out, _ = quantum("import", "all.csv", "--json")
    assert (status, json.loads(out)["duplicates"]) == (0, 3)


def test_the_text_format_selectors_and_times(quantum: Any, tmp_path: Path) -> None:
    (tmp_path / "x.prom").write_text('a{b="c"} 1 1767225600000\na{b="c"} 2 1767225610000\nd 3 1767225600000\n')
    assert quantum("import", "x.prom")[0] == 0
    status, out, err = quantum(
        "export", 'a{b=~"c|d"}', "--to", "2026-01-01T00:00:10Z", "--format", "prometheus", "--json"
    )
    assert (status, out) == (0, 'a{b="c"} 1.0 1767225600000\n')
    assert json.loads(err) == {"series": 1, "samples": 1}


def test_refused_samples_are_told_and_the_status_is_1(quantum: Any, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("timestamp,value\n1767225600,1\n1767225600,2\n-1,3\n")
    status, out, err = quantum("import", "x.csv")
    assert (status, out) == (1, "1 samples stored, 0 were there already\n")
    assert "1 samples refused (duplicate_value): another value is stored" in err
    assert "1 samples refused (negative_time): " in err
    found = json.loads(quantum("import", "x.csv", "--json")[1])
    assert {one["labels"] for one in found["examples"]} == {"x"}


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (("import",), 2, "requires an argument"),
        (("import", "nowhere.csv"), 1, "quantum: nowhere.csv is no file"),
        (("import", "bad.csv"), 1, "quantum: bad.csv:2: cannot read value `x` as a number"),
        (("export",), 1, "quantum: data holds no store; name the right one with --data-dir"),
        (("export", "--format", "xml"), 2, "xml"),
    ],
)
def test_errors_are_one_sentence(
    quantum: Any, tmp_path: Path, arguments: tuple[str, ...], status: int, sentence: str
) -> None:
    (tmp_path / "bad.csv").write_text("timestamp,value\n1,x\n")
    found, out, err = quantum(*arguments)
    assert (found, out) == (status, "")
    assert sentence in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(("--from", "xx"), "--from: cannot read timestamp `xx`"), (("a{",), "selector"), (('{a=~"("}',), "is refused")],
)
def test_errors_of_an_export_are_one_sentence(
    quantum: Any, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    (tmp_path / "cpu.csv").write_text(CSV)
    quantum("import", "cpu.csv")
    status, out, err = quantum("export", *arguments)
    assert (status, out) == (1, "")
    assert sentence in err
    assert len(err.splitlines()) == 1


def test_each_tenant_has_a_store_of_its_own(quantum: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTUM_TENANTS", "default,acme")
    monkeypatch.setenv("QUANTUM_AUTH__MODE", "keycloak")
    monkeypatch.setenv("QUANTUM_AUTH__ISSUER", "https://sso.example/realms/quantum")
    (tmp_path / "cpu.csv").write_text(CSV)
    assert quantum("import", "cpu.csv", "--tenant", "acme")[0] == 0
    assert (tmp_path / "data" / "tenants" / "acme.db").is_file()
    assert quantum("export")[0] == 1, "store.tenant has no store yet"
    assert quantum("migrate")[1].splitlines() == [
        "data/quantum.db is up to date",
        "data/tenants/acme.db is up to date",
    ]
    assert len(quantum("export")[1].splitlines()) <= 1
    assert len(quantum("export", "--tenant", "acme")[1].splitlines()) == 4
    status, _, err = quantum("export", "--tenant", "elsewhere")
    assert status == 1
    assert "'elsewhere' is none of those that are served: default, acme" in err
