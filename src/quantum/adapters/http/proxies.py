"""Who a request is from, and what it was called there, where a proxy stands in front.

A proxy tells in `X-Forwarded-For`, `-Proto` and `-Host` what it heard. Anybody can send these headers, so they are
believed only from the networks of `server.trusted_proxies`, and taken away from everybody else's requests. Of the
addresses in `X-Forwarded-For` the last one counts that is not a trusted proxy itself: what stands further left was
written by the asker.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TYPE_CHECKING, Any, Final

from litestar.enums import ScopeType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from litestar.types import Scope

FOR, PROTO, HOST = b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"
TOLD: Final = frozenset({FOR, PROTO, HOST, b"forwarded", b"x-real-ip", b"x-forwarded-port", b"x-forwarded-prefix"})
MAX_HOPS: Final = 20
SECURE: Final = {ScopeType.HTTP: "https", ScopeType.WEBSOCKET: "wss"}
PLAIN: Final = {ScopeType.HTTP: "http", ScopeType.WEBSOCKET: "ws"}


class Proxies:
    """Knows which peers are proxies of ours."""

    def __init__(self, networks: Sequence[IPv4Network | IPv6Network] = ()) -> None:
        self._networks = tuple(networks)

    def seen_through(self, scope: Scope) -> Scope:
        """Return the scope as the first proxy of ours saw it, without the headers of proxies."""
        told = [(name, value.decode("latin-1")) for name, value in scope["headers"] if name in TOLD]
        if not told:
            return scope
        changed: dict[str, Any] = {"headers": [pair for pair in scope["headers"] if pair[0] not in TOLD]}
        peer = scope["client"][0] if scope["client"] else ""
        if self._is_ours(peer):
            changed["client"] = (self._asker(peer, [text for name, text in told if name == FOR]), 0)
            protos = [text.strip().lower() for name, text in told if name == PROTO]
            if len(protos) == 1 and protos[0] in ("http", "https"):
                changed["scheme"] = (SECURE if protos[0] == "https" else PLAIN)[scope["type"]]
            hosts = [text.strip() for name, text in told if name == HOST]
            if len(hosts) == 1:
                others = [pair for pair in changed["headers"] if pair[0] != b"host"]
                changed["headers"] = [(b"host", hosts[0].encode("latin-1")), *others]
        return {**scope, **changed}  # type: ignore[return-value]

    def _asker(self, peer: str, lists: Sequence[str]) -> str:
        """Return the address of who asked the outermost proxy of ours; `peer` where that is not told in addresses."""
        hops = [hop.strip() for text in lists for hop in text.split(",")]
        for hop in reversed(hops[-MAX_HOPS:]):
            if not self._is_address(hop):
                return peer
            peer = hop
            if not self._is_ours(hop):
                break
        return peer

    def _is_ours(self, text: str) -> bool:
        return self._is_address(text) and any(ip_address(text) in network for network in self._networks)

    @staticmethod
    def _is_address(text: str) -> bool:
        try:
            ip_address(text)
        except ValueError:
            return False
        return True
