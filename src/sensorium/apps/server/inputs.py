"""From what a request holds to what a run reads: texts checked, pictures decoded and shrunk before they are kept."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from PIL import Image

from sensorium.blocks.towers.frozen import frozen_towers, role_of
from sensorium.core import Field, Ids
from sensorium.data.limits import Limits, Refused
from sensorium.data.media.image import fit, load
from sensorium.data.words import clean
from sensorium.run.plan import text_column
from sensorium.run.runs import Model

from .errors import Problem
from .fetch import fetch
from .schemas import ImageDocument, ImagePart, Part, TextDocument, TextPart

LIMITS = Limits(pixels=12_500_000, bytes=16 << 20, text=32_768)
PICTURES, CHARACTERS = 256, 1_000_000
"""Pictures, and characters of all texts, that one request may hold."""
_DATA = re.compile(r"data:(?P<kind>[\w.+-]+/[\w.+-]+)?(;[\w.+-]+=[\w.+-]+)*;base64,", re.ASCII | re.IGNORECASE)

Value = tuple[str, str | Image.Image]
"""Role, and a text or a picture."""


@dataclass
class Reader:
    """Turns parts into values. Pictures are decoded one at a time beside the event loop: a large one takes hundreds of
    megabytes. `hosts` are those that pictures may be fetched from."""

    hosts: Collection[str] = ()
    _decoder: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "decode"), repr=False)
    _fetcher: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4, "fetch"), repr=False)

    async def values(self, parts: Sequence[Part], param: str, model: Model) -> list[Value]:
        """Parts of a request -> values, in order; what is wrong with one names it as param[k]."""
        urls = [url_of(part) for part in parts]
        if sum(url is not None for url in urls) > PICTURES:
            raise Problem(400, f"{param}: more than {PICTURES} pictures in one request", param)
        texts = [text_of(part) for part in parts]
        if sum(map(len, texts)) > CHARACTERS:
            raise Problem(400, f"{param}: more than {CHARACTERS:,} characters in one request", param)
        found: list[Value] = []
        for k, (text, url) in enumerate(zip(texts, urls, strict=True)):
            name = f"{param}[{k}]" if len(parts) > 1 else param
            if url is None:
                found.append(("text", self.text(text, name)))
            else:
                found.append(("image", await self.picture(url, name, side_of(model))))
        return found

    def text(self, value: str, name: str) -> str:
        """A text that can be read, not empty."""
        try:
            text = clean(value, LIMITS)
        except Refused as reason:
            raise _problem(name, str(reason)) from None
        if not text:
            raise _problem(name, "an empty text")
        return text

    async def picture(self, url: str, name: str, side: int = 0) -> Image.Image:
        """A data: URL, or an http(s) one of a listed host -> the picture, fitted into a square of `side` unless 0."""
        return await self.decoded(await self._bytes(url, name), name, side)

    async def decoded(self, data: bytes, name: str, side: int = 0) -> Image.Image:
        """The bytes of a file -> the picture, fitted into a square of `side` unless 0."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._decoder, _decode, data, side)
        except Refused as reason:
            raise _problem(name, str(reason)) from None

    async def _bytes(self, url: str, name: str) -> bytes:
        try:
            if url[:5].lower() == "data:":
                return data_of(url)
            if not re.match(r"https?:", url, re.IGNORECASE):
                raise Refused("not a data: URL")
            if not self.hosts:
                raise Refused("this server fetches nothing; send a data: URL, or start it with --allow-fetch HOSTS")
            get = partial(fetch, url, self.hosts, LIMITS.bytes)
            return await asyncio.get_running_loop().run_in_executor(self._fetcher, get)
        except Refused as reason:
            raise _problem(name, str(reason)) from None

    def close(self) -> None:
        """End the threads."""
        for pool in (self._decoder, self._fetcher):
            pool.shutdown(wait=False, cancel_futures=True)


def text_of(part: Part) -> str:
    """The text of a part; "" of a picture."""
    if isinstance(part, str):
        return part
    return part.text if isinstance(part, TextPart | TextDocument) else ""


def url_of(part: Part) -> str | None:
    """The URL of a picture; None of a text."""
    if isinstance(part, ImagePart):
        return part.image_url.url
    return part.image if isinstance(part, ImageDocument) else None


def data_of(url: str) -> bytes:
    """The bytes in a data: URL of a picture."""
    if not (match := _DATA.match(url)):
        raise Refused("not a data: URL in base64")
    if match["kind"] and not match["kind"].lower().startswith("image/"):
        raise Refused(f"a data: URL of {match['kind'][:40]}, not of a picture")
    try:
        data = base64.b64decode(url[match.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise Refused("not valid base64") from None
    if len(data) > LIMITS.bytes:
        raise Refused(f"more than {LIMITS.bytes >> 20} MiB")
    return data


def side_of(model: Model, key: str = "image") -> int:
    """The side in pixels of the square that a run reads pictures in; 0 where it reads none."""
    tower = frozen_towers(model.method).get(key)
    if tower is not None:
        return tower.size
    return model.fields[key].shape[-1] if key in model.fields and model.fields[key].shape else 0


def pixels_of(model: Model, key: str, pictures: Sequence[Image.Image]) -> Field:
    """Pictures as a run reads them under a key: u8 [N 3 S S]."""
    side = side_of(model, key)
    return Field(torch.from_numpy(np.stack([fit(picture, side) for picture in pictures])))


def words_of(model: Model, key: str, kind: str, texts: Sequence[str]) -> Ids:
    """Texts as a run reads them under a key: of the kind "ids" by its own tokeniser, of the kind "text" by that of a
    frozen tower, where it has one."""
    tower = frozen_towers(model.method).get(role_of(key))
    if kind == "text" and tower is not None and tower.tokenise is not None:
        return tower.tokenise(texts)
    found = text_column(texts, None, model.tokenizer)
    assert isinstance(found, Ids)
    return found


def truncated(texts: Sequence[str], ids: Ids, read: Callable[[Sequence[str]], Ids]) -> list[bool]:
    """Which texts are longer than what was read of them; `read` gives the ids of texts, which do not say so themselves.

    Such a text has fewer tokens than its last word and what stands before it have apart, marks left aside. One word
    that fills what is read counts as longer.
    """
    found = [False] * len(texts)
    for k in ids.mask.all(1).nonzero()[:, 0].tolist():
        before, _, last = texts[k].rpartition(" ")
        before = before or "a"
        both, first, second, one, two = _counts(read, [f"{before} {last}", before, last, "a", "a a"])
        marks = 2 * one - two
        found[k] = first + second - marks > both
    return found


def _counts(read: Callable[[Sequence[str]], Ids], texts: Sequence[str]) -> list[int]:
    found: list[int] = read(texts).mask.sum(1).tolist()
    return found


def _decode(data: bytes, side: int) -> Image.Image:
    picture = load(data, LIMITS)
    # Fitting what is fitted already changes nothing, so a run sees what it would see of the whole picture.
    return Image.fromarray(fit(picture, side).transpose(1, 2, 0).copy()) if side else picture


def _problem(name: str, reason: str) -> Problem:
    return Problem(400, f"{name}: {reason}", name.partition("[")[0])
