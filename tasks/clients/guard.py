"""Which addresses on the network may be called for somebody who only named them; no request is made here.

What counts is the address that a name resolves to, never the text: `127.1`, `0x7f000001` and `2130706433` are all
the loopback, and so may any name be.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from tasks.errors import ConfigurationError, FatalError, JobgateError

Address = IPv4Address | IPv6Address

#: Global by Python's list, and yet ways to somewhere else: NAT64, 6to4, Teredo and neighbours, protocols.
_DETOURS = [
    ip_network(text)
    for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/23", "192.0.0.0/24", "192.88.99.0/24")
]
#: Global too, but a cloud's own service for its machines: Azure's host agent.
_METADATA = [ip_network("168.63.129.16/32")]
#: Below this only the web's own ports are called: others speak protocols that a request could be smuggled into.
_FIRST_FREE_PORT = 1024
_WEB = (80, 443)


class AddressRefused(FatalError):
    """This address must not be called."""


class Unreachable(JobgateError):
    """The other side did not answer; it may later."""


def check_allowed(entries: Sequence[str]) -> None:
    """Refuse an allow-list with an entry that can never hold. Raises ConfigurationError."""
    for entry in entries:
        if (
            set("[]") & set(entry)
            or "//" in entry
            or entry != entry.strip()
            or ("/" in entry and not _is_network(entry))
        ):
            raise ConfigurationError(f"{entry!r}: takes a host, host:port or a network like 10.1.0.0/16")


async def addresses(host: str, port: int, allowed: Sequence[str] = ()) -> list[Address]:
    """Where to connect for `host`, resolved once. `allowed` names hosts, host:port or networks that are let through.

    Raises AddressRefused if one of its addresses is not public, Unreachable if there is none.
    """
    found = await _resolve(host, port)
    if {host.lower(), f"{host.lower()}:{port}"} & {entry.lower() for entry in allowed}:
        return found
    networks = [ip_network(entry) for entry in allowed if _is_network(entry)]
    for address in found:
        if any(address in network for network in networks):
            continue
        if port < _FIRST_FREE_PORT and port not in _WEB:
            raise AddressRefused(f"port {port} of {host!r} is not called: 80, 443 and those from 1024 on are")
        if not is_public(address):
            raise AddressRefused(f"{host!r} leads to {address}, which is not a public address")
    return found


def is_public(address: Address) -> bool:
    """Whether it belongs to the open internet, whatever it is wrapped in."""
    inner = getattr(address, "ipv4_mapped", None)
    if inner is not None:
        return is_public(inner)
    if address.is_multicast or address.is_reserved or getattr(address, "is_site_local", False):
        return False
    return address.is_global and not any(address in network for network in (*_DETOURS, *_METADATA))


async def _resolve(host: str, port: int) -> list[Address]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreachable(f"the name {host!r} cannot be resolved: {error}") from error
    return list(dict.fromkeys(_of(found)))


def _of(found: Sequence[tuple[object, ...]]) -> Iterator[Address]:
    for *_, place in found:
        # A zone (fe80::1%eth0) is no part of the address.
        yield ip_address(str(place[0]).partition("%")[0])  # type: ignore[index]  # a socket address begins with it


def _is_network(entry: str) -> bool:
    try:
        ip_network(entry)
    except ValueError:
        return False
    return True
