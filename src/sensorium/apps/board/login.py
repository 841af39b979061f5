"""The key, asked for once: a cookie that only this server reads."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sensorium.apps.server.auth import COOKIE, allowed

from .pages import HEADERS, render

DAYS = 30
LONGEST = 4096
"""Bytes of a key, and of where to go."""


async def login(request: Request) -> Response:
    """The form; with the right key, back to the page that was asked for."""
    wanted = request.query_params.get("next", "/")
    if request.method != "POST":
        return render(request, "login.html", wanted=_local(wanted), problem="")
    form = await request.form(max_files=0, max_fields=2, max_part_size=LONGEST)
    key, wanted = str(form.get("key", "")).strip(), str(form.get("next", "/"))
    if not _right(request, key):
        return render(
            request, "login.html", status=401, wanted=_local(wanted), problem="That is not a key of this server."
        )
    answer = RedirectResponse(_local(wanted), 303, HEADERS)
    secure = request.url.scheme == "https"
    answer.set_cookie(COOKIE, key, max_age=DAYS * 86400, httponly=True, samesite="strict", secure=secure)
    return answer


def _right(request: Request, key: str) -> bool:
    """Whether the server would let this key in as a Bearer token."""
    if not (key.isascii() and key.isprintable()):
        return False
    headers = [(b"authorization", f"Bearer {key}".encode())]
    return bool(key) and allowed(Request({**request.scope, "headers": headers}))


def _local(path: str) -> str:
    """A path on this server; / for anything that a browser could take for another place."""
    plain = path.isprintable() and "\\" not in path
    return path if plain and path.startswith("/") and not path.startswith("//") else "/"
