"""Pictures from http(s) URLs: off unless hosts are named, and then from these alone.

The address that a name gives is checked and then connected to, so that a name cannot answer twice; every hop of a
redirect is held to the same rules.
"""

from __future__ import annotations

import http.client
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Collection
from urllib.parse import SplitResult, urljoin, urlsplit

from sensorium.core import SensoriumError
from sensorium.data.limits import Refused

HOPS = 3
SECONDS = 10.0
PORTS = {"http": 80, "https": 443}
_PLAIN = re.compile(r"[!-\[\]-~]+")
"""Visible ASCII without the backslash, which browsers and libraries read differently."""
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


def fetch(url: str, hosts: Collection[str], most: int) -> bytes:
    """The body behind a URL, at most `most` bytes, within `SECONDS`.

    Raises:
        Refused: a host that is not listed, an address that is not public, too large, too slow, or no answer.
    """
    end = time.monotonic() + SECONDS
    for _ in range(HOPS + 1):
        parts = _checked(url, hosts)
        try:
            status, where, body = _get(parts, most, end)
        except (OSError, http.client.HTTPException) as problem:
            why = "took too long" if isinstance(problem, TimeoutError) else "gives no answer"
            raise Refused(f"{parts.hostname} {why}") from None
        if status not in (301, 302, 303, 307, 308):
            if status != 200:
                raise Refused(f"{parts.hostname} answered {status}")
            return body
        url = urljoin(url, where)
    raise Refused(f"{parts.hostname} redirects more than {HOPS} times")


def hosts_of(words: str) -> frozenset[str]:
    """ "a.org,b.org" -> the hosts; one line where a word is none."""
    found = frozenset(word.strip().lower() for word in words.split(",") if word.strip())
    if wrong := sorted(host for host in found if not _HOST.fullmatch(host)):
        raise SensoriumError(f"--allow-fetch {wrong[0]!r} is not a host; expected names joined by commas")
    return found


def _checked(url: str, hosts: Collection[str]) -> SplitResult:
    """The parts of a URL that may be fetched."""
    try:
        parts = urlsplit(url) if _PLAIN.fullmatch(url) else None
        port = parts.port if parts else None
    except ValueError:
        parts = port = None
    if parts is None or parts.scheme not in PORTS or parts.username is not None or not parts.hostname:
        raise Refused("not a plain http or https URL")
    if not _HOST.fullmatch(parts.hostname) or parts.hostname not in hosts:
        raise Refused("the host is not one of those that --allow-fetch names")
    if port not in (None, PORTS[parts.scheme]):
        raise Refused(f"port {port}; expected {PORTS[parts.scheme]}")
    return parts


def _address(host: str, port: int) -> str:
    """The first address of a name, if every address it has is a public one."""
    found = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if not found or not all(is_public(address) for address in found):
        raise Refused(f"{host} has an address that is not public")
    return found[0]


def is_public(address: str) -> bool:
    """Whether an address is on the open internet: not private, loopback, link-local, shared, mapped or multicast."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    inner = [ip]
    if isinstance(ip, ipaddress.IPv6Address):
        inner += [x for x in (ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())) if x is not None]
        if ip in ipaddress.ip_network("64:ff9b::/96"):
            inner.append(ipaddress.ip_address(int(ip) & 0xFFFFFFFF))
    return all(x.is_global and not x.is_multicast for x in inner)


def _get(parts: SplitResult, most: int, end: float) -> tuple[int, str, bytes]:
    host, port = str(parts.hostname), PORTS[parts.scheme]
    raw: socket.socket = socket.create_connection((_address(host, port), port), timeout=_left(end))
    try:
        if parts.scheme == "https":
            raw = ssl.create_default_context().wrap_socket(raw, server_hostname=host)
        connection = http.client.HTTPConnection(host, port)
        connection.sock = raw
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers={"Accept": "image/*", "User-Agent": "sensorium"})
        answer = connection.getresponse()
        return answer.status, answer.getheader("location", ""), _body(answer, raw, most, end)
    finally:
        raw.close()


def _body(answer: http.client.HTTPResponse, raw: socket.socket, most: int, end: float) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        raw.settimeout(_left(end))
        if not (piece := answer.read1(1 << 16)):
            return b"".join(parts)
        size += len(piece)
        if size > most:
            raise Refused(f"more than {most >> 20} MiB")
        parts.append(piece)


def _left(end: float) -> float:
    """Seconds until the end; a TimeoutError where there are none."""
    if (left := end - time.monotonic()) <= 0:
        raise TimeoutError
    return left
