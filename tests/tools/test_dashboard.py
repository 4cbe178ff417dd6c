from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools import dashboard

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    frontend, static = tmp_path / "frontend", tmp_path / "src/quantum/static"
    (frontend / "src").mkdir(parents=True)
    (frontend / "package.json").write_text("{}")
    (frontend / "src/main.ts").write_text("start()")
    static.mkdir(parents=True)
    (static / "index.html").write_text("<app-root>")
    return tmp_path


def test_a_dashboard_that_was_never_built_is_not_built(checkout: Path) -> None:
    assert not dashboard.is_built(checkout)


def test_a_built_dashboard_is_not_built_again(checkout: Path) -> None:
    dashboard.mark_built(checkout)
    assert dashboard.is_built(checkout)


def test_a_checkout_with_new_times_and_old_content_is_not_built_again(checkout: Path) -> None:
    dashboard.mark_built(checkout)
    os.utime(checkout / "frontend/src/main.ts", (2_000_000_000, 2_000_000_000))
    assert dashboard.is_built(checkout)


@pytest.mark.parametrize("change", ["edit", "add", "remove", "rename"])
def test_a_changed_source_is_built_again(checkout: Path, change: str) -> None:
    dashboard.mark_built(checkout)
    source = checkout / "frontend/src/main.ts"
    match change:
        case "edit":
            source.write_text("stop()")
        case "add":
            source.with_name("more.ts").write_text("")
        case "remove":
            source.unlink()
        case _:
            source.rename(source.with_name("other.ts"))
    assert not dashboard.is_built(checkout)


@pytest.mark.parametrize("place", ["node_modules/x.js", ".angular/cache", "e2e/screens.mjs", "README.md"])
def test_what_does_not_go_into_the_build_does_not_cause_one(checkout: Path, place: str) -> None:
    dashboard.mark_built(checkout)
    path = checkout / "frontend" / place
    path.parent.mkdir(exist_ok=True)
    path.write_text("changed")
    assert dashboard.is_built(checkout)


def test_a_lost_build_is_built_again(checkout: Path) -> None:
    dashboard.mark_built(checkout)
    (checkout / "src/quantum/static/index.html").unlink()
    assert not dashboard.is_built(checkout)


def test_a_build_that_left_no_page_is_an_error(checkout: Path) -> None:
    (checkout / "src/quantum/static/index.html").unlink()
    with pytest.raises(FileNotFoundError, match=r"index\.html"):
        dashboard.mark_built(checkout)


def test_without_sources_there_is_nothing_to_build(tmp_path: Path) -> None:
    assert dashboard.is_built(tmp_path)


@given(
    first=st.dictionaries(st.sampled_from(["a", "b", "ab", "c"]), st.binary(max_size=4), max_size=3),
    second=st.dictionaries(st.sampled_from(["a", "b", "ab", "c"]), st.binary(max_size=4), max_size=3),
)
def test_digests_are_equal_exactly_when_the_sources_are(
    tmp_path_factory: pytest.TempPathFactory, first: dict[str, bytes], second: dict[str, bytes]
) -> None:
    digests = []
    for files in (first, second):
        directory = tmp_path_factory.mktemp("sources")
        for name, content in files.items():
            (directory / name).write_bytes(content)
        digests.append(dashboard.digest(directory))
    assert (digests[0] == digests[1]) == (first == second)


def test_npm_finds_its_own_node_first(tmp_path: Path) -> None:
    assert dashboard.environment(tmp_path)["PATH"].split(os.pathsep)[0] == str(tmp_path)
