"""Image towers: u8 pixels to tokens on a grid. A row whose field is masked out has no real token."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.core import Field, SensoriumError, Tokens, Tower

from .attention import Block
from .positions import grid, sines


def _scaled(field: Field, like: Tensor) -> Tensor:
    """u8 [B 3 H W] -> [B 3 H W] in the dtype of `like`, about [-1, 1]."""
    if field.data.ndim != 4 or field.data.shape[1] != 3:
        raise SensoriumError(f"an image tower was given shape {tuple(field.data.shape)}; expected [B 3 H W]")
    return (field.data.to(like.dtype) - 127) / 128


def _tokens(maps: Tensor, field: Field) -> Tokens:
    """[B D h w] -> Tokens [B h*w D] with pos (row, col)."""
    x = maps.flatten(2).transpose(1, 2)
    present = torch.ones(len(x), dtype=torch.bool, device=x.device) if field.mask is None else field.mask
    mask = present.reshape(-1, 1).expand(x.shape[:2]).contiguous()
    pos = grid(maps.shape[2], maps.shape[3], x.device).expand(len(x), -1, -1)
    return Tokens(x.masked_fill(~mask[..., None], 0), mask, pos)


def _conv(d_in: int, d_out: int, size: int, stride: int = 1) -> nn.Conv2d:
    layer = nn.Conv2d(d_in, d_out, size, stride, padding=size // 2)
    nn.init.normal_(layer.weight, std=(2 / (d_in * size * size)) ** 0.5)  # 2: half is lost in each rectifier
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


class ConvTower(Tower):
    """u8 Field [B 3 H W] -> Tokens [B H/8*W/8 dim]: the laboratory's small image tower (32 x 32 gives 4 x 4 tokens).

    Three stride-2 3x3 convolutions of `width`, 2 and 4 times `width`, one residual 3x3, 1x1 to `dim`. Fixed 2-D sines
    enter before the residual, where they can meet the content: added at the end they would shift every mean alike.
    """

    def __init__(self, width: int = 16, dim: int = 64) -> None:
        super().__init__()
        self.dim = dim
        widths = (3, width, 2 * width, 4 * width)
        self.stem = nn.ModuleList(_conv(i, o, 3, 2) for i, o in pairwise(widths))
        self.residual = _conv(4 * width, 4 * width, 3)
        self.out = _conv(4 * width, dim, 1)

    def forward(self, field: Field) -> Tokens:
        x = _scaled(field, self.out.weight)
        for layer in self.stem:
            x = F.relu(layer(x))
        place = sines(grid(x.shape[2], x.shape[3], x.device), x.shape[1])
        x = x + place.T.reshape(x.shape[1:]).to(x.dtype)
        return _tokens(self.out(x + F.relu(self.residual(x))), field)


class ViT(Tower):
    """u8 Field [B 3 H W] -> Tokens [B H/patch*W/patch dim]: patches, 2-D sines, `layers` blocks, a last norm.

    No class token (arXiv 2010.11929 without it). H and W must be multiples of `patch`; any such size is taken.
    """

    def __init__(self, patch: int, dim: int, layers: int, heads: int) -> None:
        super().__init__()
        self.patch, self.dim = patch, dim
        self.patches = nn.Conv2d(3, dim, patch, patch)
        nn.init.normal_(self.patches.weight, std=(3 * patch * patch) ** -0.5)
        nn.init.zeros_(self.patches.bias)  # type: ignore[arg-type]
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, field: Field) -> Tokens:
        x = _scaled(field, self.patches.weight)
        if x.shape[2] % self.patch or x.shape[3] % self.patch:
            raise SensoriumError(f"an image of {x.shape[2]} x {x.shape[3]} does not split into patches of {self.patch}")
        t = _tokens(self.patches(x), field)
        assert t.pos is not None
        t = replace(t, x=t.x + sines(t.pos[:1], self.dim))
        for block in self.blocks:
            t = block(t)
        return replace(t, x=self.norm(t.x).masked_fill(~t.mask[..., None], 0))
