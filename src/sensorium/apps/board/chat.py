"""A conversation with a run that writes. It lives in the page: every message goes back with the form of the next one.

With a script the answer comes as server-sent events, each one JSON: `turns` (both messages as HTML, the answer still
empty), `text` (a piece of the answer) and its `note`, or `problem`. Without one the whole page is sent again.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from sensorium.apps.server.compare import can
from sensorium.apps.server.generating import Piece, Turn, chat
from sensorium.apps.server.inputs import data_of
from sensorium.apps.server.state import Served, writes
from sensorium.core import SensoriumError
from sensorium.data.limits import Limits, Refused
from sensorium.data.media.image import load

from .able import sees
from .pages import HEADERS, PROBLEMS, decimal, named, render, served_by, templates, told, whole
from .pictures import kept, of_row, opened, pictured, png, read

FORM, STREAM = "/chat/form", "/chat/stream"
MOST_TURNS, MOST_PICTURES = 60, 8
"""Messages of a conversation, and pictures in it."""
LONGEST = 8000
"""Characters of a message."""
SIDE = 512
"""Pixels of the longer side of a picture in a conversation: it is sent along each time."""
MOST_TOKENS, HOTTEST = 512, 2.0
FIELDS = 3 * MOST_TURNS + 8
LARGEST = 4 << 20
"""Bytes of one field: a picture of a conversation."""
EVENTS = "text/event-stream"
AT_ONCE = {**HEADERS, "X-Accel-Buffering": "no"}
"""Headers of a stream, which no proxy may keep back."""
ROLES = ("user", "assistant")


@dataclass(frozen=True)
class Message:
    """One message; `image` is its picture as a data URL, "" for none; `note` says how an answer ended."""

    role: str
    text: str
    image: str = ""
    note: str = ""


@dataclass(frozen=True)
class Writer:
    """A run that can be talked to: what it writes and what it reads."""

    writes: str
    reads: str


@dataclass(frozen=True)
class Sent:
    """What a form holds: the run, how it is to answer, and the new message."""

    run: str
    most: int
    temperature: float
    seed: int
    asked: Message


def writers(there: Served) -> dict[str, Writer]:
    """The runs that can be talked to, by name."""
    found = {}
    for name, model in there.models.items():
        if said := writes(model):
            reads = ["a picture"] if sees(model) else []
            reads += ["a question"] if "text/answer" in said else []
            found[name] = Writer(" and ".join(f"{what}s" for what in said.values()), " and ".join(reads) or "words")
    return found


async def page(request: Request) -> Response:
    """An empty conversation, perhaps with a picture to begin with."""
    attached, problem = "", None
    try:
        attached = await run_in_threadpool(_given, request)
    except PROBLEMS as found:
        problem = found
    return _page(request, request.query_params, attached=attached, problem=problem)


def _given(request: Request) -> str:
    """The picture that an address names, held or a row's, as a data URL."""
    given = request.query_params
    if name := given.get("picture", ""):
        return url_of(opened(kept(request, name)))
    return url_of(of_row(served_by(request), given["data"], given)[0]) if given.get("data") else ""


def _page(
    request: Request,
    given: Mapping[str, Any],
    messages: tuple[Message, ...] = (),
    attached: str = "",
    text: str = "",
    problem: Exception | None = None,
) -> Response:
    status, line = told(problem) if problem else (200, "")
    there = served_by(request)
    able = writers(there)
    return render(
        request,
        "chat.html",
        status=status,
        given=given,
        writers=able,
        others=[can(name, model) for name, model in there.models.items() if name not in able],
        messages=messages,
        attached=attached,
        text=text,
        problem=line,
        sets=pictured(there),
        longest=LONGEST,
        side=SIDE,
        most_tokens=MOST_TOKENS,
        hottest=HOTTEST,
    )


async def answer(request: Request) -> Response:
    """A message without a script: the whole page with the answer under it."""
    before: tuple[Message, ...] = ()
    asked, said = Message("user", ""), Message("assistant", "")
    async with _form(request) as form:
        try:
            before = before_of(form)
            asked = replace(asked, text=text_of(form))
            sent = await _sent(request, form)
            asked = sent.asked
            async with aclosing(await _pieces(request, before, sent)) as pieces:
                async for piece in pieces:
                    said = replace(said, text=said.text + piece.text, note=noted(piece, sent.most))
        except PROBLEMS as problem:
            return _page(request, form, before, asked.image, asked.text, problem)
        return _page(request, form, (*before, asked, said))


