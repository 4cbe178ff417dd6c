"""What the documents say is true: the paths, names, targets, links, endpoints, settings and commands exist."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
import pytest

from quantum.application import ports
from quantum.cli import COMMANDS
from quantum.composition import build, build_workspace
from quantum.loading import load_settings
from quantum.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[1]
DOCUMENTS: Final = sorted(
    path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("frontend/*.md")) if path.is_file()
)
OUTSIDE: Final = ("http://", "https://", "mailto:")
MARKS: Final = re.compile("TO" + "DO|FIX" + "ME|XX" + "X")
MACHINE_PATHS: Final = re.compile(r"(?<![\w./~-])/" + r"(?:work|root|home/\w+|mnt)/")
PAGES: Final = ("/{path:path}", "/docs", "/openapi.json", "/api/schema")
"""Served for people with a browser, and not part of the documented API."""
NOT_TEXT: Final = (".png", ".ico", ".woff2", ".db", ".snappy", ".xz")


def ids(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def code_spans(document: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", re.sub(r"(?s)```.*?```", "", document.read_text()))


def code_blocks(document: Path) -> str:
    return "\n".join(re.findall(r"(?s)```\w*\n(.*?)```", document.read_text()))


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_every_path_that_is_named_exists(document: Path) -> None:
    tops = "src|tests|tools|docs|frontend|deploy|\\.ci"
    named = [span for span in code_spans(document) if re.fullmatch(rf"(?:{tops})/[\w./-]*", span)]
    missing = [path for path in named if not (ROOT / path).exists() and path != "src/quantum/static"]
    assert missing == []


def test_the_map_names_paths_at_all() -> None:
    assert sum("/" in span for span in code_spans(ROOT / "ARCHITECTURE.md")) > 20


def port_names() -> list[str]:
    found = inspect.getmembers(ports, inspect.isclass)
    return [name for name, kind in found if Protocol in kind.__bases__ and kind.__module__ == ports.__name__]


@pytest.mark.parametrize("name", port_names())
def test_every_port_has_contract_tests(name: str) -> None:
    snake = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    assert (ROOT / f"tests/contracts/test_{snake}.py").exists()


def glossary_rows() -> list[tuple[str, str]]:
    rows = re.findall(r"(?m)^\| ([^|]+) \| [^\n]+ \| `([\w.]+)` \|$", (ROOT / "GLOSSARY.md").read_text())
    return [(word, name) for word, name in rows if word != "word"]


@pytest.mark.parametrize(("word", "name"), glossary_rows())
def test_every_word_of_the_glossary_has_the_code_name_it_says(word: str, name: str) -> None:
    assert resolve(f"quantum.{name}") is not None, word


def test_the_glossary_is_no_short_list() -> None:
    words = [word for word, _ in glossary_rows()]
    assert len(words) > 40
    assert len(words) == len(set(words))


def resolve(dotted: str) -> Any:
    """Return what a dotted name stands for, or None: a module, or members of one."""
    parts = dotted.split(".")
    for size in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:size]))
        except ModuleNotFoundError:
            continue
        for name in parts[size:]:
            found = getattr(found, name, None)
        return found
    return None


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_every_link_leads_somewhere(document: Path) -> None:
    text = document.read_text()
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"(?:src|srcset|href)=\"([^\"]+)\"", text)
    broken = [link for link in links if not link.startswith(OUTSIDE) and not leads_somewhere(document, link)]
    assert broken == []


def leads_somewhere(document: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = document if not path else document.parent / path
    if not target.exists():
        return False
    return not anchor or anchor in {slug(title) for title in re.findall(r"(?m)^#+ (.+)$", target.read_text())}


def slug(title: str) -> str:
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_every_make_target_that_is_named_exists(document: Path) -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    text = "\n".join((*code_spans(document), code_blocks(document)))
    assert set(re.findall(r"(?m)\bmake ([a-z-]+)", text)) <= targets


def test_every_make_target_says_what_it_does() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert re.findall(r"(?m)^([a-z-]+):(?!.*## )", makefile) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_every_command_that_is_named_exists(document: Path) -> None:
    spans = [span for span in code_spans(document) if span.startswith("quantum ")]
    lines = [line.removeprefix("$ ").strip() for line in code_blocks(document).splitlines()]
    commands = [text.split()[1] for text in (*spans, *lines) if re.match(r"quantum [a-z]", text)]
    assert {command for command in commands if command not in {*COMMANDS, "bench", "dead-letters"}} == set()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_there_to_be_run(name: str) -> None:
    module, _, function = COMMANDS[name].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:litestar", "ignore::DeprecationWarning:quantum")
def test_every_endpoint_is_documented_and_every_documented_endpoint_exists() -> None:
    app = build(load_settings(environment={}, overrides={"store": "memory"})).app()
    served = {re.sub(r":\w+}", "}", route.path) for route in app.routes if not route.path.startswith(PAGES)} - {"/"}
    documented = re.findall(r"(?m)^\| `(/[\w/{}-]+)` \|", (ROOT / "docs/http-api.md").read_text())
    assert sorted(documented) == sorted(served)


def settings_of(kind: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for field in msgspec.structs.fields(kind):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from settings_of(field.type, f"{prefix}{field.name}.")
        else:
            is_made = field.default is msgspec.NODEFAULT
            yield f"{prefix}{field.name}", field.default_factory() if is_made else field.default


def test_every_setting_is_documented_with_its_default() -> None:
    page = (ROOT / "docs/configuration.md").read_text()
    documented = dict(re.findall(r"(?m)^\| `([\w.]+)` \| `([^`]*)` \|", page))
    actual = {name: msgspec.json.encode(default).decode() for name, default in settings_of(Settings)}
    assert documented == actual


def test_nothing_is_left_for_later() -> None:
    found = [ids(path) for path, text in texts() if MARKS.search(text)]
    assert found == []


def test_no_path_of_somebodys_machine_is_in_the_tree() -> None:
    found = [f"{ids(path)}: {hit.group()}" for path, text in texts() if (hit := MACHINE_PATHS.search(text))]
    assert found == []


def texts() -> Iterator[tuple[Path, str]]:
    """Yield every tracked text that people wrote."""
    for path in tracked():
        if not path.name.endswith((*NOT_TEXT, ".lock", "package-lock.json")):
            yield path, path.read_text(encoding="utf-8")


def test_the_lock_files_name_only_public_registries() -> None:
    hosts = set()
    for name in ("uv.lock", "frontend/package-lock.json"):
        hosts |= set(re.findall(r"https?://([\w.-]+)/", (ROOT / name).read_text()))
    allowed = {"pypi.org", "files.pythonhosted.org", "registry.npmjs.org"}
    assert {host for host in hosts if host.startswith(("pypi", "files", "registry", "npm"))} <= allowed


def test_every_limit_that_can_be_set_is_in_the_table_of_limits_under_its_id_and_its_setting() -> None:
    text = (ROOT / "docs/limits.md").read_text()
    container = build_workspace(load_settings(environment={}))
    ids = {**container.ingest().limits.by_id(), **container.bounds().by_id(), **container.headroom().by_id()}
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert [one for one in ids if not any(f"`{one}`" in row for row in rows)] == []
    names = [f"limits.{field.name}" for field in msgspec.structs.fields(type(load_settings(environment={}).limits))]
    assert [name for name in names if not any(f"`{name}`" in row for row in rows)] == []
