"""`quantum bench watching`: the running program is measured with each tier, and what that costs is told."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from quantum.cli import bench_watching
from quantum.cli.servers import Server, Store, run_quantum

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest


def test_the_running_program_is_measured_storing_and_watching_with_either_detector(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One program plays all three parts, because each takes seconds to start."""
    asked: list[Store] = []
    with run_quantum(Store("sqlite"), tmp_path) as server:

        @contextmanager
        def started(store: Store, _: Path) -> Iterator[Server]:
            asked.append(store)
            yield server

        monkeypatch.setattr(bench_watching, "run_quantum", started)
        found = bench_watching.measure_watching(20, past_rows=100, seconds=1, settling=1)
    assert [(one.detects, one.environment().get("QUANTUM_DETECTION__FULL_SERIES")) for one in asked] == [
        (False, None),
        (True, "0"),
        (True, None),
    ]
    beyond, whole = found["rows"]
    assert beyond["measure"] == "20 series at 1 s in the running program, beyond storing"
    assert set(whole["rivals"]) == {"Quantum, cheap tier", "Quantum, stored only"}
    assert whole["quantum"] > 0
    assert all(one > 0 for one in whole["rivals"].values())
