"""The edge: what every request meets first. Hosts, origins, other sites' pages, proxies, headers of every answer.

The ids (T transport, A auth, W WebSocket) are those of the project's list of attacks.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar, Request, WebSocket, get, post, websocket
from litestar.exceptions import WebSocketDisconnect
from litestar.testing import TestClient
from tests.watching import Watching

from quantum.adapters.http.edge import Edge
from quantum.adapters.http.problems import HANDLERS
from quantum.adapters.http.proxies import Proxies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from litestar.testing import WebSocketTestSession

PORTAL: Final = "https://portal.example"
HERE: Final = "http://127.0.0.1"
ALWAYS: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


@get("/seen")
async def seen(request: Request[Any, Any, Any]) -> dict[str, Any]:
    scope: Any = request.scope
    told = sorted(name.decode() for name, _ in scope["headers"] if name.startswith((b"x-", b"forwarded")))
    return {"from": scope["client"][0], "scheme": scope["scheme"], "host": request.headers["host"], "told": told}


@post("/act", status_code=200)
async def act() -> str:
    return "done"


@websocket("/watch")
async def watch(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    await socket.close()


def application(*, proxies: str = "") -> Litestar:
    known = Proxies([ip_network(proxies)] if proxies else [])
    app = Litestar([seen, act, watch], exception_handlers=HANDLERS, logging_config=None)
    app.asgi_handler = Edge(frozenset({"quantum.example"}), frozenset({PORTAL}), proxies=known)(app.asgi_handler)
    return app


@pytest.fixture(name="client", scope="module")
def edge_client() -> Iterator[TestClient[Litestar]]:
    with TestClient(application(), base_url=HERE) as client:
        yield client


def reason(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["reason"]


# ---- hosts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:9", "127.0.0.1:8470", "[::1]:8470", "quantum.example", "Quantum.Example:443", "10.0.0.1"],
)
def test_t14_our_names_and_any_address_are_let_in(client: TestClient[Litestar], host: str) -> None:
    assert client.get("/seen", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "quantum.example.evil.example",
        "localhost.evil.example",
        "user@localhost",
        "",
        "a b",
        "[::1",
        "localhost:x",
        "localhost:0",
        "127.0.0.1.evil.example",
    ],
)
def test_t14_a_foreign_host_is_refused(client: TestClient[Litestar], host: str) -> None:
    assert reason(client.get("/seen", headers={"host": host})) == (400, "host")


# ---- origins ----------------------------------------------------------------------------------------------------

FOREIGN: Final = [
    "https://evil.example",
    "null",
    "https://portal.example.evil.example",
    "https://evil-portal.example",
    "http://portal.example",
    "https://portal.example:8443",
    "https://portal.example/",
    "https://localhost.evil.example",
    "http://localhost@evil.example",
    "https://[",
]


@pytest.mark.parametrize("origin", FOREIGN)
def test_a61_pages_of_other_sites_may_not_act(client: TestClient[Litestar], origin: str) -> None:
    assert reason(client.post("/act", headers={"origin": origin})) == (403, "origin")


@pytest.mark.parametrize("origin", [HERE, PORTAL])
def test_our_pages_and_those_we_trust_may_act(client: TestClient[Litestar], origin: str) -> None:
    assert client.post("/act", headers={"origin": origin}).status_code == 200


def test_a61_two_origins_are_nobodys(client: TestClient[Litestar]) -> None:
    headers = httpx.Headers([("origin", HERE), ("origin", "https://evil.example")])
    assert client.post("/act", headers=headers).status_code == 403


def opened(client: TestClient[Litestar], **headers: str) -> WebSocketTestSession:
    return client.websocket_connect("/watch", headers=headers)


@pytest.mark.parametrize("origin", FOREIGN)
def test_w2_w3_w4_pages_of_other_sites_may_not_watch(client: TestClient[Litestar], origin: str) -> None:
    with pytest.raises(WebSocketDisconnect) as refused, opened(client, origin=origin):
        pass
    assert refused.value.code == 1008


@pytest.mark.parametrize("headers", [{}, {"origin": PORTAL}, {"origin": HERE}])
def test_our_pages_and_programs_may_watch(client: TestClient[Litestar], headers: dict[str, str]) -> None:
    with opened(client, **headers) as socket:
        assert socket.scope["path"] == "/watch"


# ---- what browsers ask ------------------------------------------------------------------------------------------

ASKING: Final = {"access-control-request-method": "PUT", "access-control-request-headers": "authorization"}


def test_a_browser_is_told_what_a_trusted_page_may_do(client: TestClient[Litestar]) -> None:
    answer = client.options("/act", headers={"origin": PORTAL, **ASKING})
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == PORTAL
    assert "PUT" in answer.headers["access-control-allow-methods"]
    assert "Authorization" in answer.headers["access-control-allow-headers"]
    assert "Origin" in answer.headers["vary"]
    read = client.get("/seen", headers={"origin": PORTAL})
    assert read.headers["access-control-allow-origin"] == PORTAL
    assert "ETag" in read.headers["access-control-expose-headers"]


@pytest.mark.parametrize("origin", [*FOREIGN, "*"])
def test_a61_no_other_origin_is_ever_named_in_an_answer(client: TestClient[Litestar], origin: str) -> None:
    for answer in (
        client.options("/act", headers={"origin": origin, **ASKING}),
        client.get("/seen", headers={"origin": origin}),
        client.get("/nothing", headers={"origin": origin}),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_a61_cookies_of_other_sites_visitors_are_never_asked_for(client: TestClient[Litestar]) -> None:
    answer = client.options("/act", headers={"origin": PORTAL, **ASKING})
    assert "access-control-allow-credentials" not in answer.headers


# ---- headers of every answer ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/seen"), ("GET", "/nothing"), ("PUT", "/act"), ("OPTIONS", "/act")]
)
def test_every_answer_protects_who_gets_it(client: TestClient[Litestar], method: str, path: str) -> None:
    headers = client.request(method, path).headers
    assert {name: headers[name] for name in ALWAYS} == ALWAYS
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["script-src"] == policy["default-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["object-src"] == "'none'"
    assert headers["cache-control"] == "no-store"
    assert len(headers["x-request-id"]) == 16
    assert "server" not in headers
    assert "strict-transport-security" not in headers


def test_a_refusal_of_the_edge_itself_has_them_too(client: TestClient[Litestar]) -> None:
    answer = client.get("/seen", headers={"host": "evil.example"})
    assert {name: answer.headers[name] for name in ALWAYS} == ALWAYS


# ---- proxies ----------------------------------------------------------------------------------------------------

TOLD: Final = {
    "x-forwarded-for": "203.0.113.9",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "quantum.example",
    "forwarded": "for=203.0.113.9",
    "x-real-ip": "203.0.113.9",
}


async def asked_through(proxies: str, peer: str, **headers: str) -> httpx.Response:
    app: Any = application(proxies=proxies)
    transport = httpx.ASGITransport(app, client=(peer, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.get("/seen", headers=headers)


async def test_a63_nobody_is_believed_by_default() -> None:
    answer = await asked_through("", "127.0.0.1", **TOLD)
    assert answer.json() == {"from": "127.0.0.1", "scheme": "http", "host": "localhost", "told": []}


async def test_a_trusted_proxy_is_believed() -> None:
    answer = await asked_through("10.0.0.0/8", "10.0.0.1", **TOLD)
    assert answer.json() == {"from": "203.0.113.9", "scheme": "https", "host": "quantum.example", "told": []}
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


async def test_the_host_that_a_trusted_proxy_names_must_be_ours_too() -> None:
    answer = await asked_through("10.0.0.0/8", "10.0.0.1", **{"x-forwarded-host": "evil.example"})
    assert reason(answer) == (400, "host")


@pytest.mark.parametrize(
    ("chain", "asker"),
    [
        ("1.1.1.1, 203.0.113.9", "203.0.113.9"),
        ("1.1.1.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("localhost", "10.0.0.1"),
        ("1.1.1.1, unknown", "10.0.0.1"),
        ("", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
async def test_a63_what_an_asker_writes_in_front_of_a_proxys_list_is_not_believed(chain: str, asker: str) -> None:
    answer = await asked_through("10.0.0.0/8", "10.0.0.1", **{"x-forwarded-for": chain})
    assert answer.json()["from"] == asker


@pytest.mark.parametrize("proto", ["ftp", "https, http", "", "HTTPS "])
async def test_a_scheme_is_https_or_http(proto: str) -> None:
    answer = await asked_through("10.0.0.0/8", "10.0.0.1", **{"x-forwarded-proto": proto})
    assert answer.json()["scheme"] == ("https" if proto.strip().lower() == "https" else "http")


@given(chain=st.lists(st.ip_addresses(v=4), max_size=30), peer=st.ip_addresses(v=4))
def test_the_asker_is_the_peer_or_the_last_address_that_is_no_proxy(chain: list[Any], peer: Any) -> None:
    network = ip_network("0.0.0.0/1")
    scope: Any = {
        "type": "http",
        "client": (str(peer), 1),
        "headers": [(b"x-forwarded-for", ", ".join(map(str, chain)).encode())],
    }
    found = ip_address(Proxies([network]).seen_through(scope)["client"][0])  # type: ignore[index]
    if peer not in network:
        assert found == peer
    else:
        outside = [one for one in chain[-20:] if one not in network]
        assert found == (outside[-1] if outside else (chain[-20:] or [peer])[0])


# ---- the whole application --------------------------------------------------------------------------------------


async def test_settings_reach_the_edge() -> None:
    from quantum.settings import Server, Settings, Store

    server = Server(allowed_origins=(PORTAL,), trusted_proxies=("127.0.0.0/8",), allowed_hosts=("quantum.example",))
    async with Watching(Settings(store=Store(kind="memory"), server=server)) as system:
        answer = await system.http.get("/api/v1/session", headers={"origin": PORTAL, "x-forwarded-proto": "https"})
        assert answer.headers["access-control-allow-origin"] == PORTAL
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert (await system.http.get("/livez", headers={"x-forwarded-host": "quantum.example"})).status_code == 200
