"""Which addresses this process may connect to for others: what it was told to ask or tell is not what it may reach.

A URL is chosen by whoever may edit a receiver or a list of targets; the network is reached with the rights of this
machine. So names are resolved here, every address that comes of it is judged, and the connection goes to exactly these
addresses: a name that answers differently a moment later gains nothing (DNS rebinding). What is written as an address
is never resolved, so each address is judged once more where its socket is made: nothing that a URL's readers make of
its spelling leads around that.

>>> PUBLIC.refuse("192.0.2.7")
Traceback (most recent call last):
quantum.adapters.addresses.AddressRefused: 192.0.2.7 is no public address, and in no network of the settings
>>> Reach.of("192.0.2.0/24").refuse("192.0.2.7")
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp
import yarl
from aiohttp.abc import AbstractResolver

from quantum.domain.errors import QuantumError

if TYPE_CHECKING:
    from ipaddress import IPv6Address

    from aiohttp import AddrInfoType
    from aiohttp.abc import ResolveResult

RESOLVERS: Final = 16
"""So many names can be looked up at a time, apart from the threads that everything else needs."""
SECRET_ADDRESSES: Final = frozenset(
    map(ip_address, ("100.100.100.200", "fd00:ec2::254", "192.0.0.192", "168.63.129.16"))
)
"""Where clouds serve credentials besides link-local addresses."""
NAT64: Final = tuple(map(ip_network, ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96")))
"""Networks of IPv6 addresses that end with an IPv4 address (RFC 6052, 4291, 2765)."""
LOCAL: Final = tuple(map(ip_network, ("fec0::/10", "64:ff9b:1::/48")))
"""Networks of one site alone that `ipaddress` takes for global ones (RFC 3879, 8215)."""
UNPRIVILEGED: Final = 1024
WEB_PORTS: Final = (80, 443)
NOT_WEB_PORTS: Final = (2375, 2376, 3306, 5432, 6379, 11211, 27017)
"""Where Docker, databases and caches listen; some of them find orders for them in a request (SSRF)."""


class AddressRefused(QuantumError):
    """An address may not be connected to; the message names it and what would allow it."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The addresses that may be connected to: public ones, and those of `networks`.

    Never link-local, multicast and unspecified ones, nor those where clouds serve credentials, whatever networks say;
    an IPv6 address that leads to an IPv4 address is judged as both.
    """

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    setting: str = "the settings"

    @classmethod
    def of(cls, *networks: str, setting: str = "the settings") -> Self:
        """Return the reach with networks in CIDR notation, from a setting; raises ValueError where one is none."""
        return cls(tuple(ip_network(text) for text in networks), setting)

    def refuse(self, text: str) -> None:
        """Raise AddressRefused for an address that is out of reach; a name passes, its addresses are judged later."""
        try:
            address: Any = ip_address(text.strip("[]").partition("%")[0])
        except ValueError:
            return
        every = (address, *_within(address))
        if any(one.is_link_local or one.is_multicast or one.is_unspecified or one in SECRET_ADDRESSES for one in every):
            raise AddressRefused(f"{text} is no address that may be asked")
        if not all(_is_public(one) or any(one in network for network in self.networks) for one in every):
            raise AddressRefused(f"{text} is no public address, and in no network of {self.setting}")

    def refuse_url(self, url: str) -> None:
        """Raise AddressRefused for a URL whose host or port is out of reach as it is written, before any look-up.

        Numbers that only a resolver takes for addresses (`2130706433`, `0x7f.1`) are read as a resolver reads them, and
        the host is the one that would be connected to: digits of other scripts and full-width ones are digits there.

        Raises:
            AddressRefused: see above.
            ValueError: it is no URL.
        """
        parts = yarl.URL(url)
        host = (parts.raw_host or "").rstrip(".")
        if host == "localhost" or host.endswith(".localhost"):
            self.refuse("127.0.0.1")
        try:
            self.refuse(str(IPv4Address(socket.inet_aton(host))))
        except OSError:
            self.refuse(host)
        port = parts.explicit_port
        if port is not None and port not in WEB_PORTS and (port < UNPRIVILEGED or port in NOT_WEB_PORTS):
            raise AddressRefused(f"port {port} belongs to another service than a web server")


EVERYWHERE: Final = Reach.of("0.0.0.0/0", "::/0")
PUBLIC: Final = Reach()


class GuardedResolver(AbstractResolver):
    """Resolves names for aiohttp, and refuses those with any address out of reach."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._pool = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="resolve")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """See AbstractResolver; raises AddressRefused."""
        look_up = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._pool, look_up)
        for *_, address in found:
            self._reach.refuse(str(address[0]))
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            {"hostname": host, "host": str(at[0]), "port": int(at[1]), "family": kind, "proto": proto, "flags": flags}
            for kind, _, proto, _, at in found
        ]

    async def close(self) -> None:
        """See AbstractResolver."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def guarded_connector(reach: Reach, *, limit: int = 100, force_close: bool = False) -> aiohttp.TCPConnector:
    """Return what connects aiohttp to addresses within reach and to no others; names are resolved anew each time.

    Args:
        reach: what is within reach.
        limit: connections at a time; 0 means any.
        force_close: whether no connection is used twice.
    """
    return aiohttp.TCPConnector(
        resolver=GuardedResolver(reach),
        socket_factory=partial(_open_socket, reach),
        use_dns_cache=False,
        limit=limit,
        force_close=force_close,
    )


def _open_socket(reach: Reach, told: AddrInfoType) -> socket.socket:
    """Return a socket for an address within reach; raises AddressRefused for others."""
    family, kind, proto, _, place = told
    reach.refuse(str(place[0]))
    return socket.socket(family=family, type=kind, proto=proto)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    return address.is_global and not any(address in network for network in LOCAL)


def _within(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    """Return the IPv4 addresses to which gateways may pass on what is sent to an IPv6 address."""
    if isinstance(address, IPv4Address):
        return []
    teredo = address.teredo or (None, None)
    low = IPv4Address(int(address) % 2**32) if any(address in network for network in NAT64) else None
    # ::1 is the loopback address, and none that ends with 0.0.0.1
    return [
        one for one in (address.ipv4_mapped, address.sixtofour, teredo[1], low) if one is not None and int(address) != 1
    ]
