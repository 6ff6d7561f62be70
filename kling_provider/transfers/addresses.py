"""Which hosts a result may be fetched from: https to public addresses, and what the connection allows."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from kling_provider.api.errors import shorten
from kling_provider.exceptions import KlingBadRequestError


@dataclass(frozen=True, slots=True)
class Target:
    """One hop: a checked URL and the addresses to connect to.

    :param url: as it was given.
    :param addresses: the first eight of its host's, each checked; connected to without another look-up, in this order.
    :param port: port.
    """

    url: SplitResult
    addresses: tuple[str, ...]
    port: int


def check_target(
    url: str,
    *,
    allowed_hosts: Collection[str] = (),
    allow_loopback: bool = False,
    resolve: Callable[[str, int], list[str]] | None = None,
) -> Target:
    """Check where a URL leads, resolving its name once.

    :param url: of a result, or where it redirects to.
    :param allowed_hosts: private hosts the connection allows (extra ``result_hosts``), also over http.
    :param allow_loopback: whether the API itself runs on this machine.
    :param resolve: gives the addresses of a name.
    :raises KlingBadRequestError: if it must not be fetched.
    """
    try:
        parts = urlsplit(url)
        host, given_port = parts.hostname or "", parts.port
    except ValueError as error:
        raise KlingBadRequestError(
            f"The result {shorten(url.partition('?')[0], 120)!r} is no web address ({error})."
        )
    shown = shorten(f"{parts.scheme}://{host}{parts.path}", 120)
    # What is no host's name may be another host to the proxy: `https://10.0.0.1\@example.com/`, `https://%31.0.0.1/`.
    is_odd = _NOT_IN_A_HOST.search(parts.netloc) or ("%" in host and ":" not in host)
    if parts.scheme not in ("http", "https") or not host or is_odd:
        raise KlingBadRequestError(f"The result {shown!r} is no web address; it is not fetched.")
    port = given_port or (443 if parts.scheme == "https" else 80)
    try:
        addresses = (resolve or _resolve)(host, port)
    except (OSError, UnicodeError) as error:
        raise ConnectionError(f"{host} cannot be resolved: {error}")
    is_allowed = host in allowed_hosts or f"{host}:{port}" in allowed_hosts
    kinds = [ipaddress.ip_address(address.partition("%")[0]) for address in addresses]
    is_local = allow_loopback and all(kind.is_loopback for kind in kinds)
    if not (is_allowed or is_local):
        if parts.scheme != "https":
            raise KlingBadRequestError(f"The result {shown!r} is not https; it is not fetched. {_WAY_OUT}")
        private = [str(kind) for kind in kinds if not _is_public(kind)]
        if private:
            raise KlingBadRequestError(
                f"The result {shown!r} leads to the private address {private[0]}; it is not fetched. {_WAY_OUT}"
            )
    return Target(parts, tuple(dict.fromkeys(addresses))[:_MOST_ADDRESSES], port)


#: Each that is dead costs the connection's timeout.
_MOST_ADDRESSES = 8
_NOT_IN_A_HOST = re.compile(r"[\s\\]")
_WAY_OUT = "If that host is yours, add it to the connection's extra result_hosts."

#: A NAT64 gateway sends these on to the IPv4 address in their last four bytes.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    mapped = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
    if address in _NAT64 or address in _IPV4_COMPATIBLE:
        mapped = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    is_local = address.is_multicast or getattr(address, "is_site_local", False)
    return address.is_global and not is_local and (mapped is None or _is_public(mapped))


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]
