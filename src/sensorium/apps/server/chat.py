"""/v1/chat/completions: captions and answers, whole or as a stream, for runs that write."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Body, Request
from sse_starlette import EventSourceResponse
from starlette.responses import JSONResponse, Response

from sensorium.core import SensoriumError
from sensorium.run.runs import Model

from . import generating
from .compare import can, must_write
from .errors import Problem
from .generating import Piece, Turn
from .gone import unless_gone
from .inputs import CHARACTERS, Reader, side_of
from .listen import DRAIN
from .schemas import AudioPart, Chat, ChatCompletion, ImagePart, Message, TextPart
from .state import Served
from .v1 import REFUSALS, named

SLOW = 30.0
"""Seconds that a client may take to read a part of a stream."""
STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}
router = APIRouter(prefix="/v1/chat", responses=REFUSALS, tags=["v1"])


@router.post("/completions", response_model=ChatCompletion, responses=STREAM, summary="Caption, answer")
async def completions(request: Request, asked: Annotated[Chat, Body()]) -> Response:
    """The caption of the last picture of a conversation, or the answer to its last text; with `stream` in parts."""
    served: Served = request.app.state.served
    model = named(request, asked.model)
    try:
        must_write(served, asked.model)
    except SensoriumError as problem:
        raise Problem(400, str(problem), "model") from None
    turns = await _turns(request.app.state.reader, asked, asked.model, model)
    pieces = generating.chat(
        served,
        request.app.state.batcher,
        asked.model,
        turns,
        most=asked.max_completion_tokens or asked.max_tokens or generating.MOST,
        temperature=asked.temperature or 0.0,
        top_p=1.0 if asked.top_p is None else asked.top_p,
        seed=asked.seed,
        stop=[asked.stop] if isinstance(asked.stop, str) else asked.stop or (),
    )
    try:
        if not asked.stream:
            return JSONResponse(_whole(asked.model, await unless_gone(request, _all(pieces))))
        first = await unless_gone(request, _next(pieces))
    except SensoriumError as problem:
        raise Problem(400, str(problem), "messages") from None
    return EventSourceResponse(
        _events(asked, first, pieces),
        sep="\n",
        send_timeout=SLOW,
        shutdown_event=anyio.Event(),  # an answer that has begun is ended before the server is
        shutdown_grace_period=DRAIN,
    )


async def _turns(reader: Reader, asked: Chat, name: str, model: Model) -> list[Turn]:
    """The messages with the last picture decoded, which alone is looked at; what is wrong with one names it."""
    if sum(len(text) for message in asked.messages for text in _texts(message)) > CHARACTERS:
        raise Problem(400, f"messages: more than {CHARACTERS:,} characters in one request", "messages")
    shown = [(k, url) for k, message in enumerate(asked.messages) for url in _urls(message)][-1:]
    turns = []
    for k, message in enumerate(asked.messages):
        where = f"messages[{k}]"
        if any(isinstance(part, AudioPart) for part in message.content):
            raise Problem(400, f"{where}: {name} hears no sound; {can(name, model)}", "messages")
        words = [reader.text(text, where) for text in _texts(message) if text.strip()]
        pictures = [await reader.picture(url, where, side_of(model)) for at, url in shown if at == k]
        role = "system" if message.role == "developer" else message.role
        turns.append(Turn(role, " ".join(words), tuple(pictures)))
    return turns


def _texts(message: Message) -> list[str]:
    if isinstance(message.content, str):
        return [message.content]
    return [part.text for part in message.content if isinstance(part, TextPart)]


def _urls(message: Message) -> list[str]:
    return [part.image_url.url for part in message.content if isinstance(part, ImagePart)]


async def _next(pieces: AsyncGenerator[Piece]) -> Piece:
    return await anext(pieces)


async def _all(pieces: AsyncGenerator[Piece]) -> list[Piece]:
    async with aclosing(pieces):
        return [piece async for piece in pieces]


def _head(model: str, kind: str) -> dict[str, Any]:
    name = f"chatcmpl-{secrets.token_hex(12)}"
    return {"id": name, "object": kind, "created": int(time.time()), "model": model}


def _whole(model: str, pieces: Sequence[Piece]) -> dict[str, Any]:
    message = {"role": "assistant", "content": "".join(piece.text for piece in pieces)}
    choice = {"index": 0, "message": message, "finish_reason": pieces[-1].finish}
    return {**_head(model, "chat.completion"), "choices": [choice], "usage": _usage(pieces[-1])}


def _usage(last: Piece) -> dict[str, int]:
    return {
        "prompt_tokens": last.read,
        "completion_tokens": last.said,
        "total_tokens": last.read + last.said,
        "truncated": int(last.truncated),
    }


async def _events(asked: Chat, first: Piece, rest: AsyncGenerator[Piece]) -> AsyncIterator[dict[str, str]]:
    """The role, every piece as it is said, why it ended, the usage where it is asked for, and the mark of the end."""
    head = _head(asked.model, "chat.completion.chunk")

    def chunk(delta: dict[str, str], finish: str | None = None) -> dict[str, str]:
        return _event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    last = first
    async with aclosing(rest):
        yield chunk({"role": "assistant", "content": ""})
        try:
            async for last in _chained(first, rest):
                if last.text:
                    yield chunk({"content": last.text})
        except Exception:
            told = "the server failed to go on; its log says why"
            yield _event({"error": {"message": told, "type": "server_error", "param": None, "code": None}})
            raise
        yield chunk({}, last.finish)
        if asked.stream_options and asked.stream_options.include_usage:
            yield _event({**head, "choices": [], "usage": _usage(last)})
        yield {"data": "[DONE]"}


async def _chained(first: Piece, rest: AsyncGenerator[Piece]) -> AsyncIterator[Piece]:
    yield first
    async for piece in rest:
        yield piece


def _event(content: Any) -> dict[str, str]:
    return {"data": json.dumps(content, ensure_ascii=False)}
