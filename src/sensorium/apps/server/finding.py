"""/search and /thumbs: rows of data sets and indexes, and their pictures."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse, Response
from starlette.routing import Match
from starlette.types import Scope

from sensorium.core import nearest
from sensorium.run.examples import thumb

from .errors import Problem, in_words
from .inputs import LIMITS, Reader, side_of
from .schemas import FoundList, Search, expected
from .search import model_of, search, target_of
from .state import Served
from .v1 import REFUSALS, named

SIDE = 144
"""Pixels of a thumbnail's longer side."""
DAY = "private, max-age=86400"


class ForPrograms(APIRoute):
    """A route whose path is also a page of the board: a browser, which asks for HTML, is left to the board."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        headers: Mapping[bytes, bytes] = dict(scope.get("headers", ()))
        html = b"text/html" in headers.get(b"accept", b"") or b"hx-request" in headers
        if html and scope["type"] == "http" and scope["app"].state.board:
            return Match.NONE, {}
        return super().matches(scope)


router = APIRouter(responses=REFUSALS, tags=["search"], route_class=ForPrograms)
pictures = APIRouter(responses=REFUSALS, tags=["search"])
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": Search.model_json_schema()},
            "multipart/form-data": {"schema": Search.model_json_schema()},
        },
    }
}
WORDS: Any = Search.model_fields


@router.get("/search", response_model=FoundList, response_model_exclude_none=True, summary="Search in words")
async def search_words(
    request: Request,
    q: Annotated[str, Query(description="words", min_length=1, max_length=LIMITS.text)],
    model: Annotated[str, Query(description=WORDS["model"].description, max_length=256)] = "",
    data: Annotated[str, Query(description=WORDS["data"].description, max_length=256)] = "",
    top: Annotated[int, Query(description=WORDS["top"].description, ge=1, le=1000)] = 10,
    language: Annotated[str, Query(description=WORDS["language"].description, max_length=64)] = "",
    where: Annotated[str, Query(description=WORDS["where"].description, max_length=10_000)] = "",
    hybrid: Annotated[bool, Query(description=WORDS["hybrid"].description)] = False,
) -> Response:
    """Rows of a data set or an index that match words best."""
    asked = Search(query=q, image="", model=model, data=data, top=top, language=language, where=where, hybrid=hybrid)
    return await _found(request, asked, None)


@router.post(
    "/search",
    response_model=FoundList,
    response_model_exclude_none=True,
    openapi_extra=BODY,
    summary="Search in words, with a picture, or both",
)
async def search_both(request: Request) -> Response:
    """Rows that match words, a picture, or both best; a picture is a data: URL, or a file in a multipart form."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    fields, file = await (_form(request) if kind == "multipart/form-data" else _json(request))
    try:
        asked = Search.model_validate(fields)
    except ValidationError as problem:
        raise in_words(problem.errors(), expected(Search)) from None
    return await _found(request, asked, file)


PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {}, "image/jpeg": {}}},
    304: {"description": "The picture that the browser has"},
}


@pictures.get("/thumbs/{name:path}", response_class=Response, responses=PICTURE, summary="A row's picture, small")
async def thumbs(request: Request, name: str, row: int | None = None, id: str = "") -> Response:
    """The picture of a data set's row, or of an index's id, at most 144 pixels a side."""
    served: Served = request.app.state.served
    content = await asyncio.to_thread(_thumb, served, name, row, id)
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {"ETag": tag, "Cache-Control": DAY}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    kind = "image/jpeg" if content.startswith(b"\xff\xd8") else "image/png"
    return Response(content, media_type=kind, headers=headers)


async def _json(request: Request) -> tuple[Any, bytes | None]:
    try:
        return await request.json(), None
    except (ValueError, RecursionError):
        raise Problem(400, "the body is not a JSON object") from None


async def _form(request: Request) -> tuple[dict[str, Any], bytes | None]:
    """The fields of a multipart form and its picture; names of files are not looked at."""
    fields: dict[str, Any] = {}
    file = None
    async with request.form(max_files=1, max_fields=20, max_part_size=1 << 20) as form:
        for key, value in form.multi_items():
            if not isinstance(value, UploadFile):
                fields[key] = value
            elif key == "image":
                file = await value.read()
            else:
                raise Problem(400, f"a file in {key[:40]!r}; expected it in 'image'", key[:40])
    return fields, file


async def _found(request: Request, asked: Search, file: bytes | None) -> Response:
    served: Served = request.app.state.served
    reader: Reader = request.app.state.reader
    if asked.model:
        named(request, asked.model)
    if asked.data and asked.data not in (there := [*served.data, *served.indexes]):
        raise Problem(404, f"unknown data set or index {asked.data[:80]!r}{nearest(asked.data, there)}", "data")
    target = target_of(served, asked.model, asked.data)
    model = model_of(served, asked.model, target)
    text = reader.text(asked.query, "query") if asked.query else None
    side = side_of(served.models[model])
    image = await reader.decoded(file, "image", side) if file is not None else None
    if asked.image and image is None:
        image = await reader.picture(asked.image, "image", side)
    results = await search(
        served,
        request.app.state.batcher,
        model=model,
        data_or_index=target,
        text=text,
        image=image,
        where=asked.where,
        top=asked.top,
        language=asked.language,
        hybrid=asked.hybrid,
    )
    return JSONResponse({"object": "list", "model": model, "data": target, "results": results})


def _thumb(served: Served, name: str, row: int | None, id: str) -> bytes:
    if name in served.data:
        data = served.data[name]
        if row is None or not 0 <= row < len(data) or data.kinds.get("image") != "image":
            raise Problem(404, f"{name} has no picture of this row", "row")
        return base64.b64decode(thumb(data, row, SIDE).partition(",")[2])
    if name not in served.indexes:
        raise Problem(404, f"unknown data set or index {name[:80]!r}{nearest(name, [*served.data, *served.indexes])}")
    content: bytes | None = served.indexes[name].thumb(id, SIDE)
    if content is None:
        raise Problem(404, f"{name} has no picture of this id", "id")
    return content
