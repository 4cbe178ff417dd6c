"""Compiled code is of the present sources, those of other files that it was made of among them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from quantum.domain.detectors import periods
from quantum.domain.kernel_sources import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCES = {
    "kernel.py": "from quantum.domain.signs import (\n    A,\n    B,\n)\nfrom quantum.domain import helpers as own\n",
    "signs.py": "if True:\n    from quantum.domain.deeper import C\nA = B = 1\n",
    "deeper.py": "from quantum.domain.kernel import fill\nC = 1\n",
    "helpers.py": "D = 1\n",
    "other.py": "E = 1\n",
}


@pytest.fixture(name="digest")
def digest_of_a_package(tmp_path: Path) -> Callable[..., str]:
    """Return what writes the package with one file changed, to a place of its own, and tells the digest."""

    def digest(changed: str = "") -> str:
        root = tmp_path / (changed or "as it is")
        for name, text in SOURCES.items():
            file = root / "quantum" / "domain" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text + "F = 2\n" * (name == changed))
        return digest_of(root / "quantum" / "domain" / "kernel.py", root)

    return digest


@pytest.mark.parametrize("changed", ["kernel.py", "signs.py", "deeper.py", "helpers.py"])
def test_whatever_a_kernel_imports_changes_its_digest(digest: Callable[..., str], changed: str) -> None:
    assert digest(changed) != digest()


def test_what_it_does_not_import_changes_nothing(digest: Callable[..., str]) -> None:
    assert digest("other.py") == digest()


def test_the_cache_of_compiled_code_goes_by_that_digest() -> None:
    kernel: Any = periods.follow_periods
    stamp = kernel._cache._impl.locator.get_source_stamp()
    assert stamp[1] == digest_of(Path(periods.__file__))
