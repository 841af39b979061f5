"""Scripts, style and pictures: the reports' own files, mounted, and what the board adds to them."""

from __future__ import annotations

import hashlib
from functools import cache

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from sensorium.run.report.claim_charts import VERDICTS
from sensorium.run.report.page import HERE as REPORT

from .pages import HERE

FRESH = "no-cache"
"""Asked for again each time, answered with 304 where it is the same: a new version shows at once."""


def routes() -> list[BaseRoute]:
    """Everything under /static."""
    return [
        Route("/static/style.css", _style),
        Route("/static/{name}.js", _script),
        Mount("/static/report", StaticFiles(directory=REPORT / "assets")),
        Mount("/static", StaticFiles(directory=HERE / "static")),
    ]


def cached(request: Request, content: bytes, kind: str, control: str) -> Response:
    """Content that is not sent again to a browser which has it."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": control, "X-Content-Type-Options": "nosniff"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=kind, headers=headers)


@cache
def style() -> str:
    """The reports' style, the board's, and the colour of each verdict, which a page of its own has inline."""
    parts = [REPORT / "style.css", REPORT / "verdict.css", HERE / "static" / "board.css"]
    shades = [f".shade-{word.replace(' ', '-')} {{ --shade: {look[0]} }}" for word, look in VERDICTS.items()]
    return "\n".join([*(p.read_text(encoding="utf-8") for p in parts), *shades])


def _style(request: Request) -> Response:
    return cached(request, style().encode(), "text/css", FRESH)


def _script(request: Request) -> Response:
    """A script of the reports or of the board; each of them is known by name."""
    name = f"{request.path_params['name']}.js"
    ours = ("board.js", "chat.js", "image.js", "htmx.min.js")
    folder = {"draw.js": REPORT, "sort.js": REPORT} | dict.fromkeys(ours, HERE / "static")
    if name not in folder:
        return Response(status_code=404)
    return cached(request, (folder[name] / name).read_bytes(), "text/javascript", FRESH)
