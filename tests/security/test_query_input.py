"""Bad questions: each is refused with a sentence or answered with what is true, in time, and others are served on.

The ids (Q) are those of the project's list of bad input, `tests/hostile.py`.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
from tests.asking import Asked
from tests.watching import START_MS, Watching, served_aside
from tests.writes import series, snappy

from quantum.application.control import policy_id

if TYPE_CHECKING:
    from collections.abc import Iterator

ENOUGH_S: Final = 30
NOW_S: Final = START_MS // 1000
PROM: Final = "/prometheus/api/v1"
QUERY: Final = f"GET {PROM}/query"
POSTED: Final = f"POST {PROM}/query"
RANGE: Final = f"GET {PROM}/query_range"
SERIES: Final = "GET /api/v1/series"
ABSENT: Final = "0123456789abcdef"
WINDOW: Final = f"GET /api/v1/series/{ABSENT}/window"
FORECAST: Final = f"GET /api/v1/series/{ABSENT}/forecast"
THERE: Final = f"/api/v1/policies/{policy_id('too hot')}"
YEAR_S: Final = 31_536_000


def query(text: str, **others: Any) -> dict[str, Any]:
    return {"params": {"query": text, **others}}


def posted(text: str) -> dict[str, Any]:
    return {"data": {"query": text}}


def between(
    start: object = NOW_S, end: object = NOW_S + 60, step: object = "15s", text: str = "heat"
) -> dict[str, Any]:
    return {"params": {"query": text, "start": start, "end": end, "step": step}}


def params(**named: Any) -> dict[str, Any]:
    return {"params": named}


def window(start_ms: object = 1, end_ms: object = 2) -> dict[str, Any]:
    return params(start_ms=start_ms, end_ms=end_ms)


QUESTIONS: Final = [
    Asked("Q1 query", 400, RANGE, between(NOW_S, NOW_S - 1)),
    Asked("Q1 window", 404, WINDOW, window(2, 1)),
    Asked("Q1 what moved", 400, "GET /api/v1/what-moved", window(2, 1)),
    Asked("Q1 replay", 400, "POST /api/v1/replay", {"json": {"start_ms": 2, "end_ms": 1}}),
    Asked("Q2 zero", 400, RANGE, between(step="0")),
    Asked("Q2 negative", 400, RANGE, between(step="-5")),
    Asked("Q2 NaN", 400, RANGE, between(step="nan")),
    Asked("Q2 infinite", 400, RANGE, between(step="inf")),
    Asked("Q2 tiny", 400, RANGE, between(step="1e-300")),
    Asked("Q2 NaN score", 400, "GET /api/v1/anomalies", params(min_score="nan")),
    Asked("Q2 infinite score", 400, "GET /api/v1/anomalies", params(min_score="inf")),
    Asked("Q2 NaN quantile", 400, FORECAST, params(horizon_ms=3_600_000, quantile="nan")),
    Asked("Q2 NaN limit", 400, FORECAST, params(horizon_ms=3_600_000, limit="nan")),
    Asked("Q3 query", 400, RANGE, between(10**22)),
    Asked("Q3 window", 400, WINDOW, window(10**22, 10**23)),
    Asked("Q3 negative", 400, WINDOW, window(-1, 1)),
    Asked("Q4", 400, RANGE, between(NOW_S, NOW_S + 11_001, "1s"), "11000"),
    Asked("Q5 query", 400, RANGE, between(NOW_S - 100 * YEAR_S, NOW_S, "1h")),
    Asked("Q5 selector", 400, QUERY, query("heat[200y]")),
    Asked("Q5 in wide steps", 200, RANGE, between(NOW_S - 50 * YEAR_S, NOW_S, "30d")),
    Asked("Q6 missing", 400, RANGE, params(query="heat", start=1)),
    Asked("Q6 empty", 400, QUERY, query("")),
    Asked("Q6 twice", 400, f"{SERIES}?limit=1&limit=2", {}, "more than once"),
    Asked("Q6 missing window", 400, WINDOW),
    Asked("Q6 unknown", 400, SERIES, params(whatever=1), "whatever"),
    Asked("Q7 bomb", 200, POSTED, posted('heat{room=~"(a+)+$"}')),
    Asked("Q7 bomb of words", 400, SERIES, {"params": {"match[]": 'heat{room=~"' + "(a+)+" * 300 + '"}'}}),
    Asked("Q7 a megabyte", 413, POSTED, posted('heat{room=~"' + "a" * 1_000_000 + '"}')),
    Asked("Q7 reference", 400, POSTED, posted('heat{room=~"(a)\\\\1"}')),
    Asked("Q7 look around", 400, POSTED, posted('heat{room=~"(?=a)"}')),
    Asked("Q7 no pattern", 400, POSTED, posted('heat{room=~"("}')),
    Asked("Q7 repeated", 400, POSTED, posted('heat{room=~"((a{1000}){1000}){1000}"}')),
    Asked("Q8 nothing asked", 400, POSTED, posted('{__name__=~".*"}')),
    Asked("Q8 everything", 200, POSTED, posted('{__name__=~".+"}')),
    Asked("Q9 quote", 200, SERIES, {"params": {"match[]": 'heat{room="\'; drop table series; --"}'}}, '"total":0'),
    Asked("Q9 percent", 200, SERIES, params(q="%"), '"total":0'),
    Asked("Q9 underscore", 200, SERIES, params(q="k_tchen"), '"total":0'),
    Asked("Q9 backslash", 200, SERIES, {"params": {"match[]": 'heat{room="\\\\"}'}}, '"total":0'),
    Asked("Q9 policy", 200, "GET /api/v1/alerts", params(policy_id="' or 1=1 --"), '"items":[]'),
    Asked("Q10 order", 400, "GET /api/v1/alerts", params(order="id; drop table alerts")),
    Asked("Q10 state", 400, "GET /api/v1/alerts", params(state="1=1")),
    Asked("Q10 column", 400, "GET /api/v1/audit", params(sort="actor")),
    Asked("Q10 aggregation", 400, POSTED, posted("frobnicate by (room) (heat)")),
    Asked("Q11 negative", 400, SERIES, params(limit=-1)),
    Asked("Q11 zero", 400, SERIES, params(limit=0)),
    Asked("Q11 large", 400, SERIES, params(limit=10**9)),
    Asked("Q11 beyond", 400, SERIES, params(limit=10**30)),
    Asked("Q11 broken", 400, SERIES, params(limit="1.5")),
    Asked("Q11 series of Prometheus", 400, f"GET {PROM}/labels", params(limit=-1)),
    Asked("Q12 forged", 400, SERIES, params(cursor="'; --")),
    Asked("Q12 of nothing", 400, SERIES, params(cursor=ABSENT)),
    Asked("Q12 forged place", 400, "GET /api/v1/alerts", params(cursor="yesterday:x")),
    Asked("Q12 far away", 400, "GET /api/v1/incidents", params(cursor="9" * 40 + ":x")),
    Asked("Q12 of another", 200, "GET /api/v1/alerts", params(cursor="1:of-another-tenant"), '"items":[]'),
    Asked("Q13", 400, "GET /api/v1/overview", params(timezone="../../etc/passwd")),
    Asked("Q14 label", 200, f"GET {PROM}/label/é✓/values", {}, "[]"),
    Asked("Q14 bucket", 204, "POST /api/v2/write?bucket=%C3%A9%E2%9C%93&org=o", {"content": b"odd_bucket value=1"}),
    Asked("Q15", 200, POSTED, posted(f"sum by ({','.join(f'a{n}' for n in range(1000))}) (heat)")),
    Asked("Q15 too long", 400, POSTED, posted(f"sum by ({','.join(f'a{n}' for n in range(10_000))}) (heat)")),
    Asked("Q16", 400, POSTED, posted("exec('id')")),
    Asked("Q17", 400, POSTED, posted("(" * 100_000 + "1" + ")" * 100_000)),
    Asked("Q17 signs", 400, POSTED, posted("-" * 10_000 + "1")),
    Asked("Q18", 200, POSTED, posted("1e999"), "+Inf"),
    Asked("Q18 digits", 200, POSTED, posted("9" * 400), "+Inf"),
    Asked("Q19", 400, POSTED, posted('heat{room="a')),
    Asked("Q20 lines", 400, POSTED, posted("# nothing\n" * 50_000 + "1")),
    Asked("Q20 one", 200, POSTED, posted("1 # " + "x" * 5000)),
    Asked("Q21", 400, POSTED, posted("heat offset -99999999y")),
    Asked("Q21 at", 400, POSTED, posted("heat @ 1e30")),
    Asked("Q22", 200, POSTED, posted("max_over_time(" * 50 + "heat" + "[1h:1m])" * 50)),
    Asked("Q22 deeper", 400, POSTED, posted("max_over_time(" * 500 + "heat" + "[1h:1m])" * 500)),
    Asked("Q22 finer", 422, POSTED, posted("max_over_time(" * 50 + "heat" + "[100d:1s])" * 50)),
    Asked("Q23 parameter", 400, SERIES, params(tenant="other")),
    Asked("Q23 ignored as Prometheus does", 200, QUERY, query("absent(heat)", tenant="other")),
    Asked("Q23 label", 200, QUERY, query('heat{tenant="other"}'), '"result":[]'),
    Asked("Q24 alert", 404, "GET /api/v1/alerts/of-another-tenant"),
    Asked("Q24 incident", 404, "GET /api/v1/incidents/of-another-tenant"),
    Asked("Q24 policy", 404, "GET /api/v1/policies/of-another-tenant"),
    Asked("Q24 receiver", 404, "GET /api/v1/receivers/of-another-tenant"),
    Asked("Q24 model", 404, "GET /api/v1/models/of-another-tenant"),
    Asked("Q24 training run", 404, "GET /api/v1/training-runs/of-another-tenant"),
    Asked("Q24 key", 404, "GET /api/v1/api-keys/of-another-tenant"),
    Asked("Q24 series", 404, f"GET /api/v1/series/{ABSENT}"),
    Asked("Q25 series", 400, "GET /api/v1/series/123e4567-e89b"),
    Asked("Q25 NUL", 404, "GET /api/v1/alerts/%00"),
    Asked("Q25 long", 400, f"GET /api/v1/alerts/{'a' * 5000}"),
    Asked("Q25 no UTF-8", 404, "GET /api/v1/incidents/%ff%fe"),
    Asked("Q26", 200, SERIES, {"content": b'{"limit": 0}', "headers": {"content-type": "application/json"}}, "heat"),
    Asked("Q27", 200, SERIES, {"headers": {"accept": "application/xml"}}, "heat"),
    Asked("Q30", 422, POSTED, posted("max_over_time(heat[90d:1s])")),
    Asked("Q32", 200, QUERY, query("nothing_of_this_name"), '"result":[]'),
    Asked("Q32 window", 200, "GET /api/v1/anomalies", window(1, 2), '"items":[]'),
    Asked("Q33 junk", 200, SERIES, {"headers": {"if-none-match": "W/\x22\x22, ,, junk *"}}, "heat"),
    Asked("Q33 junk on an edit", 412, f"DELETE {THERE}", {"headers": {"if-match": "junk"}}),
    Asked("Q34", 400, QUERY, query("heat", time="now-1000000y")),
    Asked("Q34 far back", 400, QUERY, query("heat", time="-1e13")),
    Asked("Q35 score", 400, "GET /api/v1/anomalies", params(min_score="0,5")),
    Asked("Q35 step", 400, RANGE, between(step="1,5")),
    Asked("Q36", 200, QUERY, {**query("heat"), "headers": {"x-scope-orgid": "other"}}, "kitchen"),
]


async def something_is_there(system: Watching) -> None:
    await system.fire()
    system.clock.advance(1000)
    told = {"content-type": "application/x-protobuf", "content-encoding": "snappy"}
    far = snappy(series({"__name__": "far"}, [(system.clock.now_ms(), math.inf)]))
    assert (await system.http.post(f"{PROM}/write", content=far, headers=told)).status_code == 204
    await system.caught_up()


@pytest.fixture(name="client", scope="module")
def client_of_a_server() -> Iterator[httpx.Client]:
    with served_aside(something_is_there) as base, httpx.Client(base_url=base, timeout=ENOUGH_S) as client:
        yield client


@pytest.mark.parametrize("asked", QUESTIONS, ids=str)
def test_a_question_is_answered_or_refused_with_a_sentence(client: httpx.Client, asked: Asked) -> None:
    asked.check(client.request(*asked.request, **asked.says))


def test_q9_what_was_asked_as_if_it_were_sql_left_everything_where_it_was(client: httpx.Client) -> None:
    assert client.get("/api/v1/series", params={"q": "heat"}).json()["total"] == 1


def test_q29_two_hundred_who_ask_the_same_at_once_get_the_same(client: httpx.Client) -> None:
    async def ask_together() -> set[bytes]:
        # all at once, so that those who wait for a place are among them
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(base_url=client.base_url, timeout=ENOUGH_S, limits=limits) as asking:
            asks = (asking.get(f"{PROM}/query", params={"query": "sum(heat)", "time": NOW_S + 5}) for _ in range(200))
            answers = await asyncio.gather(*asks)
        assert {answer.status_code for answer in answers} == {200}
        return {answer.content for answer in answers}

    assert len(asyncio.run(ask_together())) == 1


def test_q31_numbers_without_end_are_texts_to_prometheus_and_null_to_us(client: httpx.Client) -> None:
    asked = {
        "query": "vector(0) / vector(0) or "
        + " or ".join(f'label_replace({sign}far, "a", "{sign}", "", "")' for sign in "+-")
    }
    found = client.get(f"{PROM}/query", params=asked)
    Asked("Q31", 200, QUERY).check(found)
    assert {one["value"][1] for one in found.json()["data"]["result"]} == {"NaN", "+Inf", "-Inf"}
    listed = client.get("/api/v1/series", params={"q": "far"})
    Asked("Q31", 200, SERIES).check(listed)
    (item,) = listed.json()["items"]
    assert item["value"] is None
    shown = client.get(
        f"/api/v1/series/{item['fingerprint']}/window", params=window(START_MS, START_MS + 60_000)["params"]
    )
    Asked("Q31", 200, WINDOW).check(shown)
    assert shown.json()["value"] == [None]
