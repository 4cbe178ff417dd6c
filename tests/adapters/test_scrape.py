"""Scraping: real HTTP targets, good, bad and hostile, in virtual time; what they say is stored."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import socket
import ssl
import threading
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from aiohttp import web
from tests.parts.authority import LATE, LONG_AGO, Authority

from quantum.adapters.addresses import EVERYWHERE, PUBLIC
from quantum.adapters.memory import ManualClock, MemoryStream
from quantum.adapters.relabel import Rule
from quantum.adapters.scrape import Scraper, _due
from quantum.adapters.scrape_targets import Job, Target, build_target
from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.application.ingest import Ingest, Limits
from quantum.domain.errors import Overloaded
from quantum.domain.presence import STALENESS_MARKER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime
    from pathlib import Path

    from quantum.adapters.addresses import Reach
    from quantum.application.ingest import Incoming, Receipt

NOW_MS: Final = 1_800_000_000_000


class Exporter:
    """A target whose answer a test decides."""

    def __init__(self) -> None:
        self.answer: Any = lambda _: web.Response(text="")
        self.asked: list[web.Request] = []
        self.address = ""

    def says(self, text: str | bytes, kind: str = "text/plain", **headers: str) -> None:
        body = text.encode() if isinstance(text, str) else text
        self.answer = lambda _: web.Response(body=body, headers={"Content-Type": kind, **headers})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        answer = self.answer(request)
        return await answer if asyncio.iscoroutine(answer) else answer  # type: ignore[no-any-return]


@asynccontextmanager
async def listening(exporter: Exporter, context: ssl.SSLContext | None = None) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", exporter.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    exporter.address = f"127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
    yield
    await runner.cleanup()


@pytest.fixture
async def exporter() -> AsyncIterator[Exporter]:
    found = Exporter()
    async with listening(found):
        yield found


class Scene:
    """A scraper on a store in memory."""

    def __init__(self, scraper: Scraper, store: SqliteStore, clock: ManualClock) -> None:
        self.scraper, self.store, self.clock = scraper, store, clock

    async def scrape(self) -> list[Target]:
        """Let one interval pass, and wait for all answers."""
        longest = max((target.job.interval_ms for target in self.scraper.targets.values()), default=15_000)
        await self.step()
        for _ in range(10):
            self.clock.advance(longest // 10)
            await self.step()
        return list(self.scraper.targets.values())

    async def step(self) -> None:
        step = asyncio.create_task(self.scraper.run_once())
        await asyncio.sleep(0)
        await asyncio.gather(*self.scraper._ending)
        await asyncio.gather(*(one.asking for one in self.scraper.targets.values() if one.asking))
        step.cancel()
        await asyncio.gather(step, return_exceptions=True)

    async def stored(self) -> dict[str, list[float]]:
        """Every stored value, oldest first, by series."""
        found = {}
        for slot, labels in await self.store.series():
            found[str(labels)] = (await self.store.samples([slot], 0, 2**62)).values.tolist()
        return found


@asynccontextmanager
async def scene(
    *jobs: Job,
    told: list[tuple[str, str]] | None = None,
    problems: list[str] | None = None,
    limits: Limits | None = None,
    reach: Reach = EVERYWHERE,
) -> AsyncIterator[Scene]:
    clock = ManualClock(NOW_MS)
    async with SqliteStore(MEMORY) as store:
        ingest = Ingest(store, MemoryStream(), clock, limits)
        await ingest.open(store)
        changes = [] if told is None else told
        complain = ([] if problems is None else problems).append
        on_change = lambda target: changes.append((target.url, target.error))  # noqa: E731
        scraper = Scraper(jobs, ingest, clock, on_change, complain, reach)
        async with scraper:
            yield Scene(scraper, store, clock)


def stale(values: list[float]) -> list[bool]:
    return [bool(bits == STALENESS_MARKER) for bits in np.array(values).view(np.uint64)]


async def test_what_a_target_says_is_stored_with_its_job_and_instance_and_how_it_went(exporter: Exporter) -> None:
    exporter.says('# TYPE a gauge\na{x="1"} 2.5\nb 3 1799999999000\n')
    async with scene(Job(job="node", targets=(exporter.address,), labels={"env": "test"})) as one:
        await one.scrape()
        place = f'env="test",instance="{exporter.address}",job="node"'
        stored = await one.stored()
        assert stored[f'a{{{place},x="1"}}'] == [2.5]
        assert stored[f"b{{{place}}}"] == [3.0]
        assert stored[f"up{{{place}}}"] == [1.0]
        assert stored[f"scrape_samples_scraped{{{place}}}"] == [2.0]
        assert stored[f"scrape_samples_post_metric_relabeling{{{place}}}"] == [2.0]
        assert 0 < stored[f"scrape_duration_seconds{{{place}}}"][0] < 10
    assert exporter.asked[0].path == "/metrics"
    assert "openmetrics" in exporter.asked[0].headers["Accept"]


async def test_a_series_that_is_missed_ends_and_so_do_all_when_a_target_is_down(exporter: Exporter) -> None:
    told: list[tuple[str, str]] = []
    async with scene(Job(job="j", targets=(exporter.address,)), told=told) as one:
        exporter.says("a 1\nb 1\ntimed 1 1799999999000\n")
        await one.scrape()
        exporter.says("a 2\n")
        await one.scrape()
        exporter.answer = lambda _: web.Response(status=500)
        await one.scrape()
        await one.scrape()
        exporter.says("a 3\n")
        await one.scrape()
        stored = {name.split("{")[0]: values for name, values in (await one.stored()).items()}
    assert (stored["a"][0], stale(stored["a"]), stored["a"][3:]) == (1.0, [False, False, True, False], [3.0])
    assert stale(stored["b"]) == [False, True]
    assert stored["timed"] == [1.0]
    assert stored["up"] == [1.0, 1.0, 0.0, 0.0, 1.0]
    url = f"http://{exporter.address}/metrics"
    assert told == [(url, ""), (url, "answered 500"), (url, "")]


async def test_labels_of_ours_win_unless_the_target_is_honored(exporter: Exporter) -> None:
    """S29."""
    exporter.says('a{job="own",instance=""} 1\n')
    address = exporter.address
    jobs = Job(job="polite", targets=(address,)), Job(job="honored", targets=(address,), honor_labels=True)
    async with scene(*jobs) as one:
        await one.scrape()
        names = [name for name in await one.stored() if name.startswith("a{")]
    assert sorted(names) == [
        f'a{{exported_job="own",instance="{address}",job="polite"}}',
        f'a{{instance="{address}",job="own"}}',
    ]


async def test_rules_choose_series_and_targets(exporter: Exporter) -> None:
    exporter.says('go_a 1\nkept{x="1"} 1\n')
    job = Job(
        job="j",
        targets=(exporter.address, "127.0.0.1:1"),
        relabel=(
            Rule("drop", ("__address__",), ".*:1"),
            Rule("replace", (), target_label="__metrics_path__", replacement="/other"),
        ),
        metric_relabel=(Rule("drop", ("__name__",), "go_.*"), Rule("labeldrop", regex="x")),
    )
    async with scene(job) as one:
        await one.scrape()
        stored = await one.stored()
        (target,) = one.scraper.targets.values()
    assert [name for name in stored if name.startswith(("go_", "kept"))] == [
        f'kept{{instance="{exporter.address}",job="j"}}'
    ]
    assert stored[f'scrape_samples_scraped{{instance="{exporter.address}",job="j"}}'] == [2.0]
    assert stored[f'scrape_samples_post_metric_relabeling{{instance="{exporter.address}",job="j"}}'] == [1.0]
    assert target.url.endswith("/other")


async def test_bad_lines_are_refused_alone(exporter: Exporter) -> None:
    """S20: a label twice."""
    exporter.says('a 1\nnonsense\nb{x="1",x="2"} 1\nc 1\n')
    async with scene(Job(job="j", targets=(exporter.address,))) as one:
        await one.scrape()
        stored = {name.split("{")[0] for name in await one.stored()}
        refused = one.scraper._ingest.refused
    assert {"a", "c"} <= stored
    assert "b" not in stored
    assert sum(refused.values()) == 2


async def endless(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await answer.prepare(request)
    for number in range(10**9):
        await answer.write(b"a%d 1\n" % number * 1000)
    return answer


async def silent(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(3600)
    raise AssertionError


async def slow(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await answer.prepare(request)
    for byte in b"a 1\n" * 1000:
        await answer.write(bytes([byte]))
        await asyncio.sleep(0.05)
    return answer


async def short(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
    answer.content_length = 100
    await answer.prepare(request)
    await answer.write(b"a 1\n")
    assert request.transport is not None
    request.transport.close()
    return answer


def coded(encoding: str) -> dict[str, str]:
    return {"Content-Type": "text/plain", "Content-Encoding": encoding}


UTF_16: Final = "a 1\n".encode("utf-16")
BAD: Final[dict[str, tuple[str, Any]]] = {
    "S10 asks for a password": ("answered 401", lambda _: web.Response(status=401)),
    "S6 S7 a byte now and then": ("no answer within 0.3 s", slow),
    "S8 shorter than announced": ("", short),
    "S31 UTF-16": (
        "no metrics in it",
        lambda _: web.Response(body=UTF_16, content_type="text/plain"),
    ),
    "status": ("answered 503", lambda _: web.Response(status=503)),
    "S3 redirect": (
        "answered 302",
        lambda _: web.Response(status=302, headers={"Location": "http://169.254.169.254/"}),
    ),
    "S34 wrong type": ("is no metrics", lambda _: web.Response(text="{}", content_type="application/json")),
    "S1 no metrics": ("no metrics in it", lambda _: web.Response(text="<html>\n</html>")),
    "S24 cut off": ("# EOF", lambda _: web.Response(text="a 1\n", content_type="application/openmetrics-text")),
    "S4 S7 endless": ("more than 100000 bytes", endless),
    "S6 silent": ("no answer within 0.3 s", silent),
    "S5 bomb": (
        "more than 100000 bytes",
        lambda _: web.Response(body=gzip.compress(b"a 1\n" * 10**6), headers=coded("gzip")),
    ),
    "no gzip": (
        "is no gzip",
        lambda _: web.Response(body=b"a 1\n", headers=coded("gzip")),
    ),
    "half a gzip": (
        "is cut off",
        lambda _: web.Response(body=gzip.compress(os.urandom(99))[:60], headers=coded("gzip")),
    ),
    "S5 more behind a gzip": (
        "goes on behind its gzip",
        lambda _: web.Response(body=gzip.compress(b"a 1\n") + bytes(10**6), headers=coded("gzip")),
    ),
    "encoding": (
        "encoding 'br'",
        lambda _: web.Response(body=b"a 1\n", headers=coded("br")),
    ),
    "S30 too many": ("11 samples", lambda _: web.Response(text="".join(f"a{n} 1\n" for n in range(11)))),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_target_that_answers_badly_is_down_and_its_error_says_why(exporter: Exporter, name: str) -> None:
    words, exporter.answer = BAD[name]
    job = Job(job="j", targets=(exporter.address,), max_body_bytes=100_000, max_samples=10, timeout_ms=300)
    async with scene(job) as one:
        (target,) = await one.scrape()
        stored = await one.stored()
        assert words in target.error
        assert one.scraper.states() == {"up": 0.0, "down": 1.0, "unknown": 0.0}
        assert sum(one.scraper.failures.values()) == 1
    assert stored[f'up{{instance="{exporter.address}",job="j"}}'] == [0.0]
    assert all(name.startswith(("up", "scrape_")) for name in stored)


@pytest.mark.parametrize(
    ("body", "values"),
    [
        pytest.param("", [], id="S2"),
        pytest.param("a 1", [1.0], id="S11"),
        pytest.param("# TYPE a gauge\n# TYPE a counter\na 1\n# TYPE a histogram\n", [1.0], id="S12 S13"),
        pytest.param("# HELP a x\\n\\q" + "y" * 50_000 + "\na 1\n", [1.0], id="S14"),
        pytest.param('a{x="1",} 1\n', [1.0], id="S18"),
        pytest.param("a 1\na 1\n", [1.0], id="S19"),
        pytest.param("a 1 1800000900000\n", [], id="S23"),
        pytest.param('a_bucket{le="2"} 5\na_bucket{le="1"} 9\na_count -1\n', [5.0, 9.0, -1.0], id="S27"),
        pytest.param("# TYPE a counter\na 1\n", [1.0], id="S28"),
        pytest.param("a\t\t1 \n \ta_b{}   2\n", [1.0, 2.0], id="S33"),
    ],
)
async def test_odd_expositions_are_taken_for_what_they_say(exporter: Exporter, body: str, values: list[float]) -> None:
    exporter.says(body)
    async with scene(Job(job="j", targets=(exporter.address,))) as one:
        await one.scrape()
        stored = await one.stored()
        found = [value for name, those in stored.items() if name.startswith("a") for value in those[:1]]
        assert sorted(found) == sorted(values)
        assert stored[f'up{{instance="{exporter.address}",job="j"}}'] == [1.0]


async def test_gzip_and_tokens_are_understood(exporter: Exporter, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    exporter.says(gzip.compress(b"a 1\n"), **{"Content-Encoding": "gzip"})
    async with scene(Job(job="j", targets=(exporter.address,), bearer_token_file=str(tmp_path / "token"))) as one:
        (target,) = await one.scrape()
        assert (target.error, target.samples) == ("", 1)
    assert exporter.asked[0].headers["Authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    ("names", "until", "knows_authority", "error"),
    [
        pytest.param(("127.0.0.1",), LATE, True, "", id="a certificate of an authority that is known"),
        pytest.param(("127.0.0.1",), LATE, False, "unable to get local issuer", id="S9 of an authority that is not"),
        pytest.param(("127.0.0.2",), LATE, True, "IP address mismatch", id="S9 of another address"),
        pytest.param(("127.0.0.1",), LONG_AGO + timedelta(days=1), True, "has expired", id="S9 expired"),
    ],
)
async def test_a_target_has_to_prove_who_it_is(
    tmp_path: Path, names: tuple[str, ...], until: datetime, knows_authority: bool, error: str
) -> None:
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("target", *names, until=until))
    exporter = Exporter()
    exporter.says("a 1\n")
    async with listening(exporter, context):
        job = Job(job="j", targets=(exporter.address,), scheme="https", ca_file=str(authority.ca_file))
        async with scene(job if knows_authority else replace(job, ca_file="")) as one:
            (target,) = await one.scrape()
    assert error in target.error
    assert bool(target.error) == bool(error)
    assert bool(exporter.asked) != bool(error)


async def test_a_slow_target_delays_no_other_and_is_not_asked_twice_at_a_time(exporter: Exporter) -> None:
    exporter.answer = lambda request: silent(request) if request.path == "/slow" else web.Response(text="a 1\n")
    slow, quick = (f"http://{exporter.address}/{name}" for name in ("slow", "quick"))
    async with scene(Job(job="j", targets=(slow, quick), timeout_ms=600_000)) as one:
        for _ in range(40):
            step = asyncio.create_task(one.scraper.run_once())
            for _ in range(20):
                await asyncio.sleep(0.002)
            one.clock.advance(1500)
            await step
        assert [target.samples for target in one.scraper.targets.values()] == [0, 1]
        assert [request.path for request in exporter.asked].count("/slow") == 1
        assert [request.path for request in exporter.asked].count("/quick") >= 3
        assert one.scraper.failures["overrun"] >= 2


async def test_a_file_with_targets_is_read_again_when_it_changes(exporter: Exporter, tmp_path: Path) -> None:
    exporter.says("a 1\n")
    file = tmp_path / "targets.json"
    async with scene(Job(job="j", targets_file=str(file))) as one:
        assert await one.scrape() == []
        file.write_text(json.dumps([{"targets": [exporter.address], "labels": {"rack": "7"}}]))
        (target,) = await one.scrape()
        assert target.labels == {"rack": "7", "job": "j", "instance": exporter.address}
        os.utime(file, (1, 1))
        file.write_text("[{")
        assert await one.scrape() == [target]  # what was listed before stays
        file.write_text("[]")
        os.utime(file, (2, 2))
        assert await one.scrape() == []
        assert one.scraper.failures["targets_file"] >= 2


async def test_a_bad_entry_of_a_file_is_told_and_keeps_nobody_out(exporter: Exporter, tmp_path: Path) -> None:
    exporter.says("a 1\n")
    file, told = tmp_path / "targets.json", list[str]()
    bad = ["[bad", "ws://x:1", "file:///etc/passwd", "user:secret@x:1", "x:99999", "x y:1", "http://:1"]
    groups = [{"targets": bad}, {"targets": ["x:1"], "labels": {"": "v"}}, {"targets": ["y:1"], "labels": {"a": "\0"}}]
    file.write_text(json.dumps([*groups, {"targets": [exporter.address]}]))
    async with scene(Job(job="j", targets=(exporter.address,), targets_file=str(file)), problems=told) as one:
        for _ in range(2):
            (target,) = await one.scrape()
            assert (target.error, target.samples) == ("", 1)
        assert one.scraper.failures == {"target": len(bad) + 2}
    assert len(told) == len(bad) + 2
    assert all(problem.startswith("job j, target ") for problem in told)
    assert not any("secret" in problem for problem in told)


async def test_a_target_whose_labels_change_ends_and_begins_anew(exporter: Exporter, tmp_path: Path) -> None:
    exporter.says("a 1\ntimed 1 1799999999000\n")
    file = tmp_path / "targets.json"
    async with scene(Job(job="j", targets_file=str(file))) as one:
        for rack in ("7", "8"):
            file.write_text(json.dumps([{"targets": [exporter.address], "labels": {"rack": rack}}]))
            os.utime(file, (int(rack), int(rack)))
            await one.scrape()
            await one.scrape()
        file.write_text("[]")
        await one.scrape()
        stored = await one.stored()
    for rack in ("7", "8"):
        place = f'instance="{exporter.address}",job="j",rack="{rack}"'
        assert stale(stored[f"a{{{place}}}"])[-1:] == [True]
        assert stale(stored[f"up{{{place}}}"]).count(True) == 1
        assert stale(stored[f"up{{{place}}}"])[-1] is True
        assert not any(stale(stored[f"timed{{{place}}}"]))


async def test_a_target_that_was_never_asked_leaves_nothing_behind(tmp_path: Path) -> None:
    file = tmp_path / "targets.json"
    file.write_text('[{"targets": ["x:1"]}]')
    async with scene(Job(job="j", targets_file=str(file), interval_ms=3_600_000)) as one:
        await one.step()
        assert len(one.scraper.targets) == 1
        file.write_text("[]")
        await one.step()
        assert (one.scraper.targets, await one.stored()) == ({}, {})


async def test_a_target_that_exchanges_more_series_than_a_request_may_have_is_stored(exporter: Exporter) -> None:
    async with scene(Job(job="j", targets=(exporter.address,)), limits=Limits(max_series_per_request=10)) as one:
        for version in range(3):
            exporter.says("".join(f'a{{version="{version}",n="{n}"}} 1\n' for n in range(9)))
            (target,) = await one.scrape()
            assert (target.error, target.samples) == ("", 9)
        ended = [name for name, values in (await one.stored()).items() if stale(values)[-1]]
    assert len(ended) == 18
    assert all('version="2"' not in name for name in ended)


async def test_series_of_a_scrape_that_could_not_be_stored_end_once_it_can(exporter: Exporter) -> None:
    async with scene(Job(job="j", targets=(exporter.address,)), limits=Limits(max_series_per_request=3)) as one:
        exporter.says("a 1\nb 1\nc 1\nd 1\n")
        accept, calls = one.scraper._ingest.accept, iter([True, False])

        async def failing(incoming: Incoming) -> Receipt:
            if not next(calls, True):
                raise Overloaded("not now")
            return await accept(incoming)

        one.scraper._ingest.accept = failing  # type: ignore[method-assign, assignment]
        (target,) = await one.scrape()
        assert target.error == "not stored: not now"
        exporter.says("z 1\n")
        await one.scrape()
        stored = {name.split("{")[0]: values for name, values in (await one.stored()).items()}
    assert [stale(stored[name])[-1] for name in "abc"] == [True] * 3


async def test_names_that_take_long_to_resolve_take_no_thread_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def look_up(*_: object) -> list[object]:
        released.wait(30)
        return []

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    names = tuple(f"host-{number}.example:80" for number in range(40))
    job = Job(job="j", targets=names, timeout_ms=300)
    async with scene(job) as one:
        asked = asyncio.create_task(one.scrape())
        assert await asyncio.gather(*(asyncio.to_thread(int, "7") for _ in range(40))) == [7] * 40
        assert {target.error for target in await asked} == {"no answer within 0.3 s"}
        released.set()


async def test_a_target_cannot_have_itself_remembered(exporter: Exporter) -> None:
    exporter.says("a 1\n", **{"Set-Cookie": "id=1; Path=/"})
    async with scene(Job(job="j", targets=(exporter.address.replace("127.0.0.1", "localhost"),))) as one:
        await one.scrape()
        await one.scrape()
    assert [request.headers.get("Cookie") for request in exporter.asked] == [None] * len(exporter.asked)
    assert len(exporter.asked) >= 2


async def test_an_address_where_secrets_may_be_is_never_asked() -> None:
    async with scene(
        Job(
            job="j",
            targets=("169.254.169.254:80", "[fe80::1%eth0]:80", "\uff11\uff16\uff19.254.169.254:80"),
            timeout_ms=500,
        )
    ) as one:
        assert all("no address that may be asked" in target.error for target in await one.scrape())
    async with scene(Job(job="j", targets=("2852039166:80",), timeout_ms=500)) as one:
        assert all("not a canonical IPv4 address" in target.error for target in await one.scrape())


async def test_a_name_that_resolves_to_such_an_address_is_not_asked_either(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 80))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: found)
    async with scene(Job(job="j", targets=("metadata.example:80",), timeout_ms=500)) as one:
        (target,) = await one.scrape()
        assert "no address that may be asked" in target.error


async def test_networks_can_be_closed_to_scraping(exporter: Exporter) -> None:
    exporter.says("a 1\n")
    async with scene(Job(job="j", targets=(exporter.address,)), reach=PUBLIC) as one:
        (target,) = await one.scrape()
        assert "127.0.0.1 is no public address" in target.error
    assert exporter.asked == []


def test_targets_are_spread_over_the_interval() -> None:
    job = Job(job="j")
    due = []
    for number in range(200):
        target = build_target(job, f"host-{number}:9100", {})
        assert target is not None
        due.append(_due(target, NOW_MS) - NOW_MS)
    assert min(due) > 0
    assert max(due) <= job.interval_ms
    assert np.histogram(due, bins=5, range=(0, job.interval_ms))[0].min() >= 20
