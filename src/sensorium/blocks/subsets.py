"""Random small subsets of many modalities: how many tokens of each, which of them, and texts with spans left out.

4M (Mizrahi et al. 2023, arXiv 2312.06647, section 2.2). Draws are made position by position, so that padding on the
right changes none.
Shape legend: B batch, M modalities, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.core import Ids


def dirichlet(rows: int, alpha: Sequence[float], seed: int) -> Tensor:
    """-> [rows M] float64 shares that sum to 1, drawn from a Dirichlet distribution.

    In logarithms, since small concentrations give shares that are no number: Gamma(a) is Gamma(a + 1) U^(1/a).
    """
    draw, a = np.random.Generator(np.random.Philox(seed)), np.asarray(alpha, np.float64)
    logs = np.log(draw.standard_gamma(a + 1, (rows, len(a)))) + np.log1p(-draw.random((rows, len(a)))) / a
    return torch.from_numpy(logs).softmax(-1)


def budgets(shares: Tensor, room: Tensor, total: Tensor) -> Tensor:
    """Shares [B M], how many tokens there are [B M], how many are wanted in all [B] -> how many of each [B M] int64.

    The running sum of shares is rounded, so that all is given away; what a modality has no room for goes to none.
    Shares of modalities without room are given to the others in proportion first.
    """
    shares = shares.masked_fill(room == 0, 0)
    whole = shares.sum(1, keepdim=True)
    ends = (shares / whole.clamp(min=1e-300)).cumsum(1) * total[:, None]
    counts = torch.diff((ends + 0.5).floor().long(), dim=1, prepend=torch.zeros_like(room[:, :1]))
    return torch.minimum(counts, room)


def ranked(luck: Tensor, there: Tensor) -> Tensor:
    """Luck [B T], which tokens are there [B T] -> the place of each among them by its luck, from 0; those that are not
    there come last."""
    return luck.masked_fill(~there, 2.0).argsort(dim=1, stable=True).argsort(dim=1)


class Spanned(NamedTuple):
    """What is shown of a text, and what is asked: both [B T'], with a sentinel where each hidden span is or begins."""

    shown: Ids
    asked: Ids


def spanned(text: Ids, visible: Tensor, sentinels: Tensor, end: int) -> Spanned:
    """Packed text [B T], its words that are `visible` [B T], ids of sentinels [K] -> what T5 reads and says (Raffel et
    al. 2020, arXiv 1910.10683, figure 2).

    Shown: each hidden span becomes one sentinel. Asked: each sentinel and the words that it stands for, then `end`;
    spans after the K-th share its sentinel. A row without words shows and is asked nothing.
    """
    hidden = text.mask & ~visible
    begins = hidden & ~F.pad(hidden, (1, 0))[:, :-1]
    span = (begins.long().cumsum(1) - 1).clamp(0, len(sentinels) - 1)
    mark = sentinels[span]
    shown = compacted(torch.where(begins, mark, text.ids), begins | (text.mask & visible))
    pairs = torch.stack([mark, text.ids], 2).flatten(1)
    asked = compacted(pairs, torch.stack([begins, hidden], 2).flatten(1))
    count = asked.mask.sum(1, keepdim=True)
    ids = F.pad(asked.ids, (0, 1)).scatter(1, count, end)
    return Spanned(shown, Ids(ids, F.pad(asked.mask, (1, 0), value=True) & (count > 0)))


def compacted(ids: Tensor, kept: Tensor) -> Ids:
    """The kept ids of each row [B T] at its front, in their order."""
    order = (~kept).long().argsort(dim=1, stable=True)
    return Ids(ids.gather(1, order), kept.gather(1, order))
