"""Mixed sequences: a text and a picture, either first, in one sequence of one decoder.

Shape legend: B batch, T the whole sequence, n words, N patches or codes of the picture, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.core import Field, Ids, Rng, Tokens

from .decode import Prompt, decode, sample


def packed(text: Ids) -> Ids:
    """The real tokens of each row moved to its front, in their order: [B n] -> [B n]."""
    order = (~text.mask).long().argsort(dim=1, stable=True)
    return Ids(text.ids.gather(1, order), text.mask.gather(1, order))


def following(text: Ids, end: int) -> Ids:
    """Packed text [B n] -> what follows its beginning and each of its words, [B n+1]: the next word, last `end`.

    Nothing is to follow in a row without words.
    """
    count = text.mask.sum(1, keepdim=True)
    ids = F.pad(text.ids, (0, 1)).scatter(1, count, end)
    return Ids(ids, F.pad(text.mask, (1, 0), value=True) & (count > 0))


def opened(words: Tokens, begin: Tensor) -> Tokens:
    """Words [B n D] after the mark of a text's beginning [D] -> [B n+1 D], of kind 0."""
    x = torch.cat([begin.to(words.x.dtype).expand(len(words), 1, -1), words.x], 1)
    mask = F.pad(words.mask, (1, 0), value=True)
    return Tokens(x, mask, kind=torch.zeros_like(mask, dtype=torch.long))


def framed(patches: Tokens, there: Tensor, opening: Tensor, closing: Tensor) -> Tokens:
    """Patches [B N D] between two marks [D] -> [B N+2 D], of kind 1 but for the marks, in rows that are `there` [B]."""
    there = there[:, None]
    marks = [m.to(patches.x.dtype).expand(len(there), 1, -1) for m in (opening, closing)]
    return Tokens(
        torch.cat([marks[0], patches.x, marks[1]], 1),
        torch.cat([there, patches.mask & there, there], 1),
        kind=F.pad(torch.ones_like(patches.mask, dtype=torch.long), (1, 1)),
    )


def both_ways(kind: Tensor) -> Tensor:
    """[B T] -> [B T T] bool: who sees whom, causal across and both ways inside a picture (arXiv 2408.11039, fig. 4).

    `kind` is 0 for text and marks, k > 0 for the patches of the k-th picture.
    """
    t = torch.arange(kind.shape[1], device=kind.device)
    same = (kind[:, :, None] == kind[:, None]) & (kind[:, None] > 0)
    return same | (t[:, None] >= t)


@dataclass(frozen=True)
class Mixed:
    """A batch of mixed sequences and where the two parts lie in them: `words` [B n], `picture` [B N+2] int64."""

    tokens: Tokens
    words: Tensor
    picture: Tensor


def mixed(words: Tokens, picture: Tokens, words_first: Tensor) -> Mixed:
    """Words [B n D] and a framed picture [B N+2 D] one after the other, in each row's own order, [B] bool."""
    assert words.kind is not None and picture.kind is not None
    n, m = words.x.shape[1], picture.x.shape[1]
    at = torch.arange(n + m, device=words.x.device)
    places = torch.where(words_first[:, None], at, (at + m) % (n + m))  # position of words, then of the picture
    order = places.argsort(1)
    kind, mask = (
        torch.cat(pair, 1).gather(1, order) for pair in ((words.kind, picture.kind), (words.mask, picture.mask))
    )
    return Mixed(
        Tokens(taken(torch.cat([words.x, picture.x], 1), order), mask, kind=kind), places[:, :n], places[:, n:]
    )


def taken(x: Tensor, places: Tensor) -> Tensor:
    """Vectors [B T D] at positions [B n] -> [B n D]."""
    return x.gather(1, places[..., None].expand(-1, -1, x.shape[2]))


@dataclass(frozen=True, kw_only=True)
class Mosaic(Prompt):
    """A prompt after which `n` of the ids `codes` make a picture, which `finish` gives as u8 [B 3 H W].

    `guidance` leads away from `unlike`, as in `decode`; codes are drawn at `temperature`.
    """

    n: int
    codes: range
    finish: Callable[[Ids], Field]
    unlike: Prompt
    guidance: float = 1.0
    temperature: float = 1.0


def laid(mosaic: Mosaic, rng: Rng) -> Field:
    """The picture of each row, u8 [B 3 H W], its codes drawn one after the other."""

    def codes(scores: Tensor, said: Tensor) -> Tensor:
        kept = torch.full_like(scores, -torch.inf)
        kept[:, mosaic.codes.start : mosaic.codes.stop] = scores[:, mosaic.codes.start : mosaic.codes.stop]
        return kept

    pick = sample(rng("mosaic", mosaic.tokens.x.device), mosaic.temperature)
    unlike = mosaic.unlike if mosaic.guidance != 1 else None
    return mosaic.finish(
        decode(mosaic, mosaic.n, pick=pick, rules=[codes], unlike=unlike, guidance=mosaic.guidance, stop=())
    )
