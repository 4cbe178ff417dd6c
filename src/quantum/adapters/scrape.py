"""Scraping: targets that expose their metrics as text are asked at their interval, as Prometheus does it.

Every target has its own moment within the interval, so that not all are asked at once; a slow one delays nobody and is
never asked twice at a time. Besides what a target says, `up`, `scrape_duration_seconds`, `scrape_samples_scraped` and
`scrape_samples_post_metric_relabeling` are stored. A series that a target no longer has gets a staleness marker, and so
do all of them when it does not answer.

Targets are the operator's choice, so private addresses are welcome; addresses that no service has but that give secrets
away (link-local ones, where clouds serve credentials) are refused, whatever a name resolves to.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

import aiohttp
import numpy as np
from aiohttp.abc import AbstractResolver
from aiohttp.resolver import ThreadedResolver

from quantum.adapters import exposition
from quantum.adapters.relabel import Rule, relabel
from quantum.application.ingest import Incoming, Refusal, Refusals
from quantum.domain.errors import QuantumError, Rejected
from quantum.domain.labels import NAME, LabelSet
from quantum.domain.presence import STALENESS_MARKER

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from aiohttp.abc import ResolveResult

    from quantum.application.ingest import Ingest
    from quantum.application.ports import Clock

ACCEPT: Final = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
OPEN: Final = "application/openmetrics-text"
TEXT: Final = ("text/plain", "application/openmetrics-text", "")
LOOK_MS: Final = 1000
"""So often files with targets are looked at, and no wait is longer."""
PIECE_BYTES: Final = 65_536
SECRET_ADDRESSES: Final = frozenset(map(ip_address, ("100.100.100.200", "fd00:ec2::254", "192.0.0.192")))
"""Where clouds serve credentials besides link-local addresses."""
STALE: Final = float(np.array([STALENESS_MARKER], np.uint64).view(np.float64)[0])
META: Final = "__"
GOOD: Final = 200


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


class ScrapeFailed(QuantumError):
    """A target did not answer as it should."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Scraper:
    """Asks all targets; an async context manager.

    Attributes:
        targets: by job and address.
        scrapes: how many were made; `failures` are counted by reason.
    """

    def __init__(
        self, jobs: Sequence[Job], ingest: Ingest, clock: Clock, on_change: Callable[[Target], None] = lambda _: None
    ) -> None:
        self.targets: dict[tuple[str, str], Target] = {}
        self.scrapes = 0
        self.failures: Counter[str] = Counter()
        self._jobs, self._ingest, self._clock, self._on_change = jobs, ingest, clock, on_change
        self._files: dict[str, tuple[float, list[tuple[str, dict[str, str]]]]] = {}
        self._contexts = {job.job: _context(job) for job in jobs}
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        """Open the connections."""
        connector = aiohttp.TCPConnector(resolver=GuardedResolver(), limit=0, use_dns_cache=False)
        self._session = aiohttp.ClientSession(
            connector=connector, auto_decompress=False, headers={"User-Agent": "quantum", "Accept": ACCEPT}
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop asking."""
        asking = [target.asking for target in self.targets.values() if target.asking is not None]
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await self._session.close()

    def states(self) -> dict[str, float]:
        """Return how many targets answer, do not, and were not asked yet."""
        states = Counter({"up": 0.0, "down": 0.0, "unknown": 0.0})
        for target in self.targets.values():
            states["unknown" if not target.scraped_ms else "down" if target.error else "up"] += 1
        return dict(states)

    # ---- when -------------------------------------------------------------------------------------------------

    async def run_once(self) -> None:
        """Begin to ask whoever is due, then wait until the next is, a second at most."""
        now_ms = self._clock.now_ms()
        self._refresh(now_ms)
        for target in self.targets.values():
            if target.due_ms <= now_ms and (target.asking is None or target.asking.done()):
                target.asking = asyncio.create_task(self._ask(target, target.due_ms))
                target.due_ms = _due(target, now_ms)
            elif target.due_ms <= now_ms:
                self.failures["overrun"] += 1
                target.due_ms = _due(target, now_ms)
        following = min((target.due_ms for target in self.targets.values()), default=now_ms + LOOK_MS)
        await self._clock.sleep(max(1, min(LOOK_MS, following - self._clock.now_ms())))

    def _refresh(self, now_ms: int) -> None:
        """Take up new targets and forget those that are gone; what is known of the others stays."""
        wanted: dict[tuple[str, str], Target] = {}
        for job in self._jobs:
            for address, labels in (*((one, {}) for one in job.targets), *self._listed(job.targets_file)):
                target = build_target(job, address, labels)
                if target is not None:
                    wanted[job.job, target.url] = self.targets.get((job.job, target.url), target)
        for key, target in wanted.items():
            if key not in self.targets:
                target.due_ms = _due(target, now_ms - target.job.interval_ms)
                if target.due_ms < now_ms:
                    target.due_ms = _due(target, now_ms)
        for key in self.targets.keys() - wanted.keys():
            if (asking := self.targets[key].asking) is not None:
                asking.cancel()
        self.targets = wanted

    def _listed(self, file: str) -> list[tuple[str, dict[str, str]]]:
        """Return the targets that a file lists; what it listed before, if it cannot be read now."""
        if not file:
            return []
        changed_s, listed = self._files.get(file, (0.0, []))
        try:
            newest_s = Path(file).stat().st_mtime
            if newest_s != changed_s:
                listed = [
                    (str(address), {str(name): str(value) for name, value in group.get("labels", {}).items()})
                    for group in json.loads(Path(file).read_bytes())
                    for address in group["targets"]
                ]
                self._files[file] = (newest_s, listed)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            self.failures["targets_file"] += 1
        return listed

    # ---- one target -------------------------------------------------------------------------------------------

    async def _ask(self, target: Target, at_ms: int) -> None:
        """Scrape a target once, and store what came of it."""
        before, begin_s = target.error, time.perf_counter()
        first = not target.scraped_ms
        self.scrapes += 1
        lines, error = exposition.Lines(), ""
        try:
            lines = await self._fetch(target)
        except ScrapeFailed as failure:
            self.failures[failure.reason] += 1
            error = str(failure)
        gathered = gather(target, lines, at_ms)
        gathered.add_own(at_ms, len(lines.series), up=not error, took_s=time.perf_counter() - begin_s)
        try:
            await self._ingest.accept(gathered.incoming())
        except QuantumError as trouble:
            self.failures["store"] += 1
            error = f"not stored: {trouble}"
        else:
            target.known, target.lasting, target.samples = gathered.known, gathered.lasting, len(lines.series)
        target.error, target.scraped_ms = error, at_ms
        if first or bool(before) != bool(error):
            self._on_change(target)

    async def _fetch(self, target: Target) -> exposition.Lines:
        job = target.job
        refuse_secret_address(urlsplit(target.url).hostname or "")  # no resolver is asked for an address
        try:
            async with asyncio.timeout(job.timeout_ms / 1000):
                async with self._session.get(
                    target.url, headers=await _headers(job), allow_redirects=False, ssl=self._contexts[job.job]
                ) as answer:
                    kind = _checked_kind(answer)
                    body = await _body(answer, job.max_body_bytes)
        except TimeoutError:
            raise ScrapeFailed("timeout", f"no answer within {job.timeout_ms / 1000:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ScrapeFailed("connection", str(error)[:200] or type(error).__name__) from None
        lines = await asyncio.to_thread(_split, body, kind == OPEN)
        if len(lines.series) > job.max_samples:
            raise ScrapeFailed("sample_limit", f"{len(lines.series)} samples, max_samples is {job.max_samples}")
        return lines


def _context(job: Job) -> ssl.SSLContext | bool:
    return ssl.create_default_context(cafile=job.ca_file) if job.ca_file else True


def _split(body: bytes, is_open: bool) -> exposition.Lines:  # noqa: FBT001 - for a thread
    try:
        lines = exposition.split(body, is_open=is_open)
    except Rejected as error:
        raise ScrapeFailed(error.reason, str(error)) from None
    if lines.refused and not lines.series:
        raise ScrapeFailed("malformed", "the answer has no metrics in it")
    return lines


async def _headers(job: Job) -> dict[str, str]:
    headers = {"Accept-Encoding": "gzip", "X-Prometheus-Scrape-Timeout-Seconds": f"{job.timeout_ms / 1000:g}"}
    if job.bearer_token_file:
        token = await asyncio.to_thread(Path(job.bearer_token_file).read_text, encoding="utf-8")
        headers["Authorization"] = f"Bearer {token.strip()}"
    return headers


def _checked_kind(answer: aiohttp.ClientResponse) -> str:
    if answer.status != GOOD:
        raise ScrapeFailed("status", f"answered {answer.status}")
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind not in TEXT:
        raise ScrapeFailed("content_type", f"answered {kind[:80]!r}, which is no metrics")
    return kind


async def _body(answer: aiohttp.ClientResponse, most: int) -> bytes:
    """Return the decoded body; nothing beyond the limit is kept or decompressed."""
    encoding = answer.headers.get("Content-Encoding", "identity").lower()
    if encoding not in {"identity", "gzip"}:
        raise ScrapeFailed("content_encoding", f"answered with the encoding {encoding[:40]!r}")
    unzip = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
    body = bytearray()
    async for piece in answer.content.iter_chunked(PIECE_BYTES):
        try:
            body += unzip.decompress(piece, most + 1 - len(body)) if unzip else piece
        except zlib.error as error:
            raise ScrapeFailed("content_encoding", f"is no gzip: {error}") from None
        if len(body) > most:
            raise ScrapeFailed("body_too_large", f"the answer has more than {most} bytes (max_body_bytes)")
    if unzip is not None and not unzip.eof:
        raise ScrapeFailed("truncated", "the compressed answer is cut off")
    return bytes(body)


# ---- what a scrape becomes ------------------------------------------------------------------------------------------


class Gathered:
    """The rows of one scrape."""

    def __init__(self, target: Target) -> None:
        self.known: dict[bytes, LabelSet | None] = {}
        self.lasting: set[LabelSet] = set()
        self.refusals = Refusals()
        self._target = target
        self._places: dict[LabelSet, int] = {}
        self._rows: list[tuple[int, int, float]] = []

    def add(self, labels: LabelSet, at_ms: int, value: float) -> None:
        """Add a row."""
        self._rows.append((self._places.setdefault(labels, len(self._places)), at_ms, value))

    def add_own(self, at_ms: int, scraped: int, *, up: bool, took_s: float) -> None:
        """Add what is known without the target; end what it does not have any more."""
        kept = len(self._rows)
        for labels in self._target.lasting - self.lasting:
            self.add(labels, at_ms, STALE)
        for name, value in (
            ("up", float(up)),
            ("scrape_duration_seconds", round(took_s, 6)),
            ("scrape_samples_scraped", float(scraped)),
            ("scrape_samples_post_metric_relabeling", float(kept)),
        ):
            self.add(LabelSet.of({**self._target.labels, NAME: name}), at_ms, value)

    def incoming(self) -> Incoming:
        """Return the rows as what any sender sends."""
        series = list(self._places)
        places, at_ms, values = zip(*self._rows, strict=True)
        return Incoming(
            keys=[b"l" + labels.canonical() for labels in series],
            labels_of=series.__getitem__,
            row_series=np.array(places, np.int64),
            at_ms=np.array(at_ms, np.int64),
            values=np.array(values, np.float64),
            refusals=self.refusals,
        )


def gather(target: Target, lines: exposition.Lines, at_ms: int) -> Gathered:
    """Return the rows of what a target said."""
    gathered = Gathered(target)
    if lines.refused:
        sentence = f"line {lines.told[0]} of {target.url} makes no sense"
        gathered.refusals.add(Refusal("malformed_line", sentence), lines.refused)
    for series, value, own_ms in zip(lines.series, lines.values, lines.at_ms, strict=True):
        try:
            labels = target.known[series] if series in target.known else _labels(target, series)
        except Rejected as error:
            gathered.refusals.add(Refusal(error.reason, str(error)))
            continue
        gathered.known[series] = labels
        if labels is not None:
            gathered.add(labels, at_ms if own_ms is None else own_ms, value)
            if own_ms is None:
                gathered.lasting.add(labels)
    return gathered


def _labels(target: Target, series: bytes) -> LabelSet | None:
    """Return the label set under which a series of a target is stored, None if a rule drops it."""
    own, job = exposition.labels_of(series), target.job
    if job.honor_labels:
        labels = {**target.labels, **{name: value for name, value in own.items() if value}}
    else:
        labels = {(f"exported_{name}" if name in target.labels else name): value for name, value in own.items()}
        labels |= target.labels
    kept = relabel(job.metric_relabel, labels)
    return None if kept is None else LabelSet.of({name: value for name, value in kept.items() if _stays(name)})


def _stays(name: str) -> bool:
    return name == NAME or not name.startswith(META)


# ---- targets --------------------------------------------------------------------------------------------------------


def build_target(job: Job, address: str, labels: Mapping[str, str]) -> Target | None:
    """Return the target of an address (`host:port` or a URL), None if a rule drops it."""
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
    if kept is None or not kept.get("__address__"):
        return None
    kept.setdefault("instance", kept["__address__"])
    url = f"{kept.get('__scheme__', 'http')}://{kept['__address__']}{kept.get('__metrics_path__', '/metrics')}"
    return Target(job, url, {name: value for name, value in kept.items() if _stays(name)})


def _due(target: Target, after_ms: int) -> int:
    """Return the target's next moment: it is spread over the interval by a hash of what it is."""
    interval_ms = target.job.interval_ms
    digest = blake2b(f"{target.job.job} {target.url}".encode(), digest_size=8).digest()
    offset_ms = int.from_bytes(digest, "big") % interval_ms
    return after_ms - (after_ms - offset_ms) % interval_ms + interval_ms


class GuardedResolver(AbstractResolver):
    """Resolves names, and refuses those with an address that may not be asked; connections go to what was checked."""

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = 0) -> list[ResolveResult]:  # type: ignore[assignment] # as aiohttp has it
        """See AbstractResolver."""
        found = await self._resolver.resolve(host, port, family)
        for one in found:
            refuse_secret_address(one["host"])
        return found

    async def close(self) -> None:
        """See AbstractResolver."""
        await self._resolver.close()


def refuse_secret_address(text: str) -> None:
    """Raise ScrapeFailed for an address where nobody's metrics are, but secrets may be; a name passes."""
    try:
        address: Any = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_link_local or address.is_multicast or address.is_unspecified or address in SECRET_ADDRESSES:
        raise ScrapeFailed("address", f"{text} is no address that may be asked")
