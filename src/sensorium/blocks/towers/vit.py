"""The vision transformer with everything a paper may want to read: a summary, registers, patches, every layer.

Shape legend: B pictures, H W pixels, N patches row by row, R registers, D width, L layers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.core import Field, SensoriumError, Tokens, Tower

from .attention import Block
from .positions import grid, sines


@dataclass(frozen=True, eq=False)
class Seen:
    """What one layer holds of a picture: `summary` [B D] (the class token), `registers` [B R D], `patches` Tokens
    [B N D] with pos (row, col)."""

    summary: Tensor
    registers: Tensor
    patches: Tokens


class VisionTransformer(Tower):
    """Field [B 3 H W] in grey levels -> patches, Tokens [B H/patch*W/patch dim]; `layers` and `seen` give the rest.

    Source: arXiv 2010.11929, with learnt 2-D places that start as sines and are interpolated for other sizes than
    `size` pixels (DINO, 2104.14294), and with `registers` (2309.16588). H and W must be multiples of `patch`.
    """

    def __init__(self, patch: int, dim: int, layers: int, heads: int, size: int, registers: int = 0) -> None:
        super().__init__()
        if size % patch:
            raise SensoriumError(f"a size of {size} does not split into patches of {patch}; expected a multiple")
        self.patch, self.dim, self.side = patch, dim, size // patch
        self.patches = nn.Conv2d(3, dim, patch, patch)
        nn.init.normal_(self.patches.weight, std=(3 * patch * patch) ** -0.5)
        nn.init.zeros_(self.patches.bias)  # type: ignore[arg-type]
        self.places = nn.Parameter(sines(grid(self.side, self.side), dim))
        self.before = nn.Parameter(torch.randn(1 + registers, dim))
        self.mask = nn.Parameter(torch.randn(dim))
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def place(self, rows: int, columns: int) -> Tensor:
        """-> [rows*columns D]: the learnt places, stretched by bicubic interpolation over another grid."""
        if (rows, columns) == (self.side, self.side):
            return self.places
        table = self.places.T.reshape(1, self.dim, self.side, self.side)
        fitted = F.interpolate(table, (rows, columns), mode="bicubic", align_corners=False, antialias=True)
        return fitted[0].flatten(1).T

    def _enter(self, field: Field, masked: Tensor | None) -> tuple[Tokens, Tensor]:
        """-> the sequence [B 1+R+N D], and pos of its patches [N 2]."""
        pixels = field.data
        if pixels.ndim != 4 or pixels.shape[1] != 3:
            raise SensoriumError(f"an image tower was given shape {tuple(pixels.shape)}; expected [B 3 H W]")
        rows, columns = (n // self.patch for n in pixels.shape[2:])
        if (rows * self.patch, columns * self.patch) != tuple(pixels.shape[2:]):
            high, wide = pixels.shape[2:]
            raise SensoriumError(f"an image of {high} x {wide} does not split into patches of {self.patch}")
        x = self.patches((pixels.to(self.mask.dtype) - 127) / 128).flatten(2).transpose(1, 2)
        if masked is not None:
            x = torch.where(masked[..., None], self.mask.to(x.dtype), x)
        x = torch.cat([self.before.to(x.dtype).expand(len(x), -1, -1), x + self.place(rows, columns)], 1)
        there = torch.ones(len(x), dtype=torch.bool, device=x.device) if field.mask is None else field.mask
        return Tokens(x, there.reshape(-1, 1).expand(x.shape[:2])), grid(rows, columns, x.device)

    def _parted(self, t: Tokens, pos: Tensor) -> Seen:
        first = len(self.before)
        patches = Tokens(t.x[:, first:], t.mask[:, first:].contiguous(), pos.expand(len(t.x), -1, -1))
        return Seen(t.x[:, 0], t.x[:, 1:first], patches)

    def layers(self, field: Field, masked: Tensor | None = None) -> list[Seen]:
        """Field [B 3 H W], [B N] bool -> L `Seen`: the residual stream after each block, that of the last one normed.

        Patches that are `masked` give way to a learnt vector and keep their place (BEiT, arXiv 2106.08254). A picture
        that is missing gives zeros.
        """
        t, pos = self._enter(field, masked)
        held = []
        for block in self.blocks:
            t = block(t)
            held.append(t)
        held[-1] = replace(t, x=self.norm(t.x).masked_fill(~t.mask[..., None], 0))
        return [self._parted(each, pos) for each in held]

    def seen(self, field: Field, masked: Tensor | None = None) -> Seen:
        """What the last layer holds, normed."""
        return self.layers(field, masked)[-1]

    def forward(self, field: Field) -> Tokens:
        return self.seen(field).patches
