"""Columns: pictures, sounds, ids and masks stay on disk and a batch reads its rows; all else is held."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import xxhash
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor

from sensorium.core import Field, Ids, Value

from .cache import home, mapped, store_mapped
from .dataset import Dataset
from .media import audio, masks
from .spans import token_spans
from .store import Strings
from .tokenise import PAD, encode

IN_MEMORY = 1 << 13
"""Texts up to which their ids are simply held."""
AT_ONCE = 1 << 12
"""Texts encoded at a time: the tokeniser's own records are a hundred times the size of the ids."""


HIGHEST_RATE = 16_000
"""Samples per second above which sounds are resampled: speech has little beyond 8 kHz."""
LONGEST_SOUND = 20.0
"""Seconds after which a sound is cut."""


class Column(Protocol):
    """A value per row of a data set: `Ids`, `Tokens`, `Field`, or one that reads them when asked."""

    def __len__(self) -> int: ...

    def rows(self, index: Tensor) -> Value:
        """The rows `index` [I] int64."""
        ...

    def to(self, *args: Any, **kwargs: Any) -> Value:
        """Every row, through `Tensor.to`."""
        ...


@dataclass(frozen=True, eq=False)
class Gathered:
    """Distinct values [U ...], often memory-mapped, and which of them each row has [N] int64: rows that repeat a
    picture share it."""

    values: Tensor
    which: Tensor

    def __len__(self) -> int:
        return len(self.which)

    def rows(self, index: Tensor) -> Field:
        """Field [I ...]."""
        return Field(self.values[self.which[index]])

    def to(self, *args: Any, **kwargs: Any) -> Field:
        """Every row, through `Tensor.to`."""
        return self.rows(torch.arange(len(self))).to(*args, **kwargs)


@dataclass(frozen=True, eq=False)
class Encoded:
    """Token ids int32 [N T], memory-mapped; `pad` is masked."""

    ids: Tensor
    pad: int

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, index: Tensor) -> Ids:
        """Ids [I T]."""
        found = self.ids[index].long()
        return Ids(found, found != self.pad)

    def to(self, *args: Any, **kwargs: Any) -> Ids:
        """Every row, through `Tensor.to`."""
        return self.rows(torch.arange(len(self))).to(*args, **kwargs)


@dataclass(frozen=True, eq=False)
class Waves:
    """Distinct sounds one after the other, int16 [S], memory-mapped; `start` and `count` [U] say where each lies and
    how many samples it has, `which` [N] which of them a row has."""

    samples: Tensor
    start: Tensor
    count: Tensor
    which: Tensor

    def __len__(self) -> int:
        return len(self.which)

    def rows(self, index: Tensor) -> Field:
        """Field [I n] float32 about -1 to 1 and its mask; n is the longest of these rows."""
        start, count = (of[self.which[index]] for of in (self.start, self.count))
        mask = torch.arange(int(count.max()) if len(count) else 0) < count[:, None]
        out = torch.zeros(mask.shape)
        for row, (first, n) in enumerate(zip(start.tolist(), count.tolist(), strict=True)):
            out[row, :n] = self.samples[first : first + n] / 32768
        return Field(out, mask)

    def to(self, *args: Any, **kwargs: Any) -> Field:
        """Every row, through `Tensor.to`."""
        return self.rows(torch.arange(len(self))).to(*args, **kwargs)


@dataclass(frozen=True, eq=False)
class Masks:
    """Masks of each row's objects, eight pixels to a byte [N K size*size/8], memory-mapped; how many a row has [N]."""

    packed: Tensor
    count: Tensor
    size: int

    def __len__(self) -> int:
        return len(self.count)

    def rows(self, index: Tensor) -> Field:
        """Field [I K size size] bool and its mask [I K]."""
        pixels = np.unpackbits(self.packed[index].numpy(), axis=-1).view(bool)
        there = torch.arange(self.packed.shape[1]) < self.count[index][:, None]
        return Field(torch.from_numpy(pixels.reshape(*pixels.shape[:2], self.size, self.size)), there)

    def to(self, *args: Any, **kwargs: Any) -> Field:
        """Every row, through `Tensor.to`."""
        return self.rows(torch.arange(len(self))).to(*args, **kwargs)


