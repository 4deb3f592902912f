"""Files of the web, fetched for a request, and never from this machine or its neighbours."""

import socket
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import httpx

MOST_REDIRECTS = 3
SECONDS_A_STEP = 10.0  # to connect, and between two parts
SECONDS = 30.0  # in all
PORTS = {"http": 80, "https": 443}
TUNNELS = tuple(
    map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))
)  # an address of version 4 is in them, which may be a private one

Resolve = Callable[[str, int], Sequence[str]]
"""The addresses of a name and a port."""


class FetchError(ValueError):
    """A file that was not fetched; the message says why."""


def resolved(host: str, port: int) -> list[str]:
    """The addresses that a name has now.

    Raises:
        FetchError: it has none.
    """
    try:
        return [str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError) as error:
        raise FetchError(f"{host[:80]}: there is no such name") from error


def is_public(address: str) -> bool:
    """Whether an address is of the open internet: no loopback, private, link-local or otherwise reserved one."""
    told = ip_address(address.partition("%")[0])
    if isinstance(told, IPv6Address):
        if told.ipv4_mapped:
            return _is_open(told.ipv4_mapped)
        if any(told in each for each in TUNNELS):
            return False
    return _is_open(told)


def _is_open(address: IPv4Address | IPv6Address) -> bool:
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_unspecified or address.is_link_local
    )


def fetch(
    url: str, *, most: int, resolve: Resolve = resolved, transport: httpx.BaseTransport | None = None
) -> bytes:
    """Fetch a file. It blocks.

    A name is resolved once and its address is what is connected to, so that no second answer of its server leads
    elsewhere; each redirect is looked at in the same way.

    Args:
        url: http or https, at their usual ports.
        most: bytes that are taken.
        resolve: what gives the addresses of a name.
        transport: what requests go through, where that is not the network.

    Raises:
        FetchError: for another kind of address, one that is not of the open internet, an answer that is no success,
            and for what is too large or takes too long.
    """
    until = time.monotonic() + SECONDS
    with httpx.Client(
        transport=transport, trust_env=False, follow_redirects=False, timeout=SECONDS_A_STEP
    ) as client:
        for _ in range(MOST_REDIRECTS + 1):
            target = _parsed(url)
            try:
                with closing(client.send(_request(client, target, resolve), stream=True)) as answer:
                    if answer.is_redirect:
                        url = str(target.join(answer.headers["location"]))
                        continue
                    return _body(answer, most, until)
            except (httpx.HTTPError, httpx.InvalidURL, KeyError) as error:
                raise FetchError(f"{target.host[:80]}: cannot be fetched from") from error
    raise FetchError(f"more than {MOST_REDIRECTS} redirects; give the last address")


def _parsed(url: str) -> httpx.URL:
    try:
        target = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise FetchError("an address that cannot be read") from error
    if target.scheme not in PORTS or not target.host:
        raise FetchError("only http and https addresses are fetched")
    if target.userinfo:
        raise FetchError("an address with a user's name is not fetched")
    if target.port not in (None, PORTS[target.scheme]):
        raise FetchError("only the usual ports, 80 and 443, are fetched from")
    return target


def _request(client: httpx.Client, target: httpx.URL, resolve: Resolve) -> httpx.Request:
    """A request to the address itself, in its name."""
    addresses = resolve(target.host, PORTS[target.scheme])
    if not addresses or not all(map(is_public, addresses)):
        raise FetchError(f"{target.host[:80]}: is not of the open internet, and not fetched from")
    return client.build_request(
        "GET",
        target.copy_with(host=addresses[0].partition("%")[0]),
        headers={"Host": target.netloc.decode("ascii"), "Accept": "image/*", "Accept-Encoding": "identity"},
        extensions={"sni_hostname": target.raw_host.decode("ascii")},  # what the certificate must be of
    )


def _body(answer: httpx.Response, most: int, until: float) -> bytes:
    if not answer.is_success:
        raise FetchError(f"it was answered with {answer.status_code}")
    parts, size = list[bytes](), 0
    for part in answer.iter_raw():  # packed as it may be: unpacked it could be a thousand times as large
        size += len(part)
        if size > most:
            raise FetchError(f"larger than {most:,} bytes")
        if time.monotonic() > until:
            raise FetchError(f"it takes longer than {SECONDS:g} seconds")
        parts.append(part)
    return b"".join(parts)
