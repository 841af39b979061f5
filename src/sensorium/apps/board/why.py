"""Why a picture was found: numbers that the run itself gives, each with what it is."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from sensorium.apps.search import seen_by
from sensorium.apps.server.state import spaces_of
from sensorium.blocks.similarity import unit
from sensorium.core import Ids, Tokens
from sensorium.data.columns import Column
from sensorium.data.dataset import Dataset
from sensorium.data.media.image import fit
from sensorium.run.plan import EMPTY
from sensorium.run.runs import Model

MOST_WORDS = 12
"""Words of a query that are looked at one by one."""
MOST_CAPTIONS = 5000
"""Training captions that are compared, the first ones where there are more."""
NEAREST, BLOCK = 5, 256
SIDE = 192
"""Pixels of a drawn map."""
MARK = (217, 115, 13)
CLOSE = 5e-4


@dataclass(frozen=True)
class Part:
    """A part of the query by itself, and what the picture scores for it."""

    name: str
    score: float


@dataclass(frozen=True)
class Word:
    """A word of the query: the mean over its tokens of the best cosine with a patch; the map as a data URL, and what it
    shows in words."""

    word: str
    score: float
    map: str
    about: str


@dataclass(frozen=True)
class Caption:
    """A caption that the run was trained on, and what the picture scores for it."""

    text: str
    score: float


@dataclass(frozen=True)
class Why:
    """`parts` add up to the score. `words` of a run that keeps many vectors; `without`: the score of the words that are
    left when one is taken away, of a run that keeps one. `adds_up`: the score of the words is the mean over tokens."""

    parts: Sequence[Part]
    words: Sequence[Word]
    adds_up: bool
    without: Sequence[Part]
    captions: Sequence[Caption]
    compared: int
    trained: int


def explain(
    model: Model, picture: Image.Image, key: str, text: str, image: Image.Image | None, trained: Dataset | None
) -> Why:
    """Why `picture` scores what it does for the words `text` (read as `key`), the picture `image`, or both."""
    item = model.read("image", [picture])
    asked: list[tuple[str, Mapping[str, Column]]] = []
    if text:
        asked.append(("the words", model.read(key, [text])))
    if image is not None:
        asked.append(("the picture", model.read("image", [image])))
    parts = [Part(name, float(model.rank(query, item)[0, 0])) for name, query in asked]
    many = getattr(spaces_of(model).get("image"), "many", False)
    words = _words(model, picture, item, key, text) if text and many else []
    mean = _mean_of_tokens(model, item, key, text) if words else None
    captions, compared, rows = _captions(model, item, trained)
    return Why(
        parts,
        words,
        mean is not None and abs(mean - parts[0].score) < CLOSE,
        [] if many or not text else _without(model, item, key, text),
        captions,
        compared,
        rows,
    )


def _without(model: Model, item: Mapping[str, Column], key: str, text: str) -> list[Part]:
    """What the words score when one of them is left out."""
    words = text.split()
    if not 2 <= len(words) <= MOST_WORDS:
        return []
    less = [" ".join(words[:i] + words[i + 1 :]) for i in range(len(words))]
    scores = model.rank(model.read(key, less), item)[:, 0].tolist()
    return [Part(word, score) for word, score in zip(words, scores, strict=True)]


def pieces(model: Model, key: str, text: str) -> list[tuple[str, range]]:
    """The words of a text, each with the places of its tokens: where the ids of the text and of its first k words part.
    Marks of beginning and end are no word's."""
    words = text.split()
    prefixes = [" ".join(words[:k]) for k in range(len(words) + 1)]
    (ids,) = model.read(key, prefixes).values()
    assert isinstance(ids, Ids)
    rows = [row[mask].tolist() for row, mask in zip(ids.ids, ids.mask, strict=True)]
    ends = [_shared(row, rows[-1]) for row in rows]
    # The whole text shares its end mark with itself; the tokens before it are as many as the longest one leaves.
    marks = len(rows[0]) - ends[0] if rows[0] else (1 if rows[-1] and rows[-1][-1] == rows[1][-1] else 0)
    ends[-1] = len(rows[-1]) - marks
    return [(word, range(first, last)) for word, first, last in zip(words, ends, ends[1:], strict=False)]


