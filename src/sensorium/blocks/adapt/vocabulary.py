"""Vocabulary extension: a decoder that knows a few ids more, its old ones exactly as before.

Legend: V old ids, n new ones, D width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.core import SensoriumError

from ..decode import Decoder


class MoreWords(nn.Module):
    """Ids [...] -> [... D]: the old embedding below V, learnt vectors [n D] from there on."""

    def __init__(self, old: nn.Module, size: int, new: Tensor) -> None:
        super().__init__()
        self.old, self.size, self.new = old, size, nn.Parameter(new)

    @property
    def weight(self) -> Tensor:
        """All vectors [V+n D]."""
        return torch.cat([_weight(self.old), self.new])

    def forward(self, ids: Tensor) -> Tensor:
        fresh = ids >= self.size
        known = self.old(ids.masked_fill(fresh, 0))
        added = F.embedding((ids - self.size).clamp(min=0), self.new).to(known.dtype)
        return torch.where(fresh[..., None], added, known)


class MoreScores(nn.Module):
    """[... D] -> [... V+n]: the old scores, then those of the new ids."""

    def __init__(self, old: nn.Module, new: Tensor) -> None:
        super().__init__()
        self.old, self.new = old, nn.Parameter(new)

    @property
    def weight(self) -> Tensor:
        """All rows [V+n D]."""
        return torch.cat([_weight(self.old), self.new])

    def forward(self, h: Tensor) -> Tensor:
        return torch.cat([self.old(h), F.linear(h, self.new.to(h.dtype))], -1)


def extended(decoder: Decoder, number: int) -> range:
    """Teach a decoder `number` ids more, in place; which they are. Its own weights stay what they are, trained or not.

    The new ids come after `begin` and `end`; their vectors start at the size of words, their scores near 0.

    Raises:
        SensoriumError: no id at all, or a decoder that scores other ids than it reads.
    """
    if number < 1:
        raise SensoriumError(f"{number} new ids; expected 1 or more")
    like = _weight(decoder.words)
    if (scored := len(_weight(decoder.says))) != len(like):
        raise SensoriumError(f"a decoder that reads {len(like)} ids and scores {scored}; expected as many")
    size, width = like.shape
    new = torch.randn(number, width) * float(like.detach().float().std())
    rows = torch.randn(number, width) * 0.1 * width**-0.5
    parts: dict[str, Any] = {"words": MoreWords(decoder.words, size, new), "says": MoreScores(decoder.says, rows)}
    for name, part in parts.items():
        setattr(decoder, name, part.to(like.device))
    return range(size, size + number)


def _weight(part: nn.Module) -> Tensor:
    found = part.weight
    assert isinstance(found, Tensor)
    return found
