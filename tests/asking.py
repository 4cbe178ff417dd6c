"""Requests as the rows of a list, and what is true of every answer, however odd the request was."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

MAX_ANSWER_BYTES: Final = 2_000_000
PROBLEM: Final = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of a list of bad input.

    Attributes:
        id: its id in the list, and what is odd about it.
        status: how it has to be answered.
        route: method and path.
        says: what else it has, as httpx takes it.
        words: what the answer has to say.
    """

    id: str
    status: int
    route: str
    says: Mapping[str, Any] = field(default_factory=dict)
    words: str = ""

    def __str__(self) -> str:
        """Return how pytest calls it."""
        return self.id

    @property
    def request(self) -> tuple[str, str]:
        """Method and path."""
        method, _, path = self.route.partition(" ")
        return method, path

    def check(self, answer: httpx.Response) -> None:
        """Assert that it was answered as it has to be, in a form that whoever asks can read."""
        assert answer.status_code == self.status, (self.id, answer.status_code, answer.text[:400])
        assert len(answer.content) < MAX_ANSWER_BYTES
        assert "Traceback" not in answer.text
        assert self.words in answer.text, answer.text[:400]
        if answer.status_code == 204:
            return
        if "json" in answer.headers["content-type"]:
            json.loads(answer.content, parse_constant=_no_number)
        if answer.status_code >= 400 and self.request[1].startswith("/api/"):
            assert answer.headers["content-type"] == PROBLEM
            assert all(char.isprintable() for char in answer.json()["detail"])


def _no_number(text: str) -> float:
    raise AssertionError(f"{text} is no JSON")
