"""Identity for a laptop: everybody is the local admin, and the dashboard says so."""

from __future__ import annotations

from typing import Final

from quantum.application.ports import Principal

LOCAL_ADMIN: Final = Principal("local-admin", frozenset({"viewer", "operator", "admin", "ingest"}))


class StubIdentity:
    """Identity that lets everybody in."""

    banner = "No sign-in: everybody who can open this page is an administrator. Meant for this machine alone."

    async def identify(self, authorization: str | None) -> Principal:
        """See Identity."""
        del authorization
        return LOCAL_ADMIN
