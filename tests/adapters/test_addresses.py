"""Which addresses may be connected to: every spelling of an address that is out of reach is refused."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum.adapters.addresses import EVERYWHERE, PUBLIC, AddressRefused, GuardedResolver, Reach, guarded_connector

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET: Final = [
    "169.254.169.254",
    "[fe80::1%eth0]",
    "::ffff:169.254.169.254",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
    "64:ff9b::a9fe:a9fe",
    "::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
]
PRIVATE: Final = [
    "127.0.0.1",
    "127.9.9.9",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "192.0.2.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "[::1]",
    "fd12::1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::1",
    "2001:0:7f00:1::80ff:fffe",
    "::ffff:0:127.0.0.1",
    "64:ff9b:1::808:808",
    "fec0::1",
]


@pytest.mark.parametrize("address", SECRET)
def test_addresses_where_secrets_may_be_are_refused_whatever_is_allowed(address: str) -> None:
    for reach in (PUBLIC, EVERYWHERE, Reach.of("169.254.0.0/16", "fe80::/10")):
        with pytest.raises(AddressRefused, match="no address that may be asked"):
            reach.refuse(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_needs_a_network_that_has_it(address: str) -> None:
    with pytest.raises(AddressRefused, match="no public address, and in no network of the settings"):
        PUBLIC.refuse(address)
    EVERYWHERE.refuse(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "64:ff9b::101:101", "example.com", ""])
def test_public_addresses_and_names_pass(address: str) -> None:
    PUBLIC.refuse(address)


def test_a_network_that_is_allowed_opens_its_addresses_and_no_others() -> None:
    reach = Reach.of("10.0.0.0/8", "::1/128")
    reach.refuse("10.255.0.1")
    reach.refuse("::1")
    with pytest.raises(AddressRefused):
        reach.refuse("192.168.0.1")


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_within_an_ipv6_one_is_judged_as_itself(address: IPv4Address) -> None:
    def refused(text: str) -> bool:
        try:
            PUBLIC.refuse(text)
        except AddressRefused:
            return True
        return False

    within = IPv6Address(int(IPv6Address("64:ff9b::")) + int(address))
    assert refused(str(within)) >= refused(str(address))


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://127.0.0.1/", id="P24 loopback"),
        pytest.param("http://[::1]:8080/", id="P24 loopback 6"),
        pytest.param("http://[::ffff:127.0.0.1]/", id="P24 mapped"),
        pytest.param("http://0.0.0.0/", id="P24 unspecified"),
        pytest.param("http://169.254.169.254/latest/meta-data", id="P24 metadata"),
        pytest.param("http://10.0.0.8/", id="P24 private"),
        pytest.param("http://2130706433/", id="P24 decimal"),
        pytest.param("http://0177.1/", id="P24 octal"),
        pytest.param("http://0x7f.0.0.1/", id="P24 hexadecimal"),
        pytest.param("http://127.1/", id="P24 short"),
        pytest.param("http://\uff11\uff12\uff17.0.0.1/", id="P24 full-width"),
        pytest.param("http://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460/", id="P24 circled"),
        pytest.param("http://127\u30020\u30020\u30021/", id="P24 full stops"),
        pytest.param("http://\u24db\u24de\u24d2alhost/", id="P24 name in circles"),
        pytest.param("http://localhost/", id="P24 name"),
        pytest.param("http://LOCALHOST./", id="P24 name with a dot"),
        pytest.param("http://api.localhost/", id="P24 name below"),
        pytest.param("http://example.com:22/", id="P26 ssh"),
        pytest.param("http://example.com:25/", id="P26 mail"),
        pytest.param("http://example.com:6379/", id="P26 Redis"),
        pytest.param("http://example.com:5432/", id="P26 PostgreSQL"),
    ],
)
def test_p24_p26_urls_out_of_reach_are_refused_as_they_are_written(url: str) -> None:
    with pytest.raises(AddressRefused):
        PUBLIC.refuse_url(url)


@pytest.mark.parametrize("url", ["https://hooks.example.com/a", "http://example.com:8080/", "http://notlocalhost/"])
def test_urls_of_names_pass_until_the_names_are_resolved(url: str) -> None:
    PUBLIC.refuse_url(url)


@given(
    st.ip_addresses(v=4),
    st.sampled_from(["0123456789", "\uff10\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19"]),
    st.sampled_from(".\u3002\uff0e\uff61"),
)
def test_p24_an_address_in_digits_of_other_scripts_is_that_address(address: IPv4Address, digits: str, dot: str) -> None:
    def refused(text: str) -> bool:
        try:
            PUBLIC.refuse_url(f"http://{text}/")
        except AddressRefused:
            return True
        return False

    written = str(address).translate(str.maketrans("0123456789.", digits + dot))
    assert refused(written) == refused(str(address))


@pytest.mark.parametrize("host", ["127.0.0.1", "\uff11\uff12\uff17.0.0.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]"])
async def test_p24_what_is_written_as_an_address_is_judged_where_its_socket_is_made(host: str) -> None:
    """No resolver is asked for it, so whoever forgets to judge the URL is stopped here."""
    heard = []

    async def hear(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(host)
        writer.close()

    async with await asyncio.start_server(hear, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with aiohttp.ClientSession(connector=guarded_connector(PUBLIC)) as session:
            with pytest.raises((AddressRefused, aiohttp.InvalidURL)):
                await session.get(f"http://{host}:{port}/")
    assert heard == []


def answers(*addresses: str) -> Callable[..., list[tuple[object, ...]]]:
    return lambda *_: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 80)) for one in addresses]


async def test_a_name_with_one_address_out_of_reach_is_refused_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = GuardedResolver(PUBLIC)
    monkeypatch.setattr("socket.getaddrinfo", answers("1.1.1.1", "10.0.0.1"))
    with pytest.raises(AddressRefused, match=r"10\.0\.0\.1"):
        await resolver.resolve("hooks.example", 80)
    await resolver.close()


async def test_the_connection_goes_to_the_addresses_that_were_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = GuardedResolver(PUBLIC)
    monkeypatch.setattr("socket.getaddrinfo", answers("1.1.1.1"))
    (found,) = await resolver.resolve("hooks.example", 80)
    assert (found["host"], found["hostname"], found["flags"] & socket.AI_NUMERICHOST > 0) == (
        "1.1.1.1",
        "hooks.example",
        True,
    )
    await resolver.close()
