"""Phrases: the token ids that spans cut out of a text.

Shape legend: B rows, K spans of a row, T tokens of a text, W tokens of a phrase at most, C known phrases.
"""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from sensorium.core import Batch, Field, Ids

WIDEST = 16
"""Tokens of a phrase that are looked at."""


def spread(spans: Tensor, mask: Tensor, real: Tensor) -> Tensor:
    """Token spans [B K 2] (first, one past the last), counted over the real tokens; which are there [B K]; real tokens
    [B T] -> [B K T] bool: the tokens of each span."""
    at = (real.long().cumsum(1) - 1)[:, None]
    return (at >= spans[..., :1]) & (at < spans[..., 1:]) & mask[..., None] & real[:, None]


def objects(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """ "boxes" and "spans" of a batch -> boxes [B K 4], spans [B K 2], and which objects have both [B K]."""
    boxes, spans = batch["boxes"], batch["spans"]
    assert isinstance(boxes, Field) and isinstance(spans, Field) and boxes.mask is not None and spans.mask is not None
    most = min(boxes.data.shape[1], spans.data.shape[1])
    return boxes.data[:, :most], spans.data[:, :most], boxes.mask[:, :most] & spans.mask[:, :most]


def phrases(batch: Batch, width: int = WIDEST) -> Tensor:
    """ "text" and "spans" of a batch -> [B K W] int64: the first `width` token ids of each span, then -1; all -1 where
    there is none."""
    text, spans = batch["text"], batch["spans"]
    assert isinstance(text, Ids) and isinstance(spans, Field) and spans.mask is not None
    inside = spread(spans.data, spans.mask, text.mask)
    place = inside.long().cumsum(-1) - 1
    out = torch.full((*inside.shape[:2], width), -1, dtype=torch.int64, device=text.ids.device)
    row, span, token = (inside & (place < width)).nonzero(as_tuple=True)
    out[row, span, place[row, span, token]] = text.ids[row, token]
    return out


def counted(found: Tensor) -> Counter[tuple[int, ...]]:
    """Phrases [... W] -> how often each occurs; those without a token are left out."""
    return Counter(tuple(row) for row in found.reshape(-1, found.shape[-1]).tolist() if row[0] >= 0)


def same_phrase(found: Tensor, known: Tensor) -> Tensor:
    """Phrases [... W], [C W] -> [... C] bool: equal token by token, and not empty."""
    return (found[..., None, :] == known).all(-1) & (found[..., :1] >= 0)


def likeness(found: Tensor, known: Tensor) -> Tensor:
    """Phrases [... W], [C W] -> [... C] in [0, 1]: shared tokens over all tokens of both (Jaccard)."""
    equal = (found[..., None, :, None] == known[:, None]) & (found[..., None, :, None] >= 0)
    shared = equal.any(-1).sum(-1)
    lengths = (found >= 0).sum(-1)[..., None] + (known >= 0).sum(-1)
    return shared / (lengths - shared).clamp(min=1)
