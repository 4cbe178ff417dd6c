"""One writer and two gateways on a real PostgreSQL and a real Redis, spoken to as users do; Redis and the writer go."""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
from tests.manifests import answers_probes
from tests.parts.keycloak_pages import KeycloakPages
from tests.parts.program import ALONE, run_quantum
from tests.parts.redis import run_redis
from tests.security.test_browser_sign_in import let_come_back
from websockets.sync.client import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.parts.keycloak import KeycloakServer
    from tests.parts.program import Program
    from tests.parts.redis import RedisServer
    from websockets.sync.connection import Connection

START_WITHIN_S: Final = 180.0
ENOUGH_S: Final = 60.0
CPU: Final = {"__name__": "cpu", "host": "a"}
HOT: Final[dict[str, Any]] = {
    "name": "too hot",
    "matchers": [{"label": "__name__", "op": "=", "value": "cpu"}],
    "condition": {"kind": "threshold", "op": "above", "raise_at": 90.0, "clear_at": 80.0},
    "by": ["host"],
}


@pytest.fixture(name="redis")
def running_redis(tmp_path: Path) -> Iterator[RedisServer]:
    home = tmp_path / "redis"
    home.mkdir()
    with run_redis(home) as server:
        yield server


@pytest.fixture(name="environment")
def shared_environment(postgres_url: str, redis: RedisServer) -> dict[str, str]:
    return {
        **ALONE,
        "QUANTUM_STORE__KIND": "postgres",
        "QUANTUM_STORE__URL": postgres_url,
        "QUANTUM_STORE__TENANT": f"gateways-{os.getpid()}",
        "QUANTUM_REDIS__URL": redis.url,
    }


