"""Spans that are hidden, and losses on what is hidden.

Draws are made position by position, for all rows at each, so that padding on the right changes none of them.
Shape legend: B batch, T tokens, D width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..precision import exact
from ..similarity import unit


class Spans(NamedTuple):
    """Which tokens are hidden [B T] bool, and where the span of each token begins [B T] int64."""

    hidden: Tensor
    begin: Tensor


def drawn(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform numbers [B T ...]: more positions leave those of the first as they are."""
    b, t, *rest = shape
    return torch.rand(t, b, *rest, generator=generator, device=generator.device).transpose(0, 1)


def _ranked(luck: Tensor) -> Tensor:
    """[B T] -> [B T] int64: 0 for the highest of each row, then 1, 2 …"""
    return luck.argsort(dim=1, descending=True).argsort(dim=1)


def _spans(mask: Tensor, luck: Tensor, starts: Tensor, length: Tensor) -> Spans:
    """[B T], the luck of each token [B T], spans a row [B], how long one would be that begins there [B T] -> spans over
    the real tokens."""
    begins = (_ranked(luck.masked_fill(~mask, -1)) < starts[:, None]) & mask
    at = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    end = torch.where(begins, at + length, 0).cummax(1).values
    begin = torch.where(begins, at, 0).cummax(1).values
    return Spans((at < end) & mask, begin)


def speech_spans(mask: Tensor, generator: torch.Generator, start: float = 0.065, width: int = 10) -> Spans:
    """A share `start` of the real frames, one at least, begins a span of `width` frames, of half the sound at most;
    spans may overlap (wav2vec 2.0, arXiv 2006.11477, section 3.1)."""
    real = mask.sum(1)
    starts = (start * real).round().long().clamp(min=1)
    length = torch.minimum(torch.full_like(real, width), -(-real // 2))
    return _spans(mask, drawn(tuple(mask.shape), generator), starts, length[:, None].expand_as(mask))


def text_spans(
    mask: Tensor, generator: torch.Generator, share: float = 0.15, stop: float = 0.2, most: int = 10
) -> Spans:
    """About a share of the real tokens in spans whose lengths are geometric with `stop`, at most `most` (SpanBERT,
    arXiv 1907.10529, section 3.1)."""
    mean = (1 - (1 - stop) ** most) / stop
    starts = (share * mask.sum(1) / mean).round().long().clamp(min=1)
    luck, more = drawn((*mask.shape, 2), generator).unbind(-1)
    length = (1 + (more.clamp(min=1e-9).log() / math.log(1 - stop)).long()).clamp(max=most)
    return _spans(mask, luck, starts, length)


def distracted(
    context: Tensor,
    target: Tensor,
    ids: Tensor,
    hidden: Tensor,
    generator: torch.Generator,
    most: int = 100,
    heat: float = 0.1,
) -> Tensor:
    """Contexts and targets [B T D], ids of the targets [B T G], hidden frames [B T] -> scalar: -log of the share that a
    hidden frame's own target has among it and up to `most` targets of other hidden frames of the same row, by cosine
    over `heat` (eq. 3 of arXiv 2006.11477).

    A distractor with the ids of the target is left out. The mean over hidden frames; 0 where there is none.
    """
    with exact(context):
        scores = unit(context) @ unit(target).transpose(1, 2) / heat  # [B T T]: row is context, column target
        place = _ranked(drawn(tuple(hidden.shape), generator).masked_fill(~hidden, -1))
        count = hidden.sum(1).clamp(min=1)[:, None, None]
        ahead = (place[:, None] - place[:, :, None]) % count  # how far a column lies ahead in a random round
        others = hidden[:, None] & hidden[:, :, None] & (ahead > 0) & (ahead <= most)
        others &= ~(ids[:, :, None] == ids[:, None]).all(-1)
        own = scores.diagonal(dim1=1, dim2=2)
        every = torch.cat([own[..., None], scores.masked_fill(~others, -torch.inf)], -1)
        losses = (every.logsumexp(-1) - own).masked_fill(~hidden, 0)
        return losses.sum() / hidden.sum().clamp(min=1)
