"""Numbers as ids: coordinates on an even scale, values by their quantiles, palettes by channel.

Shape legend: B batch, K boxes or colours of a row, n bins.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sensorium.core import Field, Ids

from .kmeans import whole


def even(x: Tensor, bins: int) -> Tensor:
    """Numbers of [0, 1] -> the bin of each, 0 to bins-1."""
    return (x.float() * bins).long().clamp(0, bins - 1)


def middle(ids: Tensor, bins: int) -> Tensor:
    """Bins -> their middles in [0, 1]: within 1/2n of what was encoded."""
    return (ids.float() + 0.5) / bins


class BoxBins(nn.Module):
    """Boxes [B K 4] in [0, 1] <-> ids [B most*4] of `bins` steps; what is not there has the id `bins` four times.

    More than `most` boxes of a row are cut.
    """

    def __init__(self, most: int, bins: int) -> None:
        super().__init__()
        self.most, self.bins, self.vocab, self.shape = most, bins, bins + 1, (most, 4)

    def solve(self, values: Sequence[Field]) -> None:
        """Nothing is fitted."""

    def encode(self, value: Field) -> Ids:
        """Every slot is a cell, so that it is also told that there is no box."""
        assert value.mask is not None
        boxes, there = value.data[:, : self.most], value.mask[:, : self.most]
        ids = even(boxes, self.bins).masked_fill(~there[..., None], self.bins)
        full = ids.new_full((len(ids), self.most, 4), self.bins)
        full[:, : ids.shape[1]] = ids
        return Ids(full.flatten(1), torch.ones_like(full.flatten(1), dtype=torch.bool))

    def decode(self, ids: Tensor) -> Field:
        """[B most*4] -> boxes [B most 4] and which are there: those with four coordinates, corners in order."""
        each = ids.view(-1, self.most, 4)
        there = (each < self.bins).all(-1)
        x = middle(each.masked_fill(~there[..., None], 0), self.bins)
        low, high = torch.minimum(x[..., :2], x[..., 2:]), torch.maximum(x[..., :2], x[..., 2:])
        return Field(torch.cat([low, high], -1).masked_fill(~there[..., None], 0), there)


class ValueBins(nn.Module):
    """Values [B] <-> ids [B 1]: bins that hold equal shares of the train rows, each given back as its median."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.vocab, self.shape = bins, (1, 1)
        self.edges: Tensor
        self.medians: Tensor
        self.register_buffer("edges", torch.zeros(bins - 1))
        self.register_buffer("medians", torch.zeros(bins))

    def solve(self, values: Sequence[Field]) -> None:
        """Fit edges and medians; equal values share a bin, so that few values leave bins empty."""
        x = torch.cat([v.data if v.mask is None else v.data[v.mask] for v in values]).float()
        if not len(x):
            return
        bins = self.vocab
        self.edges.copy_(x.quantile(torch.arange(1, bins, dtype=x.dtype, device=x.device) / bins))
        near = self.encode(Field(x)).ids[:, 0]
        for k in range(bins):
            here = x[near == k]
            self.medians[k] = here.median() if len(here) else self.edges[min(k, bins - 2)]

    def encode(self, value: Field) -> Ids:
        """[B] -> [B 1]."""
        ids = torch.bucketize(value.data.float().contiguous(), self.edges)[:, None]
        return whole(ids, value)

    def decode(self, ids: Tensor) -> Field:
        """[B 1] -> [B]."""
        return Field(self.medians[ids[:, 0]])


class PaletteBins(nn.Module):
    """Palettes u8 [B K 3] <-> ids [B K*3]: each channel in one of `bins` steps."""

    def __init__(self, colours: int, bins: int) -> None:
        super().__init__()
        self.colours, self.vocab, self.shape = colours, bins, (colours, 3)

    def solve(self, values: Sequence[Field]) -> None:
        """Nothing is fitted."""

    def encode(self, value: Field) -> Ids:
        """u8 [B K 3] -> [B K*3]."""
        ids = even(value.data.float() / 256, self.vocab).flatten(1)
        return whole(ids, value)

    def decode(self, ids: Tensor) -> Field:
        """[B K*3] -> u8 [B K 3]."""
        return Field((middle(ids, self.vocab) * 256).floor().to(torch.uint8).view(-1, self.colours, 3))