class Watched:
    """A live socket, and what it said."""

    def __init__(self, socket: Connection) -> None:
        self._socket = socket
        self.heard: list[dict[str, Any]] = []

    def say(self, **message: str) -> None:
        self._socket.send(json.dumps(message))

    def until(self, wanted: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """Return the first message from now on that is wanted."""
        deadline_s = time.monotonic() + ENOUGH_S
        while (left_s := deadline_s - time.monotonic()) > 0:
            try:
                message: dict[str, Any] = json.loads(self._socket.recv(timeout=left_s))
            except TimeoutError:
                break
            self.heard.append(message)
            if wanted(message):
                return message
        pytest.fail(f"{what} was not heard; these were: {[one['type'] for one in self.heard][-20:]}")


@contextmanager
def watching(program: Program, *topics: str) -> Iterator[Watched]:
    with connect(f"{program.base.replace('http', 'ws', 1)}/api/v1/live", proxy=None) as socket:
        watched = Watched(socket)
        for topic in topics:
            watched.say(op="subscribe", topic=topic)
            watched.until(lambda one: one["type"] == "subscribed", "a confirmation")
        yield watched


def pushed(program: Program, *values: float) -> None:
    now_ms = time.time_ns() // 1_000_000
    receipt = program.push((CPU, [now_ms - len(values) + n + 1 for n in range(len(values))], values))
    assert receipt["accepted"] == len(values)


def is_event(message: dict[str, Any], topic: str) -> bool:
    return bool(message["type"] == "event" and message["topic"] == topic)


def test_what_is_posted_at_one_gateway_is_seen_at_the_other_whatever_goes_away(
    environment: dict[str, str], redis: RedisServer, tmp_path: Path
) -> None:
    def start(stack: ExitStack, role: str, name: str, **more: str) -> Program:
        return stack.enter_context(
            run_quantum(
                tmp_path / name,
                tmp_path / f"{name}.log",
                "--role",
                role,
                environment={**environment, **more},
                ready_within_s=START_WITHIN_S,
            )
        )

    with ExitStack() as gateways, ExitStack() as writers:
        writer = start(writers, "all", "writer")
        one, other = (start(gateways, "gateway", name, QUANTUM_GATEWAY__WRITERS=writer.base) for name in ("a", "b"))
        answers_probes("gateway", one.http)

        # what is posted and changed at one is there for who asks the other
        pushed(one, 1.0)
        series = other.wait_until(lambda: other.series("cpu"), "the series", ENOUGH_S)
        topic = f"series:{series['fingerprint']}"
        assert one.post("/api/v1/policies", HOT, 201)["name"] == "too hot"
        assert "too hot" in [policy["name"] for policy in other.get("/api/v1/policies")["items"]]
        with watching(other, "alerts", topic) as watched:
            watched.until(lambda message: message["type"] == "gap" and message["topic"] == topic, "that it begins")
            pushed(one, 95.0)
            assert 95.0 in watched.until(lambda message: is_event(message, topic), "the sample")["data"]["value"]
            fired = watched.until(
                lambda message: is_event(message, "alerts") and message["data"]["state"] == "firing", "the alert"
            )
            assert fired["data"]["group"] == {"host": "a"}
            (alert,) = other.get("/api/v1/alerts", state="firing")["items"]
            assert alert["id"] == fired["data"]["id"]
            other.wait_until(lambda: newest(other) == 95.0 or None, "PromQL over the newest sample", ENOUGH_S)

            # without Redis nothing but the socket misses it
            redis.kill()
            pushed(one, 1.0)
            writer.wait_until(
                lambda: writer.get("/api/v1/alerts", state="resolved")["items"] or None, "its end", ENOUGH_S
            )
            assert [each["state"] for each in other.get("/api/v1/alerts")["items"]] == ["resolved"]
            assert other.http.get("/readyz").status_code == 200
            redis.start()
            unmarked = {"alerts", topic}
            watched.until(lambda message: marks_the_last(message, unmarked), "a marked gap in both topics")
            pushed(other, 2.0)
            assert 2.0 in watched.until(lambda message: is_event(message, topic), "events again")["data"]["value"]

        # without the writer reading goes on, and what would change something is refused for now
        incident = one.get("/api/v1/incidents")["items"][0]["id"]
        writers.close()
        now_ms = time.time_ns() // 1_000_000 + 1000
        for gateway in (one, other):
            refused = gateway.http.post(f"/api/v1/incidents/{incident}/acknowledge")
            assert (refused.status_code, refused.json()["reason"]) == (503, "unavailable")
            assert int(refused.headers["retry-after"]) >= 1
            assert gateway.http.post("/api/v1/samples", json={"series": []}).status_code == 503
            assert gateway.get("/api/v1/incidents")["items"][0]["id"] == incident
            assert gateway.get("/api/v1/overview")["series"] == 1
            gateway.wait_until(partial(is_newest, gateway, 2.0), "the last that was stored", ENOUGH_S)
            window = gateway.get(
                f"/api/v1/series/{series['fingerprint']}/window", start_ms=now_ms - 600_000, end_ms=now_ms
            )
            assert window["value"][-1] == 2.0
            assert gateway.http.get("/readyz").status_code == 200
            assert "writer: " in gateway.get("/readyz")["degraded"][0]
            assert "<html" in gateway.http.get("/").text


def test_through_a_gateway_people_of_several_tenants_may_do_what_their_roles_say(
    environment: dict[str, str], keycloak: KeycloakServer, tmp_path: Path
) -> None:
    home, other = f"home-{os.getpid()}", f"other-{os.getpid()}"
    people = {name: f"gateway-{name}" for name in ("viewer", "operator", "admin")}
    for role, name in people.items():
        keycloak.add_user(name, role, tenant=home)
    keycloak.add_user("gateway-other", "admin", tenant=other)
    shared = environment | {
        "QUANTUM_STORE__TENANT": home,
        "QUANTUM_TENANTS": f"{home},{other}",
        "QUANTUM_AUTH__MODE": "keycloak",
        "QUANTUM_AUTH__ISSUER": keycloak.issuer,
        "QUANTUM_SERVER__TRUSTED_PROXIES": "127.0.0.1/32",
    }
    with ExitStack() as stack:

        def start(role: str, **more: str) -> Program:
            log = tmp_path / f"{role}.log"
            running = run_quantum(
                tmp_path / role, log, "--role", role, environment=shared | more, ready_within_s=START_WITHIN_S
            )
            return stack.enter_context(running)

        writer = start("all")
        gateway = start("gateway", QUANTUM_GATEWAY__WRITERS=writer.base)

        # what members of one tenant send, those of another do not see
        tokens = {name: bearer(keycloak, name) for name in (people["admin"], "gateway-other")}
        for number, headers in enumerate(tokens.values()):
            assert gateway.http.post("/api/v1/samples", json=one_sample(float(number)), headers=headers).is_success
        for number, headers in enumerate(tokens.values()):
            gateway.wait_until(partial(sees_only, gateway, headers, float(number)), "the own sample", ENOUGH_S)

        # browsers sign in over the gateway, and their sessions are good there
        let_come_back(keycloak, gateway.base)
        for role, status in (("viewer", 403), ("operator", 201)):
            with signed_in(gateway, people[role]) as browser:
                found = browser.get("/api/v1/session").json()
                assert (found["subject"], found["tenant"], found["means"]) == (people[role], home, "session")
                assert browser.get("/api/v1/alerts").status_code == 200
                from_page = {"origin": gateway.base, "sec-fetch-site": "same-origin"}
                assert browser.post("/api/v1/policies", json=HOT, headers=from_page).status_code == status
                assert browser.post("/api/v1/logout", headers=from_page).is_success
                assert browser.get("/api/v1/alerts").status_code == 401
        gateway.wait_until(
            lambda: people["viewer"] in denied(gateway, tokens[people["admin"]]) or None, "the denial", ENOUGH_S
        )
        assert people["viewer"] not in denied(gateway, tokens["gateway-other"])


def bearer(keycloak: KeycloakServer, name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {keycloak.tokens(name)['access_token']}"}


def one_sample(value: float) -> dict[str, Any]:
    return {"series": [{"labels": CPU, "timestamps_ms": [time.time_ns() // 1_000_000], "values": [value]}]}


def sees_only(program: Program, headers: dict[str, str], value: float) -> bool | None:
    found = program.http.get("/prometheus/api/v1/query", params={"query": "cpu"}, headers=headers).json()
    values = [float(one["value"][1]) for one in found["data"]["result"]]
    assert values in ([], [value])
    return values == [value] or None


def denied(program: Program, headers: dict[str, str]) -> set[str]:
    found = program.http.get("/api/v1/audit", params={"outcome": "denied"}, headers=headers)
    assert found.status_code == 200, found.text
    return {one["actor"] for one in found.json()["items"]}


@contextmanager
def signed_in(program: Program, name: str) -> Iterator[httpx.Client]:
    """A browser after its way to Keycloak and back."""
    pages = KeycloakPages()
    try:
        with httpx.Client(base_url=program.base, timeout=60, trust_env=False) as browser:
            begun = browser.get("/api/v1/login")
            assert begun.status_code == 303, begun.text
            back = pages.sign_in(begun.headers["location"], name)
            assert browser.get("/api/v1/login/callback", params=back).status_code == 303
            yield browser
    finally:
        pages.close()


def marks_the_last(message: dict[str, Any], unmarked: set[str]) -> bool:
    """Take the topic of a gap off those that have none yet; return whether all have one."""
    if message["type"] == "gap":
        unmarked.discard(message["topic"])
    return not unmarked


def is_newest(program: Program, value: float) -> bool | None:
    return newest(program) == value or None


def newest(program: Program) -> float | None:
    found = program.get("/prometheus/api/v1/query", query="cpu")["data"]["result"]
    return float(found[0]["value"][1]) if found else None
