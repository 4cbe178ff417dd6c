"""Processor time counts whole families of processes, and a database is found by its connection."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import psutil
import pytest
from tests.parts.postgres import new_cluster

from quantum.cli import CommandFailed
from quantum.cli.clusters import find_program, running_cluster
from quantum.cli.clusters import new_cluster as empty_cluster
from quantum.cli.measuring import cpu_s, rounded
from quantum.cli.servers import database_pid, database_size

BURN: Final = "import time\nwhile time.process_time() < 0.3: pass\n"
FAMILY: Final = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {BURN!r}], check=True)
living = subprocess.Popen([sys.executable, "-c", {BURN!r} + "print(flush=True); input()"], stdin=-1, stdout=-1)
living.stdout.readline()
print(flush=True)
input()
"""


def test_children_that_live_and_those_that_are_gone_are_counted() -> None:
    with subprocess.Popen([sys.executable, "-c", FAMILY], stdin=-1, stdout=-1) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        used_s = cpu_s([parent.pid])
        alone = psutil.Process(parent.pid).cpu_times()
        for one in psutil.Process(parent.pid).children():
            one.terminate()
        parent.kill()
    assert used_s >= 0.6 > alone.user + alone.system


def test_figures_have_three_digits() -> None:
    assert [rounded(figure) for figure in (1234.5, 0.00123456, 1.0)] == [1230.0, 0.00123, 1.0]


def test_a_database_server_is_found_by_its_connection_and_measured() -> None:
    with running_cluster() as cluster:
        pid = database_pid(cluster.url())
        assert pid is not None
        assert cluster.home.name in " ".join(psutil.Process(pid).cmdline())
        assert cpu_s([pid]) > 0
        assert database_size(cluster.url()) > 1_000_000
    assert not cluster.home.exists()
    assert not psutil.pid_exists(pid)


def test_the_clusters_of_tests_are_those_of_the_measurements() -> None:
    with new_cluster() as cluster, cluster.running():
        assert cluster.answers()


def test_a_cluster_that_cannot_be_made_is_a_sentence() -> None:
    refusing = find_program("false")
    assert refusing is not None
    with pytest.raises(CommandFailed, match="initdb failed"), empty_cluster(refusing):
        pass


def test_a_program_that_is_nowhere_is_not_found() -> None:
    assert find_program("no-program-of-postgresql") is None
