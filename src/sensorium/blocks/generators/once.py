"""Generators that need one call, on the canvas of those that need many."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..codecs.pixels import picture
from ..decode.diffuse import Canvas, Path

JUMP = Path(
    lambda t: (t < 1).to(t.dtype),
    lambda t: (t >= 1).to(t.dtype),
    lambda t: (-torch.ones_like(t), torch.ones_like(t)),
)
"""All noise at time 1, all picture at any other: the first step of a sampler is the whole way, and the rest stand."""


def at_once(make: Callable[[Tensor], Tensor], shape: tuple[int, int, int, int], device: torch.device) -> Canvas:
    """A canvas of `shape` [B 3 H W] on which standard normal noise becomes pictures, signals as of `codecs.pixels`, by
    one call of `make`, however many steps are painted."""

    def field(x: Tensor, t: Tensor) -> Tensor:
        return make(x) if bool((t >= 1).all()) else x

    return Canvas(field, shape, JUMP, picture, device)
