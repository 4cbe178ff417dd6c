"""Targets: what jobs and files say shall be asked, checked and relabelled.

A target that makes no sense is told once and keeps none of the others out, as does a file that cannot be read: what it
listed before stays. A target is its job, address and labels; if one of them changes it is another target.

>>> target = build_target(Job(job="node"), "db:9100", {"rack": "7"})
>>> target.url, target.labels
('http://db:9100/metrics', {'rack': '7', 'job': 'node', 'instance': 'db:9100'})
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from quantum.adapters.relabel import Rule, relabel
from quantum.domain.errors import Rejected
from quantum.domain.labels import NAME, LabelSet

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Mapping, Sequence

META: Final = "__"
SCHEMES: Final = ("http", "https")
MAX_FILE_BYTES: Final = 10_000_000

_CREDENTIALS: Final = re.compile("[^/]*@")

Listed = tuple[str, dict[str, str]]
"""An address and the labels that come with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a group of targets has in common; see docs/send-metrics.md."""

    job: str
    targets: tuple[str, ...] = ()
    targets_file: str = ""
    interval_ms: int = 15_000
    timeout_ms: int = 10_000
    scheme: str = "http"
    path: str = "/metrics"
    labels: Mapping[str, str] = field(default_factory=dict)
    honor_labels: bool = False
    relabel: tuple[Rule, ...] = ()
    metric_relabel: tuple[Rule, ...] = ()
    max_body_bytes: int = 10_000_000
    max_samples: int = 100_000
    bearer_token_file: str = ""
    ca_file: str = ""


@dataclass(slots=True, eq=False)
class Target:
    """One address that is asked, and what is known of it.

    Attributes:
        job: whose it is.
        url: what is asked.
        labels: of all its series.
        known: by the text of each series that it had last time: its label set, and None if a rule drops it.
        lasting: of these, the ones that came without a time of their own: they end when they are missed.
        error: why the last scrape failed, or "".
        scraped_ms: when it was asked last.
        samples: how many it had then.
        due_ms: when it is asked next.
    """

    job: Job
    url: str
    labels: dict[str, str]
    known: dict[bytes, LabelSet | None] = field(default_factory=dict)
    lasting: set[LabelSet] = field(default_factory=set)
    error: str = ""
    scraped_ms: int = 0
    samples: int = 0
    due_ms: int = 0
    asking: asyncio.Task[None] | None = None

    @property
    def identity(self) -> tuple[str, str, LabelSet]:
        """What makes it another target if it changes."""
        return self.job.job, self.url, LabelSet.of(self.labels)


def build_target(job: Job, address: str, labels: Mapping[str, str]) -> Target | None:
    """Return the target of an address (`host:port` or a URL), None if a rule drops it.

    Raises:
        Rejected: `target`: it is no address that can be asked, or its labels are none.
    """
    try:
        parts = urlsplit(address if "://" in address else f"{job.scheme}://{address}{job.path}")
        found = {
            **job.labels,
            **labels,
            "job": job.job,
            "__address__": parts.netloc,
            "__scheme__": parts.scheme,
            "__metrics_path__": f"{parts.path or job.path}{f'?{parts.query}' if parts.query else ''}",
        }
        kept = relabel(job.relabel, found)
        if kept is None:
            return None
        place = kept.get("__address__", "")
        kept.setdefault("instance", place)
        url = f"{kept.get('__scheme__', 'http')}://{place}{kept.get('__metrics_path__', '/metrics')}"
        target = Target(job, url, {name: value for name, value in kept.items() if not name.startswith(META)})
        _check(target)
    except (ValueError, Rejected) as error:
        shown = _CREDENTIALS.sub("...@", address)[:100]
        raise Rejected("target", f"job {job.job}, target {shown!r}: {error}") from None
    return target


def _check(target: Target) -> None:
    """Raise Rejected or ValueError if it cannot be asked, or no series could have its labels."""
    parts = urlsplit(target.url)
    if parts.scheme not in SCHEMES:
        raise ValueError(f"the scheme {parts.scheme[:20]!r} is neither http nor https")
    if "@" in parts.netloc:
        raise ValueError("an address has no user and password, as everybody sees it as label; see bearer_token_file")
    if not parts.hostname or parts.port == 0 or any(char.isspace() for char in target.url):
        raise ValueError("it is no host:port and no URL")
    LabelSet.of({**target.labels, NAME: "up"})


class Discovery:
    """The targets of all jobs; their files are read again when they change."""

    def __init__(self, jobs: Sequence[Job], on_problem: Callable[[Rejected], None]) -> None:
        self._jobs, self._on_problem = jobs, on_problem
        self._stamps: dict[str, tuple[int, ...] | None] = {}
        self._listed: dict[str, list[Listed]] = {"": []}
        self._looked = False

    def look(self) -> list[Target] | None:
        """Return all targets, None if they are the same as at the last look.

        What is wrong with a file or a target is told once, and again after a file has changed.
        """
        files = dict.fromkeys(job.targets_file for job in self._jobs if job.targets_file)
        changed = [self._read(file) for file in files]
        if self._looked and not any(changed):
            return None
        self._looked = True
        return list({target.identity: target for target in self._targets()}.values())

    def _targets(self) -> Iterator[Target]:
        for job in self._jobs:
            own = [(address, dict[str, str]()) for address in job.targets]
            for address, labels in (*own, *self._listed[job.targets_file]):
                try:
                    target = build_target(job, address, labels)
                except Rejected as problem:
                    self._on_problem(problem)
                else:
                    if target is not None:
                        yield target

    def _read(self, file: str) -> bool:
        """Read a file if it has changed, and return whether it had."""
        stamp = _stamp(file)
        if file in self._stamps and self._stamps[file] == stamp:
            return False
        self._stamps[file] = stamp
        self._listed.setdefault(file, [])
        try:
            self._listed[file] = read_targets(file)
        except Rejected as problem:
            self._on_problem(problem)
        return True


def _stamp(file: str) -> tuple[int, ...] | None:
    """Return what changes with a file; None if there is none."""
    try:
        found = Path(file).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def read_targets(file: str) -> list[Listed]:
    """Return the addresses that a file lists, with their labels.

    Raises:
        Rejected: `targets_file`: it cannot be read, or is not as `file_sd_configs` of Prometheus has it.
    """
    try:
        with Path(file).open("rb") as opened:
            text = opened.read(MAX_FILE_BYTES + 1)
        groups = json.loads(text) if len(text) <= MAX_FILE_BYTES else None
    except (OSError, ValueError, RecursionError) as error:
        raise Rejected("targets_file", f"{file}: {getattr(error, 'strerror', None) or error}") from None
    if not isinstance(groups, list):
        raise Rejected("targets_file", f"{file}: it is no list of groups of at most {MAX_FILE_BYTES} bytes")
    return [one for number, group in enumerate(groups) for one in _listed(group, f"{file}: group {number}")]


def _listed(group: object, place: str) -> list[Listed]:
    """Return the addresses of a group; raises Rejected if it is none."""
    if not isinstance(group, dict):
        raise Rejected("targets_file", f"{place} is no object")
    targets, labels = group.get("targets"), group.get("labels") or {}
    if not isinstance(targets, list) or not all(isinstance(one, str) for one in targets):
        raise Rejected("targets_file", f"{place} has no list of texts as targets")
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        raise Rejected("targets_file", f"{place} has labels that are no object of texts")
    return [(target, labels) for target in targets]
