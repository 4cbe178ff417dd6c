"""The commands that open a store, on a PostgreSQL database that the environment names."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from psycopg.conninfo import conninfo_to_dict
from tests.parts.postgres import sql

from quantum.cli import run_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WALLED = "the database keeps tenants apart as well (row-level security)"
CSV = "timestamp,value,host\n2026-01-01T00:00:00Z,1.5,a\n2026-01-01T00:00:10Z,stale,a\n"


@pytest.fixture
def url(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an empty database; the environment says to use it, for a tenant of this test."""
    name = f"commands_{os.getpid()}"
    sql(postgres_url, f"CREATE DATABASE {name}")
    parts = conninfo_to_dict(postgres_url)
    address = f"postgresql://{parts['user']}:s3cret@/{name}?host={parts['host']}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QUANTUM_STORE__KIND", "postgres")
    monkeypatch.setenv("QUANTUM_STORE__URL", address)
    yield address
    sql(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


def store_finding(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return what doctor says of the store; other parts of this machine are not at issue here."""
    run_command(["doctor", "--json"])
    findings = json.loads(capsys.readouterr().out)
    return next(one for one in findings if one["part"] == "store")


def test_doctor_and_migrate_say_what_the_schema_lacks(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert re.search(r"lacks (\d+) of \1 steps", store_finding(capsys)["words"])
    for missing in (r"[1-9]\d*", "0"):
        assert run_command(["migrate"]) == 0
        assert re.search(rf"up to date \({missing} steps were missing\)", capsys.readouterr().out)
    assert store_finding(capsys)["words"].endswith("tenant default has 0 facts; nobody writes now; " + WALLED)


def test_no_command_shows_the_password(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("doctor", "migrate", "check-config"):
        run_command([command])
        said = capsys.readouterr()
        assert "(set)@" in said.out
        assert "s3cret" not in said.out + said.err


def test_doctor_says_why_a_database_cannot_be_had(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTUM_STORE__URL", "postgresql:///nowhere?host=/nowhere")
    finding = store_finding(capsys)
    assert not finding["well"]
    assert "the database cannot be reached" in finding["words"]


def test_a_database_in_another_encoding_is_refused_with_a_sentence_that_says_what_to_do(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"ascii_{os.getpid()}"
    sql(url, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
    monkeypatch.setenv("QUANTUM_STORE__URL", re.sub(r"/\w+\?", f"/{name}?", url))
    try:
        finding = store_finding(capsys)
        assert not finding["well"]
        assert "CREATE DATABASE quantum TEMPLATE template0 ENCODING 'UTF8'" in finding["words"]
        for command in (["migrate"], ["run", "--port", "0"]):
            assert run_command(command) == 1
            [sentence] = capsys.readouterr().err.splitlines()
            assert "the database's encoding is SQL_ASCII, but UTF8 is needed" in sentence
    finally:
        sql(url, f"DROP DATABASE {name}")


def test_csv_goes_in_and_comes_out_again_and_is_replayed(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cpu.csv").write_text(CSV)
    assert run_command(["import", "cpu.csv"]) == 0
    assert capsys.readouterr().out == "2 samples stored, 0 were there already\n"
    assert run_command(["export"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "2026-01-01T00:00:00.000Z,1.5,cpu,a",
        "2026-01-01T00:00:10.000Z,stale,cpu,a",
    ]
    assert run_command(["replay", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 2
    assert not (tmp_path / "quantum-data").exists()


def test_a_store_that_nothing_outlives_is_not_imported_into(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.csv").write_text(CSV)
    monkeypatch.setenv("QUANTUM_STORE__KIND", "memory")
    assert run_command(["import", "cpu.csv"]) == 1
    assert "store.kind is memory" in capsys.readouterr().err
