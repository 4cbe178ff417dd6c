"""This machine's own metrics, by psutil and /proc: what a person would look at first, and nothing that needs rights.

Ratios lie in [0, 1]. Rates are per second since the collection before, so the first collection has none of them.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from quantum.domain.labels import NAME, LabelSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Reading = tuple[LabelSet, float]

PRESSURE: Final = Path("/proc/pressure")
VIRTUAL_DISKS: Final = ("loop", "ram", "zram", "fd", "sr")
CPU_MODES: Final = ("user", "system", "iowait", "steal")


class HostMetrics:
    """Collects readings of this machine; keeps the counters of the last collection to turn them into rates."""

    def __init__(self, host: str = "") -> None:
        self._host = host or socket.gethostname()
        self._process = psutil.Process()
        self._labels: dict[tuple[str, ...], LabelSet] = {}
        self._counters: dict[LabelSet, tuple[float, float]] = {}
        self._cpu: dict[str, tuple[float, dict[str, float]]] = {}

    def collect(self, elapsed_s: float) -> list[Reading]:
        """Return all readings that this machine gives.

        Args:
            elapsed_s: a clock that only moves forward, in seconds; rates are divided by its progress.
        """
        readings: list[Reading] = []
        for part in (
            self._processors,
            self._memory,
            self._file_systems,
            self._disks,
            self._network,
            self._system,
            self._pressure,
            self._own_process,
        ):
            # what a machine, or whoever runs this, does not have or may not see; a mistake of ours is none of these
            with suppress(OSError, psutil.Error, NotImplementedError):
                readings.extend(part(elapsed_s))
        return readings

    def _processors(self, _: float) -> Iterator[Reading]:
        yield from self._cpu_shares("", psutil.cpu_times(), self._whole_machine)
        for number, times in enumerate(psutil.cpu_times(percpu=True)):
            yield from self._cpu_shares(str(number), times, self._one_core)

    def _cpu_shares(
        self, cpu: str, times: object, describe: Callable[[str, float, dict[str, float]], Iterator[Reading]]
    ) -> Iterator[Reading]:
        # guest time is already part of user time in what Linux counts, see proc_stat(5)
        spent = {mode: value for mode, value in times._asdict().items() if not mode.startswith("guest")}  # type: ignore[attr-defined]
        total = sum(spent.values())
        before, parts = self._cpu.get(cpu, (total, spent))
        self._cpu[cpu] = (total, spent)
        passed = total - before
        if passed > 0:
            shares = {mode: min(1.0, max(0.0, (spent[mode] - parts[mode]) / passed)) for mode in spent}
            busy = 1.0 - min(1.0, shares.get("idle", 0.0) + shares.get("iowait", 0.0))
            yield from describe(cpu, busy, shares)

    def _whole_machine(self, _: str, busy: float, shares: dict[str, float]) -> Iterator[Reading]:
        yield self._series("host_cpu_busy_ratio"), busy
        for mode in CPU_MODES:
            if mode in shares:
                yield self._series("host_cpu_mode_ratio", "mode", mode), shares[mode]

    def _one_core(self, cpu: str, busy: float, _: dict[str, float]) -> Iterator[Reading]:
        yield self._series("host_cpu_core_busy_ratio", "cpu", cpu), busy

    def _memory(self, _: float) -> Iterator[Reading]:
        memory = psutil.virtual_memory()
        yield self._series("host_memory_used_ratio"), 1.0 - memory.available / memory.total
        yield self._series("host_memory_available_bytes"), float(memory.available)
        swap = psutil.swap_memory()
        if swap.total:
            yield self._series("host_swap_used_ratio"), swap.used / swap.total

    def _file_systems(self, _: float) -> Iterator[Reading]:
        seen: set[str] = set()
        for partition in psutil.disk_partitions(all=False):
            if partition.device in seen:
                continue
            seen.add(partition.device)
            with suppress(OSError):
                usage = psutil.disk_usage(partition.mountpoint)
                where = partition.mountpoint
                if usage.total:
                    yield self._series("host_disk_used_ratio", "mountpoint", where), usage.used / usage.total
                    yield self._series("host_disk_free_bytes", "mountpoint", where), float(usage.free)

    def _disks(self, elapsed_s: float) -> Iterator[Reading]:
        for device, counters in (psutil.disk_io_counters(perdisk=True) or {}).items():
            if device.startswith(VIRTUAL_DISKS):
                continue
            yield from self._rate("host_disk_read_bytes_per_s", "device", device, counters.read_bytes, elapsed_s)
            yield from self._rate("host_disk_write_bytes_per_s", "device", device, counters.write_bytes, elapsed_s)
            if hasattr(counters, "busy_time"):
                yield from self._rate("host_disk_busy_ratio", "device", device, counters.busy_time / 1000, elapsed_s)

    def _network(self, elapsed_s: float) -> Iterator[Reading]:
        for device, counters in psutil.net_io_counters(pernic=True).items():
            yield from self._rate("host_network_receive_bytes_per_s", "device", device, counters.bytes_recv, elapsed_s)
            yield from self._rate("host_network_transmit_bytes_per_s", "device", device, counters.bytes_sent, elapsed_s)
            faults = counters.errin + counters.errout + counters.dropin + counters.dropout
            yield from self._rate("host_network_faults_per_s", "device", device, faults, elapsed_s)

    def _system(self, elapsed_s: float) -> Iterator[Reading]:
        for minutes, load in zip((1, 5, 15), psutil.getloadavg(), strict=True):
            yield self._series(f"host_load{minutes}"), load
        yield self._series("host_processes"), float(len(psutil.pids()))
        switches = psutil.cpu_stats().ctx_switches
        yield from self._rate("host_context_switches_per_s", "", "", switches, elapsed_s)

    def _pressure(self, elapsed_s: float) -> Iterator[Reading]:
        """Share of time in which some task waited for a resource: pressure stall information of Linux, `some` line."""
        for resource in ("cpu", "io", "memory"):
            with suppress(OSError, ValueError, IndexError):
                some = (PRESSURE / resource).read_text(encoding="ascii").split("\n", 1)[0]
                stalled_s = int(some.rsplit("total=", 1)[1]) / 1e6
                yield from self._rate("host_pressure_ratio", "resource", resource, stalled_s, elapsed_s)

    def _own_process(self, elapsed_s: float) -> Iterator[Reading]:
        with self._process.oneshot():
            times = self._process.cpu_times()
            yield from self._rate("quantum_process_cpu_ratio", "", "", times.user + times.system, elapsed_s)
            yield self._series("quantum_process_memory_bytes"), float(self._process.memory_info().rss)
            yield self._series("quantum_process_threads"), float(self._process.num_threads())
            if os.name == "posix":
                yield self._series("quantum_process_open_files"), float(self._process.num_fds())

    def _rate(self, name: str, label: str, value: str, counter: float, elapsed_s: float) -> Iterator[Reading]:
        series = self._series(name, label, value)
        counted, then_s = self._counters.get(series, (counter, elapsed_s))
        self._counters[series] = (counter, elapsed_s)
        # a counter that went back was reset; the first difference after that says nothing
        if elapsed_s > then_s and counter >= counted:
            yield series, (counter - counted) / (elapsed_s - then_s)

    def _series(self, name: str, label: str = "", value: str = "") -> LabelSet:
        key = (name, value)
        if key not in self._labels:
            pairs = {NAME: name, "host": self._host, **({label: value} if label else {})}
            self._labels[key] = LabelSet.of(pairs)
        return self._labels[key]
