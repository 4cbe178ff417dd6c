"""Shapes of signing in and out, and of tickets for the live socket."""

from __future__ import annotations

from quantum.adapters.http.messages import Message


class SignedOut(Message):
    """The session is over here. A browser goes to `end_session`, if there is one, to end it at the provider, too."""

    end_session: str


class LiveTicket(Message):
    """Opens `/api/v1/live?ticket=...` once, from a page of the same origin, before it expires."""

    ticket: str
    expires_at_ms: int
