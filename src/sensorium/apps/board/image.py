"""A picture, a part of it drawn, and what served runs say of that part. Every question has an address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlencode

from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sensorium.apps.server import generating
from sensorium.apps.server.generating import Turn
from sensorium.apps.server.predict import Picture, asks_of, predict_all
from sensorium.apps.server.search import model_of, search, target_of
from sensorium.apps.server.state import predicts_of
from sensorium.core import SensoriumError, nearest

from .able import KINDS, Offer, offers
from .pages import HEADERS, PROBLEMS, named, render, served_by, told
from .pictures import SIDE, hold, keep, kept, of_row, opened, pictured
from .regions import MARKS, SHARE, Region, region_of, side_of_point, stroke_of, tinted
from .search import SEEN

FORM = "/image/form"
LONGEST = 2000
"""Characters of a question."""
MOST_TOKENS = 64
MATCHES = 10
"""Rows that are shown of those that look alike."""


@dataclass(frozen=True)
class Shown:
    """The picture of the page: its name while it is held, its size, and what else an address needs to find it again."""

    name: str
    picture: Image.Image
    source: Mapping[str, str]


@dataclass(frozen=True)
class Box:
    """A rectangle that was found, in pixels of the picture, and the phrase it was found for; where the run tells its
    outline, a picture of the whole part that was asked about, clear but for what is meant."""

    phrase: str
    region: Region
    mask: str = ""


@dataclass(frozen=True)
class Found:
    """What a run said of a part of a picture; what there is depends on what it was asked for."""

    ask: str
    run: str
    region: Region
    text: str = ""
    cut: bool = False
    boxes: Sequence[Box] = ()
    phrases: Sequence[str] = ()
    label: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    target: str = ""
    hits: Sequence[Mapping[str, Any]] = ()


async def page(request: Request) -> Response:
    """The picture, what can be drawn on it and asked of it, and the answer where something is asked."""
    given, shown, region, found = request.query_params, None, None, None
    try:
        shown = await run_in_threadpool(_shown, request)
        if shown and given.get("ask"):
            region = region_of(given, shown.picture.size)
            found = await _asked(request, shown.picture, region)
    except PROBLEMS as problem:
        return _page(request, shown, region, problem=problem)
    return _page(request, shown, region, found)


def _page(
    request: Request,
    shown: Shown | None = None,
    region: Region | None = None,
    found: Found | None = None,
    problem: Exception | None = None,
) -> Response:
    status, line = told(problem) if problem else (200, "")
    there, given = served_by(request), request.query_params
    able = offers(there)
    return render(
        request,
        "image.html",
        status=status,
        shown=shown,
        region=region,
        found=found,
        problem=line,
        given=given,
        stroke=_line(given, shown),
        offers=[o for o in able if o.runs],
        missing=[o for o in able if not o.runs],
        kinds=KINDS,
        marks=MARKS,
        share=SHARE,
        side=side_of_point(shown.picture.size) if shown else 0,
        sets=pictured(there),
        seen=SEEN,
    )


def _line(given: Mapping[str, str], shown: Shown | None) -> str:
    """The stroke of the address as the points of a line, "" where there is none that can be drawn."""
    try:
        return " ".join(f"{x},{y}" for x, y in stroke_of(given.get("stroke", ""), shown.picture.size)) if shown else ""
    except SensoriumError:
        return ""


def _shown(request: Request) -> Shown | None:
    """The picture that an address names: one that is held, or a row's."""
    given = request.query_params
    if name := given.get("picture", ""):
        return Shown(name, opened(kept(request, name)), {"picture": name})
    if not given.get("data"):
        return None
    picture, _ = of_row(served_by(request), given["data"], given)
    picture.thumbnail((SIDE, SIDE))
    return Shown(hold(request, picture), picture, {k: given[k] for k in ("data", "row", "id") if given.get(k)})


async def form(request: Request) -> Response:
    """A picture that is given: holds it, then leads to its own address."""
    async with request.form(max_files=1, max_fields=4, max_part_size=LONGEST) as sent:
        upload = sent.get("image")
        content = await upload.read() if isinstance(upload, UploadFile) else b""
    try:
        if not content:
            raise SensoriumError("no picture was given: choose a file, or drop one")
        name = await run_in_threadpool(keep, request, content)
    except SensoriumError as problem:
        return _page(request, problem=problem)
    return RedirectResponse(f"/image?{urlencode({'picture': name})}", 303, HEADERS)


async def _asked(request: Request, picture: Image.Image, region: Region) -> Found:
    given = request.query_params
    ask = given["ask"]
    if ask not in KINDS:
        raise SensoriumError(f"ask {ask!r}{nearest(ask, KINDS)}")
    words = given.get(f"text-{ask}", "").strip()
    if len(words) > LONGEST:
        raise SensoriumError(f"{len(words):,} characters are asked; at most {LONGEST:,} are read")
    (offer,) = (o for o in offers(served_by(request)) if o.name == ask)
    run = _run(request, offer, given.get(f"run-{ask}", ""))
    return await _ASK[ask](request, run, region.of(picture), region, words)


