"""Detectors of other packages: found by their entry points, or refused with a sentence."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from quantum.adapters.plugins import find_detector
from quantum.composition import build_workspace
from quantum.domain.detectors.conformance import check_detector
from quantum.domain.errors import Unavailable
from quantum.loading import load_settings

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = """
import numpy as np
from quantum.domain.detectors.robust_seasonal import RobustSeasonal

class Mine(RobustSeasonal):
    name = "mine"
    version = 7

class Ragged(Mine):
    def dump(self):
        return {"sum": np.zeros(1)}

class Demanding(Mine):
    def __init__(self, wish):
        super().__init__()
"""
POINTS = """[quantum.detectors]
mine = others_detectors:Mine
ragged = others_detectors:Ragged
demanding = others_detectors:Demanding
gone = others_detectors:Gone
absent = no_such_module:Mine
"""


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package as pip would have installed it."""
    (tmp_path / "others_detectors.py").write_text(SOURCE)
    about = tmp_path / "others_detectors-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: others-detectors\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "others_detectors", raising=False)


def test_the_detector_of_a_package_is_found_and_conforms() -> None:
    make = find_detector("mine")
    assert (make().name, make().version) == ("mine", 7)
    check_detector(make, rows=60)


def test_the_default_needs_no_package() -> None:
    assert find_detector("robust-ensemble")().name == "robust-ensemble"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("nobody", "installed are: robust-ensemble, absent, demanding, gone, mine, ragged"),
        ("ragged", "its state 'sum' has 1 rows for 3 series"),
        ("demanding", "wish"),
        ("gone", "Gone"),
        ("absent", "no_such_module"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(name: str, complaint: str) -> None:
    with pytest.raises(Unavailable, match=complaint):
        find_detector(name)


def test_the_setting_puts_it_on_duty() -> None:
    container = build_workspace(
        load_settings(environment={"QUANTUM_DETECTION__DETECTOR": "mine"}, overrides={"store": "memory"})
    )
    assert container.detector().full.name == "mine"
