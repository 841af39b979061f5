"""Continuous patches: the layers between a picture's pixels and the vectors of a sequence, both ways.

Shape legend: B batch, H W pixels, N patches (row by row), D width. Pictures are float signals, times a vector [B D].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.core import SensoriumError

from .head import linear

Skips = Sequence[Tensor]
"""What the way in hands to the way out beside the patches."""


class Patches(nn.Module, ABC):
    """Picture [B 3 H W] -> patches [B N D], and hidden states of the patches -> picture. `side` pixels to a patch."""

    side: int

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches.

        Raises:
            SensoriumError: a size that does not split.
        """
        if height % self.side or width % self.side:
            raise SensoriumError(f"a picture of {height} x {width} does not split into patches of {self.side}")
        return height // self.side, width // self.side

    @abstractmethod
    def enter(self, x: Tensor, time: Tensor) -> tuple[Tensor, Skips]:
        """[B 3 H W], [B D] -> [B N D] and what `leave` is to be given."""

    @abstractmethod
    def leave(self, h: Tensor, time: Tensor, skips: Skips, shape: tuple[int, int]) -> Tensor:
        """[B N D], [B D] -> [B 3 H W]; `shape` is (H, W)."""


class LinearPatches(Patches):
    """Each square of `side` pixels by itself through one linear layer, the time added; one linear layer back."""

    def __init__(self, side: int, dim: int) -> None:
        super().__init__()
        self.side = side
        self.into, self.out = linear(3 * side * side, dim), linear(dim, 3 * side * side)

    def enter(self, x: Tensor, time: Tensor) -> tuple[Tensor, Skips]:
        self.grid(*x.shape[2:])
        return self.into(F.unfold(x, self.side, stride=self.side).transpose(1, 2)) + time[:, None], ()

    def leave(self, h: Tensor, time: Tensor, skips: Skips, shape: tuple[int, int]) -> Tensor:
        self.grid(*shape)
        return F.fold(self.out(h).transpose(1, 2), shape, self.side, stride=self.side)


class UNetPatches(Patches):
    """The halves of a U-Net (arXiv 1505.04597) around the sequence: `levels` halvings in, as many doublings out.

    A patch is 2^levels pixels wide and sees its neighbours; the way out is handed each level of the way in. The first
    halving and the last doubling fold pixels into channels, since whole pictures are where convolutions cost most.
    """

    def __init__(self, levels: int, dim: int, width: int = 32) -> None:
        super().__init__()
        if levels < 1:
            raise SensoriumError(f"a U-Net of {levels} levels; expected 1 or more")
        self.side = 2**levels
        widths = [width, *[2 * width] * (levels - 1)]
        self.first = nn.Conv2d(12, width, 3, padding=1)
        self.down = nn.ModuleList(_Residual(w, w, dim) for w in widths)
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, 2) for a, b in pairwise(widths))
        self.into, self.back = linear(widths[-1], dim), linear(dim, widths[-1])
        self.grow = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, 2) for a, b in pairwise(widths))
        self.up = nn.ModuleList(_Residual(2 * w, w, dim) for w in widths)
        self.norm, self.last = nn.GroupNorm(4, width), nn.Conv2d(width, 12, 3, padding=1)

    def enter(self, x: Tensor, time: Tensor) -> tuple[Tensor, Skips]:
        self.grid(*x.shape[2:])
        x, skips = self.first(F.pixel_unshuffle(x, 2)), []
        for n, block in enumerate(self.down):
            x = block(x if n == 0 else self.shrink[n - 1](x), time)
            skips.append(x)
        return self.into(x.flatten(2).transpose(1, 2)) + time[:, None], skips

    def leave(self, h: Tensor, time: Tensor, skips: Skips, shape: tuple[int, int]) -> Tensor:
        x = self.back(h).transpose(1, 2).unflatten(2, self.grid(*shape))
        for n in reversed(range(len(self.up))):
            x = self.up[n](torch.cat([x, skips[n]], 1), time)
            x = self.grow[n - 1](x) if n else x
        return F.pixel_shuffle(self.last(F.gelu(self.norm(x))), 2)


class _Residual(nn.Module):
    """[B C H W], time [B D] -> [B C' H W]: two 3x3 convolutions of what is normalised, the time between them."""

    def __init__(self, d_in: int, d_out: int, time: int) -> None:
        super().__init__()
        self.before, self.first = nn.GroupNorm(4, d_in), nn.Conv2d(d_in, d_out, 3, padding=1)
        self.between, self.second = nn.GroupNorm(4, d_out), nn.Conv2d(d_out, d_out, 3, padding=1)
        self.time = linear(time, d_out)
        self.across = nn.Conv2d(d_in, d_out, 1) if d_in != d_out else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.first(F.gelu(self.before(x))) + self.time(time)[:, :, None, None]
        return self.across(x) + self.second(F.gelu(self.between(h)))  # type: ignore[no-any-return]
