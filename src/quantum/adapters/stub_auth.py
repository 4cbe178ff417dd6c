"""Identity for a laptop: everybody is the local admin, and the dashboard says so."""

from __future__ import annotations

from typing import Final

from quantum.application.ports import Principal

LOCAL_ADMIN: Final = "local-admin"
ALL_ROLES: Final = frozenset({"viewer", "operator", "admin", "ingest"})


class StubIdentity:
    """Identity that lets everybody in, as an administrator of one tenant."""

    banner = "No sign-in: everybody who can open this page is an administrator. Meant for this machine alone."

    def __init__(self, tenant: str = "default") -> None:
        self._everybody = Principal(LOCAL_ADMIN, ALL_ROLES, tenant)

    async def identify(self, credential: str) -> Principal:
        """See Identity."""
        del credential
        return self._everybody
