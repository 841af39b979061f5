"""Convolutions between pictures and vectors: encoders, critics and energies on the way down, generators on the way up.

Shape legend: B batch, C channels, S side of a picture, D width of a vector.
"""

from __future__ import annotations

from torch import Tensor, nn

from sensorium.core import SensoriumError

from ..towers.head import linear

SMALLEST = 4
"""Side at which pictures become vectors and back."""


def halvings(side: int) -> int:
    """How often a picture is halved until it is SMALLEST.

    Raises:
        SensoriumError: a side that is not a power of two, or less than 8.
    """
    if side < 2 * SMALLEST or side & (side - 1):
        raise SensoriumError(f"pictures of side {side}; expected a power of two, 8 or more")
    return (side // SMALLEST).bit_length() - 1


class Down(nn.Module):
    """[B C S S] -> [B D]: `width` channels, twice as many after each halving. Nothing is normalised, so that rows do
    not touch and gradients of gradients are cheap."""

    def __init__(self, side: int, channels: int, width: int, out: int) -> None:
        super().__init__()
        n = halvings(side)
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1)]
        for k in range(n):
            layers += [nn.LeakyReLU(0.2), nn.Conv2d(width << k, width << (k + 1), 4, 2, 1)]
        self.body = nn.Sequential(*layers, nn.LeakyReLU(0.2), nn.Flatten())
        self.out = linear((width << n) * SMALLEST**2, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.body(x))  # type: ignore[no-any-return]


class Up(nn.Module):
    """[B D] -> [B C S S]: the way of `Down` back, each doubling by repeated pixels and a convolution."""

    def __init__(self, side: int, dim: int, width: int, channels: int) -> None:
        super().__init__()
        n = halvings(side)
        self.enter = nn.Sequential(linear(dim, (width << n) * SMALLEST**2), nn.Unflatten(1, (-1, SMALLEST, SMALLEST)))
        layers: list[nn.Module] = []
        for k in reversed(range(n)):
            layers += [_activated(width << (k + 1)), nn.Upsample(scale_factor=2)]
            layers += [nn.Conv2d(width << (k + 1), width << k, 3, padding=1)]
        self.body = nn.Sequential(*layers, _activated(width), nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, z: Tensor) -> Tensor:
        return self.body(self.enter(z))  # type: ignore[no-any-return]


def _activated(width: int) -> nn.Module:
    return nn.Sequential(nn.GroupNorm(4, width), nn.SiLU())
