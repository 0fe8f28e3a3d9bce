"""Addresses that a crawl keeps away from: this machine, a local network, a cloud's metadata."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from aiohttp.abc import AbstractResolver
from aiohttp.resolver import ThreadedResolver

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class PrivateAddress(OSError):
    """A name or address that leads into a private network."""


def is_private(address: str) -> bool:
    """True when an IP address is not of the public internet: this machine, a local network, a cloud's metadata."""
    ip = ipaddress.ip_address(address.split("%")[0])
    inner = _inner(ip) if isinstance(ip, ipaddress.IPv6Address) else None
    return not (inner or ip).is_global or ip.is_multicast


def _inner(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for: mapped, 6to4, or NAT64."""
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour


def is_loopback(host: str | None) -> bool:
    """True for this machine's own names and addresses."""
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def is_private_host(host: str | None) -> bool:
    """True when the host of an address says without asking anyone that it is private."""
    try:
        return host == "localhost" or is_private(host or "")
    except ValueError:
        return False


class GuardedResolver(AbstractResolver):
    """Resolves names, and refuses those that lead into a private network.

    What it returns is what is connected to: a name that answers otherwise a moment later gains nothing.
    """

    def __init__(self, inner: AbstractResolver | None = None) -> None:
        self._names = inner or ThreadedResolver()

    async def close(self) -> None:
        """Let go of what the inner resolver holds."""
        await self._names.close()

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> Any:
        """As the inner resolver says; raises PrivateAddress where one of its answers is private."""
        found = await self._names.resolve(host, port, family)
        if private := next((entry["host"] for entry in found if is_private(entry["host"])), None):
            raise PrivateAddress(f"{host} is the private address {private}")
        return found
