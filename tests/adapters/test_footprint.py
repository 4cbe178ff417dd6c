"""How much memory there is, as Linux says it; control groups of both versions."""

from __future__ import annotations

import math
import resource
from pathlib import Path

import psutil

from quantum.adapters.footprint import allowed_bytes, resident_bytes

TOTAL = psutil.virtual_memory().total
NOWHERE = Path("/nonexistent")


def test_the_resident_memory_is_what_the_system_says() -> None:
    held = bytearray(64 << 20)
    held[:] = b"x" * len(held)
    found = resident_bytes()
    assert len(held) < found <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 * 1.01
    assert math.isclose(found, psutil.Process().memory_info().rss, rel_tol=0.05)


def test_without_control_groups_the_machine_is_the_limit() -> None:
    assert allowed_bytes(NOWHERE, NOWHERE) == TOTAL


def group(folder: Path, path: str, name: str, text: str) -> None:
    (folder / path).mkdir(parents=True, exist_ok=True)
    (folder / path / name).write_text(text)


def test_the_lowest_limit_of_the_groups_above_counts(tmp_path: Path) -> None:
    groups = tmp_path / "cgroup"
    groups.write_text("0::/pod/box\n")
    for path, text in (("", "max\n"), ("pod", "1000000\n"), ("pod/box", "max\n")):
        group(tmp_path / "fs", path, "memory.max", text)
    assert allowed_bytes(groups, tmp_path / "fs") == 1_000_000
    group(tmp_path / "fs", "pod/box", "memory.max", "500000\n")
    assert allowed_bytes(groups, tmp_path / "fs") == 500_000


def test_version_1_and_a_path_that_is_not_seen_from_inside(tmp_path: Path) -> None:
    groups = tmp_path / "cgroup"
    groups.write_text("5:cpu,cpuacct:/x\n3:memory:/docker/abc\n")
    group(tmp_path / "fs", "memory", "memory.limit_in_bytes", "2000000\n")
    group(tmp_path / "fs", "cpu", "memory.limit_in_bytes", "1\n")
    assert allowed_bytes(groups, tmp_path / "fs") == 2_000_000


def test_a_limit_beyond_the_machine_is_none(tmp_path: Path) -> None:
    groups = tmp_path / "cgroup"
    groups.write_text("3:memory:/\n")
    group(tmp_path / "fs", "memory", "memory.limit_in_bytes", "9223372036854771712\n")
    assert allowed_bytes(groups, tmp_path / "fs") == TOTAL
