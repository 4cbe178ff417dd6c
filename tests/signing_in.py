"""A system behind an identity provider that a test plays, and browsers that sign in to it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import httpx
from tests.issuer import AUDIENCE, CLIENT, ISSUER
from tests.provider import Provider
from tests.watching import START_MS, Watching

from quantum.adapters.keycloak import Keycloak, Trust
from quantum.adapters.memory import ManualClock
from quantum.adapters.oidc import Oidc
from quantum.settings import Auth, Server, Settings, Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from quantum.application.sessions import Sessions

SELF: Final = {"origin": "http://localhost", "sec-fetch-site": "same-origin"}
"""What a browser says of a request of our own page."""
POLICY: Final = {
    "name": "p",
    "matchers": [{"label": "__name__", "op": "=", "value": "cpu"}],
    "condition": {"kind": "anomaly_score", "raise_at": 0.9, "clear_at": 0.8},
}
COOKIE: Final = "quantum_session"


class Scene:
    """A system, its identity provider, and browsers that have cookies.

    Attributes:
        address: where the system is served, if it is.
    """

    def __init__(self, *allowed_origins: str, tenants: tuple[str, ...] = ()) -> None:
        self.clock = ManualClock(START_MS)
        self.provider = Provider(self.clock)
        self.keycloak = Keycloak(trust(), self.clock, self.provider.issuer.fetch)
        self.oidc = Oidc(ISSUER, CLIENT, self.keycloak.check_id_token, self.clock, self.provider.ask)
        settings = Settings(
            store=Store(kind="memory"),
            auth=Auth(mode="keycloak", issuer=ISSUER),
            server=Server(allowed_origins=allowed_origins),
            tenants=tenants,
        )
        others = {"keycloak": self.keycloak, "oidc": self.oidc}
        self.system = Watching(settings=settings, clock=self.clock, others=others)
        self.address = ""
        self._browsers: list[httpx.AsyncClient] = []

    @property
    def sessions(self) -> Sessions:
        """Who is signed in."""
        found: Sessions = self.system.process.sessions()
        return found

    def browser(self, base: str = "http://localhost") -> httpx.AsyncClient:
        """Return a browser that was never here."""
        app: Any = self.system.app
        made = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base, timeout=20)
        self._browsers.append(made)
        return made

    async def signed_in(self, *roles: str, to: str = "/") -> httpx.AsyncClient:
        """Return a browser after its way to the provider and back."""
        self.provider.roles = list(roles or ("viewer",))
        browser = self.browser()
        answer = await come_back(browser, self.provider.consent(await begin(browser, to)))
        assert (answer.status_code, answer.headers["location"]) == (303, to), answer.text
        return browser

    def begin_anew(self) -> None:
        """Forget everything that a test did or let the provider do, except that time has passed."""
        self.provider.begin_anew()
        self.keycloak._trust = trust()
        self.keycloak._judged.clear()
        self.oidc._places, self.oidc._asked_ms = None, 0
        self.sessions._away_until_ms = 0
        self.system.process.transients()._kept.clear()

    async def close(self) -> None:
        """Close all browsers."""
        for browser in self._browsers:
            await browser.aclose()


@asynccontextmanager
async def open_scene(*allowed_origins: str, tenants: tuple[str, ...] = ()) -> AsyncIterator[Scene]:
    """Run a scene for the length of a `with` block."""
    scene = Scene(*allowed_origins, tenants=tenants)
    async with scene.system:
        yield scene
        await scene.close()


def trust(**others: str) -> Trust:
    """Which tokens are believed."""
    return Trust(issuer=ISSUER, clients=frozenset({CLIENT}), **{"audience": AUDIENCE, **others})


async def begin(browser: httpx.AsyncClient, to: str = "/") -> str:
    """Return where a browser is sent that wants to sign in."""
    answer = await browser.get("/api/v1/login", params={"to": to})
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


async def come_back(browser: httpx.AsyncClient, parameters: dict[str, str]) -> httpx.Response:
    """Return the answer to a browser that was sent back by the provider."""
    return await browser.get("/api/v1/login/callback", params=parameters)


async def who(browser: httpx.AsyncClient) -> Any:
    """Return as whom a browser is known."""
    return (await browser.get("/api/v1/session")).json()
