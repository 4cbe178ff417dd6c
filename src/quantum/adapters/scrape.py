"""Scraping: targets that expose their metrics as text are asked at their interval, as Prometheus does it.

Every target has its own moment within the interval, so that not all are asked at once; a slow one delays nobody and is
never asked twice at a time. Besides what a target says, `up`, `scrape_duration_seconds`, `scrape_samples_scraped` and
`scrape_samples_post_metric_relabeling` are stored. A series that a target no longer has gets a staleness marker, and so
do all of them when it does not answer.

Targets are the operator's choice, so private addresses are welcome unless `outgoing.scrape_networks` says otherwise;
addresses that no service has but that give secrets away are refused, whatever a name resolves to (`addresses.py`).
"""

from __future__ import annotations

import asyncio
import ssl
import time
import zlib
from collections import Counter
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import aiohttp
import numpy as np

from quantum.adapters import exposition
from quantum.adapters.addresses import EVERYWHERE, AddressRefused, guarded_connector
from quantum.adapters.relabel import relabel
from quantum.adapters.scrape_targets import META, Discovery
from quantum.application.ingest import Incoming, Refusal, Refusals
from quantum.domain.errors import QuantumError, Rejected
from quantum.domain.labels import NAME, LabelSet
from quantum.domain.presence import STALENESS_MARKER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from quantum.adapters.addresses import Reach
    from quantum.adapters.scrape_targets import Job, Target
    from quantum.application.ingest import Ingest
    from quantum.application.ports import Clock

ACCEPT: Final = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
OPEN: Final = "application/openmetrics-text"
TEXT: Final = ("text/plain", "application/openmetrics-text", "")
LOOK_MS: Final = 1000
"""So often files with targets are looked at, and no wait is longer."""
PIECE_BYTES: Final = 65_536
STALE: Final = float(np.array([STALENESS_MARKER], np.uint64).view(np.float64)[0])
OWN: Final = ("up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling")
GOOD: Final = 200


