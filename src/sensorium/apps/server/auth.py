"""Who may ask: keys, their file, and where a server without any may listen."""

from __future__ import annotations

import hmac
import ipaddress
import os
from collections.abc import Iterable
from pathlib import Path

from starlette.requests import HTTPConnection

from sensorium.core import SensoriumError

COOKIE = "sensorium_key"
VARIABLE = "SENSORIUM_KEYS"
SHORTEST = 16
"""Characters of a key: what is shorter can be guessed."""


def keys_of(file: Path | None) -> frozenset[str]:
    """Keys from a file, one per line, and from SENSORIUM_KEYS, separated by commas or white space. No message shows
    one."""
    lines: list[str] = []
    if file is not None:
        try:
            lines = [line for line in file.read_text("utf-8").splitlines() if not line.lstrip().startswith("#")]
        except (OSError, UnicodeDecodeError) as problem:
            why = getattr(problem, "strerror", None) or "not a text"
            raise SensoriumError(f"--keys {file} is not read: {why}") from None
    given = os.environ.get(VARIABLE, "").replace(",", " ").split()
    keys = frozenset(key for line in [*lines, *given] if (key := line.strip()))
    if file is not None and not any(line.strip() for line in lines):
        raise SensoriumError(f"--keys {file} holds no key; expected one per line")
    if any(len(key) < SHORTEST or not (key.isascii() and key.isprintable() and " " not in key) for key in keys):
        where = f"--keys {file}" if file is not None else VARIABLE
        raise SensoriumError(f"{where}: a key has at least {SHORTEST} visible ASCII characters without spaces")
    return keys


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def must_be_safe(host: str, keys: Iterable[str]) -> None:
    """One line where a server without keys would listen beyond loopback."""
    if not is_loopback(host) and not any(True for _ in keys):
        raise SensoriumError(
            f"--host {host} lets others in, and no key is set; give --keys FILE or {VARIABLE}, or listen on 127.0.0.1"
        )


def allowed(request: HTTPConnection) -> bool:
    """Whether a request carries one of the keys, as a Bearer token or as the board's cookie; always, where none is set.

    Every key is compared, so that the time taken tells nothing.
    """
    keys: frozenset[str] = request.app.state.keys
    if not keys:
        return True
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    offered = token.strip() if scheme.lower() == "bearer" else request.cookies.get(COOKIE, "")
    return any([hmac.compare_digest(offered.encode(), key.encode()) for key in keys])
