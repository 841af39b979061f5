"""A mask head: each query's product with the features of every pixel, and the losses of the masks that come of it.

Shape legend: B rows, Q queries, K objects of a row, D width, H W pixels, h w features. Losses and weights are those of
DETR (Carion et al. 2020, arXiv 2005.12872, section 4.4); the product is MaskFormer's (Cheng et al. 2021, arXiv
2107.06278), where DETR convolves an attention map of every query.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.core import Field, SensoriumError, Tokens

from ..precision import exact, wide
from .head import linear

ALPHA, GAMMA = 0.25, 2.0
"""Weight of pixels within an object, and how far easy pixels count less (Lin et al. 2017, arXiv 1708.02002)."""
STRIDES = (1, 2, 4, 8)


class PixelFeatures(nn.Module):
    """u8 Field [B 3 H W] and the Tokens [B h'*w' D] that a tower and what follows it made of it -> [B D H/stride
    W/stride].

    Convolutions that halve the picture give the outline, the tokens, enlarged, what lies there; a last 3x3 joins them.
    """

    def __init__(self, dim: int, stride: int) -> None:
        super().__init__()
        if stride not in STRIDES:
            raise SensoriumError(f"stride {stride} of a mask; expected one of {', '.join(map(str, STRIDES))}")
        self.stride = stride
        halvings = stride.bit_length() - 1
        widths = (3, *(dim >> (halvings - k) for k in range(1, halvings)), dim)
        self.pixels = nn.ModuleList(_conv(a, b, 2 if halvings else 1) for a, b in pairwise(widths))
        self.tokens = linear(dim, dim)
        self.join = _conv(dim, dim, 1)

    def forward(self, image: Field, tokens: Tokens, shape: tuple[int, int]) -> Tensor:
        x = (image.data.to(self.join.weight.dtype) - 127) / 128
        if x.shape[2] % self.stride or x.shape[3] % self.stride:
            raise SensoriumError(
                f"a picture of {x.shape[2]} x {x.shape[3]} does not split by a stride of {self.stride}"
            )
        for layer in self.pixels:
            x = F.relu(layer(x))
        here = self.tokens(tokens.x).masked_fill(~tokens.mask[..., None], 0).transpose(1, 2).unflatten(2, shape)
        x = x + F.interpolate(here, x.shape[2:], mode="bilinear", align_corners=False)
        return x + self.join(F.relu(x))  # type: ignore[no-any-return]


def _conv(d_in: int, d_out: int, stride: int) -> nn.Conv2d:
    layer = nn.Conv2d(d_in, d_out, 3, stride, padding=1)
    nn.init.normal_(layer.weight, std=(2 / (9 * d_in)) ** 0.5)  # 2: half is lost in each rectifier
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


class MaskHead(nn.Module):
    """Queries [B Q D], pixel features [B D h w] -> logits [B Q h w]: three layers make of a query the vector that its
    pixels are compared with."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query = nn.Sequential(linear(dim, dim), nn.GELU(), linear(dim, dim), nn.GELU(), linear(dim, dim))
        self.bias = linear(dim, 1)

    def forward(self, held: Tensor, features: Tensor) -> Tensor:
        scores = torch.einsum("bqd,bdhw->bqhw", self.query(held), features) * held.shape[-1] ** -0.5
        return scores + self.bias(held)[..., None]  # type: ignore[no-any-return]


def enlarged(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """[B Q h w] -> [B Q H W], bilinear."""
    return F.interpolate(logits, size, mode="bilinear", align_corners=False)


def focal(logits: Tensor, truth: Tensor, real: Tensor) -> Tensor:
    """Logits [B K H W], masks [B K H W] bool, which objects are there [B K] -> scalar: focal loss of a pixel, as the
    mean over pixels, summed over objects and divided by their number."""
    with exact(logits):
        logits, target = wide(logits), truth.to(torch.promote_types(logits.dtype, torch.float32))
        each = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        missed = (target - logits.sigmoid()).abs()
        weight = ALPHA * target + (1 - ALPHA) * (1 - target)
        return _per_object((weight * missed**GAMMA * each).mean((-2, -1)), real)


def dice(logits: Tensor, truth: Tensor, real: Tensor) -> Tensor:
    """The same shapes -> scalar: 1 - (2 * overlap + 1) / (both areas + 1), per object (Milletari et al. 2016, arXiv
    1606.04797, smoothed by 1 as in DETR)."""
    with exact(logits):
        chance, target = wide(logits).sigmoid(), truth.to(torch.promote_types(logits.dtype, torch.float32))
        both = (chance * target).sum((-2, -1))
        areas = chance.sum((-2, -1)) + target.sum((-2, -1))
        return _per_object(1 - (2 * both + 1) / (areas + 1), real)


def _per_object(values: Tensor, real: Tensor) -> Tensor:
    return values.masked_fill(~real, 0).sum() / real.sum().clamp(min=1)
