"""What runs that generate say and paint. Which of it a run can is read from its `generates` mapping, never its class.

Answers that are asked for together are decoded together, one token of each per turn of the model's thread, so that
whatever else is asked of the model comes between two tokens.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import torch
from PIL import Image
from torch import Tensor

from sensorium.blocks.decode import Canvas, Generates, Prompt, greedy, paint, sample, steps
from sensorium.blocks.decode.generate import Pick
from sensorium.blocks.mixed import Mosaic, laid
from sensorium.core import Batch, Field, Ids, Rng, SensoriumError, Value, derive
from sensorium.run.runs import Model

from .batch import Batcher, Gate
from .compare import can, must_paint, must_write
from .inputs import pixels_of, side_of, truncated, words_of
from .spelling import Spelling
from .state import Served, needs_of
from .state import paints as paints
from .state import writes as writes

MOST = 64
"""Tokens of an answer, unless more or fewer are asked for."""
COLD = 1e-4
"""Temperatures below it give the likeliest token."""
PAINTING = 16
"""Steps from noise to a picture."""
QUESTION = "text/question"


@dataclass(frozen=True)
class Turn:
    """One message of a conversation; `role` is system, user or assistant."""

    role: str
    text: str
    images: tuple[Image.Image, ...] = ()


@dataclass(frozen=True)
class Piece:
    """A part of an answer. The last one has a `finish`: "stop", or "length" where it was cut. `said` counts the tokens
    so far, `read` those of the question, which is `truncated` where it is longer."""

    text: str
    finish: str | None = None
    said: int = 0
    read: int = 0
    truncated: bool = False


@dataclass(frozen=True)
class Asked:
    """What is to be answered: a question, a picture, or both; at most how many tokens, and how each is picked."""

    question: str
    image: Image.Image | None
    most: int
    pick: Pick = greedy
    stop: Sequence[str] = ()


async def chat(
    served: Served,
    batcher: Batcher,
    model: str,
    turns: Sequence[Turn],
    *,
    most: int = MOST,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int | None = None,
    stop: Sequence[str] = (),
) -> AsyncGenerator[Piece]:
    """The answer to the last turn, in pieces: the caption of the last picture of the conversation, or the answer to the
    last text about it. Leaving the iterator ends it; the same seed gives the same words.

    Raises:
        SensoriumError: an unknown run, one that writes no text, or a conversation that it cannot answer.
        Busy: too many requests wait.
    """
    run = must_write(served, model)
    to, question, image = _read(model, run, turns)
    pick = _picked(run, temperature, top_p, seed)
    asked = Asked(question, image, min(most, longest(run, to)), pick, tuple(stop))
    gate = await batcher.free(model)
    (line,) = await batcher.ask(model, ("chat", to), partial(begin, run, to), [asked])
    try:
        line.answers.write(batcher, model, gate)
        while True:
            piece = await line.out.get()
            if isinstance(piece, Exception):
                raise piece
            if piece.text or piece.finish:
                yield piece
            if piece.finish:
                return
    finally:
        line.open = False


async def images(
    served: Served, batcher: Batcher, model: str, prompt: str, *, n: int = 1, seed: int | None = None
) -> list[Image.Image]:
    """`n` pictures of what the prompt says; the same seed gives the same ones, as many as are asked for.

    Raises:
        SensoriumError: an unknown run, or one that paints no pictures.
        Busy: too many requests wait.
    """
    run = must_paint(served, model)
    seed = secrets.randbits(63) if seed is None else seed
    found = []
    with (await batcher.free(model)).going():
        for k in range(n):
            found.append(await batcher.turn(model, partial(painted, run, prompt, derive("picture", seed, k))))
            batcher.made(model, "pictures", 1)
    return found


def warm(served: Served) -> None:
    """Read a prompt with every run that writes or paints, so that the first request does not wait for its towers."""
    for model in served.models.values():
        for to in writes(model):
            sees, asks = "image" in needs_of(model), to == "text/answer"
            blank = Image.new("RGB", (side_of(model), side_of(model)), "white") if sees else None
            if sees or asks:
                begin(model, to, [Asked("a" if asks else "", blank, 1)])[0].answers.step()


def longest(model: Model, to: str) -> int:
    """Tokens of the longest text that a run has learnt to write under a key."""
    return model.fields[to].length


def _read(name: str, model: Model, turns: Sequence[Turn]) -> tuple[str, str, Image.Image | None]:
    """What is asked for, with which question, about which picture."""
    if not turns or turns[-1].role != "user":
        raise SensoriumError("the last message is not the user's; expected what is to be answered")
    question, texts = turns[-1].text.strip(), writes(model)
    answers = "text/answer" in texts and QUESTION in model.fields
    if question and not answers:
        raise SensoriumError(f"{name} has no use for words; {can(name, model)}: send a picture alone")
    if not question and "text" not in texts:
        raise SensoriumError(f"{name} answers questions, and the last message holds none; {can(name, model)}")
    to = "text/answer" if question else "text"
    pictures = [picture for turn in turns for picture in turn.images]
    sees = "image" in needs_of(model)
    if sees and not pictures:
        raise SensoriumError(f"{name} needs a picture, and no message holds one; {can(name, model)}")
    if pictures and not sees:
        raise SensoriumError(f"{name} sees no pictures; {can(name, model)}: send words alone")
    if to == "text" and not sees:
        raise SensoriumError(f"{name} writes captions of what no message can hold")
    return to, question, pictures[-1] if pictures else None


def _picked(model: Model, temperature: float, top_p: float, seed: int | None) -> Pick:
    """How the tokens of one answer are picked."""
    if temperature < COLD:
        return greedy
    generator = Rng(secrets.randbits(63) if seed is None else seed)("chat", model.device)
    return sample(generator, temperature, top_p=top_p)


@dataclass(eq=False)
class Line:
    """One answer that is being written; closed once it has ended, or nobody waits for it."""

    asked: Asked
    answers: Answers
    words: Spelling
    read: int
    truncated: bool
    open: bool = True
    said: int = 0
    out: asyncio.Queue[Piece | Exception] = field(default_factory=asyncio.Queue)

    def take(self, token: int | None) -> Piece:
        """What one token more, or the end of the text, makes of it."""
        if token is None:
            return self._piece(self.words.end(), "stop")
        self.said += 1
        text = self.words.say(token)
        if self.words.stopped:
            return self._piece(text, "stop")
        if self.said == self.asked.most:
            return self._piece(text + self.words.end(), "stop" if self.words.stopped else "length")
        return self._piece(text, None)

    def _piece(self, text: str, finish: str | None) -> Piece:
        self.open = self.open and finish is None
        return Piece(text, finish, self.said, self.read, self.truncated)


class Answers:
    """Answers that are written together: `lines`, and the prompt that they go on from."""

    def __init__(self, model: Model, asked: Sequence[Asked], prompt: Prompt, read: Sequence[tuple[int, bool]]) -> None:
        assert model.tokenizer is not None
        rows = zip(asked, read, strict=True)
        self.lines = [Line(a, self, Spelling(model.tokenizer, a.stop), n, cut) for a, (n, cut) in rows]
        self.end = prompt.decoder.end
        self._columns = steps(prompt, max(a.most for a in asked), pick=self._pick)
        self._writing: asyncio.Task[None] | None = None

    def write(self, batcher: Batcher, model: str, gate: Gate) -> None:
        """Go on in the background, unless it has begun."""
        self._writing = self._writing or asyncio.get_running_loop().create_task(self._write(batcher, model, gate))

    def step(self) -> list[tuple[Line, Piece]]:
        """The next token of every open line."""
        column, lines = next(self._columns, None), [(k, line) for k, line in enumerate(self.lines) if line.open]
        if column is None:
            return [(line, line.take(None)) for _, line in lines]
        ids, real = column.ids[:, 0].tolist(), column.mask[:, 0].tolist()
        return [(line, line.take(ids[k] if real[k] else None)) for k, line in lines]

    async def _write(self, batcher: Batcher, model: str, gate: Gate) -> None:
        with gate.going():
            try:
                while any(line.open for line in self.lines):
                    before = self._said()
                    for line, piece in await batcher.turn(model, self.step):
                        line.out.put_nowait(piece)
                    batcher.made(model, "tokens", self._said() - before)
            except Exception as problem:
                for line in self.lines:
                    line.out.put_nowait(problem)

    def _said(self) -> int:
        return sum(line.said for line in self.lines)

    def _pick(self, scores: Tensor) -> Tensor:
        """Each line by its own rule; what is closed ends."""
        ends = torch.tensor([self.end], device=scores.device)
        lines = enumerate(self.lines)
        return torch.cat([line.asked.pick(scores[k : k + 1]) if line.open else ends for k, line in lines])


@torch.no_grad()
def begin(model: Model, to: str, asked: Sequence[Asked]) -> list[Line]:
    """Read what is asked as one batch."""
    needs, batch = needs_of(model), dict[str, Value]()
    read = [(0, False)] * len(asked)
    if asked[0].image is not None:
        batch["image"] = pixels_of(model, "image", [cast(Image.Image, a.image) for a in asked])
    if to == "text/answer":
        ids, cut = _words(model, QUESTION, needs.get(QUESTION, "ids"), [a.question for a in asked])
        batch[QUESTION], read = ids, list(zip(ids.mask.sum(1).tolist(), cut, strict=True))
    prompt = _prompt(model, batch, to)
    if not isinstance(prompt, Prompt):
        raise SensoriumError(f"{model.paper} gives no prompt for {to!r}; expected one to go on from")
    return Answers(model, asked, prompt, read).lines


@torch.no_grad()
def painted(model: Model, prompt: str, seed: int) -> Image.Image:
    """The picture of one prompt."""
    ids, _ = _words(model, "text", needs_of(model).get("text", "ids"), [prompt])
    canvas = _prompt(model, {"text": ids}, "image")
    if isinstance(canvas, Canvas):
        found = paint(canvas, PAINTING, Rng(seed))
    elif isinstance(canvas, Mosaic):
        found = laid(canvas, Rng(seed))
    else:
        raise SensoriumError(f"{model.paper} gives no picture; expected a canvas or a mosaic")
    return _picture(found)


def longer(model: Model, key: str, text: str) -> bool:
    """Whether a text is longer than what a run reads of it."""
    return _words(model, key, needs_of(model).get(key, "ids"), [text])[1][0]


def _words(model: Model, key: str, need: str, texts: Sequence[str]) -> tuple[Ids, list[bool]]:
    """Texts as a run reads them, and which are longer."""
    read = partial(words_of, model, key, need.split()[0])
    ids = read(texts)
    return ids, truncated(texts, ids, read)


def _prompt(model: Model, batch: Batch, to: str) -> Prompt | Canvas:
    method = cast(Generates, model.method)
    return method.prompt(model.method.frozen({k: v.to(model.device) for k, v in batch.items()}), to)


def _picture(field: Field) -> Image.Image:
    """u8 [1 3 H W] -> the picture."""
    return Image.fromarray(field.data[0].permute(1, 2, 0).cpu().numpy())
