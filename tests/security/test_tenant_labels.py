"""Whatever two tenants write, no answer to one of them holds a word that only the other one wrote."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.security.test_tenant_ids import everything_that_has_an_id
from tests.security.test_tenants import Members, of, push, taken_in
from tests.watching import HOT, Watching

from quantum.adapters.http.access import RIGHTS
from quantum.settings import Settings, Store

if TYPE_CHECKING:
    from collections.abc import Iterator

TENANTS: Final = ("default", "acme")
MARKS: Final = {"default": "onlydefaultwrote", "acme": "onlyacmewrote"}
"""In every word that a tenant writes."""
ANYTHING: Final = '{__name__!=""}'
WORDS: Final = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8)
ACTS: Final = st.lists(
    st.tuples(
        st.sampled_from(TENANTS),
        st.sampled_from(("sample", "hot sample", "policy", "receiver", "key", "denial")),
        WORDS,
        st.floats(-1e6, 1e6),
    ),
    min_size=4,
    max_size=10,
)


@contextmanager
def two_tenants() -> Iterator[tuple[asyncio.Runner, Watching]]:
    given_settings = Settings(store=Store(kind="memory"), tenants=TENANTS)
    with asyncio.Runner() as runner:
        system = Watching(settings=given_settings, identity=Members())
        runner.run(system.__aenter__())
        try:
            yield runner, system
        finally:
            runner.run(system.__aexit__())


async def act(system: Watching, tenant: str, kind: str, word: str, value: float) -> None:
    """Write something with a word that is marked; what makes no sense is refused, which is as good."""
    marked, headers = MARKS[tenant] + word, of(tenant)
    match kind:
        case "sample":
            await push(system, tenant, f"cpu_{MARKS[tenant]}", value, host=marked)
        case "hot sample":
            await push(system, tenant, "heat", 95.0, room=marked)
        case "policy":
            await system.http.post("/api/v1/policies", json=HOT | {"name": marked}, headers=headers)
        case "receiver":
            table = {"name": marked, "url": f"https://{MARKS[tenant]}.example/"}
            await system.http.post("/api/v1/receivers", json=table, headers=headers)
        case "key":
            await system.http.post("/api/v1/api-keys", json={"name": marked, "scopes": ["read"]}, headers=headers)
        case _:
            await system.http.get(f"/api/v1/alerts/{MARKS[tenant]}?token=x", headers=headers)
    await taken_in(system, tenant)


def questions(ids: dict[str, str], now_ms: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield path and parameters of every GET that is answered with what somebody may have written."""
    span = {"start_ms": now_ms - 600_000, "end_ms": now_ms + 1000}
    seconds = {"start": now_ms / 1000 - 600, "end": now_ms / 1000, "step": 60}
    more: dict[str, dict[str, Any]] = {
        "/window": span,
        "/what-moved": span,
        "/why": {"at_ms": now_ms},
        "/forecast": {"horizon_ms": 3_600_000},
        "/query": {"query": ANYTHING, "time": now_ms / 1000},
        "/query_range": {"query": ANYTHING, **seconds},
        "/prometheus/api/v1/series": {"match[]": ANYTHING},
        "/format_query": {"query": "up"},
        "/query_exemplars": {"query": "up"},
    }
    for route in RIGHTS:
        method, _, template = route.partition(" ")
        if method == "GET" and template not in ("/docs", "/{path}", "/api/schema/{path}"):
            start, brace, end = template.partition("{")
            label = {"/prometheus/api/v1/label/": "host"}
            path = start + ({**ids, **label}[start] + end.partition("}")[2] if brace else "")
            yield path, next((found for name, found in more.items() if path.endswith(name)), {})


async def answers(system: Watching, tenant: str, ids: dict[str, str]) -> dict[str, str]:
    """Return what a tenant is told, by path; their own words and ids among it."""
    found = {}
    for path, parameters in questions(ids, system.clock.now_ms()):
        answer = await system.http.get(path, params=parameters, headers=of(tenant))
        assert answer.status_code < 500, (path, answer.text)
        found[path] = f"{answer.text} {answer.headers}".lower()
    return found


def test_no_answer_to_one_tenant_holds_a_word_that_only_the_other_wrote() -> None:
    with two_tenants() as (runner, system):
        ids = {tenant: runner.run(everything_that_has_an_id(system, tenant)) for tenant in TENANTS}

        async def check(acts: list[tuple[str, str, str, float]]) -> None:
            for one in acts:
                await act(system, *one)
            for tenant, other in (TENANTS, TENANTS[::-1]):
                for whose in (tenant, other):
                    told = await answers(system, tenant, ids[whose])
                    assert [path for path, text in told.items() if MARKS[other] in text] == []

        @settings(max_examples=3, deadline=None, phases=[Phase.generate])
        @given(ACTS)
        def hold(acts: list[tuple[str, str, str, float]]) -> None:
            runner.run(check(acts))

        hold()
        for kind in ("sample", "hot sample", "policy", "receiver", "key", "denial"):
            runner.run(act(system, "acme", kind, "", 1.0))
        own = runner.run(answers(system, "acme", ids["acme"]))
        # had any of it gone astray, these are where it would have been seen
        where = ["series", "alerts", "incidents", "policies", "receivers", "api-keys", "audit"]
        assert [path for path in where if MARKS["acme"] not in own[f"/api/v1/{path}"]] == []
        assert MARKS["acme"] in own["/prometheus/api/v1/query"]
