"""Bad policies, receivers and what goes with them: refused with a sentence, or taken as mere text.

The ids (P) are those of the project's list of bad input, `tests/hostile.py`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
from tests.asking import Asked
from tests.watching import HOT, Watching, served_aside

from quantum.application.control import policy_id
from quantum.domain.catalog import MAX_POLICIES
from quantum.domain.policies import MAX_DURATION_MS, MAX_NAME, MAX_SUMMARY

if TYPE_CHECKING:
    from collections.abc import Iterator

ENOUGH_S: Final = 30
MAKE: Final = "POST /api/v1/policies"
RECEIVER: Final = "POST /api/v1/receivers"
PREVIEW: Final = "POST /api/v1/policies/preview"
REPLAY: Final = "POST /api/v1/replay"
THERE: Final = f"/api/v1/policies/{policy_id(HOT['name'])}"
JSON: Final = {"content-type": "application/json"}
STALE: Final = {"headers": {"if-match": '"99"'}}
YAML: Final = {
    "content": b"!!python/object/apply:os.system ['id']",
    "headers": {"content-type": "application/yaml"},
}
YEARS_MS: Final = 100 * 365 * 86_400_000
RATE: Final = {"kind": "rate_of_change", "op": "above", "raise_at": 1.0, "window_ms": 60_000}
ODD: Final = {"kind": "anomaly_score", "raise_at": 0.5}
BUDGET: Final = {"kind": "page_budget", "pages": 2}
NEARING: Final = {"kind": "time_to_limit", "op": "above", "limit": 1.0, "within_ms": 3_600_000}


def policy(name: str = "odd", **others: Any) -> dict[str, Any]:
    """A request to make a policy that is sound but for what is given."""
    return {"json": HOT | {"name": name} | others}


def condition(base: dict[str, Any] = HOT["condition"], **others: Any) -> dict[str, Any]:
    return policy(condition=base | others)


def written(old: str, new: str) -> dict[str, Any]:
    """A request with a part that Python would not write."""
    text = json.dumps(HOT | {"name": "odd"}).replace(old, new)
    assert new in text
    return {"content": text.encode(), "headers": JSON}


def matching(pattern: str, name: str = "odd") -> dict[str, Any]:
    return policy(name, matchers=[{"label": "room", "op": "=~", "value": pattern}])


def receiver(url: str = "https://hooks.example.com/a", name: str = "odd", **others: Any) -> dict[str, Any]:
    return {"json": {"name": name, "url": url} | others}


def preview(**others: Any) -> dict[str, Any]:
    return {"json": {"policy": HOT | others, "start_ms": 0, "end_ms": 253_402_300_800_000}}


def training(name: str) -> dict[str, Any]:
    return {"json": {"name": name, "kind": "window-forest", "selector": "heat", "start_ms": 1, "end_ms": 2}}


POLICIES: Final = [
    Asked("P1 empty", 400, MAKE, policy("")),
    Asked("P1 blank", 400, MAKE, policy(" \t ")),
    Asked("P1 missing", 400, MAKE, {"json": {name: value for name, value in HOT.items() if name != "name"}}),
    Asked("P2", 400, MAKE, policy("n" * 10_000), str(MAX_NAME)),
    Asked("P2 NUL", 400, MAKE, policy("a\0b")),
    Asked("P2 surrogate", 400, MAKE, {"content": json.dumps(HOT | {"name": "\ud800"}).encode(), "headers": JSON}),
    Asked("P3", 409, MAKE, policy(HOT["name"])),
    Asked("P4 policy", 400, MAKE, policy(whatever=1), "whatever"),
    Asked("P4 condition", 400, MAKE, condition(whatever=1), "whatever"),
    Asked("P4 matcher", 400, MAKE, policy(matchers=[{"label": "a", "op": "=", "value": "b", "x": 1}])),
    Asked("P4 kind", 400, MAKE, condition(kind="python")),
    Asked("P4 twice", 400, MAKE, written('"by": ["room"]', '"by": ["room"], "by": 7')),
    Asked("P5 NaN", 400, MAKE, written('"raise_at": 90.0', '"raise_at": NaN')),
    Asked("P5 infinite", 400, MAKE, written('"raise_at": 90.0', '"raise_at": Infinity')),
    Asked("P5 beyond", 400, MAKE, written('"raise_at": 90.0', '"raise_at": 1e999')),
    Asked("P5 text", 400, MAKE, condition(raise_at="90")),
    Asked("P5 nothing", 400, MAKE, condition(raise_at=None)),
    Asked("P5 score", 400, MAKE, condition({"kind": "anomaly_score", "raise_at": 1.5})),
    Asked("P5 no score", 400, MAKE, condition({"kind": "anomaly_score", "raise_at": 0})),
    Asked("P5 direction", 400, MAKE, condition(ODD, direction="sideways"), "direction"),
    Asked("P5 direction of a budget", 400, MAKE, condition(BUDGET, direction=None), "direction"),
    Asked("P5 direction of a threshold", 400, MAKE, condition(direction="above"), "direction"),
    Asked("P5 probability", 400, MAKE, condition(NEARING, probability=1.0)),
    Asked("P5 limit", 400, MAKE, condition(NEARING, limit="NaN")),
    Asked("P6 negative", 400, MAKE, policy(for_ms=-1)),
    Asked("P6 a hundred years", 400, MAKE, policy(for_ms=YEARS_MS), str(MAX_DURATION_MS)),
    Asked("P6 in words", 400, MAKE, policy(for_ms="5 minutes")),
    Asked("P6 broken", 400, MAKE, policy(for_ms=1.5)),
    Asked("P6 true", 400, MAKE, policy(for_ms=True)),
    Asked("P6 large", 400, MAKE, policy(keep_firing_for_ms=10**30)),
    Asked("P7 interval", 400, MAKE, policy(interval_ms=1), "interval_ms"),
    Asked("P7 zero", 400, MAKE, condition(BUDGET, per_ms=0)),
    Asked("P7 pages", 400, MAKE, condition(BUDGET, pages=0)),
    Asked("P8", 400, MAKE, condition(RATE, window_ms=999)),
    Asked("P8 absence", 400, MAKE, condition({"kind": "absence", "after_ms": 1})),
    Asked("P9", 400, MAKE, condition(RATE, window_ms=MAX_DURATION_MS + 1)),
    Asked("P9 far", 400, MAKE, condition(NEARING, within_ms=YEARS_MS)),
    Asked("P10 expression", 400, MAKE, policy(expression="sum("), "expression"),
    Asked("P10 pattern", 400, MAKE, matching("(")),
    Asked("P11", 413, MAKE, matching("a" * 1_000_000)),
    Asked("P11 pattern", 400, MAKE, matching("a" * 1001), "1000"),
    Asked("P12", 400, MAKE, condition({"kind": "policy", "policy_id": policy_id("odd")})),
    Asked("P13", 400, MAKE, policy(receivers=["of-another-tenant"])),
    Asked("P13 tenant", 400, MAKE, policy(tenant="other")),
    Asked("P14", 400, MAKE, policy(receivers=["nobody"]), "nobody"),
    Asked("P15", 201, MAKE, matching("(a+)+$", "bomb")),
    Asked("P15 reference", 400, MAKE, matching("(a)\\1")),
    Asked("P15 repeated", 400, MAKE, matching("((a{1000}){1000}){1000}")),
    Asked("P16 everything", 400, MAKE, policy(matchers=[{"label": "room", "op": "=~", "value": ""}])),
    Asked("P16 nothing", 400, MAKE, policy(matchers=[])),
    Asked("P16 preview", 400, PREVIEW, preview(matchers=[])),
    Asked("P16 many", 400, MAKE, policy(matchers=HOT["matchers"] * 21)),
    Asked("P17 above", 400, MAKE, condition(raise_at=80.0, clear_at=90.0)),
    Asked("P17 below", 400, MAKE, condition(op="below", raise_at=90.0, clear_at=80.0)),
    Asked("P17 score", 400, MAKE, condition({"kind": "anomaly_score", "raise_at": 0.5, "clear_at": 0.6})),
    Asked("P18", 201, MAKE, policy("{{ ''.__class__ }}", summary="{{ ''.__class__ }} %s {0}"), "{{ ''.__class__ }}"),
    Asked("P19", 400, MAKE, policy(summary="x" * (MAX_SUMMARY + 1)), str(MAX_SUMMARY)),
    Asked("P20", 201, MAKE, policy("loop", summary="{% for a in range(10**9) %}x{% endfor %}"), "{% for"),
    Asked("P21", 201, MAKE, policy("markup", summary="<img src=x onerror=alert(1)> @here [a](javascript:b)"), "<img"),
    Asked("P22", 201, MAKE, policy("a\r\nSubject: b", summary="\r\nBcc: everybody@example.com"), "a\\r\\nSubject: b"),
    Asked("P22 receiver", 400, RECEIVER, receiver(name="a\r\nb")),
    Asked("P22 secret", 400, RECEIVER, receiver(secret="a\r\nX-Other: b")),
    Asked("P23 file", 400, RECEIVER, receiver("file:///etc/passwd")),
    Asked("P23 gopher", 400, RECEIVER, receiver("gopher://example.com/")),
    Asked("P23 ftp", 400, RECEIVER, receiver("ftp://example.com/")),
    Asked("P23 script", 400, RECEIVER, receiver("javascript:alert(1)")),
    Asked("P23 none", 400, RECEIVER, receiver("//example.com/")),
    Asked("P24 loopback", 400, RECEIVER, receiver("http://127.0.0.1/")),
    Asked("P24 metadata", 400, RECEIVER, receiver("http://169.254.169.254/latest/")),
    Asked("P24 mapped", 400, RECEIVER, receiver("http://[::ffff:127.0.0.1]/")),
    Asked("P24 decimal", 400, RECEIVER, receiver("http://2130706433/")),
    Asked("P24 octal", 400, RECEIVER, receiver("http://0177.1/")),
    Asked("P24 name", 400, RECEIVER, receiver("http://localhost./")),
    Asked("P25", 400, RECEIVER, receiver("https://user:pass@example.com/")),
    Asked("P25 user", 400, RECEIVER, receiver("https://user@example.com/")),
    Asked("P26 ssh", 400, RECEIVER, receiver("http://example.com:22/")),
    Asked("P26 Redis", 400, RECEIVER, receiver("http://example.com:6379/")),
    Asked("P26 no port", 400, RECEIVER, receiver("http://example.com:70000/")),
    Asked("P28", 400, RECEIVER, receiver(headers={"Host": "evil.example"}), "headers"),
    Asked(
        "P30 type",
        415,
        MAKE,
        YAML,
    ),
    Asked("P30 in JSON", 400, MAKE, {"content": b"a: &a [*a]\n", "headers": JSON}),
    Asked(
        "P32 policy",
        412,
        f"PUT {THERE}",
        policy(HOT["name"]) | STALE,
    ),
    Asked("P32 deleted", 412, f"DELETE {THERE}", STALE),
    Asked("P32 missing", 404, "PUT /api/v1/policies/nothing", policy()),
    Asked("P38 path", 404, "GET /api/v1/models/..%2f..%2fx.pkl"),
    Asked(
        "P38 name",
        400,
        "POST /api/v1/training-runs",
        training("../../x.pkl"),
    ),
    Asked("P38 of another", 404, "POST /api/v1/models/of-another-tenant/promote", {"json": {"version": 1}}),
]


async def something_is_there(system: Watching) -> None:
    await system.fire()


@pytest.fixture(name="client", scope="module")
def client_of_a_server() -> Iterator[httpx.Client]:
    with served_aside(something_is_there) as base, httpx.Client(base_url=base, timeout=ENOUGH_S) as client:
        yield client


@pytest.mark.parametrize("asked", POLICIES, ids=str)
def test_a_policy_or_receiver_is_refused_with_a_sentence_or_taken_as_text(client: httpx.Client, asked: Asked) -> None:
    asked.check(client.request(*asked.request, **asked.says))


def test_p31_more_policies_than_there_may_be_are_refused_as_a_draft_and_one_by_one(client: httpx.Client) -> None:
    small = {"name": "a", "matchers": [{"label": "a", "op": "=", "value": "b"}], "condition": BUDGET}
    draft = {"start_ms": 0, "end_ms": 1, "policies": [small] * (MAX_POLICIES + 1)}
    Asked("P31 draft", 400, REPLAY, words=str(MAX_POLICIES)).check(client.post("/api/v1/replay", json=draft))
    draft["policies"] = [small] * 10_000
    Asked("P31 import", 413, REPLAY).check(client.post("/api/v1/replay", json=draft))


async def test_p33_alerts_of_a_policy_that_is_deleted_while_it_fires_are_resolved_for_that_reason() -> None:
    async with Watching() as system:
        alert = await system.fire()
        answer = await system.http.delete(f"/api/v1/policies/{alert['policy_id']}")
        assert answer.status_code == 204
        await system.pass_time(1000)
        found = await system.get(f"/api/v1/alerts/{alert['id']}")
        assert found["alert"]["state"] == "resolved"
        assert "policy" in found["transitions"][-1]["reason"]


async def test_p34_an_alert_says_which_version_of_a_policy_that_was_edited_meanwhile_raised_it() -> None:
    async with Watching() as system:
        alert = await system.fire()
        edited = await system.json("PUT", f"/api/v1/policies/{alert['policy_id']}", json=HOT | {"summary": "hotter"})
        assert edited["version"] == 2
        await system.pass_time(1000)
        found = await system.get(f"/api/v1/alerts/{alert['id']}")
        assert found["alert"]["policy_version"] == 1


async def test_p18_p21_p22_what_a_policy_says_is_told_as_it_is_written() -> None:
    summary = "{{ 7 * 7 }} <b>&</b>\r\nBcc: everybody@example.com"
    async with Watching() as system:
        alert = await system.fire(summary=summary)
        assert alert["summary"] == summary
