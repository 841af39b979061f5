"""Search in words, with a picture, or with both, and why something was found. Every search has an address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sensorium.apps.server.batch import Batcher
from sensorium.apps.server.compare import must_embed, must_rank
from sensorium.apps.server.search import Query, model_of, search, target_of
from sensorium.apps.server.state import Served
from sensorium.core import SensoriumError

from .files import cached
from .pages import HEADERS, PROBLEMS, render, served_by, told, whole
from .pictures import keep, kept, of_row, opened
from .why import Why, explain

FORM = "/search/form"
MOST = 100
"""Results on a page."""
LONGEST = 2000
"""Characters of a query and of a filter."""
FIELDS = ("run", "in", "text", "language", "where", "hybrid", "picture", "top")
SEEN = {"train": "seen in training", "validation": "a validation row", "test": "a test row", "": "new to the run"}


@dataclass(frozen=True)
class Asked:
    """What a search is made of; `picture` names one that is held."""

    run: str
    target: str
    text: str
    language: str
    where: str
    hybrid: bool
    picture: str
    top: int

    @property
    def query(self) -> str:
        """As an address has it."""
        values = {
            **{"run": self.run, "in": self.target, "text": self.text, "language": self.language, "where": self.where},
            **{"hybrid": "on" if self.hybrid else "", "picture": self.picture, "top": str(self.top)},
        }
        return urlencode({k: v for k, v in values.items() if v})


def asked_of(request: Request, there: Served) -> Asked:
    """A search out of an address; names that are not served are one line."""
    given = request.query_params
    for name in ("text", "where"):
        if len(given.get(name, "")) > LONGEST:
            raise SensoriumError(f"{name} has {len(given[name]):,} characters; at most {LONGEST:,} are read")
    target = target_of(there, given.get("run", ""), given.get("in", ""))
    return Asked(
        run=model_of(there, given.get("run", ""), target),
        target=target,
        text=given.get("text", "").strip(),
        language=given.get("language", ""),
        where=given.get("where", "").strip(),
        hybrid=given.get("hybrid", "") == "on",
        picture=given.get("picture", ""),
        top=whole(request.query_params, "top", 10, 1, MOST),
    )


async def page(request: Request) -> Response:
    """The form, and what was found where something is asked."""
    there = served_by(request)
    try:
        asked = asked_of(request, there)
        hits = await _hits(request, there, asked) if asked.text or asked.picture else None
    except PROBLEMS as problem:
        return _page(request, problem=problem)
    return _page(request, asked, hits)


def _page(
    request: Request,
    asked: Asked | None = None,
    hits: Sequence[Mapping[str, Any]] | None = None,
    problem: Exception | None = None,
) -> Response:
    status, line = told(problem) if problem else (200, "")
    return render(
        request,
        "search.html",
        status=status,
        asked=asked,
        given=request.query_params,
        hits=hits,
        problem=line,
        languages=_languages(served_by(request)),
        seen=SEEN,
    )


async def _hits(request: Request, there: Served, asked: Asked) -> list[dict[str, Any]]:
    image = await _image(request, asked.picture)
    indexed = asked.target in there.indexes
    return await search(
        there,
        request.app.state.batcher,
        model=asked.run,
        data_or_index=asked.target,
        text=asked.text or None,
        image=image,
        where=asked.where if indexed else "",
        hybrid=asked.hybrid and indexed,
        top=asked.top,
        language=asked.language,
    )


async def _image(request: Request, name: str) -> Image.Image | None:
    return await run_in_threadpool(opened, kept(request, name)) if name else None


def _languages(there: Served) -> list[str]:
    """Those that some run was trained with beside its first."""
    keys = {key for model in there.models.values() for key in model.fields if key.startswith("text.")}
    return sorted(key.removeprefix("text.") for key in keys)


async def ask(request: Request) -> Response:
    """The form, perhaps with a picture: holds it, then leads to the search's own address."""
    async with request.form(max_files=1, max_fields=len(FIELDS) + 1, max_part_size=16 * LONGEST) as form:
        values = {name: str(form.get(name, "")) for name in FIELDS}
        upload = form.get("image")
        content = await upload.read() if isinstance(upload, UploadFile) else b""
    try:
        values["picture"] = await run_in_threadpool(keep, request, content) if content else values["picture"]
    except SensoriumError as problem:
        return _page(request, problem=problem)
    query = urlencode({k: v for k, v in values.items() if v})
    return RedirectResponse(f"/search?{query}", 303, HEADERS)


def picture(request: Request) -> Response:
    """A picture that was searched with."""
    return cached(request, kept(request, request.path_params["name"]), "image/png", "private, max-age=600")


async def why(request: Request) -> Response:
    """Why one row was found."""
    try:
        return await _told(request)
    except PROBLEMS as problem:
        status, line = told(problem)
        return render(request, "why.html", status=status, asked=None, problem=line, why=None)


async def _told(request: Request) -> Response:
    there = served_by(request)
    asked = asked_of(request, there)
    if not (asked.text or asked.picture):
        raise SensoriumError("nothing was asked: give words, a picture, or both")
    model = there.models[asked.run]
    must_rank(asked.run, model)
    for role in ("image", "text") if asked.text else ("image",):
        must_embed(asked.run, model, role)
    found, thumb = await run_in_threadpool(of_row, there, asked.target, request.query_params)
    image = await _image(request, asked.picture)
    key = Query(asked.text, image, language=asked.language).key
    trained = there.data.get(there.trained_on.get(asked.run, ""))
    batcher: Batcher = request.app.state.batcher

    def work(values: Sequence[object]) -> list[Why]:
        return [explain(model, found, key, asked.text, image, trained) for _ in values]

    (why,) = await batcher.ask(asked.run, object(), work, [None])
    return render(request, "why.html", asked=asked, thumb=thumb, why=why, problem="")


PAGES = {"/search": page, "/search/pictures/{name}": picture, "/why": why}