def pixel_column(data: Dataset, key: str, size: int) -> Gathered:
    """Pictures u8 [N 3 size size]."""
    return Gathered(torch.from_numpy(data.pixels(key, size)), torch.from_numpy(data.distinct(key)[1]))


def sound_rate(data: Dataset, key: str, rows: np.ndarray) -> int:
    """Samples per second in which some rows are heard: the rate that most of them have, at most `HIGHEST_RATE`."""
    about = data.abouts(key)
    rates = Counter(audio.described(about[int(i)])[1] for i in rows)
    return min(HIGHEST_RATE, max(rates, key=lambda rate: (rates[rate], rate)))


def wave_column(data: Dataset, key: str, rate: int, length: int) -> Waves:
    """Sounds of N rows at `rate` Hz, mono; decoded once, then memory-mapped. Those of more than `length` samples are
    cut there, with a warning that counts them."""
    rows, which = data.distinct(key)
    seconds = np.array([audio.described(data.about(key, int(row)))[0] for row in rows])
    if cut := int((seconds[which] * rate > length).sum()):
        warnings.warn(
            f"{cut} of {len(which)} sounds are longer than {length / rate:g} s and are cut there", stacklevel=2
        )
    content = data.content(key)[rows].tobytes() + f"{rate}/{length}/{data.limits}".encode()
    path = home() / "decoded" / f"{xxhash.xxh3_128_hexdigest(content)}-{rate}.wave.npy"
    room = np.minimum(length, np.ceil((seconds + 0.05) * rate).astype(np.int64) + 1)  # seconds are said to a tenth
    start = 4 * len(room) + np.cumsum(room) - room  # before the samples: how many each sound has, as int64
    shape = (4 * len(room) + int(room.sum()),)

    def fill(out: np.ndarray) -> None:
        count = out[: 4 * len(room)].view(np.int64)
        for k, row in enumerate(rows.tolist()):
            wave = _heard(data.value(key, row), rate)[: room[k]]
            out[start[k] : start[k] + len(wave)] = wave
            count[k] = len(wave)

    found = mapped(path, shape, np.int16)
    found = found if found is not None else store_mapped(path, shape, np.int16, fill)
    count = torch.from_numpy(found[: 4 * len(room)].view(np.int64).copy())
    return Waves(torch.from_numpy(found), torch.from_numpy(start), count, torch.from_numpy(which))


def _heard(sound: audio.Audio, rate: int) -> np.ndarray:
    """int16 [n]: a sound at `rate` Hz in one channel."""
    return audio.sixteen(audio.resample(audio.Audio(audio.mono(sound)[None], sound.rate), rate).wave[0])


def sound_field(sounds: Sequence[audio.Audio], rate: int, length: int) -> Field:
    """Decoded sounds -> Field [N n] at `rate` Hz, mono, cut after `length` samples, as in `wave_column`."""
    waves = [_heard(sound, rate)[:length] for sound in sounds]
    out = np.zeros((len(waves), max(map(len, waves), default=0)), np.float32)
    for row, wave in enumerate(waves):
        out[row, : len(wave)] = wave / 32768
    return Field(torch.from_numpy(out), _counted(waves, out.shape[1]))


def token_column(tokenizer: Tokenizer, texts: Sequence[str], length: int) -> Ids | Encoded:
    """Texts -> ids [N length]; encoded once and memory-mapped where there are many."""
    if len(texts) <= IN_MEMORY:
        return encode(tokenizer, list(texts), length)
    content = texts.digest() if isinstance(texts, Strings) else xxhash.xxh3_128_hexdigest("\0".join(texts).encode())
    name = xxhash.xxh3_128_hexdigest((tokenizer.to_str() + content).encode())
    path = home() / "decoded" / f"{name}-{length}.ids.npy"
    shape = (len(texts), length)

    def fill(out: np.ndarray) -> None:
        for start in range(0, len(texts), AT_ONCE):
            some = texts[start : start + AT_ONCE]
            out[start : start + len(some)] = encode(tokenizer, some, length).ids.numpy()

    found = mapped(path, shape, np.int32)
    found = found if found is not None else store_mapped(path, shape, np.int32, fill)
    return Encoded(torch.from_numpy(found), int(tokenizer.token_to_id(PAD) or 0))


