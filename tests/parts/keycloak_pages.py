"""The pages on which people sign in at a real Keycloak, used without a browser."""

from __future__ import annotations

import re
from html import unescape

import httpx
from tests.parts.keycloak import PASSWORD


class KeycloakPages:
    """Somebody at Keycloak's pages, with cookies of their own."""

    def __init__(self) -> None:
        self.http = httpx.Client(timeout=60)

    def sign_in(self, address: str, name: str, password: str = PASSWORD) -> dict[str, str]:
        """Sign in at an address; return the parameters with which Keycloak sends the browser back.

        Somebody whom Keycloak remembers is not asked.
        """
        answer = self._see(self.http.get(address))
        if answer.status_code == 200:
            form = re.search(r'<form[^>]*id="kc-form-login"[^>]*action="([^"]+)"', answer.text, re.DOTALL)
            assert form is not None, answer.text
            answer = self._see(self.http.post(unescape(form[1]), data={"username": name, "password": password}))
        assert answer.status_code == 302, answer.text
        return dict(httpx.URL(answer.headers["location"]).params)

    def _see(self, answer: httpx.Response) -> httpx.Response:
        """Take cookies as browsers do: to them this machine is as good as TLS."""
        for cookie in self.http.cookies.jar:
            cookie.secure = False
        return answer

    def close(self) -> None:
        """Be gone."""
        self.http.close()
