"""What stands before every route: who asks, from where, and how much is sent."""

from __future__ import annotations

import asyncio
from urllib.parse import quote, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .auth import allowed, is_loopback
from .errors import refusal

BODY = 32 << 20
"""Bytes of a request's body."""
RECEIVE = 30.0
"""Seconds that a body may take to arrive."""
OPEN = ("/health", "/login", "/static/")
"""What is answered without a key: a path, or with a slash at its end all below it."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""What every answer carries that has not set it itself."""


class Guard:
    """Refuses foreign hosts and origins, requests without a key, and bodies that are too large, too slow or of another
    type; hands on the rest, its body read."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        request = HTTPConnection(scope)
        refused = _stranger(request) or _keyless(request) or _unread(request)
        body = refused or await _body(request, receive)
        if isinstance(body, Response):
            return await body(scope, receive, marked)
        await self.app(scope, _replayed(body, receive), marked)


def _stranger(request: HTTPConnection) -> Response | None:
    """A page from elsewhere, which a browser was led to send here."""
    host = request.headers.get("host", "")
    if not request.app.state.keys and not is_loopback(urlsplit(f"//{host}").hostname or ""):
        return refusal(403, "the Host header names another machine; without keys only this one is served")
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        return refusal(403, "the Origin header names another site")
    return None


def _keyless(request: HTTPConnection) -> Response | None:
    path = request.url.path
    if allowed(request) or any(path == p or (p.endswith("/") and path.startswith(p)) for p in OPEN):
        return None
    if request.app.state.board and "text/html" in request.headers.get("accept", ""):
        wanted = path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?next={quote(wanted, safe='')}", 303)
    wrong = "authorization" in request.headers
    message = "this key is not known" if wrong else "no key given; send Authorization: Bearer KEY"
    code = "invalid_api_key" if wrong else None
    return refusal(401, message, code=code, headers={"WWW-Authenticate": "Bearer"})


def _unread(request: HTTPConnection) -> Response | None:
    """A body that is refused by its headers."""
    headers = request.headers
    if not _has_body(request):
        return None
    if {"transfer-encoding", "content-length"} <= set(headers):
        return refusal(400, "Content-Length and Transfer-Encoding together", headers={"Connection": "close"})
    if headers.get("content-encoding", "identity").lower() != "identity":
        return refusal(415, "compressed bodies are not read", headers={"Connection": "close"})
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/json", "multipart/form-data", "application/x-www-form-urlencoded"):
        return refusal(415, f"Content-Type {kind[:60]!r}; expected application/json", headers={"Connection": "close"})
    if headers.get("content-length", "0").isdecimal() and int(headers.get("content-length", 0)) > BODY:
        return _large()
    return None


def _has_body(request: HTTPConnection) -> bool:
    return "transfer-encoding" in request.headers or request.headers.get("content-length", "0") != "0"


async def _body(request: HTTPConnection, receive: Receive) -> bytes | Response:
    """The whole body, or why it is refused."""
    parts, size, more = [], 0, _has_body(request)
    try:
        async with asyncio.timeout(RECEIVE):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return refusal(400, "the body is shorter than declared")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                more = message.get("more_body", False)
                if size > BODY:
                    return _large()
    except TimeoutError:
        return refusal(408, f"the body did not arrive within {RECEIVE:g} s", headers={"Connection": "close"})
    return b"".join(parts)


def _large() -> Response:
    return refusal(413, f"the body is larger than {BODY >> 20} MiB", headers={"Connection": "close"})


def _replayed(body: bytes, receive: Receive) -> Receive:
    """The body once, then whatever comes: a disconnect."""
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
