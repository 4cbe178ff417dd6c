"""The scores of the default detector by the rules of the Numenta Anomaly Benchmark, so that no change loses them."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from quantum.cli.bench_detect import measure_corpus

ARCHIVE = Path(__file__).parents[1] / "corpora" / "nab.tar.xz"
NOISE = 1.0
"""Points that a change may cost and mean nothing: what moving single weights by a tenth does (docs/detection.md)."""


@pytest.fixture(name="corpus")
def unpacked(tmp_path: Path) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def test_the_default_detector_is_as_good_as_it_was_on_the_benchmark(corpus: Path) -> None:
    found = measure_corpus(corpus / "data", corpus / "labels" / "combined_windows.json")
    assert found["files"] == 58
    assert float(str(found["standard"])) >= 76.4 - NOISE
    assert float(str(found["reward_low_fp"])) >= 71.2 - NOISE
    assert float(str(found["reward_low_fn"])) >= 80.0 - NOISE