async def stream(request: Request) -> Response:
    """A message with a script: the answer as it is written."""
    async with _form(request) as form:
        try:
            before = before_of(form)
            sent = await _sent(request, form)
            pieces = await _pieces(request, before, sent)
        except PROBLEMS as problem:
            status, line = told(problem)
            return Response(_event(problem=line), status, AT_ONCE, EVENTS)
    return StreamingResponse(_events(pieces, sent), 200, AT_ONCE, EVENTS)


async def _events(pieces: AsyncGenerator[Piece], sent: Sent) -> AsyncIterator[bytes]:
    """Both messages, then the answer piece by piece; whoever stops reading ends it."""
    turns = templates().get_template("turns.html")
    yield _event(turns=turns.render(messages=[sent.asked, Message("assistant", "")]))
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                yield _event(text=piece.text, note=noted(piece, sent.most))
    except PROBLEMS as problem:
        yield _event(problem=told(problem)[1])


def _event(**what: str) -> bytes:
    return f"data: {json.dumps(what)}\n\n".encode()


async def _pieces(request: Request, before: Sequence[Message], sent: Sent) -> AsyncGenerator[Piece]:
    """The answer to a conversation, not yet begun."""
    state = request.app.state
    turns = await run_in_threadpool(lambda: [turn_of(message) for message in (*before, sent.asked)])
    return chat(
        state.served, state.batcher, sent.run, turns, most=sent.most, temperature=sent.temperature, seed=sent.seed
    )


def noted(piece: Piece, most: int) -> str:
    """What is said under an answer that was cut."""
    return f"cut after {most} tokens" if piece.finish == "length" else ""


def _form(request: Request) -> AbstractAsyncContextManager[FormData]:
    return request.form(max_files=1, max_fields=FIELDS, max_part_size=LARGEST)


async def _sent(request: Request, form: FormData) -> Sent:
    """The run, its settings and the new message out of a form."""
    there, given = served_by(request), {k: v for k, v in form.items() if isinstance(v, str)}
    able = writers(there)
    if not able:
        raise SensoriumError("no served run writes; chat needs a run that generates text")
    run = given.get("run") or next(iter(able))
    named("run", run, there.models)
    if run not in able:
        raise SensoriumError(f"{run} does not write; {can(run, there.models[run])}")
    image = given.get("attached", "")
    upload = form.get("image")
    if isinstance(upload, UploadFile) and (content := await upload.read()):
        image = await run_in_threadpool(lambda: url_of(read(content)))
    asked = Message("user", text_of(form), image)
    if not (asked.text or asked.image):
        raise SensoriumError("nothing was said: write something, or give a picture")
    most = whole(given, "most", 64, 1, MOST_TOKENS)
    return Sent(run, most, decimal(given, "temperature", 0.0, HOTTEST), whole(given, "seed", 0, 0, 999_999_999), asked)


def before_of(form: FormData) -> tuple[Message, ...]:
    """The conversation so far, as the page holds it."""
    columns = [[str(v) for v in form.getlist(name)] for name in ("role", "said", "seen")]
    if len({len(column) for column in columns}) > 1 or set(columns[0]) - set(ROLES):
        raise SensoriumError("the conversation in the page is not whole; begin a new one")
    found = tuple(Message(role, _lines(text), image) for role, text, image in zip(*columns, strict=True))
    if len(found) > MOST_TURNS - 2:
        raise SensoriumError(f"a conversation has at most {MOST_TURNS} messages; begin a new one")
    if sum(bool(m.image) for m in found) >= MOST_PICTURES:
        raise SensoriumError(f"a conversation holds at most {MOST_PICTURES} pictures; begin a new one")
    return found


def text_of(form: FormData) -> str:
    """The new message's words."""
    text = _lines(str(form.get("text", ""))).strip()
    if len(text) > LONGEST:
        raise SensoriumError(f"the message has {len(text):,} characters; at most {LONGEST:,} are read")
    return text


def _lines(text: str) -> str:
    """Forms send every end of a line as two characters."""
    return text.replace("\r\n", "\n")


def turn_of(message: Message) -> Turn:
    """A message as it is asked with, its picture decoded."""
    if not message.image:
        return Turn(message.role, message.text)
    try:
        picture = load(data_of(message.image), Limits(pixels=SIDE * SIDE))
    except Refused as reason:
        raise SensoriumError(f"a picture of the conversation is not readable: {reason}") from None
    return Turn(message.role, message.text, (picture,))


def url_of(picture: Image.Image) -> str:
    """A picture as the page carries it."""
    return "data:image/png;base64," + base64.b64encode(png(picture, SIDE)).decode()


PAGES = {"/chat": page}