def _run(request: Request, offer: Offer, name: str) -> str:
    """The run that is asked: the one of this name, else the first that can."""
    if name:
        named("run", name, served_by(request).models)
    if (name and name not in offer.runs) or not offer.runs:
        who = f"{name} cannot" if name else "no served run can"
        raise SensoriumError(f"{who}; {offer.kind.title.lower()} needs a run that {offer.kind.would}")
    return name or offer.runs[0]


async def _written(request: Request, run: str, part: Image.Image, region: Region, words: str, ask: str) -> Found:
    """What a run writes of a picture, asked nothing or a question."""
    state, text, cut = request.app.state, "", False
    turns = [Turn("user", words, (part,))]
    async for piece in generating.chat(state.served, state.batcher, run, turns, most=MOST_TOKENS):
        text, cut = text + piece.text, piece.finish == "length"
    return Found(ask, run, region, text=text.strip(), cut=cut)


async def _caption(request: Request, run: str, part: Image.Image, region: Region, words: str) -> Found:
    return await _written(request, run, part, region, "", "caption")


async def _answer(request: Request, run: str, part: Image.Image, region: Region, words: str) -> Found:
    if not words:
        raise SensoriumError("no question is asked; write one")
    return await _written(request, run, part, region, words, "answer")


async def _match(request: Request, run: str, part: Image.Image, region: Region, words: str) -> Found:
    """The rows of a data set or an index that look like a part of a picture."""
    there, given = served_by(request), request.query_params
    target = target_of(there, given.get("run-match") or run, given.get("in", ""))
    run = model_of(there, given.get("run-match", ""), target)
    hits = await search(there, request.app.state.batcher, model=run, data_or_index=target, image=part, top=MATCHES)
    return Found("match", run, region, target=target, hits=hits)


async def _boxes(request: Request, run: str, part: Image.Image, region: Region, words: str) -> Found:
    """Where each phrase is within a part of a picture, in pixels of the whole, with its mask where there is one."""
    names, row = _row(request, run, part, words)
    found = await _predicted(request, run, "boxes", row)
    boxes = [_placed(box, region) for box in found["boxes"]]
    phrases, masks = names if len(names) == len(boxes) else [""] * len(boxes), [""] * len(boxes)
    if "mask" in predicts_of(served_by(request).models[run]):
        drawn = await _predicted(request, run, "mask", row)
        masks = [tinted(png, region) for png in drawn["masks"]]
    each = [Box(*one) for one in zip(phrases, boxes, masks, strict=True)]
    return Found("boxes", run, region, phrases=names, boxes=each)


async def _label(request: Request, run: str, part: Image.Image, region: Region, words: str) -> Found:
    _, row = _row(request, run, part, words)
    found = await _predicted(request, run, "label", row)
    return Found("label", run, region, label=found["label"], scores=found["scores"])


async def _predicted(request: Request, run: str, kind: str, row: dict[str, Any]) -> dict[str, Any]:
    model = served_by(request).models[run]
    (found,) = await request.app.state.batcher.ask(run, ("predict", kind), partial(predict_all, model, kind), [row])
    answer: dict[str, Any] = found
    return answer


def _row(request: Request, run: str, part: Image.Image, words: str) -> tuple[list[str], dict[str, Any]]:
    """What a run predicts from: the picture, the words where it reads any, and the phrases in them."""
    asks = asks_of(served_by(request).models[run])
    row: dict[str, Any] = {"image": Picture(part, part.size)}
    names, text, spans = phrases_of(words)
    if "text" in asks and text:
        row["text"] = text
    elif "text" in asks and "optional" not in asks["text"]:
        raise SensoriumError(f"{run} reads words beside the picture; write some")
    if "spans" in asks and "text" in row:
        row["spans"] = spans
    return names, row


def phrases_of(words: str) -> tuple[list[str], str, list[list[list[int]]]]:
    """ "a cup, a red spoon" -> its phrases, the text that holds them, and the characters of each in it."""
    names = [name for part in words.split(",") if (name := part.strip())]
    spans, at = [], 0
    for name in names:
        spans.append([[at, at + len(name)]])
        at += len(name) + len(", ")
    return names, ", ".join(names), spans


def _placed(box: Sequence[float], within: Region) -> Region:
    """(x0, y0, x1, y1) in pixels of a part of a picture -> whole pixels of the picture."""
    x0, y0, x1, y1 = (round(v) for v in box)
    x0, y0 = min(x0, within.width - 1), min(y0, within.height - 1)
    return Region(within.left + x0, within.top + y0, max(1, x1 - x0), max(1, y1 - y0))


_ASK = {"caption": _caption, "answer": _answer, "match": _match, "boxes": _boxes, "label": _label}
"""How each thing is asked for."""
PAGES = {"/image": page}
