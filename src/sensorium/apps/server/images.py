"""/v1/images/generations: pictures of what a prompt says, for runs that paint."""

from __future__ import annotations

import base64
import io
import time
from typing import Annotated

from fastapi import APIRouter, Body, Request
from PIL import Image
from starlette.responses import JSONResponse, Response

from sensorium.core import SensoriumError

from . import generating
from .compare import must_paint
from .errors import Problem
from .gone import unless_gone
from .inputs import Reader
from .schemas import ImageList, Images
from .state import Served
from .v1 import REFUSALS, named, size_of

router = APIRouter(prefix="/v1/images", responses=REFUSALS, tags=["v1"])


@router.post("/generations", response_model=ImageList, summary="Paint pictures")
async def images(request: Request, asked: Annotated[Images, Body()]) -> Response:
    """Pictures of a prompt, as base64 of a PNG; the same seed gives the same ones."""
    served: Served = request.app.state.served
    reader: Reader = request.app.state.reader
    named(request, asked.model)
    try:
        model = must_paint(served, asked.model)
    except SensoriumError as problem:
        raise Problem(400, str(problem), "model") from None
    size = size_of(model)
    if asked.size not in (None, "auto", size):
        raise Problem(400, f"size: given {asked.size!r}; {asked.model} paints {size}, or auto", "size")
    if asked.response_format not in (None, "b64_json"):
        line = f"response_format: given {asked.response_format!r}; expected b64_json: this server keeps no pictures"
        raise Problem(400, line, "response_format")
    prompt, batcher = reader.text(asked.prompt, "prompt"), request.app.state.batcher
    work = generating.images(served, batcher, asked.model, prompt, n=asked.n or 1, seed=asked.seed)
    found = await unless_gone(request, work)
    cut = await batcher.turn(asked.model, lambda: generating.longer(model, "text", prompt))
    data = [{"b64_json": _png(picture)} for picture in found]
    shown = {"created": int(time.time()), "data": data, "size": size, "output_format": "png", "truncated": cut}
    return JSONResponse(shown)


def _png(picture: Image.Image) -> str:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()