def _shared(a: Sequence[int], b: Sequence[int]) -> int:
    return next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _cosines(model: Model, item: Mapping[str, Column], key: str, text: str) -> torch.Tensor:
    """Cosine of every real token of the text with every real patch [T S]."""
    query, patches = model.embed(model.read(key, [text])), model.embed(item)
    return unit(_real(query)) @ unit(_real(patches)).T


def _real(tokens: Tokens) -> torch.Tensor:
    return tokens.x[0][tokens.mask[0]]


def _mean_of_tokens(model: Model, item: Mapping[str, Column], key: str, text: str) -> float:
    return float(_cosines(model, item, key, text).max(1).values.mean())


def _words(model: Model, picture: Image.Image, item: Mapping[str, Column], key: str, text: str) -> list[Word]:
    """Word by word, where in the picture its tokens find their closest patches."""
    cosines = _cosines(model, item, key, text)
    side = isqrt(cosines.shape[1])
    if side * side != cosines.shape[1]:
        return []
    found = []
    for word, places in pieces(model, key, text)[:MOST_WORDS]:
        if not places or places.stop > len(cosines):
            continue
        mine = cosines[places.start : places.stop]
        heat = mine.mean(0).reshape(side, side).numpy()
        row, column = divmod(int(heat.argmax()), side)
        about = f"closest patch: row {row + 1}, column {column + 1} of {side} by {side}, cosine {heat.max():.2f}"
        found.append(Word(word, float(mine.max(1).values.mean()), _drawn(picture, heat), about))
    return found


def _drawn(picture: Image.Image, heat: np.ndarray[Any, Any]) -> str:
    """The picture as the run sees it, each patch the more coloured the closer it is; the closest one is framed."""
    base = Image.fromarray(fit(picture, SIDE).transpose(1, 2, 0)).convert("L").convert("RGB")
    spread = float(heat.max() - heat.min()) or 1.0
    share = Image.fromarray(((heat - heat.min()) / spread * 190).astype(np.uint8))
    base.paste(Image.new("RGB", base.size, MARK), mask=share.resize(base.size, Image.Resampling.NEAREST))
    side = len(heat)
    row, column = divmod(int(heat.argmax()), side)
    box = [column * SIDE // side, row * SIDE // side, (column + 1) * SIDE // side - 1, (row + 1) * SIDE // side - 1]
    ImageDraw.Draw(base).rectangle(box, outline=(0, 0, 0), width=2)
    out = io.BytesIO()
    base.save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def _captions(model: Model, item: Mapping[str, Column], trained: Dataset | None) -> tuple[list[Caption], int, int]:
    """The captions of the run's training rows that the picture scores highest for; how many were compared, of how
    many."""
    if trained is None or trained.kinds.get("text") != "text" or "text" not in spaces_of(model):
        return [], 0, 0
    rows = [i for i, split in enumerate(seen_by(model, trained)) if split == "train"]
    first, texts = [i for i in rows[:MOST_CAPTIONS] if trained.content("text")[i] != EMPTY], trained.texts("text")
    if not first:
        return [], 0, len(rows)
    (column,) = model.column(trained, "text").values()  # from stored features: a tower would take minutes here
    blocks = torch.split(torch.tensor(first), BLOCK)
    scores = torch.cat([model.rank({"text": column.rows(block)}, item) for block in blocks])[:, 0]
    found: dict[str, float] = {}
    for i in scores.argsort(descending=True).tolist():
        found.setdefault(texts[first[i]], float(scores[i]))
        if len(found) == NEAREST:
            break
    return [Caption(text, score) for text, score in found.items()], len(rows[:MOST_CAPTIONS]), len(rows)
