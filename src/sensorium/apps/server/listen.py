"""The socket and the loop: binds in one line or says why not, closes what is slow, drains before it ends."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from sensorium.core import SensoriumError

HEAD = 15.0
"""Seconds that the head of a request may take to arrive."""
DRAIN = 30
"""Seconds that requests in flight have once the server is told to stop."""


class Punctual(H11Protocol):
    """Closes a connection whose request head does not arrive in time, be it the first or a later one; uvicorn itself
    waits for ever."""

    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        """Start the clock, where it does not run, while no request is being answered."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop()
        elif self._due is None:
            self._due = self.loop.call_later(HEAD, self.transport.close)

    def _stop(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None


def bound(host: str, port: int) -> socket.socket:
    """A socket that has its port but does not listen yet; port 0 takes a free one."""
    if not 0 <= port <= 65_535:
        raise SensoriumError(f"--port {port}; expected 0 to 65535")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as problem:
        raise SensoriumError(f"cannot listen on {host}:{port}: {_why(problem, host)}") from None
    return listening


def url_of(listening: socket.socket) -> str:
    """Where a socket is reached by http."""
    host, port = listening.getsockname()[:2]
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{port}"


def server_of(app: FastAPI) -> uvicorn.Server:
    """A server that, told to stop, takes no new connection and answers what is in flight first."""
    settings: dict[str, Any] = {
        "http": Punctual,
        "ws": "none",
        "log_level": "warning",
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "timeout_graceful_shutdown": DRAIN,
    }
    return uvicorn.Server(uvicorn.Config(app, **settings))


def _why(problem: OSError, host: str) -> str:
    if isinstance(problem, socket.gaierror):
        return f"no such host {host!r}"
    if problem.errno == errno.EADDRINUSE:
        return "the port is taken; --port 0 takes a free one"
    return problem.strerror or str(problem)