class ScrapeFailed(QuantumError):
    """A target did not answer as it should."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Scraper:
    """Asks all targets; an async context manager.

    Attributes:
        targets: by job, address and labels.
        scrapes: how many were made; `failures` are counted by reason.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        ingest: Ingest,
        clock: Clock,
        on_change: Callable[[Target], None] = lambda _: None,
        on_problem: Callable[[str], None] = lambda _: None,
        reach: Reach = EVERYWHERE,
    ) -> None:
        self.targets: dict[tuple[str, str, LabelSet], Target] = {}
        self.scrapes = 0
        self.failures: Counter[str] = Counter()
        self._ingest, self._clock, self._reach = ingest, clock, reach
        self._on_change, self._on_problem = on_change, on_problem
        self._discovery = Discovery(jobs, self._told)
        self._ending: set[asyncio.Task[None]] = set()
        self._contexts = {job.job: _context(job) for job in jobs}
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        """Open the connections."""
        self._session = aiohttp.ClientSession(
            connector=guarded_connector(self._reach, limit=0),
            auto_decompress=False,
            headers={"User-Agent": "quantum", "Accept": ACCEPT},
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # every scrape has its own
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop asking."""
        asking = [target.asking for target in self.targets.values() if target.asking is not None]
        for task in (*asking, *self._ending):
            task.cancel()
        await asyncio.gather(*asking, *self._ending, return_exceptions=True)
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
        """Take up new targets and end those that are gone; what is known of the others stays."""
        found = self._discovery.look()
        if found is None:
            return
        wanted = {target.identity: self.targets.get(target.identity, target) for target in found}
        for target in wanted.values():
            if target.identity not in self.targets:
                target.due_ms = _due(target, now_ms - target.job.interval_ms)
                if target.due_ms < now_ms:
                    target.due_ms = _due(target, now_ms)
        gone = [self.targets[identity] for identity in self.targets.keys() - wanted.keys()]
        self.targets = wanted
        for target in gone:
            ending = asyncio.create_task(self._end(target))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    def _told(self, problem: Rejected) -> None:
        self.failures[problem.reason] += 1
        self._on_problem(str(problem))

    async def _end(self, target: Target) -> None:
        """End all series of a target that is not asked any more."""
        if target.asking is not None:
            target.asking.cancel()
            await asyncio.gather(target.asking, return_exceptions=True)
        gathered = Gathered(target)
        gathered.end_all(max(self._clock.now_ms(), target.scraped_ms + 1))
        try:
            await self._store(gathered)
        except QuantumError:
            self.failures["store"] += 1

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
        gathered = await asyncio.to_thread(gather, target, lines, at_ms)  # 2 s for 100,000 new series
        gathered.add_own(at_ms, len(lines.series), up=not error, took_s=time.perf_counter() - begin_s)
        try:
            await self._store(gathered)
        except QuantumError as trouble:
            self.failures["store"] += 1
            error = f"not stored: {trouble}"
            target.lasting |= gathered.lasting  # a part of it may be stored, and has to end some day
        else:
            target.known, target.lasting, target.samples = gathered.known, gathered.lasting, len(lines.series)
        target.error, target.scraped_ms = error, at_ms
        if first or bool(before) != bool(error):
            self._on_change(target)

    async def _store(self, gathered: Gathered) -> None:
        """Store rows in as many requests as the limits of one ask for."""
        limits = self._ingest.limits
        pieces = gathered.incoming(min(limits.max_series_per_request, limits.max_samples_per_request))
        for incoming in await asyncio.to_thread(list, pieces):
            await self._ingest.accept(incoming)

    async def _fetch(self, target: Target) -> exposition.Lines:
        job = target.job
        try:
            async with asyncio.timeout(job.timeout_ms / 1000):
                async with self._session.get(
                    target.url, headers=await _headers(job), allow_redirects=False, ssl=self._contexts[job.job]
                ) as answer:
                    kind = _checked_kind(answer)
                    body = await _body(answer, job.max_body_bytes)
        except AddressRefused as refusal:
            raise ScrapeFailed("address", str(refusal)) from None
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
        if unzip is not None and unzip.unused_data:  # of which zlib would keep all that is still to come
            raise ScrapeFailed("content_encoding", "goes on behind its gzip")
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
        self._rows: list[tuple[LabelSet, int, float]] = []

    def add(self, labels: LabelSet, at_ms: int, value: float) -> None:
        """Add a row."""
        self._rows.append((labels, at_ms, value))

    def add_own(self, at_ms: int, scraped: int, *, up: bool, took_s: float) -> None:
        """Add what is known without the target; end what it does not have any more."""
        kept = len(self._rows)
        for labels in self._target.lasting - self.lasting:
            self.add(labels, at_ms, STALE)
        for name, value in zip(OWN, (float(up), round(took_s, 6), float(scraped), float(kept)), strict=True):
            self.add(LabelSet.of({**self._target.labels, NAME: name}), at_ms, value)

    def end_all(self, at_ms: int) -> None:
        """End all series of the target, those that are known without it too."""
        own = {LabelSet.of({**self._target.labels, NAME: name}) for name in OWN} if self._target.scraped_ms else set()
        for labels in self._target.lasting | own:
            self.add(labels, at_ms, STALE)

    def incoming(self, most: int) -> Iterator[Incoming]:
        """Yield the rows as what any sender sends, at most so many at a time; the first has the refusals."""
        for first in range(0, len(self._rows), most):
            labels, at_ms, values = zip(*self._rows[first : first + most], strict=True)
            places = {one: place for place, one in enumerate(dict.fromkeys(labels))}
            series = list(places)
            yield Incoming(
                keys=[b"l" + one.canonical() for one in series],
                labels_of=series.__getitem__,
                row_series=np.array([places[one] for one in labels], np.int64),
                at_ms=np.array(at_ms, np.int64),
                values=np.array(values, np.float64),
                refusals=self.refusals if first == 0 else Refusals(),
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


# ---- when and where -------------------------------------------------------------------------------------------------


def _due(target: Target, after_ms: int) -> int:
    """Return the target's next moment: it is spread over the interval by a hash of what it is."""
    interval_ms = target.job.interval_ms
    digest = blake2b(f"{target.job.job} {target.url}".encode(), digest_size=8).digest()
    offset_ms = int.from_bytes(digest, "big") % interval_ms
    return after_ms - (after_ms - offset_ms) % interval_ms + interval_ms
