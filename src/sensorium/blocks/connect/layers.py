"""Feature taps: what every layer of an image tower gives, on one grid.

Shape legend: B pictures, H W pixels, N places of the grid, C channels of a layer, D width of the tower.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.core import Field, SensoriumError, Tokens, Tower

from ..towers.image import ConvTower, _scaled, _tokens
from ..towers.positions import grid, sines
from ..towers.vit import VisionTransformer

CELL = 8
"""Pixels from one place of a convolutional tower to the next."""


class ConvLayers(nn.Module):
    """u8 Field [B 3 H W] -> one Tokens [B N C] per layer of a convolutional tower, lowest first, its own output last.

    With a `stride` of 8 pixels the last is what the tower gives; a finer one keeps its weights and reads every place
    between as well, by holes in the kernels (dilation, Yu and Koltun 2016, arXiv 1511.07122). Layers of a finer grid
    are folded onto the last one's, all their vectors of a cell side by side.
    """

    def __init__(self, tower: ConvTower, stride: int = CELL) -> None:
        super().__init__()
        if stride not in (2, 4, CELL):
            raise SensoriumError(f"a stride of {stride} pixels; expected 2, 4 or {CELL}")
        self.tower, self.stride = tower, stride
        stem = [conv.out_channels * max(1, stride // 2 ** (n + 1)) ** 2 for n, conv in enumerate(tower.stem)]
        self.dims = (*stem, tower.dim)

    def forward(self, field: Field) -> list[Tokens]:
        tower, maps, step, gap = self.tower, [], 1, 1
        x = _scaled(field, tower.out.weight)
        if x.shape[2] % CELL or x.shape[3] % CELL:
            raise SensoriumError(f"an image of {x.shape[2]} x {x.shape[3]} does not split into cells of {CELL}")
        for layer in tower.stem:
            stride = 2 if step < self.stride else 1
            x = F.relu(_strided(layer, x, stride, gap))
            step, gap = step * stride, gap * 2 // stride
            maps.append(F.pixel_unshuffle(x, self.stride // step))
        place = sines(grid(x.shape[2], x.shape[3], x.device) * step / CELL, x.shape[1])
        x = x + place.T.reshape(x.shape[1:]).to(x.dtype)
        maps.append(tower.out(x + F.relu(_strided(tower.residual, x, 1, gap))))
        return [_tokens(each, field) for each in maps]


class TransformerLayers(nn.Module):
    """u8 Field [B 3 H W] -> one Tokens [B N D] per block of a vision transformer, the first block's first."""

    def __init__(self, tower: VisionTransformer) -> None:
        super().__init__()
        self.tower = tower
        self.dims = (tower.dim,) * len(tower.blocks)

    def forward(self, field: Field) -> list[Tokens]:
        return [seen.patches for seen in self.tower.layers(field)]


def layers_of(tower: Tower, stride: int = CELL) -> ConvLayers | TransformerLayers:
    """The layers of a tower.

    Raises:
        SensoriumError: a tower that shows none, or a stride that it does not have.
    """
    if isinstance(tower, ConvTower):
        return ConvLayers(tower, stride)
    if not isinstance(tower, VisionTransformer):
        raise SensoriumError(f"{type(tower).__name__} shows no layers; expected ConvTower or VisionTransformer")
    if stride != tower.patch:
        raise SensoriumError(f"a stride of {stride} pixels; the patches of this tower are {tower.patch}")
    return TransformerLayers(tower)


def _strided(layer: nn.Module, x: Tensor, stride: int, gap: int) -> Tensor:
    """A convolution with another stride, `gap` places between its taps."""
    assert isinstance(layer, nn.Conv2d)
    return F.conv2d(x, layer.weight, layer.bias, stride, padding=gap, dilation=gap)
