"""Prometheus' HTTP API over the running system: answers, errors and bad input in Prometheus' own words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.watching import START_MS, Watching

from quantum.domain.promql import kernels

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

PREFIX = "/prometheus/api/v1"
AT_S = START_MS // 1000
FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture
async def system() -> AsyncIterator[Watching]:
    async with Watching() as system:
        await system.push("temp", [20.0, 21.5, 1e-7], room="a")
        await system.push("temp", [5.0], room='b"\\')
        await system.push("up", [1.0], step_ms=1500)
        yield system


async def ask(system: Watching, path: str, **parameters: Any) -> Any:
    answer = await system.http.get(f"{PREFIX}/{path}", params=parameters)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    return answer.json()


def error_of(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert body["status"] == "error"
    return answer.status_code, body["errorType"]


async def test_an_instant_query_answers_as_prometheus_does(system: Watching) -> None:
    found = await ask(system, "query", query='temp{room="a"}', time=AT_S + 3)
    assert found == {
        "status": "success",
        "data": {
            "resultType": "vector",
            "result": [{"metric": {"__name__": "temp", "room": "a"}, "value": [AT_S + 3, "1e-07"]}],
        },
    }
    scalar = await ask(system, "query", query="1 / 4", time=f"{AT_S}.25")
    assert scalar["data"] == {"resultType": "scalar", "result": [AT_S + 0.25, "0.25"]}
    text = await ask(system, "query", query='"x"', time=AT_S)
    assert text["data"] == {"resultType": "string", "result": [AT_S, "x"]}
    samples = await ask(system, "query", query='temp{room="a"}[1m]', time=AT_S + 2)
    assert samples["data"]["resultType"] == "matrix"
    assert samples["data"]["result"][0]["values"] == [[AT_S + 1, "20"], [AT_S + 2, "21.5"]]


async def test_without_a_time_a_query_is_of_now(system: Watching) -> None:
    found = await ask(system, "query", query="time()")
    assert float(found["data"]["result"][1]) == system.clock.now_ms() / 1000


async def test_a_range_query_answers_with_a_matrix(system: Watching) -> None:
    asked = {"query": "sum(temp)", "start": AT_S + 1, "end": AT_S + 3, "step": "1s"}
    found = await ask(system, "query_range", **asked)
    assert found["data"] == {
        "resultType": "matrix",
        "result": [
            {"metric": {}, "values": [[AT_S + 1, "20"], [AT_S + 2, "21.5"], [AT_S + 3, "1e-07"]]},
        ],
    }
    number = await ask(system, "query_range", **asked | {"query": "2"})
    assert number["data"]["result"] == [{"metric": {}, "values": [[AT_S + step, "2"] for step in (1, 2, 3)]}]
    nothing = await ask(system, "query_range", **asked | {"query": "nothing"})
    assert nothing["data"]["result"] == []


async def test_sorted_answers_are_in_order_and_nan_is_last(system: Watching) -> None:
    for text, rooms in (
        ("sort(temp)", ["a", 'b"\\']),
        ("sort_desc(temp)", ['b"\\', "a"]),
        ("topk(5, temp)", ['b"\\', "a"]),
        ("bottomk(5, temp)", ["a", 'b"\\']),
        ('sort_desc(temp{room!="a"} or temp * NaN)', ['b"\\', "a"]),
        ('sort(temp{room!="a"} or temp * NaN)', ['b"\\', "a"]),
    ):
        found = await ask(system, "query", query=text, time=AT_S + 4)
        assert [one["metric"]["room"] for one in found["data"]["result"]] == rooms


async def test_a_subquery_without_a_step_inside_finds_nothing(system: Watching) -> None:
    text = "max_over_time(max_over_time(up[1m:1m])[1ms:1h] @ start())"
    assert (await ask(system, "query", query=text, time=AT_S + 7))["data"]["result"] == []


async def test_queries_may_be_posted_as_forms(system: Watching) -> None:
    content = f"query=up&time={AT_S + 6}&timeout=5s"
    answer = await system.http.post(f"{PREFIX}/query", content=content, headers=FORM)
    assert answer.json()["data"]["result"][0]["value"][1] == "1"


async def test_series_labels_and_values_are_found_by_selector_and_time(system: Watching) -> None:
    series = await ask(system, "series", **{"match[]": ["temp", 'up{job=""}']})
    assert [one["__name__"] for one in series["data"]] == ["temp", "temp", "up"]
    early = await ask(system, "series", **{"match[]": '{__name__=~".+"}', "start": AT_S, "end": AT_S + 2})
    assert early["data"] == [{"__name__": "temp", "room": "a"}]
    late = await ask(system, "series", **{"match[]": "temp", "start": AT_S + 100})
    assert late["data"] == []
    until = await ask(system, "series", **{"match[]": "temp", "end": AT_S + 1})
    assert len(until["data"]) == 1
    assert (await ask(system, "labels"))["data"] == ["__name__", "room"]
    assert (await ask(system, "labels", **{"match[]": "up"}))["data"] == ["__name__"]
    assert (await ask(system, "label/room/values"))["data"] == ["a", 'b"\\']
    assert (await ask(system, "label/__name__/values", **{"match[]": 'temp{room="a"}'}))["data"] == ["temp"]
    assert (await ask(system, "label/nothing/values"))["data"] == []


async def test_everything_can_be_compiled_before_the_first_query(system: Watching) -> None:
    system.container.promql().warm_up()
    assert kernels.find_windows.signatures  # type: ignore[attr-defined]


async def test_metadata_and_build_info_let_clients_connect(system: Watching) -> None:
    assert (await ask(system, "metadata"))["data"] == {}
    assert (await ask(system, "status/buildinfo"))["data"]["version"] == "2.42.0"


async def test_what_is_not_kept_here_is_empty_and_not_missing(system: Watching) -> None:
    assert (await ask(system, "rules"))["data"] == {"groups": []}
    assert (await ask(system, "alerts"))["data"] == {"alerts": []}
    assert (await ask(system, "query_exemplars", query="up", start=AT_S, end=AT_S + 1))["data"] == []
    for wrong in ({"query": "sum("}, {"query": "up", "end": str(AT_S - 1)}, {"query": "up", "start": "x"}):
        asked = {"start": str(AT_S), "end": str(AT_S + 1)} | wrong
        assert error_of(await system.http.get(f"{PREFIX}/query_exemplars", params=asked)) == (400, "bad_data")


async def test_a_query_is_formatted(system: Watching) -> None:
    assert (await ask(system, "format_query", query="sum  by(a)(rate(up[5m]))"))["data"] == "sum by (a) (rate(up[5m]))"
    assert error_of(await system.http.get(f"{PREFIX}/format_query", params={"query": "sum("})) == (400, "bad_data")


@pytest.mark.parametrize("path", ["series", "labels", "label/room/values"])
async def test_lists_end_at_a_limit_and_say_so(system: Watching, path: str) -> None:
    every = await ask(system, path, **{"match[]": "temp"})
    assert await ask(system, path, **{"match[]": "temp", "limit": 1}) == {
        "status": "success",
        "data": every["data"][:1],
        "warnings": ["results truncated due to limit"],
    }
    for enough in (0, 2, 10**30):
        assert await ask(system, path, **{"match[]": "temp", "limit": enough}) == every
    for wrong in ("-1", "x", "", "1.5"):
        answer = await system.http.get(f"{PREFIX}/{path}", params={"match[]": "temp", "limit": wrong})
        assert error_of(answer) == (400, "bad_data")


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"query": ""},
        {"query": "sum("},
        {"query": "up", "time": "yesterday"},
        {"query": "up", "time": "nan"},
        {"query": "up", "time": "inf"},
        {"query": "up", "time": "1e300"},
        {"query": "up", "time": "1_000"},
        {"query": "up", "time": "2026-13-01T00:00:00Z"},
        {"query": "(" * 100_000 + "1" + ")" * 100_000},
        {"query": "(" * 150 + "1" + ")" * 150},
        {"query": "1" + "+1" * 300},
        {"query": "x" * 20_000},
        {"query": 'up{a=~"(a+)+$' + "a" * 2000 + '"}'},
        {"query": 'label_replace(up, "0bad", "", "job", "")'},
        {"query": f'label_replace(up, "x", "", "job", "{"a" * 1001}")'},
        {"query": "histogram_count(up)"},
        {"query": "mad_over_time(up[5m])"},
        {"query": "limitk(1, up)"},
        {"query": 'up{a="b" or c="d"}'},
        {"query": "up[200y]"},
        {"query": "up", "timeout": "soon"},
        {"query": "up", "timeout": "-1"},
        {"query": "up @ -1"},
        {"query": "up offset 99999999y"},
        {"query": 'count_values("0bad", up)'},
        {"query": "1" + "+1" * 8000},
        {"query": "up offset 101y"},
        {"query": "max_over_time(up[200y:1d])"},
    ],
)
async def test_bad_queries_are_bad_data(system: Watching, parameters: dict[str, str]) -> None:
    answer = await system.http.post(f"{PREFIX}/query", data=parameters or {"other": "1"})
    assert error_of(answer) == (400, "bad_data")
    assert answer.json()["error"]


@pytest.mark.parametrize(
    "changed",
    [
        {"start": None},
        {"end": "x"},
        {"end": str(AT_S - 1)},
        {"step": "0"},
        {"step": "-5"},
        {"step": "nan"},
        {"step": "1e-300"},
        {"step": "inf"},
        {"step": "5 apples"},
        {"step": "1_000"},
        {"step": None},
        {"step": "0.001"},
        {"query": "up[5m]"},
        {"query": '"text"'},
        {"query": "up[5m:1m]"},
    ],
)
async def test_bad_ranges_are_bad_data(system: Watching, changed: dict[str, str | None]) -> None:
    asked = {"query": "up", "start": str(AT_S), "end": str(AT_S + 60), "step": "15s"} | changed
    answer = await system.http.get(f"{PREFIX}/query_range", params={k: v for k, v in asked.items() if v is not None})
    assert error_of(answer) == (400, "bad_data")


@pytest.mark.parametrize("selector", ["1 + 1", "up[5m]", "up offset 1m", "{", "{}"])
async def test_what_is_no_selector_matches_nothing_and_says_so(system: Watching, selector: str) -> None:
    answer = await system.http.get(f"{PREFIX}/series", params={"match[]": selector})
    assert error_of(answer) == (400, "bad_data")
    assert error_of(await system.http.get(f"{PREFIX}/series")) == (400, "bad_data")


@pytest.mark.parametrize(
    "query",
    [
        "temp + on () temp",
        'label_replace(temp, "room", "", "room", ".*")',
        "max_over_time(up[90d:1s])",
        "up * on () group_left temp",
        "topk(NaN, up)",
        "holt_winters(up[5m], 0, 0.5)",
        "double_exponential_smoothing(up[5m], 0.5, 1)",
        "bottomk(1e30, up)",
        "max_over_time((temp > 0)[2000h:1m]) + avg_over_time(temp[1h:1ms])",
    ],
)
async def test_what_cannot_be_executed_is_a_422(system: Watching, query: str) -> None:
    answer = await system.http.get(f"{PREFIX}/query", params={"query": query, "time": AT_S + 6})
    assert error_of(answer) == (422, "execution")


async def test_too_large_a_query_is_refused_with_its_limit(system: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantum.application.promql.MAX_SERIES", 1)
    answer = await system.http.get(f"{PREFIX}/query", params={"query": "temp"})
    assert error_of(answer) == (422, "execution")
    assert "at most 1 series" in answer.json()["error"]
    monkeypatch.setattr("quantum.application.promql.MAX_SAMPLES", 1)
    answer = await system.http.get(f"{PREFIX}/query", params={"query": 'temp{room="a"}[1h]', "time": AT_S + 3})
    assert "at most 1 samples" in answer.json()["error"]


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"query=up", {"content-type": "text/plain"}, 415),
        (b"query=\xff", FORM, 400),
        (b"&".join([b"a=1"] * 2000), FORM, 400),
        (b"query=" + b"1" * 2_000_000, FORM, 413),
    ],
)
async def test_bad_forms_are_refused(system: Watching, content: bytes, headers: dict[str, str], status: int) -> None:
    answer = await system.http.post(f"{PREFIX}/query", content=content, headers=headers)
    assert answer.status_code == status


async def test_a_store_that_does_not_answer_is_a_503(system: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    from quantum.domain.errors import Unavailable

    async def fail(*_: object) -> None:
        raise Unavailable("no answer")

    monkeypatch.setattr(system.container.store(), "samples", fail)
    answer = await system.http.get(f"{PREFIX}/query", params={"query": "up"})
    assert error_of(answer) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"