def label_column(labels: Sequence[str], classes: Sequence[str]) -> Field:
    """The class of each row [N] int64; a label that is none of `classes` is 0 and masked."""
    number = {name: k for k, name in enumerate(classes)}
    found = np.fromiter((number.get(label, -1) for label in labels), np.int64, len(labels))
    return Field(torch.from_numpy(found.clip(0)), torch.from_numpy(found >= 0))


def value_column(values: Sequence[str]) -> Field:
    """Numbers [N] float32; a row without one is 0 and masked."""
    found = np.array([float(v) if v else np.nan for v in values], np.float32)
    return Field(torch.from_numpy(np.nan_to_num(found)), torch.from_numpy(~np.isnan(found)))


def box_column(data: Dataset, key: str, image: str = "image") -> Field:
    """Boxes [N K 4] float32, (x0, y0, x1, y1) as shares of the square that a picture is fitted into; mask [N K].

    A data set whose boxes all lie within [0, 1] gives them as shares of the picture, any other in its pixels.
    """
    boxes = [np.array(json.loads(b) if b else [], np.float64).reshape(-1, 4) for b in data.texts(key)]
    shares = all(b.max(initial=0.0) <= 1 for b in boxes)
    out = np.zeros((len(boxes), max(1, *map(len, boxes)), 4), np.float32)
    for row, found in enumerate(boxes):
        width, height = (int(side) for side in data.about(image, row).split(",")[0].split("x"))
        side = max(width, height)
        sides = np.array([width, height] * 2)
        pixels = found * sides if shares else found
        out[row, : len(found)] = ((pixels + (side - sides) / 2) / side).clip(0, 1)
    return Field(torch.from_numpy(out), _counted(boxes, out.shape[1]))


def mask_column(data: Dataset, key: str, size: int) -> Masks:
    """Masks [N K size size] of the objects of each row, in the square that a picture is fitted into; `size` is a
    multiple of 4. Made once, then memory-mapped."""
    found = [json.loads(value) if value else [] for value in data.texts(key)]
    count = torch.tensor([len(row) for row in found])
    shape = (len(found), max(1, *map(len, found)), size * size // 8)
    name = xxhash.xxh3_128_hexdigest(data.content(key).tobytes() + f"{size}/{shape}".encode())
    path = home() / "decoded" / f"{name}.masks.npy"

    def fill(out: np.ndarray) -> None:
        for row, values in enumerate(found):
            for k, one in enumerate(masks.load(values)):
                out[row, k] = np.packbits(_squared(masks.pixels(one), size))

    stored = mapped(path, shape, np.uint8)
    stored = stored if stored is not None else store_mapped(path, shape, np.uint8, fill)
    return Masks(torch.from_numpy(stored), count, size)


def _squared(mask: np.ndarray, size: int) -> np.ndarray:
    """bool [H W] -> bool [size size], scaled to fit inside as a picture is; a pixel is in where half of it is."""
    scale = size / max(mask.shape)
    height, width = (max(1, round(side * scale)) for side in mask.shape)
    small = Image.fromarray(mask.astype(np.uint8) * 255).resize((width, height), Image.Resampling.BOX)
    out = np.zeros((size, size), bool)
    top, left = (size - height) // 2, (size - width) // 2
    out[top : top + height, left : left + width] = np.asarray(small) >= 128
    return out


def span_column(data: Dataset, key: str, texts: Sequence[str], tokenizer: Tokenizer, length: int) -> Field:
    """Which tokens of a row's text name each of its boxes: [N K 2] int64 (first, one past the last); mask [N K].

    A span that lies beyond the `length` tokens of an encoded text is masked.
    """
    spans = [
        token_spans(tokenizer, text, json.loads(s)) if s else [] for text, s in zip(texts, data.texts(key), strict=True)
    ]
    out = np.zeros((len(spans), max(1, *map(len, spans)), 2), np.int64)
    for row, found in enumerate(spans):
        out[row, : len(found)] = np.array(found, np.int64).reshape(-1, 2)
    named = (out[..., 1] > out[..., 0]) & (out[..., 1] < length)  # the last of `length` tokens ends the text
    return Field(torch.from_numpy(out), _counted(spans, out.shape[1]) & torch.from_numpy(named))


def _counted(rows: Sequence[Any], most: int) -> Tensor:
    """[N most] bool: True for as many as each row has."""
    return torch.arange(most) < torch.tensor([len(r) for r in rows])[:, None]
